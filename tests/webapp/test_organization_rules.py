"""What an organisation gives new keys and the most that it lets keys have: what was set is shown, and is what holds."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from dashboard_kit import START, Api, Clock, field_errors
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import stored, submit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.models import snapshot_of
from shared.money import from_usd

NONE = {
    "default_spend_limit_usd": None,
    "default_spend_reset": "never",
    "default_expiry_days": None,
    "default_rate_limit_rpm": None,
    "default_rate_limit_tpm": None,
    "max_spend_limit_usd": None,
    "max_expiry_days": None,
    "max_rate_limit_rpm": None,
    "max_rate_limit_tpm": None,
    "spend_limit_required": False,
}
DEFAULTS = {
    "default_spend_limit_usd": "20.00",
    "default_spend_reset": "weekly",
    "default_expiry_days": 30,
    "default_rate_limit_rpm": 60,
}
MAXIMA = {"max_spend_limit_usd": "50.00", "max_expiry_days": 90, "max_rate_limit_rpm": 600}
WITHIN = {"spend_limit_usd": "50", "expires_at": "2027-02-01T00:00:00Z", "rate_limit_rpm": 600}


def rule(api: Api, **document: Any) -> dict[str, Any]:
    answer = api("PATCH", "/v1/organization", document)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.get_json()
    return told


def test_it_works(api: Api) -> None:
    told = rule(api, **DEFAULTS, **MAXIMA)
    assert told == api("GET", "/v1/organization").get_json()
    assert {name: told[name] for name in NONE} == {**NONE, **DEFAULTS, **MAXIMA}
    key = api.create()
    assert (key["spend_limit_usd"], key["spend_reset"], key["rate_limit_rpm"]) == ("20.00", "weekly", 60)
    assert key["expires_at"] == "2026-12-24T13:00:00Z"
    said = api.create(spend_limit_usd="5", rate_limit_rpm=1)
    assert (said["spend_limit_usd"], said["spend_reset"], said["rate_limit_rpm"]) == ("5.00", "weekly", 1)
    assert rule(api, **dict.fromkeys(NONE))["default_spend_reset"] == "never"
    assert {name: value for name, value in rule(api).items() if name in NONE} == NONE


def test_null_is_none_and_no_default(api: Api) -> None:
    rule(api, **DEFAULTS)
    key = api.create(spend_limit_usd=None, spend_reset=None, expires_at=None, rate_limit_rpm=None)
    assert (key["spend_limit_usd"], key["spend_reset"], key["expires_at"]) == (None, "never", None)
    assert key["rate_limit_rpm"] is None


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("spend_limit_usd", "50.01", "at most 50.00"),
        ("spend_limit_usd", None, "must have a limit here, at most 50.00"),
        ("rate_limit_rpm", 601, "at most 600"),
        ("rate_limit_rpm", None, "must have a limit here, at most 600"),
        ("expires_at", "2027-02-22T13:00:01Z", "within 90 days"),
        ("expires_at", None, "must have an end here, within 90 days"),
    ],
)
def test_what_is_above_a_maximum_is_refused_by_name(api: Api, field: str, value: object, words: str) -> None:
    before = api.create(**WITHIN)
    rule(api, **MAXIMA)
    made = field_errors(api("POST", "/v1/keys", {"name": "x", **WITHIN, field: value}))
    edited = field_errors(api("PATCH", f"/v1/keys/{before['id']}", {field: value}))
    assert list(made) == list(edited) == [field]
    assert words in made[field]
    assert made == edited
    without = {name: said for name, said in WITHIN.items() if name != field}
    # Left out and without a default it is none, and none is above every maximum.
    assert list(field_errors(api("POST", "/v1/keys", {"name": "x", **without}))) == [field]
    assert api("GET", f"/v1/keys/{before['id']}").get_json()[field] == before[field]


def test_all_faults_are_told_at_once(api: Api) -> None:
    rule(api, **MAXIMA)
    document = {"name": "", "spend_limit_usd": "51", "rate_limit_rpm": 1000, "allowed_ips": ["10.0.0.1/8"]}
    assert set(field_errors(api("POST", "/v1/keys", document))) == {
        "name", "spend_limit_usd", "rate_limit_rpm", "allowed_ips", "expires_at",
    }  # fmt: skip
    told = field_errors(api("POST", "/v1/keys", document, headers={"Idempotency-Key": "x" * 300}))
    assert {"Idempotency-Key", "spend_limit_usd", "expires_at"} <= set(told)


def test_keys_that_are_there_stay_until_somebody_sets_the_field(api: Api) -> None:
    key = api.create(spend_limit_usd="1000", rate_limit_rpm=9_000)
    path = f"/v1/keys/{key['id']}"
    rule(api, **MAXIMA, spend_limit_required=True)
    assert api("GET", path).get_json()["spend_limit_usd"] == "1000.00"
    assert api("PATCH", path, {"name": "renamed", "allowed_models": ["gpt-4o*"]}).status_code == 200
    whole = api("GET", path).get_json()
    assert api("PATCH", path, {**whole, "name": "sent back whole"}).status_code == 200
    assert list(field_errors(api("PATCH", path, {"spend_limit_usd": "999"}))) == ["spend_limit_usd"]
    assert api("PATCH", path, {"spend_limit_usd": "50"}).get_json()["spend_limit_usd"] == "50.00"
    assert list(field_errors(api("PATCH", path, {"spend_limit_usd": "1000"}))) == ["spend_limit_usd"]
    results = api(
        "POST", "/v1/keys/bulk", {"action": "extend", "ids": [key["id"]], "expires_at": "2028-01-01T00:00:00Z"}
    )
    assert results.get_json()["results"][0]["status"] == 422


def test_a_limit_may_be_required_without_a_maximum(api: Api) -> None:
    rule(api, spend_limit_required=True)
    assert "wants one for every key" in field_errors(api("POST", "/v1/keys", {"name": "x"}))["spend_limit_usd"]
    assert api.create(spend_limit_usd="1000000")["spend_limit_usd"] == "1000000.00"
    rule(api, default_spend_limit_usd="3")
    assert api.create()["spend_limit_usd"] == "3.00"


@pytest.mark.parametrize(
    ("stands", "document", "field"),
    [
        ({"max_spend_limit_usd": "10"}, {"default_spend_limit_usd": "10.01"}, "default_spend_limit_usd"),
        ({"default_spend_limit_usd": "10"}, {"max_spend_limit_usd": "9"}, "max_spend_limit_usd"),
        ({"max_expiry_days": 10}, {"default_expiry_days": 11}, "default_expiry_days"),
        ({"default_rate_limit_rpm": 10}, {"max_rate_limit_rpm": 9}, "max_rate_limit_rpm"),
        ({}, {"default_rate_limit_rpm": 10, "max_rate_limit_rpm": 9}, "default_rate_limit_rpm"),
        ({}, {"default_expiry_days": 0}, "default_expiry_days"),
        ({}, {"max_expiry_days": "7"}, "max_expiry_days"),
        ({}, {"max_rate_limit_rpm": True}, "max_rate_limit_rpm"),
        ({}, {"max_spend_limit_usd": "-1"}, "max_spend_limit_usd"),
        ({}, {"default_spend_reset": "yearly"}, "default_spend_reset"),
        ({}, {"spend_limit_required": "yes"}, "spend_limit_required"),
    ],
)
def test_nonsense_is_named_and_nothing_is_written(
    api: Api, stands: dict[str, Any], document: dict[str, Any], field: str
) -> None:
    before = rule(api, **stands)
    assert list(field_errors(api("PATCH", "/v1/organization", document))) == [field]
    assert rule(api) == before


def test_a_change_is_in_the_audit_log_with_what_it_was(api: Api) -> None:
    rule(api, default_spend_limit_usd="20", spend_limit_required=True)
    rule(api, default_spend_limit_usd="20", spend_limit_required=True)
    (event,) = api("GET", "/v1/audit?action=organization.update").get_json()["data"]
    assert event["before"] == {"default_spend_limit_usd": None, "spend_limit_required": False}
    assert event["after"] == {"default_spend_limit_usd": "20.00", "spend_limit_required": True}


def test_others_are_not_ruled(api: Api, stranger: Api) -> None:
    rule(api, **MAXIMA)
    assert stranger.create()["spend_limit_usd"] is None
    assert {name: stranger("GET", "/v1/organization").get_json()[name] for name in NONE} == NONE


DOLLARS = st.none() | st.integers(0, 10**15).map(lambda nanos: f"{nanos // 10**9}.{nanos % 10**9:09d}")
RULES = st.fixed_dictionaries(
    {
        "default_spend_limit_usd": DOLLARS,
        "default_spend_reset": st.sampled_from(["never", "daily", "weekly", "monthly"]),
        "default_expiry_days": st.none() | st.integers(1, 3650),
        "default_rate_limit_rpm": st.none() | st.integers(1, 10**9),
    }
)


@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rules=RULES)
def test_what_was_set_is_what_is_shown_is_what_the_proxy_goes_by(api: Api, app: Flask, rules: dict[str, Any]) -> None:
    told = rule(api, **rules)
    key = api.create()
    snapshot = snapshot_of(stored(app, key["id"]), START.timestamp())
    wanted = rules["default_spend_limit_usd"]
    nanos = None if wanted is None else from_usd(wanted)
    for shown in (told["default_spend_limit_usd"], key["spend_limit_usd"]):
        assert (None if shown is None else from_usd(shown)) == nanos
    assert snapshot.spend_limit_nanos == nanos
    assert told["default_spend_reset"] == key["spend_reset"] == snapshot.spend_reset == rules["default_spend_reset"]
    assert (
        told["default_rate_limit_rpm"]
        == key["rate_limit_rpm"]
        == snapshot.rate_limit_rpm
        == rules["default_rate_limit_rpm"]
    )
    days = rules["default_expiry_days"]
    assert told["default_expiry_days"] == days
    ends = None if days is None else START.replace(hour=13) + timedelta(days=days)
    assert (None if key["expires_at"] is None else datetime.fromisoformat(key["expires_at"])) == ends
    assert snapshot.expires_at == (None if ends is None else ends.timestamp())


def saved(admin: FlaskClient, **fields: object) -> Any:
    """Send the form of the settings, with what it shows but for `fields`."""
    page = admin.get("/settings")
    return submit(admin, "/settings/organization", fields, form_of=page)


# What a browser sends of the form when nothing is set.
FORM = {
    **{name: "" for name in NONE if name != "spend_limit_required"},
    "name": "Default",
    "default_spend_reset": "never",
}


def test_the_form_of_a_new_key_begins_with_the_defaults(
    api: Api, member: FlaskClient, clock: Clock, app: Flask
) -> None:
    rule(api, **DEFAULTS, max_spend_limit_usd="50")
    text = member.get("/keys/new").text
    for shown in ('value="20.00"', 'value="weekly" selected', 'value="30" selected', 'value="60"'):
        assert shown in text
    assert "a spend limit of at most $50.00 a period" in text
    refused = submit(member, "/keys/new", name="none", spend_limit_usd="", expires="never", spend_reset="never")
    assert refused.status_code == 422
    assert "Must have a limit here, at most 50.00" in unescape(refused.text)
    rule(api, default_expiry_days=45)
    text = member.get("/keys/new").text
    assert 'value="custom" selected' in text
    assert 'value="2027-01-08T13:00"' in text


def test_the_form_does_not_begin_with_what_would_be_refused(api: Api, member: FlaskClient) -> None:
    rule(api, max_expiry_days=90)
    assert 'value="90" selected' in member.get("/keys/new").text


def test_an_expiry_of_the_form_fits_the_same_number_of_days(api: Api, member: FlaskClient, clock: Clock) -> None:
    """The form rounds to the full hour, upwards; the maximum does so too."""
    rule(api, max_expiry_days=30)
    clock.forward(minutes=17)
    assert submit(member, "/keys/new", name="a month", expires="30", spend_reset="never").status_code == 201
    assert submit(member, "/keys/new", name="longer", expires="60", spend_reset="never").status_code == 422


def test_the_form_of_the_settings(api: Api, enter: Callable[[str], FlaskClient]) -> None:
    admin = enter("admin")
    sent = {**FORM, "name": "Acme", "max_spend_limit_usd": "$50", "max_expiry_days": "90", "spend_limit_required": "y"}
    assert saved(admin, **sent).status_code == 303
    told = api("GET", "/v1/organization").get_json()
    assert (told["name"], told["max_spend_limit_usd"], told["max_expiry_days"]) == ("Acme", "50.00", 90)
    assert told["spend_limit_required"] is True
    refused = saved(admin, **{**sent, "default_spend_limit_usd": "51", "default_expiry_days": "many"})
    assert refused.status_code == 422
    text = unescape(refused.text)
    assert "Must be a whole number from 1 to 3,650" in text
    assert 'value="many"' in text
    refused = saved(admin, **{**sent, "default_spend_limit_usd": "51"})
    assert "is above the maximum, 50.00" in unescape(refused.text)
    assert saved(admin, **FORM).status_code == 303
    told = api("GET", "/v1/organization").get_json()
    assert {name: told[name] for name in NONE} == NONE


def test_two_administrators_lose_nothing(api: Api, enter: Callable[[str], FlaskClient]) -> None:
    """What somebody did not touch is not sent back over what another one set meanwhile."""
    admin = enter("admin")
    page = admin.get("/settings")
    rule(api, max_rate_limit_rpm=100, name="Renamed")
    sent = {**FORM, "default_expiry_days": "7"}
    assert submit(admin, "/settings/organization", sent, form_of=page).status_code == 303
    told = api("GET", "/v1/organization").get_json()
    assert (told["name"], told["max_rate_limit_rpm"], told["default_expiry_days"]) == ("Renamed", 100, 7)


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_who_does_not_administer_sees_what_keys_need(api: Api, enter: Callable[[str], FlaskClient], role: str) -> None:
    rule(api, max_rate_limit_rpm=100)
    client = enter(role)
    page = client.get("/settings")
    assert "at most 100 requests per minute" in page.text
    assert 'action="/settings/organization"' not in page.text
    assert submit(client, "/settings/organization", FORM, form_of=page).status_code == 403


def test_the_clock_of_an_expiry_is_that_of_the_edit(api: Api, clock: Clock) -> None:
    rule(api, max_expiry_days=10)
    key = api.create(expires_at="2026-12-04T12:00:00Z")
    late = {"expires_at": "2026-12-08T12:00:00Z"}
    assert list(field_errors(api("PATCH", f"/v1/keys/{key['id']}", late))) == ["expires_at"]
    clock.forward(days=5)
    assert api("PATCH", f"/v1/keys/{key['id']}", late).status_code == 200
    assert clock.now.tzinfo is UTC
