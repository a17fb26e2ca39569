"""Alerts about many keys at once: bounded in every look, gathered in mails, nothing left out, and forgotten in time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from alerts_kit import messages, spend
from dashboard_kit import START, Api, Clock
from flask import Flask
from plans_kit import plans_of
from receivers_kit import RECIPIENT, MailBox
from sqlalchemy import func, insert, select

from shared.config import Settings
from shared.models import Alert, AlertDelivery, KeySpend, ProviderCredential, ProxyKey
from shared.periods import FIRST_DAY
from webapp.actions.alerts import Happened, news_of, raise_alerts
from webapp.alerting import sweep
from webapp.alerting.deliverer import Deliverer
from webapp.alerting.evaluator import SPEND_SECONDS, Evaluator
from webapp.alerting.found import credentials_refused, keys_expiring, keys_never_used, keys_unused
from webapp.alerting.messages import AlertView, mail_of
from webapp.alerting.spend import of_edited, of_refused, of_refused_models, of_used
from webapp.db import db, writing
from webapp.schemas.alerts import EXPIRING, SPEND, TEST, UNUSED
from webapp.views.alerts import RulesView

PAGE, MANY = 100, 220  # a page here, and as many things a look: what is bounded does not depend on the bound
Make = Callable[..., Any]


@pytest.fixture
def settings(alerting: Settings) -> Settings:
    return alerting


@pytest.fixture
def many(app: Flask, org_id: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys that have all used 60 per cent of their limit, at the same moment."""
    monkeypatch.setattr("webapp.alerting.pages.KEYS_A_PAGE", PAGE)
    monkeypatch.setattr("webapp.alerting.evaluator.THINGS_A_LOOK", PAGE)
    ids = [f"key_{number:026}" for number in range(MANY)]
    key = {"org_id": org_id, "name": "one of many", "prefix": "sk-proxy-0000", "spend_limit_nanos": 1000}
    key |= {"created_at": START, "created_by": "x", "last_used_at": START, "spend_reset": "never"}
    total = {"day": FIRST_DAY, "generation": 0, "base_nanos": 0, "total_nanos": 600}
    with app.app_context(), writing() as session:
        session.execute(insert(ProxyKey), [{**key, "id": key_id} for key_id in ids])
        session.execute(insert(KeySpend), [{**total, "key_id": key_id} for key_id in ids])
    return ids


def test_it_works(app: Flask, api: Api, clock: Clock, many: list[str], hook: dict[str, Any], mail_box: MailBox) -> None:
    """A look tells of so many, the next one goes on; a webhook gets each by itself, a recipient two mails in all."""
    api("PATCH", "/v1/alerts", {"recipients": [RECIPIENT], "unused_days": None})
    looks = [Evaluator(app, lambda: 0.0).look()]  # and then its process dies
    after = Evaluator(app, lambda: 0.0)
    looks += [after.look() for _ in range(4)]
    assert looks == [PAGE, PAGE, MANY - 2 * PAGE, 0, 0]
    assert after._walks == {}
    made = messages(app)
    told = [row.alerts for row in made if row.target == hook["id"]]
    assert {len(alerts) for alerts in told} == {1}
    assert len({alerts[0] for alerts in told}) == len(told) == MANY
    first, second = (row for row in made if row.channel == "email")
    assert (first.next_at, second.next_at) == (clock.now, clock.now + timedelta(seconds=60))
    assert len(first.alerts) + len(second.alerts) + sum(second.more.values()) == MANY
    shown = api("GET", "/v1/alerts/deliveries?status=pending&limit=200").get_json()["data"]
    assert {one["more"] for one in shown} >= {0}
    for _ in range(2):
        while Deliverer(app).deliver_next(("email", RECIPIENT)) is not None:
            pass
        clock.forward(minutes=1)
    assert len(mail_box.messages) == 2
    count = MANY - len(first.alerts)
    assert mail_box.messages[1]["Subject"].strip().endswith(f"(and {count - 1:,} more)")
    lines = mail_box.text().splitlines()
    assert lines[:2] == [f"{count:,} things happened:", f"- {count:,} times: A key has used a part of its spend limit"]
    assert "The first 100 of them:" in lines
    assert sum(line.startswith("- The key") for line in lines) == 100


def test_the_next_look_comes_at_once_while_there_is_more(app: Flask, many: list[str], hook: dict[str, Any]) -> None:
    assert hook["enabled"]
    assert len(many) == MANY
    steady = [0.0]
    evaluator = Evaluator(app, lambda: steady[0])

    def told() -> int:
        evaluator.look_if_due()
        steady[0] += 1
        with app.app_context():
            return db.session.scalar(select(func.count()).select_from(Alert).where(Alert.event == SPEND)) or 0

    assert SPEND_SECONDS > 3
    assert [told() for _ in range(3)] == [PAGE, 2 * PAGE, MANY]


def test_who_was_used_while_a_walk_went_on_is_not_passed_over(
    app: Flask, org_id: str, clock: Clock, many: list[str], hook: dict[str, Any]
) -> None:
    """A key that moves on in the order is met later, however long the walk takes."""
    assert hook["enabled"]
    evaluator = Evaluator(app, lambda: 0.0)
    assert evaluator.look(sweep=False, rest=False) == PAGE
    clock.forward(hours=1)
    spend(app, org_id, many[-1], 1, clock.now)
    found = [evaluator.look(sweep=False, rest=False, spend=False) for _ in range(3)]
    assert sum(found) == MANY - PAGE + 2  # the last one has passed 80 and 100 per cent meanwhile


def test_what_was_told_is_remembered_as_far_as_there_is_room(
    app: Flask, org_id: str, many: list[str], hook: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of the rest the database knows it: nothing is told twice."""
    assert hook["enabled"]
    monkeypatch.setattr("webapp.alerting.evaluator.MOST_REMEMBERED", 60)
    evaluator = Evaluator(app, lambda: 0.0)
    assert [evaluator.look(rest=False) for _ in range(4)] == [PAGE, PAGE, MANY - 2 * PAGE, 0]
    assert len(evaluator._told) == 60
    spend(app, org_id, many[0], 1, START + timedelta(seconds=1))
    assert evaluator.look(rest=False) == 2


def test_a_mail_a_minute(app: Flask, api: Api, org_id: str, make: Make, clock: Clock, mail_box: MailBox,
    look: Callable[[], int], deliver: Callable[[], int],
) -> None:  # fmt: skip
    """The first one at once; what happens within a minute after it comes together, and a test is none of it."""
    api("PATCH", "/v1/alerts", {"recipients": [RECIPIENT]})
    key = make(spend_limit_usd="10")
    for dollars, delivered in ((5, 1), (3, 0), (2, 0)):
        spend(app, org_id, key.id, dollars, clock.now)
        assert look() == 1
        assert deliver() == delivered
        clock.forward(seconds=20)
    assert deliver() == 1
    texts = [mail_box.text(number) for number in range(2)]
    assert [[part in text for part in ("50 %", "80 %", "100 %")] for text in texts] == [
        [True, False, False],
        [False, True, True],
    ]
    assert len(api("POST", "/v1/alerts/test").get_json()["data"]) == deliver() == 1


def test_a_mail_about_many_things_counts_each_kind() -> None:
    at = START
    facts = {"by": "somebody"}
    views = [AlertView(f"alr_{number}", "org_1", TEST, at, facts) for number in range(3)]
    mail = mail_of("dlv_1", views, {UNUSED: 7, EXPIRING: 1200}, "r@example.com", "o@example.com", "Ours", None)
    assert mail["Subject"] == "Enterprise Router: This is a test (and 1,209 more)"
    assert mail.get_content().splitlines()[:6] == [
        "1,210 things happened:", "- 1,200 times: A key expires soon", "- 7 times: A key was not used for long",
        "- 3 times: This is a test", "", "The first 3 of them:",
    ]  # fmt: skip
    few = mail_of("dlv_1", views, {}, "r@example.com", "o@example.com", "Ours", None).get_content()
    assert few.startswith("- This is a test of")


def test_what_waits_is_found_by_receiver(app: Flask, api: Api, hook: dict[str, Any], mail_box: MailBox) -> None:
    """However much waits for one of them; those first for whom something has been due for longest."""
    assert mail_box.port
    api("PATCH", "/v1/alerts", {"recipients": [RECIPIENT, "second@example.com"]})
    for _ in range(2):
        api("POST", "/v1/alerts/test")
        api("POST", f"/v1/webhooks/{hook['id']}/test")
    with app.app_context(), writing() as session:
        last = session.scalars(select(AlertDelivery).where(AlertDelivery.target == hook["id"])).all()[-1]
        last.next_at -= timedelta(minutes=1)
        for row in session.scalars(select(AlertDelivery).where(AlertDelivery.target == "second@example.com")):
            row.next_at += timedelta(minutes=1)
    deliverer = Deliverer(app)
    assert deliverer.due() == (("webhook", hook["id"]), ("email", RECIPIENT))
    with app.app_context():
        for call in (deliverer.due, lambda: deliverer._begin(("webhook", hook["id"]))):
            _, plans = plans_of(call, "alert_deliveries")
            assert any("ix_alert_deliveries_due" in plan for plan in plans), plans
            assert all("SCAN alert_deliveries" not in plan for plan in plans), plans


def test_nobody_looks_among_all_keys(app: Flask, org_id: str, many: list[str]) -> None:
    """Each page begins in an index of the few rows that it may be, also behind another page."""
    rules, behind = RulesView(), (START, many[3])
    with app.app_context():
        with writing() as session:
            session.add(
                ProviderCredential(
                    id="cred_1", org_id=org_id, provider="openai", sealed=b"x", last4="xxxx", created_at=START,
                    created_by="x",
                )
            )  # fmt: skip
        for ask, table, index in (
            (of_used, "proxy_keys", "last_used_at"), (of_refused, "refusals", "reason_last_at"),
            (of_refused_models, "refusals", "reason_last_at"),
            (of_edited, "audit_events", "action_at"), (keys_unused, "proxy_keys", "last_used_at"),
            (keys_never_used, "proxy_keys", "created_at"), (keys_expiring, "proxy_keys", "expires_at"),
        ):  # fmt: skip
            for place in (None, behind):
                _, plans = plans_of(lambda: ask(org_id, rules, START, START, place), table)  # noqa: B023 - called here
                assert index in plans[0], plans
                assert "SCAN" not in str(plans), plans
                assert "TEMP B-TREE FOR ORDER BY" not in str(plans), plans
        _, plans = plans_of(lambda: list(credentials_refused(org_id, START)), "usage_records")
        assert "credential_refused" in plans[0]
        thing = Happened(SPEND, many[0], "50 %", {}, None)
        raise_alerts(org_id, [thing])
        _, plans = plans_of(lambda: news_of(org_id, [thing, replace(thing, subject=many[1])]), "alerts")
        assert "event=? AND subject=? AND period=?" in str(plans), plans
        for table in ("alerts", "alert_deliveries"):
            _, plans = plans_of(lambda: raise_alerts(org_id, [thing]), table)
            assert "SCAN" not in str(plans), plans


def test_what_happened_is_forgotten_in_time(
    app: Flask, api: Api, org_id: str, clock: Clock, hook: dict[str, Any], deliver: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Not before its period has ended, and not while a message about it waits; some in each transaction."""
    assert hook["enabled"]
    monkeypatch.setattr(sweep, "ROWS_AT_ONCE", 2)
    ends = {
        "day": timedelta(days=1),
        "long": timedelta(days=200),
        "never": None,
        **{f"n{n}": timedelta(0) for n in range(4)},
    }
    things = [
        Happened(SPEND, name, "50 %", {}, None if length is None else START + length) for name, length in ends.items()
    ]

    def left(days: float) -> set[str]:
        clock.now = START + timedelta(days=days)
        with app.app_context():
            sweep.forget_old()
            return set(db.session.scalars(select(Alert.subject)))

    with app.app_context():
        assert raise_alerts(org_id, things) == len(things)
    assert left(91) == set(ends)  # nobody has delivered anything yet
    clock.now = START
    with app.app_context(), writing() as session:
        for row in session.scalars(select(AlertDelivery)):
            row.status, row.ended_at = "dead", START
    assert left(29) == set(ends)
    assert len(messages(app)) == len(ends)
    assert left(89) == set(ends)
    assert messages(app) == []
    assert left(91) == {"long", "never"}
    with app.app_context():
        assert raise_alerts(org_id, things[1:3]) == 0  # and neither is news again
    assert left(201) == {"never"}
    with app.app_context():
        monkeypatch.setattr(sweep, "TIMES", 1)
        again = [Happened(SPEND, f"n{n}", "60 %", {}, START) for n in range(4)]
        raise_alerts(org_id, again)
        with writing() as session:
            for row in session.scalars(select(AlertDelivery)):
                row.status, row.ended_at = "delivered", START + timedelta(days=201)
    assert len(left(300)) == 3
    assert left(300) == {"never"}
