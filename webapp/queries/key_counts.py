"""How many keys there are that somebody should look at, and why: numbers of the Overview.

Each is counted up to `COUNTED`. Which keys are near their limit only shows when the sums of all that were used are
compared, which takes long in a very large organisation. So a count that took long is kept for twenty times as long.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from flask import current_app
from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select

from shared import periods
from shared.models import KeySpend, ProxyKey, Refusal
from webapp.db import db
from webapp.queries.key_filters import DORMANT, NEAR_PERCENT, SOON
from webapp.queries.keys import COUNTED

REFUSED_LATELY = timedelta(hours=24)
_LONG_SECONDS, _KEPT_TIMES = 0.1, 20


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """Of active keys, as of the moment `at`; one more than `COUNTED` stands for any number above it."""

    near_limit: int
    expiring: int
    refused: int
    dormant: int
    unlimited: int
    at: datetime


def count_keys_to_look_at(org_id: str, at: datetime) -> KeyCounts:
    """Of an organisation, from now or from some seconds ago."""
    kept: dict[str, tuple[float, KeyCounts]] = current_app.extensions.setdefault("key_counts", {})
    began = monotonic()
    until, counts = kept.get(org_id, (0.0, None))
    if counts is not None and began < until:
        return counts
    counts = KeyCounts(
        near_limit=_count(_near_limit(org_id, at)),
        expiring=_count(_active(org_id, at).where(ProxyKey.expires_at <= at + SOON)),
        refused=_count(_refused(org_id, at)),
        dormant=_count(_active(org_id, at).where(_unused_since(at - DORMANT))),
        unlimited=_count(_active(org_id, at).where(ProxyKey.spend_limit_nanos.is_(None))),
        at=at,
    )
    took = monotonic() - began
    if took > _LONG_SECONDS:
        kept[org_id] = began + took * _KEPT_TIMES, counts
    return counts


def _active(org_id: str, at: datetime) -> Select[Any]:
    lives = or_(ProxyKey.expires_at.is_(None), ProxyKey.expires_at > at)
    return select(ProxyKey.id).where(
        ProxyKey.org_id == org_id, lives, ProxyKey.revoked_at.is_(None), ProxyKey.paused.is_(False)
    )


def _unused_since(moment: datetime) -> ColumnElement[bool]:
    """The first part is one that an index can go by: nobody used a key before it was made."""
    return and_(ProxyKey.created_at <= moment, func.coalesce(ProxyKey.last_used_at, ProxyKey.created_at) <= moment)


def _near_limit(org_id: str, at: datetime) -> Select[Any]:
    """Keys of which most of the running period's limit is spent, as far as the ledger has it."""
    starts = {reset: periods.period_of(reset, at.timestamp())[0] for reset in periods.RESETS}
    begins = case(*((ProxyKey.spend_reset == reset, day) for reset, day in starts.items()))
    in_period = case(
        (ProxyKey.spend_reset == "never", KeySpend.day == periods.FIRST_DAY),
        else_=and_(KeySpend.day != periods.FIRST_DAY, KeySpend.day >= begins),
    )
    spent = func.sum(KeySpend.total_nanos)
    return (
        _active(org_id, at)
        .join(KeySpend, and_(KeySpend.key_id == ProxyKey.id, in_period))
        .where(ProxyKey.last_used_at.is_not(None), ProxyKey.spend_limit_nanos.is_not(None))
        .group_by(ProxyKey.id, ProxyKey.spend_limit_nanos)
        .having(spent * 100 >= ProxyKey.spend_limit_nanos * NEAR_PERCENT)
    )


def _refused(org_id: str, at: datetime) -> Select[Any]:
    lately = (Refusal.org_id == org_id, Refusal.last_at >= at - REFUSED_LATELY)
    return select(Refusal.key_id).where(*lately).distinct()


def _count(found: Select[Any]) -> int:
    return db.session.scalar(select(func.count()).select_from(found.limit(COUNTED + 1).subquery())) or 0
