"""What people are told of: its rules, what happened, and the messages about it.

A thing that happened is one row, unique by what it was, of what and in which period, and its messages stand in the same
transaction. So whoever notices it first makes them, a second one makes nothing, and what dies in between leaves both or
neither.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from flask_sqlalchemy.session import Session
from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import scoped_session

from shared.ids import new_id
from shared.models import Alert, AlertDelivery, AlertRules, KeyAlertRules, Webhook
from webapp.actions import audit
from webapp.context import Actor, Conflict, now
from webapp.db import db, first_or_next, writing
from webapp.schemas.alerts import TEST, AlertsPatch, KeyAlertsPatch
from webapp.validation import read
from webapp.views.alerts import (
    DeliveryView,
    RulesView,
    delivery_row,
    delivery_view,
    rules_of,
    rules_view,
    thresholds_of,
    webhook_row,
)
from webapp.views.keys import row_of as key_row

ALERTS_A_MAIL = 100


@dataclass(frozen=True, slots=True)
class Happened:
    """Something to be told of: which event, of what (an id), in which period, and its facts in JSON's types."""

    event: str
    subject: str
    period: str
    facts: Mapping[str, Any]

    @property
    def place(self) -> tuple[str, str, str]:
        return self.event, self.subject, self.period


def update_rules(actor: Actor, document: Mapping[str, object]) -> RulesView:
    """Merge a patch into what the organisation is told of. Raises Invalid."""
    patch = read(AlertsPatch, document)
    return first_or_next(lambda: _update_rules(actor, patch))


def _update_rules(actor: Actor, patch: AlertsPatch) -> RulesView:
    with writing() as session:
        row = session.scalar(select(AlertRules).where(AlertRules.org_id == actor.org_id).with_for_update())
        before = asdict(rules_view(row))
        if row is None:
            row = AlertRules(org_id=actor.org_id, **{name: _column(value) for name, value in before.items()})
            session.add(row)
        for column, value in patch.columns().items():
            setattr(row, column, value)
        after = asdict(rules_view(row))
        changed = [name for name in after if before[name] != after[name]]
        if changed:
            old, new = ({name: _column(side[name]) for name in changed} for side in (before, after))
            audit(session, actor, "alerts.update", actor.org_id, before=old, after=new)
        removed = set(before["recipients"]) - set(after["recipients"])
        if removed:
            pending = update(AlertDelivery).where(
                AlertDelivery.org_id == actor.org_id,
                AlertDelivery.channel == "email",
                AlertDelivery.target.in_(removed),
                AlertDelivery.status == "pending",
            )
            session.execute(pending.values(status="dead", ended_at=now(), error="They get no mail any more."))
    return rules_of(actor.org_id)


def set_thresholds(actor: Actor, key_id: str, document: Mapping[str, object]) -> tuple[int, ...] | None:
    """Give a key thresholds of its own, or none. Raises Invalid, NotFound."""
    wanted = read(KeyAlertsPatch, document).spend_thresholds
    return first_or_next(lambda: _set_thresholds(actor, key_id, wanted))


def _set_thresholds(actor: Actor, key_id: str, wanted: list[int] | None) -> tuple[int, ...] | None:
    with writing() as session:
        key = key_row(actor.org_id, key_id)
        row = session.get(KeyAlertRules, key.id)
        before = None if row is None else row.spend_thresholds
        if wanted is None and row is not None:
            session.delete(row)
        elif wanted is not None and row is None:
            session.add(KeyAlertRules(key_id=key.id, org_id=actor.org_id, spend_thresholds=wanted))
        elif wanted is not None and row is not None:
            row.spend_thresholds = wanted
        if before != wanted:
            said = ({"spend_thresholds": side} for side in (before, wanted))
            audit(session, actor, "alerts.key", key.id, before=next(said), after=next(said))
    return thresholds_of(key_id)


def raise_alerts(org_id: str, happened: Iterable[Happened]) -> int:
    """Make the messages about what nobody has noticed before; answers with how many such things there were."""
    # In one order everywhere, so that two machines that notice the same cannot wait for each other in a circle.
    found = sorted(happened, key=lambda one: one.place)
    if not found:
        return 0
    with writing() as session:
        at = now()
        fresh = [one for thing in found if (one := _insert(session, org_id, thing, at)) is not None]
        recipients = rules_view(session.get(AlertRules, org_id)).recipients
        for start in range(0, len(fresh), ALERTS_A_MAIL):
            piece = fresh[start : start + ALERTS_A_MAIL]
            session.add_all(_message(org_id, "email", address, piece, at) for address in recipients)
        hooks = session.scalars(select(Webhook).where(Webhook.org_id == org_id, Webhook.enabled)).all()
        for hook in hooks:
            wanted = [one for one in fresh if not hook.events or one[1] in hook.events]
            session.add_all(_message(org_id, "webhook", hook.id, [one], at) for one in wanted)
    return len(fresh)


def send_test(actor: Actor, webhook_id: str | None = None) -> tuple[DeliveryView, ...]:
    """Send a message to a webhook, also to one that is not enabled, or to all who get mail.

    Raises NotFound, and Conflict when nobody gets mail.
    """
    with writing() as session:
        at = now()
        if webhook_id is not None:
            receivers = [("webhook", webhook_row(actor.org_id, webhook_id).id)]
        else:
            receivers = [("email", one) for one in rules_view(session.get(AlertRules, actor.org_id)).recipients]
        if not receivers:
            raise Conflict("no_recipients", "Nobody gets mail: add a recipient first.")
        alert_id = new_id("alr")
        thing = Happened(TEST, alert_id, "once", {"by": actor.name})
        session.add(_alert(alert_id, actor.org_id, thing, at))
        rows = [_message(actor.org_id, channel, to, [(alert_id, TEST)], at) for channel, to in receivers]
        session.add_all(rows)
        audit(session, actor, "alerts.test", webhook_id or actor.org_id)
        return tuple(delivery_view(row) for row in rows)


def retry_delivery(actor: Actor, delivery_id: str) -> DeliveryView:
    """Try a message at once that was given up or waits, as if it were new. Raises NotFound, Conflict "delivered"."""
    with writing() as session:
        row = delivery_row(actor.org_id, delivery_id, lock=True)
        if row.status == "delivered":
            raise Conflict("delivered", "This message was delivered already.")
        # Not the count of a pending one: whoever is at it right now goes by that.
        row.attempts = 0 if row.status == "dead" else row.attempts
        row.status, row.next_at, row.ended_at = "pending", now(), None
        audit(session, actor, "alerts.retry", row.id)
        return delivery_view(row)


def _insert(session: scoped_session[Session], org_id: str, thing: Happened, at: datetime) -> tuple[str, str] | None:
    """The id and the event of a thing that is new; None of one that was there."""
    row = _alert(new_id("alr"), org_id, thing, at)
    table: Any = Alert.__table__
    insert = (sqlite if db.engine.dialect.name == "sqlite" else postgresql).insert(table)
    values = {column.key: getattr(row, column.key) for column in table.columns}
    made = session.scalar(insert.values(values).on_conflict_do_nothing().returning(table.c.id))
    return None if made is None else (row.id, row.event)


def _alert(alert_id: str, org_id: str, thing: Happened, at: datetime) -> Alert:
    return Alert(
        id=alert_id,
        org_id=org_id,
        event=thing.event,
        subject=thing.subject,
        period=thing.period,
        at=at,
        facts=dict(thing.facts),
    )


def _message(org_id: str, channel: str, target: str, alerts: Sequence[tuple[str, str]], at: datetime) -> AlertDelivery:
    return AlertDelivery(
        id=new_id("dlv"),
        org_id=org_id,
        channel=channel,
        target=target,
        alerts=[alert_id for alert_id, _ in alerts],
        event=alerts[0][1],
        status="pending",
        attempts=0,
        next_at=at,
        created_at=at,
    )


def _column(value: object) -> Any:
    return list(value) if isinstance(value, tuple) else value
