"""Webhooks of an organisation, and the messages that were sent or are still to be."""

from dataclasses import dataclass

from sqlalchemy import select

from shared.models import AlertDelivery, Webhook
from webapp.context import now
from webapp.db import db
from webapp.schemas.alerts import DeliveryQuery
from webapp.schemas.lists import cursor_of
from webapp.views.alerts import DeliveryView, WebhookView, delivery_view, webhook_row, webhook_view


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """A page of messages, the newest first."""

    deliveries: tuple[DeliveryView, ...]
    next_cursor: str | None


def list_webhooks(org_id: str) -> tuple[WebhookView, ...]:
    """All webhooks, the newest first."""
    query = select(Webhook).where(Webhook.org_id == org_id).order_by(Webhook.id.desc())
    at = now()
    return tuple(webhook_view(row, at) for row in db.session.scalars(query))


def get_webhook(org_id: str, webhook_id: str) -> WebhookView:
    """One of them. Raises NotFound."""
    return webhook_view(webhook_row(org_id, webhook_id), now())


def list_deliveries(org_id: str, asked: DeliveryQuery, target: str | None = None) -> DeliveryPage:
    """A page of messages, of all receivers or of one."""
    query = select(AlertDelivery).where(AlertDelivery.org_id == org_id)
    if target is not None:
        query = query.where(AlertDelivery.target == target)
    if asked.status is not None:
        query = query.where(AlertDelivery.status == asked.status)
    if (place := asked.place()) is not None:
        query = query.where(AlertDelivery.id < place[0])
    rows = db.session.scalars(query.order_by(AlertDelivery.id.desc()).limit(asked.limit + 1)).all()
    shown = rows[: asked.limit]
    cursor = cursor_of("deliveries", shown[-1].id) if len(rows) > len(shown) else None
    return DeliveryPage(tuple(delivery_view(row) for row in shown), cursor)
