"""What comes before the counters, and how their answers are worded: facts in the API's own names and types."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import partial

import pytest
from msgspec import structs

from shared.counters import (
    OrganizationRefused,
    RateLimited,
    RateState,
    SpendExceeded,
    SpendHeld,
    SpendState,
    TooManyConcurrent,
)
from shared.judgement import (
    LEAST_BOUND,
    explained,
    judge,
    nobodys_model,
    not_configured,
    rate_limited,
    refused,
    spend_refused,
)
from shared.organization_limits import OrganizationLimits
from shared.policy import Allow, Deny, KeySnapshot, Reason, SpendBoost
from shared.pricing import Bound, BoundPart, Size

NOW = 1_795_521_600.0  # 2026-11-24T12:00:00Z
OPEN = KeySnapshot(
    "key_1", "org_1", "app", "sk-proxy-a1b2", False, None, False, frozenset(), (), (), None, None, "daily"
)
CAPPED = replace(OPEN, spend_limit_nanos=1_000_000_000)
TEXT = Size(1_000)
SPEND = SpendState(1_000_000_000, 600_000_000, 300_000_000, 100_000_000, date(2026, 11, 24), date(2026, 11, 25))


def nobody_asks(*_: object, **__: bool) -> int | None:
    raise AssertionError("what is left was asked for")


def told(asked: list[bool], left: dict[bool, int], *_: object, lately: bool) -> int:
    asked.append(lately)
    return left[lately]


def test_it_works() -> None:
    verdict, bound_nanos, output_limit = judge(
        CAPPED, None, "openai", "gpt-4o", TEXT, lambda *_, **__: 1_000_000_000, None, NOW, free=False
    )
    assert isinstance(verdict, Allow)
    assert bound_nanos == verdict.charges.bound_nanos
    assert output_limit is not None
    assert 0 < bound_nanos <= 1_000_000_000 // 8


def test_what_is_left_is_asked_where_we_set_a_limit_and_nowhere_else() -> None:
    for key, size, free in (
        (OPEN, TEXT, False),
        (CAPPED, structs.replace(TEXT, output_limit=5), False),
        (CAPPED, structs.replace(TEXT, output_free=True), False),
        (CAPPED, TEXT, True),
        (CAPPED, None, False),
    ):
        judge(key, None, "openai", "gpt-4o", size, nobody_asks, None, NOW, free=free)
    _, _, output_limit = judge(CAPPED, None, "openai", "gpt-4o", TEXT, lambda *_, **__: None, None, NOW, free=False)
    assert output_limit is None


def test_no_question_goes_out_where_no_output_limit_is_set_by_the_answer() -> None:
    """That could be one more round trip for every request of a key that is used now and then."""
    for then, now, questions, is_set in (
        (10**12, 0, [False], False),
        (0, 10**12, [False, True], False),
        (1_000_000_000, 1_000_000_000, [False, True], True),
    ):
        asked: list[bool] = []
        left = partial(told, asked, {False: then, True: now})
        _, _, output_limit = judge(CAPPED, None, "openai", "gpt-4o", TEXT, left, None, NOW, free=False)
        assert (asked, output_limit is not None) == (questions, is_set)


def test_why_nobody_can_bound_it_is_named_on_keys_with_a_limit() -> None:
    size = structs.replace(TEXT, unpriced="background mode")
    verdict, _, _ = judge(CAPPED, None, "openai", "gpt-4o", size, lambda *_, **__: 1, None, NOW, free=False)
    assert isinstance(verdict, Deny)
    assert (verdict.reason, verdict.facts["unpriced"]) == (Reason.MODEL_NOT_PRICED, "background mode")
    assert isinstance(judge(OPEN, None, "openai", "gpt-4o", size, nobody_asks, None, NOW, free=False)[0], Allow)


def test_a_rate_is_refused_with_facts_of_the_api() -> None:
    deny = rate_limited(OPEN, RateLimited(RateState(60, 0, 1_795_521_661), 4.2))
    assert deny.facts == {
        "prefix": "sk-proxy-a1b2", "rate_limit_rpm": 60, "remaining_requests": 0, "retry_after_seconds": 5,
        "resets_at": "2026-11-24T12:01:01Z",
    }  # fmt: skip
    assert deny.sentence().endswith("is limited to 60 requests per minute. The next one is admitted in 5 s.")


def test_money_is_refused_with_facts_of_the_api() -> None:
    bound = explained("openai", "gpt-4o", TEXT, 100_000_000, 100_000, None, NOW)
    deny = spend_refused(CAPPED, SpendExceeded(SPEND), bound)
    assert deny.reason is Reason.SPEND_EXCEEDED
    told = dict(deny.facts)
    parts = told.pop("bound")
    assert told == {
        "prefix": "sk-proxy-a1b2", "spend_limit_usd": "1.00", "spend_limit_boost_usd": None,
        "spend_limit_boost_until": None, "limit_usd": "1.00", "spend_reset": "daily", "spent_usd": "0.60",
        "held_usd": "0.30", "remaining_usd": "0.10", "period_start": "2026-11-24T00:00:00Z",
        "resets_at": "2026-11-25T00:00:00Z", "needed_usd": "1.705338", "affordable_max_tokens": 5_568,
    }  # fmt: skip
    assert parts["output"] == {"tokens": 100_000, "usd_per_million": "17", "usd": "1.70"}  # type: ignore[index, call-overload]
    assert "It resets at 2026-11-25T00:00:00Z." in deny.sentence()
    held = spend_refused(replace(CAPPED, spend_reset="never"), SpendHeld(SPEND, 3), LEAST_BOUND)
    assert (held.reason, held.facts["retry_after_seconds"]) == (Reason.SPEND_HELD, 3)
    assert "(in all)" in held.sentence()


def test_a_raise_is_told_apart_from_the_limit_it_raises() -> None:
    raised = replace(CAPPED, boost=SpendBoost(250_000_000, 1_795_608_000.0))
    for result in (SpendExceeded(SPEND), SpendHeld(SPEND, 3)):
        deny = spend_refused(raised, result, LEAST_BOUND)
        names = ("spend_limit_usd", "spend_limit_boost_usd", "spend_limit_boost_until", "limit_usd")
        assert [deny.facts[name] for name in names] == ["0.75", "0.25", "2026-11-25T12:00:00Z", "1.00"]
        assert "may spend $1.00 (daily, $0.25 of it a raise until 2026-11-25T12:00:00Z). Spent:" in deny.sentence()
    size = structs.replace(TEXT, unpriced="background mode")
    verdict, _, _ = judge(raised, None, "openai", "gpt-4o", size, lambda *_, **__: 1, None, NOW, free=False)
    assert isinstance(verdict, Deny)
    assert verdict.facts["spend_limit_usd"] == "0.75"


def nobody_explains(_: SpendState) -> Bound:
    raise AssertionError("it is not money")


def test_requests_at_once_are_refused_with_facts_of_the_api() -> None:
    deny = refused(OPEN, TooManyConcurrent(3, 4), nobody_explains)
    assert deny.facts == {
        "prefix": "sk-proxy-a1b2",
        "max_concurrent_requests": 3,
        "requests_in_flight": 4,
        "retry_after_seconds": 1,
    }
    assert "may have 3 requests in flight at once, and has 4" in deny.sentence()


def test_what_all_keys_use_together_is_refused_by_the_organisations_own_limits() -> None:
    raised = replace(CAPPED, boost=SpendBoost(250_000_000, 1_795_608_000.0))
    member = replace(raised, organization=OrganizationLimits(60, 1_000_000_000, "never"))
    limited = refused(member, OrganizationRefused(RateLimited(RateState(60, 0, 1_795_521_661), 4.2)), nobody_explains)
    assert (limited.reason, limited.facts["rate_limit_rpm"]) == (Reason.ORGANIZATION_RATE_LIMITED, 60)
    assert limited.sentence().startswith("All keys of the organisation of the proxy key sk-proxy-a1b2... are limited")
    for refusal, reason in (
        (SpendExceeded(SPEND), Reason.ORGANIZATION_SPEND_EXCEEDED),
        (SpendHeld(SPEND, 3), Reason.ORGANIZATION_SPEND_HELD),
    ):
        own = refused(member, refusal, lambda _: LEAST_BOUND)
        deny = refused(member, OrganizationRefused(refusal), lambda _: LEAST_BOUND)
        assert (own.facts["spend_reset"], deny.facts["spend_reset"]) == ("daily", "never"), "each its own period"
        assert deny.reason is reason
        assert own.reason is not reason
        assert "may spend $1.00 together (in all)" in deny.sentence()
        assert (own.facts["spend_limit_boost_usd"], own.facts["limit_usd"]) == ("0.25", "1.00")
        assert deny.facts["spend_limit_usd"] == "1.00"
        assert not {"spend_limit_boost_usd", "limit_usd"} & deny.facts.keys(), "the raise is the key's alone"


def test_a_key_without_a_limit_is_bound_and_bounded_by_its_organisations() -> None:
    member = replace(OPEN, organization=OrganizationLimits(None, 1_000_000_000, "never"))
    verdict, bound_nanos, output_limit = judge(
        member, None, "openai", "gpt-4o", TEXT, lambda *_, **__: 1_000_000_000, None, NOW, free=False
    )
    assert isinstance(verdict, Allow)
    assert output_limit is not None
    assert bound_nanos is not None
    assert 0 < bound_nanos <= 1_000_000_000 // 8
    assert (verdict.charges.spend_limit_nanos, verdict.charges.organization) == (None, member.organization)
    rate_alone = replace(OPEN, organization=OrganizationLimits(5, None, "never"))
    assert judge(rate_alone, None, "openai", "gpt-4o", TEXT, nobody_asks, None, NOW, free=False)[2] is None


def test_a_period_without_an_end_has_no_moments() -> None:
    ever = SPEND._replace(period_start=date(1970, 1, 1), resets_on=None)
    fee = Bound(5, LEAST_BOUND.input, LEAST_BOUND.output, {"web_searches": BoundPart(2, Decimal("0.01"), 5)}, None)
    deny = spend_refused(CAPPED, SpendExceeded(ever), fee)
    assert (deny.facts["period_start"], deny.facts["resets_at"]) == (None, None)
    assert "2 web searches at $10 a thousand" in deny.sentence()
    assert deny.sentence().endswith("It never resets.")


@pytest.mark.parametrize(
    ("model", "globs", "reason"),
    [
        ("nobodys", (), Reason.INVALID_REQUEST),
        (None, (), Reason.INVALID_REQUEST),
        ("nobodys", ("a*",), Reason.MODEL_NOT_ALLOWED),
        (None, ("a*",), Reason.MODEL_NOT_ALLOWED),
    ],
)
def test_a_model_that_no_provider_is_known_for(model: str | None, globs: tuple[str, ...], reason: Reason) -> None:
    deny = nobodys_model(replace(OPEN, allowed_models=globs), model)
    assert deny.reason is reason
    assert deny.facts.get("param", "model") == "model"
    assert ("model is missing" in deny.sentence()) == (model is None and not globs)


def test_a_provider_is_named_for_machines_by_its_slug() -> None:
    deny = not_configured("openai", "OpenAI")
    assert deny.facts == {"provider": "openai"}
    assert "No credential for OpenAI" in deny.sentence()
