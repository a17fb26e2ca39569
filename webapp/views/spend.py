"""What keys have spent, each or all of an organisation together, in their running period and ever.

It comes from the counters, which know of requests in flight; while they do not know a key or do not answer, from
the ledger's totals, which are the truth but some moments late.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import func, select

from shared import money, periods, zones
from shared.counters import CountersUnavailable, KeyRow
from shared.counters import spend_of as counters_spend_of
from shared.models import KeySpend, Organization, OrganizationUsage, ProxyKey, limit_of, limits_of
from shared.seeds import read_seeds
from webapp.context import counters
from webapp.db import db
from webapp.views.calendar import begins, begins_there, zones_of


@dataclass(frozen=True, slots=True)
class SpendView:
    """Money of a key: decimal strings for people, nano-dollars for sums. `limit` is with the raise that runs.

    `limit` and `remaining` are None without a limit.
    """

    limit_usd: str | None
    spent_usd: str
    held_usd: str
    remaining_usd: str | None
    period_start: datetime | None  # None: since the key was made
    resets_at: datetime | None  # None: never
    lifetime_usd: str
    limit_nanos: int | None
    spent_nanos: int
    held_nanos: int
    remaining_nanos: int | None
    lifetime_nanos: int


def spend_of(rows: Sequence[ProxyKey], at: datetime) -> dict[str, SpendView]:
    """The money of each key, by its id, as of the moment `at`."""
    if not rows:
        return {}
    known, zones_there = counted([row.id for row in rows]), zones_of(row.org_id for row in rows)
    moment = counters().moment()
    views = {}
    for row in rows:
        if (one := known.get(row.id)) is not None:
            zone = zones_there[row.org_id]
            seen = counters_spend_of(one, moment.in_zone(zone), row.spend_reset, row.spend_limit_nanos)
            period = seen.period
            views[row.id] = _spend_view(row, zone, period.spent_nanos, period.held_nanos, seen.lifetime_nanos, at)
    return views | _spend_by_ledger([row for row in rows if row.id not in views], zones_there, at)


def spend_together(row: Organization, at: datetime) -> SpendView:
    """The money of all keys of an organisation, as of the moment `at`.

    Counters keep a row of one that has limits, as soon as one of its keys is used.
    """
    zone = zones.of_stored(row.time_zone)
    if limits_of(row.rate_limit_rpm, row.spend_limit_nanos, row.spend_reset) is not None:
        one = counted([row.id]).get(row.id)
        if one is not None:
            moment = counters().moment().in_zone(zone)
            seen = counters_spend_of(one, moment, row.spend_reset, row.spend_limit_nanos)
            return _spend_view(row, zone, seen.period.spent_nanos, seen.period.held_nanos, seen.lifetime_nanos, at)
    by_day = (
        select(OrganizationUsage.day, func.sum(OrganizationUsage.cost_nanos))
        .where(OrganizationUsage.org_id == row.id)
        .group_by(OrganizationUsage.day)
    )
    days = {day: int(nanos) for day, nanos in db.session.execute(by_day)}
    start, end = periods.period_of(row.spend_reset, at.timestamp(), zone)
    spent = sum(nanos for day, nanos in days.items() if end is None or start <= day < end)
    return _spend_view(row, zone, spent, 0, sum(days.values()), at)


def counted(key_ids: Sequence[str]) -> dict[str, KeyRow]:
    """The counters' rows, with what the ledger had before them where they have not been told yet."""
    try:
        generation = counters().status().generation
        known = counters().rows(key_ids)
    except CountersUnavailable:
        return {}  # the ledger knows the money, only not what is in flight
    untold = [key_id for key_id, row in known.items() if not row.seeded]
    seeds = read_seeds(db.session.connection(), untold, generation, counters().moment().day) if untold else {}
    if seeds is None:
        return {}
    for key_id, seed in seeds.items():
        known[key_id].seed(seed)
    return known


def _spend_by_ledger(
    rows: Sequence[ProxyKey], zones_there: Mapping[str, str | None], at: datetime
) -> dict[str, SpendView]:
    """From the totals of keys."""
    query = select(KeySpend.key_id, KeySpend.day, KeySpend.total_nanos).where(KeySpend.key_id.in_([r.id for r in rows]))
    totals: dict[str, dict[date, int]] = {row.id: {} for row in rows}
    for key_id, day, nanos in db.session.execute(query) if rows else ():
        totals[key_id][day] = nanos
    views = {}
    for row in rows:
        days, zone = totals[row.id], zones_there[row.org_id]
        start, end = periods.period_of(row.spend_reset, at.timestamp(), zone)
        lifetime = days.pop(periods.FIRST_DAY, 0)
        spent = lifetime if end is None else sum(nanos for day, nanos in days.items() if start <= day < end)
        views[row.id] = _spend_view(row, zone, spent, 0, lifetime, at)
    return views


def _spend_view(
    row: ProxyKey | Organization, zone: str | None, spent: int, held: int, lifetime: int, at: datetime
) -> SpendView:
    start, end = periods.period_of(row.spend_reset, at.timestamp(), zone)
    limit = limit_of(row, at.timestamp()) if isinstance(row, ProxyKey) else row.spend_limit_nanos
    remaining = None if limit is None else max(0, limit - spent - held)
    return SpendView(
        limit_usd=None if limit is None else money.to_usd(limit),
        spent_usd=money.to_usd(spent),
        held_usd=money.to_usd(held),
        remaining_usd=None if remaining is None else money.to_usd(remaining),
        period_start=None if end is None else begins(start, zone),
        resets_at=None if end is None else begins_there(end, zone),
        lifetime_usd=money.to_usd(lifetime),
        limit_nanos=limit,
        spent_nanos=spent,
        held_nanos=held,
        remaining_nanos=remaining,
        lifetime_nanos=lifetime,
    )
