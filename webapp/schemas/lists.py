"""What may be asked for in an address: pages of a list, and what was used."""

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, NoReturn

from pydantic import BeforeValidator, ConfigDict, Field

from shared import periods
from shared.models import TAG_LENGTH
from webapp.schemas import Fault, Input
from webapp.schemas.provider_names import AnyProvider
from webapp.schemas.texts import read_tag
from webapp.schemas.values import Day, number_in, one_of, whole

STATUSES = ("active", "paused", "expired", "revoked")
SORTS = ("created_at", "name", "last_used_at", "expires_at", "spend")
_ALSO = {"last_used": "last_used_at"}  # as the contract has it
GROUPS = ("day", "key", "provider", "model", "tag", "label")
FORMS = ("json", "csv")
MAX_LIMIT = 200
MAX_USED = 1_000  # keys by what they used, a page
_DEFAULT_DAYS = 30
_LONGEST_RANGE = timedelta(days=3660)
_FURTHEST_AHEAD = timedelta(days=366)
_LONGEST_SEARCH = 80
_LONGEST_ACTOR = 254  # as an email may be long
FOREIGN_CURSOR = "is not one that this list gave; start without it"
_SIGNED_SORTS = tuple(sign + name for name in (*SORTS, *_ALSO) for sign in ("", "-"))


def _search(longest: int) -> Callable[[object], str]:
    def read(raw: object) -> str:
        if not isinstance(raw, str) or len(raw) > longest or not raw.isprintable():
            raise ValueError(f"must be at most {longest} printable characters")
        return raw

    return read


def _sort(raw: object) -> str:
    if not isinstance(raw, str) or raw not in _SIGNED_SORTS:
        raise ValueError(f"must be one of {', '.join(SORTS)}, with a minus before it to turn it round")
    name = raw.removeprefix("-")
    return raw.removesuffix(name) + _ALSO.get(name, name)


def _several(raw: object) -> object:
    return [raw] if isinstance(raw, str) else raw


def _flag(raw: object) -> bool:
    if raw in ("true", "false"):
        return raw == "true"
    if not isinstance(raw, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - wrong input
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
        raise ValueError(FOREIGN_CURSOR) from None
    if not isinstance(place, list):
        raise ValueError(FOREIGN_CURSOR)  # noqa: TRY004 - wrong input
    return place


def usage_cursor(group_by: str, place: tuple[int, str]) -> str:
    """Where a list of what was used goes on: behind what its last group has cost, in nano-dollars, and its name."""
    return cursor_of("usage", group_by, *place)


def usage_place(group_by: str, cursor: str) -> tuple[int, str]:
    """The place that `usage_cursor` told; costs are below nothing after adjustments. Raises ValueError, TypeError."""
    kind, of_group, nanos, text = read_cursor(cursor)
    if (kind, of_group) != ("usage", group_by) or type(nanos) is not int or not -(2**63) <= nanos < 2**63:
        raise ValueError("another list's")
    return nanos, "" if text == "" else as_text(text)  # so a model is told that is not known


def _in_query(read: Callable[[object], int]) -> Callable[[object], int]:
    """The reader of a number, where it is written as text."""
    return lambda raw: read(number_in(raw) if isinstance(raw, str) else raw)


Status = Annotated[str, BeforeValidator(one_of(*STATUSES)), Field(json_schema_extra={"enum": list(STATUSES)})]
Flag = Annotated[bool, BeforeValidator(_flag)]
Group = Annotated[str, BeforeValidator(one_of(*GROUPS)), Field(json_schema_extra={"enum": list(GROUPS)})]
Form = Annotated[str, BeforeValidator(one_of(*FORMS)), Field(json_schema_extra={"enum": list(FORMS)})]


_Actor = Annotated[str, BeforeValidator(_search(_LONGEST_ACTOR)), Field(max_length=_LONGEST_ACTOR)]


class Pages(Input):
    """A page of a list, and where it begins."""

    limit: Annotated[int, BeforeValidator(_in_query(whole(1, MAX_LIMIT))), Field(ge=1, le=MAX_LIMIT)] = Field(
        default=50, description="How many at most."
    )
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")

    def judge(self, wrong: frozenset[str], context: Mapping[str, Any]) -> Iterator[Fault]:
        yield from super().judge(wrong, context)
        if "cursor" in wrong:
            return
        try:
            self.place()
        except (ValueError, TypeError, OverflowError):
            yield "cursor", FOREIGN_CURSOR

    def place(self) -> tuple[Any, ...] | None:
        """Where the page before ended; None: there was none.

        Raises ValueError, TypeError or OverflowError for what this list did not give; `judge` refuses that.
        """
        raise NotImplementedError


class KeyQuery(Pages):
    """Which keys, and in which order."""

    status: Annotated[list[Status], BeforeValidator(_several)] | None = Field(
        default=None, description="Only keys in one of these states; may be given several times, or with commas."
    )
    q: Annotated[str, BeforeValidator(_search(_LONGEST_SEARCH)), Field(max_length=_LONGEST_SEARCH)] | None = Field(
        default=None, description="Part of a name or of a model's pattern, or the start of a prefix, a tag or an owner."
    )
    tag: Annotated[str, BeforeValidator(read_tag), Field(max_length=TAG_LENGTH)] | None = Field(
        default=None, description="Only keys with this tag."
    )
    provider: AnyProvider | None = Field(default=None, description="Only keys that may use this provider.")
    created_by: _Actor | None = Field(default=None, description="Only keys that this member or token made.")
    attention: Flag = Field(
        default=False,
        description=(
            "Only active keys that were refused within a day, or within 7 days for a reason that lasts and with "
            "nothing gone through since, that expire within 7 days, have used 80 % of their limit or have none, or "
            "were unused for 30 days."
        ),
    )
    near_limit: Flag = Field(default=False, description="Only active keys that have used 80 % of their spend limit.")
    expiring: Flag = Field(default=False, description="Only active keys that expire within 7 days.")
    refused: Flag = Field(default=False, description="Only active keys that were refused within a day.")
    has_limit: Flag | None = Field(
        default=None, description="Only keys with a spend limit, of their own or for models; or only those without any."
    )
    dormant: Flag = Field(default=False, description="Only active keys that were unused for 30 days.")
    sort: Annotated[str, BeforeValidator(_sort), Field(json_schema_extra={"enum": list(_SIGNED_SORTS)})] = Field(
        default="-created_at", description="A minus turns it round. `spend` is what a key has spent in all."
    )
    total: Flag = Field(
        default=False, description="Whether to count all that match, which takes seconds for a million."
    )

    def judge(self, wrong: frozenset[str], context: Mapping[str, Any]) -> Iterator[Fault]:
        """The place of a cursor is a value of the column that is sorted by, so it goes with no other."""
        if "sort" not in wrong:
            yield from super().judge(wrong, context)

    @property
    def active_alone(self) -> bool:
        """Whether one of the filters that are about active keys is in use."""
        return self.attention or self.near_limit or self.expiring or self.refused or self.dormant

    @property
    def by(self) -> str:
        """What is sorted by."""
        return self.sort.removeprefix("-")

    @property
    def descending(self) -> bool:
        return self.sort.startswith("-")

    def place(self) -> tuple[Any, str] | None:
        """The sorted value, None if it has none, and the id with which the page before ended."""
        if not self.cursor:
            return None
        kind, value, key_id = read_cursor(self.cursor)
        read = _READERS[self.by] if kind == self.sort else _of_another_list
        return read(value), as_text(key_id)


def as_text(value: object) -> str:
    """What a database compares texts with: no NUL in it, and nothing that cannot be encoded. Raises ValueError."""
    if not isinstance(value, str) or "\0" in value or not value.encode():
        raise ValueError("no text")
    return value


def as_moment(value: object) -> datetime:
    """Raises ValueError, TypeError, OverflowError."""
    return datetime.fromisoformat(as_text(value)).astimezone(UTC)


def _of_another_list(_: object) -> NoReturn:
    raise ValueError("another list's")


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError("no amount")
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "created_at": as_moment,
    "name": as_text,
    "last_used_at": lambda value: None if value is None else as_moment(value),
    "expires_at": lambda value: None if value is None else as_moment(value),
    "spend": lambda value: None if value is None else _whole(value),
}


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

    def judge(self, wrong: frozenset[str], context: Mapping[str, Any]) -> Iterator[Fault]:
        yield from super().judge(wrong, context)
        today: date = periods.day_of(context["now"].timestamp(), context.get("zone"))
        # Much later there is no calendar to put into weeks and months.
        latest = today + _FURTHEST_AHEAD
        late = [name for name, day in (("from", self.from_), ("to", self.to)) if day is not None and day > latest]
        yield from ((name, f"must not be after {latest.isoformat()}, a year from now") for name in late)
        if late or wrong & {"from", "to"}:
            return
        last = self.to or max(today, self.from_ or today)
        first = self.from_ or last - timedelta(days=min(_DEFAULT_DAYS - 1, last.toordinal() - 1))
        if last < first:
            yield "to", "must not be before from"
        if last - first > _LONGEST_RANGE:
            yield "from", "must be at most ten years before to"
        self._days = first, last

    @property
    def days(self) -> tuple[date, date]:
        """The first and the last day."""
        return self._days


class OrganizationUsageQuery(UsageQuery):
    """The same of all keys, which by key come a page at a time."""

    limit: Annotated[int, BeforeValidator(_in_query(whole(1, MAX_USED))), Field(ge=1, le=MAX_USED)] | None = Field(
        default=None, description="By key alone: how many at most; 200 by default."
    )
    cursor: str | None = Field(default=None, description="By key alone: `next_cursor` of the page before.")

    def judge(self, wrong: frozenset[str], context: Mapping[str, Any]) -> Iterator[Fault]:
        yield from super().judge(wrong, context)
        of_keys = wrong & {"group_by", "format"} or (self.group_by, self.format) == ("key", "json")
        for name in ("limit", "cursor"):
            if getattr(self, name) and not of_keys:
                yield name, "goes with group_by=key and JSON only, which come a page at a time"
        try:
            if of_keys and "cursor" not in wrong:
                self.place()
        except (ValueError, TypeError):
            yield "cursor", FOREIGN_CURSOR

    def place(self) -> tuple[int, str] | None:
        """What the last key of the page before has cost, in nano-dollars, and its id."""
        if not self.cursor:
            return None
        return usage_place("key", self.cursor)
