"""Counters that are made anew: who joins them with what, who is taken out, and who cannot write in them."""

from collections.abc import Iterator

import pytest
from counters_kit import TODAY, Home, Worker, charge, money, used

from shared.counters import (
    Admitted,
    CountersLost,
    CountersStatus,
    End,
    Hold,
    RateBucket,
    RateLimited,
    Rebuilding,
    Seed,
    SpendHeld,
    Unseeded,
    WorkerReplay,
    WorkerState,
)

NOW = 5_000  # steady


def test_it_works(home: Home) -> None:
    """A loss with two workers: one lives and joins, one is dead and is closed; then limits are enforced again."""
    old = home.live(1, "key")
    first, second = Worker(old).register(), Worker(home.connect(), "w2").register()
    first.send(*[charge(rpm=9, limit=1_000, bound=100)] * 2)
    second.send(charge(rpm=9, limit=1_000, bound=100))

    writer = home.connect()
    writer.begin_generation(2, {"w1": 0, "w2": 0})
    assert writer.status().missing == ("w1", "w2")
    with pytest.raises(CountersLost, match="generation") as caught:
        first.send(charge())
    assert caught.value.found == 2
    ends = [End(1, "key", TODAY, 100, 30)]  # journaled, and not in the ledger when it was cut
    first.counters.join(WorkerReplay("w1", 2, 1, ends, [Hold("key", TODAY, 100)], [RateBucket("key", NOW, 2)]))
    assert writer.status() == CountersStatus(2, False, writer.status().sequence, ("w2",))
    crash = [End(1, "key", TODAY, 100, 100)]
    assert writer.close_worker(WorkerReplay("w2", 2, 1, crash, [], [RateBucket("key", NOW, 1)]))
    writer.go_live(2)
    writer.seed(2, [Seed("key", 500, {TODAY: 400})])
    assert writer.status().live
    assert money(writer) == (530, 100, 630)
    assert used(writer) == 3
    again = Worker(first.counters, generation=2, end_number=1)
    assert isinstance(again.ask(charge(loaded_in=2, limit=730, bound=1)), SpendHeld)
    assert isinstance(again.ask(charge(rpm=3)), RateLimited)


def test_a_new_generation_is_empty_and_goes_on_counting(home: Home) -> None:
    counters = home.live(1, "key")
    Worker(counters).register().send(charge(bound=5))
    before = counters.status().sequence
    counters.begin_generation(2, {"a": 3, "b": 0})
    status = counters.status()
    assert (status.generation, status.live, status.missing) == (2, False, ("a", "b"))
    assert status.sequence == home.shared_state.sequence > before
    assert home.shared_state.generation == 2
    assert counters.rows(["key"]) == {}
    assert counters.org_version("org") == 0
    assert counters.worker_state("w1") is None
    assert counters.worker_state("a") == WorkerState(False, 3, [])
    assert not counters.check()


def test_everybody_who_looks_sees_the_new_generation(home: Home) -> None:
    """Also through a connection that was opened to the old one, before anything was written through it."""
    home.live(1, "key")
    lookers = [home.connect(), home.connect(attached=False)]
    for looker in lookers:
        Worker(looker).register()
        assert looker.worker_state("w1") is not None
    home.connect().begin_generation(2, {"w1": 7})
    for looker in lookers:
        assert looker.worker_state("w1") == WorkerState(False, 7, [])
    home.connect().begin_generation(3, {})
    for looker in lookers:
        assert looker.status().generation == 3
        assert looker.rows(["key"]) == {}
        assert looker.org_version("org") == 0
    home.connect().begin_generation(4, {})
    for looker in lookers:
        looker.publish(4, {"key": 4}, {})
    assert home.connect().rows(["key"])["key"].version == 4


def test_a_transaction_that_began_before_ends_in_the_old_file_and_blocks_nobody(home: Home) -> None:
    if not home.url.startswith("sqlite"):
        pytest.skip("only files can be written to after they were replaced")
    counters, writer = home.live(1, "key"), home.connect()
    worker = Worker(counters).register()

    class Ends(list[End]):
        """Makes new counters while the batch is inside its transaction."""

        def __iter__(self) -> Iterator[End]:
            writer.begin_generation(2, {"w1": 0})
            return super().__iter__()

    assert isinstance(worker.send(charge(bound=5), ends=Ends())[0], Admitted)
    writer.go_live(2)
    assert writer.rows(["key"]) == {}
    assert home.connect().status().sequence == home.shared_state.sequence
    with pytest.raises(CountersLost, match="generation"):
        worker.send(charge())


# Joining


def test_only_ends_above_the_cut_are_brought_and_their_holds_are_not(home: Home) -> None:
    counters = home.connect()
    counters.begin_generation(2, {"w1": 4, "w2": 0})
    counters.join(WorkerReplay("w2", 2, 0, [], [Hold("key", TODAY, 200)]))
    ends = [End(number, "key", TODAY, 50, 10**number) for number in range(1, 7)]
    counters.join(
        WorkerReplay("w1", 2, 6, ends, [Hold("key", TODAY, 7), Hold("key", TODAY - 1, 8), Hold("b", TODAY, 9)])
    )
    assert money(counters) == (1_100_000, 215, 1_100_000), "what others hold stays"
    assert money(counters, "b") == (0, 9, 0)
    assert counters.worker_state("w1") == WorkerState(True, 6, [])


def test_joining_again_has_no_effect(home: Home) -> None:
    counters = home.connect()
    counters.begin_generation(2, {"w1": 0})
    replay = WorkerReplay(
        "w1", 2, 1, [End(1, "key", TODAY, 9, 5)], [Hold("key", TODAY, 7)], [RateBucket("key", NOW, 2)]
    )
    for _ in range(3):
        counters.join(replay)
        assert (money(counters), used(counters)) == ((5, 7, 5), 2)
    worker = Worker(counters, generation=2)
    worker.send(ends=[End(1, "key", TODAY, 7, 5), End(2, "key", TODAY, 7, 5)])
    assert money(counters) == (10, 0, 10), "what it joined with is known"


def test_who_was_taken_out_cannot_join(home: Home) -> None:
    counters = home.connect()
    counters.begin_generation(2, {"w1": 0})
    assert counters.close_worker(WorkerReplay("w1", 2, 0))
    with pytest.raises(CountersLost, match="taken out"):
        counters.join(WorkerReplay("w1", 2, 0, [], [Hold("key", TODAY, 7)]))
    with pytest.raises(CountersLost, match="not known"):
        Worker(counters, generation=2).send(charge())
    assert counters.rows(["key"]) == {}


def test_who_has_not_joined_may_not_send(home: Home) -> None:
    counters = home.connect()
    counters.begin_generation(2, {"w1": 0})
    with pytest.raises(CountersLost, match="not known"):
        Worker(counters, generation=2).send(charge())


def test_registering_again_forgets_nothing(home: Home) -> None:
    counters = home.live(1, "key")
    worker = Worker(counters).register()
    worker.send(charge(bound=5), ends=[worker.end(day=TODAY, cost=1)])
    worker.register()
    assert isinstance(worker.ask(charge(bound=5)), Admitted)
    assert money(counters) == (1, 10, 1)


def test_request_rates_survive_a_loss_to_the_second(home: Home) -> None:
    counters = home.connect()
    counters.begin_generation(2, {"w1": 0})
    counters.restore_requests(
        2, [RateBucket("key", NOW - 60, 1), RateBucket("key", NOW - 30, 2), RateBucket("old", NOW - 61, 5)]
    )
    counters.restore_requests(2, [RateBucket("key", NOW - 61, 100)])
    counters.join(WorkerReplay("w1", 2, 0, buckets=[RateBucket("key", NOW - 30, 3), RateBucket("key", NOW, 1)]))
    counters.go_live(2)
    assert (used(counters), used(counters, "old")) == (7, 0)
    worker = Worker(counters, generation=2)
    answers = worker.send(charge(rpm=8, loaded_in=2), charge(rpm=8))
    assert isinstance(answers[0], Admitted)
    assert isinstance(answers[1], RateLimited)
    assert answers[1].retry_after_seconds == pytest.approx(1.0)


def test_what_was_brought_before_the_policy_was_known_counts(home: Home) -> None:
    counters = home.connect()
    counters.begin_generation(2, {"w1": 0})
    worker = Worker(counters, generation=2)
    counters.join(WorkerReplay("w1", 2, 0, [], [Hold("key", TODAY, 60)]))
    asked = charge(limit=100, bound=50, loaded_in=2)
    assert worker.ask(asked) == Rebuilding()
    counters.go_live(2)
    assert worker.ask(asked) == Unseeded(2)
    counters.seed(2, [Seed("key", 0, {})])
    assert isinstance(worker.ask(asked), SpendHeld)


# Taking out


def test_a_dead_worker_leaves_nothing_held(home: Home) -> None:
    counters = home.live(1, "key", "other")
    worker, dead = Worker(counters).register(), Worker(home.connect(), "w2").register()
    worker.send(charge(bound=1))
    dead.send(charge(bound=100), charge("other", bound=50))
    dead.send(ends=[dead.end(day=TODAY, held=100, cost=20)])
    dead.send(charge(bound=30, seq=7), charge(bound=40, seq=8))
    state = counters.worker_state("w2")
    assert state is not None
    assert [last.seq for last in state.last_admitted] == [7, 8]
    # 7 was begun and crashed; 8 never was. The END that is known already is read again from the journal.
    ends = [End(1, "key", TODAY, 100, 20), End(2, "other", TODAY, 50, 50), End(3, "key", TODAY, 30, 12)]
    closing = WorkerReplay("w2", 1, 3, ends, [state.last_admitted[1].hold], [RateBucket("key", NOW, 9)])
    assert counters.close_worker(closing)
    assert money(counters) == (32, 1, 32)
    assert money(counters, "other") == (50, 0, 50)
    assert used(counters) == 4, "it had joined, so its requests are counted already"
    assert counters.worker_state("w2") is None
    before = counters.status()
    assert not counters.close_worker(closing)
    assert (money(counters), counters.status()) == ((32, 1, 32), before)
    with pytest.raises(CountersLost):
        dead.send(charge())


def test_one_that_had_not_joined_brings_its_costs_and_requests_but_held_nothing(home: Home) -> None:
    counters = home.connect()
    counters.begin_generation(2, {"w1": 0, "w2": 2})
    counters.join(WorkerReplay("w1", 2, 0, [], [Hold("key", TODAY, 70)]))
    ends = [End(2, "key", TODAY, 30, 1_000), End(3, "key", TODAY, 30, 25)]
    assert counters.close_worker(
        WorkerReplay("w2", 2, 3, ends, [Hold("key", TODAY, 40)], [RateBucket("key", NOW - 1, 2)])
    )
    assert money(counters) == (25, 70, 25)
    assert used(counters) == 2
    assert counters.status().missing == ()


def test_a_hold_that_is_not_there_cannot_be_taken_back(home: Home) -> None:
    counters = home.live(1, "key")
    Worker(counters).register()
    assert counters.close_worker(WorkerReplay("w1", 1, 0, [], [Hold("key", TODAY, 40), Hold("nobody", TODAY, 40)]))
    assert (money(counters), money(counters, "nobody")) == ((0, 0, 0), (0, 0, 0))


def test_nobody_is_taken_out_of_another_generation(home: Home) -> None:
    counters = home.live(1, "key")
    Worker(counters).register()
    with pytest.raises(CountersLost):
        counters.close_worker(WorkerReplay("w1", 2, 0))
    with pytest.raises(CountersLost):
        counters.join(WorkerReplay("w1", 0, 0))
    assert counters.worker_state("w1") == WorkerState(True, 0, [])
