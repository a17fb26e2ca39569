"""The page of alerts: rules, webhooks and messages, for administrators."""

import re
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest
from dashboard_kit import Api, Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX, count, submit

from shared.config.mail import MailServer
from shared.models import AlertDelivery, Webhook
from webapp.alerting.deliverer import MOST_ATTEMPTS, Deliverer
from webapp.db import db, writing

HERE = "/settings/alerts"
URL = "https://hooks.example.com/services/T0/B0/c1a2"
RULES = {
    "spend_thresholds": "50, 80, 100", "unused_days": "30", "expiring_days": "7", "refusals_per_10_minutes": "100",
    "credential_refused": "y", "recipients": "",
}  # fmt: skip
SECRET = re.compile(r"whsec_[0-9A-Za-z+/=]+")


@pytest.fixture
def admin(enter: Callable[[str], FlaskClient]) -> FlaskClient:
    return enter("admin")


def hook_of(admin: FlaskClient, **fields: object) -> str:
    """A new webhook's id."""
    made = submit(admin, f"{HERE}/webhooks", {"url": URL, "events": "key.unused", **fields}, form_of=admin.get(HERE))
    assert made.status_code == 201, made.text
    found = re.findall(r'id="delete-(whk_\w+)"', admin.get(HERE).text)
    return str(found[0])


def test_it_works(admin: FlaskClient, api: Api) -> None:
    page = admin.get(HERE)
    assert "There are none yet." in page.text
    assert "ROUTER_SMTP_URL" in page.text
    wanted = {**RULES, "spend_thresholds": "25 % 75", "unused_days": "", "recipients": "a@example.com\nb@example.com\n"}
    assert submit(admin, HERE, wanted, form_of=page).status_code == 303
    rules = api("GET", "/v1/alerts").get_json()
    assert rules["spend_thresholds"] == [25, 75]
    assert rules["unused_days"] is None
    assert rules["recipients"] == ["a@example.com", "b@example.com"]
    assert rules["expiring_days"] == 7
    assert 'value="25, 75"' in admin.get(HERE).text
    assert submit(admin, f"{HERE}/test", form_of=admin.get(HERE)).status_code == 303
    assert "2 test mails are on the way" in (shown := admin.get(HERE).text)
    assert shown.count("On its way</span>") == 2


def test_it_says_while_nobody_is_told(admin: FlaskClient, api: Api) -> None:
    nobody = "Nobody is told yet"
    assert nobody in admin.get(HERE).text
    hook = hook_of(admin)
    assert nobody not in admin.get(HERE).text
    assert submit(admin, f"{HERE}/webhooks/{hook}/disable", form_of=admin.get(HERE)).status_code == 303
    assert nobody in admin.get(HERE).text
    api("PATCH", "/v1/alerts", {"recipients": ["a@example.com"]})
    assert nobody not in admin.get(HERE).text


def test_two_who_change_two_things_get_both(admin: FlaskClient, api: Api) -> None:
    page = admin.get(HERE)
    api("PATCH", "/v1/alerts", {"expiring_days": 14})
    assert submit(admin, HERE, {**RULES, "unused_days": "60"}, form_of=page).status_code == 303
    rules = api("GET", "/v1/alerts").get_json()
    assert (rules["expiring_days"], rules["unused_days"]) == (14, 60)


def test_what_is_wrong_is_told_beside_its_field(admin: FlaskClient) -> None:
    wrong = {**RULES, "spend_thresholds": "50, half", "recipients": "a@example.com nobody", "unused_days": "soon"}
    answer = submit(admin, HERE, wrong, form_of=admin.get(HERE))
    assert answer.status_code == 422
    for name in ("spend_thresholds", "recipients", "unused_days"):
        assert f'id="alerts-{name}-error"' in answer.text
    assert "50, half" in answer.text


def test_a_secret_is_shown_once(app: Flask, admin: FlaskClient) -> None:
    page = admin.get(HERE)
    fields = {"url": URL, "events": "key.unused"}
    made = submit(admin, f"{HERE}/webhooks", fields, form_of=page)
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    assert len(set(SECRET.findall(made.text))) == 1
    again = submit(admin, f"{HERE}/webhooks", fields, form_of=page)
    assert again.status_code == 409
    assert "made a webhook already" in again.text
    assert count(app, Webhook) == 1
    assert not SECRET.search(admin.get(HERE).text)
    for text in (made.text, admin.get(HERE).text):
        assert "https://hooks.example.com/…c1a2" in text
        assert "services" not in text
    assert "data-private" in re.findall(r'<input[^>]*id="webhook-url"[^>]*>', page.text)[0]  # no draft keeps it
    hook = re.findall(r"delete-(whk_\w+)", admin.get(HERE).text)[0]
    assert "For 24 hours" in admin.get(f"{HERE}/webhooks/{hook}/rotate", headers=HTMX).text
    asked = admin.get(f"{HERE}/webhooks/{hook}/rotate")
    renewed = submit(admin, f"{HERE}/webhooks/{hook}/rotate", form_of=asked)
    assert SECRET.findall(renewed.text)[0] not in made.text
    assert "The old secret signs too, it ends in" in admin.get(HERE).text
    twice = submit(admin, f"{HERE}/webhooks/{hook}/rotate", form_of=asked)  # S2: a double click
    assert twice.status_code == 409
    assert "made a new secret already" in twice.text
    assert not SECRET.search(twice.text)
    assert submit(admin, f"{HERE}/webhooks/{hook}/rotate").status_code == 200


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"url": "nonsense", "events": "key.unused"}, "Must be an http or https address"),
        ({"url": "http://10.0.0.1/", "events": "key.unused"}, "Is not a public address"),
        ({"url": URL}, "Choose at least one."),
    ],
)
def test_a_webhook_that_cannot_be(app: Flask, admin: FlaskClient, fields: dict[str, str], words: str) -> None:
    answer = submit(admin, f"{HERE}/webhooks", fields, form_of=admin.get(HERE))
    assert answer.status_code == 422
    assert words in answer.text
    assert count(app, Webhook) == 0


def test_a_webhook_is_switched_tried_and_deleted(app: Flask, admin: FlaskClient) -> None:
    hook = hook_of(admin)
    for step, words in (("disable", "Nothing new is sent there."), ("enable", "told of what happens from now on")):
        assert submit(admin, f"{HERE}/webhooks/{hook}/{step}", form_of=admin.get(HERE)).status_code == 303
        assert words in admin.get(HERE).text
    assert submit(admin, f"{HERE}/webhooks/{hook}/test", form_of=admin.get(HERE)).status_code == 303
    assert count(app, AlertDelivery) == 1
    assert submit(admin, f"{HERE}/webhooks/{hook}/delete").status_code == 303
    page = admin.get(HERE).text
    assert "services" not in page
    assert "Deleted the webhook at <bdi>https://hooks.example.com/…c1a2</bdi>." in page
    assert "A webhook that was deleted" in page
    assert "Given up</span>" in page
    assert submit(admin, f"{HERE}/webhooks/{hook}/delete", form_of=admin.get(HERE)).status_code == 404


def test_a_message_that_was_given_up_is_tried_by_hand(app: Flask, admin: FlaskClient, api: Api, clock: Clock) -> None:
    """Without a mail server it waits for one; a server that is away uses up its attempts, and the page says so."""
    api("PATCH", "/v1/alerts", {"recipients": ["a@example.com"]})
    api("POST", "/v1/alerts/test")
    with app.app_context(), writing() as session:
        row = session.query(AlertDelivery).one()
        row.attempts = MOST_ATTEMPTS - 1
        delivery_id = row.id
    assert Deliverer(app).deliver_all() == 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        away = MailServer("127.0.0.1", server.getsockname()[1], "none")
    settings = replace(app.extensions["settings"], mail_server=away, mail_from="router@example.com")
    app.extensions["settings"] = settings
    assert Deliverer(app).deliver_all() == 1
    page = admin.get(f"{HERE}?status=dead")
    assert "The mail server cannot be reached: connection refused." in page.text
    path = f"{HERE}/deliveries/{delivery_id}/retry"
    assert path in page.text
    assert submit(admin, path, form_of=page).status_code == 303
    with app.app_context():
        row = db.session.get_one(AlertDelivery, delivery_id)
        assert (row.status, row.attempts, row.next_at) == ("pending", 0, clock.now)
    assert admin.get(f"{HERE}?status=x&cursor=x").status_code == 200


def test_a_key_gets_thresholds_of_its_own(member: FlaskClient, api: Api) -> None:
    key = api.create(name="loud")["id"]
    path = f"/keys/{key}/alerts"
    assert f'href="{path}"' in member.get(f"/keys/{key}").text
    asked = member.get(path)
    assert "50\N{NO-BREAK SPACE}%" in asked.text
    assert submit(member, path, {"whose": "own", "spend_thresholds": "25, 75"}).status_code == 303
    assert api("GET", f"/v1{path}").get_json() == {"spend_thresholds": [25, 75]}
    assert 'value="25, 75"' in member.get(path, headers=HTMX).text
    refused = submit(member, path, {"whose": "own", "spend_thresholds": "half"})
    assert refused.status_code == 422
    assert 'id="key-spend_thresholds-error"' in refused.text
    assert submit(member, path, {"whose": "usual", "spend_thresholds": "25, 75"}).status_code == 303
    assert api("GET", f"/v1{path}").get_json() == {"spend_thresholds": None}


def test_a_revoked_key_has_nothing_to_choose(member: FlaskClient, api: Api) -> None:
    key = api.create()["id"]
    page = member.get(f"/keys/{key}/alerts")
    api("DELETE", f"/v1/keys/{key}")
    fields = {"whose": "own", "spend_thresholds": "25"}
    for answer in (member.get(f"/keys/{key}/alerts"), submit(member, f"/keys/{key}/alerts", fields, form_of=page)):
        assert answer.status_code == 409
        assert "Nobody is told of a revoked key any more." in answer.text
    assert api("GET", f"/v1/keys/{key}/alerts").get_json() == {"spend_thresholds": None}


def test_others_may_not(app: Flask, member: FlaskClient) -> None:
    assert member.get(HERE).status_code == 403
    assert member.get(f"{HERE}/webhooks/whk_x/delete").status_code == 403
    assert count(app, Webhook) == 0
