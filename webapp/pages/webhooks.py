"""Webhooks, below Alerts: made, tried, switched, given another secret, deleted. For administrators."""

import re
import secrets

from flask import Blueprint, redirect, request
from markupsafe import Markup
from werkzeug.wrappers import Response

from webapp.actions.alerts import send_test
from webapp.actions.webhooks import CreatedWebhook, create_webhook, delete_webhook, rotate_webhook, update_webhook
from webapp.context import Conflict
from webapp.pages.alerts import HERE, WebhookForm, named, show
from webapp.pages.alerts_form import attach
from webapp.queries.alerts import get_webhook
from webapp.render import page, tell
from webapp.schemas.alerts import EVENTS
from webapp.security import current_actor, require
from webapp.validation import Invalid

bp = Blueprint("webhooks", __name__, url_prefix="/settings/alerts/webhooks")
_NONCE = re.compile(r"[\w-]{16,64}", re.ASCII)


@bp.post("")
@require("admin")
def create() -> Response:
    """Make a webhook, once for each form that was shown, however often it is sent."""
    form = WebhookForm()
    nonce = form.nonce.data or ""
    events = list(form.events.data or ())
    try:
        if not events:
            form.events.errors = ["Choose at least one."]
            return show(webhook_form=form, status=422)
        # All of them are all that there will be, too.
        said = {"url": form.url.data or "", "events": [] if set(events) == set(EVENTS) else events}
        once = nonce if _NONCE.fullmatch(nonce) else secrets.token_urlsafe(24)
        created = create_webhook(current_actor(), said, once=once)
    except Invalid as error:
        return show(webhook_form=form, webhook_faults=attach(form, error.errors), status=422)
    except Conflict as conflict:
        return show(webhook_form=form, problem=conflict.message, status=409)
    return _reveal(created, status=201)


@bp.get("/<webhook_id>/rotate")
@require("admin")
def ask_rotate(webhook_id: str) -> Response:
    return _ask("rotate", webhook_id)


@bp.post("/<webhook_id>/rotate")
@require("admin")
def rotate(webhook_id: str) -> Response:
    """Make a new secret, once for each form that was shown, however often it is sent."""
    nonce = request.form.get("nonce", "")
    once = nonce if _NONCE.fullmatch(nonce) else secrets.token_urlsafe(24)
    try:
        return _reveal(rotate_webhook(current_actor(), webhook_id, once=once))
    except Conflict as conflict:
        back = {"back_href": f"{HERE}#webhooks", "back_to": "the webhooks"}
        return page("notice.html", "panel", status=409, title="Nothing was changed", text=conflict.message, **back)


@bp.get("/<webhook_id>/delete")
@require("admin")
def ask_delete(webhook_id: str) -> Response:
    return _ask("delete", webhook_id)


@bp.post("/<webhook_id>/delete")
@require("admin")
def delete(webhook_id: str) -> Response:
    view = delete_webhook(current_actor(), webhook_id)
    tell(Markup("Deleted the webhook at {}.").format(named(view)))
    return redirect(f"{HERE}#webhooks", code=303)


@bp.post("/<webhook_id>/test")
@require("admin")
def test(webhook_id: str) -> Response:
    send_test(current_actor(), webhook_id)
    tell("A test is on the way. What became of it stands below.")
    return redirect(f"{HERE}#deliveries", code=303)


@bp.post("/<webhook_id>/enable")
@require("admin")
def enable(webhook_id: str) -> Response:
    return _switch(webhook_id, enabled=True)


@bp.post("/<webhook_id>/disable")
@require("admin")
def disable(webhook_id: str) -> Response:
    return _switch(webhook_id, enabled=False)


def _switch(webhook_id: str, *, enabled: bool) -> Response:
    view = update_webhook(current_actor(), webhook_id, {"enabled": enabled})
    words = "It is told of what happens from now on." if enabled else "Nothing new is sent there."
    tell(Markup("Changed the webhook at {}. {}").format(named(view), words))
    return redirect(f"{HERE}#webhooks", code=303)


def _ask(step: str, webhook_id: str) -> Response:
    view = get_webhook(current_actor().org_id, webhook_id)
    nonce = secrets.token_urlsafe(24)
    return page("webhook.html", "panel", step=step, webhook=view, secret=None, nonce=nonce)


def _reveal(created: CreatedWebhook, *, status: int = 200) -> Response:
    view = created.view
    return page("webhook.html", "panel", status=status, step="created", webhook=view, secret=created.secret)
