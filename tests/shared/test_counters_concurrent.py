"""Requests of a key in flight at once: counted for every key, held to the limit of those that have one."""

import pytest
from counters_kit import TODAY, Home, Worker, charge, in_flight, kinds, money, used

from shared.counters import (
    Admitted,
    End,
    Hold,
    LastAdmitted,
    RateLimited,
    Rebuilding,
    SpendExceeded,
    TooManyConcurrent,
    WorkerReplay,
)


@pytest.fixture
def worker(home: Home) -> Worker:
    return Worker(home.live(1, "key", "other")).register()


def test_it_works(worker: Worker) -> None:
    assert kinds(worker.send(*[charge(most=2)] * 3, charge("other", most=1))) == [
        Admitted, Admitted, TooManyConcurrent, Admitted,
    ]  # fmt: skip
    assert worker.ask(charge(most=2)) == TooManyConcurrent(2, 2)
    assert (in_flight(worker.counters), used(worker.counters)) == (2, 2), "what was refused counts for nothing"
    (answer,) = worker.send(charge(most=2), ends=[worker.end(day=TODAY)])
    assert isinstance(answer, Admitted), "the end of one makes room in its own batch"
    assert in_flight(worker.counters) == 2


def test_a_refused_request_holds_nothing_and_the_others_are_told_what_they_were(worker: Worker) -> None:
    asked = charge(most=1, limit=100, bound=40, rpm=9)
    first, second = worker.send(asked, asked)
    assert isinstance(first, Admitted)
    assert second == TooManyConcurrent(1, 1)
    assert money(worker.counters) == (0, 40, 0)


def test_the_rate_is_told_before_it_and_money_after_it(worker: Worker) -> None:
    worker.send(charge())
    assert kinds(worker.send(charge(rpm=1, most=1, limit=0, bound=1))) == [RateLimited]
    assert kinds(worker.send(charge(rpm=2, most=1, limit=0, bound=1))) == [TooManyConcurrent]
    assert kinds(worker.send(charge(rpm=2, most=2, limit=0, bound=1))) == [SpendExceeded]


def test_a_limit_that_is_new_finds_what_is_in_flight(worker: Worker) -> None:
    worker.send(charge(), charge(limit=10, bound=1))
    assert worker.ask(charge(most=2)) == TooManyConcurrent(2, 2)
    assert worker.ask(charge(most=1)) == TooManyConcurrent(1, 2)
    assert isinstance(worker.ask(charge(most=3)), Admitted)


def test_what_never_began_is_taken_back_and_what_was_not_asked_frees_nothing(worker: Worker) -> None:
    first, _ = worker.send(charge(), charge())
    assert isinstance(first, Admitted)
    worker.send(ends=[End(0, "key", TODAY, 0, 0, first.second)])
    assert (in_flight(worker.counters), used(worker.counters)) == (1, 1)
    unheld = worker.end(day=TODAY, cost=7)._replace(requests=0)
    worker.send(ends=[unheld])
    assert in_flight(worker.counters) == 1
    worker.send(ends=[worker.end(day=TODAY), worker.end(day=TODAY)])
    assert in_flight(worker.counters) == 0, "never less than none"


def test_a_batch_that_is_told_again_counts_once(worker: Worker) -> None:
    batch = worker.batch([charge(most=1)])
    assert kinds(worker.counters.apply_batch(batch)) == kinds(worker.counters.apply_batch(batch)) == [Admitted]
    assert in_flight(worker.counters) == 1


def test_a_dead_worker_frees_what_it_had(home: Home) -> None:
    counters = home.live(1, "key")
    living, dying = Worker(counters).register(), Worker(counters, "w2").register()
    living.send(charge(seq=1))
    dying.send(charge(seq=1))
    dying.send(charge(seq=2, bound=3), charge(seq=3, bound=5))
    state = counters.worker_state("w2")
    assert state is not None
    assert state.last_admitted == [LastAdmitted(2, Hold("key", TODAY, 3)), LastAdmitted(3, Hold("key", TODAY, 5))]
    # The third was never begun: it has no END.
    ends = [dying.end(day=TODAY), dying.end(day=TODAY, held=3, cost=3)]
    assert counters.close_worker(WorkerReplay("w2", 1, 2, ends, [state.last_admitted[1].hold]))
    assert (in_flight(counters), money(counters)) == (1, (3, 0, 3))


def test_new_counters_are_told_what_is_in_flight(home: Home) -> None:
    counters = home.live(1, "key")
    counters.begin_generation(2, {"w1": 1, "w2": 0})
    counters.publish(2, {"key": 1}, {"org": 1})
    newcomer = Worker(counters, "w3", 2).register()
    assert newcomer.ask(charge(most=9)) == Rebuilding()
    ended = [End(number, "key", TODAY, 5, 5) for number in (1, 2)]
    counters.join(WorkerReplay("w1", 2, 2, ended, [Hold("key", TODAY, 7, 3), Hold("key", TODAY - 1, 0, 1)]))
    dead = [End(1, "key", TODAY, 4, 4)]
    counters.close_worker(WorkerReplay("w2", 2, 1, dead, [Hold("key", TODAY, 4)]))
    assert (in_flight(counters), money(counters)) == (4, (9, 7, 9)), (
        "what ended before they were made is in none of them"
    )
    counters.go_live(2)
    assert newcomer.ask(charge(most=4)) == TooManyConcurrent(4, 4)
