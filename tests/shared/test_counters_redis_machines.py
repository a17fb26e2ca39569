"""Counters that several machines share: following those that another has made, and fencing who is away."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from counters_kit import TODAY, Home, Worker, charge, kinds, money, used
from redis_kit import RedisServer

from shared.counters import (
    Admitted,
    CountersLost,
    End,
    Hold,
    RateBucket,
    SharedCounters,
    WorkerReplay,
)

SECOND = 5_000


@pytest.fixture
def homes(redis_server: RedisServer, tmp_path: Path) -> Iterator[tuple[Home, Home]]:
    """Two data directories on one server."""
    redis_server.empty()
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        found.append(Home(tmp_path / name, redis_server.url))
    found[1].clock = found[0].clock
    yield found[0], found[1]
    for home in found:
        home.close()


def shared(home: Home) -> SharedCounters:
    found = home.connect().shared
    assert found is not None
    return found


def rebuilt(homes: tuple[Home, Home]) -> Worker:
    """Generation 2, made by A: a worker of B has to join it. Answers with one of A's."""
    counters = homes[0].live(1, "key")
    counters.begin_generation(2, {"away": 3})
    counters.publish(2, {"key": 1}, {"org": 1})
    return Worker(counters, "here", 2).register()


def test_it_works(homes: tuple[Home, Home]) -> None:
    a, b = homes
    a.live(1, "key")
    shared(b).adopt(b.connect(attached=False).status(), [RateBucket("key", SECOND, 2)])
    assert (b.shared_state.generation, b.shared_state.sequence) == (1, a.connect().status().sequence)
    worker = Worker(b.connect()).register()
    assert kinds(worker.send(charge(limit=100, bound=60))) == [Admitted]
    assert used(a.connect()) == 3


def test_who_follows_goes_by_what_stands_there_and_not_by_what_it_had_seen(homes: tuple[Home, Home]) -> None:
    a, b = homes
    a.live(1, "key")
    b.shared_state.begin_generation(1, 2**40, 0, 0)  # of counters that had come further
    shared(b).adopt(b.connect(attached=False).status(), [])
    assert b.shared_state.sequence == a.connect().status().sequence


def test_others_than_were_found_are_not_followed(homes: tuple[Home, Home]) -> None:
    a, b = homes
    counters = a.live(1, "key")
    status = b.connect(attached=False).status()
    counters.begin_generation(2, {})
    with pytest.raises(CountersLost):
        shared(b).adopt(status, [])
    assert b.shared_state.generation == 0


def test_a_fence_holds_what_was_posted_and_lets_others_go_on(homes: tuple[Home, Home]) -> None:
    worker = rebuilt(homes)
    fence(homes[0])
    assert worker.counters.status().missing == ()
    state = worker.counters.worker_state("away")
    assert state is not None
    assert (state.joined, state.end_number) == (False, 3)
    worker.counters.go_live(2)
    worker.counters.seed(2, [])
    assert money(worker.counters) == (0, 70, 0)


def fence(home: Home, *holds: Hold) -> None:
    shared(home).fence(2, "away", holds or [Hold("key", TODAY, 50), Hold("key", TODAY - 1, 20)])


def test_a_fence_is_written_once(homes: tuple[Home, Home]) -> None:
    worker = rebuilt(homes)
    fence(homes[0])
    fence(homes[0], Hold("key", TODAY, 9))
    assert money(worker.counters) == (0, 70, 0)


@pytest.mark.parametrize("times", [1, 2])
def test_who_joins_takes_back_what_was_posted_and_brings_what_is(homes: tuple[Home, Home], times: int) -> None:
    worker = rebuilt(homes)
    fence(homes[0])
    ends = [End(3, "key", TODAY, 50, 8), End(4, "key", TODAY, 50, 9)]
    replay = WorkerReplay("away", 2, 4, ends, [Hold("key", TODAY, 33)], [RateBucket("key", SECOND, 1)])
    for _ in range(times):
        worker.counters.join(replay)
    assert money(worker.counters) == (9, 33, 9)
    fence(homes[0])
    assert money(worker.counters) == (9, 33, 9)
    assert used(worker.counters) == 1
    back = Worker(worker.counters, "away", 2, end_number=4)
    back.send(ends=[back.end(day=TODAY, held=33, cost=1)])
    assert money(worker.counters) == (10, 0, 10)


@pytest.mark.parametrize("times", [1, 2])
def test_who_died_is_taken_out_with_what_was_posted(homes: tuple[Home, Home], times: int) -> None:
    worker = rebuilt(homes)
    fence(homes[0])
    closing = WorkerReplay("away", 2, 4, [End(4, "key", TODAY, 50, 50)], (), [RateBucket("key", SECOND, 1)])
    for _ in range(times):
        worker.counters.close_worker(closing)
    fence(homes[0])
    assert money(worker.counters) == (50, 0, 50)
    assert worker.counters.worker_state("away") is None


def test_who_was_only_entering_takes_back_what_was_posted(homes: tuple[Home, Home]) -> None:
    worker = rebuilt(homes)
    fence(homes[0])
    worker.counters.register("away", 2)
    assert money(worker.counters) == (0, 0, 0)
    assert kinds(Worker(worker.counters, "away", 2).send(charge(bound=7))) == [Admitted]


def test_nobody_is_fenced_in_other_counters(homes: tuple[Home, Home]) -> None:
    rebuilt(homes)
    with pytest.raises(CountersLost):
        shared(homes[0]).fence(1, "away", [])
    shared(homes[0]).fence(2, "nobody", [Hold("key", TODAY, 5)])
    assert homes[0].connect().worker_state("nobody") is None


def test_amounts_are_exact(homes: tuple[Home, Home]) -> None:
    worker = rebuilt(homes)
    nanos = 2**52 - 1
    fence(homes[0], Hold("key", TODAY, nanos))
    assert money(worker.counters) == (0, nanos, 0)
    worker.counters.join(WorkerReplay("away", 2, 3))
    assert money(worker.counters) == (0, 0, 0)
