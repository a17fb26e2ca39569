"""Rotating a key: how long its old secret stays good, the one answer that shows the new one, ending the old early."""

import re

from flask import Blueprint, redirect
from flask_wtf import FlaskForm
from markupsafe import Markup
from werkzeug.wrappers import Response
from wtforms import HiddenField, SelectField
from wtforms.fields import SelectChoice

from webapp.actions.policy import NotInForce
from webapp.actions.rotation import RotatedKey, end_old_secrets, rotate_key
from webapp.context import Conflict, now
from webapp.pages.key_changed import BACK, answer_refusal, from_its_page
from webapp.pages.key_examples import examples
from webapp.pages.key_form import attach
from webapp.pages.key_rows import replaced
from webapp.queries.keys import get_key
from webapp.render import append, is_fragment, page, tell
from webapp.security import current_actor, require
from webapp.validation import Invalid
from webapp.views.keys import secrets_of

bp = Blueprint("key_rotate", __name__, url_prefix="/keys")

GRACES = (
    ("0", "At once: apps that have it are refused from now on"),
    ("900", "For 15 minutes"),
    ("3600", "For 1 hour"),
    ("21600", "For 6 hours"),
    ("86400", "For 24 hours"),
    ("604800", "For 7 days"),
)
_NUMBER = re.compile(r"[0-9]{1,9}")
_REVOKED = "This key is revoked. A revoked key is refused for ever, whatever its secret."
_CHANGED = "This key was changed or rotated since you opened this. Nothing was done; look at it, and send it again."


class RotateForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """`version` ties it to what was seen, so that a form which is sent twice makes one secret."""

    grace_seconds = SelectField(
        "The old secret stays good", choices=[SelectChoice(*choice) for choice in GRACES], id="rotate-grace_seconds"
    )
    version = HiddenField()


@bp.get("/<key_id>/rotate")
@require("member")
def show(key_id: str) -> Response:
    return _dialog(key_id, RotateForm())


@bp.post("/<key_id>/rotate")
@require("member")
def rotate(key_id: str) -> Response:
    """One new secret for each form that was shown."""
    form = RotateForm()
    said = {"grace_seconds": _number(form.grace_seconds.data or "")}
    try:
        rotated = rotate_key(current_actor(), key_id, said, if_version={_number(form.version.data or "")})
    except Invalid as error:
        return _dialog(key_id, form, general=attach(form, error.errors), status=422)
    except Conflict as error:
        return _conflict(key_id, form, error)
    return _reveal(rotated)


@bp.post("/<key_id>/rotate/end")
@require("member")
def end(key_id: str) -> Response:
    """The old secrets die before their time; nothing else changes."""
    form = RotateForm()
    try:
        view = end_old_secrets(current_actor(), key_id, if_version={_number(form.version.data or "")})
        message: str = Markup("The old secret of <bdi>{}</bdi> is refused from the next request on.").format(view.name)
    except Conflict as error:
        return _conflict(key_id, form, error)
    except NotInForce as error:
        message = str(error)
    if is_fragment():
        return _dialog(key_id, form, done=message)
    tell(message)
    return redirect(f"/keys/{key_id}/rotate{BACK if from_its_page() else ''}", code=303)


def _dialog(
    key_id: str, form: RotateForm, *, general: list[str] | None = None, done: str | None = None, status: int = 200
) -> Response:
    view = get_key(current_actor().org_id, key_id)
    if view.status == "revoked":
        return answer_refusal(key_id, "Nothing to rotate", _REVOKED)
    if not form.grace_seconds.data:
        form.grace_seconds.data = "86400"
    form.version.data = str(view.version)
    shown = {"key": view, "form": form, "secrets": secrets_of(view, now()), "general": general or [], "done": done}
    shown["back"] = from_its_page()
    return page("key_rotate.html", "panel", status=status, **shown)


def _conflict(key_id: str, form: RotateForm, error: Conflict) -> Response:
    if error.code == "too_many_secrets":
        told = "So many secrets open this key that nobody can know them all. End the old ones first."
        return _dialog(key_id, form, general=[told], status=409)
    return _dialog(key_id, form, general=[_CHANGED], status=409)


def _reveal(rotated: RotatedKey) -> Response:
    """The dialog with the new secret; for htmx also the row, whose prefix is another one now."""
    view, old = rotated.view, rotated.secrets[1:]
    response = page(
        "key_created.html",
        "panel",
        status=201,
        key=view,
        secret=rotated.secret,
        **examples(view, rotated.secret),
        rotated=True,
        old_secrets=old,
        late=rotated.late,
        back=from_its_page(),
    )
    if is_fragment() and not from_its_page():
        append(response, replaced(view))
    return response


def _number(text: str) -> int:
    """A text that no form of ours holds is no version of a key and no time of grace."""
    return int(text) if _NUMBER.fullmatch(text) else -1
