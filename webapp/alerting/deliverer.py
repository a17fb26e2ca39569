"""Takes what is to be sent, one attempt at a time, until its receiver has it or there is no more hope.

An attempt is begun by comparing and setting how many there were, in a transaction of its own: of all who want to begin
one, on any machine, one does. Then it is made, without any transaction, and what became of it is written. Who dies in
between leaves a message whose next attempt is due when the time for this one is over; its receiver may get it twice,
with the same id both times.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Flask
from sqlalchemy import CursorResult, func, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from shared.config import Settings
from shared.models import Alert, AlertDelivery, Organization, Webhook
from shared.sealing import UnsealError
from webapp.actions.webhooks import secrets_of
from webapp.alerting import mail, post
from webapp.alerting.messages import AlertView, body_of, mail_of, signature_headers
from webapp.alerting.post import Result
from webapp.context import now
from webapp.db import db, writing

log = logging.getLogger(__name__)

# No attempt takes so long: a webhook is cut after 15 seconds, a mail has a handful of answers with 10 each.
ATTEMPT_FOR = timedelta(seconds=180)
MOST_ATTEMPTS = 12  # over about 27 hours
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=10), timedelta(hours=6)
_MOST_TARGETS = 500
# As the index says it: SQLite knows its rows by these very words alone.
_PENDING = text("alert_deliveries.status = 'pending'")
_LONGEST_ERROR = 300

Target = tuple[str, str]  # a channel, and whom it leads to


@dataclass(frozen=True, slots=True)
class Attempt:
    """A message that we have begun to send, for the `number`th time."""

    id: str
    org_id: str
    channel: str
    target: str
    alerts: tuple[str, ...]
    number: int


def pause_after(attempts: int) -> timedelta:
    """Until the next attempt: 10 s, 30 s, 90 s, ... up to six hours."""
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * int(3 ** (attempts - 1)))


class Deliverer:
    """Of one app. Each method takes a context of its own, so that several threads may use it."""

    def __init__(self, app: Flask, *, sent: Callable[[Attempt], None] = lambda _: None) -> None:
        self._app = app
        self._settings: Settings = app.extensions["settings"]
        self._sent = sent  # called between an attempt and its mark, by tests that end the process there

    def due(self) -> tuple[Target, ...]:
        """Receivers for whom something is due, those first for whom it has been for longest. Raises SQLAlchemyError."""
        query = (
            select(AlertDelivery.channel, AlertDelivery.target)
            .where(_PENDING)
            .group_by(AlertDelivery.channel, AlertDelivery.target)
            .order_by(func.min(AlertDelivery.next_at))
            .limit(_MOST_TARGETS)
        )
        if self._settings.mail_server is None:
            # Mail waits until there is a server here, and is another machine's meanwhile if that one has it.
            query = query.where(AlertDelivery.channel != "email")
        with self._app.app_context():
            found = db.session.execute(query.where(AlertDelivery.next_at <= now()))
            return tuple((channel, target) for channel, target in found)

    def deliver_next(self, target: Target) -> bool | None:
        """Make the attempt that is due for longest; whether it succeeded, None where none was to be had.

        Raises SQLAlchemyError.
        """
        with self._app.app_context():
            attempt = self._begin(target)
            if attempt is None:
                return None
            try:
                result = self._attempt(attempt)
            except SQLAlchemyError:
                raise
            except Exception:  # An edge: whatever it is, this attempt counts, and there is an end of them.
                log.exception("a message could not be made")
                db.session.rollback()
                result = Result(ok=False, error="It could not be made. The log of the dashboard says why.")
            self._sent(attempt)
            _mark(attempt, result)
            return result.ok

    def deliver_all(self) -> int:
        """Make every attempt that is due, one after the other; how many there were."""
        made = 0
        while targets := self.due():
            for target in targets:
                while self.deliver_next(target) is not None:
                    made += 1
        return made

    def _begin(self, target: Target) -> Attempt | None:
        channel, to = target
        with writing() as session:
            at = now()
            due = (
                select(AlertDelivery)
                .where(_PENDING, AlertDelivery.next_at <= at)
                .where(AlertDelivery.target == to, AlertDelivery.channel == channel)
                .order_by(AlertDelivery.next_at, AlertDelivery.id)
                .limit(1)
            )
            row = session.scalar(due)
            if row is None:
                return None
            begun = (
                update(AlertDelivery)
                .where(AlertDelivery.id == row.id, AlertDelivery.status == "pending", AlertDelivery.next_at <= at)
                .where(AlertDelivery.attempts == row.attempts)
                .values(attempts=row.attempts + 1, next_at=at + ATTEMPT_FOR)
                .execution_options(synchronize_session=False)
            )
            attempt = Attempt(row.id, row.org_id, channel, to, tuple(row.alerts), row.attempts + 1)
            done = session.execute(begun)
            return attempt if isinstance(done, CursorResult) and done.rowcount == 1 else None

    def _attempt(self, attempt: Attempt) -> Result:
        alerts = _alerts(attempt)
        if not alerts:
            return Result(ok=False, error="What it would tell is not there any more.", final=True)
        if attempt.channel == "email":
            return self._mail(attempt, alerts)
        return self._post(attempt, alerts[0])

    def _mail(self, attempt: Attempt, alerts: Sequence[AlertView]) -> Result:
        settings = self._settings
        if settings.mail_server is None or settings.mail_from is None:
            return Result(ok=False, error="The router has no mail server: ROUTER_SMTP_URL is not set.")
        name = db.session.scalar(select(Organization.name).where(Organization.id == attempt.org_id)) or attempt.org_id
        db.session.rollback()
        url = settings.dashboard_url
        letter = mail_of(attempt.id, alerts, settings.mail_from, attempt.target, name, url)
        return mail.send(settings.mail_server, letter)

    def _post(self, attempt: Attempt, alert: AlertView) -> Result:
        row = db.session.get(Webhook, attempt.target)
        if row is None:
            return Result(ok=False, error="The webhook was deleted.", final=True)
        try:
            url, secrets = row.url, secrets_of(row)
        except UnsealError:
            return Result(ok=False, error="Its secret cannot be opened: ROUTER_ENCRYPTION_KEY was changed or lost.")
        db.session.rollback()  # nothing is kept open while somebody takes their time
        body = body_of(alert)
        headers = signature_headers(secrets, attempt.id, now(), body)
        return post.post(url, headers, body, self._settings.alert_networks)


def _alerts(attempt: Attempt) -> tuple[AlertView, ...]:
    query = select(Alert).where(Alert.id.in_(attempt.alerts), Alert.org_id == attempt.org_id).order_by(Alert.id)
    found = tuple(AlertView(row.id, row.org_id, row.event, row.at, row.facts) for row in db.session.scalars(query))
    db.session.rollback()
    return found


def _mark(attempt: Attempt, result: Result) -> None:
    """Write what became of an attempt, unless a later one was begun because this one took too long."""
    with writing() as session:
        at = now()
        values: dict[str, object] = {"response_status": result.status, "error": None}
        if result.ok:
            values |= {"status": "delivered", "ended_at": at}
        else:
            values["error"] = (result.error or "")[:_LONGEST_ERROR]
            if result.final or attempt.number >= MOST_ATTEMPTS:
                values |= {"status": "dead", "ended_at": at}
                log.warning("a message to a receiver of alerts was given up: %s", attempt.id)
            else:
                values["next_at"] = _next(at, attempt.number)
        mine = update(AlertDelivery).where(AlertDelivery.id == attempt.id, AlertDelivery.status == "pending")
        session.execute(mine.where(AlertDelivery.attempts == attempt.number).values(**values))


def _next(at: datetime, attempts: int) -> datetime:
    return at + pause_after(attempts)
