"""What every storage does with the batches of workers, written against the `Counters` protocol."""

from dataclasses import replace

import pytest
from counters_kit import TODAY, Home, Worker, charge, kinds, money, used

from shared.counters import (
    Admitted,
    Counters,
    CountersLost,
    End,
    Hold,
    LastAdmitted,
    Missing,
    RateLimited,
    SpendExceeded,
    SpendHeld,
    Stale,
    WorkerState,
)


@pytest.fixture
def counters(home: Home) -> Counters:
    return home.live(1, "key", "other")


@pytest.fixture
def worker(counters: Counters) -> Worker:
    return Worker(counters).register()


def test_it_works(worker: Worker) -> None:
    answers = worker.send(*[charge(rpm=3, limit=100, bound=40, seq=at) for at in range(4)])
    assert kinds(answers) == [Admitted, Admitted, SpendHeld, SpendHeld]
    assert money(worker.counters) == (0, 80, 0)
    assert used(worker.counters) == 2
    ends = [worker.end(day=TODAY, held=40, cost=15), worker.end(day=TODAY, held=40, cost=0)]
    assert worker.send(ends=ends) == []
    assert money(worker.counters) == (15, 0, 15)
    assert kinds(worker.send(*[charge(rpm=3, limit=100, bound=1)] * 2)) == [Admitted, RateLimited]


def test_ends_come_before_charges(worker: Worker) -> None:
    worker.send(charge(limit=100, bound=100))
    end = worker.end(day=TODAY, held=100, cost=10)
    (answer,) = worker.send(charge(limit=100, bound=90), ends=[end])
    assert isinstance(answer, Admitted)
    assert answer.spend is not None
    assert answer.spend[:4] == (100, 10, 90, 0)


def test_charges_of_one_batch_are_judged_in_order(worker: Worker) -> None:
    bounds = [60, 50, 40, 30]
    answers = worker.send(*[charge(limit=100, bound=bound) for bound in bounds])
    assert kinds(answers) == [Admitted, SpendHeld, Admitted, SpendHeld]


def test_m03_what_is_refused_consumes_nothing(worker: Worker) -> None:
    refused = [charge(rpm=5, limit=10, bound=11), charge(version=0, bound=3), charge(org_version=0, bound=3)]
    assert kinds(worker.send(*refused * 3)) == [SpendExceeded, Stale, Stale] * 3
    assert (money(worker.counters), used(worker.counters)) == ((0, 0, 0), 0)
    assert kinds(worker.send(*[charge(rpm=5, limit=10, bound=2)] * 6)) == [Admitted] * 5 + [RateLimited]
    assert money(worker.counters) == (0, 10, 0)


def test_r04_retry_after_is_true_within_a_second(home: Home, worker: Worker) -> None:
    home.clock.pass_by(0.4)
    assert isinstance(worker.ask(charge(rpm=1)), Admitted)
    home.clock.pass_by(7.3)
    answer = worker.ask(charge(rpm=1))
    assert isinstance(answer, RateLimited)
    assert 60 - 7.3 < answer.retry_after_seconds <= 61 - 7.3
    home.clock.pass_by(answer.retry_after_seconds - 0.01)
    assert isinstance(worker.ask(charge(rpm=1)), RateLimited)
    home.clock.pass_by(0.02)
    assert isinstance(worker.ask(charge(rpm=1)), Admitted)


def test_r02_an_edit_of_the_rate_forgets_nothing(worker: Worker) -> None:
    assert kinds(worker.send(*[charge(rpm=10)] * 11)) == [Admitted] * 10 + [RateLimited]
    assert kinds(worker.send(*[charge(rpm=12, version=2)] * 3)) == [Admitted] * 2 + [RateLimited]
    assert kinds(worker.send(charge(rpm=10, version=3), charge(rpm=None, version=4))) == [RateLimited, Admitted]
    assert kinds(worker.send(charge(rpm=13, version=5), charge(rpm=14, version=6))) == [RateLimited, Admitted]


ODD_IDS = ["a/b", "a", "b", "a:b", "{a}b", "a*", "%", "a b", "é", "'", '"', "[1]", ""]


def test_r05_ids_are_taken_as_they_stand(home: Home) -> None:
    worker = Worker(home.live(1, *ODD_IDS)).register()
    assert kinds(worker.send(*[charge(key, rpm=1, limit=5, bound=5) for key in ODD_IDS])) == [Admitted] * len(ODD_IDS)
    assert kinds(worker.send(*[charge(key, rpm=1) for key in ODD_IDS])) == [RateLimited] * len(ODD_IDS)
    rows = worker.counters.rows(ODD_IDS)
    assert {key: row.days for key, row in rows.items()} == {key: {TODAY: [0, 5]} for key in ODD_IDS}


def test_several_keys_and_organisations(home: Home, worker: Worker) -> None:
    worker.counters.publish(1, {}, {"acme": 4})
    answers = worker.send(
        charge("key", limit=10, bound=10),
        charge("other", limit=10, bound=10, org="acme", org_version=3),
        charge("other", limit=10, bound=10, org="acme", org_version=4),
        charge("key", limit=10, bound=10),
        charge("third", org="unknown", org_version=0),
        charge("other", limit=10, bound=9),
        ends=[worker.end("other", day=TODAY, cost=1), worker.end("third", day=TODAY, cost=2)],
    )
    assert kinds(answers) == [Admitted, Stale, SpendExceeded, SpendHeld, Missing, Admitted]
    assert [money(worker.counters, key) for key in ("key", "other", "third")] == [(0, 10, 0), (1, 9, 1), (2, 0, 2)]


# Numbers


def test_a_batch_again_is_answered_as_it_was_and_changes_nothing(home: Home, worker: Worker) -> None:
    charges = [charge(rpm=2, limit=100, bound=30, seq=at) for at in range(3)]
    batch = worker.batch(charges, [worker.end("other", day=TODAY, cost=5)])
    first = worker.counters.apply_batch(batch)
    before = worker.counters.status().sequence
    home.clock.pass_by(86_400)  # the day of the first run is the one that counts
    assert kinds(first) == [Admitted, Admitted, RateLimited]
    admitted = [Admitted(TODAY, 5_000), Admitted(TODAY, 5_000)]
    assert worker.counters.apply_batch(batch) == [*admitted, Stale()]
    assert worker.counters.apply_batch(replace(batch, charges=())) == admitted
    assert worker.counters.status().sequence == before
    assert money(worker.counters) == (0, 60, 0)
    assert money(worker.counters, "other") == (5, 0, 5)


def test_what_was_refused_between_is_told_as_nothing_charged(worker: Worker) -> None:
    charges = [charge(limit=10, bound=bound) for bound in (11, 4, 7, 6)]
    batch = worker.batch(charges)
    assert kinds(worker.counters.apply_batch(batch)) == [SpendExceeded, Admitted, SpendHeld, Admitted]
    assert kinds(worker.counters.apply_batch(batch)) == [Stale, Admitted, Stale, Admitted]
    assert kinds(worker.counters.apply_batch(replace(batch, charges=()))) == [Stale, Admitted, Stale, Admitted]


def test_a_batch_that_was_not_applied_is_applied_when_it_comes_again(worker: Worker) -> None:
    batch = worker.batch([charge(bound=3)], [worker.end("other", day=TODAY, cost=5)])
    assert worker.counters.apply_batch(replace(batch, charges=())) == []
    assert money(worker.counters, "other") == (5, 0, 5)
    assert worker.counters.apply_batch(batch) == [Stale()], "its number is used up"
    assert money(worker.counters) == (0, 0, 0)


@pytest.mark.parametrize("number", [-1, 0, 1, 4, 100])
def test_other_numbers_are_a_loss(worker: Worker, number: int) -> None:
    worker.send(charge())
    worker.send(charge())
    batch = replace(worker.batch([charge(bound=5)]), number=number)
    with pytest.raises(CountersLost, match="batches are missing"):
        worker.counters.apply_batch(batch)
    assert money(worker.counters) == (0, 0, 0)
    assert kinds(worker.counters.apply_batch(replace(batch, number=3))) == [Admitted]


def test_ends_whose_number_is_known_are_skipped_and_those_without_one_apply(worker: Worker) -> None:
    worker.send(ends=[End(number, "key", TODAY, 0, 1) for number in (1, 2, 3)])
    worker.send(charge(bound=50))
    worker.send(ends=[End(2, "key", TODAY, 0, 100), End(0, "key", TODAY, 20, 0), End(0, "key", TODAY, 20, 0)])
    assert money(worker.counters) == (3, 10, 3)
    worker.send(ends=[End(3, "key", TODAY, 0, 100), End(4, "key", TODAY, 10, 7)])
    assert money(worker.counters) == (10, 0, 10)
    state = worker.counters.worker_state("w1")
    assert state is not None
    assert state.end_number == 4


def test_workers_number_for_themselves(home: Home, worker: Worker) -> None:
    second = Worker(home.connect(), "w2").register()
    assert kinds(worker.send(charge(limit=10, bound=6))) == [Admitted]
    assert kinds(second.send(charge(limit=10, bound=6))) == [SpendHeld]
    assert second.send(ends=[second.end(day=TODAY, cost=2)]) == []
    assert worker.send(ends=[worker.end(day=TODAY, held=6, cost=3)]) == []
    assert money(worker.counters) == (5, 0, 5)


def test_an_error_in_the_middle_leaves_nothing(worker: Worker) -> None:
    before = worker.counters.status()
    ends = [worker.end(day=TODAY, cost=9)]
    batch = worker.batch([charge(bound=5, rpm=5), charge("other", limit=5, reset="hourly")], ends)
    with pytest.raises(ValueError, match="hourly"):
        worker.counters.apply_batch(batch)
    assert (money(worker.counters), used(worker.counters)) == ((0, 0, 0), 0)
    assert worker.counters.status() == before
    assert kinds(worker.counters.apply_batch(replace(batch, charges=batch.charges[:1]))) == [Admitted]
    assert money(worker.counters) == (9, 5, 9)


def test_a_last_batch_is_remembered_until_the_next(worker: Worker) -> None:
    assert worker.counters.worker_state("w1") == WorkerState(True, 0, [])
    worker.send(charge(bound=5, seq=11), charge(limit=4, bound=5, seq=12), charge("other", bound=6, seq=13))
    state = worker.counters.worker_state("w1")
    assert state == WorkerState(
        True, 0, [LastAdmitted(11, Hold("key", TODAY, 5)), LastAdmitted(13, Hold("other", TODAY, 6))]
    )
    worker.send(ends=[worker.end(day=TODAY)])
    assert worker.counters.worker_state("w1") == WorkerState(True, 1, [])
    assert worker.counters.worker_state("w9") is None


def test_a_request_that_was_never_begun_counts_for_no_rate(worker: Worker) -> None:
    """Its journal could not be written: it was refused, and a refused request consumes nothing."""
    (first,) = worker.send(charge(rpm=1))
    assert isinstance(first, Admitted)
    assert isinstance(worker.send(charge(rpm=1))[0], RateLimited)
    never_begun = End(0, "key", first.day, 0, 0, first.second)
    assert isinstance(worker.send(charge(rpm=1), ends=[never_begun])[0], Admitted)
