"""Management tokens, below Settings: creating one shows it once, revoking one asks first. For administrators."""

from flask import Blueprint, redirect, session
from markupsafe import Markup
from werkzeug.wrappers import Response

from webapp.actions.tokens import create_token, revoke_token
from webapp.addresses import dashboard_url
from webapp.context import NotFound, now
from webapp.pages import settings
from webapp.pages.token_facts import TokenRow, token_row
from webapp.queries.tokens import list_tokens
from webapp.render import page, sentence, tell
from webapp.security import current_actor, require
from webapp.validation import Invalid

bp = Blueprint("tokens", __name__, url_prefix="/settings/tokens")


@bp.post("")
@require("admin")
def create() -> Response:
    form = settings.TokenForm()
    if form.nonce.data != session.pop(settings.NONCE, None):
        # Sent twice, after going back or reloading, or from a page that a newer one has replaced.
        message = "This form was used before or is out of date. Nothing was created; send it again if you want to."
        return settings.show(form, general=(message,), status=409)
    try:
        created = create_token(current_actor(), form.name.data or "", list(form.scopes.data or ()))
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
