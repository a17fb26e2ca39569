"""The organisation itself."""

from pydantic import Field

from webapp.schemas import Input, Output
from webapp.schemas.values import Moment, Name


class OrganizationPatch(Input):
    """A merge patch: what is absent stays."""

    name: Name = Field(default_factory=str)


class OrganizationInfo(Output):
    """An organisation."""

    id: str
    name: str
    created_at: Moment
