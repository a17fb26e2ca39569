"""What the page of one key tells: limits and what is left, usage, requests, edits, examples."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape

import pytest
from dashboard_kit import START, Api, Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX
from key_page_kit import shown, text_of
from key_rows_kit import posted, refusal_of, request_of, usage_of
from live_counters import LiveCounters

from webapp.actions.credentials import store_credentials
from webapp.actions.keys import revoke_key, update_key
from webapp.actions.rotation import end_old_secrets, rotate_key
from webapp.context import Actor
from webapp.pages.audit_presenter import ACTIONS
from webapp.pages.usage_presenter import label
from webapp.views.keys import KeyView

Make = Callable[..., KeyView]
USD = 1_000_000_000


def test_without_limits_everything_is_open(member: FlaskClient, make: Make) -> None:
    told = shown(member, make())
    for words in (
        "Spend No limit",
        "Requests a minute No limit",
        "All models",
        "All providers",
        "Any address",
        "Expires Never",
    ):
        assert words in told, words


def test_limits_that_it_shares_or_has_for_models_are_told_where_it_has_none_of_its_own(
    member: FlaskClient, make: Make, api: Api
) -> None:
    assert api("PATCH", "/v1/organization", {"spend_limit_usd": "1", "spend_reset": "monthly"}).status_code == 200
    key = make()
    told = shown(member, key)
    for words in (
        "Spend No limit of its own",
        "Spend of all keys $1.00 left 0 % of $1.00 a month · $0.00 spent · resets",
        "Requests a minute No limit",
    ):
        assert words in told, words
    assert "Requests a minute No limit of its own" not in told
    api("PATCH", "/v1/organization", {"rate_limit_rpm": 10})
    told = shown(member, key)
    assert "Requests a minute No limit of its own Requests a minute of all keys 10 in any 60 seconds" in told
    listed = text_of(member.get("/keys"))
    assert "All keys: $1.00 of $1 left" in listed
    assert "10 a minute, all keys" in listed
    assert "No limit " not in listed.partition("Last used")[2]
    api("PATCH", "/v1/organization", {"spend_limit_usd": None, "rate_limit_rpm": None})
    make("models alone", model_limits=[{"model": "*", "spend_limit_usd": "2", "spend_reset": "daily"}])
    assert "*: $2.00 of $2 left" in text_of(member.get("/keys"))


def test_what_is_left_comes_from_the_counters(
    app: Flask, member: FlaskClient, make: Make, live: LiveCounters, clock: Clock
) -> None:
    key = make("spender", spend_limit_usd="20", spend_reset="weekly", rate_limit_rpm=10)
    live.know(key.id)
    live.seed(key.id)
    live.spend(key.id, clock().date(), 12 * USD)
    live.hold(key.id, 2 * USD, "weekly")
    told = shown(member, key)
    assert "$6.00 left" in told
    assert "of $20.00 a week · $12.00 spent · $2.00 held by requests in flight · resets in 4 d" in told
    assert "Spent in all $12.00" in told
    assert "9 left of 10 in any 60 seconds" in told  # what is held is of one request


def test_both_secrets_are_listed_while_both_live(
    app: Flask, member: FlaskClient, make: Make, actor: Actor, clock: Clock
) -> None:
    key = make()
    with app.app_context():
        new = rotate_key(actor, key.id, {"grace_seconds": 3_600}).view
    told = shown(member, key)
    assert f"{new.prefix}… made just now" in told
    assert f"{key.prefix}… made just now, rotated out: opens it until 24 Nov 2026, 13:00 UTC" in told
    assert "Gave a key a new secret" in told
    assert "Old secret works on for: 1 h" in told


def test_usage_is_drawn_and_told_by_day_and_by_model(app: Flask, member: FlaskClient, make: Make) -> None:
    key, today = make(), START.date()
    posted(
        app,
        usage_of(key.id, today, "gpt-4o", 3, 3 * USD),
        usage_of(key.id, today, "gpt-4o-mini", 5, USD),
        usage_of(key.id, today - timedelta(days=6), "gpt-4o", 2, 2 * USD),
        usage_of(key.id, today - timedelta(days=40), "o3", 1_000, 50 * USD),
    )
    page = member.get(f"/keys/{key.id}?days=7")
    told = text_of(page)
    assert "Spend of 7 days: $6.00 in all, most on 24 Nov ($4.00)" in told
    assert "Requests of 7 days: 10 in all, most on 24 Nov (8)" in told
    assert "24 Nov 8 2,400 68 $4.00 18 Nov 2 1,200 34 $2.00" in told
    assert "gpt-4o 5 2,400 68 $5.00 83 % gpt-4o-mini 5 1,200 34 $1.00 16 %" in told
    assert page.text.count('role="img"') == 2
    assert page.text.count('class="day"') == 2 * 7
    assert "$50" not in told
    for query in ("", "?days=30", "?days=x", "?days=9999999999"):
        assert "Spend of 30 days: $6.00 in all" in text_of(member.get(f"/keys/{key.id}{query}"))
    part = member.get(f"/keys/{key.id}?days=90", headers={**HTMX, "HX-Target": "usage"})
    assert "Spend of 90 days: $56.00 in all, most on 15 Oct ($50.00)" in text_of(part)
    assert "<html" not in part.text
    assert "Limits and what is left" not in part.text


def test_requests_are_told_in_plain_words(app: Flask, member: FlaskClient, make: Make) -> None:
    key = make()
    posted(
        app,
        request_of(key.id, 2, first_byte_ms=320, duration_ms=1_400, sent_status=200),
        request_of(key.id, 4, outcome="provider_error", status=429, sent_status=429, flags=["estimated", "overrun"]),
        request_of(key.id, 6, requested_model="gpt-4o-latest", served_model="gpt-4o", outcome="client_gone"),
        request_of(key.id, 8, cost_nanos=-20_000_000, adjusts="req_0002", flags=["adjustment"]),
    )
    told = shown(member, key)
    assert "Answered" in told
    assert "1,003 in" in told
    assert "1.4 s 320 ms" in told
    assert ", request req_0002 " in told
    assert "Provider's error (429) cost estimated: the provider told no usage cost more than it could at most" in told
    assert "gpt-4o asked for gpt-4o-latest" in told
    assert "The app hung up" in told
    assert "A correction of an estimate the difference to what had been charged as an estimate" in told
    assert "\u2212$0.02" in told


def test_a_request_is_told_alike_wherever_it_is_told(app: Flask, org_id: str, member: FlaskClient, make: Make) -> None:
    """On the page of its key and among all requests, and its model in the sums as well."""
    key = make()
    posted(
        app,
        request_of(
            key.id,
            2,
            requested_model="asked",
            served_model="served",
            duration_ms=75_000,
            cost_nanos=-USD,
            org_id=org_id,
        ),
        request_of(
            key.id, 4, requested_model=None, served_model=None, duration_ms=12_300, outcome="client_gone", org_id=org_id
        ),
        usage_of(key.id, START.date(), "", 1, -USD),
    )
    of_key, of_all = member.get(f"/keys/{key.id}"), member.get("/requests")
    for page in (of_key, of_all):
        told = text_of(page)
        for words in ("served", "Model not known", "\u2212$1.00", "1 min 15 s", "12.3 s", "The app hung up"):
            assert words in told, words
        assert "served, asked for asked" in page.text or "served asked for asked" in told
        assert len(re.findall(r'<span class="pill pill-grey"[^>]*><svg.*?</svg>The app hung up', page.text)) == 1
        assert not re.search(r"-\$[0-9]|Not told", told)
    assert "Model not known 1 1,200 34 \u2212$1.00" in text_of(of_key)
    assert label("model", "", {}) == "Model not known"  # on Usage
    assert "served, asked for asked" in text_of(member.get("/requests/req_0002"))


def test_whatever_is_done_with_a_key_is_told_alike_on_its_page_and_in_the_audit_log(
    app: Flask, member: FlaskClient, make: Make, actor: Actor
) -> None:
    key = make("before", allowed_models=["gpt-4o"])
    with app.app_context():
        update_key(actor, key.id, {"name": "after", "rate_limit_rpm": 60})
        update_key(actor, key.id, {"paused": True})
        update_key(actor, key.id, {"paused": False})
        new = rotate_key(actor, key.id, {"grace_seconds": 3_600}).view
        end_old_secrets(actor, key.id)
        newest = rotate_key(actor, key.id, {"grace_seconds": 0}).view
        revoke_key(actor, key.id)
    # Each action, and its fields: label, before, after.
    expected: list[tuple[str, list[tuple[str, str, str]]]] = [
        ("Created a key", [("Models", "", "gpt-4o"), ("Name", "", "before"), ("Secret", "", f"{key.prefix}…")]),
        ("Changed a key", [("Name", "before", "after"), ("Requests a minute", "No limit", "60")]),
        ("Paused a key", []),
        ("Resumed a key", []),
        ("Gave a key a new secret", [("Old secret works on for", "", "1 h"), ("Secret", f"{key.prefix}…", f"{new.prefix}…")]),
        ("Ended the old secrets of a key", [("Secrets", f"{key.prefix}…", "")]),
        ("Gave a key a new secret", [("Old secret works on for", "", "Not at all"), ("Secret", f"{new.prefix}…", f"{newest.prefix}…")]),
        ("Revoked a key", [("Name", "", "after"), ("Secret", "", f"{newest.prefix}…")]),
    ]  # fmt: skip
    of_keys = {action for action in ACTIONS if action.startswith("key.") and not action.startswith("key.hand_over")}
    assert of_keys == {action for action, words in ACTIONS.items() if words in dict(expected)}
    history = text_of(member.get(f"/keys/{key.id}"))
    log = text_of(member.get(f"/audit?target={key.id}"))
    for action, fields in expected:
        assert f"{action} just now by" in history
        assert action in log
        for field, before, after in fields:
            arrow = " → " if before and after else ""
            assert f"{field}: {before}{arrow}{after}" in history
            assert f"{field}: {before}{arrow}{after}" in log
    assert "key." not in history.partition("History")[2].replace("this key.", "")


def test_the_history_says_what_was_before(app: Flask, member: FlaskClient, make: Make, actor: Actor) -> None:
    key = make("before", spend_limit_usd="5")
    with app.app_context():
        update_key(
            actor,
            key.id,
            {"name": "after", "spend_limit_usd": None, "allowed_providers": ["gemini"], "rate_limit_rpm": 1200},
        )
        update_key(actor, key.id, {"expires_at": "2027-01-01T02:00:00+02:00"})
        update_key(actor, key.id, {"paused": True})
    told = shown(member, key)
    for words in (
        "Paused a key just now by admin@example.com from 127.0.0.1", "Expires: Never → 1 Jan 2027, 00:00 UTC", "Name: before → after",
        "Spend limit: $5.00 → No limit", "Providers: All → Gemini", "Requests a minute: No limit → 1,200", "Created a key",
    ):  # fmt: skip
        assert words in told, words


HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "</title><svg>"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_stay_texts(app: Flask, member: FlaskClient, make: Make, actor: Actor, name: str) -> None:
    key = make(name)
    posted(
        app, refusal_of(key.id, "invalid_request", sentence=name, model=name), request_of(key.id, 2, served_model=name)
    )
    posted(app, usage_of(key.id, START.date(), name, 1, 1))
    with app.app_context():
        update_key(actor, key.id, {"name": f"{name}!"})
    page = member.get(f"/keys/{key.id}")
    assert name in unescape(page.text)
    assert not re.search(r"<script>|<img|</title><svg>", page.text.partition("</head>")[2])
    assert page.text.count("</title>") == 1 + 2 + 2 * 30


def test_examples_name_no_secret_and_who_is_left_out(app: Flask, member: FlaskClient, make: Make, actor: Actor) -> None:
    with app.app_context():
        store_credentials(actor, {"openai": "sk-real-openai", "anthropic": "sk-real-anthropic"})
    key = make(allowed_models=["gpt-4o*"])
    told = shown(member, key)
    assert "Authorization: Bearer $ROUTER_KEY" in told
    assert "export ROUTER_KEY=" not in told
    assert (
        "Not for Python (Anthropic), Claude Code: no model of Anthropic that they can use is among the allowed models."
        in told
    )
    assert "Not for Python (Google), Gemini CLI: the router has no credential of Gemini that can be used." in told
    strange = shown(member, make(allowed_models=["mine-*"]))
    assert "put one in the place of MODEL" in strange
