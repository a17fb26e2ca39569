"""Looks for what people want to be told of, each by an index of the few rows that it may be: never among all keys.

A question about keys is asked page by page. A look asks for so many pages and makes so many messages; where there is
more, the next look goes on behind the last page, a second later. So a look takes no longer and no more memory for a
hundred thousand keys than for a thousand, and leaves none out: who stops in the middle begins again, and what was told
is known by its row.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from flask import Flask
from sqlalchemy import select

from shared.models import AlertRules, Webhook
from webapp.actions.alerts import Happened, news_of, raise_alerts
from webapp.alerting.found import (
    credentials_refused,
    keys_expiring,
    keys_never_used,
    keys_unused,
    refusals_in_window,
)
from webapp.alerting.pages import Page, Place
from webapp.alerting.spend import of_edited, of_own_thresholds, of_refused, of_refused_models, of_used
from webapp.alerting.sweep import forget_old
from webapp.context import now
from webapp.db import db
from webapp.views.alerts import RulesView, rules_view

SPEND_SECONDS, REST_SECONDS, SWEEP_SECONDS = 5.0, 60.0, 600.0
# How far back a look goes for keys that were used. A request is in the ledger when it has ended, and belongs to when
# it began: long ones are found by the sweep, which also finds what happened while nobody looked.
_LATELY, _SWEPT = timedelta(minutes=2), timedelta(hours=26)
# Of one look, in one organisation: pages to each question, and things that messages are made about.
PAGES_A_LOOK, THINGS_A_LOOK = 10, 500
MOST_REMEMBERED = 20_000  # things that were told, about which the database need not be asked: some 6 MB

Ask = Callable[[str, RulesView, datetime, datetime, Place | None], Page]


@dataclass(frozen=True, slots=True)
class Subscriber:
    """An organisation in which somebody is to be told."""

    org_id: str
    rules: RulesView


@dataclass(frozen=True, slots=True)
class Question:
    """About keys, each time since so long before."""

    ask: Ask
    reach: timedelta


@dataclass(slots=True)
class Walk:
    """A question that is being asked, as far as it has come."""

    question: Question
    began: datetime
    since: datetime
    behind: Place | None = None


_SPEND = (of_used, of_refused, of_refused_models, of_edited, of_own_thresholds)
_OFTEN = tuple(Question(ask, _LATELY) for ask in _SPEND)
_SELDOM = (
    *(Question(ask, _SWEPT) for ask in _SPEND),
    *(Question(ask, timedelta(0)) for ask in (keys_unused, keys_never_used, keys_expiring)),
)


class Evaluator:
    """Of one app; `monotonic` says when it is time for what."""

    def __init__(self, app: Flask, monotonic: Callable[[], float]) -> None:
        self._app = app
        self._monotonic = monotonic
        self._spend_at = self._rest_at = self._sweep_at = float("-inf")
        self._walks: dict[tuple[str, Question], Walk] = {}  # those that are not at their end
        self._told: dict[tuple[str, str, str, str], None] = {}  # the last things, by organisation and place
        self._began: dict[tuple[str, Question], datetime] = {}  # the last ones that came to it

    def look_if_due(self) -> None:
        """What is due by now. Raises SQLAlchemyError."""
        at = self._monotonic()
        sweep, rest = at - self._sweep_at >= SWEEP_SECONDS, at - self._rest_at >= REST_SECONDS
        spend = sweep or rest or at - self._spend_at >= SPEND_SECONDS
        if spend or self._walks:
            self._spend_at = at if spend else self._spend_at
            self.look(sweep=sweep, rest=rest or sweep, spend=spend)
            self._rest_at = at if rest or sweep else self._rest_at
            self._sweep_at = at if sweep else self._sweep_at

    def look(self, *, sweep: bool = True, rest: bool = True, spend: bool = True) -> int:
        """Look at every organisation, and go on where the last look ended; answers with how many things were new.

        Raises SQLAlchemyError.
        """
        with self._app.app_context():
            if sweep:
                forget_old()
            subscribers = _subscribers()
            known = {one.org_id for one in subscribers}
            self._walks = {place: walk for place, walk in self._walks.items() if place[0] in known}
            fresh = 0
            for one in subscribers:
                if spend:
                    self._begin(one.org_id, _OFTEN)
                if sweep:
                    self._begin(one.org_id, _SELDOM)
                fresh += self._look_at(one, rest=rest)
            return fresh

    def _begin(self, org_id: str, questions: Iterable[Question]) -> None:
        """Begin with questions that are not being asked, each where the time before it began: a walk takes its time."""
        at = now()
        for question in questions:
            place = (org_id, question)
            if place not in self._walks:
                began = max(self._began.get(place, at), at - _SWEPT)
                self._walks[place] = Walk(question, at, min(began, at) - question.reach)

    def _look_at(self, one: Subscriber, *, rest: bool) -> int:
        at, rules = now(), one.rules
        fresh = 0
        if rest and rules.credential_refused:
            fresh += self._raise(one.org_id, credentials_refused(one.org_id, at), THINGS_A_LOOK)[0]
        if rest and rules.refusals_per_10_minutes is not None:
            fresh += self._raise(
                one.org_id, refusals_in_window(one.org_id, rules.refusals_per_10_minutes, at), THINGS_A_LOOK
            )[0]
        for place in [place for place in self._walks if place[0] == one.org_id]:
            if fresh >= THINGS_A_LOOK:
                break
            fresh += self._go_on(one, place, THINGS_A_LOOK - fresh)
        return fresh

    def _go_on(self, one: Subscriber, place: tuple[str, Question], most: int) -> int:
        """Ask for the next pages of a walk, until there are none or it was enough for one look."""
        # It is the last one of the next look, so that one about many keys holds up no other.
        walk = self._walks[place] = self._walks.pop(place)
        fresh = 0
        for _ in range(PAGES_A_LOOK):
            page = walk.question.ask(one.org_id, one.rules, now(), walk.since, walk.behind)
            new, whole = self._raise(one.org_id, page.happened, most - fresh)
            fresh += new
            if not whole:
                return fresh  # the next look asks for this page again, of which the rest is new then
            walk.behind = page.behind
            if page.behind is None:
                self._began[place] = walk.began
                del self._walks[place]
                return fresh
        return fresh

    def _raise(self, org_id: str, happened: Iterable[Happened], most: int) -> tuple[int, bool]:
        """Make the messages about what is new, as far as there may be so many; how many it were, and whether all."""
        things = [thing for thing in happened if (org_id, *thing.place) not in self._told]
        news = news_of(org_id, things)
        db.session.rollback()
        fresh = raise_alerts(org_id, news[:most])
        left = {thing.place for thing in news[most:]}
        self._told |= {(org_id, *thing.place): None for thing in things if thing.place not in left}
        for place in list(islice(self._told, max(0, len(self._told) - MOST_REMEMBERED))):
            del self._told[place]
        return fresh, not left


def _subscribers() -> Sequence[Subscriber]:
    """Organisations with a recipient or a webhook."""
    rules = {row.org_id: rules_view(row) for row in db.session.scalars(select(AlertRules))}
    hooked = db.session.scalars(select(Webhook.org_id).where(Webhook.enabled).distinct()).all()
    mailed = [org_id for org_id, one in rules.items() if one.recipients]
    found = [Subscriber(org_id, rules.get(org_id, RulesView())) for org_id in sorted({*hooked, *mailed})]
    db.session.rollback()
    return found
