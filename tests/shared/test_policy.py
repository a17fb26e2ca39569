"""What a key may do. Time is an argument; nothing here waits or connects."""

import re
from dataclasses import replace
from ipaddress import ip_address, ip_network
from string import Formatter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from policy_kit import ASK, NOW, OPEN

from shared.policy import (
    ERRORS,
    RULES,
    Allow,
    Charges,
    Deny,
    KeySnapshot,
    PolicyQuery,
    Reason,
    check_key,
    evaluate,
    matches_model,
)


def reason(key: KeySnapshot, ask: PolicyQuery = ASK, now: float = NOW) -> Reason | None:
    verdict = evaluate(key, ask, now)
    return verdict.reason if isinstance(verdict, Deny) else None


def test_it_works() -> None:
    assert evaluate(OPEN, ASK, NOW) == Allow(Charges(None, None, 5))


def test_limits_become_charges() -> None:
    key = replace(OPEN, rate_limit_rpm=60, spend_limit_nanos=100)
    assert evaluate(key, ASK, NOW) == Allow(Charges(60, 100, 5))


def test_a_revoked_key_is_refused() -> None:
    assert reason(replace(OPEN, revoked=True)) is Reason.KEY_REVOKED


def test_a_key_expires_at_its_moment_and_not_before() -> None:
    key = replace(OPEN, expires_at=NOW)
    assert reason(key, now=NOW - 0.001) is None
    assert reason(key, now=NOW) is Reason.KEY_EXPIRED


def test_a_paused_key_is_refused_and_told_who_can_resume_it() -> None:
    verdict = evaluate(replace(OPEN, paused=True), ASK, NOW)
    assert isinstance(verdict, Deny)
    assert verdict.reason is Reason.KEY_PAUSED
    told = ERRORS[verdict.reason]
    assert (told.status, told.retry) == (403, False)
    assert "sk-proxy-a1b2" in verdict.sentence()
    assert "administrator" in told.text


def test_an_address_outside_the_list_is_refused() -> None:
    key = replace(OPEN, allowed_networks=(ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")))
    assert reason(key) is Reason.IP_BLOCKED
    assert reason(key, structs.replace(ASK, client_ip=ip_address("10.9.9.9"))) is None
    assert reason(key, structs.replace(ASK, client_ip=ip_address("2001:db8::1"))) is None


def test_an_unknown_address_passes_only_where_any_may() -> None:
    nobody = structs.replace(ASK, client_ip=None)
    assert reason(OPEN, nobody) is None
    assert reason(replace(OPEN, allowed_networks=(ip_network("0.0.0.0/0"),)), nobody) is Reason.IP_BLOCKED


def test_a_provider_outside_the_list_is_refused() -> None:
    key = replace(OPEN, allowed_providers=frozenset({"anthropic"}))
    assert reason(key) is Reason.PROVIDER_NOT_ALLOWED
    assert reason(key, structs.replace(ASK, provider="anthropic")) is None


def test_a_model_outside_the_globs_is_refused() -> None:
    key = replace(OPEN, allowed_models=("gpt-4o*", "anthropic/claude-*"))
    assert reason(key) is None
    assert reason(key, structs.replace(ASK, model="gpt-4o-mini")) is None
    assert reason(key, structs.replace(ASK, model="gpt-4.1")) is Reason.MODEL_NOT_ALLOWED
    assert reason(key, structs.replace(ASK, model=None)) is Reason.MODEL_NOT_ALLOWED
    assert reason(key, structs.replace(ASK, model="claude-x", provider="anthropic")) is None
    assert reason(key, structs.replace(ASK, model="claude-x")) is Reason.MODEL_NOT_ALLOWED


@pytest.mark.parametrize("model", ["GPT-4o", "gpt-4o ", "xgpt-4o", "gpt-40", "gpt-4\u043e", "gpt-4"])
def test_look_alikes_do_not_match(model: str) -> None:
    assert not matches_model("gpt-4o", "openai", model)


def test_globs_know_stars_and_question_marks_only() -> None:
    assert matches_model("gpt-?o", "openai", "gpt-4o")
    assert matches_model("*", "openai", "anything\nat all")
    assert not matches_model("gpt-[45]o", "openai", "gpt-4o")
    assert matches_model("gpt-[45]o", "openai", "gpt-[45]o")
    assert not matches_model("gpt.4o", "openai", "gpt-4o")


def test_an_endpoint_without_a_meter_is_refused_under_a_spend_limit_only() -> None:
    unmetered = structs.replace(ASK, metered=False, model=None, bound_nanos=None)
    assert reason(OPEN, unmetered) is None
    assert reason(replace(OPEN, spend_limit_nanos=1), unmetered) is Reason.ENDPOINT_NOT_METERED


def test_a_model_without_a_price_is_refused_under_a_spend_limit_only() -> None:
    unpriced = structs.replace(ASK, bound_nanos=None)
    assert evaluate(OPEN, unpriced, NOW) == Allow(Charges(None, None, 0))
    assert reason(replace(OPEN, spend_limit_nanos=0), unpriced) is Reason.MODEL_NOT_PRICED


def test_a_feature_without_a_price_is_named() -> None:
    verdict = evaluate(
        replace(OPEN, spend_limit_nanos=5), structs.replace(ASK, bound_nanos=None, unpriced="background mode"), NOW
    )
    assert isinstance(verdict, Deny)
    told = verdict.sentence()
    assert told.startswith("Nobody can tell in advance what background mode costs (the model gpt-4o, openai)")
    assert (verdict.facts["model"], verdict.facts["unpriced"]) == ("gpt-4o", "background mode")


def test_a_class_without_a_price_is_named() -> None:
    verdict = evaluate(
        replace(OPEN, spend_limit_nanos=5), structs.replace(ASK, bound_nanos=None, unpriced="output_audio_tokens"), NOW
    )
    assert isinstance(verdict, Deny)
    told = verdict.sentence()
    assert told.startswith("No price is known for output audio tokens of the model gpt-4o (openai)")


def test_facts_for_machines_have_the_types_of_the_api() -> None:
    key = replace(OPEN, allowed_models=("claude-*", "o3"), allowed_providers=frozenset({"openai", "anthropic"}))
    verdict = evaluate(key, ASK, NOW)
    assert isinstance(verdict, Deny)
    assert (verdict.facts["model"], verdict.facts["allowed_models"]) == ("gpt-4o", ["claude-*", "o3"])
    told = verdict.sentence()
    assert "may not use the model gpt-4o. Allowed: claude-*, o3." in told
    verdict = evaluate(key, structs.replace(ASK, provider="gemini"), NOW)
    assert isinstance(verdict, Deny)
    assert verdict.facts["allowed_providers"] == ["anthropic", "openai"]


def test_what_is_free_needs_no_money() -> None:
    free = structs.replace(ASK, free=True, bound_nanos=None)
    assert evaluate(replace(OPEN, spend_limit_nanos=0), free, NOW) == Allow(Charges(None, None, 0))


def test_the_order_is_the_contracts() -> None:
    worst = replace(
        OPEN, revoked=True, expires_at=NOW - 1, paused=True, allowed_networks=(ip_network("10.0.0.0/8"),),
        allowed_providers=frozenset({"gemini"}), allowed_models=("none",), spend_limit_nanos=1,
    )  # fmt: skip
    ask = structs.replace(ASK, metered=False, bound_nanos=None)
    seen = []
    mends: tuple[dict[str, Any], ...] = (
        {"revoked": False}, {"expires_at": None}, {"paused": False}, {"allowed_networks": ()}, {"allowed_providers": frozenset()},
        {"allowed_models": ()}, {"spend_limit_nanos": None},
    )  # fmt: skip
    for mend in mends:
        seen.append(reason(worst, ask))
        worst = replace(worst, **mend)
    assert seen == [
        Reason.KEY_REVOKED, Reason.KEY_EXPIRED, Reason.KEY_PAUSED, Reason.IP_BLOCKED, Reason.PROVIDER_NOT_ALLOWED,
        Reason.MODEL_NOT_ALLOWED, Reason.ENDPOINT_NOT_METERED,
    ]  # fmt: skip
    assert reason(worst, ask) is None


@given(
    st.builds(
        PolicyQuery, st.sampled_from([None, ip_address("10.1.2.3"), ip_address("11.1.2.3")]), st.sampled_from(["openai", "gemini"]),
        st.sampled_from([None, "gpt-4o", "o3"]), st.booleans(), st.booleans(), st.sampled_from([None, 0, 5]),
    ),
    st.booleans(), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_what_is_left_out_for_a_key_or_a_request_would_refuse_nothing(
    ask: PolicyQuery, limited: bool, here: bool, one: bool, some: bool
) -> None:
    key = replace(
        OPEN, spend_limit_nanos=100 if limited else None, allowed_networks=(ip_network("10.0.0.0/8"),) if here else (),
        allowed_providers=frozenset({"openai"}) if one else frozenset(), allowed_models=("gpt*",) if some else (),
        expires_at=NOW + 1,
    )  # fmt: skip
    for _ in range(2):
        expected = next((deny for rule, _ in RULES if (deny := rule(key, ask, NOW)) is not None), None)
        verdict = evaluate(key, ask, NOW)
        assert (verdict if isinstance(verdict, Deny) else None) == expected


def test_an_address_that_was_let_in_lets_in_no_other() -> None:
    inside, outside = ip_address("10.1.2.3"), ip_address("11.1.2.3")
    key = replace(OPEN, allowed_networks=(ip_network("10.0.0.0/8"),))
    for _ in range(2):
        assert check_key(key, inside, NOW) is None
        assert reason(key, structs.replace(ASK, client_ip=inside)) is None
        for stranger in (outside, None):
            assert check_key(key, stranger, NOW) is not None
            assert reason(key, structs.replace(ASK, client_ip=stranger)) is Reason.IP_BLOCKED
    edited = replace(key, allowed_networks=(ip_network("11.0.0.0/8"),))
    assert check_key(edited, inside, NOW) is not None


def test_a_key_that_was_let_in_expires_all_the_same() -> None:
    inside = ip_address("10.1.2.3")
    key = replace(OPEN, allowed_networks=(ip_network("10.0.0.0/8"),), expires_at=NOW, allowed_models=("gpt-*",))
    assert reason(key, structs.replace(ASK, client_ip=inside), NOW - 1) is None
    assert check_key(key, inside, NOW) is not None
    assert reason(key, structs.replace(ASK, client_ip=inside), NOW) is Reason.KEY_EXPIRED


@pytest.mark.parametrize("tail", ["", "-" * 100])
def test_what_a_pattern_covers_is_remembered_by_provider_and_model(tail: str) -> None:
    key = replace(OPEN, allowed_models=("openai/gpt-*",))
    for _ in range(2):
        assert reason(key, structs.replace(ASK, model=f"gpt-4o{tail}")) is None
        assert reason(key, structs.replace(ASK, model=f"gpt-4o{tail}", provider="gemini")) is Reason.MODEL_NOT_ALLOWED
        assert reason(key, structs.replace(ASK, model=f"o3{tail}")) is Reason.MODEL_NOT_ALLOWED
        assert reason(replace(key, allowed_models=("o3*",)), structs.replace(ASK, model=f"o3{tail}")) is None


def test_the_door_needs_no_more_than_the_head() -> None:
    assert check_key(OPEN, None, NOW) is None
    refused = check_key(replace(OPEN, revoked=True), None, NOW)
    assert refused is not None
    assert refused.reason is Reason.KEY_REVOKED
    refused = check_key(replace(OPEN, paused=True), None, NOW)
    assert refused is not None
    assert refused.reason is Reason.KEY_PAUSED


@given(st.booleans(), st.none() | st.floats(0, 2e9), st.none() | st.integers(0, 100), st.booleans(), st.booleans())
def test_every_refusal_has_the_facts_its_text_needs(
    revoked: bool, expires_at: float | None, limit: int | None, metered: bool, strict: bool
) -> None:
    key = replace(
        OPEN, revoked=revoked, expires_at=expires_at, spend_limit_nanos=limit,
        allowed_models=("a*",) if strict else (), allowed_providers=frozenset({"gemini"}) if strict else frozenset(),
    )  # fmt: skip
    verdict = evaluate(key, structs.replace(ASK, metered=metered, bound_nanos=None), NOW)
    if isinstance(verdict, Deny):
        text = verdict.sentence()
        assert "None" not in text


def test_every_reason_stands_in_the_table_and_blames_nobody_for_quotas() -> None:
    assert set(ERRORS) == set(Reason)
    for rule in ERRORS.values():
        list(Formatter().parse(rule.text))
        assert "quota" not in rule.text.lower()
        assert "credits" not in rule.text.lower()


def test_a_glob_of_many_stars_takes_no_longer_than_one_of_few() -> None:
    model = "a" * 200
    assert not matches_model("*a" * 30 + "b", "openai", model)  # by trying all places, longer than the sun will last
    assert matches_model("*a" * 30, "openai", model)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_a_glob_means_what_the_plain_expression_means(pattern: str, model: str) -> None:
    plain = "".join(".*" if c == "*" else "." if c == "?" else c for c in pattern)
    assert matches_model(pattern, "openai", model) == (re.fullmatch(plain, model) is not None)
