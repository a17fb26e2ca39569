"""Thresholds that keys have reached of their spend limits for models: by the ledger's sums, as of their own limits."""

from collections.abc import Collection, Iterator
from datetime import date, datetime

from sqlalchemy import select

from shared import periods
from shared.model_limits import ModelLimit, model_limits_of
from shared.models import KeyAlertRules, ProxyKey
from shared.policy import Reason
from webapp.actions.alerts import Happened
from webapp.alerting import thresholds
from webapp.alerting.thresholds import Used, refused
from webapp.db import db
from webapp.views.alerts import RulesView
from webapp.views.calendar import begins
from webapp.views.model_limits import spent_by_ledger
from webapp.views.standing_refusals import is_covered


def reached(
    org_id: str, zone: str | None, rules: RulesView, at: datetime, key_ids: Collection[str]
) -> Iterator[Happened]:
    """All thresholds that these keys have reached of their limits for models; `zone`: their organisation's."""
    query = (
        select(ProxyKey.id, ProxyKey.name, ProxyKey.prefix, ProxyKey.model_limits, KeyAlertRules.spend_thresholds)
        .outerjoin(KeyAlertRules, KeyAlertRules.key_id == ProxyKey.id)
        .where(ProxyKey.id.in_(key_ids), ProxyKey.org_id == org_id, ProxyKey.model_limits.is_not(None))
        .where(ProxyKey.revoked_at.is_(None), ProxyKey.paused.is_(False))
    )
    keys = {key.id: key for key in db.session.execute(query)} if key_ids else {}
    limits = {key_id: model_limits_of(key_id, key.model_limits) for key_id, key in keys.items()}
    spent = spent_by_ledger(limits, dict.fromkeys(limits, zone), at)
    all_used = [
        Used(key, limit.spend_limit_nanos, spent[limit.row_id], *_period(limit, zone, at), limit.model)
        for key_id, key in keys.items()
        for limit in limits[key_id]
        if limit.spend_limit_nanos
    ]
    nearly_full = {used.key.id for used in all_used if used.is_nearly_full}
    last = refused(Reason.MODEL_SPEND_EXCEEDED, org_id, nearly_full)
    for used in all_used:
        key = used.key
        own = rules.spend_thresholds if key.spend_thresholds is None else key.spend_thresholds
        full = used.is_nearly_full and key.id in last and _is_of(*last[key.id], used, zone)
        yield from thresholds.reached(used, own, zone, full=full)


def _period(limit: ModelLimit, zone: str | None, at: datetime) -> tuple[date, date | None]:
    return periods.period_of(limit.spend_reset, at.timestamp(), zone)


def _is_of(at: datetime, model: str | None, used: Used, zone: str | None) -> bool:
    """Whether a refusal at a moment, for a model, was for this limit in its period."""
    return at >= begins(used.start, zone) and (model is None or is_covered(model, (used.model or "",)))
