"""The words and figures of the pages: money, time, badges, spend, hints. Pure functions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from webapp.pages.key_hints import model_hints
from webapp.pages.key_presenter import access, badge, pausing, rate, spend
from webapp.render import dollars, relative, sentence, span
from webapp.views.keys import KeyView
from webapp.views.spend import SpendView

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
USD = 1_000_000_000


def view(spent: int = 0, held: int = 0, limit: int | None = None, **fields: Any) -> KeyView:
    money = SpendView(
        spent_usd="0.00",
        held_usd="0.00",
        remaining_usd=None,
        period_start=None,
        resets_at=fields.pop("resets_at", None),
        lifetime_usd="0.00",
        spent_nanos=spent,
        held_nanos=held,
        remaining_nanos=None,
        lifetime_nanos=spent,
    )
    plain = KeyView(
        id="key_1",
        name="a",
        prefix="sk-proxy-a1b2",
        status="active",
        paused=False,
        allowed_providers=(),
        allowed_models=(),
        allowed_ips=(),
        rate_limit_rpm=None,
        spend_limit_usd=None,
        spend_limit_nanos=limit,
        spend_reset="never",
        expires_at=None,
        created_at=NOW,
        created_by="x",
        last_used_at=None,
        revoked_at=None,
        version=1,
        spend=money,
    )
    return replace(plain, **fields)


def test_it_works() -> None:
    facts = spend(view(12 * USD, limit=20 * USD, spend_reset="weekly", resets_at=NOW + timedelta(days=6)), NOW)
    assert (facts.text, facts.note, facts.percent) == ("$12.00 of $20 a week", "60 % · resets in 6 d", 60)


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (3_412_345, "$0.0034"),
        (9_999_999, "$0.0099"),
        (10_000_000, "$0.01"),
        (19_999_999_999, "$19.99"),
        (1_234_567_891_000_000, "$1,234,567.89"),
    ],
)
def test_dollars(nanos: int, text: str) -> None:
    assert dollars(nanos) == text


@pytest.mark.parametrize(
    ("key", "label"),
    [
        (view(limit=0, status="revoked"), "Revoked"),
        (view(limit=0, status="expired"), "Expired"),
        (view(limit=0, status="paused"), "Paused"),
        (view(limit=0), "Blocked"),
        (view(5 * USD, limit=5 * USD, expires_at=NOW + timedelta(days=1)), "Over limit"),
        (view(4 * USD, limit=5 * USD, expires_at=NOW + timedelta(days=7)), "Expires soon"),
        (view(4 * USD, limit=5 * USD, expires_at=NOW + timedelta(days=8)), "Near limit"),
        (view(4 * USD - 1, limit=5 * USD), "Active"),
        (view(500 * USD), "Active"),
    ],
)
def test_the_badge_tells_what_matters_most(key: KeyView, label: str) -> None:
    told = badge(key, NOW)
    assert told.label == label
    assert told.hint


@pytest.mark.parametrize(
    ("status", "paused", "offered"),
    [
        ("active", False, "pause"),
        ("paused", True, "resume"),
        ("expired", False, None),
        ("expired", True, "resume"),
        ("revoked", True, None),
    ],
)
def test_one_click_is_offered_where_it_does_something(status: str, paused: bool, offered: str | None) -> None:
    assert pausing(view(status=status, paused=paused)) == offered


def test_spend_without_a_limit_is_the_total() -> None:
    assert spend(view(3 * USD), NOW).text == "No limit"
    assert spend(view(3 * USD), NOW).note == "$3.00 in total"
    assert spend(view(3 * USD), NOW).percent is None


def test_spend_says_what_is_held_and_what_is_too_much() -> None:
    assert "$1.50 held" in spend(view(USD, held=3 * USD // 2, limit=10 * USD), NOW).note
    over = spend(view(11 * USD, limit=10 * USD), NOW)
    assert (over.tone, over.percent, over.note) == ("red", 100, "110 % · never resets")
    assert spend(view(8 * USD, limit=10 * USD), NOW).tone == "amber"
    assert spend(view(8 * USD - 1, limit=10 * USD), NOW).tone == "green"
    assert spend(view(limit=0), NOW).text == "Blocked"


def test_access_is_counted_and_listed_whole() -> None:
    assert access(view()).summary == "Everything"
    told = access(view(allowed_providers=("gemini",), allowed_models=("a*", "b*"), allowed_ips=("::1",)))
    assert told.summary == "Gemini · 2 model patterns · 1 IP range"
    assert told.details[1] == ("Models", ("a*", "b*"))


def test_rates_and_times() -> None:
    assert [rate(None), rate(1), rate(1200)] == ["No limit", "1 a minute", "1,200 a minute"]
    assert relative(None, NOW) == ""
    assert relative(NOW - timedelta(seconds=10), NOW) == "just now"
    assert relative(NOW - timedelta(minutes=5), NOW) == "5 min ago"
    assert relative(NOW + timedelta(hours=30), NOW) == "in 1 d"
    assert span(timedelta(seconds=-5)) == "0 s"
    assert [sentence("must be x"), sentence("did you?"), sentence("")] == ["Must be x.", "Did you?", "."]


def test_hints_count_across_the_ticked_providers() -> None:
    both = model_hints(["*"], [])[0].text
    one = model_hints(["*"], ["gemini"])[0].text
    assert int(both.split()[1]) > int(one.split()[1]) > 5
