"""What an organisation's keys were refused: how often on which day, and what was refused last."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import func, select

from shared.models import OrganizationRefusals, Refusal
from webapp.db import db
from webapp.views.requests import RefusalView, refusal_view


@dataclass(frozen=True, slots=True)
class RefusedFor:
    """How often something was refused for a reason in some days, and the last of these days on which it was."""

    reason: str
    count: int
    last_day: date


class LastRefusal(NamedTuple):
    """The last refusal of a key for a reason."""

    key_id: str
    refusal: RefusalView


def refused_by_reason(org_id: str, first: date, last: date) -> tuple[RefusedFor, ...]:
    """The most frequent reason first."""
    table, total = OrganizationRefusals, func.sum(OrganizationRefusals.count)
    query = select(table.reason, total, func.max(table.day)).where(table.org_id == org_id)
    query = query.where(table.day >= first, table.day <= last).group_by(table.reason)
    rows = db.session.execute(query.order_by(total.desc(), table.reason))
    return tuple(RefusedFor(reason, int(count), day) for reason, count, day in rows)


def refused_by_day(org_id: str, first: date, last: date) -> dict[date, int]:
    """How often anything was refused, by day; days without a refusal are not there."""
    table = OrganizationRefusals
    query = select(table.day, func.sum(table.count)).where(table.org_id == org_id)
    query = query.where(table.day >= first, table.day <= last).group_by(table.day)
    return {day: int(count) for day, count in db.session.execute(query)}


def counted_since(org_id: str) -> date | None:
    """The first day of which refusals are counted; None while there were none."""
    return db.session.scalar(select(func.min(OrganizationRefusals.day)).where(OrganizationRefusals.org_id == org_id))


def last_refusals(org_id: str, since: datetime, limit: int) -> Iterator[LastRefusal]:
    """What was refused last since a moment, newest first: one of each key and reason."""
    query = select(Refusal).where(Refusal.org_id == org_id, Refusal.last_at >= since)
    rows = db.session.scalars(query.order_by(Refusal.last_at.desc(), Refusal.reason).limit(limit))
    return (LastRefusal(row.key_id, refusal_view(row)) for row in rows)
