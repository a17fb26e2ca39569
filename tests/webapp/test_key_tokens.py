"""Tokens a minute of a key: set by JSON, forms and defaults, held to a maximum, shown with what is left, tried dry."""

from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from dashboard_kit import Api, field_errors
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import submit
from key_page_kit import shown
from key_rows_kit import posted, refusal_of
from live_counters import LiveCounters
from sqlalchemy import select

from shared.counters import RateBucket
from shared.models import AuditEvent, ProxyKey, snapshot_of
from webapp.actions.credentials import store_credentials
from webapp.context import Actor
from webapp.db import db
from webapp.views.keys import KeyView

Make = Callable[..., KeyView]
Enter = Callable[[str], FlaskClient]


def rule(api: Api, **document: Any) -> dict[str, Any]:
    answer = api("PATCH", "/v1/organization", document)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.get_json()
    return told


def use(live: LiveCounters, key_id: str, tokens: int) -> None:
    """A request of this second used so many."""
    bucket = RateBucket(key_id, live.counters.moment().second, 1, "", tokens)
    live.counters.restore_requests(1, [bucket])


def test_it_works(api: Api, app: Flask) -> None:
    key = api.create(rate_limit_tpm=30_000)
    assert key["rate_limit_tpm"] == 30_000
    path = f"/v1/keys/{key['id']}"
    assert api("PATCH", path, {"rate_limit_tpm": 10**9}).get_json()["rate_limit_tpm"] == 10**9
    with app.app_context():
        assert snapshot_of(db.session.get_one(ProxyKey, key["id"]), 0.0).rate_limit_tpm == 10**9
        event = db.session.scalars(select(AuditEvent).where(AuditEvent.action == "key.update")).one()
    assert (event.before, event.after) == ({"rate_limit_tpm": 30_000}, {"rate_limit_tpm": 10**9})
    assert api("PATCH", path, {"rate_limit_tpm": None}).get_json()["rate_limit_tpm"] is None
    assert api.create()["rate_limit_tpm"] is None


@pytest.mark.parametrize("wrong", [0, -1, 10**9 + 1, "30000", 1.5, True, [], {}])
def test_nonsense_is_named_and_changes_nothing(api: Api, wrong: object) -> None:
    key = api.create(rate_limit_tpm=7)
    assert list(field_errors(api("PATCH", f"/v1/keys/{key['id']}", {"rate_limit_tpm": wrong}))) == ["rate_limit_tpm"]
    assert api("GET", f"/v1/keys/{key['id']}").get_json()["rate_limit_tpm"] == 7


def test_an_organisation_has_a_default_and_a_maximum(api: Api) -> None:
    told = rule(api, default_rate_limit_tpm=5_000, max_rate_limit_tpm=9_000)
    assert (told["default_rate_limit_tpm"], told["max_rate_limit_tpm"]) == (5_000, 9_000)
    assert api.create()["rate_limit_tpm"] == 5_000
    assert api.create(rate_limit_tpm=9_000)["rate_limit_tpm"] == 9_000
    above = field_errors(api("POST", "/v1/keys", {"name": "x", "rate_limit_tpm": 9_001}))
    assert above == {"rate_limit_tpm": "must be at most 9,000, this organisation's maximum"}
    none = field_errors(api("POST", "/v1/keys", {"name": "x", "rate_limit_tpm": None}))
    assert "must have a limit here, at most 9,000" in none["rate_limit_tpm"]
    faults = field_errors(api("PATCH", "/v1/organization", {"default_rate_limit_tpm": 9_001}))
    assert list(faults) == ["default_rate_limit_tpm"]
    assert list(field_errors(api("PATCH", "/v1/organization", {"max_rate_limit_tpm": 0}))) == ["max_rate_limit_tpm"]


def test_a_key_above_a_maximum_stays_until_somebody_sets_the_field(api: Api) -> None:
    key = api.create(rate_limit_tpm=9_000)
    rule(api, max_rate_limit_tpm=100)
    path = f"/v1/keys/{key['id']}"
    assert api("PATCH", path, {"name": "renamed", "rate_limit_tpm": 9_000}).status_code == 200
    assert list(field_errors(api("PATCH", path, {"rate_limit_tpm": 8_999}))) == ["rate_limit_tpm"]


def test_the_forms_say_and_take_it(enter: Enter, api: Api) -> None:
    admin = enter("admin")
    said = {"default_rate_limit_tpm": "5000", "max_rate_limit_tpm": "9000"}
    assert submit(admin, "/settings/organization", said, form_of=admin.get("/settings")).status_code == 303
    assert rule(api)["max_rate_limit_tpm"] == 9_000
    page = admin.get("/keys/new")
    assert 'value="5000"' in page.text
    assert "at most 9,000 tokens per minute" in unescape(page.text)
    key = api.create(name="edited", rate_limit_tpm=700)
    path = f"/keys/{key['id']}/edit"
    assert submit(admin, path, {"rate_limit_tpm": "9001"}, form_of=admin.get(path)).status_code == 422
    assert submit(admin, path, {"rate_limit_tpm": "800"}, form_of=admin.get(path)).status_code in (200, 303)
    assert api("GET", f"/v1/keys/{key['id']}").get_json()["rate_limit_tpm"] == 800
    assert "Tokens a minute" in admin.get("/audit").text


def test_the_page_tells_what_is_left(enter: Enter, api: Api, live: LiveCounters) -> None:
    viewer, key = enter("viewer"), api.create(rate_limit_tpm=30_000)
    assert "30,000 left" in viewer.get(f"/keys/{key['id']}").text
    use(live, key["id"], 12_345)
    page = viewer.get(f"/keys/{key['id']}").text
    assert "17,655 left" in page
    assert "of 30,000 in any 60 seconds" in page


def test_a_dry_run_tells_of_it(api: Api, app: Flask, actor: Actor, live: LiveCounters, make: Make) -> None:
    with app.app_context():
        store_credentials(actor, {"openai": "sk-real-openai"})
    key = make(rate_limit_tpm=10_000)

    def answer(**asked: Any) -> Any:
        return api("POST", f"/v1/keys/{key.id}/check", {"model": "gpt-4o", **asked}).get_json()

    fits = answer(max_tokens=5_000)
    assert (fits["allowed"], fits["max_tokens"]) == (True, None)
    assert answer()["max_tokens"] == 4_096, "that the router would set"
    large = answer(max_tokens=10_001)["refusal"]
    assert (large["code"], large["status"], large["retry"]) == ("token_rate_limited", 429, False)
    assert large["facts"]["affordable_max_tokens"] == 10_000 - 64, "what the provider counts may be wrong by so much"
    use(live, key.id, 8_000)
    wait = answer(max_tokens=5_000)["refusal"]
    assert (wait["code"], wait["retry"], wait["facts"]["remaining_tokens"]) == ("token_rate_limited", True, 2_000)
    assert 1 <= wait["facts"]["retry_after_seconds"] <= 61
    assert answer(provider="openai", path="/v1/videos")["refusal"]["code"] == "endpoint_not_metered"


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"rate_limit_tpm": 10}, "rate_limit_tpm"),
        ({"spend_limit_usd": "1"}, "spend_limit_usd"),
        ({"rate_limit_tpm": 10, "spend_limit_usd": "1"}, "spend_limit_usd"),
    ],
)
def test_what_is_not_metered_leads_to_the_limit_that_refuses_it(
    app: Flask, member: FlaskClient, actor: Actor, make: Make, limits: dict[str, Any], field: str
) -> None:
    key = make(**limits)
    posted(app, refusal_of(key.id, "endpoint_not_metered", org_id=actor.org_id))
    page = member.get(f"/requests/refused/{key.id}/endpoint_not_metered").text
    assert f'href="/keys/{key.id}/edit#key-{field}"' in page


@pytest.mark.parametrize(
    ("tpm", "most", "allowed", "limit"),
    [
        (2_000, None, True, 1_936),
        (4_000, None, True, 3_936),
        (2_000, 1_900, True, None),
        (2_000, 1_936, True, None),
        (2_000, 1_937, False, None),
    ],
)
@pytest.mark.usefixtures("live")
def test_a_dry_run_refuses_nothing_that_fits_once_its_input_is_counted(
    api: Api, app: Flask, actor: Actor, make: Make, tpm: int, most: int | None, allowed: bool, limit: int | None
) -> None:
    """As the proxy asks the provider before it refuses."""
    with app.app_context():
        store_credentials(actor, {"openai": "sk-real-openai"})
    key = make(rate_limit_tpm=tpm)
    answer = api("POST", f"/v1/keys/{key.id}/check", {"model": "gpt-4o", "max_tokens": most}).get_json()
    assert (answer["allowed"], answer["max_tokens"]) == (allowed, limit)


@pytest.mark.usefixtures("served")
def test_a_key_that_was_refused_for_it_tells_why_as_long_as_it_has_it(
    app: Flask, api: Api, member: FlaskClient, make: Make
) -> None:
    key = make(rate_limit_tpm=10)
    posted(app, refusal_of(key.id, "token_rate_limited", sentence="limited to 10 tokens per minute."))
    assert "Token limit reached" in unescape(member.get(f"/keys/{key.id}").text)
    assert "limited to 10 tokens per minute" in shown(member, key)
    api("PATCH", f"/v1/keys/{key.id}", {"rate_limit_tpm": None})
    assert "has been changed since" in shown(member, key)
