"""`/v1/members`: who may log in to the dashboard, and as what."""

from typing import Any

from flask import Blueprint, Response

from shared.models import ADMIN_SCOPE
from webapp.access import current_actor
from webapp.actions.members import update_member
from webapp.actions.users import create_user
from webapp.api.answers import answer
from webapp.api.spec import operation
from webapp.queries.users import get_user, list_users
from webapp.schemas.members import CreatedMember, Member, MemberList, MemberPatch, NewMember
from webapp.validation import read

bp = Blueprint("api_members", __name__, url_prefix="/v1/members")

ID = {"member_id": "The member's id, usr_ and 26 characters."}


@bp.get("")
@operation("listMembers", ADMIN_SCOPE, MemberList, "All members")
def index() -> Response:
    """List members of staff, by email."""
    return answer(MemberList(data=[Member.model_validate(view) for view in list_users(current_actor().org_id)]))


@bp.post("")
@operation(
    "createMember",
    ADMIN_SCOPE,
    CreatedMember,
    "The member, and in `password` the one that was made up, this once",
    status=201,
    body=NewMember,
    problems=(409,),
)
def create(document: dict[str, Any]) -> Response:
    """Add a member of staff."""
    wanted, actor = read(NewMember, document), current_actor()
    created = create_user(actor, wanted.email, wanted.role, password=wanted.password)
    told = CreatedMember.model_validate(get_user(actor.org_id, created.user_id))
    told.password = created.password
    return answer(told, 201, headers={"Location": f"/v1/members/{created.user_id}"})


@bp.get("/<member_id>")
@operation("getMember", ADMIN_SCOPE, Member, "The member", path=ID, problems=(404,))
def show(member_id: str) -> Response:
    """Read a member of staff."""
    return answer(Member.model_validate(get_user(current_actor().org_id, member_id)))


@bp.patch("/<member_id>")
@operation(
    "updateMember", ADMIN_SCOPE, Member, "The member as they are now", path=ID, body=MemberPatch, problems=(404, 409)
)
def update(member_id: str, document: dict[str, Any]) -> Response:
    """Change a member's role, or whether they may log in; whoever may not is logged out at once."""
    actor = current_actor()
    served = Member.model_validate(get_user(actor.org_id, member_id)).model_dump(mode="json")
    return answer(Member.model_validate(update_member(actor, member_id, document, served=served)))


@bp.delete("/<member_id>")
@operation("removeMember", ADMIN_SCOPE, Member, "The member, who may not log in", path=ID, problems=(404, 409))
def remove(member_id: str) -> Response:
    """Let a member go: no more login, and every session ends. The member stays in lists and in the audit log."""
    return answer(Member.model_validate(update_member(current_actor(), member_id, {"active": False})))
