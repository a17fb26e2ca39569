"""Management tokens, below Settings: creating one shows it once, revoking one asks first. For administrators."""

import re
import secrets
from datetime import timedelta

from flask import Blueprint, redirect
from markupsafe import Markup
from werkzeug.wrappers import Response

from webapp.actions.tokens import create_token, revoke_token
from webapp.addresses import dashboard_url
from webapp.context import Conflict, NotFound, now
from webapp.pages import settings
from webapp.pages.token_facts import TokenRow, token_row
from webapp.queries.tokens import list_tokens
from webapp.render import page, sentence, tell
from webapp.security import current_actor, require
from webapp.validation import Invalid

bp = Blueprint("tokens", __name__, url_prefix="/settings/tokens")
_NONCE = re.compile(r"[\w-]{16,64}", re.ASCII)


@bp.post("")
@require("admin")
def create() -> Response:
    """Make a token, once for each form that was shown, however often it is sent."""
    form = settings.TokenForm()
    nonce = form.nonce.data or ""
    lifetime = form.lifetime.data or "never"
    if lifetime not in settings.LIFETIMES:
        form.lifetime.errors = ["Choose one of the list."]
        return settings.show(form, status=422)
    days = settings.LIFETIMES[lifetime]
    try:
        created = create_token(
            current_actor(),
            form.name.data or "",
            list(form.scopes.data or ()),
            expires_at=None if days is None else now() + timedelta(days=days),
            once=nonce if _NONCE.fullmatch(nonce) else secrets.token_urlsafe(24),
        )
    except Conflict as conflict:
        # After a reload or a double click: the token is there, so nothing may say that it is not.
        used = f"{conflict.message} If it is lost, revoke that token. Send the form again to make another one."
        return settings.show(form, used=used, status=409)
    except Invalid as error:
        general = []
        for field_error in error.errors:
            if field_error.field in ("name", "scopes"):
                form[field_error.field].errors = [*form[field_error.field].errors, sentence(field_error.message)]
            else:
                general.append(sentence(field_error.message))
        return settings.show(form, general=tuple(general), status=422)
    token = token_row(created.view, now())
    return page("token.html", status=201, step="created", token=token, secret=created.secret, base_url=dashboard_url())


@bp.get("/<token_id>/revoke")
@require("admin")
def ask(token_id: str) -> Response:
    return page("token.html", "panel", step="revoke", token=_find(token_id), secret=None)


@bp.post("/<token_id>/revoke")
@require("admin")
def revoke(token_id: str) -> Response:
    name = _find(token_id).name
    revoke_token(current_actor(), token_id)
    tell(Markup("Revoked <bdi>{}</bdi>. It is refused from the next request on.").format(name))
    return redirect("/settings", code=303)


def _find(token_id: str) -> TokenRow:
    found = [view for view in list_tokens(current_actor().org_id) if view.id == token_id]
    if not found:
        raise NotFound
    return token_row(found[0], now())
