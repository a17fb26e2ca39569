"""Looks for what people want to be told of, each by an index of the few rows that it may be: never among all keys.

Spend is looked at of keys that were used lately, by the ledger's totals, a moment late and never wrong. Whatever is
found is handed to `raise_alerts`, where the unique row decides whether it is new; what is known not to be is not asked
there again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from flask import Flask
from sqlalchemy import delete, select

from shared.models import AlertDelivery, AlertRules, RefusalSample, Webhook
from webapp.actions.alerts import Happened, raise_alerts
from webapp.alerting.found import credentials_refused, keys_expiring, keys_unused, refusals_in_window, spend_reached
from webapp.context import now
from webapp.db import db, writing
from webapp.views.alerts import RulesView, rules_view

SPEND_SECONDS, REST_SECONDS, SWEEP_SECONDS = 5.0, 60.0, 600.0
# How far back a look goes for keys that were used. A request is in the ledger when it has ended, and belongs to when
# it began: long ones are found by the sweep, which also finds what happened while nobody looked.
_LATELY, _SWEPT = timedelta(minutes=2), timedelta(hours=26)
_KEPT = timedelta(days=30)  # messages that have ended
_AT_ONCE = 500  # things in one transaction
_MOST_KNOWN = 200_000


@dataclass(frozen=True, slots=True)
class Subscriber:
    """An organisation in which somebody is to be told."""

    org_id: str
    rules: RulesView


class Evaluator:
    """Of one app; `monotonic` says when it is time for what."""

    def __init__(self, app: Flask, monotonic: Callable[[], float]) -> None:
        self._app = app
        self._monotonic = monotonic
        self._spend_at = self._rest_at = self._sweep_at = float("-inf")
        self._known: set[tuple[str, str, str, str]] = set()  # things that were told, by organisation and place

    def look_if_due(self) -> None:
        """What is due by now. Raises SQLAlchemyError."""
        at = self._monotonic()
        sweep, rest = at - self._sweep_at >= SWEEP_SECONDS, at - self._rest_at >= REST_SECONDS
        if sweep or rest or at - self._spend_at >= SPEND_SECONDS:
            self._spend_at = at
            self.look(sweep=sweep, rest=rest or sweep)
            self._rest_at = at if rest or sweep else self._rest_at
            self._sweep_at = at if sweep else self._sweep_at

    def look(self, *, sweep: bool = True, rest: bool = True) -> int:
        """Look at every organisation; answers with how many things were new. Raises SQLAlchemyError."""
        with self._app.app_context():
            if sweep:
                _forget_old()
            fresh = 0
            for one in _subscribers():
                fresh += self._raise(one.org_id, self._find(one, sweep=sweep, rest=rest))
            return fresh

    def _find(self, one: Subscriber, *, sweep: bool, rest: bool) -> list[Happened]:
        org_id, rules, at = one.org_id, one.rules, now()
        found = list(spend_reached(org_id, rules, at, used_since=at - (_SWEPT if sweep else _LATELY)))
        if rest and rules.credential_refused:
            found += credentials_refused(org_id, at)
        if rest and rules.refusals_per_10_minutes is not None:
            found += refusals_in_window(org_id, rules.refusals_per_10_minutes, at)
        if sweep and rules.unused_days is not None:
            found += keys_unused(org_id, rules.unused_days, at)
        if sweep and rules.expiring_days is not None:
            found += keys_expiring(org_id, rules.expiring_days, at)
        db.session.rollback()
        return found

    def _raise(self, org_id: str, found: Iterable[Happened]) -> int:
        fresh = 0
        news = (thing for thing in found if (org_id, *thing.place) not in self._known)
        while piece := list(islice(news, _AT_ONCE)):
            fresh += raise_alerts(org_id, piece)
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            self._known.update((org_id, *thing.place) for thing in piece)
        return fresh


def _subscribers() -> Sequence[Subscriber]:
    """Organisations with a recipient or a webhook."""
    rules = {row.org_id: rules_view(row) for row in db.session.scalars(select(AlertRules))}
    hooked = db.session.scalars(select(Webhook.org_id).where(Webhook.enabled).distinct()).all()
    mailed = [org_id for org_id, one in rules.items() if one.recipients]
    return [Subscriber(org_id, rules.get(org_id, RulesView())) for org_id in sorted({*hooked, *mailed})]


def _forget_old() -> None:
    """Messages that ended long ago, and counts that no window reaches any more."""
    at: datetime = now()
    with writing() as session:
        session.execute(
            delete(AlertDelivery).where(AlertDelivery.status != "pending", AlertDelivery.ended_at < at - _KEPT)
        )
        session.execute(delete(RefusalSample).where(RefusalSample.at < at - timedelta(hours=1)))
