"""The one validation of what people and automation send, for forms and JSON alike.

A reader takes a raw value and answers with the column's value, or raises ValueError with a sentence for people. To
add a field of a key, add its row to `_FIELDS`.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from shared import money
from shared.addresses import parse_network
from shared.catalog import PROVIDERS
from shared.models import NAME_LENGTH, SCOPES
from shared.periods import RESETS

MAX_RPM = 1_000_000_000
MAX_ENTRIES = 200
_LONGEST_ENTRY = 200
_LONGEST_ADDRESS = 64
_SHOWN = 60
_GLOB = re.compile(r"[A-Za-z0-9._:@/*?-]+")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_STAMPS = ("created_at", "created_by", "last_used_at", "revoked_at")
_READ_ONLY = frozenset(("id", "prefix", "status", "version", "spend", "key", "org_id", "secrets", *_STAMPS))
# Line and paragraph separators, control characters and lone surrogates; marks of direction are people's own business.
_NOT_IN_NAMES = frozenset(("Cc", "Cs", "Zl", "Zp"))

KeyChanges = dict[str, Any]
Reader = Callable[[object], Any]


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field, in a sentence for people. `field` is its JSON name, "" for the whole."""

    field: str
    message: str


class Invalid(Exception):
    """The input cannot be taken. Nothing was written."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = errors


def parse_key(
    document: Mapping[str, object], *, now: datetime, partial: bool, keep_expiry: datetime | None = None
) -> KeyChanges:
    """Column values of a key from its JSON names. Raises Invalid with every error at once.

    `partial` is a merge patch (RFC 7396): what is absent stays, null clears. An expiry in the past is refused,
    unless it is `keep_expiry`, the one which the key has already.
    """
    changes: KeyChanges = {}
    errors = []
    for name, raw in document.items():
        field = _FIELDS.get(name)
        if field is None:
            known = "is set by the router and cannot be changed" if name in _READ_ONLY else "is not a known field"
            errors.append(FieldError(name[:_SHOWN], known))
            continue
        column, read = field
        try:
            changes[column] = read(raw)
        except ValueError as error:
            errors.append(FieldError(name, str(error)))
    if not partial and "name" not in document:
        errors.append(FieldError("name", "is required"))
    expiry: datetime | None = changes.get("expires_at")
    if expiry is not None and expiry <= now and expiry != keep_expiry:
        errors.append(FieldError("expires_at", "must be in the future"))
    if errors:
        raise Invalid(*errors)
    return changes


def parse_name(raw: object) -> str:
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
    return name


def parse_scopes(raw: object) -> list[str]:
    """One or more scopes of a management token, in their usual order."""
    scopes = _strings(raw)
    for scope in scopes:
        if scope not in SCOPES:
            raise ValueError(f"{scope[:_SHOWN]!r} is not a scope; choose from {', '.join(SCOPES)}")
    if not scopes:
        raise ValueError("must name at least one scope")
    return [scope for scope in SCOPES if scope in scopes]


def parse_moment(raw: object) -> datetime:
    """A moment as RFC 3339 tells it, with any offset; the answer is in UTC."""
    text = raw.upper() if isinstance(raw, str) else ""
    if not text.isascii() or _RFC3339.fullmatch(text) is None:
        raise ValueError("must be a moment with an offset, such as 2030-01-31T17:00:00Z (RFC 3339)")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a moment of the calendar") from None


def parse_day(raw: str) -> date:
    """A UTC day, given as a date or as a moment in it."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", raw, re.ASCII):
        try:
            return date.fromisoformat(raw)
        except ValueError:
            raise ValueError("is not a day of the calendar") from None
    try:
        return parse_moment(raw).date()
    except ValueError:
        raise ValueError("must be a date, such as 2030-01-31, or a moment (RFC 3339)") from None


def to_json_moment(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with a Z."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def bounded_days(first: date, last: date) -> None:
    """Raises Invalid unless the days are in order and span at most ten years."""
    if last < first:
        raise Invalid(FieldError("to", "must not be before from"))
    if last - first > timedelta(days=3660):
        raise Invalid(FieldError("from", "must be at most ten years before to"))


def _strings(raw: object) -> list[str]:
    if raw is None:
        return []
    if not isinstance(raw, list | tuple) or not all(isinstance(entry, str) for entry in raw):
        raise ValueError("must be a list of texts")
    if len(raw) > MAX_ENTRIES:
        raise ValueError(f"must have at most {MAX_ENTRIES} entries")
    return list(dict.fromkeys(entry.strip() for entry in raw))


def _providers(raw: object) -> list[str]:
    chosen = _strings(raw)
    for slug in chosen:
        if slug not in PROVIDERS:
            raise ValueError(f"{slug[:_SHOWN]!r} is not a provider; choose from {', '.join(PROVIDERS)}")
    return [slug for slug in PROVIDERS if slug in chosen]


def _models(raw: object) -> list[str]:
    globs = _strings(raw)
    for glob in globs:
        shown = glob[:_SHOWN]
        if not glob:
            raise ValueError("must not contain an empty pattern; leave the list empty to allow all models")
        if len(glob) > _LONGEST_ENTRY:
            raise ValueError(f"{shown!r}... is longer than {_LONGEST_ENTRY} characters")
        if not _GLOB.fullmatch(glob):
            raise ValueError(f"{shown!r} is not a model pattern: letters, digits and . _ : @ - / with * and ? only")
        _check_provider_of(glob, shown)
    return globs


def _check_provider_of(glob: str, shown: str) -> None:
    """A pattern with a slash is `provider/model`; anything else before the slash could never match."""
    before, slash, model = glob.partition("/")
    if not slash or (("*" in before or "?" in before) and model):
        return
    if not model or "/" in model:
        raise ValueError(f"{shown!r} is not a model pattern; write provider/model, such as anthropic/claude-*")
    if before not in PROVIDERS:
        hint = f"write gemini/{model[:_SHOWN]}" if before == "google" else f"choose from {', '.join(PROVIDERS)}"
        raise ValueError(f"{shown!r} names the unknown provider {before!r}; {hint}")


def _ips(raw: object) -> list[str]:
    ranges = []
    for text in _strings(raw):
        if len(text) > _LONGEST_ADDRESS:
            raise ValueError(f"{text[:_SHOWN]!r}... is neither an address nor a CIDR range")
        network = parse_network(text)
        ranges.append(str(network) if "/" in text else str(network.network_address))
    return list(dict.fromkeys(ranges))


def _rpm(raw: object) -> int | None:
    if raw is None:
        return None
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise ValueError("must be a whole number, such as 60")  # noqa: TRY004 - wrong input
    if raw == 0:
        raise ValueError("must be at least 1; to stop the key for now, set paused instead")
    if not 1 <= raw <= MAX_RPM:
        raise ValueError(f"must be from 1 to {MAX_RPM}")
    return raw


def _spend_limit(raw: object) -> int | None:
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, str | int | Decimal):
        raise ValueError("must be an amount in dollars, or null for no limit")  # noqa: TRY004 - wrong input
    if isinstance(raw, Decimal):
        if not raw.is_finite() or raw.adjusted() > 30 or raw.adjusted() < -30:
            raise ValueError("must be a plain amount in dollars, such as 20 or 0.50")
        raw = format(raw, "f")
    return money.from_usd(str(raw))


def _reset(raw: object) -> str:
    if raw is None:
        return "never"
    if not isinstance(raw, str) or raw not in RESETS:
        raise ValueError(f"must be one of {', '.join(RESETS)}")
    return raw


def _paused(raw: object) -> bool:
    if raw is None:
        return False
    if not isinstance(raw, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - wrong input
    return raw


def _expiry(raw: object) -> datetime | None:
    return None if raw is None else parse_moment(raw)


# JSON name -> column and reader.
_FIELDS: dict[str, tuple[str, Reader]] = {
    "name": ("name", parse_name),
    "allowed_providers": ("allowed_providers", _providers),
    "allowed_models": ("allowed_models", _models),
    "allowed_ips": ("allowed_ips", _ips),
    "rate_limit_rpm": ("rate_limit_rpm", _rpm),
    "spend_limit_usd": ("spend_limit_nanos", _spend_limit),
    "spend_reset": ("spend_reset", _reset),
    "expires_at": ("expires_at", _expiry),
    "paused": ("paused", _paused),
}
EDITABLE = tuple(_FIELDS)
