"""Creating a key: the form, what it hints while someone types, and the one answer that shows the secret."""

import re
import secrets

from flask import Blueprint, request
from flask.wrappers import Response

from webapp.actions.keys import CreatedKey, create_key
from webapp.context import Conflict, now
from webapp.pages import key_form
from webapp.pages.expiry import PRESET_DAYS
from webapp.pages.key_defaults import usual
from webapp.pages.key_examples import examples
from webapp.pages.key_hints import ip_hints, lines_of, model_hints
from webapp.pages.key_rows import added
from webapp.pages.keys import Search, count_text
from webapp.pages.model_limits_field import BLANK
from webapp.queries.keys import count_keys
from webapp.render import append, block, is_fragment, page, swapped, toast
from webapp.security import current_actor, require
from webapp.urls import query_of
from webapp.validation import Invalid
from webapp.views.custom_providers import own_models
from webapp.views.organization import rules_of

bp = Blueprint("key_create", __name__, url_prefix="/keys")
_NONCE = re.compile(r"[\w-]{16,64}", re.ASCII)


@bp.get("/new")
@require("member")
def show() -> Response:
    form = _blank()
    return page("key_form.html", "panel", **key_form.context(form, current_actor()))


@bp.post("/new")
@require("member")
def create() -> Response:
    """Make the key, once for each form that was shown: its nonce is the idempotency key of the action."""
    form, actor = _blank(), current_actor()
    nonce = form.nonce.data if _NONCE.fullmatch(form.nonce.data or "") else secrets.token_urlsafe(24)
    try:
        said = key_form.document(form, now())
        if (warning := key_form.impossible(said)) and request.form.get("confirmed") != key_form.confirmation([warning]):
            return _again(form, [], 200, warnings=[warning], confirm=key_form.confirmation([warning]))
        created = create_key(actor, said, idempotency_key=f"form-{nonce}")
    except Invalid as error:
        general = key_form.attach(form, error.errors)
        return _again(form, general, 422)
    except Conflict:
        # The same form with other values: after going back in the browser, say. It becomes a form of its own.
        form.nonce.data = secrets.token_urlsafe(24)
        return _again(form, ["This form made a key already. Send it again to create another one."], 409)
    return _created(created)


def _blank() -> key_form.KeyForm:
    known = usual(rules_of(current_actor().org_id), now(), PRESET_DAYS)
    return key_form.blank(secrets.token_urlsafe(24), known)


def _again(form: key_form.KeyForm, general: list[str], status: int, **more: object) -> Response:
    known = key_form.context(form, current_actor())
    return page("key_form.html", "panel", status=status, **{**known, "general": general, **more})


def _created(created: CreatedKey) -> Response:
    """The dialog with the secret; for htmx also the new row and a line that says so."""
    view = created.view
    told = examples(view, created.secret) if created.secret else {}
    status = 201 if created.secret else 200
    response = page("key_created.html", "panel", status=status, key=view, secret=created.secret, **told)
    if is_fragment() and created.secret:
        append(response, added(view), toast("Key created."))
        if not query_of(request.headers.get("HX-Current-URL", "")):
            total = count_keys(current_actor().org_id, Search.of({}).query())
            append(response, swapped("count", count_text(total, total)))
    return response


@bp.get("/new/model-limit")
@require("member")
def model_limit_row() -> Response:
    """One more row of limits for models, for the form of a new key or an edit."""
    return Response(block("key_form.html", "model_limit_rows", model_limit_rows=[BLANK], resets=key_form.RESETS))


# Hints change nothing; they are asked for by POST because a long list does not fit into an address.
@bp.post("/hints/models")
@require("member")
def hint_models() -> Response:
    patterns, ticked = lines_of(request.form.get("allowed_models")), request.form.getlist("allowed_providers")
    hints = model_hints(patterns, ticked, own_models(current_actor().org_id))
    return Response(block("key_form.html", "model_hints", model_hints=hints))


@bp.post("/hints/ips")
@require("member")
def hint_ips() -> Response:
    return Response(block("key_form.html", "ip_hints", ip_hints=ip_hints(lines_of(request.form.get("allowed_ips")))))
