"""Editing a key. Only what differs is sent on, tied to the version that was seen; a conflict shows both values."""

import re
from collections.abc import Mapping, Sequence

from flask import Blueprint, request
from markupsafe import Markup
from werkzeug.wrappers import Response

from webapp.actions.keys import update_key
from webapp.actions.policy import NotInForce
from webapp.context import Conflict, now
from webapp.pages import key_form
from webapp.pages.key_changed import answer_change, answer_refusal, from_its_page
from webapp.pages.key_values import same
from webapp.pages.spent_already import below_spent
from webapp.queries.keys import get_key
from webapp.render import page
from webapp.security import current_actor, require
from webapp.validation import Invalid
from webapp.views.keys import KeyView, secrets_of

bp = Blueprint("key_edit", __name__, url_prefix="/keys")
_NUMBER = re.compile(r"[0-9]{1,9}")
_REVOKED = "This key is revoked. A revoked key cannot be changed or opened again."


@bp.get("/<key_id>/edit")
@require("member")
def show(key_id: str) -> Response:
    view = get_key(current_actor().org_id, key_id)
    if view.status == "revoked":
        return answer_refusal(key_id, "Nothing to edit", _REVOKED)
    known = key_form.context(key_form.filled(view), current_actor(), key=view)
    shown = {**known, "secrets": secrets_of(view, now()), "back": from_its_page()}
    return page("key_form.html", "panel", **shown)


@bp.post("/<key_id>/edit")
@require("member")
def save(key_id: str) -> Response:
    actor = current_actor()
    view = get_key(actor.org_id, key_id)
    form = key_form.filled(view)
    try:
        said = key_form.without_ended_raise(form, key_form.document(form, now()), view)
        patch = key_form.changes(said, view)
        warnings = _warnings(said, patch, view)
        if warnings and request.form.get("confirmed") != key_form.confirmation(warnings):
            return _again(form, view, 200, warnings=warnings, confirm=key_form.confirmation(warnings))
        saved = update_key(actor, key_id, patch, if_version={_version(form.version.data or "")})
        message: str = Markup("Saved <bdi>{}</bdi>. It holds from the next request on.").format(saved.name)
    except Invalid as error:
        return _again(form, view, 422, general=key_form.attach(form, error.errors))
    except Conflict as error:
        if error.code == "key_revoked":
            return answer_refusal(key_id, "Nothing was saved", _REVOKED)
        # Whoever sends this form again has seen what is stored now, so it is tied to that version.
        current = get_key(actor.org_id, key_id)
        return _again(form, current, 409, differences=key_form.rebase(form, said, current))
    except NotInForce as error:
        saved, message = get_key(actor.org_id, key_id), str(error)
    return answer_change(saved, message)


def _version(text: str) -> int:
    """The version that the form was filled from; a text that no form of ours holds matches none."""
    return int(text) if _NUMBER.fullmatch(text) else -1


def _again(form: key_form.KeyForm, view: KeyView, status: int, **more: object) -> Response:
    known = key_form.context(form, current_actor(), key=view)
    known |= {"confirm": request.form.get("confirmed"), "secrets": secrets_of(view, now()), "back": from_its_page()}
    return page("key_form.html", "panel", status=status, **{**known, **more})


def _warnings(said: Mapping[str, object], patch: Mapping[str, object], view: KeyView) -> list[str]:
    """What is worth a second thought before it is saved."""
    touched = {"allowed_models", "allowed_providers"} & patch.keys()
    found = (
        _below_spent(said, patch, view),
        *_below_spent_on_models(patch, view),
        key_form.impossible(said) if touched else None,
    )
    return [warning for warning in found if warning is not None]


def _below_spent(said: Mapping[str, object], patch: Mapping[str, object], view: KeyView) -> str | None:
    """A warning when a new limit lies at or below what its period has already seen; None when that is not known."""
    reset = said["spend_reset"]
    spent = view.spend.lifetime_nanos if reset == "never" else view.spend.spent_nanos
    if not {"spend_limit_usd", "spend_limit_boost_usd"} & patch.keys() or reset not in ("never", view.spend_reset):
        return None
    return below_spent("This key has", spent, said["spend_limit_usd"], raised_by=said["spend_limit_boost_usd"])


def _below_spent_on_models(patch: Mapping[str, object], view: KeyView) -> list[str | None]:
    """The same of each limit for models whose amount is new; what another pattern or period has seen nobody knows."""
    limits = patch.get("model_limits", ())
    assert isinstance(limits, Sequence)  # noqa: S101 - as the form made it
    known = {(one.model, one.spend_reset): one for one in view.model_limits}
    found = []
    for limit in limits:
        was, amount = known.get((limit["model"], limit["spend_reset"])), limit["spend_limit_usd"]
        if was is not None and not same("spend_limit_usd", amount, was.spend_limit_usd):
            found.append(below_spent("This key has", was.spend.spent_nanos, amount, what=was.model))
    return found
