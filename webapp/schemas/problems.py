"""What is answered in the place of everything else."""

from pydantic import ConfigDict, Field

from webapp.schemas import Output


class FieldFault(Output):
    """What is wrong with one field."""

    field: str = Field(description="Its name; empty for the whole.")
    message: str


class Problem(Output):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:enterprise-router:problem:invalid"])
    title: str
    status: int
    code: str = Field(description="Its stable name, for programs.")
    detail: str = Field(description="What is wrong, for people.")
    request_id: str
    errors: list[FieldFault] = Field(description="Every field that cannot be taken.")
