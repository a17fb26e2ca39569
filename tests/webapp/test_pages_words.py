"""The words and figures of the pages: money, time, badges, spend, hints. Pure functions."""

from datetime import timedelta

import pytest
from key_views_kit import NOW, USD, model_limit, view

from webapp.pages.key_hints import ip_hints, model_hints
from webapp.pages.key_presenter import access, badge, pausing, rate, spend, when
from webapp.render import dollars, relative, sentence, span, with_code
from webapp.views.attention import Judgement, State


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


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_badge(state: State) -> None:
    told = badge(Judgement(state, "In short", "Because.", "Do this."))
    assert told.label
    assert (told.cause, told.hint) == ("In short", "Because. Do this.")


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


def test_spend_without_a_limit_says_so() -> None:
    facts = spend(view(3 * USD), NOW)
    assert (facts.text, facts.note, facts.percent) == ("$3.00", "No limit", None)
    limits = (model_limit("gpt-*", USD, 0), model_limit("o3", 100 * USD, 90 * USD))
    facts = spend(view(3 * USD, held=USD, model_limits=limits), NOW)
    assert (facts.text, facts.note) == ("$3.00", "o3: $10.00 of $100 left · $1.00 held")


def test_spend_says_what_is_held_and_what_is_too_much() -> None:
    assert "$1.50 held" in spend(view(USD, held=3 * USD // 2, limit=10 * USD), NOW).note
    over = spend(view(11 * USD, limit=10 * USD), NOW)
    assert (over.tone, over.percent, over.note) == ("red", 100, "110 % · never resets")
    assert spend(view(8 * USD, limit=10 * USD), NOW).tone == "amber"
    assert spend(view(8 * USD - 1, limit=10 * USD), NOW).tone == "green"
    none = spend(view(limit=0), NOW)
    assert (none.text, none.note, none.percent) == ("$0.00 of $0", "Blocked", None)


def test_access_shows_the_first_of_each_list_and_lists_all() -> None:
    assert access(view()).chips == ()
    told = access(view(allowed_providers=("gemini",), allowed_models=("a*", "b*"), allowed_ips=("::1",)))
    assert (told.chips, told.more) == (("a*", "Gemini"), 2)
    assert told.details == (("Models", ("a*", "b*")), ("Providers", ("Gemini",)), ("From", ("::1",)))
    assert access(view(allowed_models=("gpt-4o*", "o3", "o4"))).chips == ("gpt-4o*", "o3")


def test_what_is_years_away_is_a_day() -> None:
    """FINDINGS D11: "in 2912114 d"."""
    assert when(NOW + timedelta(days=365), NOW) == "in 365 d"
    assert when(NOW.replace(year=9999), NOW) == "24 Nov 9999"
    assert when(NOW - timedelta(days=400), NOW) == "20 Oct 2025"
    assert when(None, NOW) == ""


def test_hints_say_what_the_judge_says() -> None:
    """FINDINGS D7: what a hint calls wrong is refused, and what it lets pass is not."""
    assert "is not a model pattern" in model_hints(["[abc]"], [])[0].text
    assert "Anthropic is not ticked" in model_hints(["anthropic/claude-*"], ["openai"])[0].text
    assert ip_hints(["10.1.2.3/32", "2001:db8::1/128"])[0].text == "is one address alone, the same as 10.1.2.3."
    assert [hint.tone for hint in ip_hints(["10.1.2.3/32", "10.1.2.3", "10.0.0.1/8"])] == ["ok", "warn"]


def test_rates_and_times() -> None:
    assert [rate(None, None), rate(1, None), rate(1200, None)] == ["No limit", "1 a minute", "1,200 a minute"]
    assert rate(None, 30_000) == "30,000 tokens a minute"
    assert rate(60, 30_000) == "60 and 30,000 tokens a minute"
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


def test_a_limit_for_models_that_stops_it_first_is_told_first() -> None:
    """With a limit of its own that is far away as well."""
    near, far = model_limit("gpt-4o", 5 * USD, 4 * USD), model_limit("o3", 100 * USD, 10 * USD)
    facts = spend(view(4 * USD, limit=20 * USD, model_limits=(far, near)), NOW)
    said = ("amber", 80, "$4.00 of $5 in total", "gpt-4o \u00b7 80 % \u00b7 never resets")
    assert (facts.tone, facts.percent, facts.text, facts.note) == said
    assert facts.exact.startswith("In all models $4.00 of $20 in total: Spent $4.00")
    facts = spend(view(4 * USD, limit=20 * USD, model_limits=(model_limit("gpt-4o", USD, USD),)), NOW)
    assert (facts.tone, facts.note) == ("red", "gpt-4o \u00b7 100 % \u00b7 never resets")
    for limits in ((far,), (model_limit("gpt-4o", 10 * USD, 8 * USD),)):
        facts = spend(view(18 * USD, limit=20 * USD, model_limits=limits), NOW)
        assert (facts.tone, facts.note) == ("amber", "90 % \u00b7 never resets")


def test_names_between_backticks_are_code() -> None:
    assert with_code("a `b` <c> `<d>`") == "a <code>b</code> &lt;c&gt; <code>&lt;d&gt;</code>"
    assert with_code("no `end <") == "no `end &lt;"
