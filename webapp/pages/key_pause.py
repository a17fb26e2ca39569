"""Pausing a key and resuming it: one click each, without a question, because either can be taken back."""

from flask import Blueprint
from markupsafe import Markup
from werkzeug.wrappers import Response

from webapp.actions.keys import update_key
from webapp.actions.policy import NotInForce
from webapp.context import Conflict
from webapp.pages.key_changed import answer_change, answer_refusal
from webapp.queries.keys import get_key
from webapp.render import is_fragment
from webapp.security import current_actor, require
from webapp.views.keys import KeyView

bp = Blueprint("key_pause", __name__, url_prefix="/keys")
_REVOKED = "This key was revoked meanwhile. A revoked key is refused for ever and cannot be paused or resumed."


@bp.post("/<key_id>/pause")
@require("member")
def pause(key_id: str) -> Response:
    return _set_paused(key_id, paused=True)


@bp.post("/<key_id>/resume")
@require("member")
def resume(key_id: str) -> Response:
    return _set_paused(key_id, paused=False)


def _set_paused(key_id: str, *, paused: bool) -> Response:
    actor = current_actor()
    try:
        view = update_key(actor, key_id, {"paused": paused})
        message = _done(view)
    except Conflict:
        if not is_fragment():
            return answer_refusal(key_id, "Nothing was changed", _REVOKED)
        return answer_change(get_key(actor.org_id, key_id), _REVOKED, kind="error", status=409)
    except NotInForce as error:
        view, message = get_key(actor.org_id, key_id), str(error)
    return answer_change(view, message)


def _done(view: KeyView) -> str:
    if view.paused:
        words = "Paused <bdi>{}</bdi>. It is refused from the next request on, until somebody resumes it."
    elif view.status == "expired":
        words = "Resumed <bdi>{}</bdi>. It is still refused, because it has expired."
    else:
        words = "Resumed <bdi>{}</bdi>. It works from the next request on."
    return Markup(words).format(view.name)  # noqa: S704 - the words are ours, the name is escaped
