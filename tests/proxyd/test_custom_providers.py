"""Providers of an organisation's own, from a request to the row of the ledger, before servers that are really there."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from custom_kit import SECRET, USAGE, Server, add, key_with, pool, price, remove, set_of
from gateway_kit import CHAT, App, Gate, Provider, Reply, Sent, answered, scripted, tries_of

from proxyd.messages import Request
from shared.pricing import Usage, cost

OWN = {**CHAT, "model": "lab/gpt-4o-mini"}
RATES = {"input_tokens": "2", "output_tokens": "8"}


def test_it_works(lab: Gate, provider: Provider) -> None:
    """The row is what the sandbox counted, at the organisation's own price."""
    price(lab, "lab", "gpt-4o-mini", **RATES)
    answer = lab.ask(OWN)
    assert answer.status == 200
    assert answer.json["model"] == "gpt-4o-mini"
    (row,) = lab.rows()
    (billed,) = provider.service.invoice.attempts
    assert billed.key_ending == SECRET[-4:]
    assert (row.provider, row.requested_model, row.endpoint) == ("lab", "gpt-4o-mini", "/v1/chat/completions")
    told = answer.json["usage"]
    assert (row.input_tokens, row.output_tokens) == (told["prompt_tokens"], told["completion_tokens"])
    assert row.cost_nanos == told["prompt_tokens"] * 2_000 + told["completion_tokens"] * 8_000
    assert (row.outcome, row.flags) == ("ok", [])
    assert lab.router.spent(lab.key_id) == (row.cost_nanos, 0)


@pytest.mark.parametrize("path", ["/lab/v1/chat/completions", "/lab/chat/completions"])
def test_a_path_of_its_own_leads_there_with_the_body_as_it_is(lab: Gate, path: str) -> None:
    price(lab, "lab", "gpt-4o-mini", **RATES)
    assert lab.ask(CHAT, path=path).status == 200
    (row,) = lab.rows()
    assert (row.provider, row.requested_model) == ("lab", "gpt-4o-mini")
    assert row.cost_nanos > 0


def test_models_with_slashes_are_told_by_the_first(gate: Gate, server: Server) -> None:
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/v1")
    key_with(gate, spend_limit_nanos=None, allowed_models=["lab/openai/*"])
    assert gate.ask({**CHAT, "model": "lab/openai/gpt-4o"}).status == 200
    assert json.loads(server.asked[-1]["body"])["model"] == "openai/gpt-4o"
    key_with(gate, allowed_models=["openai/*"])
    refused = gate.ask({**CHAT, "model": "lab/openai/gpt-4o"})
    assert (refused.status, refused.headers["x-router-error"]) == (403, "model_not_allowed")


def test_keys_are_judged_by_its_name(lab: Gate) -> None:
    price(lab, "lab", "gpt-4o-mini", **RATES)
    key_with(lab, allowed_providers=["openai"])
    for document, path in ((OWN, "/v1/chat/completions"), (CHAT, "/lab/v1/chat/completions")):
        refused = lab.ask(document, path=path)
        assert (refused.status, refused.headers["x-router-error"]) == (403, "provider_not_allowed")
    key_with(lab, allowed_providers=["lab"], allowed_models=["lab/gpt-4o*"])
    assert lab.ask(OWN).status == 200
    refused = lab.ask({**OWN, "model": "lab/gpt-4.1"})
    assert refused.headers["x-router-error"] == "model_not_allowed"
    assert lab.ask(CHAT).headers["x-router-error"] == "provider_not_allowed"


def test_without_a_price_a_key_with_a_limit_is_refused_and_another_is_served_for_nothing(lab: Gate) -> None:
    refused = lab.ask(OWN)
    assert (refused.status, refused.headers["x-router-error"]) == (403, "model_not_priced")
    assert "gpt-4o-mini (lab)" in refused.json["error"]["message"]
    key_with(lab, spend_limit_nanos=None)
    assert lab.ask(OWN).status == 200
    (row,) = lab.rows()
    assert (row.cost_nanos, row.flags) == (0, ["unpriced"])
    assert row.input_tokens > 0


def test_a_price_of_nothing_is_a_price(lab: Gate) -> None:
    price(lab, "lab", "gpt-4o-mini", input_tokens="0", output_tokens="0")
    key_with(lab, spend_limit_nanos=0)
    assert lab.ask(OWN).status == 200
    (row,) = lab.rows()
    assert (row.cost_nanos, row.flags) == (0, [])


def test_a_server_that_tells_no_usage_is_estimated(gate: Gate, server: Server) -> None:
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/v1")
    price(gate, "lab", "m", **RATES)
    choice = {"index": 0, "message": {"role": "assistant", "content": "word " * 30}, "finish_reason": "stop"}
    server.body = json.dumps({"model": "m", "choices": [choice]}).encode()
    assert gate.ask({**CHAT, "model": "lab/m"}).status == 200
    (row,) = gate.rows()
    assert row.flags == ["estimated"]
    assert row.cost_nanos > 0


def test_anthropics_dialect_goes_through_chat_completions(lab: Gate, provider: Provider) -> None:
    price(lab, "lab", "gpt-4o-mini", **RATES)
    document = {"model": "lab/gpt-4o-mini", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}
    answer = lab.ask(document, path="/v1/messages", more=((b"anthropic-version", b"2023-06-01"),))
    assert answer.status == 200
    assert (answer.json["type"], answer.json["role"]) == ("message", "assistant")
    (row,) = lab.rows()
    assert (row.provider, row.endpoint, row.requested_model) == ("lab", "/v1/chat/completions", "gpt-4o-mini")
    assert row.cost_nanos > 0


def test_several_credentials_and_failover_stay_with_the_provider(gate: Gate) -> None:
    """A refused one is followed by the next one of the same provider, and never by one of another."""
    asked: list[str] = []

    def answer(secret: str, asked_for: str) -> Reply:
        asked.append(f"{secret} {asked_for}")
        if secret == SECRET:
            return "401 No", [], b'{"error":{"message":"no","code":"invalid_api_key"}}'
        return "200 OK", [], json.dumps({"model": "m", "choices": [], "usage": USAGE}).encode()

    first, second = scripted(answer), scripted(answer)
    gate.open(f"http://127.0.0.1:{first.server_port}", pool())
    gate.store("sandbox-of-openai-credential")
    add(gate, "lab", f"http://127.0.0.1:{second.server_port}/v1")
    price(gate, "lab", "m", **RATES)
    assert gate.ask({**CHAT, "model": "lab/m"}).status == 401
    assert len(asked) == 1
    assert [label for label, _ in gate.told] == ["default"]
    other = "sandbox-another-of-our-own-0010"
    gate.store(other, "second", provider="lab", priority=2)
    gate.at += 1_000
    assert gate.ask({**CHAT, "model": "lab/m"}).status == 200
    assert asked[1:] == [f"{one} POST /v1/chat/completions" for one in (SECRET, other)]
    tries = [tries_of(row.tried) for row in gate.rows()]
    assert tries == [[], [("default", "refused"), ("second", None)], [("default", "refused")]]
    for server in (first, second):
        server.stop()


def test_a_change_holds_for_the_next_request(gate: Gate, server: Server) -> None:
    other = Server()
    gate.open(server.url, pool())
    document = {**CHAT, "model": "lab/m"}
    key_with(gate, spend_limit_nanos=None)
    refused = gate.ask(document)
    assert (refused.status, refused.json["error"]["param"]) == (400, "model")
    missing = gate.ask(document, path="/lab/v1/chat/completions")
    assert (missing.status, missing.headers["x-router-error"]) == (404, "unknown_endpoint")
    add(gate, "lab", f"{server.url}/v1")
    assert gate.ask(document).status == 200
    set_of(gate, "lab", base_url=f"{other.url}/v2")
    assert gate.ask(document).status == 200
    assert [one["path"] for one in other.asked] == ["/v2/chat/completions"]
    set_of(gate, "lab", auth="api-key")
    assert gate.ask(document, path="/lab/v1/chat/completions").status == 200
    assert other.asked[-1]["headers"]["api-key"] == SECRET
    set_of(gate, "lab", models=["llama-*", "x"])
    refused = gate.ask(document)
    assert (refused.status, refused.json["error"]["provider"]) == (400, "lab")
    assert "has no model m here" in refused.json["error"]["message"]
    assert gate.ask({**document, "model": "lab/llama-3"}).status == 200
    set_of(gate, "lab", enabled=False)
    refused = gate.ask({**document, "model": "lab/llama-3"})
    assert (refused.status, refused.headers["x-router-error"]) == (503, "provider_disabled")
    assert refused.headers["x-should-retry"] == "false"
    other.stop()


def test_one_that_was_added_since_is_found_before_messages_go_to_anthropic(gate: Gate, server: Server) -> None:
    """What nobody knows goes there; a name that was chosen a moment ago does not."""
    gate.open(server.url, pool())
    key_with(gate, spend_limit_nanos=None)
    document = {"model": "lab/m", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}
    gate.ask(CHAT)
    add(gate, "lab", f"{server.url}/lab/v1")
    assert gate.ask(document, path="/v1/messages").status == 200
    assert server.asked[-1]["path"] == "/lab/v1/chat/completions"


def test_what_is_not_metered_is_for_keys_without_a_limit(gate: Gate, server: Server) -> None:
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/v1")
    for method, path in (("POST", "rerank"), ("POST", "batches"), ("POST", "files"), ("GET", "responses/resp_1")):
        refused = gate.ask({"model": "m"}, path=f"/lab/v1/{path}", method=method)
        assert (refused.status, refused.headers["x-router-error"]) == (403, "endpoint_not_metered"), path
    assert gate.ask(path="/lab/v1/models", method="GET").status == 200
    assert [one["path"] for one in server.asked] == ["/v1/models"]
    key_with(gate, spend_limit_nanos=None)
    assert gate.ask({"model": "m"}, path="/lab/v1/rerank").status == 200
    assert gate.ask({"model": "m"}, path="/lab/v1/batches").status == 200
    assert [row.flags for row in gate.rows()][1:] == [["unmetered"], ["unmetered"]]
    wrong = gate.ask({"model": "m"}, path="/lab/v1/chat/completions", method="GET")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    for path in ("/lab/v1/Chat/Completions", "/lab/v1/Responses"):
        other = gate.ask({"model": "m"}, path=path)
        assert (other.status, other.headers["x-router-error"]) == (404, "unknown_endpoint")
        assert f"in the right case it is {path.lower()}." in other.json["error"]["message"]


def test_no_work_in_the_background_that_nobody_could_meter(lab: Gate) -> None:
    key_with(lab, spend_limit_nanos=None)
    document = {"model": "lab/gpt-4o-mini", "input": "hello", "background": True}
    refused = lab.ask(document, path="/v1/responses")
    assert (refused.status, refused.json["error"]["param"]) == (400, "background")
    assert lab.rows() == []


def test_no_credential(gate: Gate, server: Server) -> None:
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/v1", secret=None)
    key_with(gate, spend_limit_nanos=None)
    refused = gate.ask({**CHAT, "model": "lab/m"})
    assert (refused.status, refused.headers["x-router-error"]) == (503, "provider_not_configured")


def test_the_price_table_means_nothing_to_it() -> None:
    """Its models may be called like those of others."""
    usage = Usage(model="gpt-4o", counts={"input_tokens": 10, "output_tokens": 10})
    assert cost("lab", "gpt-4o", usage, at=1_700_000_000.0).flags == ("unpriced",)


def test_lists_of_models_tell_openais_sdk_of_them(gate: Gate, server: Server) -> None:
    """By names of the list, and by those with a price that it covers; nobody else's SDK, and not what is switched off."""
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/v1", models=["llama-3", "qwen/*", "o*"])
    add(gate, "bare", f"{server.url}/v1", models=["x"], secret=None)
    add(gate, "free", f"{server.url}/v1", models=["y"], secret=None, auth="none")
    add(gate, "off", f"{server.url}/v1", models=["z"], enabled=False)
    price(gate, "lab", "qwen/qwen3", **RATES)
    price(gate, "lab", "mixtral", **RATES)

    def listed(*more: tuple[bytes, bytes]) -> list[str]:
        answer = gate.ask(path="/v1/models", method="GET", more=more).json
        return [one.get("id") for one in answer.get("data", answer.get("models"))]

    assert [one for one in listed() if "/" in one] == ["free/y", "lab/llama-3", "lab/qwen/qwen3"]
    assert not [one for one in listed((b"anthropic-version", b"2023-06-01")) if "/" in one]
    key_with(gate, allowed_models=["lab/qwen/*"])
    assert listed() == ["lab/qwen/qwen3"]
    card = gate.ask(path="/v1/models/lab/qwen/qwen3", method="GET").json
    assert (card["id"], card["owned_by"]) == ("lab/qwen/qwen3", "lab")
    key_with(gate, allowed_models=[], allowed_providers=["free"])
    assert listed() == ["free/y"]
    key_with(gate, allowed_providers=[])
    assert gate.ask(path="/v1/models/lab/other", method="GET").status == 200
    assert [one["path"] for one in server.asked] == ["/v1/models/other"], "the provider's own, and nobody else's"


def test_a_change_between_the_body_and_the_admission_holds(gate: Gate, server: Server) -> None:
    """What was found by an older snapshot is not sent where that led."""
    other = Server()
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/v1")
    key_with(gate, spend_limit_nanos=None)
    assert gate.ask({**CHAT, "model": "lab/m"}).status == 200

    @dataclass
    class Late(Sent):
        """Comes when the provider was edited already."""

        change: Callable[[], object] = dict

        def read(self, limit_bytes: int) -> bytes:
            self.change()
            return super().read(limit_bytes)

    def ask(change: Callable[[], object], path: str = "/v1/chat/completions", model: str = "lab/m") -> int:
        headers = ((b"authorization", f"Bearer {gate.key}".encode()), (b"content-type", b"application/json"))
        body = Late(json.dumps({**CHAT, "model": model}).encode(), change=change)
        return answered(gate.gateway.handle(Request("POST", path, "", headers, App(), body))).status

    assert ask(lambda: set_of(gate, "lab", base_url=f"{other.url}/elsewhere", auth="api-key")) == 200
    assert [(one["path"], one["headers"]["api-key"]) for one in other.asked] == [
        ("/elsewhere/chat/completions", SECRET)
    ]
    assert ask(lambda: set_of(gate, "lab", enabled=False)) == 503
    set_of(gate, "lab", enabled=True)
    assert ask(lambda: remove(gate, "lab")) == 400
    add(gate, "den", f"{server.url}/v1")
    assert gate.ask({**CHAT, "model": "den/m"}).status == 200
    assert ask(lambda: remove(gate, "den"), "/den/v1/chat/completions", "m") == 404, "as for whoever comes later"
    assert (len(server.asked), len(other.asked)) == (2, 1)
    assert gate.ask({**CHAT, "model": "lab/m"}).status == 400
    other.stop()


def test_a_bound_that_does_not_fit_is_not_counted_there(gate: Gate, server: Server) -> None:
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/v1")
    price(gate, "lab", "m", input_tokens="100000", output_tokens="1")
    refused = gate.ask({"model": "lab/m", "input": "x" * 100_000, "max_output_tokens": 16}, path="/v1/responses")
    assert (refused.status, refused.headers["x-router-error"]) == (403, "spend_exceeded")
    assert server.asked == []
