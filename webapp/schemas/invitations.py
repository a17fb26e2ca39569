"""Invitations of members of staff."""

from pydantic import Field

from webapp.schemas import Input, Output
from webapp.schemas.members import Person, Role
from webapp.schemas.values import Moment


class NewInvitation(Input):
    """Somebody to be invited."""

    email: Person
    role: Role = Field(default="member", description="A viewer reads, a member manages keys, an admin everything.")


class InvitationInfo(Output):
    """An invitation that was not accepted yet."""

    id: str
    email: str
    role: str
    created_at: Moment
    created_by: str
    expires_at: Moment


class CreatedInvitation(InvitationInfo):
    """An invitation, and its link at the only moment that it can be seen."""

    url: str = Field(description="Opens once, for whoever has it: they choose a password and are a member.")


class InvitationList(Output):
    """Invitations that can still be accepted, by email."""

    data: list[InvitationInfo]
