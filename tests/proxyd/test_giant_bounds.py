"""Requests that may cost more than counters can add up: what is held must be what is given back (M2, M5)."""

from collections.abc import Callable, Iterator

import gevent
import pytest
from accounting_kit import Router, Worker
from gateway_kit import CHAT, GOOD, Answered, Gate, Provider
from msgspec.structs import replace
from policy_kit import ASK, NOW, OPEN
from sqlalchemy import Engine

from shared.keys import NewKey
from shared.money import MAX_BOUND_NANOS, MAX_NANOS
from shared.policy import Allow, Deny, Reason, evaluate
from shared.sealing import Sealer

NANOS_A_TOKEN = 600  # of gpt-4o-mini's output
GIANTS = [10**12, 2**53, MAX_BOUND_NANOS // NANOS_A_TOKEN + 1]
Open = Callable[..., Gate]


@pytest.fixture
def opened(
    router: Router, worker: Worker, engine: Engine, sealer: Sealer,
    make_key: Callable[..., tuple[str, NewKey]], provider: Provider,
) -> Iterator[Open]:  # fmt: skip
    gates = []

    def open_(limit_nanos: int | None) -> Gate:
        key_id, key = make_key(spend_limit_nanos=limit_nanos)
        gates.append(gate := Gate(router, worker, engine, sealer, key_id, key.raw))
        gate.open(provider.url)
        gate.store(GOOD)
        return gate

    yield open_
    for gate in gates:
        gate.pool.close()


def ask(gate: Gate, tokens: int, text: str = "hi") -> Answered:
    return gate.ask({**CHAT, "max_tokens": tokens, "messages": [{"role": "user", "content": text}]})


def held(gate: Gate) -> tuple[int, int]:
    """Nanos, and requests in flight."""
    gate.worker.accounting.flush()
    row = gate.worker.counters.rows([gate.key_id])[gate.key_id]
    return sum(entry[1] for entry in row.days.values()), row.in_flight


@pytest.mark.parametrize("limit_nanos", [None, MAX_NANOS])
@pytest.mark.parametrize("tokens", GIANTS)
def test_one_that_is_dearer_than_any_may_be_is_refused_by_name(
    opened: Open, tokens: int, limit_nanos: int | None
) -> None:
    gate = opened(limit_nanos)
    answer = ask(gate, tokens)
    assert (answer.status, answer.headers["x-router-error"]) == (400, "invalid_request")
    assert answer.json["error"]["param"] == "max_tokens"
    assert "one request may cost $100000.00 at most" in answer.json["error"]["message"]
    assert gate.rows() == []


def test_a_limit_says_it_where_there_is_one(opened: Open) -> None:
    """With what it would need and what is left, as every other request is told."""
    answer = ask(opened(5 * 10**9), 10**12)
    assert (answer.status, answer.headers["x-router-error"]) == (403, "spend_exceeded")
    assert answer.json["error"]["needed_usd"] > "100000"


def test_what_others_hold_stays_when_a_giant_was_there(opened: Open) -> None:
    """It took back what others held: a limit set afterwards was passed by that much."""
    gate = opened(None)
    other = gevent.spawn(ask, gate, 10_000_000, "sandbox:slow=1 hi")
    while not gate.worker.counters.rows([gate.key_id]):
        gevent.sleep(0.01)
    before = held(gate)
    ask(gate, 2**53)
    assert ask(gate, MAX_BOUND_NANOS // NANOS_A_TOKEN // 2).status == 200
    assert held(gate) == before
    assert before[0] > 10_000_000 * NANOS_A_TOKEN
    assert other.get(timeout=10).status == 200


@pytest.mark.parametrize("bound", [MAX_BOUND_NANOS, MAX_BOUND_NANOS + 1])
def test_the_line_itself_is_admitted(bound: int) -> None:
    told = evaluate(OPEN, replace(ASK, bound_nanos=bound), NOW)
    if bound == MAX_BOUND_NANOS:
        assert isinstance(told, Allow)
        assert told.charges.bound_nanos == bound
    else:
        assert isinstance(told, Deny)
        assert told.reason is Reason.INVALID_REQUEST
    assert isinstance(evaluate(OPEN, replace(ASK, bound_nanos=bound, free=True), NOW), Allow)
