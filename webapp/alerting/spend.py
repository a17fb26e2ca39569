"""Thresholds that keys have reached of their spend limits, by the ledger's totals: a moment late, and never wrong.

What may have reached one was used lately, was refused lately for its limit (what is left fits no request), or has had
its limit or its thresholds changed. Each has an index of its own.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import and_, func, select

from shared import periods
from shared.models import AuditEvent, KeyAlertRules, KeySpend, ProxyKey, Refusal
from shared.policy import Reason
from webapp.actions.alerts import Happened
from webapp.alerting import model_spend
from webapp.alerting.pages import Page, Place, rows_of
from webapp.alerting.thresholds import EDIT, Used, reached, refused
from webapp.db import db
from webapp.queries.key_filters import limit_at
from webapp.views.alerts import RulesView
from webapp.views.calendar import begins, zone_of

CHANGES = (EDIT, "alerts.key")  # as the audit log has them


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
    zone, key_ids = zone_of(org_id), {row[1] for row in rows}
    yield from _reached(org_id, zone, rules, at, key_ids)
    yield from model_spend.reached(org_id, zone, rules, at, key_ids)


def _reached(
    org_id: str, zone: str | None, rules: RulesView, at: datetime, key_ids: Collection[str]
) -> Iterator[Happened]:
    """All thresholds that these keys have reached, each of the limit and in the period that hold now."""
    by_reset: dict[str, list[Any]] = defaultdict(list)
    for key in _limited(org_id, key_ids, at):
        by_reset[key.spend_reset].append(key)
    for reset, keys in by_reset.items():
        start, end = periods.period_of(reset, at.timestamp(), zone)
        spent, began = _spent(start, end, [key.id for key in keys]), begins(start, zone)
        all_used = [Used(key, key.limit_nanos, spent.get(key.id, 0), start, end) for key in keys]
        nearly_full = [used.key.id for used in all_used if used.is_nearly_full]
        last = refused(Reason.SPEND_EXCEEDED, org_id, nearly_full)
        for used in all_used:
            key = used.key
            own = rules.spend_thresholds if key.spend_thresholds is None else key.spend_thresholds
            yield from reached(used, own, zone, full=key.id in last and last[key.id][0] >= began)


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
