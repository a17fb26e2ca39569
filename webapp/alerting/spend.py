"""Thresholds that keys have reached of their spend limits, by the ledger's totals: a moment late, and never wrong.

What may have reached one was used lately, was refused lately for its limit (what is left fits no request), or has had
its limit or its thresholds changed. Each has an index of its own.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import and_, func, or_, select

from shared import money, periods
from shared.models import AuditEvent, KeyAlertRules, KeySpend, ProxyKey, Refusal
from shared.policy import Reason
from webapp.actions.alerts import Happened
from webapp.alerting import model_spend
from webapp.alerting.pages import Page, Place, rows_of
from webapp.db import db
from webapp.queries.key_filters import limit_at
from webapp.schemas.alerts import SPEND
from webapp.schemas.values import to_json_moment
from webapp.views.alerts import RulesView
from webapp.views.calendar import begins, zone_of

# From here on a key that was refused for its limit is said to have reached it: what is left fits no request of its.
FULL_PERCENT = 95
CHANGES = ("key.update", "alerts.key")  # as the audit log has them


def of_used(org_id: str, rules: RulesView, at: datetime, since: datetime, behind: Place | None) -> Page:
    """What keys have reached that were used since a moment."""
    query = select(ProxyKey.last_used_at, ProxyKey.id).where(ProxyKey.org_id == org_id, ProxyKey.revoked_at.is_(None))
    rows, behind = rows_of(query, ProxyKey.last_used_at, ProxyKey.id, since, behind)
    return Page(tuple(_all_reached(org_id, rules, at, rows)), behind)


def of_refused(org_id: str, rules: RulesView, at: datetime, since: datetime, behind: Place | None) -> Page:
    """What keys have reached that were refused for their limit since a moment; they are not used by that."""
    return _of_reason(Reason.SPEND_EXCEEDED, org_id, rules, at, since, behind)


def of_refused_models(org_id: str, rules: RulesView, at: datetime, since: datetime, behind: Place | None) -> Page:
    """The same of their limits for models."""
    return _of_reason(Reason.MODEL_SPEND_EXCEEDED, org_id, rules, at, since, behind)


def _of_reason(
    reason: Reason, org_id: str, rules: RulesView, at: datetime, since: datetime, behind: Place | None
) -> Page:
    query = select(Refusal.last_at, Refusal.key_id).where(Refusal.org_id == org_id, Refusal.reason == reason.value)
    rows, behind = rows_of(query, Refusal.last_at, Refusal.key_id, since, behind)
    return Page(tuple(_all_reached(org_id, rules, at, rows)), behind)


def of_edited(org_id: str, rules: RulesView, at: datetime, since: datetime, behind: Place | None) -> Page:
    """What keys have reached that were edited since a moment: of another limit they have used another part."""
    return _of_changed(CHANGES[0], org_id, rules, at, since, behind)


def of_own_thresholds(org_id: str, rules: RulesView, at: datetime, since: datetime, behind: Place | None) -> Page:
    """What keys have reached whose own thresholds were changed since a moment."""
    return _of_changed(CHANGES[1], org_id, rules, at, since, behind)


def _of_changed(
    action: str, org_id: str, rules: RulesView, at: datetime, since: datetime, behind: Place | None
) -> Page:
    query = select(AuditEvent.at, AuditEvent.target).where(AuditEvent.org_id == org_id, AuditEvent.action == action)
    rows, behind = rows_of(query, AuditEvent.at, AuditEvent.target, since, behind)
    return Page(tuple(_all_reached(org_id, rules, at, rows)), behind)


def _all_reached(org_id: str, rules: RulesView, at: datetime, rows: Sequence[Any]) -> Iterator[Happened]:
    """Of the keys' own limits, and of those for models."""
    yield from _reached(org_id, rules, at, rows)
    yield from model_spend.reached(org_id, rules, at, {row[1] for row in rows})


def _reached(org_id: str, rules: RulesView, at: datetime, rows: Sequence[Any]) -> Iterator[Happened]:
    """All thresholds that these keys have reached, each of the limit and in the period that hold now."""
    by_reset: dict[str, list[Any]] = defaultdict(list)
    for key in _limited(org_id, {row[1] for row in rows}, at):
        by_reset[key.spend_reset].append(key)
    zone = zone_of(org_id)
    for reset, keys in by_reset.items():
        start, end = periods.period_of(reset, at.timestamp(), zone)
        spent = _spent(start, end, [key.id for key in keys])
        nearly_full = [key.id for key in keys if _is_nearly_full(key, spent)]
        full = _refused_for_limit(org_id, nearly_full, begins(start, zone))
        for key in keys:
            percent = spent.get(key.id, 0) * 100 // key.limit_nanos
            reached = 100 if key.id in full else percent
            own = rules.spend_thresholds if key.spend_thresholds is None else key.spend_thresholds
            for threshold in own:
                if reached >= threshold:
                    yield _told(key, threshold, percent, spent[key.id], (start, end), zone)


def _limited(org_id: str, key_ids: Collection[str], at: datetime) -> Sequence[Any]:
    """Those of these keys that live and have a limit, with a raise that runs, and the thresholds of their own."""
    limit = limit_at(at)
    query = (
        select(
            ProxyKey.id,
            ProxyKey.name,
            ProxyKey.prefix,
            ProxyKey.spend_reset,
            limit.label("limit_nanos"),
            KeyAlertRules.spend_thresholds,
        )
        .outerjoin(KeyAlertRules, KeyAlertRules.key_id == ProxyKey.id)
        .where(ProxyKey.id.in_(key_ids), ProxyKey.org_id == org_id)
        .where(ProxyKey.revoked_at.is_(None), ProxyKey.paused.is_(False), limit > 0)
    )
    return db.session.execute(query).all()


def _spent(start: date, end: date | None, key_ids: Sequence[str]) -> dict[str, int]:
    # What never resets is summed up in a row of its own.
    of_period = KeySpend.day == start if end is None else and_(KeySpend.day >= start, KeySpend.day < end)
    query = select(KeySpend.key_id, func.sum(KeySpend.total_nanos)).where(KeySpend.key_id.in_(key_ids), of_period)
    return {key_id: int(nanos) for key_id, nanos in db.session.execute(query.group_by(KeySpend.key_id))}


def _is_nearly_full(key: Any, spent: dict[str, int]) -> bool:
    return bool(key.limit_nanos * FULL_PERCENT <= spent.get(key.id, 0) * 100 < key.limit_nanos * 100)


def _refused_for_limit(org_id: str, key_ids: Sequence[str], since: datetime) -> set[str]:
    """Which of these keys were refused for their limit in this period, since it is the one that it is."""
    edits = select(func.max(AuditEvent.at)).where(
        AuditEvent.org_id == org_id, AuditEvent.target == Refusal.key_id, AuditEvent.action == CHANGES[0]
    )
    edited = edits.correlate(Refusal).scalar_subquery()
    query = select(Refusal.key_id).where(
        Refusal.key_id.in_(key_ids),
        Refusal.reason == Reason.SPEND_EXCEEDED.value,
        Refusal.org_id == org_id,
        Refusal.last_at >= since,
        or_(edited.is_(None), Refusal.last_at >= edited),
    )
    return set(db.session.scalars(query)) if key_ids else set()


def _told(
    key: Any, threshold: int, percent: int, spent: int, period: tuple[date, date | None], zone: str | None
) -> Happened:
    start, end = period
    resets_at = None if end is None else begins(end, zone)
    # Of another limit it is another thing, so that whoever changes it is told again; of one limit it is told once.
    return Happened(
        SPEND,
        key.id,
        f"{threshold} % of {key.limit_nanos} since {start}",
        {
            "key_id": key.id,
            "key_name": key.name,
            "key_prefix": key.prefix,
            "threshold_percent": threshold,
            "spent_percent": percent,
            "spent_usd": money.to_usd(spent),
            "spend_limit_usd": money.to_usd(key.limit_nanos),
            "period_start": None if end is None else to_json_moment(begins(start, zone)),
            "resets_at": to_json_moment(resets_at),
        },
        until=resets_at,
    )
