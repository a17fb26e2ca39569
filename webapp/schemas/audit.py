"""Who changed what."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from webapp.schemas import Output
from webapp.schemas.lists import Form, Pages, as_moment, as_text, read_cursor
from webapp.schemas.values import Moment, read_moment, read_text

_Label = Annotated[str, BeforeValidator(read_text), Field(max_length=254)]
_At = Annotated[datetime, BeforeValidator(read_moment)]
Place = tuple[datetime, *tuple[str, ...]]


class AuditQuery(Pages):
    """Which events, the newest first."""

    actor: _Label | None = Field(default=None, description="Only what this member or token did.")
    action: _Label | None = Field(default=None, description="Only such events; `key.` is all that begin so.")
    target: _Label | None = Field(default=None, description="Only what was done to this id.")
    since: _At | None = Field(default=None, alias="from", description="Only events from this moment on.")
    until: _At | None = Field(default=None, alias="to", description="Only events before this moment.")
    format: Form = Field(default="json", description="The form of the answer.")

    def place(self) -> Place | None:
        """When the last event of the page before was, and its id."""
        if not self.cursor:
            return None
        at, event_id = read_cursor(self.cursor)
        return as_moment(at), as_text(event_id)


class AuditEntry(Output):
    """An event."""

    id: str
    at: Moment
    actor: str
    action: str = Field(examples=["key.update"])
    target: str = Field(description="The id of what was changed.")
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    ip: str | None


class AuditList(Output):
    """A page of events."""

    data: list[AuditEntry]
    has_more: bool
    next_cursor: str | None
