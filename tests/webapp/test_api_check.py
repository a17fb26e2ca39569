"""What would become of a request: told as the proxy would judge it, and nothing is charged for it."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from check_kit import checked
from dashboard_kit import Api, Clock
from flask import Flask
from live_counters import LiveCounters

from shared.counters import Admitted, Batch, Charge
from shared.keys import PROXY_TAG, mint
from shared.models import Refusal
from shared.policy import ERRORS
from webapp.actions.credentials import store_credentials
from webapp.actions.prices import set_price
from webapp.context import Actor
from webapp.db import db
from webapp.views.keys import KeyView

Json = dict[str, Any]
Make = Callable[..., KeyView]


@pytest.fixture
def configured(app: Flask, actor: Actor, live: LiveCounters) -> None:
    """A router that runs, with credentials of two providers."""
    with app.app_context():
        store_credentials(actor, {"openai": "sk-real-openai", "anthropic": "sk-real-anthropic"})


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ({"model": "gpt-4o"}, ("openai", "gpt-4o", "/v1/chat/completions")),
        ({"model": "anthropic/claude-sonnet-4-6"}, ("anthropic", "claude-sonnet-4-6", "/v1/messages")),
        ({"path": "/v1/messages", "model": "gpt-4o"}, ("openai", "gpt-4o", "/v1/chat/completions")),
        ({"path": "/v1/responses", "model": "claude-sonnet-4-6"}, ("anthropic", "claude-sonnet-4-6", "/v1/messages")),
        ({"provider": "anthropic", "model": "claude-sonnet-4-6"}, ("anthropic", "claude-sonnet-4-6", "/v1/messages")),
        ({"path": "/openai/v1/embeddings", "model": "text-embedding-3-small"}, ("openai", "text-embedding-3-small", "/v1/embeddings")),
        ({"path": "/v1beta/models/gpt-4o:generateContent"}, ("openai", "gpt-4o", "/v1/chat/completions")),
        ({"path": "/v1beta/models/anthropic%2Fclaude-sonnet-4-6:streamGenerateContent", "model": "anthropic/claude-sonnet-4-6"}, ("anthropic", "claude-sonnet-4-6", "/v1/messages")),
        ({"provider": "openai", "path": "/v1/files"}, ("openai", None, "/v1/files")),
        ({"provider": "openai", "path": "/v1/videos"}, ("openai", None, "/v1/videos")),
    ],
)  # fmt: skip
def test_what_may_pass_is_allowed(api: Api, make: Make, asked: Json, place: tuple[str, str | None, str]) -> None:
    found = checked(api, make().id, **asked)
    assert found["allowed"]
    assert (found["provider"], found["model"], found["endpoint"]) == place


@pytest.mark.usefixtures("configured")
def test_a_secret_in_the_place_of_a_model_is_masked(api: Api, make: Make) -> None:
    """FINDINGS S5: whether such a request would pass, and in the sentence why not."""
    secret = mint(PROXY_TAG).raw
    for limits in ({}, {"allowed_models": ["gpt-4o"]}, {"spend_limit_usd": "5"}):
        key_id = make(**limits).id
        for asked in (
            {"model": secret, "provider": "openai"},
            {"path": f"/v1beta/models/{secret}:generateContent"},
            {"path": f"/openai/v1/{secret}"},
        ):
            answer = api("POST", f"/v1/keys/{key_id}/check", asked)
            assert answer.status_code == 200
            assert secret not in answer.text, asked
            assert secret[:13] in answer.text or "refusal" in answer.get_json()


@pytest.mark.usefixtures("configured")
def test_a_model_of_a_gateway_behind_gemini(app: Flask, actor: Actor, api: Api, make: Make) -> None:
    """Which Google's own address does not have."""
    key_id, path = make().id, "/v1beta/models/meta-llama/llama-3:generateContent"
    assert not checked(api, key_id, path=path)["allowed"]
    with app.app_context():
        store_credentials(actor, {"gemini": "a-gemini-credential"})
    settings = app.extensions["settings"]
    urls = {**settings.provider_urls, "gemini": "https://gateway.example"}
    app.extensions["settings"] = replace(settings, provider_urls=urls)
    found = checked(api, key_id, path=path)
    assert (found["provider"], found["model"], found["endpoint"]) == ("gemini", "meta-llama/llama-3", path)


REFUSED: list[tuple[str, Json, Json]] = [
    ("key_paused", {"paused": True}, {"model": "gpt-4o"}),
    ("ip_blocked", {"allowed_ips": ["10.0.0.0/8"]}, {"ip": "203.0.113.7", "model": "gpt-4o"}),
    ("provider_not_allowed", {"allowed_providers": ["anthropic"]}, {"model": "gpt-4o"}),
    ("model_not_allowed", {"allowed_models": ["claude-*"]}, {"model": "gpt-4o"}),
    ("model_not_allowed", {"allowed_models": ["claude-*"]}, {"model": "nobodys"}),
    ("model_not_allowed", {"allowed_models": ["sora-*"]}, {"provider": "openai", "path": "/v1/videos"}),
    ("invalid_request", {}, {"model": "nobodys"}),
    ("invalid_request", {}, {"path": "/v1beta/models/nobodys/model:generateContent"}),
    ("unknown_endpoint", {}, {"path": "/v1beta/models/openai/gpt-4o:countTokens"}),
    ("endpoint_not_metered", {"spend_limit_usd": "5"}, {"provider": "openai", "path": "/v1/videos"}),
    ("endpoint_not_metered", {"spend_limit_usd": "5"}, {"provider": "openai", "path": "/v1/of/the/future"}),
    ("model_not_priced", {"spend_limit_usd": "5"}, {"provider": "openai", "model": "of-the-future"}),
    ("spend_exceeded", {"spend_limit_usd": "0.000001"}, {"model": "gpt-4o"}),
    ("provider_not_configured", {}, {"model": "gemini-2.5-flash"}),
]


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(("code", "fields", "asked"), REFUSED)
def test_what_would_be_refused_is_told_with_its_reason(
    api: Api, make: Make, code: str, fields: Json, asked: Json
) -> None:
    refusal = checked(api, make(**fields).id, **asked)["refusal"]
    assert refusal["code"] == code
    spec = next(spec for reason, spec in ERRORS.items() if reason.value == code)
    assert (refusal["status"], refusal["retry"]) == (spec.status, spec.retry)
    assert len(refusal["message"]) > 20
    assert refusal["facts"]


@pytest.mark.usefixtures("configured")
def test_revoked_beats_expired_beats_paused(api: Api, make: Make, clock: Clock) -> None:
    key = make(paused=True, expires_at="2026-11-24T13:00:00Z")
    clock.forward(hours=2)
    assert checked(api, key.id, model="gpt-4o")["refusal"]["code"] == "key_expired"
    assert checked(api, key.id, model="gpt-4o")["refusal"]["facts"]["expires_at"] == "2026-11-24T13:00:00Z"
    api("DELETE", f"/v1/keys/{key.id}")
    assert checked(api, key.id, model="gpt-4o")["refusal"]["code"] == "key_revoked"


@pytest.mark.usefixtures("configured")
def test_money_in_flight_is_told_from_money_that_is_gone(api: Api, make: Make, live: LiveCounters) -> None:
    key = make(spend_limit_usd="0.01")
    live.seed(key.id)
    live.hold(key.id, 8_000_000)
    refusal = checked(api, key.id, model="gpt-4o", max_tokens=400)["refusal"]
    assert (refusal["code"], refusal["facts"]["held_usd"], refusal["facts"]["spend_reset"]) == (
        "spend_held", "0.008", "never",
    )  # fmt: skip
    assert refusal["facts"]["affordable_max_tokens"] < 400
    assert checked(api, key.id, model="gpt-4o", max_tokens=16)["allowed"]


@pytest.mark.usefixtures("configured")
def test_the_rate_is_read_and_not_used_up(api: Api, make: Make, live: LiveCounters) -> None:
    key = make(rate_limit_rpm=2)
    for _ in range(5):
        assert checked(api, key.id, model="gpt-4o")["allowed"]
    charge = Charge(key.id, "org_1", 1, 10**6, 2, None, "never", 0)
    live.know(key.id)
    live.counters.publish(1, {}, {"org_1": 1})
    answers = live.counters.apply_batch(Batch("01WORKER", 1, 1, (), [charge, charge]))
    assert [type(answer) for answer in answers] == [Admitted, Admitted]
    refusal = checked(api, key.id, model="gpt-4o")["refusal"]
    assert (refusal["code"], refusal["status"], refusal["facts"]["rate_limit_rpm"]) == ("rate_limited", 429, 2)
    assert 1 <= refusal["facts"]["retry_after_seconds"] <= 61
    assert refusal["facts"]["resets_at"].endswith("Z")
    assert live.row(key.id).window.count(live.counters.moment().second) == 2


@pytest.mark.usefixtures("configured")
def test_nothing_is_held_or_kept(api: Api, make: Make, live: LiveCounters) -> None:
    key = make(spend_limit_usd="1", rate_limit_rpm=5)
    live.seed(key.id)
    before = live.counters.status()
    found = checked(api, key.id, model="gpt-4o", max_tokens=1000)
    assert (found["allowed"], found["needed_usd"]) == (True, "0.018088")
    assert live.counters.status() == before
    assert api("GET", f"/v1/keys/{key.id}").get_json()["spend"]["held_usd"] == "0.00"
    assert api("GET", f"/v1/keys/{key.id}").get_json()["last_used_at"] is None


@pytest.mark.usefixtures("configured")
def test_the_output_limit_that_the_router_would_set_is_told(api: Api, make: Make, live: LiveCounters) -> None:
    key = make(spend_limit_usd="1")
    live.seed(key.id)
    assert checked(api, key.id, model="gpt-4o")["max_tokens"] == 7_288
    assert checked(api, key.id, model="gpt-4o", max_tokens=10)["max_tokens"] is None
    assert checked(api, make().id, model="gpt-4o")["max_tokens"] is None


@pytest.mark.usefixtures("configured")
def test_ones_own_prices_count(api: Api, app: Flask, actor: Actor, make: Make) -> None:
    key = make(spend_limit_usd="5")
    with app.app_context():
        set_price(actor, "openai", "of-the-future", {"input_tokens": "1", "output_tokens": "2"})
    found = checked(api, key.id, provider="openai", model="of-the-future", max_tokens=1000)
    assert (found["allowed"], found["needed_usd"]) == (True, "0.002256")


def test_without_counters_money_is_refused_and_the_rate_passes(api: Api, app: Flask, actor: Actor, make: Make) -> None:
    with app.app_context():
        store_credentials(actor, {"openai": "sk-real-openai"})
    assert checked(api, make(spend_limit_usd="5").id, model="gpt-4o")["refusal"]["code"] == "limits_unavailable"
    assert checked(api, make(rate_limit_rpm=5).id, model="gpt-4o")["allowed"]


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({"ip": "10.0.0.256"}, ["ip"]),
        ({"ip": 5, "provider": "acme", "model": "", "path": "v1", "max_tokens": 0, "x": 1}, ["ip", "provider", "model", "path", "max_tokens", "x"]),
        ({"model": "a\nb"}, ["model"]),
        ({"path": "/v1?x=1"}, ["path"]),
        ({"max_tokens": True}, ["max_tokens"]),
        ({}, ["provider"]),
        ({"path": "/v1/messages"}, ["model"]),
        ({"path": "/v1/files"}, ["provider"]),
        ({"provider": "openai"}, ["model"]),
        ({"provider": "gemini"}, ["model"]),
        ({"provider": "openai", "path": "/anthropic/v1/messages"}, ["provider"]),
        ({"path": "/gemini/v1beta/models/gemini-2.5-flash:generateContent", "model": "gemini-2.5-pro"}, ["model"]),
        ({"path": "/v1beta/models/gpt-4o:generateContent", "model": "gpt-4o-mini"}, ["model"]),
    ],
)  # fmt: skip
def test_what_is_no_request_is_named(api: Api, make: Make, asked: Json, fields: list[str]) -> None:
    answer = api("POST", f"/v1/keys/{make().id}/check", asked)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.get_json()["errors"]] == fields


def test_an_address_is_asked_for_where_it_decides(api: Api, make: Make) -> None:
    answer = api("POST", f"/v1/keys/{make(allowed_ips=['10.0.0.0/8']).id}/check", {"model": "gpt-4o"})
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, "ip")


def test_nobody_checks_another_organisations_key(stranger: Api, make: Make) -> None:
    assert stranger("POST", f"/v1/keys/{make().id}/check", {"model": "gpt-4o"}).status_code == 404


@pytest.mark.usefixtures("configured")
def test_the_command_says_the_same(app: Flask, make: Make) -> None:
    key, paused = make(), make(paused=True)
    run = app.test_cli_runner().invoke
    allowed = run(args=["keys", "check", key.id, "--model", "gpt-4o", "--max-tokens", "1000"])
    assert (allowed.exit_code, allowed.output) == (
        0, "Allowed: openai /v1/chat/completions, gpt-4o; it holds up to $0.018088.\n",
    )  # fmt: skip
    refused = run(args=["keys", "check", paused.id, "--model", "gpt-4o"])
    assert refused.exit_code == 1
    assert refused.output.startswith(f"Refused, 403 key_paused: The proxy key {paused.prefix}... is paused.")
    told = run(args=["keys", "check", paused.id, "--model", "gpt-4o", "--json"])
    assert json.loads(told.output)["refusal"]["code"] == "key_paused"
    wrong = run(args=["keys", "check", key.id, "--ip", "nowhere"])
    assert (wrong.exit_code, "--ip is neither" in wrong.output) == (2, True)
    unknown = run(args=["keys", "check", "sk-proxy-pasted"])
    assert (unknown.exit_code, "pasted" in unknown.output) == (2, False)
    with app.app_context():
        assert db.session.query(Refusal).count() == 0


@pytest.mark.usefixtures("configured")
def test_a_limit_that_the_router_makes_up_is_what_is_held(api: Api, make: Make) -> None:
    """The largest that Anthropic takes for this model, not the most that it could ever answer."""
    key, model = make(), "claude-3-7-sonnet-latest"
    made_up, said = checked(api, key.id, model=model), checked(api, key.id, model=model, max_tokens=64_000)
    assert made_up["needed_usd"] == said["needed_usd"]
