"""No key is called active whose every request would be refused, whether one was made or not."""

from collections.abc import Callable
from typing import Any

import pytest
from dashboard_kit import Api, Clock
from flask import Flask
from live_counters import LiveCounters
from usage_kit import use

from webapp.actions.credentials import store_credentials
from webapp.actions.prices import set_price
from webapp.context import Actor
from webapp.queries.attention import judge_keys
from webapp.queries.keys import get_key
from webapp.views.attention import LEAST_TOKENS, Judgement, State

Json = dict[str, Any]
Judged = Callable[[Json], Judgement]
USD = 1_000_000_000


@pytest.fixture
def judged(app: Flask, org_id: str, clock: Clock) -> Judged:
    def judge(key: Json) -> Judgement:
        with app.app_context():
            return judge_keys([get_key(org_id, key["id"])], clock())[key["id"]]

    return judge


def told(api: Api, key: Json, **asked: Any) -> str | None:
    """The code by which the dry run refuses it."""
    refusal = api("POST", f"/v1/keys/{key['id']}/check", asked).get_json()["refusal"]
    return None if refusal is None else str(refusal["code"])


@pytest.mark.usefixtures("served", "live")
def test_it_works(api: Api, judged: Judged) -> None:
    key = api.create(spend_limit_usd="5", allowed_models=["gpt-4o*", "of-the-future-*"], rate_limit_tpm=LEAST_TOKENS)
    assert judged(key).state is State.ACTIVE
    assert told(api, key, model="gpt-4o", max_tokens=1) is None


def test_without_a_credential_of_any_provider_that_it_may_use(
    api: Api, app: Flask, actor: Actor, live: LiveCounters, judged: Judged
) -> None:
    keys = [
        api.create(allowed_providers=["gemini"]),
        api.create(allowed_models=["gemini-*"]),
        api.create(allowed_models=["google/gemini-2.5-flash"]),
    ]
    other, any_model = api.create(allowed_models=["gpt-4o", "gemini-*"]), api.create()
    assert judged(any_model).cause == "Provider without a credential"
    with app.app_context():
        store_credentials(actor, {"openai": "sk-real-openai"})
    for key in keys:
        one = judged(key)
        assert (one.state, one.cause) == (State.BLOCKED, "Provider without a credential")
        assert told(api, key, model="gemini-2.5-flash") == "provider_not_configured"
    assert {judged(other).state, judged(any_model).state} == {State.ACTIVE}
    with app.app_context():
        store_credentials(actor, {"gemini": "sk-real-gemini"})
    assert {judged(key).state for key in keys} == {State.ACTIVE}
    (credential,) = api("GET", "/v1/providers/gemini").get_json()["credentials"]
    changed = api("PATCH", f"/v1/providers/gemini/credentials/{credential['id']}", {"enabled": False})
    assert changed.status_code == 200, changed.text
    assert {judged(key).state for key in keys} == {State.BLOCKED}


@pytest.mark.usefixtures("served", "live")
def test_a_provider_of_ones_own_that_needs_no_credential(api: Api, judged: Judged) -> None:
    groq(api)
    key = api.create(allowed_providers=["groq"])
    assert judged(key).state is State.ACTIVE
    api("PATCH", "/v1/providers/groq", {"enabled": False})
    assert judged(key).state is State.BLOCKED
    api("PATCH", "/v1/providers/groq", {"enabled": True, "auth": "bearer"})
    assert judged(key).state is State.BLOCKED


@pytest.mark.usefixtures("served", "live")
@pytest.mark.parametrize(
    ("limit", "cause"), [("1", "Organisation's budget used up"), ("0", "Organisation's limit is 0")]
)
def test_when_the_limit_of_all_keys_is_used_up(
    api: Api, app: Flask, org_id: str, judged: Judged, limit: str, cause: str
) -> None:
    key = api.create()
    with app.app_context():
        use(org_id, key["id"], 3 * USD)
    assert judged(key).state is State.ACTIVE
    assert api("PATCH", "/v1/organization", {"spend_limit_usd": limit}).status_code == 200
    one = judged(key)
    assert (one.state, one.cause) == (State.BLOCKED, cause)
    assert "administrator" in one.cure
    api("PATCH", "/v1/organization", {"spend_limit_usd": "100"})
    assert judged(key).state is State.ACTIVE


@pytest.mark.usefixtures("served", "live")
def test_too_few_tokens_a_minute_for_any_text(api: Api, judged: Judged) -> None:
    key = api.create(rate_limit_tpm=LEAST_TOKENS - 1)
    one = judged(key)
    assert (one.state, one.cause) == (State.BLOCKED, "Token limit too low")
    assert told(api, key, model="gpt-4o", max_tokens=1) == "token_rate_limited"


@pytest.mark.usefixtures("served", "live")
def test_a_limit_for_models_without_a_price(api: Api, app: Flask, actor: Actor, judged: Judged) -> None:
    models = ["openai/my-unknown-model", "nobody-knows"]
    key, free = api.create(spend_limit_usd="5", allowed_models=models), api.create(allowed_models=models)
    one = judged(key)
    assert (one.state, one.cause) == (State.BLOCKED, "No price known")
    assert told(api, key, model="openai/my-unknown-model", max_tokens=9) == "model_not_priced"
    assert judged(free).state is State.ACTIVE
    for known in ("gpt-4o", "my-*", "omni-moderation-latest", "tts-1"):
        assert judged(api.create(spend_limit_usd="5", allowed_models=[*models, known])).state is State.ACTIVE, known
    api("PATCH", "/v1/organization", {"spend_limit_usd": "100"})
    assert judged(free).cause == "No price known"
    with app.app_context():
        set_price(actor, "openai", "my-unknown-model", {"input_tokens": "1", "output_tokens": "2"})
    assert {judged(key).state, judged(free).state} == {State.ACTIVE}


@pytest.mark.usefixtures("served", "live")
@pytest.mark.parametrize(
    ("models", "limits"),
    [
        (["gpt-4o"], {"gpt-4o*": "0.000000001"}),
        (["gpt-4o"], {"openai/gpt-4o": "0", "gpt-4o": "5"}),
        ([], {"openai/*": "0", "anthropic/*": "0", "gemini/*": "0", "groq/*": "0"}),
    ],
)
def test_limits_for_models_that_together_leave_nothing(
    api: Api, judged: Judged, models: list[str], limits: dict[str, str]
) -> None:
    groq(api, models=["llama-*"])
    asked = [{"model": model, "spend_limit_usd": limit} for model, limit in limits.items()]
    key = api.create(allowed_models=models, model_limits=asked)
    one = judged(key)
    assert (one.state, one.cause) == (State.BLOCKED, "Model limit used up")
    assert told(api, key, model="gpt-4o", provider="openai", max_tokens=1) == "model_spend_exceeded"
    assert judged(api.create(allowed_models=[*models, "llama-3"], model_limits=asked[:-1])).state is not State.BLOCKED


@pytest.mark.usefixtures("served", "live")
@pytest.mark.parametrize(
    "limit", [{"spend_limit_usd": "5"}, {"model_limits": [{"model": "*", "spend_limit_usd": "5"}]}]
)
def test_a_provider_of_ones_own_without_prices(api: Api, judged: Judged, limit: Json) -> None:
    groq(api, models=["llama-*"])
    key = api.create(allowed_providers=["groq"], **limit)
    one = judged(key)
    assert (one.state, one.cause) == (State.BLOCKED, "No price known")
    assert told(api, key, provider="groq", model="llama-3", max_tokens=1) == "model_not_priced"
    rates = {"rates": {"input_tokens": "1", "output_tokens": "2"}}
    api("PUT", "/v1/prices/groq/llama-3", rates)
    assert judged(key).state is State.ACTIVE
    assert judged(api.create(allowed_models=["groq/llama-4*"], **limit)).cause == "No price known"
    assert judged(api.create(allowed_models=["groq/llama-4*"])).state is State.ACTIVE


@pytest.mark.usefixtures("served", "live")
def test_a_provider_of_ones_own_that_has_none_of_its_models(api: Api, judged: Judged) -> None:
    groq(api, models=["llama-*"])
    for lists in ({"allowed_providers": ["groq"], "allowed_models": ["qwen*"]}, {"allowed_models": ["groq/qwen*"]}):
        key = api.create(**lists)
        assert (judged(key).state, judged(key).cause) == (State.BLOCKED, "No model fits")
        assert told(api, key, provider="groq", model="qwen-1") == "invalid_request"
        api("PATCH", "/v1/providers/groq", {"models": ["*-1"]})
        assert judged(key).state is State.ACTIVE
        api("PATCH", "/v1/providers/groq", {"models": ["llama-*"]})


@pytest.mark.usefixtures("served", "live")
def test_a_glob_before_the_slash_opens_a_provider_of_ones_own(api: Api, judged: Judged) -> None:
    """With a limit it needs a price, which it has, too."""
    groq(api, models=["mixtral"])
    api("PUT", "/v1/prices/groq/mixtral", {"rates": {"input_tokens": "1", "output_tokens": "2"}})
    for pattern in ("*/mixtral", "?roq/mixtral"):
        for limit in ({}, {"spend_limit_usd": "5"}):
            key = api.create(allowed_models=[pattern], **limit)
            assert judged(key).state is State.ACTIVE
            assert told(api, key, provider="groq", model="mixtral", max_tokens=1) is None


def groq(api: Api, **fields: Any) -> None:
    new = {"provider": "groq", "base_url": "https://api.groq.com/openai/v1", "auth": "none", **fields}
    assert api("POST", "/v1/providers", new).status_code == 201


@pytest.mark.usefixtures("served", "live")
def test_what_is_left_is_held_against_what_is_usual_whatever_that_costs(
    api: Api, app: Flask, org_id: str, judged: Judged
) -> None:
    key, other = api.create(spend_limit_usd="5"), api.create(spend_limit_usd="5")
    with app.app_context():
        use(org_id, key["id"], 3_800_000_000, requests=1)
        use(org_id, other["id"], 3_800_000_000, requests=100)
    one = judged(key)
    assert (one.state, one.cause) == (State.BLOCKED, "Too little left")
    assert "$1.20 is left and a usual request needs $3.80" in one.why
    assert judged(other).state is State.ACTIVE
