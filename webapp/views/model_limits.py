"""Limits of what keys may spend on some models, with what counts against each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select

from shared import money, periods
from shared.counters import CountersUnavailable
from shared.counters import spend_of as counters_spend_of
from shared.model_limits import ModelLimit, model_limits_of
from shared.models import ModelSpend, ProxyKey
from shared.policy import matches_model
from webapp.context import counters
from webapp.db import db
from webapp.views.calendar import begins, begins_there, zones_of
from webapp.views.spend import counted


@dataclass(frozen=True, slots=True)
class ModelSpendView:
    """Money of the running period: decimal strings for people, nano-dollars for sums."""

    spent_usd: str
    held_usd: str
    remaining_usd: str
    period_start: datetime | None  # None: since the key was made
    resets_at: datetime | None  # None: never
    spent_nanos: int
    held_nanos: int
    remaining_nanos: int


@dataclass(frozen=True, slots=True)
class ModelLimitView:
    """A limit as it was set, and what counts against it."""

    model: str
    spend_limit_usd: str
    spend_reset: str
    spend: ModelSpendView
    limit_nanos: int


def model_limits_of_keys(rows: Sequence[ProxyKey], at: datetime) -> dict[str, tuple[ModelLimitView, ...]]:
    """The limits of each key, by its id, as of the moment `at`."""
    limits = {row.id: model_limits_of(row.id, row.model_limits) for row in rows}
    if not any(limits.values()):
        return {row.id: () for row in rows}
    zones_there = zones_of(row.org_id for row in rows)
    zones = {row.id: zones_there[row.org_id] for row in rows}
    spent = _by_counters([(limit, zones[key_id]) for key_id, some in limits.items() for limit in some])
    left = {key_id: [limit for limit in some if limit.row_id not in spent] for key_id, some in limits.items()}
    spent |= {row_id: (nanos, 0) for row_id, nanos in spent_by_ledger(left, zones, at).items()}
    return {
        key_id: tuple(_view(limit, *spent[limit.row_id], zones[key_id], at) for limit in some)
        for key_id, some in limits.items()
    }


def _by_counters(limits: Sequence[tuple[ModelLimit, str | None]]) -> dict[str, tuple[int, int]]:
    """Spent and held, by row, of those that the present counters know all of."""
    try:
        generation, moment = counters().status().generation, counters().moment()
    except CountersUnavailable:
        return {}
    known = {limit.row_id: (limit, zone) for limit, zone in limits if limit.since <= generation}
    found = {}
    for row_id, row in counted(list(known)).items():
        limit, zone = known[row_id]
        seen = counters_spend_of(row, moment.in_zone(zone), limit.spend_reset, limit.spend_limit_nanos).period
        found[row_id] = (seen.spent_nanos, seen.held_nanos)
    return found


def spent_by_ledger(
    limits: Mapping[str, Sequence[ModelLimit]], zones: Mapping[str, str | None], at: datetime
) -> dict[str, int]:
    """What counts against the limits of each key by the ledger's sums, by row; nothing of what is in flight.

    `zones`: those in which the days of the keys begin.
    """
    found = {limit.row_id: 0 for some in limits.values() for limit in some}
    wanted = [key_id for key_id, some in limits.items() if some]
    if not wanted:
        return found
    starts = [
        start
        for key_id in wanted
        for limit in limits[key_id]
        for start, end in (periods.period_of(limit.spend_reset, at.timestamp(), zones[key_id]),)
        if end is not None
    ]
    of_days = ModelSpend.day == periods.FIRST_DAY
    if starts:
        of_days |= ModelSpend.day >= min(starts)
    query = select(ModelSpend.key_id, ModelSpend.day, ModelSpend.provider, ModelSpend.model, ModelSpend.total_nanos)
    for key_id, day, provider, model, nanos in db.session.execute(query.where(ModelSpend.key_id.in_(wanted), of_days)):
        for limit in limits[key_id]:
            if _counts(limit, day, zones[key_id], at) and matches_model(limit.model, provider, model):
                found[limit.row_id] += nanos
    return found


def _counts(limit: ModelLimit, day: date, zone: str | None, at: datetime) -> bool:
    """Whether a row of sums is of the running period; that of all days is of a limit which never resets."""
    start, end = periods.period_of(limit.spend_reset, at.timestamp(), zone)
    return day == periods.FIRST_DAY if end is None else start <= day < end


def _view(limit: ModelLimit, spent: int, held: int, zone: str | None, at: datetime) -> ModelLimitView:
    start, end = periods.period_of(limit.spend_reset, at.timestamp(), zone)
    remaining = max(0, limit.spend_limit_nanos - spent - held)
    spend = ModelSpendView(
        spent_usd=money.to_usd(spent),
        held_usd=money.to_usd(held),
        remaining_usd=money.to_usd(remaining),
        period_start=None if end is None else begins(start, zone),
        resets_at=None if end is None else begins_there(end, zone),
        spent_nanos=spent,
        held_nanos=held,
        remaining_nanos=remaining,
    )
    nanos = limit.spend_limit_nanos
    return ModelLimitView(limit.model, money.to_usd(nanos), limit.spend_reset, spend, nanos)
