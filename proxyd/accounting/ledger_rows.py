"""What the ledger writes, as rows of plain values; `ledger_sqlite` and `ledger_postgresql` have the statements.

Without SQLAlchemy's statements and types between, which cost more than the writing. Days and moments are texts in the
form in which SQLAlchemy writes them into SQLite; PostgreSQL reads the same, with the zone behind.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from operator import add
from typing import Any, NamedTuple, Protocol

import orjson
from sqlalchemy import Connection

from proxyd.accounting.records import Attempt, Settlement
from shared.models import USAGE_CLASSES
from shared.secret_text import masked

Line = tuple[Attempt, Settlement]
Row = tuple[Any, ...]

COLUMNS = (
    "id", "org_id", "key_id", "provider", "endpoint", "requested_model", "served_model", "service_tier", "streamed",
    "status", "outcome", "flags", "usage", "input_tokens", "output_tokens", "price", "bound_nanos", "cost_nanos", "day",
    "admitted_at", "duration_ms", "provider_request_id", "client_ip", "first_byte_ms", "sent_status",
    "label", "tried",
)  # fmt: skip

SUMS = ("requests", "input_tokens", "output_tokens", "cost_nanos", *USAGE_CLASSES)
DAILY = ("key_id", "day", "provider", "model", "org_id", *SUMS)
LABELLED = ("key_id", "day", "label", "org_id", *SUMS)
TOTALS = ("key_id", "day", "generation", "nanos")  # of a key's days, and of all its days
MODELS = ("key_id", "day", "provider", "model", "generation", "nanos")
TOUCHED = ("at", "id")  # of a key
ADJUSTMENTS = (*COLUMNS, "adjusts")
_NO_CLASSES = [0] * len(USAGE_CLASSES)
_PLACES = tuple(enumerate(USAGE_CLASSES, start=4))
_LONGEST_MODEL = 1_000  # of which anything is looked at
ALL_DAYS = "1970-01-01"  # the day of the row of key_spend that sums all days


class Statement(Protocol):
    """How a database takes the rows of one table."""

    def execute(self, connection: Connection, rows: list[Row]) -> None:
        """Write some rows, at least one. Raises SQLAlchemyError."""


class Posting(NamedTuple):
    """What some lines add to the ledger, a list for each table, in the order in which they are written.

    Sums are in the order of their keys everywhere, so that two ledger writers cannot wait for each other; keys come
    first, so that neither can a ledger writer and who changes a key, by which sums change as well (its tags).
    """

    touched: list[Row]
    rows: list[Row]
    daily: list[Row]
    totals: list[Row]
    labelled: list[Row]  # of most requests nothing, as few clients send a label
    models: list[Row]  # of most likewise, as few keys have limits for models


def posting(lines: Sequence[Line], generation: int, zone: str, by_model: Collection[str] = ()) -> Posting:
    """Rows and sums of some lines. `zone` stands behind each moment; `by_model`: keys that have sums by model too."""
    rows: list[Row] = []
    sums: dict[tuple[str, str, str, str], list[int]] = {}
    latest: dict[str, float] = {}
    orgs: dict[str, str] = {}
    labelled: list[Line] = []
    for attempt, settlement in lines:
        # Taken apart at once: this runs for every request.
        id_, org_id, key_id, provider, endpoint, asked_model, streamed, bound, _, *when, client_ip, _, label, _ = (
            attempt
        )
        ordinal, _, at = when
        (
            status, outcome, flags, usage, served_model, tier, price, cost, lasted_ms, request_id, first, sent, tried,
        ) = settlement  # fmt: skip
        # What clients and providers name may be longer than a column, or hold a NUL, which PostgreSQL refuses with all
        # rows of the batch; a row must never be one that cannot be written.
        asked, served = told_model(asked_model), told_model(served_model)
        input_tokens, output_tokens = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
        day = _day(ordinal)
        rows.append((
            id_, org_id, key_id, provider, endpoint, asked, served, _fit(tier, 32), streamed,
            status, outcome, _json(flags) if flags else "[]", _json(usage), input_tokens, output_tokens,
            None if price is None else _json(price), bound, cost, day,
            _moment(at) + zone, lasted_ms, _fit(request_id, 128), client_ip, first, sent,
            label, None if tried is None else _json([one._asdict() for one in tried]),
        ))  # fmt: skip
        group = (key_id, day, provider, (served if served_model else asked) or "")
        total = sums.get(group)
        if total is None:
            total = sums[group] = [1, input_tokens, output_tokens, cost, *_NO_CLASSES]
            orgs[key_id] = org_id
        else:
            total[0] += 1
            total[1] += input_tokens
            total[2] += output_tokens
            total[3] += cost
        if len(usage) > 2:  # of most requests there is nothing but input and output
            for place, name in _PLACES:
                total[place] += usage.get(name, 0)
        if at > latest.get(key_id, 0.0):
            latest[key_id] = at
        if label is not None:
            labelled.append((attempt, settlement))
    in_order = sorted(sums.items())
    return Posting(
        [(_moment(at) + zone, key_id) for key_id, at in sorted(latest.items())],
        rows,
        [(key_id, day, provider, model, orgs[key_id], *total) for (key_id, day, provider, model), total in in_order],
        _totals(in_order, generation),
        _sums_by_label(labelled) if labelled else [],
        _sums_by_model([line for line in lines if line[0].key_id in by_model], generation) if by_model else [],
    )


def _sums_by_label(lines: Sequence[Line]) -> list[Row]:
    """What the labels of each key rise by on each day."""
    sums: dict[tuple[str, str, str], list[int]] = {}
    orgs: dict[str, str] = {}
    for attempt, settlement in lines:
        usage = settlement.usage
        counts = [1, usage.get("input_tokens", 0), usage.get("output_tokens", 0), settlement.cost_nanos]
        counts += [usage.get(name, 0) for name in USAGE_CLASSES]
        total = sums.setdefault((attempt.key_id, _day(attempt.day), attempt.label or ""), [0] * len(counts))
        total[:] = map(add, total, counts)
        orgs[attempt.key_id] = attempt.org_id
    return [(key_id, day, label, orgs[key_id], *total) for (key_id, day, label), total in sorted(sums.items())]


def _sums_by_model(lines: Sequence[Line], generation: int) -> list[Row]:
    """What the models of each key rise by on each day, and on all days. A row without one counts against no limit."""
    rises: dict[tuple[str, str, str, str], int] = {}
    for attempt, settlement in lines:
        model, cost = told_model(attempt.requested_model), settlement.cost_nanos
        if model is not None and cost:
            for day in (ALL_DAYS, _day(attempt.day)):
                place = attempt.key_id, day, attempt.provider, model
                rises[place] = rises.get(place, 0) + cost
    return [(*place, generation, nanos) for place, nanos in sorted(rises.items())]


def _totals(in_order: Sequence[tuple[tuple[str, str, str, str], list[int]]], generation: int) -> list[Row]:
    """What each key's days and all its days rise by."""
    rises: dict[tuple[str, str], int] = {}
    for (key_id, day, _, _), total in in_order:
        cost = total[3]
        if cost:
            rises[key_id, ALL_DAYS] = rises.get((key_id, ALL_DAYS), 0) + cost
            rises[key_id, day] = rises.get((key_id, day), 0) + cost
    return [(key_id, day, generation, nanos) for (key_id, day), nanos in sorted(rises.items())]


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _moment(seconds: float) -> str:
    """As SQLAlchemy writes a moment into SQLite."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{micros:06d}"


@lru_cache(maxsize=128)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


@lru_cache(maxsize=128)
def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


@lru_cache(maxsize=4_096)
def told_model(name: str | None) -> str | None:
    """A model's name as it is kept and told: as a column takes it, and without a secret that somebody put there."""
    return None if name is None else _fit(masked(name[:_LONGEST_MODEL]), 255)


def _fit(text: str | None, length: int) -> str | None:
    if text is None or (len(text) <= length and "\0" not in text):
        return text
    return text[:length].replace("\0", "")
