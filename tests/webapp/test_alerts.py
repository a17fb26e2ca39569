"""What is told of, from what happened to what receivers get: a real receiver of webhooks, a real mail server."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from alerts_kit import events, messages, spend
from dashboard_kit import START, Api, Clock
from flask import Flask
from happened_kit import Activity
from receivers_kit import RECIPIENT, MailBox, Receiver
from sqlalchemy import select

from shared.config import Settings
from shared.models import Alert, CredentialRefusal, OrganizationRefusals, ProviderCredential, Refusal
from webapp.alerting.evaluator import Evaluator
from webapp.db import db, writing

Make = Callable[..., Any]


@pytest.fixture
def settings(alerting: Settings) -> Settings:
    return alerting


def test_it_works(
    app: Flask, api: Api, org_id: str, make: Make, hook: dict[str, Any], receiver: Receiver, mail_box: MailBox,
    look: Callable[[], int], deliver: Callable[[], int],
) -> None:  # fmt: skip
    api("PATCH", "/v1/alerts", {"recipients": [RECIPIENT]})
    key = make("größe", spend_limit_usd="20", spend_reset="weekly")
    spend(app, org_id, key.id, 9.99, START)
    assert look() == deliver() == 0
    spend(app, org_id, key.id, 6.21, START)
    assert look() == 2
    assert deliver() == 3
    assert events(receiver.received) == [("key.spend_threshold", 50), ("key.spend_threshold", 80)]
    first = receiver.received[0]
    assert first.is_signed_by(hook["secret"])
    assert first.document["data"] | {"threshold_percent": None} == {
        "key_id": key.id,
        "key_name": "größe",
        "key_prefix": key.prefix,
        "threshold_percent": None,
        "spent_percent": 81,
        "spent_usd": "16.20",
        "spend_limit_usd": "20.00",
        "period_start": "2026-11-22T00:00:00Z",
        "resets_at": "2026-11-29T00:00:00Z",
    }
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 2
    (mail,) = mail_box.messages
    assert (mail["To"], mail["From"]) == (RECIPIENT, "router@example.com")
    assert mail["Subject"].strip() == "Enterprise Router: A key has used a part of its spend limit (and 1 more)"
    assert f"The key “größe” ({key.prefix}…) has reached 80 % of its spend limit: $16.20 of $20.00." in mail_box.text()
    assert "https://router.example.com/settings/alerts" in mail_box.text()
    assert {row.status for row in messages(app)} == {"delivered"}


def test_each_threshold_is_told_once_a_period(
    app: Flask, org_id: str, make: Make, clock: Clock, hook: dict[str, Any], receiver: Receiver,
    look: Callable[[], int], deliver: Callable[[], int],
) -> None:  # fmt: skip
    assert hook["enabled"]
    key = make(spend_limit_usd="10", spend_reset="daily")
    spend(app, org_id, key.id, 6, clock.now)
    assert [look(), look()] == [1, 0]
    spend(app, org_id, key.id, 4, clock.now)
    assert [look(), look()] == [2, 0]
    clock.forward(days=1)
    assert look() == 0  # nothing was spent on this day
    spend(app, org_id, key.id, 5, clock.now)
    assert [look(), look()] == [1, 0]
    assert deliver() == 4
    assert [threshold for _, threshold in events(receiver.received)] == [50, 50, 80, 100]


def test_a_limit_that_never_resets_is_told_once_for_each_size(
    app: Flask, api: Api, org_id: str, make: Make, hook: dict[str, Any], look: Callable[[], int]
) -> None:
    assert hook["enabled"]
    key = make(spend_limit_usd="10")
    spend(app, org_id, key.id, 6, START)
    assert [look(), look()] == [1, 0]
    api("PATCH", f"/v1/keys/{key.id}", {"spend_limit_usd": "12"})
    assert [look(), look()] == [1, 0]


def test_each_limit_is_told_of_by_itself_within_a_period(
    app: Flask, api: Api, org_id: str, make: Make, clock: Clock, hook: dict[str, Any], receiver: Receiver,
    deliver: Callable[[], int],
) -> None:  # fmt: skip
    """Raised, lowered and put back: at once, without a request, and of no limit twice."""
    assert hook["enabled"]
    key = make(spend_limit_usd="10", spend_reset="monthly")
    evaluator = Evaluator(app, lambda: 0.0)

    def told() -> list[tuple[str, int]]:
        """What is told a good while after the last request, by limit."""
        clock.forward(minutes=10)
        evaluator.look(sweep=False, rest=False)
        before = len(receiver.received)
        deliver()
        facts = [one.document["data"] for one in receiver.received[before:]]
        return sorted((one["spend_limit_usd"], one["threshold_percent"]) for one in facts)

    spend(app, org_id, key.id, 6, START)
    evaluator.look(sweep=False, rest=False)
    assert told() == [("10.00", 50)]
    for limit, expected in (("20", []), ("12", [50]), ("7", [50, 80]), ("10", []), ("12", []), ("5", [50, 80, 100])):
        api("PATCH", f"/v1/keys/{key.id}", {"spend_limit_usd": limit})
        assert told() == [(f"{limit}.00", one) for one in expected], limit
    api("PATCH", f"/v1/keys/{key.id}", {"spend_limit_usd": "20"})
    spend(app, org_id, key.id, 10, clock.now + timedelta(minutes=10))
    assert told() == [("20.00", 50), ("20.00", 80)]
    api("PATCH", f"/v1/keys/{key.id}/alerts", {"spend_thresholds": [75, 90]})
    assert told() == [("20.00", 75)]


def test_who_was_refused_for_a_limit_has_not_reached_the_next_one(
    app: Flask, api: Api, org_id: str, make: Make, clock: Clock, hook: dict[str, Any], happened: Activity,
    look: Callable[[], int],
) -> None:  # fmt: skip
    key = make(spend_limit_usd="10", spend_reset="monthly")
    spend(app, org_id, key.id, 9.7, START)
    happened.refused(key.id, "spend_exceeded")
    assert (hook["enabled"], look()) == (True, 3)
    clock.forward(minutes=1)
    api("PATCH", f"/v1/keys/{key.id}", {"spend_limit_usd": "10.1"})
    assert look() == 2  # 96 per cent of it, and nobody was refused for it
    with app.app_context(), writing() as session:
        session.get_one(Refusal, (key.id, "spend_exceeded")).last_at = clock.now + timedelta(seconds=1)
    assert look() == 1


def test_names_call_nobody_and_link_nowhere_in_a_chat(
    app: Flask, org_id: str, make: Make, hook: dict[str, Any], receiver: Receiver, look: Callable[[], int],
    deliver: Callable[[], int],
) -> None:  # fmt: skip
    assert hook["enabled"]
    name = "<!channel> R&D @everyone @here [pay](https://evil.test)"
    spend(app, org_id, make(name, spend_limit_usd="10").id, 5, START)
    assert look() == deliver() == 1
    document = receiver.received[0].document
    for command in ("<", ">", "@e", "@h", "](", "://"):
        assert command not in document["text"], command
    assert "“&lt;!channel&gt; R&amp;D @\u200beveryone @\u200bhere" in document["text"]
    assert document["data"]["key_name"] == name


def test_a_limit_is_reached_when_requests_are_refused_for_it(
    app: Flask, org_id: str, make: Make, hook: dict[str, Any], happened: Activity, look: Callable[[], int]
) -> None:
    """What is left may be too little for any request, and then the last cents are never spent."""
    assert hook["enabled"]
    full, half = make("full", spend_limit_usd="10"), make("half", spend_limit_usd="10")
    for key, dollars in ((full, 9.7), (half, 6.0)):
        spend(app, org_id, key.id, dollars, START)
    assert look() == 3
    for key in (full, half):  # of the half-empty one a single request was too large
        happened.refused(key.id, "spend_exceeded")
    assert look() == 1


def test_a_key_may_have_thresholds_of_its_own(
    app: Flask, api: Api, org_id: str, make: Make, hook: dict[str, Any], look: Callable[[], int]
) -> None:
    assert hook["enabled"]
    loud, quiet = make("loud", spend_limit_usd="10"), make("quiet", spend_limit_usd="10")
    assert api("PATCH", f"/v1/keys/{loud.id}/alerts", {"spend_thresholds": [90, 10]}).get_json() == {
        "spend_thresholds": [10, 90]
    }
    api("PATCH", f"/v1/keys/{quiet.id}/alerts", {"spend_thresholds": []})
    for key in (loud, quiet):
        spend(app, org_id, key.id, 2, START)
    assert look() == 1
    with app.app_context():
        assert db.session.scalars(select(Alert)).one().subject == loud.id
    assert api("PATCH", f"/v1/keys/{quiet.id}/alerts", {"spend_thresholds": None}).status_code == 200
    spend(app, org_id, quiet.id, 4, START + timedelta(seconds=1))
    assert look() == 1


def test_what_else_is_told(
    app: Flask, api: Api, org_id: str, make: Make, clock: Clock, hook: dict[str, Any], receiver: Receiver,
    happened: Activity, look: Callable[[], int], deliver: Callable[[], int],
) -> None:  # fmt: skip
    """Keys that nobody uses, one that ends, a credential that is refused, and many refusals."""
    assert hook["enabled"]
    for one in api("GET", "/v1/keys").get_json()["data"]:  # of the first start, at the time of this machine
        api("POST", f"/v1/keys/{one['id']}/pause")
    idle = make("idle")
    ends = make("ends", expires_at="2026-12-27T00:00:00Z")
    assert look() == 0
    clock.forward(days=29)
    make("newer", expires_at="2026-12-25T00:00:00Z")  # made for less than a week: nobody has forgotten it
    assert [look(), look()] == [1, 0]
    clock.forward(days=3)
    assert [look(), look()] == [2, 0]
    with app.app_context(), writing() as session:
        session.add(
            ProviderCredential(
                id="cred_1", org_id=org_id, provider="openai", sealed=b"x", last4="xxxx", created_at=START, created_by="x"
            )
        )  # fmt: skip
    seconds = int((clock.now - START).total_seconds())
    happened.sent(idle.id, "req_ok", seconds, status=200)
    happened.sent(idle.id, "req_of_a_foreign_organisation", seconds, status=401)  # no worker takes it for a refusal
    assert look() == 0
    with app.app_context(), writing() as session:
        session.add(CredentialRefusal(credential_id="cred_1", set_at=START, at=clock.now, status=401, words=""))
    assert [look(), look()] == [1, 0]
    place = (org_id, clock.now.date(), "rate_limited")
    with app.app_context(), writing() as session:
        session.add(OrganizationRefusals(org_id=org_id, day=place[1], reason=place[2], count=99))
    assert look() == 0
    clock.forward(minutes=1)
    with app.app_context(), writing() as session:
        session.get_one(OrganizationRefusals, place).count += 1
    assert [look(), look()] == [1, 0]
    deliver()
    told = [(one.document["type"], one.document["data"].get("key_id")) for one in receiver.received]
    assert sorted(told, key=str) == sorted(
        [
            ("key.expiring", ends.id), ("key.unused", idle.id), ("key.unused", ends.id),
            ("provider.credential_refused", None), ("organization.refusals", None),
        ],
        key=str,
    )  # fmt: skip
    assert all(one.document["text"].endswith(".") for one in receiver.received)


def test_of_several_credentials_each_is_told_of_by_itself(
    app: Flask, org_id: str, make: Make, hook: dict[str, Any], receiver: Receiver, happened: Activity,
    look: Callable[[], int], deliver: Callable[[], int],
) -> None:  # fmt: skip
    """One that is refused is told of although others are forbidden much; neither one that is off nor one from before."""
    assert hook["enabled"]
    stored = (("team a", START, True), ("team b", START, True), ("off", START, False))
    with app.app_context(), writing() as session:
        for label, at, enabled in (*stored, ("replaced", START + timedelta(seconds=60), True)):
            session.add(
                ProviderCredential(
                    id=f"cred_{label}", org_id=org_id, provider="openai", label=label, enabled=enabled, sealed=b"x",
                    last4="xxxx", created_at=at, created_by="system",
                )
            )  # fmt: skip
            session.flush()
            if label != "team b":
                said = {"set_at": START, "at": START + timedelta(seconds=30), "status": 401, "words": "no"}
                session.add(CredentialRefusal(credential_id=f"cred_{label}", **said))
    key = make()

    def sent(request_id: str, *labels: str, status: int = 200, seconds: int = 30) -> None:
        *refused, last = labels
        tried = [{"label": label, "last4": "xxxx", "why": "refused"} for label in refused]
        answered = {"label": last, "last4": "xxxx", "why": None}
        happened.sent(key.id, request_id, seconds, status=status, tried=[*tried, answered])

    sent("req_1", "team a", "team b")
    for number in range(120):  # however many there are of another one
        sent(f"req_forbidden_{number}", "off", status=403)
    for label in ("replaced", "nobody's"):
        sent(f"req_of_{label[:3]}", label, status=403)
    assert [look(), look()] == [1, 0]
    sent("req_2", "team a", "team b", status=403, seconds=31)
    assert [look(), look()] == [1, 0]
    deliver()
    told = [one.document for one in receiver.received]
    assert [(one["data"]["label"], one["data"]["status"]) for one in told] == [("team a", 401), ("team b", 403)]
    assert "OpenAI refuses the credential “team a” (401, last at" in told[0]["text"]
    assert "OpenAI answered 403 to a request with the credential “team b” (last at" in told[1]["text"]


def test_a_webhook_is_told_of_what_it_chose_and_only_while_it_is_on(
    app: Flask, api: Api, org_id: str, make: Make, hook: dict[str, Any], receiver: Receiver,
    look: Callable[[], int], deliver: Callable[[], int],
) -> None:  # fmt: skip
    assert api("PATCH", f"/v1/webhooks/{hook['id']}", {"events": ["key.unused"]}).get_json()["events"] == ["key.unused"]
    spend(app, org_id, make(spend_limit_usd="1").id, 0.6, START)
    assert look() == 1
    api("PATCH", f"/v1/webhooks/{hook['id']}", {"events": None, "enabled": False})
    spend(app, org_id, make("another", spend_limit_usd="1").id, 0.6, START)
    assert look() == deliver() == 0  # nobody is there to be told
    api("PATCH", f"/v1/webhooks/{hook['id']}", {"enabled": True})
    assert look() == deliver() == 1
    assert len(receiver.received) == 1


def test_old_messages_are_forgotten(
    app: Flask, api: Api, clock: Clock, hook: dict[str, Any], look: Callable[[], int], deliver: Callable[[], int]
) -> None:
    api("POST", f"/v1/webhooks/{hook['id']}/test")
    deliver()
    clock.forward(days=31)
    api("POST", f"/v1/webhooks/{hook['id']}/test")
    look()
    assert [row.status for row in messages(app)] == ["pending"]
