"""Alerts, below Settings, for administrators: what is told, to whom, and what became of every message."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, current_app, redirect, request
from flask_wtf import FlaskForm
from markupsafe import Markup
from werkzeug.wrappers import Response
from wtforms import HiddenField, SelectMultipleField, StringField
from wtforms.fields import SelectChoice

from shared.config import Settings
from webapp.actions.alerts import retry_delivery, send_test, update_rules
from webapp.context import Conflict, now
from webapp.pages.actor_words import actor_words
from webapp.pages.alerts_form import AlertsForm, attach, filled, patch
from webapp.queries.alerts import list_deliveries, list_webhooks
from webapp.render import page, relative, tell
from webapp.schemas.alerts import DELIVERY_STATES, EVENTS, DeliveryQuery
from webapp.security import current_actor, require
from webapp.validation import Invalid, read
from webapp.views.alerts import DeliveryView, WebhookView, rules_of

bp = Blueprint("alerts", __name__, url_prefix="/settings/alerts")

HERE = "/settings/alerts"
ROWS = 25
_STATES = {
    "pending": ("On its way", "clock", ""),
    "delivered": ("Delivered", "check", "green"),
    "dead": ("Given up", "alert", "red"),
}


class WebhookForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """A new webhook."""

    url = StringField("Address", id="webhook-url")
    events = SelectMultipleField(
        "Events", choices=[SelectChoice(event, words) for event, words in EVENTS.items()], id="webhook-events"
    )
    nonce = HiddenField()


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A webhook in the words of the dashboard."""

    view: WebhookView
    events: str
    since: str
    old_secret: str  # how long the one before works still; "" if it does not


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A message in the words of the dashboard."""

    view: DeliveryView
    event: str
    target: str
    state: tuple[str, str, str]  # label, icon, tone
    created: str
    next: str
    retry: bool


@bp.get("")
@require("admin")
def index() -> Response:
    return show()


@bp.post("")
@require("admin")
def update() -> Response:
    form = filled(rules_of(current_actor().org_id), submitted=True)
    try:
        update_rules(current_actor(), patch(form))
    except Invalid as error:
        return show(form, general=attach(form, error.errors), status=422)
    tell("Saved. It holds for what happens from now on.")
    return redirect(HERE, code=303)


@bp.post("/test")
@require("admin")
def test() -> Response:
    """Send a mail to everybody who gets mail."""
    try:
        sent = send_test(current_actor())
    except Conflict as conflict:
        return show(problem=conflict.message, status=409)
    count = "A test mail is" if len(sent) == 1 else f"{len(sent)} test mails are"
    tell(f"{count} on the way. What became of it stands below.")
    return redirect(f"{HERE}#deliveries", code=303)


@bp.post("/deliveries/<delivery_id>/retry")
@require("admin")
def retry(delivery_id: str) -> Response:
    try:
        retry_delivery(current_actor(), delivery_id)
    except Conflict as conflict:
        return show(problem=conflict.message, status=409)
    tell("The message is tried again now.")
    return redirect(f"{HERE}#deliveries", code=303)


def blank() -> WebhookForm:
    """The form of a new webhook as it is shown first, whatever another form of the page sends."""
    return WebhookForm(formdata=None, data={"events": list(EVENTS)})


def show(
    form: AlertsForm | None = None,
    *,
    general: tuple[str, ...] = (),
    webhook_form: WebhookForm | None = None,
    webhook_faults: tuple[str, ...] = (),
    problem: str = "",
    status: int = 200,
) -> Response:
    """The page with these forms in it; `problem` says why something was not done."""
    settings: Settings = current_app.extensions["settings"]
    org_id, at = current_actor().org_id, now()
    hooks = list_webhooks(org_id)
    asked = _asked()
    found = list_deliveries(org_id, asked)
    new = webhook_form or blank()
    new.nonce.data = secrets.token_urlsafe(24)
    failed: list[Any] = [field.id for one in (form or (), webhook_form or ()) for field in one if field.errors]
    return page(
        "alerts.html",
        status=status,
        form=form or filled(rules_of(org_id), submitted=False),
        general=general,
        webhook_form=new,
        webhook_faults=webhook_faults,
        problem=problem,
        first=failed[0] if failed else None,
        has_mail=settings.mail_server is not None,
        webhooks=[_webhook_row(view, at) for view in hooks],
        actors=actor_words(org_id, [view.created_by for view in hooks]),
        deliveries=[_delivery_row(view, hooks, at) for view in found.deliveries],
        next_cursor=found.next_cursor,
        asked=asked,
        states=[(state, _STATES[state][0]) for state in DELIVERY_STATES],
    )


def _asked() -> DeliveryQuery:
    """Which messages; all of them for an address that makes no sense."""
    said: dict[str, object] = {name: request.args[name] for name in ("status", "cursor") if request.args.get(name)}
    try:
        return read(DeliveryQuery, {**said, "limit": ROWS})
    except Invalid:
        return read(DeliveryQuery, {"limit": ROWS})


def _webhook_row(view: WebhookView, at: datetime) -> WebhookRow:
    events = "All" if not view.events else ", ".join(EVENTS[one] for one in view.events if one in EVENTS)
    until = view.previous_secret_until
    return WebhookRow(view, events, relative(view.created_at, at), "" if until is None else relative(until, at))


def _delivery_row(view: DeliveryView, hooks: Sequence[WebhookView], at: datetime) -> DeliveryRow:
    target = view.target
    if view.channel == "webhook":
        target = next((hook.url for hook in hooks if hook.id == view.target), "A webhook that was deleted")
    more = len(view.alerts) - 1 + view.more
    event = EVENTS.get(view.event, "Test")
    return DeliveryRow(
        view=view,
        event=f"{event} (and {more} more)" if more else event,
        target=target,
        state=_STATES[view.status],
        created=relative(view.created_at, at),
        next=relative(view.next_at, at) if view.next_at is not None else "",
        retry=view.status == "dead" or (view.status == "pending" and view.attempts > 0),
    )


def named(view: WebhookView) -> Markup:
    """A webhook in a message."""
    return Markup("<bdi>{}</bdi>").format(view.url)
