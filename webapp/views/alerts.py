"""What an organisation wants to be told of, its webhooks, and messages on their way: rows as frozen values."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import select, text

from shared.models import AlertDelivery, AlertRules, KeyAlertRules, Webhook
from webapp.context import NotFound
from webapp.db import db

Row = TypeVar("Row", Webhook, AlertDelivery)
# What is still to be sent, as its index says it: SQLite knows its rows by these very words alone.
PENDING = text("alert_deliveries.status = 'pending'")


@dataclass(frozen=True, slots=True)
class RulesView:
    """What is told, and by mail to whom. These are the defaults, of an organisation that has said nothing."""

    recipients: tuple[str, ...] = ()
    spend_thresholds: tuple[int, ...] = (50, 80, 100)
    unused_days: int | None = 30
    expiring_days: int | None = 7
    credential_refused: bool = True
    refusals_per_10_minutes: int | None = 100


@dataclass(frozen=True, slots=True)
class WebhookView:
    """A webhook as administrators see it."""

    id: str
    url: str  # as it is shown: not to be connected to
    events: tuple[str, ...]
    enabled: bool
    created_at: datetime
    created_by: str
    previous_secret_until: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A message, and how far it has come."""

    id: str
    channel: str
    target: str
    event: str
    alerts: tuple[str, ...]
    more: int
    status: str
    attempts: int
    created_at: datetime
    next_at: datetime | None
    ended_at: datetime | None
    response_status: int | None
    error: str | None


def rules_view(row: AlertRules | None) -> RulesView:
    """The view of a row, or of none."""
    if row is None:
        return RulesView()
    return RulesView(
        tuple(row.recipients),
        tuple(row.spend_thresholds),
        row.unused_days,
        row.expiring_days,
        row.credential_refused,
        row.refusals_per_10_minutes,
    )


def rules_of(org_id: str) -> RulesView:
    """What an organisation is told of."""
    return rules_view(db.session.get(AlertRules, org_id))


def thresholds_of(key_id: str) -> tuple[int, ...] | None:
    """A key's own thresholds; None where those of its organisation hold."""
    row = db.session.get(KeyAlertRules, key_id)
    return None if row is None else tuple(row.spend_thresholds)


def webhook_row(org_id: str, webhook_id: str, *, lock: bool = False) -> Webhook:
    """The row, for actions. Raises NotFound, for another organisation's webhook as well."""
    query = select(Webhook).where(Webhook.id == webhook_id, Webhook.org_id == org_id)
    return _found(db.session.scalar(query.with_for_update() if lock else query))


def delivery_row(org_id: str, delivery_id: str, *, lock: bool = False) -> AlertDelivery:
    """Likewise of a message."""
    query = select(AlertDelivery).where(AlertDelivery.id == delivery_id, AlertDelivery.org_id == org_id)
    return _found(db.session.scalar(query.with_for_update() if lock else query))


def webhook_view(row: Webhook, at: datetime) -> WebhookView:
    """The view of one row, at a moment."""
    until = row.previous_until
    return WebhookView(
        id=row.id,
        url=row.url_shown,
        events=tuple(row.events),
        enabled=row.enabled,
        created_at=row.created_at,
        created_by=row.created_by,
        previous_secret_until=until if until is not None and until > at else None,
    )


def delivery_view(row: AlertDelivery) -> DeliveryView:
    """The view of one row."""
    return DeliveryView(
        id=row.id,
        channel=row.channel,
        target=row.target,
        event=row.event,
        alerts=tuple(row.alerts),
        more=sum(row.more.values()),
        status=row.status,
        attempts=row.attempts,
        created_at=row.created_at,
        next_at=row.next_at if row.status == "pending" else None,
        ended_at=row.ended_at,
        response_status=row.response_status,
        error=row.error,
    )


def _found(row: Row | None) -> Row:
    if row is None:
        raise NotFound
    return row
