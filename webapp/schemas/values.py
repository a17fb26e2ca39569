"""The kinds of values that fields have.

A reader takes a raw value and answers with the column's, or raises ValueError with a sentence for people; the
annotation beside it is what OpenAPI tells.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo, WithJsonSchema

from shared import money, periods
from shared.addresses import may_be_reached, parse, parse_network
from shared.models import NAME_LENGTH, SCOPES
from shared.periods import RESETS
from shared.secret_text import holds_secret, shown

T = TypeVar("T")

MAX_RPM = 1_000_000_000
MAX_TPM = MAX_RPM  # tokens
MAX_CONCURRENT = 1_000_000
MAX_ENTRIES = 200
_LONGEST_ADDRESS = 64
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,15}")
# Line and paragraph separators, control characters and lone surrogates; marks of direction are people's own business.
_NOT_IN_NAMES = frozenset(("Cc", "Cs", "Zl", "Zp"))


def read_name(raw: object) -> str:
    """A label of 1 to 80 characters, trimmed, in Unicode's composed form."""
    if not isinstance(raw, str):
        raise ValueError("must be text")  # noqa: TRY004 - wrong input, not a wrong call
    if any(unicodedata.category(c) in _NOT_IN_NAMES for c in raw.strip()):
        raise ValueError("must not contain control characters or line breaks")
    name = unicodedata.normalize("NFC", raw).strip()
    if not name:
        raise ValueError("must not be empty")
    if all(unicodedata.category(c)[0] in "CZ" for c in name):
        raise ValueError("must have a character that can be seen")
    if len(name) > NAME_LENGTH:
        raise ValueError(f"must have at most {NAME_LENGTH} characters, not {len(name)}")
    refuse_secret(name)
    return name


def refuse_secret(text: str) -> None:
    """Raises ValueError for a text that is shown and kept in clear, and has what looks like a secret in it."""
    if holds_secret(text):
        raise ValueError("looks like a secret, or has one in it, and would be kept in clear")


def read_moment(raw: object) -> datetime:
    """A moment as RFC 3339 tells it, with any offset; the answer is in UTC."""
    text = raw.upper() if isinstance(raw, str) else ""
    if not text.isascii() or _RFC3339.fullmatch(text) is None:
        raise ValueError("must be a moment with an offset, such as 2030-01-31T17:00:00Z (RFC 3339)")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a moment of the calendar") from None


def moment_in(raw: object) -> datetime | None:
    """The same; None for what is no moment."""
    try:
        return read_moment(raw)
    except ValueError:
        return None


def read_day(raw: object, info: ValidationInfo) -> date:
    """A day of the zone that the context tells, given as a date or as a moment in it."""
    if isinstance(raw, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", raw, re.ASCII):
        try:
            return date.fromisoformat(raw)
        except ValueError:
            raise ValueError("is not a day of the calendar") from None
    try:
        return periods.day_of(read_moment(raw).timestamp(), (info.context or {}).get("zone"))
    except OverflowError:  # near the ends of the calendar, beyond which it is there
        raise ValueError("is not on a day of the calendar there") from None
    except ValueError:
        raise ValueError("must be a date, such as 2030-01-31, or a moment (RFC 3339)") from None


def to_json_moment(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with a Z."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_address(raw: object) -> str:
    """An address or a CIDR range, in its usual spelling."""
    if not isinstance(raw, str):
        raise ValueError("must be a list of texts")  # noqa: TRY004 - wrong input
    text = raw.strip()
    if len(text) > _LONGEST_ADDRESS or holds_secret(text):
        raise ValueError(f"{shown(text)}... is neither an address nor a CIDR range")
    network = parse_network(text)
    return str(network) if "/" in text else str(network.network_address)


def read_scope(raw: object) -> str:
    if not isinstance(raw, str) or raw not in SCOPES:
        told = f"{shown(raw)} is not a scope" if isinstance(raw, str) else "must be a list of texts"
        raise ValueError(f"{told}; choose from {', '.join(SCOPES)}")
    return raw


def read_rpm(raw: object) -> int:
    """A whole number; a form's text of one as well."""
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise ValueError("must be a whole number, such as 60")  # noqa: TRY004 - wrong input
    if raw == 0:
        raise ValueError("must be at least 1; to stop the key for now, set paused instead")
    if not 1 <= raw <= MAX_RPM:
        raise ValueError(f"must be a whole number from 1 to {MAX_RPM:,}, not {raw}")
    return raw


def read_tpm(raw: object) -> int:
    """The same, of tokens."""
    if not isinstance(raw, int) or isinstance(raw, bool) or not 1 <= raw <= MAX_TPM:
        raise ValueError(f"must be a whole number from 1 to {MAX_TPM:,}; to stop the key for now, set paused")
    return raw


def read_concurrent(raw: object) -> int:
    """A whole number of requests."""
    if not isinstance(raw, int) or isinstance(raw, bool) or not 1 <= raw <= MAX_CONCURRENT:
        raise ValueError(f"must be a whole number from 1 to {MAX_CONCURRENT:,}; to stop the key for now, set paused")
    return raw


def dollars_in_json(**least: int) -> WithJsonSchema:
    """How an amount is written in JSON; `least` is JSON schema's word for where numbers begin."""
    written = {"type": "string", "pattern": r"^\s*\d{1,7}(\.\d{1,9})?\s*$"}
    return WithJsonSchema({"anyOf": [written, {"type": "number", **least, "maximum": 9_007_199}]})


def read_dollars(raw: object) -> int:
    """Nano-dollars of a plain amount, given as text or as a number exactly as it was written."""
    if isinstance(raw, bool) or not isinstance(raw, str | int | Decimal):
        raise ValueError("must be an amount in dollars, or null for no limit")  # noqa: TRY004 - wrong input
    if isinstance(raw, Decimal):
        if not raw.is_finite() or raw.adjusted() > 30 or raw.adjusted() < -30:
            raise ValueError("must be a plain amount in dollars, such as 20 or 0.50")
        raw = format(raw, "f")
    text = str(raw).strip()
    if text.startswith("-"):
        raise ValueError("must not be negative; 0 lets nothing be spent")
    return money.from_usd(text)


def read_expiry(raw: object, info: ValidationInfo) -> datetime:
    """A moment still to come, by the context's `now`; the context's `keep_expiry`, which a key has, may be past."""
    expiry, context = read_moment(raw), info.context or {}
    if expiry <= context["now"] and expiry != context.get("keep_expiry"):
        raise ValueError("must be in the future")
    return expiry


def reachable(setting: str, host_of: Callable[[str], str]) -> Callable[[str, ValidationInfo], str]:
    """A judge of addresses by the context's `networks`, so that what every attempt would be refused is told at once.

    A name is judged when it is connected to. `setting` is where other networks are allowed.
    """

    def judge(url: str, info: ValidationInfo) -> str:
        address = parse(host_of(url))
        if address is not None and not may_be_reached(address, (info.context or {})["networks"]):
            raise ValueError(f"is not a public address; {setting} could allow it")
        return url

    return judge


def was_moment_before(field: str) -> Callable[[Any, Mapping[str, Any]], bool]:
    """A judge of a stamp that only moves on: whether it was none yet, or an earlier one than the one that is served."""

    def judge(said: Any, served: Mapping[str, Any]) -> bool:
        before, now = moment_in(said), moment_in(served[field])
        return now is not None and (said is None or (before is not None and before <= now))

    return judge


def is_none(value: object) -> bool:
    """For fields that are left out when there is nothing to tell."""
    return value is None


def is_nothing(count: int) -> bool:
    """The same for counts."""
    return not count


def read_text(raw: object) -> str:
    """Text that can be stored and compared; what it means is judged elsewhere."""
    if not isinstance(raw, str) or not raw.isprintable():
        raise ValueError("must be printable text")
    return raw


def read_flag(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - wrong input
    return raw


def one_of(*choices: str) -> Callable[[object], str]:
    """A reader of one of these texts."""

    def read(raw: object) -> str:
        if not isinstance(raw, str) or raw not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return raw

    return read


def whole(low: int, high: int) -> Callable[[object], int]:
    """A reader of a whole number between two."""

    def read(raw: object) -> int:
        if not isinstance(raw, int) or isinstance(raw, bool) or not low <= raw <= high:
            raise ValueError(f"must be a whole number from {low:,} to {high:,}")
        return raw

    return read


def number_in(text: str) -> int | str:
    """What forms, commands and queries write of a whole number; what is none stays text, for its reader to refuse."""
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else text


def read_list(raw: object, most: int, of: str, entries: str = "entries") -> list[Any]:
    """A list of at most so many; `of` and `entries` say of what. Raises ValueError."""
    if not isinstance(raw, list | tuple):
        raise ValueError(f"must be a list of {of}")  # noqa: TRY004 - wrong input
    if len(raw) > most:
        raise ValueError(f"must have at most {most} {entries}, not {len(raw)}")
    return list(raw)


def _entries(raw: object) -> list[Any]:
    return read_list(raw, MAX_ENTRIES, "texts")


def each_once(values: list[T]) -> list[T]:
    """Without repetitions, in their order."""
    return list(dict.fromkeys(values))


def _some(values: list[T]) -> list[T]:
    if not values:
        raise ValueError("must name at least one scope")
    return values


def _in_order_of(order: tuple[str, ...]) -> Callable[[list[str]], list[str]]:
    return lambda values: [value for value in order if value in values]


LIST = (BeforeValidator(_entries), Field(max_length=MAX_ENTRIES))

Name = Annotated[str, BeforeValidator(read_name), Field(min_length=1, max_length=NAME_LENGTH)]
Addresses = Annotated[list[Annotated[str, BeforeValidator(read_address)]], *LIST, AfterValidator(each_once)]
Scope = Annotated[str, BeforeValidator(read_scope), Field(json_schema_extra={"enum": list(SCOPES)})]
Scopes = Annotated[list[Scope], *LIST, AfterValidator(_some), AfterValidator(_in_order_of(SCOPES))]
RequestsPerMinute = Annotated[int, BeforeValidator(read_rpm), Field(ge=1, le=MAX_RPM)]
TokensPerMinute = Annotated[int, BeforeValidator(read_tpm), Field(ge=1, le=MAX_TPM)]
ConcurrentRequests = Annotated[int, BeforeValidator(read_concurrent), Field(ge=1, le=MAX_CONCURRENT)]
Reset = Annotated[str, BeforeValidator(one_of(*RESETS)), Field(json_schema_extra={"enum": list(RESETS)})]
# Dollars outside, nano-dollars inside.
Dollars = Annotated[
    int,
    BeforeValidator(read_dollars),
    dollars_in_json(minimum=0),
]
Expiry = Annotated[datetime, BeforeValidator(read_expiry), WithJsonSchema({"type": "string", "format": "date-time"})]
Day = Annotated[
    date,
    BeforeValidator(read_day),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}),
]
# What is answered with.
Moment = Annotated[
    datetime,
    PlainSerializer(to_json_moment, return_type=str, when_used="json-unless-none"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Money = Annotated[str, Field(pattern=r"^-?\d+\.\d{2,9}$", examples=["12.50"])]
