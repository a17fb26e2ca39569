"""What people are told of: its rules, what happened, and the messages about it.

A thing that happened is one row, unique by what it was, of what and in which period, and its messages stand in the same
transaction. So whoever notices it first makes them, a second one makes nothing, and what dies in between leaves both or
neither.

A webhook is told of each by itself. Mail comes at once, and then for a minute everything else waits for one more: so a
recipient has a mail a minute, however much happens.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from flask_sqlalchemy.session import Session
from sqlalchemy import String, and_, column, func, select, update, values
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import scoped_session

from shared.ids import new_id
from shared.models import Alert, AlertDelivery, AlertRules, KeyAlertRules, Webhook
from webapp.actions import audit
from webapp.actions.keys import row_to_change
from webapp.context import Actor, Conflict, now
from webapp.db import db, first_or_next, writing
from webapp.schemas.alerts import TEST, AlertsPatch, KeyAlertsPatch
from webapp.validation import read
from webapp.views.alerts import (
    PENDING,
    DeliveryView,
    RulesView,
    delivery_row,
    delivery_view,
    rules_of,
    rules_view,
    thresholds_of,
    webhook_row,
)

ALERTS_A_MAIL = 100  # that it tells one by one; of others it tells how many there are
GATHERED = timedelta(seconds=60)
KEPT = timedelta(days=90)  # what happened, and longer while its period lasts
# Each with its messages: so few that nobody waits for the transaction, whatever the number of webhooks.
AT_ONCE = 50
_ASKED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Happened:
    """Something to be told of: which event, of what (an id), in which period, and its facts in JSON's types.

    `until` is when the period has ended, so that nobody can notice it again; None: never.
    """

    event: str
    subject: str
    period: str
    facts: Mapping[str, Any]
    until: datetime | None

    @property
    def place(self) -> tuple[str, str, str]:
        return self.event, self.subject, self.period


def update_rules(actor: Actor, document: Mapping[str, object], *, served: Mapping[str, Any] | None = None) -> RulesView:
    """Merge a patch into what the organisation is told of, and which is `served`. Raises Invalid."""
    patch = read(AlertsPatch, document, served=served)
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
    """Give a key thresholds of its own, or none. Raises Invalid, NotFound, Conflict "key_revoked"."""
    wanted = read(KeyAlertsPatch, document).spend_thresholds
    return first_or_next(lambda: _set_thresholds(actor, key_id, wanted))


def _set_thresholds(actor: Actor, key_id: str, wanted: list[int] | None) -> tuple[int, ...] | None:
    with writing() as session:
        key = row_to_change(actor, key_id, None)
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


def news_of(org_id: str, happened: Iterable[Happened]) -> list[Happened]:
    """What nobody has noticed before, as far as the database tells without writing; each once."""
    found = {thing.place: thing for thing in happened}
    columns = (Alert.event, Alert.subject, Alert.period)
    names = [column(one.key, String) for one in columns]
    places = list(found)
    for start in range(0, len(places), _ASKED_AT_ONCE):
        # A join, for which both databases look each one up; of a list of places SQLite would read all alerts.
        asked = values(*names, name="asked").data(places[start : start + _ASKED_AT_ONCE]).cte("asked")
        same = [one == asked.c[one.key] for one in columns]
        known = select(*columns).join_from(asked, Alert, and_(Alert.org_id == org_id, *same))
        for event, subject, period in db.session.execute(known):
            del found[event, subject, period]
    return list(found.values())


def raise_alerts(org_id: str, happened: Sequence[Happened]) -> int:
    """Make the messages about what nobody has noticed before; answers with how many such things there were.

    Of many things there are several transactions, each whole by itself.
    """
    # In one order everywhere, so that two machines that notice the same cannot wait for each other in a circle.
    found = sorted(happened, key=lambda one: one.place)
    return sum(_raise(org_id, found[start : start + AT_ONCE]) for start in range(0, len(found), AT_ONCE))


def _raise(org_id: str, happened: Sequence[Happened]) -> int:
    with writing() as session:
        at = now()
        fresh = [one for thing in happened if (one := _insert(session, org_id, thing, at)) is not None]
        if fresh:
            _mail(session, org_id, rules_view(session.get(AlertRules, org_id)).recipients, fresh, at)
        hooks = session.scalars(select(Webhook).where(Webhook.org_id == org_id, Webhook.enabled)).all()
        for hook in hooks:
            wanted = [one for one in fresh if not hook.events or one[1] in hook.events]
            session.add_all(_message(org_id, "webhook", hook.id, [one], at) for one in wanted)
    return len(fresh)


def _mail(
    session: scoped_session[Session],
    org_id: str,
    recipients: Sequence[str],
    fresh: Sequence[tuple[str, str]],
    at: datetime,
) -> None:
    """One to each recipient, or what they will get soon anyway has more in it."""
    told = (AlertDelivery.org_id == org_id, AlertDelivery.channel == "email", AlertDelivery.target.in_(recipients))
    mine = (*told, AlertDelivery.event != TEST)
    # Whoever is about to send one has it locked, and looks what is in it when it is theirs (`Deliverer`).
    unsent = select(AlertDelivery).where(*mine, PENDING, AlertDelivery.attempts == 0, AlertDelivery.next_at > at)
    waiting = {row.target: row for row in session.scalars(unsent.order_by(AlertDelivery.id).with_for_update())}
    lately = select(AlertDelivery.target, func.max(AlertDelivery.created_at)).where(
        *mine, AlertDelivery.created_at > at - GATHERED
    )
    last = {row[0]: row[1] for row in session.execute(lately.group_by(AlertDelivery.target))}
    for address in recipients:
        row = waiting.get(address)
        if row is None:
            row = _message(org_id, "email", address, fresh[:ALERTS_A_MAIL], at)
            row.next_at = max(at, last[address] + GATHERED) if address in last else at
            session.add(row)
            rest = fresh[ALERTS_A_MAIL:]
        else:
            room = ALERTS_A_MAIL - len(row.alerts)
            row.alerts = [*row.alerts, *(alert_id for alert_id, _ in fresh[:room])]
            rest = fresh[room:]
        row.more = dict(Counter(row.more) + Counter(event for _, event in rest))


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
        thing = Happened(TEST, alert_id, "once", {"by": actor.name}, until=at)
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
    told = {one.key: getattr(row, one.key) for one in table.columns}
    made = session.scalar(insert.values(told).on_conflict_do_nothing().returning(table.c.id))
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
        kept_until=None if thing.until is None else max(thing.until, at + KEPT),
    )


def _message(org_id: str, channel: str, target: str, alerts: Sequence[tuple[str, str]], at: datetime) -> AlertDelivery:
    return AlertDelivery(
        id=new_id("dlv"),
        org_id=org_id,
        channel=channel,
        target=target,
        alerts=[alert_id for alert_id, _ in alerts],
        more={},
        event=alerts[0][1],
        status="pending",
        attempts=0,
        next_at=at,
        created_at=at,
    )


def _column(value: object) -> Any:
    return list(value) if isinstance(value, tuple) else value
