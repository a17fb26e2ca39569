"""Members of staff: what may be set of one, and what is told of one."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from shared.models import ROLES
from webapp.schemas import Input, Output
from webapp.schemas.values import Moment, is_none, one_of, read_flag, read_text

Role = Annotated[str, BeforeValidator(one_of(*ROLES)), Field(json_schema_extra={"enum": list(ROLES)})]


class NewMember(Input):
    """A member of staff to be added."""

    email: Annotated[str, BeforeValidator(read_text), Field(max_length=254)]
    role: Role = Field(default="member", description="A viewer reads, a member manages keys, an admin everything.")
    password: Annotated[str, BeforeValidator(read_text), Field(max_length=1024)] | None = Field(
        default=None, description="One is made up if there is none."
    )


class MemberPatch(Input):
    """A merge patch: what is absent stays."""

    role: Role = Field(default_factory=str)
    active: Annotated[bool, BeforeValidator(read_flag)] = Field(
        default_factory=bool, description="False: may not log in, and every session ends at once."
    )


class Member(Output):
    """A member of staff."""

    id: str
    email: str
    role: str
    active: bool
    created_at: Moment


class CreatedMember(Member):
    """A member of staff, and the password that was made up, at the only moment that it can be seen."""

    password: str | None = Field(default=None, exclude_if=is_none)


class MemberList(Output):
    """All members, by email."""

    data: list[Member]
