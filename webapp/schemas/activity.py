"""Which requests of an organisation, and which of its refusals."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from shared.policy import Reason
from webapp.schemas import Fault
from webapp.schemas.lists import FOREIGN_CURSOR, Pages, as_moment, as_text, cursor_of, read_cursor
from webapp.schemas.provider_names import AnyProvider
from webapp.schemas.values import one_of, read_moment, read_text

# As the ledger has them (`proxyd.accounting.records.OUTCOMES`), and one word for all that are no complete answer.
OUTCOMES = ("ok", "provider_error", "client_gone", "upstream_truncated", "unknown", "crash", "unsent")
FAILED = "failed"
STATUSES = ("2xx", "4xx", "429", "5xx", "none")

_Text = Annotated[str, BeforeValidator(read_text), Field(max_length=255)]
_Outcome = Annotated[
    str, BeforeValidator(one_of(*OUTCOMES, FAILED)), Field(json_schema_extra={"enum": [*OUTCOMES, FAILED]})
]
_Status = Annotated[str, BeforeValidator(one_of(*STATUSES)), Field(json_schema_extra={"enum": [*STATUSES]})]
_At = Annotated[datetime, BeforeValidator(read_moment)]
Place = tuple[datetime, *tuple[str, ...]]


class _ByTime(Pages):
    """A page of a list that goes by time and, within a moment, by ids."""

    kind: ClassVar[str]  # of the list, so that its cursors are of no other
    ids: ClassVar[int] = 1  # how many tell rows of a moment apart

    key: _Text | None = Field(default=None, description="Only those of the key with this id.")
    model: _Text | None = Field(default=None, description="Only models with this in their name.")
    since: _At | None = Field(default=None, alias="from", description="Only those from this moment on.")
    until: _At | None = Field(default=None, alias="to", description="Only those before this moment.")

    def judge(self, wrong: frozenset[str], context: Mapping[str, Any]) -> Iterator[Fault]:
        yield from super().judge(wrong, context)
        if self.since is not None and self.until is not None and self.until <= self.since:
            yield "to", "must be after from"

    def place(self) -> Place | None:
        """Where the page before ended."""
        if self.cursor is None:
            return None
        kind, at, *ids = read_cursor(self.cursor)
        if kind != self.kind or len(ids) != self.ids:
            raise ValueError(FOREIGN_CURSOR)
        return (as_moment(at), *map(as_text, ids))

    @classmethod
    def cursor_behind(cls, place: Place) -> str:
        return cursor_of(cls.kind, *place)


class SentFilter(_ByTime):
    """Which of the requests that were sent to a provider."""

    kind = "sent"

    provider: AnyProvider | None = Field(default=None, description="Only requests to this provider.")
    outcome: _Outcome | None = Field(
        default=None, description="Only requests that ended so; `failed` is all that are not `ok`."
    )
    status: _Status | None = Field(default=None, description="Only requests whose client was given such a status.")
    provider_request_id: _Text | None = Field(default=None, description="Only what the provider calls so.")
    label: _Text | None = Field(default=None, description="Only requests that their client gave this label.")


_REASONS = tuple(reason.value for reason in Reason)
_Reason = Annotated[str, BeforeValidator(one_of(*_REASONS)), Field(json_schema_extra={"enum": [*_REASONS]})]


class RefusedFilter(_ByTime):
    """Which of the refusals: one for each key and reason."""

    kind = "refused"
    ids = 2

    reason: _Reason | None = Field(default=None, description="Only refusals for this reason.")
