"""What the gateway makes of limits for models: which requests they are for, and what is refused where one may be."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from accounting_kit import Router, Worker
from custom_kit import Server, add, pool, price
from gateway_kit import CHAT, GOOD, LIMITED, Gate, Provider
from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from shared.counters import CountersUnavailable
from shared.keys import NewKey
from shared.model_limits import row_id_of
from shared.models import Organization, ProxyKey
from shared.sealing import Sealer

LARGE = "x" * 1_500_000  # is parsed in another process
FAR = 10**10
MakeKey = Callable[..., tuple[str, NewKey]]


def limit(model: str, nanos: int = FAR, reset: str = "never", since: int = 0) -> dict[str, Any]:
    return {"model": model, "spend_limit_nanos": nanos, "spend_reset": reset, "since": since}


Open = Callable[..., Gate]
MESSAGES = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-1"}
IMAGES = {"type": "image_generation", "model": "gpt-image-1"}


@pytest.fixture
def opened(
    router: Router, worker: Worker, engine: Engine, sealer: Sealer, make_key: MakeKey, provider: Provider
) -> Iterator[Open]:
    """A gateway whose key has these limits for models and no other."""
    pools = []

    def open_(*limits: dict[str, Any]) -> Gate:
        key_id, key = make_key(model_limits=list(limits))
        gate = Gate(router, worker, engine, sealer, key_id, key.raw)
        gate.open(provider.url)
        gate.store("sandbox-good-credential-0001")
        pools.append(gate.pool)
        return gate

    yield open_
    for one in pools:
        one.close()


def spent(gate: Gate, pattern: str) -> int:
    gate.rows()
    row_id = row_id_of(gate.key_id, pattern)
    row = gate.worker.counters.rows([row_id]).get(row_id)
    return 0 if row is None else row.lifetime


@pytest.mark.parametrize("text", ["hello", LARGE])
@pytest.mark.parametrize("pattern", ["gpt-4o-mini", "gpt-4o*", "openai/*", "*"])
def test_it_works(opened: Open, pattern: str, text: str) -> None:
    """Whatever its pattern, and however large the body is, it is charged what the ledger has."""
    gate = opened(limit(pattern), limit("claude-*"))
    assert gate.ask({**CHAT, "messages": [{"role": "user", "content": text}]}).status == 200
    (row,) = gate.rows()
    assert row.cost_nanos > 0
    assert (spent(gate, pattern), spent(gate, "claude-*")) == (row.cost_nanos, 0)


def test_what_does_not_fit_is_told_what_would(opened: Open) -> None:
    gate = opened(limit("gpt-4o-mini", 200_000))
    answer = gate.ask({**CHAT, "max_tokens": 1_000})
    assert (answer.status, answer.headers["x-router-error"]) == (403, "model_spend_exceeded")
    error = answer.json["error"]
    fits = error["affordable_max_tokens"]
    assert (error["model_limit"], error["remaining_usd"]) == ("gpt-4o-mini", "0.0002")
    assert 0 < fits < 1_000
    assert gate.ask({**CHAT, "max_tokens": fits}).status == 200


def test_an_output_limit_is_set_for_what_is_left(opened: Open) -> None:
    """As on a key with a spend limit, where the client sets none; other models are left alone."""
    gate = opened(limit("gpt-4o-mini", 5_000_000))
    plain = {name: value for name, value in CHAT.items() if name != "max_tokens"}
    assert int(gate.ask(plain).headers["x-router-max-tokens"]) == 4_096
    assert "x-router-max-tokens" not in gate.ask({**plain, "model": "gpt-4.1-mini"}).headers


def test_a_model_without_a_price_is_refused_where_it_matches(opened: Open) -> None:
    gate = opened(limit("gpt-unknown*"))
    answer = gate.ask({**CHAT, "model": "gpt-unknown-1"})
    assert (answer.status, answer.headers["x-router-error"]) == (403, "model_not_priced")
    told = {"model": "gpt-unknown*", "spend_limit_usd": "10.00", "spend_reset": "never"}
    assert answer.json["error"]["model_limits"] == [told], "as the API has them"
    assert "x-router-error" not in gate.ask({**CHAT, "model": "gpt-other-unknown"}).headers


def test_what_is_not_metered_is_for_models_that_no_limit_is_for(opened: Open) -> None:
    """One that names no model may be for any."""
    gate = opened(limit("sora*"))

    def code(document: dict[str, Any]) -> str | None:
        return gate.ask(document, path="/openai/v1/videos").headers.get("x-router-error")

    assert code({"prompt": "x"}) == "endpoint_not_metered"
    assert code({"prompt": "x", "model": "sora-2"}) == "endpoint_not_metered"
    assert code({"prompt": "x", "model": "veo"}) is None


def test_a_job_in_the_background_is_refused_where_it_matches(opened: Open) -> None:
    gate = opened(limit("gpt-4o-mini"))
    document = {"model": "gpt-4o-mini", "input": "hello", "background": True}
    assert gate.ask(document, path="/v1/responses").headers["x-router-error"] == "model_not_priced"


@pytest.mark.parametrize(
    ("path", "document", "pattern"),
    [
        ("/v1/messages", {**MESSAGES, "fallbacks": [{"model": "claude-opus-4-1"}]}, "claude-opus-*"),
        ("/v1/messages", {**MESSAGES, "tools": [ADVISOR]}, "claude-opus-*"),
        ("/v1/responses", {"model": "gpt-4o-mini", "input": "x", "tools": [IMAGES]}, "gpt-image*"),
        ("/v1/chat/completions", {**CHAT, "tools": [IMAGES]}, "gpt-image*"),
    ],
)
def test_other_models_that_a_request_lets_take_part_are_not_for_a_key_with_limits(
    opened: Open, path: str, document: dict[str, Any], pattern: str
) -> None:
    """Nobody can tell which those are and what they cost, so that they might pass any of its limits."""
    gate = opened(limit(pattern, 0))
    gate.store("sandbox-good-credential-0002", provider="anthropic")
    answer = gate.ask(document, path=path)
    assert (answer.status, answer.headers["x-router-error"]) == (403, "model_not_priced")
    plain = {name: value for name, value in document.items() if name not in ("tools", "fallbacks")}
    assert "x-router-error" not in gate.ask(plain, path=path).headers
    runs = {**plain, "tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}
    if path == "/v1/responses":
        assert "x-router-error" not in gate.ask(runs, path=path).headers, "it is billed by time"


def test_the_limits_that_are_blamed_are_those_that_are_the_cause(opened: Open, engine: Engine) -> None:
    gate = opened(limit("claude-*"), limit("gpt-u*"), limit("gpt-*"))
    error = gate.ask({**CHAT, "model": "gpt-unknown-1"}).json["error"]
    assert [one["model"] for one in error["model_limits"]] == ["gpt-u*", "gpt-*"]
    assert "(gpt-u*, gpt-*)" in error["message"]
    with Session(engine) as session, session.begin():
        session.execute(update(Organization).values(spend_limit_nanos=10**12, spend_reset="never", policy_version=2))
        session.execute(update(ProxyKey).values(model_limits=[limit("claude-*")], version=2))
    gate.worker.counters.publish(gate.worker.membership.generation, {gate.key_id: 2}, {"org_1": 2})
    error = gate.ask({**CHAT, "model": "gpt-unknown-1"}).json["error"]
    assert error["organization_spend_limit_usd"] == "1000.00"
    assert "the organisation of the proxy key" in error["message"]
    assert "model_limits" not in error
    told = gate.ask({"prompt": "x", "model": "sora-2"}, path="/openai/v1/videos").json["error"]
    assert (told["code"], "organisation" in told["message"]) == ("endpoint_not_metered", True)


def test_it_goes_on_with_another_credential_and_counts_once(opened: Open) -> None:
    gate = opened(limit("gpt-4o*"))
    gate.store(LIMITED)
    gate.store(GOOD, "second", priority=2)
    answer = gate.ask()
    assert (answer.status, answer.headers["x-router-attempts"]) == (200, "2")
    costs = [row.cost_nanos for row in gate.rows()]
    assert len(costs) == 2
    assert spent(gate, "gpt-4o*") == sum(costs) > 0


@pytest.mark.parametrize(("pattern", "counts"), [("lab/*", True), ("m", True), ("openai/*", False), ("other/m", False)])
def test_models_of_a_provider_of_ones_own_count_under_its_name(
    opened: Open, server: Server, pattern: str, counts: bool
) -> None:
    gate = opened(limit(pattern))
    gate.pool.close()
    gate.open(server.url, pool())
    add(gate, "lab", f"{server.url}/v1")
    price(gate, "lab", "m", input_tokens="2", output_tokens="5")
    assert gate.ask({**CHAT, "model": "lab/m"}).status == 200
    (row,) = gate.rows()
    assert row.cost_nanos > 0
    assert spent(gate, pattern) == (row.cost_nanos if counts else 0)


def test_a_free_request_is_never_refused_for_it(opened: Open) -> None:
    gate = opened(limit("*", 0))
    assert gate.ask(path="/openai/v1/models", method="GET").status == 200
    moderated = gate.ask({"input": "x", "model": "omni-moderation-latest"}, path="/v1/moderations")
    assert "x-router-error" not in moderated.headers
    assert gate.ask().headers["x-router-error"] == "model_spend_exceeded"


def test_the_key_itself_is_told(opened: Open) -> None:
    gate = opened(limit("gpt-4o*", reset="daily"))
    assert gate.ask().status == 200
    told = gate.ask(path="/v1/key", method="GET").json["model_limits"]
    assert [(one["model"], one["spend_limit_usd"], one["spend_reset"]) for one in told] == [
        ("gpt-4o*", "10.00", "daily")
    ]
    assert told[0]["spend"]["spent_usd"] == gate.ask(path="/v1/key", method="GET").json["spend"]["spent_usd"] != "0.00"


def test_counters_that_do_not_answer_refuse_what_it_is_for(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Money fails closed, as it does for a spend limit; other models go on."""
    gate = opened(limit("gpt-4o*"))
    assert gate.ask({**CHAT, "model": "gpt-4.1-mini"}).status == 200

    def unavailable(*_: object) -> Any:
        raise CountersUnavailable("away")

    monkeypatch.setattr(gate.worker.counters, "apply_batch", unavailable)
    assert gate.ask().headers["x-router-error"] == "limits_unavailable"
    assert gate.ask({**CHAT, "model": "gpt-4.1-mini"}).status == 200
