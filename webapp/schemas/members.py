"""Members of staff: what may be set of one, and what is told of one."""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from shared.models import ROLES
from webapp import passwords
from webapp.schemas import Fault, Input, Output
from webapp.schemas.values import Moment, is_none, one_of, read_flag, read_text, refuse_secret

LONGEST_EMAIL = 254


def fold_email(email: str) -> str:
    """One spelling for all that people type."""
    return unicodedata.normalize("NFKC", email).strip().casefold()


def read_person(raw: object) -> str:
    """An email as it was typed; it names somebody wherever it is told what they did."""
    text = read_text(raw)
    refuse_secret(text)  # as it is: some are known by their capitals
    email = fold_email(text)
    name, _, domain = email.partition("@")
    if not name or not domain or "@" in domain or len(email) > LONGEST_EMAIL or not email.isprintable() or " " in email:
        raise ValueError("is not an email address")
    return text


Person = Annotated[str, BeforeValidator(read_person), Field(max_length=LONGEST_EMAIL)]
Role = Annotated[str, BeforeValidator(one_of(*ROLES)), Field(json_schema_extra={"enum": list(ROLES)})]


class NewMember(Input):
    """A member of staff to be added."""

    email: Person
    role: Role = Field(default="member", description="A viewer reads, a member manages keys, an admin everything.")
    password: Annotated[str, BeforeValidator(read_text), Field(max_length=1024)] | None = Field(
        default=None, description="One is made up if there is none."
    )

    def judge(self, wrong: frozenset[str], context: Mapping[str, Any]) -> Iterator[Fault]:
        yield from super().judge(wrong, context)
        email = "" if "email" in wrong else fold_email(self.email)
        if self.password is not None and (problem := passwords.problem(self.password, email=email)) is not None:
            yield "password", problem


class MemberPatch(Input):
    """A merge patch: what is absent stays."""

    read_only: ClassVar = frozenset(("id", "email", "created_at"))

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
