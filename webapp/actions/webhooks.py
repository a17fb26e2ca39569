"""Webhooks: made, changed, given another secret, deleted.

Their secrets are sealed like providers' credentials, and so are their addresses: who knows one of a chat may write to
that chat. Of an address people see where it leads and how it ends.
"""

import base64
import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from flask import current_app
from flask_sqlalchemy.session import Session
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import scoped_session

from shared.config import Settings
from shared.ids import new_id
from shared.models import AlertDelivery, IdempotentCreation, Webhook
from shared.sealing import Sealer, UnsealError
from webapp.actions import audit
from webapp.actions.form_nonce import writing_once
from webapp.context import Actor, Conflict, now
from webapp.db import writing
from webapp.schemas.alerts import MAX_WEBHOOKS, NewWebhook, WebhookPatch
from webapp.validation import read
from webapp.views.alerts import WebhookView, webhook_row, webhook_view

SECRET_TAG = "whsec_"  # noqa: S105 - what a secret begins with (https://www.standardwebhooks.com)
SECRET_BYTES = 32
OLD_SECRET_FOR = timedelta(hours=24)
MOST_OLD_SECRETS = 10  # that sign beside it
_SHOWN, _LONG = 4, 16  # signs of what follows the host: so many are shown of what has at least so many


@dataclass(frozen=True, slots=True)
class CreatedWebhook:
    """A webhook, and its secret at the only moment it can be seen."""

    view: WebhookView
    secret: str

    def __repr__(self) -> str:
        return f"CreatedWebhook({self.view.id})"


def create_webhook(actor: Actor, document: Mapping[str, object], *, once: str | None = None) -> CreatedWebhook:
    """Make a webhook. With `once`, a word that was made up for one form, there is one a word.

    Raises Invalid, and Conflict "too_many_webhooks" or "form_used".
    """
    wanted = read(NewWebhook, document, networks=_settings().alert_networks)
    try:
        return _create(actor, wanted, once)
    except IntegrityError:
        if once is None:
            raise
        raise Conflict("form_used", "This form made a webhook already, and its secret was shown then.") from None


def _create(actor: Actor, wanted: NewWebhook, once: str | None) -> CreatedWebhook:
    secret = _mint()
    with writing() as session:
        count = session.scalar(select(func.count()).where(Webhook.org_id == actor.org_id)) or 0
        if count >= MAX_WEBHOOKS:
            raise Conflict("too_many_webhooks", f"There are {MAX_WEBHOOKS} webhooks already; delete one first.")
        row = Webhook(
            id=new_id("whk"),
            org_id=actor.org_id,
            url_sealed=_sealer().seal(wanted.url),
            url_shown=shown(wanted.url),
            events=wanted.events,
            enabled=True,
            sealed=_sealer().seal(secret),
            created_at=now(),
            created_by=actor.name,
        )
        if once is not None:
            used = IdempotentCreation(org_id=actor.org_id, idempotency_key=f"webhook-form-{once}", created_id=row.id)
            used.request_digest, used.created_at = "", row.created_at
            session.add(used)
        session.add(row)
        audit(session, actor, "webhook.create", row.id, after=_told(row))
        view = webhook_view(row, now())
    return CreatedWebhook(view, secret)


def update_webhook(
    actor: Actor, webhook_id: str, document: Mapping[str, object], *, served: Mapping[str, Any] | None = None
) -> WebhookView:
    """Merge a patch into it, of which it is told as `served`; an address as it is shown stays the one it is.

    Raises Invalid, NotFound.
    """
    if document.get("url") == webhook_row(actor.org_id, webhook_id).url_shown:
        document = {name: value for name, value in document.items() if name != "url"}
    patch = read(WebhookPatch, document, served=served, networks=_settings().alert_networks)
    columns = patch.columns()
    url: str | None = columns.pop("url", None)
    with writing() as session:
        row = webhook_row(actor.org_id, webhook_id, lock=True)
        before, moved = _told(row), url is not None and not _leads_to(row, url)
        if url is not None and moved:
            columns |= {"url_sealed": _sealer().seal(url), "url_shown": shown(url)}
        for column, value in columns.items():
            setattr(row, column, value)
        after = _told(row)
        if before != after or moved:
            audit(session, actor, "webhook.update", row.id, before=before, after=after)
        return webhook_view(row, now())


def rotate_webhook(actor: Actor, webhook_id: str, *, once: str | None = None) -> CreatedWebhook:
    """Give it another secret; each that it had signs beside it for a day from then on.

    With `once`, a word that was made up for one form, there is one a word. Raises NotFound, and Conflict "form_used" or
    "too_many_secrets".
    """
    secret, sealer, at = _mint(), _sealer(), now()
    used = "This form made a new secret already, and it was shown then."
    with writing_once(actor.org_id, "webhook-secret", once, used) as session:
        row = webhook_row(actor.org_id, webhook_id, lock=True)
        old = _old_secrets(row, sealer)
        if len(old) >= MOST_OLD_SECRETS:
            message = f"This webhook has {len(old)} old secrets that sign still, each for 24 hours."
            raise Conflict("too_many_secrets", message)
        with contextlib.suppress(UnsealError):  # a new secret is what mends one that nobody can open
            old.insert(0, (sealer.unseal(row.sealed), at + OLD_SECRET_FOR))
        row.previous_sealed = row.previous_until = None
        if old:
            newest, *others = old
            lines = (newest[0], *(f"{one} {until.isoformat()}" for one, until in others))
            row.previous_sealed, row.previous_until = sealer.seal("\n".join(lines)), newest[1]
        row.sealed = sealer.seal(secret)
        audit(session, actor, "webhook.rotate", row.id, after={"url": row.url_shown})
        return CreatedWebhook(webhook_view(row, now()), secret)


def delete_webhook(actor: Actor, webhook_id: str) -> WebhookView:
    """Forget it; what was still to be sent there is given up. Answers with what it was. Raises NotFound."""
    with writing() as session:
        row = webhook_row(actor.org_id, webhook_id, lock=True)
        view = webhook_view(row, now())
        pending = update(AlertDelivery).where(AlertDelivery.target == row.id, AlertDelivery.status == "pending")
        session.execute(pending.values(status="dead", ended_at=now(), error="The webhook was deleted."))
        audit(session, actor, "webhook.delete", row.id, before=_told(row))
        session.delete(row)
        return view


def url_of(row: Webhook) -> str:
    """Where it leads. Raises UnsealError."""
    return _sealer().unseal(row.url_sealed)


def secrets_of(row: Webhook) -> tuple[str, ...]:
    """All that sign what is sent there now, the newest first. Raises UnsealError if that one cannot be opened."""
    sealer = _sealer()
    return sealer.unseal(row.sealed), *(secret for secret, _ in _old_secrets(row, sealer))


def _old_secrets(row: Webhook, sealer: Sealer) -> list[tuple[str, datetime]]:
    """Those that sign still, the newest first, and until when.

    They are sealed as lines: the newest by itself, whose end is `previous_until`, every other one with its end.
    """
    if row.previous_sealed is None or row.previous_until is None:
        return []
    try:
        newest, *others = sealer.unseal(row.previous_sealed).split("\n")
    except UnsealError:
        return []
    found = [(newest, row.previous_until)]
    for line in others:
        secret, _, until = line.partition(" ")
        found.append((secret, datetime.fromisoformat(until)))
    return [(secret, until) for secret, until in found if until > now()]


def reseal_webhooks(session: scoped_session[Session], sealer: Sealer) -> tuple[int, int]:
    """Seal what older keys sealed with the first one; how many there were, and how many no key opens."""
    resealed = lost = 0
    for row in session.scalars(select(Webhook).order_by(Webhook.id).with_for_update()):
        for column in ("url_sealed", "sealed", "previous_sealed"):
            sealed: bytes | None = getattr(row, column)
            if sealed is None or sealer.is_current(sealed):
                continue
            try:
                setattr(row, column, sealer.seal(sealer.unseal(sealed)))
                resealed += 1
            except UnsealError:
                lost += column != "previous_sealed"
    return resealed, lost


def _sealer() -> Sealer:
    return Sealer(_settings().encryption_keys)


def _settings() -> Settings:
    settings: Settings = current_app.extensions["settings"]
    return settings


def _mint() -> str:
    return SECRET_TAG + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def shown(url: str) -> str:
    """What of an address is told to anybody: where it leads, and its last signs if those are a small part of it."""
    parts = urlsplit(url)
    host = f"{parts.scheme}://{parts.netloc}"
    rest = url[len(host) :]
    if rest in ("", "/"):
        return host
    return f"{host}/…{rest[-_SHOWN:]}" if len(rest) >= _LONG else f"{host}/…"


def _leads_to(row: Webhook, url: str) -> bool:
    try:
        return url_of(row) == url
    except UnsealError:
        return False


def _told(row: Webhook) -> dict[str, Any]:
    return {"url": row.url_shown, "events": list(row.events), "enabled": row.enabled}
