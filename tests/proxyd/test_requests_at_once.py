"""Requests of a key at once: one is in flight until its answer is complete, at whatever worker the next one is asked."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from accounting_kit import Router, Worker, charge, telling
from gateway_kit import CHAT, GOOD, REFUSED, Gate, Provider
from sqlalchemy import Engine

from shared.counters import Admitted, TooManyConcurrent
from shared.keys import NewKey
from shared.sealing import Sealer

ONE = charge(max_concurrent_requests=1)
NOBODY = "http://127.0.0.1:1"  # a provider that cannot be reached

MakeKey = Callable[..., tuple[str, NewKey]]


@pytest.fixture
def one_at_once(router: Router, worker: Worker, engine: Engine, sealer: Sealer, make_key: MakeKey) -> Iterator[Gate]:
    """Its worker does nothing unasked: what is told of an end was told before its answer went out."""
    key_id, key = make_key(max_concurrent_requests=1)
    gate = Gate(router, worker, engine, sealer, key_id, key.raw)
    yield gate
    gate.pool.close()


def in_flight(gate: Gate) -> int:
    """As any other worker sees it."""
    return gate.router.observer.rows([gate.key_id])[gate.key_id].in_flight


@pytest.mark.parametrize("document", [CHAT, CHAT | {"stream": True}])
def test_an_end_is_told_before_the_last_byte_of_its_answer(
    one_at_once: Gate, provider: Provider, document: dict[str, Any]
) -> None:
    one_at_once.open(provider.url)
    one_at_once.store(GOOD)
    for _ in range(2):
        assert one_at_once.ask(document).status == 200
        assert in_flight(one_at_once) == 0


def test_so_is_that_of_an_answer_which_is_an_error(one_at_once: Gate, provider: Provider) -> None:
    one_at_once.open(provider.url)
    one_at_once.store(REFUSED)
    assert one_at_once.ask().status >= 400
    assert in_flight(one_at_once) == 0


def test_so_is_that_of_a_request_which_could_not_be_sent(one_at_once: Gate) -> None:
    one_at_once.open(NOBODY)
    one_at_once.store(GOOD)
    assert one_at_once.ask().status == 502
    assert in_flight(one_at_once) == 0


def test_who_has_no_such_limit_waits_for_nobody(gate: Gate, provider: Provider) -> None:
    gate.open(provider.url)
    gate.store(GOOD)
    assert gate.ask().status == 200
    assert in_flight(gate) == 1, "it rides with the next batch"


def test_a_large_body_is_not_judged_by_what_has_ended(gate: Gate, provider: Provider) -> None:
    """Before it is read nobody looks whether the one in flight, as the counters still have it, has ended."""
    gate.open(provider.url)
    gate.store(GOOD)
    assert gate.ask().status == 200
    set_most(gate, 1)
    large = CHAT | {"messages": [{"role": "user", "content": "a" * 300_000}]}
    assert in_flight(gate) == 1
    assert gate.ask(large).status == 200


def set_most(gate: Gate, most: int) -> None:
    """As the dashboard edits a key."""
    with gate.engine.begin() as connection:
        connection.exec_driver_sql(f"update proxy_keys set version = 2, max_concurrent_requests = {most}")
    gate.router.observer.publish(gate.router.database.generation(), {gate.key_id: 2}, {})


@pytest.fixture
def two(router: Router) -> tuple[Worker, Worker]:
    workers = router.worker(), router.worker()
    router.rounds(2)
    return workers


def test_an_end_that_another_worker_is_about_to_tell_is_waited_for(two: tuple[Worker, Worker]) -> None:
    """As of a turn of a WebSocket, or of what never came to be sent."""
    a, b = two
    seq, _ = a.admit(ONE)
    a.accounting.void(seq)
    answers = telling(b, a.accounting.flush)
    assert isinstance(b.admit(ONE)[1], Admitted)
    assert [type(answer) for (answer,) in answers] == [TooManyConcurrent, Admitted]


def test_one_that_is_still_in_flight_refuses(two: tuple[Worker, Worker]) -> None:
    a, b = two
    a.admit(ONE)
    answers = telling(b, lambda: None)
    assert b.admit(ONE)[1] == TooManyConcurrent(1, 1)
    assert len(answers) == 2


def test_what_cannot_be_told_at_once_is_told_later(router: Router, two: tuple[Worker, Worker]) -> None:
    a, b = two
    seq, _ = a.admit(ONE)
    router.lose_counters()
    a.settle(seq, 5)
    a.accounting.tell()
    router.rest(a, b)
    assert isinstance(b.admit(ONE)[1], Admitted)
    assert router.spent() == (5, 1_000)
