"""What is refused before it is read: nothing that may turn out to cost nothing is, for money."""

from typing import Any

import pytest
from custom_kit import add, key_with, price
from gateway_kit import CHAT, GOOD, Answered, Gate, Provider, answered

LARGE = {**CHAT, "messages": [{"role": "user", "content": "a" * 300_000}]}
FREE = {"input_tokens": "0", "output_tokens": "0"}


@pytest.fixture
def spent(gate: Gate, provider: Provider) -> Gate:
    """A key that may spend nothing."""
    gate.open(provider.url)
    gate.store(GOOD)
    key_with(gate, spend_limit_nanos=0)
    return gate


def needs(got: Answered) -> Any:
    """What a request would have needed."""
    assert (got.status, got.headers["x-router-error"]) == (403, "spend_exceeded")
    return got.json["error"]["needed_usd"]


def test_it_works(spent: Gate) -> None:
    """Without a price of nothing a large body is not read; with one it is, and what costs something is told how much."""
    assert needs(spent.ask(LARGE)) == "0.000000001"
    price(spent, "openai", "free", **FREE)
    assert spent.ask({**LARGE, "model": "openai/free"}).headers.get("x-router-error") is None
    assert float(needs(spent.ask(LARGE))) > 0.01
    assert (
        spent.ask({**LARGE, "model": "free"}, path="/openai/v1/chat/completions").headers.get("x-router-error") is None
    )


def test_rates_are_judged_as_before(spent: Gate) -> None:
    price(spent, "openai", "free", **FREE)
    key_with(spent, rate_limit_rpm=1)
    assert spent.ask({**CHAT, "model": "openai/free"}).headers.get("x-router-error") is None
    assert spent.ask({**LARGE, "model": "openai/free"}).headers["x-router-error"] == "rate_limited"


def test_a_price_of_another_provider_changes_nothing(spent: Gate) -> None:
    add(spent, "lab", "http://127.0.0.1:9/v1")
    price(spent, "lab", "free", **FREE)
    assert needs(spent.ask(LARGE, path="/openai/v1/chat/completions")) == "0.000000001"
    assert needs(spent.ask(LARGE)) != "0.000000001", "any model may stand in it"


def test_models_that_are_given_away(spent: Gate) -> None:
    """Where the address names the model or the provider. Elsewhere they are not thought of: see `can_be_free`."""
    said = {"contents": [{"parts": [{"text": "a" * 300_000}]}], "generationConfig": {"maxOutputTokens": 9}}
    path = "/gemini/v1beta/models/{}:generateContent"
    spent.store(GOOD, provider="gemini")
    assert spent.ask(said, path=path.format("gemma-3-27b-it")).headers.get("x-router-error") is None
    told = spent.ask(said, path=path.format("gemini-2.5-flash"))
    assert told.json["error"]["details"][0]["metadata"]["needed_usd"] == "0.000000001"
    chat = {**LARGE, "model": "gemma-3-27b-it"}
    assert spent.ask(chat, path="/gemini/v1beta/openai/chat/completions").headers.get("x-router-error") is None
    assert needs(spent.ask({**chat, "model": "gemini/gemma-3-27b-it"})) == "0.000000001"


def test_a_handshake_of_a_model_that_costs_nothing(spent: Gate) -> None:
    def opened(model: str) -> str | None:
        answer = spent.handshake("/v1/realtime", f"model={model}")
        if answer.takeover is not None:
            answer.takeover.abandon()
            return None
        return answered(answer).headers.get("x-router-error")

    assert opened("gpt-realtime") == "spend_exceeded"
    classes = ("input_tokens", "output_tokens", "input_audio_tokens", "output_audio_tokens", "input_image_tokens")
    price(spent, "openai", "gpt-realtime-mine", **dict.fromkeys(classes, "0"))
    assert opened("gpt-realtime-mine") is None
    assert opened("gpt-realtime") == "spend_exceeded"
