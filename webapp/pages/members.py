"""Members, below Settings, for administrators: shutting them out, letting them in, a new password for a lost one."""

from flask import Blueprint, redirect
from flask_login import current_user
from markupsafe import Markup
from werkzeug.wrappers import Response

from webapp.actions import users
from webapp.context import Conflict, now
from webapp.queries.users import get_user, list_users, live_tokens_of
from webapp.render import page, relative, tell
from webapp.security import current_actor, require

bp = Blueprint("members", __name__, url_prefix="/settings/members")


@bp.get("")
@require("admin")
def index() -> Response:
    at = now()
    members = [(view, relative(view.created_at, at)) for view in list_users(current_actor().org_id)]
    return page("members.html", members=members, my_id=current_user.user_id)


@bp.get("/<user_id>/deactivate")
@require("admin")
def ask(user_id: str) -> Response:
    org_id = current_actor().org_id
    member = get_user(org_id, user_id)
    return page("member.html", "panel", step="deactivate", member=member, tokens=live_tokens_of(org_id, member.email))


@bp.post("/<user_id>/deactivate")
@require("admin")
def deactivate(user_id: str) -> Response:
    if user_id == current_user.user_id:
        return _refused("You cannot deactivate yourself. Another administrator can.")
    try:
        member = users.deactivate_user(current_actor(), user_id)
    except Conflict as conflict:
        return _refused(conflict.message)
    tell(Markup("Deactivated <bdi>{}</bdi>. All of their sessions and tokens have ended.").format(member.email))
    return redirect("/settings/members", code=303)


@bp.post("/<user_id>/activate")
@require("admin")
def activate(user_id: str) -> Response:
    member = users.activate_user(current_actor(), user_id)
    tell(Markup("<bdi>{}</bdi> may log in again.").format(member.email))
    return redirect("/settings/members", code=303)


@bp.get("/<user_id>/password")
@require("admin")
def ask_password(user_id: str) -> Response:
    return page("member.html", "panel", step="password", member=get_user(current_actor().org_id, user_id))


@bp.post("/<user_id>/password")
@require("admin")
def reset_password(user_id: str) -> Response:
    """A new password, shown this once to the administrator, who hands it over."""
    if user_id == current_user.user_id:
        return _refused("Change your own password under Account.")
    created = users.reset_password(current_actor(), user_id)
    member = get_user(current_actor().org_id, user_id)
    return page("member.html", "panel", status=201, step="reset", member=member, secret=created.password)


def _refused(text: str) -> Response:
    return page("notice.html", "panel", status=409, title="Nothing was changed", text=text)
