"""A temporary raise of a key's spend limit: what may be set, what is told of it, and that it ends by itself."""

from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from cli_kit import Command
from dashboard_kit import START, Api, Clock, field_errors
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import stored
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from key_views_kit import NOW, USD, view
from live_counters import LiveCounters

from shared.models import AuditEvent, snapshot_of
from shared.money import to_usd
from webapp.actions.credentials import store_credentials
from webapp.context import Actor
from webapp.db import db
from webapp.pages.key_facts import limits
from webapp.pages.key_presenter import spend
from webapp.queries.key_activity import KeyUse
from webapp.views.attention import Facts, State, judge
from webapp.views.keys import KeyView

Json = dict[str, Any]
Make = Callable[..., KeyView]
UNTIL = "2026-12-01T00:00:00Z"
RAISE = {"spend_limit_boost_usd": "10", "spend_limit_boost_until": UNTIL}
NO_RAISE = {"spend_limit_boost_usd": None, "spend_limit_boost_until": None}


def told(document: Json) -> tuple[Any, ...]:
    """The limit as it was set, its raise, and what may be spent."""
    names = ("spend_limit_usd", "spend_limit_boost_usd", "spend_limit_boost_until")
    return *(document[name] for name in names), document["spend"]["limit_usd"], document["spend"]["remaining_usd"]


def test_it_works(api: Api, app: Flask, clock: Clock) -> None:
    path = f"/v1/keys/{api.create(spend_limit_usd='20')['id']}"
    raised = api("PATCH", path, RAISE)
    assert told(raised.get_json()) == ("20.00", "10.00", UNTIL, "30.00", "30.00")
    row = stored(app, raised.get_json()["id"])
    assert snapshot_of(row, clock.now.timestamp()).spend_limit_nanos == 30 * USD
    clock.now = START.replace(day=30, hour=23, minute=59, second=59)
    assert told(api("GET", path).get_json())[3:] == ("30.00", "30.00")
    clock.forward(seconds=1)
    ended = api("GET", path)
    assert told(ended.get_json()) == ("20.00", None, None, "20.00", "20.00")
    assert snapshot_of(row, clock.now.timestamp()).spend_limit_nanos == 20 * USD
    assert row.version == 2  # nobody has edited it since


NANOS = st.integers(1, 10**12)
SECONDS = st.integers(1, 90 * 86_400)


@settings(max_examples=15, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.just(0) | NANOS, boost=NANOS, length=SECONDS, later=SECONDS)
def test_what_is_shown_at_any_time_is_what_the_proxy_goes_by(
    api: Api, app: Flask, clock: Clock, limit: int, boost: int, length: int, later: int
) -> None:
    clock.now = START
    ends = START + timedelta(seconds=length)
    said = {"spend_limit_usd": to_usd(limit), "spend_limit_boost_usd": to_usd(boost)}
    key = api.create(**said, spend_limit_boost_until=ends.isoformat())
    row = stored(app, key["id"])
    for moment in (START, START + timedelta(seconds=later), ends - timedelta(microseconds=1), ends):
        clock.now = moment
        shown = api("GET", f"/v1/keys/{key['id']}").get_json()
        snapshot = snapshot_of(row, moment.timestamp())
        runs = moment < ends
        holds = limit + boost * runs
        assert snapshot.spend_limit_nanos == holds
        assert [shown["spend"][name] for name in ("limit_usd", "remaining_usd")] == [to_usd(holds)] * 2
        assert shown["spend_limit_boost_usd"] == (to_usd(boost) if runs else None)
        assert shown["spend_limit_usd"] == to_usd(limit) == to_usd(snapshot.own_limit_nanos or 0)


def test_a_key_may_be_made_with_one(api: Api) -> None:
    assert told(api.create(spend_limit_usd="1", **RAISE)) == ("1.00", "10.00", UNTIL, "11.00", "11.00")


def test_what_was_cleared_holds_no_more(api: Api) -> None:
    path = f"/v1/keys/{api.create(spend_limit_usd='20', **RAISE)['id']}"
    for cleared in (NO_RAISE, {"spend_limit_boost_usd": None}, {"spend_limit_boost_until": None}):
        assert told(api("PATCH", path, cleared).get_json())[1:4] == (None, None, "20.00")
        assert api("PATCH", path, RAISE).status_code == 200
    changed = api("PATCH", path, {"spend_limit_boost_usd": "0.5"}).get_json()
    assert told(changed)[1:4] == ("0.50", UNTIL, "20.50")
    changed = api("PATCH", path, {"spend_limit_boost_until": "2026-12-02T01:00:00+01:00"}).get_json()
    assert told(changed)[1:3] == ("0.50", "2026-12-02T00:00:00Z")


@pytest.mark.parametrize(
    ("limit", "document", "field", "words"),
    [
        ("5", {"spend_limit_boost_usd": "10"}, "spend_limit_boost_until", "is required for a raise"),
        ("5", {"spend_limit_boost_until": UNTIL}, "spend_limit_boost_usd", "is required for a raise"),
        ("5", {**RAISE, "spend_limit_boost_usd": None}, "spend_limit_boost_usd", "is required for a raise"),
        ("5", {**RAISE, "spend_limit_boost_until": None}, "spend_limit_boost_until", "is required for a raise"),
        ("5", {**RAISE, "spend_limit_boost_usd": "0"}, "spend_limit_boost_usd", "more than 0"),
        ("5", {**RAISE, "spend_limit_boost_usd": "-1"}, "spend_limit_boost_usd", "more than 0"),
        ("5", {**RAISE, "spend_limit_boost_usd": -1}, "spend_limit_boost_usd", "more than 0"),
        ("5", {**RAISE, "spend_limit_boost_usd": True}, "spend_limit_boost_usd", "null for no raise"),
        ("5", {**RAISE, "spend_limit_boost_usd": "much"}, "spend_limit_boost_usd", "plain amount"),
        ("5", {**RAISE, "spend_limit_boost_usd": "9007199.25"}, "spend_limit_boost_usd", "together"),
        ("5", {**RAISE, "spend_limit_boost_until": "2026-11-24T12:00:00Z"}, "spend_limit_boost_until", "future"),
        ("5", {**RAISE, "spend_limit_boost_until": "2027-02-22T13:00:01Z"}, "spend_limit_boost_until", "90 days"),
        ("5", {**RAISE, "spend_limit_boost_until": "tomorrow"}, "spend_limit_boost_until", "RFC 3339"),
        (None, RAISE, "spend_limit_boost_usd", "no spend limit"),
    ],
)
def test_nonsense_is_named_and_nothing_is_written(
    api: Api, limit: str | None, document: Json, field: str, words: str
) -> None:
    key = api.create(spend_limit_usd=limit)
    edited = field_errors(api("PATCH", f"/v1/keys/{key['id']}", document))
    assert list(edited) == [field]
    assert words in edited[field]
    assert field_errors(api("POST", "/v1/keys", {"name": "x", "spend_limit_usd": limit, **document})) == edited
    assert api("GET", f"/v1/keys/{key['id']}").headers["ETag"] == '"v1"'


def test_the_longest_fits(api: Api) -> None:
    path = f"/v1/keys/{api.create(spend_limit_usd='5')['id']}"
    document = {
        **RAISE,
        "spend_limit_boost_usd": "9007194.254740991",
        "spend_limit_boost_until": "2027-02-22T13:00:00Z",
    }
    assert told(api("PATCH", path, document).get_json())[3] == "9007199.254740991"


def test_a_limit_that_is_raised_cannot_go_without_its_raise(api: Api, clock: Clock) -> None:
    path = f"/v1/keys/{api.create(spend_limit_usd='5', **RAISE)['id']}"
    assert "clear the raise" in field_errors(api("PATCH", path, {"spend_limit_usd": None}))["spend_limit_boost_usd"]
    assert api("PATCH", path, {"spend_limit_usd": None, **NO_RAISE}).get_json()["spend"]["limit_usd"] is None
    assert api("PATCH", path, {"spend_limit_usd": "5", **RAISE}).status_code == 200
    clock.forward(days=8)
    assert api("PATCH", path, {"spend_limit_usd": None}).get_json()["spend"]["limit_usd"] is None


def test_the_organisations_maximum_is_for_both_together(api: Api) -> None:
    standing = f"/v1/keys/{api.create(spend_limit_usd='45', **RAISE)['id']}"
    assert api("PATCH", "/v1/organization", {"max_spend_limit_usd": "50"}).status_code == 200
    path = f"/v1/keys/{api.create(spend_limit_usd='40')['id']}"
    assert told(api("PATCH", path, RAISE).get_json())[3] == "50.00"
    above = {"spend_limit_boost_usd": "10.01"}
    for document in (above, {**RAISE, **above}):
        fault = field_errors(api("PATCH", path, document))
        assert list(fault) == ["spend_limit_boost_usd"]
        assert "together are 50.01, and this organisation's maximum is 50.00" in fault["spend_limit_boost_usd"]
    assert list(field_errors(api("PATCH", path, {"spend_limit_usd": "41"}))) == ["spend_limit_usd"]
    new = {"name": "x", "spend_limit_usd": "50", **RAISE}
    assert list(field_errors(api("POST", "/v1/keys", new))) == ["spend_limit_boost_usd"]
    # What stands above it stays until somebody sets it.
    assert api("PATCH", standing, {"name": "renamed"}).status_code == 200
    assert api("PATCH", standing, api("GET", standing).get_json() | {"name": "sent back"}).status_code == 200
    later = {"spend_limit_boost_until": "2026-12-02T00:00:00Z"}
    assert list(field_errors(api("PATCH", standing, later))) == ["spend_limit_boost_usd"]


def test_a_whole_object_may_be_sent_back_also_when_its_raise_has_ended_meanwhile(api: Api, clock: Clock) -> None:
    path = f"/v1/keys/{api.create(spend_limit_usd='5', **RAISE)['id']}"
    running = api("GET", path).get_json()
    clock.forward(days=8)
    ended = api("GET", path).get_json()
    assert told(api("PATCH", path, {**running, "name": "a"}).get_json())[1:4] == (None, None, "5.00")
    assert told(api("PATCH", path, {**running, "spend_limit_usd": "6"}).get_json())[1:4] == (None, None, "6.00")
    assert api("PATCH", path, {"spend_limit_usd": "5"}).status_code == 200
    assert told(api("PATCH", path, {**ended, "name": "b"}).get_json())[1:4] == (None, None, "5.00")
    # An amount alone does not wake it up, and with its old end it would be one of the past.
    assert list(field_errors(api("PATCH", path, {"spend_limit_boost_usd": "1"}))) == ["spend_limit_boost_until"]
    old = {**RAISE, "spend_limit_boost_usd": "1"}
    assert "future" in field_errors(api("PATCH", path, old))["spend_limit_boost_until"]


def test_a_tag_stands_for_one_object(api: Api, clock: Clock) -> None:
    key_id = api.create(spend_limit_usd="5", **RAISE)["id"]
    path = f"/v1/keys/{key_id}"
    running = api("GET", path).headers["ETag"]
    assert api("GET", path, headers={"If-None-Match": running}).status_code == 304
    clock.forward(days=8)
    assert api("GET", path).headers["ETag"] != running
    # An edit goes by the edits alone, and to clear what has ended is none.
    assert api("PATCH", path, NO_RAISE, headers={"If-Match": running}).headers["ETag"] == '"v1"'


def test_it_is_in_the_audit_log(api: Api, member: FlaskClient, app: Flask, clock: Clock) -> None:
    key_id = api.create(spend_limit_usd="5")["id"]
    api("PATCH", f"/v1/keys/{key_id}", RAISE)
    api("PATCH", f"/v1/keys/{key_id}", NO_RAISE)
    (cleared, made) = api("GET", f"/v1/audit?action=key.update&target={key_id}").get_json()["data"]
    both = {**RAISE, "spend_limit_boost_usd": "10.00"}
    assert (made["before"], made["after"]) == (NO_RAISE, both)
    assert (cleared["before"], cleared["after"]) == (both, NO_RAISE)
    text = unescape(member.get("/audit").text)
    assert "Raise of the limit: No raise → $10.00" in text
    assert "End of the raise: No raise → 1 Dec 2026, 00:00 UTC" in text
    api("PATCH", f"/v1/keys/{key_id}", RAISE)
    clock.forward(days=8)
    api("PATCH", f"/v1/keys/{key_id}", NO_RAISE)
    later = {"spend_limit_boost_usd": "1", "spend_limit_boost_until": "2026-12-24T00:00:00Z"}
    api("PATCH", f"/v1/keys/{key_id}", later)
    with app.app_context():
        events = db.session.query(AuditEvent).filter_by(target=key_id, action="key.update").order_by(AuditEvent.at)
        assert [event.before for event in events] == [NO_RAISE, both, NO_RAISE, NO_RAISE]


def test_the_dry_run_and_the_badge_go_by_it(
    api: Api, app: Flask, actor: Actor, make: Make, clock: Clock, live: LiveCounters
) -> None:
    with app.app_context():
        store_credentials(actor, {"openai": "sk-real-openai"})
    key = make(spend_limit_usd="0", **RAISE)
    live.know(key.id)
    live.seed(key.id)
    ask = {"model": "gpt-4o", "max_tokens": 1000}
    assert api("POST", f"/v1/keys/{key.id}/check", ask).get_json()["allowed"]
    refusal = api("POST", f"/v1/keys/{key.id}/check", {**ask, "max_tokens": 10**7}).get_json()["refusal"]
    assert "may spend $10.00 (in all, $10.00 of it a raise until 2026-12-01T00:00:00Z)" in refusal["message"]
    clock.forward(days=8)
    refusal = api("POST", f"/v1/keys/{key.id}/check", ask).get_json()["refusal"]
    assert (refusal["code"], refusal["facts"]["limit_usd"]) == ("spend_exceeded", "0.00")
    assert refusal["facts"]["spend_limit_boost_usd"] is None


def test_who_is_near_the_limit_is_near_the_raised_one(
    api: Api, app: Flask, make: Make, clock: Clock, live: LiveCounters
) -> None:
    key = make(spend_limit_usd="1", spend_reset="never")
    raised = view(85, limit=100 + 40, spend_limit_boost_usd="0.00", spend_limit_boost_until=NOW + timedelta(days=1))
    assert judge(raised, Facts(), NOW).state is State.ACTIVE
    assert judge(view(85, limit=100), Facts(), NOW).state is State.NEAR_LIMIT
    nearly = judge(
        view(USD, limit=USD, spend_limit_boost_usd="0.40", spend_limit_boost_until=NOW + timedelta(days=1)),
        Facts(),
        NOW,
    )
    assert nearly.state is State.OVER_LIMIT
    assert "$0.40 of it a raise until 25 Nov 2026, 12:00 UTC" in nearly.why
    assert key.spend.limit_nanos == USD


def test_the_list_and_the_page_of_the_key_show_it(api: Api, member: FlaskClient, make: Make, clock: Clock) -> None:
    raised = {**RAISE, "spend_limit_boost_until": "2026-11-24T12:10:00Z"}
    key = make("billing", spend_limit_usd="20", spend_reset="weekly", **raised)
    text = unescape(member.get("/keys").text)
    assert "$0.00 of $30 a week" in text
    assert "raised for 10 min" in text
    assert "$10.00 of it a raise until 24 Nov 2026, 12:10 UTC" in unescape(member.get(f"/keys/{key.id}").text)
    clock.forward(minutes=10)
    text = unescape(member.get("/keys").text)
    assert "$0.00 of $20 a week" in text
    assert "raised" not in text
    plain = view(USD, limit=2 * USD)
    assert (
        "raise"
        not in limits(plain, KeyUse(None, None, None), (), NOW)[0].note
        + spend(plain, NOW).note
        + spend(plain, NOW).exact
    )


def test_the_commands_know_it(command: Command, clock: Clock) -> None:
    made = command.json(
        f"keys create x --spend-limit-usd 5 --spend-limit-boost-usd 1 --spend-limit-boost-until {UNTIL}"
    )
    assert told(made)[1:4] == ("1.00", UNTIL, "6.00")
    assert "6.00" in command("keys list").stdout
    shown = command(f"keys show {made['id']}").stdout
    assert UNTIL in shown or "2026-12-01" in shown
    cleared = command.json(f"keys edit {made['id']} --unset spend_limit_boost_usd")
    assert told(cleared)[1:4] == (None, None, "5.00")
