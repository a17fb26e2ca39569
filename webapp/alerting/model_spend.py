"""Thresholds that keys have reached of their spend limits for models: by the ledger's sums, as of their own limits."""

import hashlib
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from shared import money, periods
from shared.model_limits import ModelLimit, model_limits_of
from shared.models import AuditEvent, KeyAlertRules, ProxyKey, Refusal
from shared.policy import Reason
from webapp.actions.alerts import Happened
from webapp.db import db
from webapp.schemas.alerts import SPEND
from webapp.schemas.values import to_json_moment
from webapp.views.alerts import RulesView
from webapp.views.calendar import begins, zone_of
from webapp.views.model_limits import spent_by_ledger
from webapp.views.standing_refusals import is_covered

FULL_PERCENT = 95  # from here on a key that was refused for the limit is said to have reached it


def reached(org_id: str, rules: RulesView, at: datetime, key_ids: Collection[str]) -> Iterator[Happened]:
    """All thresholds that these keys have reached of their limits for models."""
    query = (
        select(ProxyKey.id, ProxyKey.name, ProxyKey.prefix, ProxyKey.model_limits, KeyAlertRules.spend_thresholds)
        .outerjoin(KeyAlertRules, KeyAlertRules.key_id == ProxyKey.id)
        .where(ProxyKey.id.in_(key_ids), ProxyKey.org_id == org_id, ProxyKey.model_limits.is_not(None))
        .where(ProxyKey.revoked_at.is_(None), ProxyKey.paused.is_(False))
    )
    keys = {key.id: key for key in db.session.execute(query)} if key_ids else {}
    limits = {key_id: model_limits_of(key_id, key.model_limits) for key_id, key in keys.items()}
    zone = zone_of(org_id)
    spent = spent_by_ledger(limits, dict.fromkeys(limits, zone), at)
    for key_id, key in keys.items():
        own = rules.spend_thresholds if key.spend_thresholds is None else key.spend_thresholds
        for limit in limits[key_id]:
            most, nanos = limit.spend_limit_nanos, spent[limit.row_id]
            if not most:
                continue
            percent = nanos * 100 // most
            full = FULL_PERCENT <= percent < 100 and _refused_for(org_id, key_id, limit, zone, at)
            for threshold in own:
                if (100 if full else percent) >= threshold:
                    yield _told(key, limit, (threshold, percent), nanos, zone, at)


def _refused_for(org_id: str, key_id: str, limit: ModelLimit, zone: str | None, at: datetime) -> bool:
    """Whether a key was refused for a limit in this period, since it is the one that it is."""
    start, _ = periods.period_of(limit.spend_reset, at.timestamp(), zone)
    edited = db.session.scalar(
        select(func.max(AuditEvent.at)).where(
            AuditEvent.org_id == org_id, AuditEvent.target == key_id, AuditEvent.action == "key.update"
        )
    )
    found = db.session.execute(
        select(Refusal.last_at, Refusal.model).where(
            Refusal.key_id == key_id, Refusal.reason == Reason.MODEL_SPEND_EXCEEDED.value, Refusal.org_id == org_id
        )
    ).first()
    if found is None or found.last_at < begins(start, zone) or (edited is not None and found.last_at < edited):
        return False
    return found.model is None or is_covered(found.model, (limit.model,))


def _told(
    key: Any, limit: ModelLimit, reached: tuple[int, int], spent: int, zone: str | None, at: datetime
) -> Happened:
    threshold, percent = reached
    # Of another limit it is another thing, as of a key's own.
    start, end = periods.period_of(limit.spend_reset, at.timestamp(), zone)
    resets_at = None if end is None else begins(end, zone)
    pattern = hashlib.sha256(limit.model.encode()).hexdigest()[:12]  # one may be longer than what tells it apart
    return Happened(
        SPEND,
        key.id,
        f"{threshold} % of {limit.spend_limit_nanos} since {start} for {pattern}",
        {
            "key_id": key.id,
            "key_name": key.name,
            "key_prefix": key.prefix,
            "model_limit": limit.model,
            "threshold_percent": threshold,
            "spent_percent": percent,
            "spent_usd": money.to_usd(spent),
            "spend_limit_usd": money.to_usd(limit.spend_limit_nanos),
            "period_start": None if end is None else to_json_moment(begins(start, zone)),
            "resets_at": to_json_moment(resets_at),
        },
        until=resets_at,
    )
