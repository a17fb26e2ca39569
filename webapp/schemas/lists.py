"""What may be asked for in an address: pages of a list, and what was used."""

import base64
import binascii
import json
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from webapp.schemas import Input
from webapp.schemas.values import Day, one_of, whole

STATUSES = ("active", "paused", "expired", "revoked")
SORTS = ("created_at", "name", "last_used_at", "expires_at")
GROUPS = ("day", "key", "provider", "model")
FORMS = ("json", "csv")
MAX_LIMIT = 200
_DEFAULT_DAYS = 30
_LONGEST_RANGE = timedelta(days=3660)
_LONGEST_SEARCH = 80
_SIGNED_SORTS = tuple(sign + name for name in SORTS for sign in ("", "-"))


def _search(raw: object) -> str:
    if not isinstance(raw, str) or len(raw) > _LONGEST_SEARCH or not raw.isprintable():
        raise ValueError(f"must be at most {_LONGEST_SEARCH} printable characters")
    return raw


def _sort(raw: object) -> str:
    if not isinstance(raw, str) or raw not in _SIGNED_SORTS:
        raise ValueError(f"must be one of {', '.join(SORTS)}, with a minus before it to turn it round")
    return raw


def cursor_of(*place: Any) -> str:
    """Where a page ended, as its reader hands it back: opaque, and safe in an address."""
    told = [value.isoformat() if isinstance(value, datetime) else value for value in place]
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> list[Any]:
    """The place that `cursor_of` told. Raises ValueError for a text that it cannot have made."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError, binascii.Error):
        raise ValueError("is not one that this list gave; start without it") from None
    if not isinstance(place, list):
        raise ValueError("is not one that this list gave; start without it")  # noqa: TRY004 - wrong input
    return place


Status = Annotated[str, BeforeValidator(one_of(*STATUSES)), Field(json_schema_extra={"enum": list(STATUSES)})]
Group = Annotated[str, BeforeValidator(one_of(*GROUPS)), Field(json_schema_extra={"enum": list(GROUPS)})]
Form = Annotated[str, BeforeValidator(one_of(*FORMS)), Field(json_schema_extra={"enum": list(FORMS)})]


class Pages(Input):
    """A page of a list, and where it begins."""

    limit: Annotated[int, BeforeValidator(whole(1, MAX_LIMIT)), Field(ge=1, le=MAX_LIMIT)] = Field(
        default=50, description="How many at most."
    )
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


class KeyQuery(Pages):
    """Which keys, and in which order."""

    status: Status | None = Field(default=None, description="Only keys in this state.")
    q: Annotated[str, BeforeValidator(_search), Field(max_length=_LONGEST_SEARCH)] | None = Field(
        default=None, description="Part of a name, or the start of a prefix."
    )
    sort: Annotated[str, BeforeValidator(_sort), Field(json_schema_extra={"enum": list(_SIGNED_SORTS)})] = Field(
        default="-created_at", description="A minus turns it round."
    )

    @model_validator(mode="after")
    def _cursor_is_of_this_sort(self) -> "KeyQuery":
        """The place of a cursor is a value of the column that is sorted by, so it goes with no other."""
        if self.cursor:
            self.place()
        return self

    def place(self) -> tuple[Any, str] | None:
        """The sorted value and the id with which the page before ended."""
        if not self.cursor:
            return None
        try:
            return _place(read_cursor(self.cursor), self.sort)
        except (ValueError, OverflowError):
            message = "is not one that this list gave; start without it"
            raise PydanticCustomError("of_field", "cursor", {"field": "cursor", "message": message}) from None


def _place(told: list[Any], sort: str) -> tuple[Any, str]:
    """What a cursor of this sort tells. Raises ValueError, OverflowError."""
    kind, value, key_id = told
    if kind != sort or not isinstance(key_id, str) or not isinstance(value, str):
        raise ValueError("another list's")
    # A NUL, and what cannot be encoded, is nothing that a database compares with.
    if "\0" in value + key_id or not (value + key_id).encode():
        raise ValueError("no text")
    if sort.removeprefix("-") == "name":
        return value, key_id
    return datetime.fromisoformat(value).astimezone(UTC), key_id


class UsageQuery(Input):
    """Which days, summed by what, in which form."""

    model_config = ConfigDict(validate_by_name=False, validate_by_alias=True)

    from_: Day | None = Field(
        default=None, alias="from", description="First day, or a moment in it; 29 days before the last by default."
    )
    to: Day | None = Field(default=None, description="Last day, or a moment in it, included; today by default.")
    group_by: Annotated[str, BeforeValidator(one_of(*GROUPS)), Field(json_schema_extra={"enum": list(GROUPS)})] = Field(
        default="day", description="What to sum by."
    )
    format: Annotated[
        str, BeforeValidator(one_of("json", "csv")), Field(json_schema_extra={"enum": ["json", "csv"]})
    ] = Field(default="json", description="The form of the answer.")
    _days: tuple[date, date]

    @model_validator(mode="after")
    def _in_order(self, info: ValidationInfo) -> "UsageQuery":
        today: date = (info.context or {})["now"].date()
        last = self.to or max(today, self.from_ or today)
        first = self.from_ or last - timedelta(days=min(_DEFAULT_DAYS - 1, last.toordinal() - 1))
        if last < first:
            raise PydanticCustomError("of_field", "to", {"field": "to", "message": "must not be before from"})
        if last - first > _LONGEST_RANGE:
            message = "must be at most ten years before to"
            raise PydanticCustomError("of_field", "from", {"field": "from", "message": message})
        self._days = first, last
        return self

    @property
    def days(self) -> tuple[date, date]:
        """The first and the last day."""
        return self._days
