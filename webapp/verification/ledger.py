"""The walk over the whole ledger: keys in ranges of their ids, and for each range rows, daily sums and totals.

Each range is read at one moment, in a short transaction: a ledger row, its sums and its totals are posted together, so
they agree at every moment, and nothing is held back for minutes (SQLite's write-ahead log, PostgreSQL's vacuum).
Ranges are compared by the database alone, whose order of texts may differ from Python's.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, and_, select, true
from sqlalchemy.engine import Connection
from sqlalchemy.orm import InstrumentedAttribute

from shared.models import KeySpend, LabelUsage, ModelSpend, ProxyKey, UsageDaily, UsageRecord
from webapp.verification.adjustments import verify_adjustments
from webapp.verification.arithmetic import expected_cost
from webapp.verification.labels import LabelSums
from webapp.verification.models import ModelSums
from webapp.verification.values import Difference, Report

ALL_DAYS = date(1970, 1, 1)  # the day of the total of all days in key_spend
KEYS_AT_ONCE = 500
ROWS_AT_ONCE = 1_000
SUMS = ("requests", "input_tokens", "output_tokens", "cost_nanos")

Group = tuple[str, date, str, str]  # key id, day, provider, model
Totals = dict[tuple[str, date], int]

_ROW = (
    UsageRecord.id,
    UsageRecord.key_id,
    UsageRecord.day,
    UsageRecord.provider,
    UsageRecord.requested_model,
    UsageRecord.served_model,
    UsageRecord.flags,
    UsageRecord.usage,
    UsageRecord.input_tokens,
    UsageRecord.output_tokens,
    UsageRecord.price,
    UsageRecord.cost_nanos,
    UsageRecord.adjusts,
    UsageRecord.label,
)


@dataclass(frozen=True, slots=True)
class Range:
    """Ids above one and up to another; None is without that end."""

    above: str | None = None
    up_to: str | None = None

    def holds(self, column: InstrumentedAttribute[str]) -> ColumnElement[bool]:
        ends = [] if self.above is None else [column > self.above]
        if self.up_to is not None:
            ends.append(column <= self.up_to)
        return and_(true(), *ends)


@dataclass(frozen=True, slots=True)
class OneKey:
    """The range of a single id."""

    key_id: str

    def holds(self, column: InstrumentedAttribute[str]) -> ColumnElement[bool]:
        return column == self.key_id


def ranges(engine: Engine) -> Iterator[Range]:
    """All ids there can be, cut at every 500th key; ids that belong to no key fall into a range as well."""
    last: str | None = None
    while True:
        query = select(ProxyKey.id).where(Range(above=last).holds(ProxyKey.id)).order_by(ProxyKey.id)
        with engine.connect() as connection:
            end = connection.scalar(query.offset(KEYS_AT_ONCE - 1).limit(1))
        yield Range(last, end)
        if end is None:
            return
        last = end


def verify_range(engine: Engine, within: Range | OneKey, report: Report) -> Totals:
    """Note in the report what differs within a range; answer with the totals of its keys as they should be."""
    snapshot = "SERIALIZABLE" if engine.dialect.name == "sqlite" else "REPEATABLE READ"
    with engine.connect().execution_options(isolation_level=snapshot) as connection:
        sums: dict[Group, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        labels, models = LabelSums(), ModelSums.of(connection, within.holds(ProxyKey.id))
        for row in _stream(connection, select(*_ROW).where(within.holds(UsageRecord.key_id))):
            _judge(row, report)
            adjusts = row.adjusts is not None
            model = row.requested_model if adjusts else row.served_model or row.requested_model
            group = sums[row.key_id, row.day, row.provider, model or ""]
            counts = (int(not adjusts), row.input_tokens, row.output_tokens, row.cost_nanos)
            for position, count in enumerate(counts):
                group[position] += count
            labels.add(row, counts)
            models.add(row)
        totals: Totals = defaultdict(int)
        for (key_id, day, _, _), group in sums.items():
            totals[key_id, day] += group[3]
            totals[key_id, ALL_DAYS] += group[3]
        verify_adjustments(connection, within.holds(UsageRecord.key_id), report)
        _compare_daily(connection, within, sums, report)
        labels.compare(connection, within.holds(LabelUsage.key_id), report)
        models.compare(connection, within.holds(ModelSpend.key_id), report)
        _compare_totals(connection, within, totals, report)
    return totals


def _stream(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    return iter(connection.execute(query.execution_options(yield_per=ROWS_AT_ONCE)))


def _judge(row: Row[Any], report: Report) -> None:
    """One row by itself: what it cost, and that its two columns of tokens are those of its counts."""
    report.rows += 1

    def differs(field: str, expected: int | str, found: int | str) -> None:
        report.add(Difference("row", row.key_id, field, expected, found, row_id=row.id, day=row.day.isoformat()))

    for field in ("input_tokens", "output_tokens"):
        if (expected := row.usage.get(field, 0)) != (found := getattr(row, field)):
            differs(field, expected, found)
    if ("adjustment" in row.flags) != (row.adjusts is not None):
        differs("adjusts", "none" if row.adjusts else "the id of an attempt", row.adjusts or "none")
    if row.adjusts is not None:
        report.adjusted += 1
        return
    if "crash" in row.flags:
        report.crashed += 1
        if row.cost_nanos < 0:
            differs("cost_nanos", "not negative", row.cost_nanos)
        return
    if row.price is None:
        report.unpriced += 1
        expected_nanos: int | None = 0
    else:
        report.recomputed += 1
        report.estimated += "estimated" in row.flags
        expected_nanos = expected_cost(row.usage, row.price)
    if expected_nanos is None:
        differs("price", "a price that can be read", "another")
    elif expected_nanos != row.cost_nanos:
        differs("cost_nanos", expected_nanos, row.cost_nanos)


def _compare_daily(
    connection: Connection, within: Range | OneKey, sums: dict[Group, list[int]], report: Report
) -> None:
    """Every daily sum against its rows. What has been compared leaves `sums`; the rest has no sum at all."""
    for found in _stream(connection, select(UsageDaily.__table__).where(within.holds(UsageDaily.key_id))):
        expected = sums.pop((found.key_id, found.day, found.provider, found.model), [0, 0, 0, 0])
        for field, count in zip(SUMS, expected, strict=True):
            if getattr(found, field) != count:
                group = (found.key_id, found.day, found.provider, found.model)
                report.add(_of_group(group, field, count, getattr(found, field)))
    for group, expected in sums.items():
        report.add(_of_group(group, "requests", expected[0], None))


def _of_group(group: Group, field: str, expected: int, found: int | None) -> Difference:
    key_id, day, provider, model = group
    return Difference("daily", key_id, field, expected, found, day=day.isoformat(), provider=provider, model=model)


def _compare_totals(connection: Connection, within: Range | OneKey, totals: Totals, report: Report) -> None:
    """Every total of a key against its rows. A total of nothing need not be there."""
    missing = {place: nanos for place, nanos in totals.items() if nanos}
    for found in _stream(connection, select(KeySpend.__table__).where(within.holds(KeySpend.key_id))):
        missing.pop((found.key_id, found.day), None)
        expected = totals.get((found.key_id, found.day), 0)
        if found.total_nanos != expected:
            report.add(_of_total(found.key_id, found.day, expected, found.total_nanos))
    for (key_id, day), expected in missing.items():
        report.add(_of_total(key_id, day, expected, None))


def _of_total(key_id: str, day: date, expected: int, found: int | None) -> Difference:
    told = None if day == ALL_DAYS else day.isoformat()
    return Difference("total", key_id, "total_nanos", expected, found, day=told)
