"""`/v1/alerts`: what people are told of, by mail to whom, and every message about it."""

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, current_app

from shared.config import Settings
from shared.models import ADMIN_SCOPE
from webapp.access import current_actor
from webapp.actions.alerts import retry_delivery, send_test, set_thresholds, update_rules
from webapp.api.answers import answer
from webapp.api.spec import operation
from webapp.api.webhooks import listed
from webapp.queries.alerts import list_deliveries
from webapp.schemas.alerts import (
    AlertsInfo,
    AlertsPatch,
    Delivery,
    DeliveryList,
    DeliveryQuery,
    KeyAlerts,
    KeyAlertsPatch,
    SentTest,
)
from webapp.views.alerts import RulesView, rules_of, thresholds_of
from webapp.views.keys import row_of

bp = Blueprint("api_alerts", __name__, url_prefix="/v1/alerts")
keys = Blueprint("api_key_alerts", __name__, url_prefix="/v1/keys/<key_id>/alerts")

_KEY = {"key_id": "The key's id, key_ and 26 characters."}


@bp.get("")
@operation("getAlerts", ADMIN_SCOPE, AlertsInfo, "What is told, and to whom")
def show() -> Response:
    """Read what the organisation is told of, and by mail to whom."""
    return answer(_told(rules_of(current_actor().org_id)))


@bp.patch("")
@operation("updateAlerts", ADMIN_SCOPE, AlertsInfo, "What is told now", body=AlertsPatch)
def update(document: dict[str, Any]) -> Response:
    """Change what the organisation is told of, and by mail to whom."""
    actor = current_actor()
    served = _told(rules_of(actor.org_id)).model_dump(mode="json")
    return answer(_told(update_rules(actor, document, served=served)))


@bp.post("/test")
@operation("testAlerts", ADMIN_SCOPE, SentTest, "The messages that are on their way", problems=(409,))
def test() -> Response:
    """Send a mail to every recipient to try them."""
    return answer(SentTest(data=[Delivery.model_validate(view) for view in send_test(current_actor())]))


@bp.get("/deliveries")
@operation("listDeliveries", ADMIN_SCOPE, DeliveryList, "A page", query=DeliveryQuery)
def deliveries(query: DeliveryQuery) -> Response:
    """List all messages of the last 30 days, by mail and to webhooks, the newest first."""
    return answer(listed(list_deliveries(current_actor().org_id, query)))


@bp.post("/deliveries/<delivery_id>/retry")
@operation(
    "retryDelivery",
    ADMIN_SCOPE,
    Delivery,
    "The message, which is tried at once",
    path={"delivery_id": "The message's id, dlv_ and 26 characters."},
    problems=(404, 409),
)
def retry(delivery_id: str) -> Response:
    """Try a message at once that was given up, or that waits for its next attempt."""
    return answer(Delivery.model_validate(retry_delivery(current_actor(), delivery_id)))


@keys.get("")
@operation("getKeyAlerts", "keys:read", KeyAlerts, "The thresholds", path=_KEY, problems=(404,))
def show_key(key_id: str) -> Response:
    """Read the thresholds of its own that a key is told of at."""
    return answer(KeyAlerts(spend_thresholds=thresholds_of(row_of(current_actor().org_id, key_id).id)))


@keys.patch("")
@operation(
    "updateKeyAlerts",
    "keys:write",
    KeyAlerts,
    "The thresholds as they are now",
    path=_KEY,
    body=KeyAlertsPatch,
    problems=(404, 409),
)
def update_key(key_id: str, document: dict[str, Any]) -> Response:
    """Give a key thresholds of its own, or let those of the organisation hold again."""
    return answer(KeyAlerts(spend_thresholds=set_thresholds(current_actor(), key_id, document)))


def _told(rules: RulesView) -> AlertsInfo:
    settings: Settings = current_app.extensions["settings"]
    return AlertsInfo(**asdict(rules), mail=settings.mail_server is not None)
