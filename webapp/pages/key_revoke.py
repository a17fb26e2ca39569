"""Revoking a key: first the facts and a question, then the deed, which nobody can undo."""

from datetime import timedelta

from flask import Blueprint
from markupsafe import Markup
from werkzeug.wrappers import Response

from webapp.actions.keys import revoke_key
from webapp.actions.policy import NotInForce
from webapp.context import now
from webapp.pages.key_changed import answer_change, from_its_page
from webapp.pages.key_rows import rows
from webapp.queries.keys import get_key
from webapp.queries.recent import requests_since
from webapp.render import page
from webapp.security import current_actor, require

bp = Blueprint("key_revoke", __name__, url_prefix="/keys")


@bp.get("/<key_id>/revoke")
@require("member")
def ask(key_id: str) -> Response:
    org_id = current_actor().org_id
    (key,) = rows([get_key(org_id, key_id)])
    requests = requests_since(org_id, key_id, now() - timedelta(hours=24))
    return page("key_revoke.html", "panel", key=key, requests=requests, back=from_its_page())


@bp.post("/<key_id>/revoke")
@require("member")
def revoke(key_id: str) -> Response:
    actor = current_actor()
    try:
        view = revoke_key(actor, key_id)
        message: str = Markup("Revoked <bdi>{}</bdi>. It is refused from the next request on.").format(view.name)
    except NotInForce as error:
        view, message = get_key(actor.org_id, key_id), str(error)
    return answer_change(view, message)
