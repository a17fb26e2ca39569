"""The time zone of an organisation: set by JSON and in the form, and where periods begin wherever they are shown."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from html import unescape
from typing import Any

import pytest
from cli_kit import Command
from dashboard_kit import Api, Clock, field_errors
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import hidden
from live_counters import LiveCounters
from sqlalchemy import select, update
from usage_kit import use

from shared import zones
from shared.models import AuditEvent, Organization, OrganizationUsage
from webapp.actions.credentials import store_credentials
from webapp.context import Actor
from webapp.db import db, writing
from webapp.views.keys import KeyView

Make = Callable[..., KeyView]
Enter = Callable[[str], FlaskClient]
USD = 1_000_000_000
EAST, WEST = "Pacific/Kiritimati", "Pacific/Pago_Pago"  # +14, -11: at the tests' noon it is the 25th, and 01:00
YESTERDAY, TODAY, TOMORROW = date(2026, 11, 23), date(2026, 11, 24), date(2026, 11, 25)  # of UTC


def move(api: Api, zone: str | None) -> dict[str, Any]:
    answer = api("PATCH", "/v1/organization", {"time_zone": zone})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.get_json()
    return told


def test_it_works(api: Api, app: Flask, live: LiveCounters) -> None:
    assert api("GET", "/v1/organization").get_json()["time_zone"] == "UTC"
    told = move(api, " america/new york ")
    assert told["time_zone"] == "America/New_York"
    assert api("GET", "/v1/organization").get_json() == told
    assert live.org_version(told["id"]) == 2, "proxies hear of it before the answer"
    with app.app_context():
        event = db.session.scalars(select(AuditEvent).where(AuditEvent.action == "organization.update")).one()
        assert (event.before, event.after) == ({"time_zone": "UTC"}, {"time_zone": "America/New_York"})
    move(api, "America/New_York")
    assert live.org_version(told["id"]) == 2, "nothing was changed"
    assert move(api, None)["time_zone"] == "UTC"
    assert live.org_version(told["id"]) == 3


@pytest.mark.parametrize("zone", ["Mars/Olympus_Mons", "", 5, True, ["UTC"], "+02:00", "CEST", "x" * 10_000, "a\0b"])
def test_nonsense_is_named_and_changes_nothing(api: Api, zone: object) -> None:
    before = move(api, "Asia/Tokyo")
    answer = api("PATCH", "/v1/organization", {"time_zone": zone, "name": "x"})
    (message,) = field_errors(answer).values()
    assert list(field_errors(answer)) == ["time_zone"]
    assert message.startswith("must be ")
    assert api("GET", "/v1/organization").get_json() == before


def test_who_may_only_read_usage_changes_nothing(api: Api, enter: Enter) -> None:
    token = api("POST", "/v1/tokens", {"name": "reads", "scopes": ["keys:read", "usage:read"]}).get_json()["token"]
    reads = Api(api.client, token)
    assert reads("PATCH", "/v1/organization", {"time_zone": "Asia/Tokyo"}).status_code == 403
    page = enter("member").get("/settings").text
    assert "Time zone</dt><dd>UTC" in page
    assert 'name="time_zone"' not in page


@pytest.mark.parametrize("counted", [True, False])
def test_money_of_a_key_is_that_of_the_period_there(
    api: Api, app: Flask, live: LiveCounters, org_id: str, make: Make, counted: bool
) -> None:
    """By the counters, and by the ledger where they know nothing of it."""
    key = make(spend_limit_usd="10", spend_reset="daily")
    spent = {YESTERDAY: 1 * USD, TODAY: 2 * USD, TOMORROW: 4 * USD}
    with app.app_context():
        for day, nanos in spent.items():
            use(org_id, key.id, nanos, day)
    if counted:
        live.know(key.id)
        live.seed(key.id, sum(spent.values()), spent)
    for zone, start, end, usd in (
        ("UTC", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z", "2.00"),
        (EAST, "2026-11-24T10:00:00Z", "2026-11-25T10:00:00Z", "4.00"),
        (WEST, "2026-11-24T11:00:00Z", "2026-11-25T11:00:00Z", "2.00"),
        ("America/New_York", "2026-11-24T05:00:00Z", "2026-11-25T05:00:00Z", "2.00"),
    ):
        move(api, zone)
        told = api("GET", f"/v1/keys/{key.id}").get_json()["spend"]
        assert (told["period_start"], told["resets_at"], told["spent_usd"]) == (start, end, usd), zone
        assert told["lifetime_usd"] == "7.00"


def test_a_month_of_all_keys_begins_there(api: Api, app: Flask, org_id: str) -> None:
    with app.app_context(), writing() as session:
        for day, nanos in ((date(2026, 10, 31), USD), (date(2026, 11, 1), 2 * USD)):
            sums = {"requests": 1, "input_tokens": 1, "output_tokens": 1, "cost_nanos": nanos}
            session.add(OrganizationUsage(org_id=org_id, day=day, provider="openai", model="gpt-4o", **sums))
    move(api, "Australia/Lord_Howe")
    told = api("PATCH", "/v1/organization", {"spend_limit_usd": "5", "spend_reset": "monthly"}).get_json()["spend"]
    assert (told["period_start"], told["resets_at"]) == ("2026-10-31T13:00:00Z", "2026-11-30T13:00:00Z")
    assert told["spent_usd"] == "2.00"


def test_usage_goes_by_days_there(api: Api, app: Flask, org_id: str, make: Make, clock: Clock) -> None:
    key = make()
    with app.app_context():
        for day, nanos in ((YESTERDAY, USD), (TODAY, 2 * USD), (TOMORROW, 4 * USD)):
            use(org_id, key.id, nanos, day)

    def asked(**query: str) -> tuple[str, str, list[str]]:
        told = api("GET", f"/v1/keys/{key.id}/usage", query_string=query).get_json()
        return told["from"], told["to"], [line["day"] for line in told["data"]]

    assert asked() == ("2026-10-26", "2026-11-24", ["2026-11-23", "2026-11-24"])
    move(api, EAST)
    assert asked() == ("2026-10-27", "2026-11-25", ["2026-11-23", "2026-11-24", "2026-11-25"])
    # A moment stands for the day that it is in.
    assert asked(**{"from": "2026-11-24T10:00:00Z"})[0] == "2026-11-25"
    assert asked(**{"from": "2026-11-24T09:59:59Z"})[0] == "2026-11-24"
    assert asked(**{"from": "2026-11-25T00:00:00+14:00"})[0] == "2026-11-25"
    move(api, WEST)
    clock.now = datetime(2026, 11, 24, 10, 59, tzinfo=UTC)
    assert asked()[1] == "2026-11-23"
    clock.forward(minutes=1)
    assert asked()[1] == "2026-11-24"


@pytest.mark.parametrize("zone", [EAST, WEST, "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_the_ends_of_the_calendar_are_no_days_to_ask_for(
    api: Api, make: Make, enter: Enter, command: Command, zone: str, moment: str
) -> None:
    key, browser = make(), enter("viewer")
    move(api, zone)
    for field in ("from", "to"):
        for path in ("/v1/usage", "/v1/usage?format=csv", f"/v1/keys/{key.id}/usage"):
            joint = "&" if "?" in path else "?"
            assert list(field_errors(api("GET", f"{path}{joint}{field}={moment}"))) == [field], path
        for path in ("/usage", "/usage.csv", "/usage.json"):
            assert browser.get(f"{path}?period=custom&{field}={moment}").status_code in (200, 404, 422), path
        assert field in command.fault(f"usage --{field} {moment}")


def test_pages_about_usage_go_by_days_there(api: Api, app: Flask, org_id: str, make: Make, enter: Enter) -> None:
    key, browser = make("spends"), enter("viewer")
    with app.app_context():
        for day, nanos in ((TODAY, 2 * USD), (TOMORROW, 4 * USD)):
            use(org_id, key.id, nanos, day)
    assert "2026-11-25" not in browser.get("/usage.csv?period=today").text
    assert "in UTC days" in browser.get("/usage").text
    move(api, EAST)
    page = unescape(browser.get("/usage?period=today&group_by=model").text)
    assert f"25 Nov 2026, in days of {EAST}." in page
    assert "&from=2026-11-24T10%3A00&to=2026-11-25T10%3A00" in page, "the requests of that day"
    assert browser.get("/usage.csv?period=yesterday").headers["Content-Disposition"].count("2026-11-24") == 2
    assert '"to": "2026-11-25"' in browser.get("/usage.json?period=today").text
    assert f"US dollars and days of {EAST}." in browser.get("/overview").text
    assert f"25 Nov, {EAST}</span>" in browser.get(f"/keys/{key.id}").text
    assert f"00:00 in {EAST}; weeks start on Sunday" in enter("member").get("/keys/new").text
    # The first days of the calendar have no moment in UTC.
    assert browser.get("/usage?from=0001-01-01&to=0001-01-02").status_code == 200


def test_a_forecast_is_of_the_period_there(api: Api, app: Flask, org_id: str, make: Make) -> None:
    key = make(spend_limit_usd="9", spend_reset="weekly")
    with app.app_context():
        for day in range(10, 26):
            use(org_id, key.id, USD, date(2026, 11, day))
    move(api, EAST)
    told = api("GET", "/v1/forecast", query_string={"key": key.id}).get_json()
    assert (told["period_start"], told["period_end"]) == ("2026-11-21T10:00:00Z", "2026-11-28T10:00:00Z")
    assert (told["spent_usd"], told["expected_usd"]) == ("4.00", "7.00")


def test_a_dry_run_goes_by_the_day_there(
    api: Api, app: Flask, actor: Actor, live: LiveCounters, make: Make, clock: Clock
) -> None:
    with app.app_context():
        store_credentials(actor, {"openai": "sk-real-openai"})
    key = make(spend_limit_usd="1", spend_reset="daily")
    live.know(key.id)
    live.seed(key.id, USD, {TODAY: USD})

    def refusal() -> Any:
        return api("POST", f"/v1/keys/{key.id}/check", {"model": "gpt-4o", "max_tokens": 9}).get_json()["refusal"]

    assert refusal()["code"] == "spend_exceeded"
    move(api, EAST)
    assert refusal() is None, "it is tomorrow there"
    move(api, WEST)
    assert refusal()["facts"]["resets_at"] == "2026-11-25T11:00:00Z"
    assert "It resets at 2026-11-25T11:00:00Z." in refusal()["message"]
    clock.now = datetime(2026, 11, 25, 11, tzinfo=UTC)
    assert refusal() is None


def test_the_form_offers_zones_and_says_what_is_none(api: Api, app: Flask, enter: Enter) -> None:
    admin = enter("admin")
    page = admin.get("/settings")
    assert 'name="time_zone"' in page.text
    assert 'list="time-zones"' in page.text
    assert all(f'<option value="{name}">' in page.text for name in ("Europe/Berlin", "UTC", "Pacific/Chatham"))
    assert page.text.count("<option value=") >= len(zones.names())

    def send(**fields: str) -> Any:
        shown = {name: hidden(admin.get("/settings"), name) for name in ("csrf_token", "seen")}
        return admin.post("/settings/organization", data={"name": "Default", **shown, **fields})

    answer = send(time_zone="Europe/Berlni", rate_limit_rpm="7")
    assert answer.status_code == 422
    assert "Must be a time zone of the IANA database, such as Europe/Berlin; did you mean Europe/Berlin?" in unescape(
        answer.text
    )
    assert 'value="Europe/Berlni"' in answer.text
    assert send(time_zone="europe/berlin").status_code == 303
    told = api("GET", "/v1/organization").get_json()
    assert (told["time_zone"], told["rate_limit_rpm"]) == ("Europe/Berlin", None)
    assert 'value="Europe/Berlin"' in admin.get("/settings").text
    assert "Time zone" in admin.get("/audit").text
    assert send(time_zone="").status_code == 303
    assert api("GET", "/v1/organization").get_json()["time_zone"] == "UTC"


def test_another_organisation_keeps_its_own(api: Api, stranger: Api, app: Flask) -> None:
    move(api, "Asia/Tokyo")
    assert stranger("GET", "/v1/organization").get_json()["time_zone"] == "UTC"
    with app.app_context():
        assert sorted(db.session.scalars(select(Organization.time_zone))) == ["Asia/Tokyo", "UTC"]


def test_a_zone_that_nobody_knows_is_as_utc(api: Api, app: Flask, make: Make) -> None:
    """As a later release may have left it."""
    key = make(spend_limit_usd="1", spend_reset="daily")
    with app.app_context(), writing() as session:
        session.execute(update(Organization).values(time_zone="Mars/Olympus_Mons"))
    assert api("GET", f"/v1/keys/{key.id}").get_json()["spend"]["resets_at"] == "2026-11-25T00:00:00Z"


def test_the_page_of_a_key_tells_its_reset_as_the_clock_there_shows_it(
    api: Api, member: FlaskClient, make: Make
) -> None:
    """And not as UTC's, where it would be another day; the JSON API tells UTC everywhere."""
    key = make(spend_limit_usd="1", spend_reset="daily")
    assert "on 25 Nov 2026, 00:00 UTC" in member.get(f"/keys/{key.id}").text
    move(api, "Asia/Tokyo")
    page = member.get(f"/keys/{key.id}").text
    assert "on 25 Nov 2026, 00:00 Asia/Tokyo" in page
    assert "24 Nov 2026, 15:00 UTC" not in page.replace('title="', "")
    assert api("GET", f"/v1/keys/{key.id}").get_json()["spend"]["resets_at"] == "2026-11-24T15:00:00Z"
