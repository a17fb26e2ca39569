"""`/v1/invitations`: links by which people become members of staff."""

from typing import Any

from flask import Blueprint, Response

from shared.models import ADMIN_SCOPE
from webapp.access import current_actor
from webapp.actions.invitations import invite, withdraw
from webapp.addresses import dashboard_url
from webapp.api.answers import answer
from webapp.api.spec import operation
from webapp.queries.invitations import list_invitations
from webapp.schemas.invitations import CreatedInvitation, InvitationInfo, InvitationList, NewInvitation
from webapp.validation import read

bp = Blueprint("api_invitations", __name__, url_prefix="/v1/invitations")


@bp.get("")
@operation("listInvitations", ADMIN_SCOPE, InvitationList, "Those that can still be accepted")
def index() -> Response:
    """List invitations, by email."""
    views = list_invitations(current_actor().org_id)
    return answer(InvitationList(data=[InvitationInfo.model_validate(view) for view in views]))


@bp.post("")
@operation(
    "createInvitation",
    ADMIN_SCOPE,
    CreatedInvitation,
    "The invitation, and in `url` its link, this once",
    status=201,
    body=NewInvitation,
    problems=(409,),
)
def create(document: dict[str, Any]) -> Response:
    """Invite somebody, in the place of an earlier invitation of the same email. Nothing is sent: hand the link over."""
    wanted = read(NewInvitation, document)
    created = invite(current_actor(), wanted.email, wanted.role)
    told = InvitationInfo.model_validate(created.view).model_dump()
    return answer(CreatedInvitation(**told, url=f"{dashboard_url()}/invitation/{created.secret}"), 201)


@bp.delete("/<invitation_id>")
@operation(
    "withdrawInvitation",
    ADMIN_SCOPE,
    InvitationInfo,
    "The invitation that was",
    path={"invitation_id": "The invitation's id, inv_ and 26 characters."},
    problems=(404,),
)
def remove(invitation_id: str) -> Response:
    """Make the link of an invitation worth nothing."""
    return answer(InvitationInfo.model_validate(withdraw(current_actor(), invitation_id)))
