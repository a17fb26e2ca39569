"""What requests to a provider of one's own can cost at most, where other servers go by other rules than OpenAI."""

import json
from typing import Any

import pytest
from custom_kit import Server, add, key_with, pool, price
from gateway_kit import CHAT, Gate
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.models import UsageRecord

LARGE = "x" * 1_500_000  # is parsed in another process
UNCAPPED_TOKENS = {"spend_limit_nanos": None, "rate_limit_tpm": 10_000_000}
HERE = ("/v1", "lab/m"), ("/lab/v1", "m")


@pytest.fixture(params=["bearer", "api-key"])
def auth(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def capped(gate: Gate, server: Server, auth: str) -> Gate:
    """A key with a limit of a dollar, and a model whose output costs a thousandth of one each token."""
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/v1", auth=auth)
    price(gate, "lab", "m", input_tokens="0.01", output_tokens="1000")
    return gate


def sent(server: Server) -> dict[str, Any]:
    return dict(json.loads(server.asked[-1]["body"]))


def bounds(gate: Gate) -> list[int]:
    gate.rows()
    with Session(gate.engine) as session:
        return list(session.scalars(select(UsageRecord.bound_nanos).order_by(UsageRecord.id)))


@pytest.mark.parametrize("text", ["hello", LARGE])
@pytest.mark.parametrize(("base", "model"), HERE)
def test_a_completion_without_a_limit_is_given_one(
    capped: Gate, server: Server, text: str, base: str, model: str
) -> None:
    """What OpenAI takes for granted, 16 tokens, binds nobody else: llama.cpp writes until it is done."""
    answer = capped.ask({"model": model, "prompt": text}, path=f"{base}/completions")
    assert answer.status == 200
    limit = sent(server)["max_tokens"]
    assert limit == int(answer.headers["x-router-max-tokens"]) > 16
    assert capped.ask({"model": model, "prompt": text, "max_tokens": 16}, path=f"{base}/completions").status == 200
    assert sent(server)["max_tokens"] == 16
    assert capped.ask({"model": "gpt-3.5-turbo-instruct", "prompt": "hello"}, path="/v1/completions").status == 200
    assert sent(server).keys() == {"model", "prompt"}, "OpenAI keeps its own rule"
    key_with(capped, spend_limit_nanos=None)
    assert capped.ask({"model": model, "prompt": text}, path=f"{base}/completions").status == 200
    assert "max_tokens" not in sent(server)


@pytest.mark.parametrize("text", ["hello", LARGE])
def test_a_newer_name_of_the_limit_goes_on_as_the_older(capped: Gate, server: Server, auth: str, text: str) -> None:
    """Servers that know the older one alone pass over the newer one, and write without end."""
    messages = [{"role": "user", "content": text}]
    asked = {"model": "lab/m", "messages": messages, "max_completion_tokens": 20}
    assert capped.ask(asked).status == 200
    renamed = {"max_tokens": 20, "max_completion_tokens": None}
    as_it_is = {"max_completion_tokens": 20}
    assert {name: value for name, value in sent(server).items() if "max" in name} == (
        renamed if auth == "bearer" else as_it_is
    )
    assert capped.ask({**asked, "max_tokens": 10}).status == 200
    assert (sent(server)["max_tokens"], sent(server)["max_completion_tokens"]) == (10, 20), "both are told"
    key_with(capped, spend_limit_nanos=None)
    assert capped.ask(asked).status == 200
    assert {name: value for name, value in sent(server).items() if "max" in name} == as_it_is


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("embeddings", {"input": [{"image": "https://example.com/large.png"}]}),
        ("embeddings", {"input": [[{"image": "https://example.com/large.png"}]]}),
        ("embeddings", {"messages": [{"role": "user", "content": "hello"}]}),
        ("embeddings", {"input": [{"image": "https://example.com/large.png"}], "text": LARGE}),
    ],
)
def test_embeddings_of_what_is_not_seen_count_as_a_whole_context(
    capped: Gate, server: Server, path: str, body: dict[str, object]
) -> None:
    price(capped, "lab", "e", input_tokens="0.01")
    assert capped.ask({"model": "lab/e", **body}, path=f"/v1/{path}").status == 200
    for given in ("hello", ["hello", "you"], [1, 2], [[1, 2], [3]]):
        assert capped.ask({"model": "lab/e", "input": given}, path=f"/v1/{path}").status == 200
    unseen, *seen = bounds(capped)
    assert unseen >= 1_000_000 * 10
    assert max(seen) < 10_000


def test_each_of_many_inputs_that_are_not_seen_is_a_context_of_its_own(capped: Gate, server: Server) -> None:
    price(capped, "lab", "e", input_tokens="0.01")
    image, nested = {"image": "https://example.com/large.png"}, [{"image": "a"}, {"image": "b"}]
    for given in ([image, "hello", image, image], [nested, [1, 2], image]):
        assert capped.ask({"model": "lab/e", "input": given}, path="/v1/embeddings").status == 200
    assert all(3 * 1_048_576 * 10 <= bound < 4 * 1_000_000 * 10 for bound in bounds(capped))


@pytest.mark.parametrize(
    ("fields", "feature"),
    [
        ({"search_parameters": {"mode": "on"}}, "search_parameters"),
        ({"search_parameters": {}}, "search_parameters"),
        ({"search_parameters": {"mode": "off"}}, None),
        ({"n_predict": -1}, "n_predict"),
        ({"n_predict": 9, "max_tokens": 8}, "n_predict"),
        ({"n_predict": 9}, "n_predict"),
        ({"n_predict": 8, "max_tokens": 8}, None),
    ],
)
@pytest.mark.parametrize("text", ["hello", LARGE])
def test_what_adds_fees_or_beats_a_limit_is_refused_by_name(
    capped: Gate, server: Server, fields: dict[str, object], feature: str | None, text: str
) -> None:
    """A server that does not know `n_predict` writes without end where that is all that limits it."""
    asked = {"model": "lab/m", "messages": [{"role": "user", "content": text}], **fields}
    for limits, code in (({}, "model_not_priced"), (UNCAPPED_TOKENS, "tokens_not_bounded")):
        if limits:
            key_with(capped, **limits)
        answer = capped.ask(asked)
        if feature is None:
            assert answer.status == 200
        else:
            assert (answer.status, answer.json["error"]["code"]) == (403, code)
            assert feature in answer.json["error"]["message"]
    key_with(capped, spend_limit_nanos=None, rate_limit_tpm=None)
    assert capped.ask(asked).status == 200
    key_with(capped, spend_limit_nanos=10**9)
    native = {"model": "gpt-4o", "messages": [], "n_predict": 5, "search_parameters": {}}
    assert capped.ask(native).status == 200, "OpenAI knows neither"


def test_a_picture_may_be_read_by_any_model_under_another_name(capped: Gate, server: Server) -> None:
    """An Azure deployment of gpt-4o-mini, whose pictures have twice as many tokens as those of the others."""
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    asked = {"model": "lab/m", "max_tokens": 1, "messages": [{"role": "user", "content": [image]}]}
    assert capped.ask(asked).status == 200
    assert bounds(capped)[0] >= 48_169 * 10


def test_sound_by_its_address_counts_as_a_whole_context(capped: Gate, server: Server) -> None:
    price(capped, "lab", "s", input_tokens="0.01", input_audio_tokens="0.01", output_tokens="0.01")
    for data in ("https://example.com/a.wav", "UklGRg" * 20):
        part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
        body = {"model": "lab/s", "max_tokens": 5, "messages": [{"role": "user", "content": [part]}]}
        assert capped.ask(body).status == 200
    unseen, seen = bounds(capped)
    assert unseen >= 1_000_000 * 10 > 100_000 > seen


@pytest.mark.parametrize("field", ["models", "route", "plugins", "preset", "fallbacks"])
@pytest.mark.parametrize(("base", "model"), HERE)
def test_what_may_lead_to_another_model_is_refused_by_name(
    capped: Gate, server: Server, field: str, base: str, model: str
) -> None:
    asked = {**CHAT, "model": model, field: ["dear/model"]}
    large = {**asked, "messages": [{"role": "user", "content": LARGE}]}
    for fields in ({}, {"spend_limit_nanos": None, "allowed_models": ["lab/m"]}):
        if fields:
            key_with(capped, **fields)
        for body in (asked, large):
            refused = capped.ask(body, path=f"{base}/chat/completions")
            assert (refused.status, refused.json["error"]["param"]) == (400, field)
            assert field in refused.json["error"]["message"]
        assert capped.ask({**asked, field: None}, path=f"{base}/chat/completions").status == 200
    count = len(server.asked)
    key_with(capped, allowed_models=[])
    assert capped.ask(asked, path=f"{base}/chat/completions").status == 200
    assert sent(server)[field] == ["dear/model"]
    assert len(server.asked) == count + 1
