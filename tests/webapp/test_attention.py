"""What is wrong with a key: the worst first, in words, and no longer than it is true."""

from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from key_views_kit import NOW, USD, model_limit, view

from shared.catalog import PROVIDERS
from shared.policy import Deny, KeySnapshot, PolicyQuery, Reason, evaluate
from webapp.views.attention import LATELY, LONGEST_BLOCK, Facts, State, judge
from webapp.views.key_lists import contradiction, open_places
from webapp.views.keys import KeyView
from webapp.views.refusal_help import HELP
from webapp.views.requests import RefusalView
from webapp.views.standing_refusals import Shared, stands


def refusal(reason: str, message: str = "No.", **fields: Any) -> RefusalView:
    told = {
        "count": 1,
        "last_at": NOW - timedelta(seconds=5),
        "status": 403,
        "model": "gpt-4o",
        "client_ip": "10.0.0.1",
    }
    return RefusalView(key_id="key_1", reason=reason, message=message, request_id="req_1", **{**told, **fields})


def judged(key: KeyView, *refusals: RefusalView, usual: int | None = None) -> tuple[State, str]:
    found = judge(key, Facts(refusals, usual), NOW)
    assert found.why.endswith(".")
    assert found.cure.endswith(".")
    return found.state, found.cause


def test_it_works() -> None:
    key = view(allowed_models=("gpt-4o*",), last_used_at=NOW - timedelta(hours=1))
    refused = refusal("model_not_allowed", "The proxy key sk-proxy-a1b2... may not use the model o3.", model="o3")
    found = judge(key, Facts((refused,)), NOW)
    assert (found.state, found.cause, found.refusal) == (State.BLOCKED, "Model not allowed", refused)
    assert "may not use the model o3." in found.why
    assert "Add the model" in found.cure


@pytest.mark.parametrize(
    ("key", "state"),
    [
        (view(limit=0, status="revoked"), State.REVOKED),
        (view(limit=0, status="expired", expires_at=NOW), State.EXPIRED),
        (view(limit=0, status="paused"), State.PAUSED),
        (view(limit=0), State.BLOCKED),
        (view(5 * USD, limit=5 * USD, expires_at=NOW + timedelta(days=1)), State.OVER_LIMIT),
        (view(4 * USD, limit=5 * USD, expires_at=NOW + timedelta(days=7)), State.EXPIRES_SOON),
        (view(4 * USD, limit=5 * USD, expires_at=NOW + timedelta(days=8)), State.NEAR_LIMIT),
        (view(4 * USD - 1, limit=5 * USD), State.ACTIVE),
        (view(500 * USD), State.ACTIVE),
        (view(model_limits=(model_limit("o3", 5 * USD, 4 * USD),)), State.NEAR_LIMIT),
        (view(model_limits=(model_limit("o3", 5 * USD, 4 * USD - 1),)), State.ACTIVE),
    ],
)
def test_the_worst_comes_first(key: KeyView, state: State) -> None:
    assert judged(key)[0] == state


@pytest.mark.parametrize("reason", Reason)
def test_a_refusal_of_each_code_is_seen(reason: Reason) -> None:
    """On a key that has every limit, unless its state says the same by itself."""
    status = {"key_revoked": "revoked", "key_expired": "expired", "key_paused": "paused"}.get(reason, "active")
    limits: dict[str, Any] = {
        "rate_limit_rpm": 5,
        "rate_limit_tpm": 900,
        "max_concurrent_requests": 2,
        "allowed_ips": ("10.9.0.0/16",),
    }
    limits |= {"allowed_providers": ("gemini",), "model_limits": (model_limit("gpt-*", 0),)}
    key = view(limit=5 * USD, status=status, expires_at=NOW, allowed_models=("gemini-*",), **limits)
    state, cause = judged(key, refusal(reason))
    if status != "active":
        assert state == status
    else:
        assert state == (State.BLOCKED if HELP[reason].lasting else State.REFUSED)
        assert cause == HELP[reason].title


def test_every_reason_has_its_remedy() -> None:
    assert set(HELP) == set(Reason)
    assert all(1 <= len(words.title.split()) <= 4 for words in HELP.values())


REMOVED = [
    ("key_paused", {}),
    ("ip_blocked", {"allowed_ips": ("10.0.0.0/8",)}),
    ("ip_blocked", {}),
    ("provider_not_allowed", {"allowed_providers": ("openai",)}),
    ("model_not_allowed", {"allowed_models": ("o3", "gpt-4o*")}),
    ("model_not_allowed", {"allowed_models": ("openai/gpt-*",)}),
    ("model_not_priced", {}),
    ("model_not_priced", {"model_limits": (model_limit("claude-*", USD),)}),
    ("endpoint_not_metered", {"model_limits": (model_limit("claude-*", USD),)}),
    ("endpoint_not_metered", {}),
    ("rate_limited", {}),
    ("too_many_concurrent", {}),
    ("spend_exceeded", {}),
]


@pytest.mark.parametrize(("reason", "fields"), REMOVED)
def test_what_was_mended_is_told_no_more(reason: str, fields: dict[str, Any]) -> None:
    assert judged(view(**fields), refusal(reason)) == (State.ACTIVE, "Never used")


@pytest.mark.parametrize(
    ("allowed", "limits", "state"),
    [
        ((), ("*",), State.BLOCKED),
        ((), ("gpt-*",), State.NEAR_LIMIT),
        (("gpt-4o", "openai/gpt-5*"), ("gpt-*",), State.BLOCKED),
        (("gpt-4o", "claude-*"), ("gpt-*", "anthropic/claude-*"), State.BLOCKED),
        (("gpt-4o", "llama-*"), ("gpt-*", "openai/llama-*"), State.NEAR_LIMIT),
        ((), ("openai/*", "anthropic/*", "google/*"), State.NEAR_LIMIT),
        ((), ("openai/*", "anthropic/*", "google/*", "groq/*"), State.BLOCKED),
        (("gpt-4o",), ("openai/gpt-4o",), State.BLOCKED),
        (("llama-3",), ("openai/*", "anthropic/*", "google/*"), State.NEAR_LIMIT),
        (("*/gpt-4o",), ("gpt-4o",), State.NEAR_LIMIT),
        (("gpt-4o", "anthropic/claude-*"), ("gpt-*", "claude-*"), State.BLOCKED),
        (("gpt-4*",), ("gpt-4?",), State.NEAR_LIMIT),
    ],
)
def test_limits_for_all_its_models_that_are_used_up(
    allowed: tuple[str, ...], limits: tuple[str, ...], state: State
) -> None:
    places = open_places((), allowed, {*PROVIDERS, "groq"}, {"groq": ("llama-*",)})
    for spent, limit in ((USD, USD), (0, 0)):
        used_up = tuple(model_limit(model, limit, spent) for model in limits)
        found = judge(view(allowed_models=allowed, model_limits=used_up), Facts(places=places), NOW)
        assert found.state == state
        assert state != State.BLOCKED or "are used up, and it may use no others" in found.why
    key = view(allowed_models=allowed, model_limits=tuple(model_limit(model, USD, USD - 1) for model in limits))
    assert judge(key, Facts(usual_nanos=1, least_nanos=1, places=places), NOW).state == State.NEAR_LIMIT
    found = judge(key, Facts(usual_nanos=2, least_nanos=2, places=places), NOW)
    assert found.state == state
    assert state != State.BLOCKED or "leave less than a usual request needs" in found.why


def test_a_limit_for_some_of_its_models_is_held_against_the_cheapest_of_them() -> None:
    places = (("openai", "gpt-4o"), ("openai", "o3"))
    for patterns, state in ((("gpt-*", "o3"), State.NEAR_LIMIT), (("*",), State.BLOCKED)):
        key = view(model_limits=tuple(model_limit(pattern, USD, USD - 5) for pattern in patterns))
        assert judge(key, Facts(usual_nanos=9, least_nanos=1, places=places), NOW).state == state


def test_what_limits_leave_open_may_lack_a_price() -> None:
    places = (("groq", "*"), ("openai", "gpt-4o"))
    key = view(limit=USD, model_limits=(model_limit("openai/*", 0),))
    assert judge(key, Facts(places=places), NOW).state == State.NEAR_LIMIT
    found = judge(key, Facts(places=places, unpriced=frozenset(places[:1])), NOW)
    assert (found.state, found.cause) == (State.BLOCKED, HELP[Reason.MODEL_SPEND_EXCEEDED].title)
    assert "limits for models openai/* are used up, and no price is known of the others" in found.why


def test_a_refusal_for_what_other_models_may_cost_stands_with_the_limits_that_it_blames() -> None:
    told = refusal(
        "model_not_priced",
        "Nobody can tell in advance what fallbacks costs (gpt-4o, openai), and the proxy key sk-proxy-a1b2... has spend"
        " limits for models (claude-*, o3). Leave it out, or use a key without them.",
    )
    assert stands(view(model_limits=(model_limit("o3", 0),)), told)
    assert not stands(view(model_limits=(model_limit("o4", 0),)), told)
    assert not stands(view(model_limits=(model_limit("claude", 0),)), told)


def test_why_a_key_is_listed_whose_refusal_was_mended() -> None:
    """A list by the database cannot know that, so the key says it."""
    told = judge(view(), Facts((refusal("rate_limited"),)), NOW).why
    assert told.endswith(f"for lately ({HELP[Reason.RATE_LIMITED].title}) has been changed since.")
    old = refusal("rate_limited", last_at=NOW - LATELY - timedelta(minutes=1))
    for nothing in (old, refusal("a_code_of_a_later_release")):
        assert judge(view(), Facts((nothing,)), NOW).why == "It works within its limits."


def test_a_refusal_for_money_stands_until_as_much_is_left() -> None:
    told = refusal("spend_exceeded", "Spent: $1.00, this request may need up to $0.25 (output). It never resets.")
    assert judged(view(USD, limit=USD + 240_000_000), told) == (State.BLOCKED, "Too little left")
    assert judged(view(USD, limit=2 * USD), told)[0] == State.ACTIVE


def test_a_limit_of_all_keys_is_told_until_it_is_raised_or_taken_away() -> None:
    """The key itself has no limit, so only its organisation's can have cured it."""
    spent = refusal("organization_spend_exceeded", "Spent: $1.00, this request may need up to $0.25. It never resets.")
    unmetered = refusal("endpoint_not_metered")

    def told(one: RefusalView, shared: Shared) -> State:
        return judge(view(), Facts((one,), shared=shared), NOW).state

    for one, shared in (
        (spent, Shared(remaining_nanos=USD // 5)),
        (unmetered, Shared(remaining_nanos=USD)),
    ):
        assert told(one, shared) == State.BLOCKED
    rate = refusal("organization_rate_limited")
    assert told(rate, Shared(rate_limit_rpm=5)) == State.REFUSED
    assert told(refusal("upgrade_required"), Shared()) != State.ACTIVE
    for one, shared in (
        (spent, Shared(remaining_nanos=USD // 4)),
        (spent, Shared(rate_limit_rpm=5)),
        (unmetered, Shared(rate_limit_rpm=5)),
        (rate, Shared(remaining_nanos=0)),
    ):
        assert told(one, shared) == State.ACTIVE


def test_what_policy_refuses_stands_and_what_it_allows_does_not() -> None:
    """The judgement of a refusal agrees with the rules that made it, for each list of a key."""
    for models in ((), ("gpt-4o*",), ("openai/*",), ("claude-*",)):
        for providers in ((), ("openai",), ("gemini",)):
            for ranges in ((), ("10.0.0.0/8",), ("192.0.2.0/24",)):
                key = view(allowed_models=models, allowed_providers=providers, allowed_ips=ranges)
                query = PolicyQuery(ip_address("10.0.0.1"), "openai", "gpt-4o", metered=True, bound_nanos=1)
                verdict = evaluate(snapshot(key), query, 0.0)
                if isinstance(verdict, Deny):
                    assert stands(key, refusal(verdict.reason))
                for reason in ("ip_blocked", "provider_not_allowed", "model_not_allowed"):
                    assert isinstance(verdict, Deny) or not stands(key, refusal(reason))


def snapshot(key: KeyView) -> KeySnapshot:
    return KeySnapshot(
        key.id, "org_1", key.name, key.prefix, False, None, False, frozenset(key.allowed_providers),
        key.allowed_models, tuple(ip_network(one) for one in key.allowed_ips), None, None, "never",
    )  # fmt: skip


def test_a_refusal_fades() -> None:
    key = view(allowed_models=("gpt-4o*",), last_used_at=NOW - timedelta(days=2))
    lasting = refusal("model_not_allowed", model="o3", last_at=NOW - LATELY - timedelta(minutes=1))
    assert judged(key, lasting)[0] == State.BLOCKED
    assert judged(view(allowed_models=("gpt-4o*",), last_used_at=NOW), lasting)[0] == State.ACTIVE
    passing = refusal("provider_timeout", last_at=NOW - LATELY - timedelta(minutes=1))
    assert judged(key, passing)[0] == State.ACTIVE
    assert judged(key, refusal("provider_timeout", last_at=NOW - LATELY))[0] == State.REFUSED
    old = refusal("model_not_allowed", model="o3", last_at=NOW - LONGEST_BLOCK - timedelta(minutes=1))
    assert judged(view(allowed_models=("gpt-4o*",)), old)[0] == State.ACTIVE


def test_some_refused_and_some_served_is_no_block() -> None:
    key = view(allowed_models=("gpt-4o*",), last_used_at=NOW)
    assert judged(key, refusal("model_not_allowed", model="o3")) == (State.REFUSED, "Model not allowed")


def test_the_latest_that_still_says_something_is_told() -> None:
    over, mended = refusal("rate_limited"), refusal("ip_blocked", last_at=NOW)
    assert judged(view(rate_limit_rpm=5), mended, over) == (State.REFUSED, "Rate limit reached")
    assert judged(view(), refusal("a_code_of_a_later_release"))[0] == State.ACTIVE


def test_too_little_is_left_for_a_usual_request() -> None:
    assert judged(view(USD, limit=USD + 10), usual=11) == (State.BLOCKED, "Too little left")
    assert judged(view(USD, limit=USD + 10), usual=10)[0] == State.NEAR_LIMIT
    assert judged(view(USD, held=5, limit=USD + 10), usual=11)[0] == State.NEAR_LIMIT  # it may come back


@pytest.mark.parametrize(
    ("providers", "models", "none"),
    [
        (["anthropic"], ["gpt-4o*"], True),
        (["anthropic"], ["openai/gpt-4o", "google/*"], True),
        (["anthropic"], ["gpt-4o*", "claude-*"], False),
        (["anthropic"], ["ours-2027"], False),  # a new model, or a fine-tuned one
        (["gemini"], ["google/gemini-*"], False),
        ([], ["gpt-4o*"], False),
        (["anthropic"], [], False),
        (["acme"], ["gpt-4o*"], False),  # the form says so
    ],
)
def test_lists_that_contradict_each_other(providers: list[str], models: list[str], none: bool) -> None:
    assert (contradiction(providers, models) is not None) == none
    if none:
        key = view(allowed_providers=tuple(providers), allowed_models=tuple(models))
        assert judged(key) == (State.BLOCKED, "No model fits")


@pytest.mark.parametrize(("days", "cause"), [(None, "Never used"), (29, ""), (45, "Unused for 45 d")])
def test_an_idle_key_says_so(days: int | None, cause: str) -> None:
    used = None if days is None else NOW - timedelta(days=days)
    assert judged(view(last_used_at=used)) == (State.ACTIVE, cause)


def test_a_key_that_was_used_is_not_taken_for_dead() -> None:
    """What is refused for its model alone leaves the rest as it was."""
    told = refusal("model_not_allowed", "The proxy key sk-proxy-a1b2... may not use the model o3.", model="o3")
    used = judge(view(allowed_models=("gpt-*",), last_used_at=told.last_at - timedelta(hours=1)), Facts((told,)), NOW)
    assert used.state == State.BLOCKED
    assert used.why.endswith("may not use the model o3. Requests for what it may use go through all the same.")
    unused = judge(view(allowed_models=("gpt-*",)), Facts((told,)), NOW)
    assert unused.why.endswith("may not use the model o3.")
