"""`/v1/webhooks`: addresses that are told of events, and what became of each message."""

from typing import Any

from flask import Blueprint, Response

from shared.models import ADMIN_SCOPE
from webapp.access import current_actor
from webapp.actions.alerts import send_test
from webapp.actions.webhooks import CreatedWebhook as Made
from webapp.actions.webhooks import create_webhook, delete_webhook, rotate_webhook, update_webhook
from webapp.api.answers import answer
from webapp.api.spec import operation
from webapp.queries.alerts import DeliveryPage, get_webhook, list_deliveries, list_webhooks
from webapp.schemas.alerts import (
    CreatedWebhook,
    Delivery,
    DeliveryList,
    DeliveryQuery,
    NewWebhook,
    SentTest,
    Webhook,
    WebhookList,
    WebhookPatch,
)

bp = Blueprint("api_webhooks", __name__, url_prefix="/v1/webhooks")

PLACE = {"webhook_id": "The webhook's id, whk_ and 26 characters."}


@bp.get("")
@operation("listWebhooks", ADMIN_SCOPE, WebhookList, "All webhooks")
def index() -> Response:
    """List webhooks, the newest first."""
    return answer(WebhookList(data=[Webhook.model_validate(view) for view in list_webhooks(current_actor().org_id)]))


@bp.post("")
@operation(
    "createWebhook",
    ADMIN_SCOPE,
    CreatedWebhook,
    "The webhook, and in `secret` what its messages are signed with, this once",
    status=201,
    body=NewWebhook,
    problems=(409,),
)
def create(document: dict[str, Any]) -> Response:
    """Make a webhook."""
    return answer(_created(create_webhook(current_actor(), document)), 201)


@bp.get("/<webhook_id>")
@operation("getWebhook", ADMIN_SCOPE, Webhook, "The webhook", path=PLACE, problems=(404,))
def show(webhook_id: str) -> Response:
    """Read one webhook."""
    return answer(Webhook.model_validate(get_webhook(current_actor().org_id, webhook_id)))


@bp.patch("/<webhook_id>")
@operation(
    "updateWebhook", ADMIN_SCOPE, Webhook, "The webhook as it is now", path=PLACE, body=WebhookPatch, problems=(404,)
)
def update(webhook_id: str, document: dict[str, Any]) -> Response:
    """Change where a webhook leads, what it is told of, or whether it is told of anything."""
    actor = current_actor()
    served = Webhook.model_validate(get_webhook(actor.org_id, webhook_id)).model_dump(mode="json")
    return answer(Webhook.model_validate(update_webhook(actor, webhook_id, document, served=served)))


@bp.delete("/<webhook_id>")
@operation("deleteWebhook", ADMIN_SCOPE, Webhook, "The webhook that was", path=PLACE, problems=(404,))
def delete(webhook_id: str) -> Response:
    """Delete a webhook; what was still to be sent there is given up."""
    return answer(Webhook.model_validate(delete_webhook(current_actor(), webhook_id)))


@bp.post("/<webhook_id>/rotate")
@operation(
    "rotateWebhook",
    ADMIN_SCOPE,
    CreatedWebhook,
    "The webhook, and in `secret` its new one, this once",
    path=PLACE,
    problems=(404, 409),
)
def rotate(webhook_id: str) -> Response:
    """Give a webhook another secret. Each one before signs every message as well for 24 hours."""
    return answer(_created(rotate_webhook(current_actor(), webhook_id)))


@bp.post("/<webhook_id>/test")
@operation("testWebhook", ADMIN_SCOPE, SentTest, "The message that is on its way", path=PLACE, problems=(404,))
def test(webhook_id: str) -> Response:
    """Send a message to a webhook to try it, also to one that is not enabled."""
    sent = send_test(current_actor(), webhook_id)
    return answer(SentTest(data=[Delivery.model_validate(view) for view in sent]))


@bp.get("/<webhook_id>/deliveries")
@operation(
    "listWebhookDeliveries", ADMIN_SCOPE, DeliveryList, "A page", query=DeliveryQuery, path=PLACE, problems=(404,)
)
def deliveries(webhook_id: str, query: DeliveryQuery) -> Response:
    """List the messages to a webhook of the last 30 days, the newest first."""
    org_id = current_actor().org_id
    return answer(listed(list_deliveries(org_id, query, get_webhook(org_id, webhook_id).id)))


def listed(page: DeliveryPage) -> DeliveryList:
    """A page of messages as it is told."""
    data = [Delivery.model_validate(view) for view in page.deliveries]
    return DeliveryList(data=data, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)


def _created(made: Made) -> CreatedWebhook:
    return CreatedWebhook(**Webhook.model_validate(made.view).model_dump(), secret=made.secret)
