"""Rows that correct an estimate, each against the row of the attempt it names and that row's other corrections.

All rows of an attempt together cost what the last word on it says.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import aliased

from shared.models import UsageRecord
from webapp.verification.arithmetic import expected_cost
from webapp.verification.values import Difference, Report

ROWS_AT_ONCE = 1_000
_Estimate = aliased(UsageRecord)
_WITH_ESTIMATE = (
    select(
        UsageRecord.id,
        UsageRecord.key_id,
        UsageRecord.day,
        UsageRecord.provider,
        UsageRecord.adjusts,
        UsageRecord.flags,
        UsageRecord.usage,
        UsageRecord.price,
        UsageRecord.cost_nanos,
        _Estimate.id.label("estimate_id"),
        _Estimate.key_id.label("estimate_key"),
        _Estimate.day.label("estimate_day"),
        _Estimate.provider.label("estimate_provider"),
        _Estimate.flags.label("estimate_flags"),
        _Estimate.adjusts.label("estimate_adjusts"),
        _Estimate.cost_nanos.label("estimate_nanos"),
    )
    .outerjoin(_Estimate, _Estimate.id == UsageRecord.adjusts)
    .where(UsageRecord.adjusts.is_not(None))
    .order_by(UsageRecord.adjusts, UsageRecord.id)
)


def verify_adjustments(connection: Connection, within: ColumnElement[bool], report: Report) -> None:
    """Note in the report what differs among the adjustments of keys; `within` says of which."""
    rows = iter(connection.execute(_WITH_ESTIMATE.where(within).execution_options(yield_per=ROWS_AT_ONCE)))
    for _, of_attempt in groupby(rows, key=lambda row: row.adjusts):
        for difference in _of_attempt(list(of_attempt)):
            report.add(difference)


def _of_attempt(rows: Sequence[Row[*tuple[Any, ...]]]) -> Iterator[Difference]:
    first, last = rows[0], _last_word(rows)
    if first.estimate_id is None:
        yield _differs(first, "adjusts", "the id of an attempt", first.adjusts)
        return
    if first.estimate_adjusts is not None or "crash" not in first.estimate_flags:
        yield _differs(first, "adjusts", "an attempt that was estimated after a crash", first.adjusts)
    for row in rows:
        for field in ("key", "day", "provider"):
            expected, found = getattr(row, f"estimate_{field}"), getattr(row, "key_id" if field == "key" else field)
            if expected != found:
                yield _differs(row, "key_id" if field == "key" else field, str(expected), str(found))
    total = first.estimate_nanos + sum(row.cost_nanos for row in rows)
    if "crash" in last.flags:
        expected_nanos = max(total, 0)  # a better estimate, of which no more is known
    else:
        expected_nanos = 0 if last.price is None else expected_cost(last.usage, last.price)
    if expected_nanos is None:
        yield _differs(last, "price", "a price that can be read", "another")
    elif total != expected_nanos:
        yield _differs(last, "cost_nanos", last.cost_nanos + expected_nanos - total, last.cost_nanos)


def _last_word(rows: Sequence[Row[*tuple[Any, ...]]]) -> Row[*tuple[Any, ...]]:
    """The END of the attempt's own, if there is one; else the latest estimate."""
    return max(rows, key=lambda row: ("crash" not in row.flags, len(row.id), row.id))


def _differs(row: Row[*tuple[Any, ...]], field: str, expected: int | str, found: int | str) -> Difference:
    return Difference("row", row.key_id, field, expected, found, row_id=row.id, day=row.day.isoformat())
