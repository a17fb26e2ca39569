"""Messages and completions for a provider that is not there: they are nobody else's."""

import json
from typing import Any

import pytest
from custom_kit import Server, add, key_with, pool, remove
from gateway_kit import CHAT, Gate

from proxyd.gateway.model_router import at_usual_address
from proxyd.messages import origin_of
from shared.catalog import PROVIDERS

MESSAGE = {"max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}
BODIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/messages", MESSAGE),
    ("/v1/completions", {"prompt": "hello"}),
    ("/v1/chat/completions", CHAT),
)


@pytest.fixture
def open_gate(gate: Gate, server: Server) -> Gate:
    gate.open(server.url, pool())
    gate.store("sandbox-of-anthropic-credential", provider="anthropic")
    key_with(gate, spend_limit_nanos=None)
    return gate


def at_usual_addresses(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as its models go. What is sent comes to the server all the same."""
    models = gate.gateway._models
    monkeypatch.setattr(gate.gateway, "_models", type(models)(models.admission, models.bodies, frozenset(PROVIDERS)))


@pytest.mark.parametrize("usual", [True, False])
def test_one_that_was_removed_is_refused_by_its_name(
    open_gate: Gate, server: Server, monkeypatch: pytest.MonkeyPatch, usual: bool
) -> None:
    """On every worker, at every endpoint, with and without a limit, whoever the fallback is."""
    if usual:
        at_usual_addresses(open_gate, monkeypatch)
    add(open_gate, "lab", f"{server.url}/v1")
    assert open_gate.ask({**CHAT, "model": "lab/m"}).status == 200
    remove(open_gate, "lab")
    for limit in (None, 10**9):
        key_with(open_gate, spend_limit_nanos=limit)
        for path, body in BODIES:
            refused = open_gate.ask({**body, "model": "lab/m"}, path=path)
            assert (refused.status, "the provider lab was removed" in refused.body.decode()) == (400, True), path
            refused = open_gate.ask({**body, "model": "m"}, path=f"/lab{path}")
            assert (refused.status, refused.headers["x-router-error"]) == (404, "unknown_endpoint")
    assert (
        "The provider lab was removed" in open_gate.ask({"model": "m"}, path="/lab/v1/files").json["error"]["message"]
    )
    key_with(open_gate, allowed_providers=["openai"])
    assert open_gate.ask({**CHAT, "model": "lab/m"}).headers["x-router-error"] == "provider_not_allowed"
    assert len(server.asked) == 1


def test_a_mistyped_one_is_nobody_elses(open_gate: Gate, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    at_usual_addresses(open_gate, monkeypatch)
    add(open_gate, "lab", f"{server.url}/v1")
    for path, body in BODIES:
        refused = open_gate.ask({**body, "model": "lba/m"}, path=path)
        assert (refused.status, "no provider is known for the model lba/m" in refused.body.decode()) == (400, True)
    assert server.asked == []
    assert open_gate.ask({**MESSAGE, "model": "claude-of-tomorrow"}, path="/v1/messages").status == 200
    assert open_gate.ask({"prompt": "hello", "model": "davinci-002"}, path="/v1/completions").status == 200
    assert [json.loads(one["body"])["model"] for one in server.asked] == ["claude-of-tomorrow", "davinci-002"]


def test_other_paths_of_an_sdk_lead_none_of_its_models_to_another_provider(open_gate: Gate, server: Server) -> None:
    """Anthropic's SDK counts the tokens of a message before it is sent; OpenAI's has sound and images."""
    paths = ("/v1/messages/count_tokens", "/v1/audio/speech", "/v1/images/generations", "/v1/responses/compact")
    bodies = {"messages": [], "input": "hello", "prompt": "hello", "voice": "alloy"}
    add(open_gate, "lab", f"{server.url}/v1")
    open_gate.ask(CHAT)
    count = len(server.asked)
    for path in paths:
        refused = open_gate.ask({"model": "lab/m", **bodies}, path=path)
        assert (refused.status, f"lab has no {path[3:]}" in refused.body.decode()) == (404, True), path
    add(open_gate, "den", f"{server.url}/v1")
    assert open_gate.ask({"model": "den/m", **bodies}, path=paths[0]).status == 404, "it was added since"
    remove(open_gate, "lab")
    refused = open_gate.ask({"model": "lab/m", **bodies}, path=paths[0])
    assert (refused.status, "the provider lab was removed" in refused.body.decode()) == (400, True)
    assert len(server.asked) == count
    for path in (paths[0], f"/openai{paths[1]}"):
        assert open_gate.ask({"model": "meta-llama/m", **bodies}, path=path).status == 200
    assert open_gate.ask({"model": "lab/m", **bodies}, path=f"/openai{paths[1]}").status == 200, "who says so means it"


def test_a_slip_is_no_others_at_other_paths_either(
    open_gate: Gate, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_usual_addresses(open_gate, monkeypatch)
    add(open_gate, "lab", f"{server.url}/v1")
    open_gate.ask(CHAT)
    count = len(server.asked)
    refused = open_gate.ask({"model": "lba/m", "messages": []}, path="/v1/messages/count_tokens")
    assert (refused.status, "no provider is known" in refused.body.decode()) == (400, True)
    assert len(server.asked) == count


def test_a_gateway_behind_a_built_in_provider_gets_its_models_as_they_are(open_gate: Gate, server: Server) -> None:
    """`ROUTER_OPENAI_URL` may lead to one, whose models have slashes: also those that are called like ours."""
    for name in ("", "lab"):
        if name:
            add(open_gate, name, f"{server.url}/lab/v1")
        for model in ("meta-llama/llama-3-70b", "openai/gpt-3.5-turbo-instruct", "google/gemma-3", "gemini-2.5-flash"):
            assert open_gate.ask({"model": model, "prompt": "hello"}, path="/v1/completions").status == 200
            assert (server.asked[-1]["path"], json.loads(server.asked[-1]["body"])["model"]) == (
                "/v1/completions",
                model,
            )
    assert {row.provider for row in open_gate.rows()} == {"openai"}


@pytest.mark.parametrize("version", ["v1beta", "v1"])
@pytest.mark.parametrize("slash", ["/", "%2F"])
def test_a_gateway_behind_gemini_gets_its_models_as_they_are(
    open_gate: Gate, server: Server, version: str, slash: str
) -> None:
    """Where `ROUTER_GEMINI_URL` leads to one; a provider of the organisation's own comes first."""
    open_gate.store("sandbox-of-gemini-credential", provider="gemini")
    path = f"/{version}/models/meta-llama{slash}llama-3:generateContent"
    body: dict[str, Any] = {"contents": []}
    for name in ("", "lab"):
        if name:
            add(open_gate, name, f"{server.url}/lab/v1")
        assert open_gate.ask(body, path=path).status == 200
        assert server.asked[-1]["path"] == f"/{version}/models/meta-llama/llama-3:generateContent"
        assert json.loads(server.asked[-1]["body"]) == body
    said = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
    open_gate.ask(said, path=f"/{version}/models/lab{slash}m:generateContent")
    assert server.asked[-1]["path"] == "/lab/v1/chat/completions"
    assert [(row.provider, row.requested_model) for row in open_gate.rows()][:2] == [
        ("gemini", "meta-llama/llama-3")
    ] * 2


def test_googles_own_address_gets_no_model_with_a_slash(
    open_gate: Gate, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_usual_addresses(open_gate, monkeypatch)
    for name in ("", "lab"):
        if name:
            add(open_gate, name, f"{server.url}/lab/v1")
        refused = open_gate.ask({"contents": []}, path="/v1beta/models/meta-llama/llama-3:generateContent")
        assert (refused.status, "no provider is known" in refused.body.decode()) == (400, True)
    assert server.asked == []


def test_who_has_none_of_its_own_asks_no_counters(
    open_gate: Gate, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"model": "meta-llama/llama-3-70b", "prompt": "hello"}
    assert open_gate.ask(body, path="/v1/completions").status == 200

    def refuse(_: object) -> None:
        raise AssertionError("the counters were asked")

    monkeypatch.setattr(open_gate.worker.counters, "rows", refuse)
    assert open_gate.ask(body, path="/v1/completions").status == 200


def test_the_first_one_is_found_by_the_next_request(open_gate: Gate, server: Server) -> None:
    """What a worker knew of the organisation told of none, so the request was on its way to the fallback."""
    other = {"/v1/messages": "/lab/v1/chat/completions", "/v1/completions": "/lab/v1/completions"}
    for number, (path, there) in enumerate(other.items()):
        name = f"lab-{number}"
        body = {**dict(BODIES)[path], "model": f"{name}/m"}
        assert open_gate.ask(body, path=path).status == 200
        assert server.asked[-1]["path"] == path
        add(open_gate, name, f"{server.url}/lab/v1")
        assert open_gate.ask(body, path=path).status == 200
        assert server.asked[-1]["path"] == there
        assert json.loads(server.asked[-1]["body"])["model"] == "m"


def test_the_usual_address_is_that_of_the_catalogue() -> None:
    origins = {slug: origin_of(one.base_url) for slug, one in PROVIDERS.items()}
    assert at_usual_address(origins) == set(PROVIDERS)
    assert at_usual_address({**origins, "openai": origin_of("https://gateway.example.com")}) == {"anthropic", "gemini"}
