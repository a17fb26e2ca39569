"""What a provider of an organisation's own is sent, byte by byte: as its server wants it, and nowhere else."""

import json
from typing import Any

import pytest
from custom_kit import SECRET, USAGE, Server, add, key_with, pool, price
from gateway_kit import CHAT, Gate


def test_all_metered_endpoints_by_model_and_by_path(gate: Gate, server: Server) -> None:
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/api/v1")
    key_with(gate, spend_limit_nanos=None)
    for path, body in (
        ("chat/completions", {"messages": []}),
        ("completions", {"prompt": "hello"}),
        ("embeddings", {"input": "hello"}),
        ("responses", {"input": "hello"}),
    ):
        assert gate.ask({"model": "lab/m", **body}, path=f"/v1/{path}").status == 200, path
        assert gate.ask({"model": "m", **body}, path=f"/lab/v1/{path}").status == 200, path
        assert [one["path"] for one in server.asked[-2:]] == [f"/api/v1/{path}"] * 2
        assert [json.loads(one["body"])["model"] for one in server.asked[-2:]] == ["m", "m"]
    assert {row.provider for row in gate.rows()} == {"lab"}


def test_no_other_byte_is_changed(gate: Gate, server: Server) -> None:
    """The name may be escaped, stand behind what looks like it, and be of any kind a body has."""
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/v1")
    key_with(gate, spend_limit_nanos=None)
    bodies = (
        (b'{"model" :\t"lab/m", "messages":[ ]}', b'{"model" :\t"m", "messages":[ ]}'),
        (b'{"messages":[{"model":"lab/m"}],"model":"l\\u0061b\\/m"}', b'{"messages":[{"model":"lab/m"}],"model":"m"}'),
        (b'{"mod\\u0065l":"lab/m","messages":[]}', b'{"mod\\u0065l":"m","messages":[]}'),
    )
    for sent, heard in bodies:
        assert gate.ask(body=sent).status == 200
        assert server.asked[-1]["body"] == heard


def test_a_large_body_too(gate: Gate, server: Server) -> None:
    """Which is parsed in another process."""
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/v1")
    key_with(gate, spend_limit_nanos=None)
    text = "x" * 1_500_000
    body = json.dumps({"messages": [{"role": "user", "content": text}], "model": "lab/m"}).encode()
    assert gate.ask(body=body).status == 200
    assert server.asked[-1]["body"] == body.replace(b'"lab/m"', b'"m"')


def test_azures_header_and_version(gate: Gate, server: Server) -> None:
    """The model is a deployment in the path; what the client says of a version is taken off, however it is spelled."""
    gate.open(server.url, pool())
    base = f"{server.url}/openai/deployments/{{model}}"
    add(gate, "azure-eu", base, auth="api-key", api_version="2024-10-21")
    key_with(gate, spend_limit_nanos=None)
    document = {**CHAT, "model": "azure-eu/gpt-4o"}
    assert gate.ask(document, query="api-version=2023&x=1&API%2Dversion=2", more=((b"api-key", b"x"),)).status == 200
    (asked,) = server.asked
    assert asked["path"] == "/openai/deployments/gpt-4o/chat/completions"
    assert asked["query"] == "x=1&api-version=2024-10-21"
    assert asked["headers"]["api-key"] == SECRET
    assert "authorization" not in asked["headers"]
    odd = gate.ask({**CHAT, "model": "azure-eu/../../x"})
    assert (odd.status, odd.json["error"]["param"]) == (400, "model")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("base", "models"), [("/openai/deployments/{model}", "/openai/models"), ("/v2", "/v2/models"), ("", "/models")]
)
def test_lists_and_cards_of_models_are_free(gate: Gate, server: Server, base: str, models: str) -> None:
    """Also where a deployment stands in all other addresses, and of models with slashes in their names."""
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}{base}")
    for card in ("", "/gpt-4o", "/meta-llama/llama-3:free"):
        assert gate.ask(path=f"/lab/v1/models{card}", method="GET").status == 200
        assert server.asked[-1]["path"] == f"{models}{card}"
    assert {row.cost_nanos for row in gate.rows()} == {0}
    assert not [row for row in gate.rows() if "unmetered" in row.flags]
    key_with(gate, allowed_models=["lab/meta-llama/*"])
    assert gate.ask(path="/lab/v1/models/meta-llama/llama-3", method="GET").status == 200
    refused = gate.ask(path="/lab/v1/models/qwen/qwen-3", method="GET")
    assert refused.headers["x-router-error"] == "model_not_allowed"
    refused = gate.ask(path="/lab/v1/models/a/../b", method="GET")
    assert (refused.status, refused.headers["x-router-error"]) == (404, "unknown_endpoint")


def test_a_path_without_a_model_where_all_paths_have_one(gate: Gate, server: Server) -> None:
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/openai/deployments/{{model}}")
    key_with(gate, spend_limit_nanos=None)
    refused = gate.ask(path="/lab/v1/files", method="GET")
    assert (refused.status, "this request names none" in refused.json["error"]["message"]) == (400, True)
    assert server.asked == []


def test_none_is_asked_without_a_credential(gate: Gate, server: Server) -> None:
    gate.open(server.url, pool())
    add(gate, "ollama", f"{server.url}/v1", auth="none", secret=None)
    key_with(gate, spend_limit_nanos=None)
    assert gate.ask({**CHAT, "model": "ollama/llama3.2:1b"}).status == 200
    (asked,) = server.asked
    assert not {"authorization", "api-key", "x-api-key"} & asked["headers"].keys()
    server.status, server.body = "401 No", b'{"error":{"message":"who are you"}}'
    assert gate.ask({**CHAT, "model": "ollama/llama3.2:1b"}).status == 401
    assert gate.told == [], "there is no credential that it could refuse"


@pytest.mark.parametrize(
    ("fields", "limit", "asks"),
    [
        ({}, "max_tokens", True),
        ({"stream_options": False}, "max_tokens", False),
        ({"auth": "api-key"}, "max_completion_tokens", True),
        ({"auth": "api-key", "stream_options": False}, "max_completion_tokens", False),
    ],
)
def test_what_the_router_adds_is_what_the_server_knows(
    gate: Gate, server: Server, fields: dict[str, Any], limit: str, asks: bool
) -> None:
    """Mistral takes neither `max_completion_tokens` nor `stream_options`; Azure's newer models no `max_tokens`."""
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/v1", **fields)
    price(gate, "lab", "m", input_tokens="1", output_tokens="1000")
    answer = gate.ask({"model": "lab/m", "messages": [], "stream": True})
    assert answer.status == 200
    sent = json.loads(server.asked[-1]["body"])
    assert sent.keys() == {"model", "messages", "stream", limit, *(["stream_options"] if asks else [])}
    (row,) = gate.rows()
    assert (row.input_tokens, row.output_tokens, row.flags) == (USAGE["prompt_tokens"], USAGE["completion_tokens"], [])


def test_anthropics_dialect_says_the_limit_as_such_servers_know_it(gate: Gate, server: Server) -> None:
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/v1")
    add(gate, "mistral", f"{server.url}/v1", stream_options=False)
    key_with(gate, spend_limit_nanos=None)
    document = {"max_tokens": 20, "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    assert gate.ask({**document, "model": "lab/m"}, path="/v1/messages").status == 200
    sent = json.loads(server.asked[-1]["body"])
    assert (sent["max_tokens"], sent["stream_options"]) == (20, {"include_usage": True})
    assert gate.ask({**document, "model": "mistral/m"}, path="/v1/messages").status == 200
    sent = json.loads(server.asked[-1]["body"])
    assert sent.keys() == {"model", "messages", "max_tokens", "stream"}


def test_a_private_address_is_not_connected_to_unless_it_is_allowed(gate: Gate, server: Server) -> None:
    """By any spelling; what the environment set as the address of a built-in provider is not asked for it."""
    port = server.url.rpartition(":")[2]
    gate.open(server.url, pool(private=False))
    key_with(gate, spend_limit_nanos=None)
    for number, host in enumerate(("127.0.0.1", "localhost", "2130706433", "[::1]", "0.0.0.0", "169.254.169.254")):
        add(gate, f"lab-{number}", f"http://{host}:{port}/v1")
        refused = gate.ask({**CHAT, "model": f"lab-{number}/m"})
        assert (refused.status, refused.headers["x-router-error"]) == (502, "provider_unreachable"), host
        assert "ROUTER_PROVIDERS_PRIVATE_ADDRESSES" in refused.json["error"]["message"]
    assert server.asked == []
    assert gate.rows() == []
    assert gate.ask(CHAT).status == 200


def test_a_redirect_is_not_followed(gate: Gate, server: Server) -> None:
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/v1")
    key_with(gate, spend_limit_nanos=None)
    server.status, server.headers, server.body = "307 Elsewhere", [("location", f"{server.url}/other")], b"{}"
    assert gate.ask({**CHAT, "model": "lab/m"}).status == 307
    assert len(server.asked) == 1
