"""`/v1/alerts` and `/v1/webhooks`: what may be set, what is refused by name, and that no secret is told twice."""

from typing import Any

import pytest
from dashboard_kit import Api, field_errors
from flask import Flask
from sqlalchemy import select

from shared.config import Settings
from shared.models import AuditEvent, Webhook
from shared.sealing import Sealer
from webapp.actions.tokens import create_token
from webapp.actions.webhooks import secrets_of, shown, url_of
from webapp.context import Actor
from webapp.db import db

URL = "https://hooks.example.com/services/T0/B0/c1a2"
SHOWN = "https://hooks.example.com/…c1a2"


@pytest.fixture
def hook(api: Api) -> dict[str, Any]:
    answer = api("POST", "/v1/webhooks", {"url": URL, "events": ["key.unused", "key.spend_threshold"]})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def test_it_works(app: Flask, api: Api, hook: dict[str, Any]) -> None:
    secret = hook.pop("secret")
    assert secret.startswith("whsec_")
    assert hook["events"] == ["key.spend_threshold", "key.unused"]
    assert api("GET", "/v1/webhooks").get_json() == {"data": [hook]}
    assert api("GET", f"/v1/webhooks/{hook['id']}").get_json() == hook
    changed = api("PATCH", f"/v1/webhooks/{hook['id']}", {"enabled": False}).get_json()
    assert changed == {**hook, "enabled": False}
    sent = api("POST", f"/v1/webhooks/{hook['id']}/test").get_json()["data"]
    assert [(one["channel"], one["target"], one["event"]) for one in sent] == [("webhook", hook["id"], "test")]
    assert api("GET", f"/v1/webhooks/{hook['id']}/deliveries").get_json()["data"] == sent
    assert api("DELETE", f"/v1/webhooks/{hook['id']}").get_json() == changed
    assert api("GET", f"/v1/webhooks/{hook['id']}").status_code == 404
    (given_up,) = api("GET", "/v1/alerts/deliveries").get_json()["data"]
    assert (given_up["status"], given_up["error"]) == ("dead", "The webhook was deleted.")
    with app.app_context():
        events = db.session.scalars(select(AuditEvent).where(AuditEvent.action.startswith("webhook."))).all()
        assert [event.action for event in events] == ["webhook.create", "webhook.update", "webhook.delete"]
        told = str([(event.before, event.after) for event in events])
    assert SHOWN in told
    assert "services" not in told
    assert secret not in told


def test_an_address_is_sealed_and_shown_by_its_end(app: Flask, api: Api, hook: dict[str, Any]) -> None:
    """Whoever knows the address of a chat's webhook may write to that chat."""
    path = f"/v1/webhooks/{hook['id']}"
    answers = [hook, api("GET", path).get_json(), api("PATCH", path, {"url": SHOWN, "enabled": True}).get_json()]
    answers += [api("GET", "/v1/webhooks").get_json()["data"][0], api("POST", f"{path}/rotate").get_json()]
    assert {answer["url"] for answer in answers} == {SHOWN}
    moved = URL.replace("/services/", "/elsewhere/")
    assert api("PATCH", path, {"url": moved}).get_json()["url"] == SHOWN
    with app.app_context():
        row = db.session.scalars(select(Webhook)).one()
        assert url_of(row) == moved
        for value in vars(row).values():
            assert "elsewhere" not in str(value)
        updates = db.session.scalars(select(AuditEvent).where(AuditEvent.action == "webhook.update")).all()
        assert len(updates) == 1
        assert "elsewhere" not in str([(one.before, one.after) for one in updates])
    assert field_errors(api("PATCH", path, {"url": SHOWN + "x"}))["url"].startswith("must be an http or https address")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://hooks.example.com/services/T0/B0/abcd", "https://hooks.example.com/…abcd"),
        ("https://hooks.example.com:8443/?token=123456789", "https://hooks.example.com:8443/…6789"),
        ("http://hooks.example.com?token=123456789", "http://hooks.example.com/…6789"),
        ("https://hooks.example.com/short", "https://hooks.example.com/…"),
        ("https://hooks.example.com/", "https://hooks.example.com"),
        ("https://hooks.example.com", "https://hooks.example.com"),
    ],
)
def test_what_is_shown_of_an_address(url: str, expected: str) -> None:
    assert shown(url) == expected


def test_a_revoked_key_has_no_alerts_to_choose(api: Api) -> None:
    path = f"/v1/keys/{api.create()['id']}"
    api("PATCH", f"{path}/alerts", {"spend_thresholds": [70]})
    api("DELETE", path)
    refused = api("PATCH", f"{path}/alerts", {"spend_thresholds": [90]})
    assert (refused.status_code, refused.get_json()["code"]) == (409, "key_revoked")
    assert api("GET", f"{path}/alerts").get_json() == {"spend_thresholds": [70]}


def test_a_secret_is_sealed_and_sealed_anew(
    app: Flask, api: Api, hook: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = api("POST", f"/v1/webhooks/{hook['id']}/rotate").get_json()
    runner = app.test_cli_runner()
    with app.app_context():
        row = db.session.scalars(select(Webhook)).one()
        assert hook["secret"].encode() not in (row.previous_sealed or b"")
        assert secrets_of(row) == (again["secret"], hook["secret"])
    other = Sealer([settings.encryption_keys[0]])
    fresh = ("a" * 43 + "=", *settings.encryption_keys)
    monkeypatch.setattr(type(settings), "encryption_keys", fresh)
    assert "3 credentials are sealed" in runner.invoke(args=["credentials", "reseal"]).output
    with app.app_context():
        row = db.session.scalars(select(Webhook)).one()
        assert not other.is_current(row.sealed)
        assert not other.is_current(row.url_sealed)
        assert secrets_of(row) == (again["secret"], hook["secret"])
        assert url_of(row) == URL


BAD_WEBHOOKS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "url", "is required"),
    ({"url": 5}, "url", "http or https address"),
    ({"url": "hooks.example.com"}, "url", "http or https address"),
    ({"url": "ftp://hooks.example.com"}, "url", "http or https address"),
    ({"url": "https://user:pass@hooks.example.com"}, "url", "neither a user"),
    ({"url": "https://hooks.example.com/a b"}, "url", "http or https address"),
    ({"url": "https://[::1"}, "url", "http or https address"),
    ({"url": f"https://hooks.example.com/{'x' * 500}"}, "url", "500 characters"),
    ({"url": "http://127.0.0.1:80/"}, "url", "not a public address"),
    ({"url": "http://[::ffff:10.0.0.1]/"}, "url", "not a public address"),
    ({"url": "http://169.254.169.254/latest"}, "url", "not a public address"),
    ({"url": f"https://hooks.example.com/sk-proxy-{'0' * 64}"}, "url", "looks like a secret"),
    ({"url": URL, "events": ["all"]}, "events", "must be a list of some of"),
    ({"url": URL, "events": "key.unused"}, "events", "must be a list"),
    ({"url": URL, "secret": "mine"}, "secret", "is not a known field"),
]


def test_what_no_webhook_can_have(api: Api) -> None:
    for document, field, words in BAD_WEBHOOKS:
        told = field_errors(api("POST", "/v1/webhooks", document))
        assert words in told.get(field, ""), (document, told)
    assert api("GET", "/v1/webhooks").get_json() == {"data": []}


def test_there_are_not_any_number_of_them(api: Api) -> None:
    for _ in range(20):
        assert api("POST", "/v1/webhooks", {"url": URL}).status_code == 201
    refused = api("POST", "/v1/webhooks", {"url": URL})
    assert (refused.status_code, refused.get_json()["code"]) == (409, "too_many_webhooks")


def test_rules_are_merged(api: Api) -> None:
    first = api("GET", "/v1/alerts").get_json()
    assert first == {
        "recipients": [],
        "spend_thresholds": [50, 80, 100],
        "unused_days": 30,
        "expiring_days": 7,
        "credential_refused": True,
        "refusals_per_10_minutes": 100,
        "mail": False,
    }
    patch = {
        "recipients": ["b@example.com", "a@example.com", "b@example.com"],
        "spend_thresholds": [90, 10],
        "unused_days": None,
    }
    changed = {"recipients": ["b@example.com", "a@example.com"], "spend_thresholds": [10, 90], "unused_days": None}
    assert api("PATCH", "/v1/alerts", patch).get_json() == {**first, **changed}
    assert api("PATCH", "/v1/alerts", {"credential_refused": None}).get_json()["credential_refused"] is False
    (event, _) = api("GET", "/v1/audit?action=alerts.update").get_json()["data"][::-1]
    assert event["before"] == {"recipients": [], "spend_thresholds": [50, 80, 100], "unused_days": 30}
    assert event["after"] == changed


BAD_RULES: list[tuple[dict[str, Any], str]] = [
    ({"recipients": "ops@example.com"}, "recipients"),
    ({"recipients": ["nobody"]}, "recipients"),
    ({"recipients": ["Ops <ops@example.com>"]}, "recipients"),
    ({"recipients": ["a@example.com\r\nBcc: b@example.com"]}, "recipients"),
    ({"recipients": [f"a{number}@example.com" for number in range(21)]}, "recipients"),
    ({"spend_thresholds": [0]}, "spend_thresholds"),
    ({"spend_thresholds": [101]}, "spend_thresholds"),
    ({"spend_thresholds": ["50"]}, "spend_thresholds"),
    ({"unused_days": 0}, "unused_days"),
    ({"unused_days": "30"}, "unused_days"),
    ({"expiring_days": 366}, "expiring_days"),
    ({"credential_refused": 1}, "credential_refused"),
    ({"refusals_per_10_minutes": -1}, "refusals_per_10_minutes"),
    ({"mail": True}, "mail"),
]


def test_what_no_rule_can_be(api: Api) -> None:
    for document, field in BAD_RULES:
        assert set(field_errors(api("PATCH", "/v1/alerts", document))) == {field}, document


def test_a_test_needs_somebody(api: Api) -> None:
    refused = api("POST", "/v1/alerts/test")
    assert (refused.status_code, refused.get_json()["code"]) == (409, "no_recipients")


def test_pages_of_messages(api: Api, hook: dict[str, Any]) -> None:
    sent = [api("POST", f"/v1/webhooks/{hook['id']}/test").get_json()["data"][0]["id"] for _ in range(3)]
    page = api("GET", "/v1/alerts/deliveries?limit=2").get_json()
    rest = api("GET", f"/v1/alerts/deliveries?limit=2&cursor={page['next_cursor']}").get_json()
    assert [one["id"] for one in page["data"] + rest["data"]] == sent[::-1]
    assert (page["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)
    assert api("GET", "/v1/alerts/deliveries?status=dead").get_json()["data"] == []
    for query in ("status=x", "limit=0", "cursor=x", "cursor=WzFd", "cursor=WyJrZXlzIiwgIngiXQ", "colour=red"):
        assert api("GET", f"/v1/alerts/deliveries?{query}").status_code == 422, query


def test_others_see_nothing_of_it(api: Api, stranger: Api, hook: dict[str, Any]) -> None:
    (sent,) = api("POST", f"/v1/webhooks/{hook['id']}/test").get_json()["data"]
    path = f"/v1/webhooks/{hook['id']}"
    for method, where in (
        ("GET", path), ("DELETE", path), ("POST", f"{path}/test"), ("POST", f"{path}/rotate"), ("GET", f"{path}/deliveries"),
        ("POST", f"/v1/alerts/deliveries/{sent['id']}/retry"), ("GET", f"/v1/keys/{api.create()['id']}/alerts"),
    ):  # fmt: skip
        assert stranger(method, where).status_code == 404, where
    assert stranger("PATCH", path, {"enabled": False}).status_code == 404
    assert stranger("GET", "/v1/webhooks").get_json() == {"data": []}
    assert stranger("GET", "/v1/alerts/deliveries").get_json()["data"] == []


def test_only_administrators_have_them(app: Flask, api: Api, actor: Actor) -> None:
    with app.app_context():
        api.token = create_token(actor, "narrow", ["keys:read", "keys:write", "usage:read"]).secret
    for path in ("/v1/webhooks", "/v1/alerts", "/v1/alerts/deliveries"):
        assert api("GET", path).get_json()["code"] == "insufficient_scope"
