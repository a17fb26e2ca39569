"""What keys have spent, in their running period and ever.

It comes from the counters, which know of requests in flight; while they are lost or do not answer, from the ledger's
daily sums, which are the truth but some moments late.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import func, select

from shared import money, periods
from shared.counters import CountersUnavailable
from shared.models import ProxyKey, UsageDaily
from webapp.actions import counters
from webapp.db import db


@dataclass(frozen=True, slots=True)
class SpendView:
    """Money of a key: decimal strings for people, nano-dollars for sums. `remaining` is None without a limit."""

    spent_usd: str
    held_usd: str
    remaining_usd: str | None
    period_start: datetime | None  # None: since the key was made
    resets_at: datetime | None  # None: never
    lifetime_usd: str
    spent_nanos: int
    held_nanos: int
    remaining_nanos: int | None
    lifetime_nanos: int


def spend_of(rows: Sequence[ProxyKey], at: datetime) -> dict[str, SpendView]:
    """The money of each key, by its id, as of the moment `at`."""
    if not rows:
        return {}
    try:
        if counters().is_seeded():
            wanted = [(row.id, row.spend_reset, row.spend_limit_nanos) for row in rows]
            found = counters().lifetime_many(wanted)
            return {
                row.id: _spend_view(row, seen.period.spent_nanos, seen.period.held_nanos, seen.lifetime_nanos, at)
                for row in rows
                if (seen := found[row.id])
            }
    except CountersUnavailable:
        pass  # the ledger knows the money, only not what is in flight
    return _spend_by_ledger(rows, at)


def _spend_by_ledger(rows: Sequence[ProxyKey], at: datetime) -> dict[str, SpendView]:
    query = (
        select(UsageDaily.key_id, UsageDaily.day, func.sum(UsageDaily.cost_nanos))
        .where(UsageDaily.key_id.in_([row.id for row in rows]))
        .group_by(UsageDaily.key_id, UsageDaily.day)
    )
    days: dict[str, list[tuple[date, int]]] = {row.id: [] for row in rows}
    for key_id, day, nanos in db.session.execute(query):
        days[key_id].append((day, int(nanos)))
    views = {}
    for row in rows:
        start, _ = periods.period_of(row.spend_reset, at.timestamp())
        spent = sum(nanos for day, nanos in days[row.id] if day >= start)
        views[row.id] = _spend_view(row, spent, 0, sum(nanos for _, nanos in days[row.id]), at)
    return views


def _spend_view(row: ProxyKey, spent: int, held: int, lifetime: int, at: datetime) -> SpendView:
    start, end = periods.period_of(row.spend_reset, at.timestamp())
    limit = row.spend_limit_nanos
    remaining = None if limit is None else max(0, limit - spent - held)
    return SpendView(
        spent_usd=money.to_usd(spent),
        held_usd=money.to_usd(held),
        remaining_usd=None if remaining is None else money.to_usd(remaining),
        period_start=None if end is None else _midnight(start),
        resets_at=None if end is None else _midnight(end),
        lifetime_usd=money.to_usd(lifetime),
        spent_nanos=spent,
        held_nanos=held,
        remaining_nanos=remaining,
        lifetime_nanos=lifetime,
    )


def _midnight(day: date) -> datetime:
    return datetime.fromtimestamp(periods.unix(day), UTC)
