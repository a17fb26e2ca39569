"""What all keys of an organisation may use together, as administrators set it and everybody sees it."""

from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from dashboard_kit import Api, field_errors
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import hidden, submit
from key_page_kit import shown
from key_rows_kit import posted, refusal_of
from live_counters import LiveCounters
from sqlalchemy import select

from shared.models import AccountingState, AuditEvent, Organization, OrganizationSeed
from shared.periods import FIRST_DAY
from webapp.actions.credentials import store_credentials
from webapp.context import Actor
from webapp.db import db
from webapp.views.keys import KeyView

Make = Callable[..., KeyView]
Enter = Callable[[str], FlaskClient]
USD = 1_000_000_000


def rule(api: Api, **document: Any) -> dict[str, Any]:
    answer = api("PATCH", "/v1/organization", document)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.get_json()
    return told


def state(app: Flask) -> tuple[int, int, int]:
    """The generation, the one that is outdated, and the version of what the organisation's keys share."""
    with app.app_context():
        row = db.session.scalars(select(AccountingState)).one()
        return row.generation, row.outdated, db.session.scalars(select(Organization.policy_version)).one()


def new_counters(app: Flask, org_id: str) -> None:
    """They are of the same generation here, and keep a row of the organisation from now on."""
    with app.app_context():
        db.session.add(OrganizationSeed(org_id=org_id, day=FIRST_DAY, generation=1, nanos=0))
        db.session.scalars(select(AccountingState)).one().outdated = 0
        db.session.commit()


def test_it_works(api: Api, app: Flask, live: LiveCounters) -> None:
    told = rule(api, spend_limit_usd="50", spend_reset="monthly", rate_limit_rpm=600)
    assert told == api("GET", "/v1/organization").get_json()
    assert (told["spend_limit_usd"], told["spend_reset"], told["rate_limit_rpm"]) == ("50.00", "monthly", 600)
    assert told["spend"] == {
        "limit_usd": "50.00",
        "spent_usd": "0.00",
        "held_usd": "0.00",
        "remaining_usd": "50.00",
        "period_start": "2026-11-01T00:00:00Z",
        "resets_at": "2026-12-01T00:00:00Z",
        "lifetime_usd": "0.00",
    }
    assert state(app) == (1, 1, 2), "the counters that are there know too little"
    assert live.org_version(told["id"]) == 2
    rule(api, spend_limit_usd=None, spend_reset=None, rate_limit_rpm=None)
    assert live.org_version(told["id"]) == 3


def test_only_the_first_limit_wants_new_counters(api: Api, app: Flask, live: LiveCounters) -> None:
    rule(api, rate_limit_rpm=5)
    with app.app_context():
        db.session.execute(AccountingState.__table__.update().values(outdated=0))  # type: ignore[attr-defined]
        db.session.commit()
    rule(api, rate_limit_rpm=6, spend_limit_usd="1")
    rule(api, rate_limit_rpm=None)
    rule(api, name="Renamed", max_rate_limit_rpm=9)
    assert state(app)[1:] == (0, 4)
    rule(api, spend_limit_usd=None)
    assert state(app)[1:] == (0, 5)
    org_id = rule(api, spend_limit_usd="0")["id"]
    assert state(app)[1:] == (1, 6)
    new_counters(app, org_id)
    rule(api, spend_limit_usd=None)
    rule(api, rate_limit_rpm=7)
    assert state(app)[1:] == (0, 8), "they have kept its row meanwhile"
    with app.app_context():
        db.session.scalars(select(AccountingState)).one().generation = 2
        db.session.commit()
    rule(api, rate_limit_rpm=None)
    rule(api, rate_limit_rpm=7)
    assert state(app)[1:] == (2, 10), "these were made while it had none"


@pytest.mark.parametrize(
    ("field", "value"),
    [("spend_limit_usd", "-1"), ("spend_reset", "hourly"), ("rate_limit_rpm", 0), ("rate_limit_rpm", "5")],
)
def test_nonsense_is_named_and_changes_nothing(api: Api, field: str, value: object) -> None:
    before = rule(api)
    assert list(field_errors(api("PATCH", "/v1/organization", {field: value, "name": "x"}))) == [field]
    assert rule(api) == before


def test_what_they_spent_is_told_by_the_counters_or_the_ledger(api: Api, live: LiveCounters) -> None:
    told = rule(api, spend_limit_usd="50")
    live.seed(told["id"], 7 * USD)
    assert rule(api)["spend"]["spent_usd"] == "7.00"
    assert rule(api)["spend"]["remaining_usd"] == "43.00"


def test_a_dry_run_tells_of_them(api: Api, app: Flask, actor: Actor, live: LiveCounters, make: Make) -> None:
    with app.app_context():
        store_credentials(actor, {"openai": "sk-real-openai"})
    key = make(max_concurrent_requests=1)

    def code(**asked: Any) -> str | None:
        refusal = api("POST", f"/v1/keys/{key.id}/check", {"model": "gpt-4o", **asked}).get_json()["refusal"]
        return None if refusal is None else str(refusal["code"])

    assert code() is None
    org_id = rule(api, spend_limit_usd="50")["id"]
    assert code() == "limits_unavailable", "as in a proxy, until there are counters that know of it"
    assert code(provider="openai", path="/v1/videos") == "endpoint_not_metered"
    new_counters(app, org_id)
    live.seed(org_id, 50 * USD)
    assert code(max_tokens=10) == "organization_spend_exceeded"
    rule(api, spend_limit_usd="60")
    assert code(max_tokens=10) is None
    live.know(key.id)
    live.seed(key.id)
    live.hold(key.id, 0)
    assert code() == "too_many_concurrent"


def test_what_a_dry_run_says_would_fit_fits_both_limits(
    api: Api, app: Flask, actor: Actor, live: LiveCounters, make: Make
) -> None:
    with app.app_context():
        store_credentials(actor, {"openai": "sk-real-openai"})
    key = make(spend_limit_usd="0.005")
    new_counters(app, rule(api, spend_limit_usd="0.002")["id"])
    live.know(key.id)

    def refusal(max_tokens: int) -> Any:
        asked = {"model": "gpt-4o-mini", "max_tokens": max_tokens}
        return api("POST", f"/v1/keys/{key.id}/check", asked).get_json()["refusal"]

    told = refusal(16_000)
    assert told["code"] == "spend_exceeded"
    fits = told["facts"]["affordable_max_tokens"]
    assert refusal(fits) is None
    assert refusal(fits + 1)["code"] == "organization_spend_exceeded"


def test_the_page_shows_and_changes_them(enter: Enter, app: Flask, api: Api) -> None:
    admin = enter("admin")
    page = unescape(admin.get("/settings").text)
    assert "No limit · $0.00 spent" in page
    said = {"spend_limit_usd": "$12.50", "spend_reset": "weekly", "rate_limit_rpm": "90"}
    assert submit(admin, "/settings/organization", said, form_of=admin.get("/settings")).status_code == 303
    told = api("GET", "/v1/organization").get_json()
    assert (told["spend_limit_usd"], told["spend_reset"], told["rate_limit_rpm"]) == ("12.50", "weekly", 90)
    page = unescape(admin.get("/settings").text)
    assert "$12.50 left of $12.50 a week" in page
    assert "90 in any 60 seconds" in page
    with app.app_context():
        event = db.session.scalars(select(AuditEvent).where(AuditEvent.action == "organization.update")).one()
    assert event.after == {"spend_limit_usd": "12.50", "spend_reset": "weekly", "rate_limit_rpm": 90}
    assert "Requests a minute" in admin.get("/audit").text
    assert "90 in any 60 seconds" in enter("viewer").get("/settings").text


def test_a_limit_below_what_they_have_spent_warns_once(enter: Enter, api: Api, live: LiveCounters) -> None:
    admin = enter("admin")
    live.seed(rule(api, spend_limit_usd="50")["id"], 7 * USD)
    page = admin.get("/settings")
    fields = {"spend_limit_usd": "7", "name": "Ours"}
    warned = submit(admin, "/settings/organization", fields, form_of=page)
    assert warned.status_code == 200
    assert "All keys together have already spent $7.00, so with a limit of $7.00" in unescape(warned.text)
    assert rule(api)["spend_limit_usd"] == "50.00"
    fields["confirmed"] = hidden(warned, "confirmed")
    fewer = submit(admin, "/settings/organization", {**fields, "spend_limit_usd": "6"}, form_of=warned)
    assert "with a limit of $6.00" in unescape(fewer.text), "another limit is another question"
    assert submit(admin, "/settings/organization", fields, form_of=warned).status_code == 303
    assert rule(api)["spend_limit_usd"] == "7.00"
    for limit in ("8", ""):
        sent = submit(admin, "/settings/organization", {"spend_limit_usd": limit}, form_of=admin.get("/settings"))
        assert sent.status_code == 303, limit


@pytest.mark.usefixtures("served")
def test_a_key_that_is_refused_for_them_is_blocked_until_there_is_more(
    app: Flask, api: Api, member: FlaskClient, live: LiveCounters, make: Make
) -> None:
    key, org_id = make(), rule(api, spend_limit_usd="50")["id"]
    live.seed(org_id, 50 * USD)
    sentence = "Spent: $50.00, this request may need up to $1.00. It never resets."
    posted(app, refusal_of(key.id, "organization_spend_exceeded", org_id=org_id, sentence=sentence))
    assert "Blocked . Its last refused request was told: Spent: $50.00" in shown(member, key)
    rule(api, spend_limit_usd="51")
    assert "Active ." in shown(member, key)
    rule(api, spend_limit_usd="50.5")
    assert "Blocked ." in shown(member, key)
    rule(api, spend_limit_usd=None)
    assert "has been changed since" in shown(member, key)


def test_requests_at_once_of_a_key(api: Api, enter: Enter, live: LiveCounters) -> None:
    admin = enter("viewer")
    key = api.create(max_concurrent_requests=4)
    assert key["max_concurrent_requests"] == 4
    path = f"/v1/keys/{key['id']}"
    for wrong in (0, 1_000_001, "4", 1.5, True):
        assert list(field_errors(api("PATCH", path, {"max_concurrent_requests": wrong}))) == ["max_concurrent_requests"]
    assert "4 left" in admin.get(f"/keys/{key['id']}").text
    live.know(key["id"])
    live.seed(key["id"])
    live.hold(key["id"], 0)
    assert "of 4; 1 in flight now" in admin.get(f"/keys/{key['id']}").text
    assert api("PATCH", path, {"max_concurrent_requests": None}).get_json()["max_concurrent_requests"] is None
    assert api("POST", "/v1/keys", {"name": "none"}).get_json()["max_concurrent_requests"] is None
