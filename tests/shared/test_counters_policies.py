"""Versions of policies, seeds of the ledger, and who may write, written against the `Counters` protocol."""

import pytest
from counters_kit import TODAY, Home, Worker, charge, kinds, money

from shared.counters import (
    Admitted,
    Counters,
    CountersLost,
    CountersUnavailable,
    Missing,
    RateLimited,
    Rebuilding,
    Seed,
    SpendExceeded,
    Stale,
    Unseeded,
)


@pytest.fixture
def counters(home: Home) -> Counters:
    return home.live(1, "key", "other")


@pytest.fixture
def worker(counters: Counters) -> Worker:
    return Worker(counters).register()


# Policy and seeds


def test_an_edit_holds_for_the_next_request_of_every_worker(home: Home, worker: Worker) -> None:
    second = Worker(home.connect(), "w2").register()
    home.connect(attached=False).publish(1, {"key": 5}, {})
    assert kinds(worker.send(charge(version=4))) == kinds(second.send(charge(version=4))) == [Stale]
    assert kinds(worker.send(charge(version=5))) == kinds(second.send(charge(version=6))) == [Admitted]
    assert kinds(worker.send(charge(version=5))) == [Stale], "one worker has seen a newer one"
    worker.counters.publish(1, {"key": 2}, {"org": 0})
    assert worker.counters.rows(["key"])["key"].version == 6
    assert worker.counters.org_version("org") == 1


def test_an_organisations_edit_makes_its_keys_stale_and_no_others(worker: Worker) -> None:
    worker.counters.publish(1, {}, {"org": 9, "acme": 2})
    assert worker.counters.org_version("org") == 9
    assert worker.counters.org_version("nobody") == 0
    answers = worker.send(charge(org_version=8), charge(org_version=9), charge("other", org="third", org_version=1))
    assert kinds(answers) == [Stale, Admitted, Missing]


def test_an_organisation_that_has_no_row_is_one_whose_edits_nobody_has_told(worker: Worker) -> None:
    """After a loss: a key's row may have been made by another worker, its credentials loaded before the loss."""
    before = charge("other", org="third", org_version=1)
    assert worker.ask(before) == Missing(1)
    assert kinds(worker.send(charge("key", org="third", org_version=2, loaded_in=1), before)) == [Admitted, Stale]
    assert worker.counters.org_version("third") == 2
    assert kinds(worker.send(charge("other", org="third", org_version=3))) == [Admitted]
    assert worker.counters.org_version("third") == 3


def test_a_key_that_has_no_row_is_loaded_after_its_absence_was_seen(worker: Worker) -> None:
    assert worker.send(charge("new"), charge("new", loaded_in=7)) == [Missing(1), Missing(1)]
    assert kinds(worker.send(charge("new", version=3, loaded_in=1))) == [Admitted]
    assert kinds(worker.send(charge("new", version=3), charge("new", version=2, loaded_in=1))) == [Admitted, Stale]
    assert worker.ask(charge("new", version=3, limit=5)) == Unseeded(1)
    worker.counters.seed(1, [Seed("new", 5, {})])
    assert kinds(worker.send(charge("new", version=3, limit=5, bound=1))) == [SpendExceeded]


def test_an_edit_makes_the_row_of_a_new_key(worker: Worker) -> None:
    worker.counters.publish(1, {"new": 2}, {})
    assert kinds(worker.send(charge("new", version=1), charge("new", version=2))) == [Stale, Admitted]


def test_a_seed_counts_once_whoever_brings_it(home: Home, worker: Worker) -> None:
    worker.send(charge("new", loaded_in=1, bound=3), ends=[worker.end("new", day=TODAY, cost=4)])
    for counters in (worker.counters, home.connect(), worker.counters):
        counters.seed(1, [Seed("new", 100, {TODAY: 10, TODAY - 14: 20})])
    assert money(worker.counters, "new") == (34, 3, 104)


def test_limits_wait_for_what_is_rebuilt(home: Home) -> None:
    counters = home.connect()
    counters.begin_generation(1, {})
    counters.publish(1, {"key": 1}, {"org": 1})
    worker = Worker(counters).register()
    asked = [charge(bound=4), charge(rpm=1), charge(limit=9), charge("new", limit=9)]
    assert worker.send(*asked) == [Admitted(TODAY, 5_000), Rebuilding(), Rebuilding(), Missing(1)]
    counters.go_live(1)
    assert kinds(worker.send(*asked)) == [Admitted, RateLimited, Unseeded, Missing]
    assert kinds(worker.send(charge(rpm=3))) == [Admitted], "what came before counts"


# Who may write


def test_nobody_writes_in_another_generation(home: Home, worker: Worker) -> None:
    before = worker.counters.status()
    for attached in (True, False):
        counters = home.connect(attached=attached)
        for generation in (0, 2):
            with pytest.raises(CountersLost) as caught:
                counters.publish(generation, {"key": 9}, {})
            assert caught.value.found == 1
            with pytest.raises(CountersLost):
                counters.seed(generation, [Seed("key", 9, {})])
            with pytest.raises(CountersLost):
                counters.go_live(generation)
            with pytest.raises(CountersLost):
                counters.restore_requests(generation, [])
            with pytest.raises(CountersLost):
                counters.register("w3", generation)
            with pytest.raises(CountersLost):
                Worker(counters, generation=generation).send(charge())
    assert worker.counters.status() == before


def test_a_worker_that_is_not_registered_is_refused(worker: Worker) -> None:
    with pytest.raises(CountersLost, match="the worker is not known"):
        Worker(worker.counters, "w9").send(charge())


def test_without_shared_state_the_generation_alone_is_compared(home: Home, worker: Worker) -> None:
    bare = Worker(home.connect(attached=False), "w2").register()
    assert kinds(bare.send(charge())) == [Admitted]
    home.shared_state.note_commit(10**9)
    with pytest.raises(CountersLost, match="an older copy stands there"):
        worker.send(charge())
    assert kinds(bare.send(charge())) == [Admitted]


def test_nobody_writes_where_the_shared_state_tells_of_another_generation(home: Home, worker: Worker) -> None:
    home.shared_state.begin_generation(2, 0, *home.shared_state.file_identity())
    with pytest.raises(CountersLost):
        worker.send(charge())


def test_counters_that_nobody_made_are_lost(home: Home) -> None:
    for counters in (home.connect(), home.connect(attached=False)):
        with pytest.raises(CountersLost):
            counters.status()
        with pytest.raises(CountersLost):
            counters.rows(["key"])
        with pytest.raises(CountersLost):
            counters.publish(1, {}, {})


def test_the_shared_state_follows_every_commit_and_says_who_is_inside(home: Home, worker: Worker) -> None:
    sequence = worker.counters.status().sequence
    assert home.shared_state.sequence == sequence
    for _ in range(3):
        worker.send(charge())
    assert home.shared_state.sequence == worker.counters.status().sequence == sequence + 3
    assert home.shared_state.transaction_pid == 0
    with pytest.raises(ValueError, match="hourly"):
        worker.send(charge(limit=3, reset="hourly"))
    assert home.shared_state.transaction_pid == 0
    assert home.shared_state.sequence == sequence + 3


def test_check_and_close(home: Home, worker: Worker) -> None:
    assert worker.counters.check()
    assert worker.counters.intact
    worker.counters.publish(1, {}, {})
    second = home.connect()
    assert second.status().live
    worker.counters.close()
    assert kinds(worker.send(charge())) == [Admitted]


def test_a_file_that_is_not_the_one_of_the_shared_state_is_not_right(home: Home, worker: Worker) -> None:
    if not home.url.startswith("sqlite"):
        pytest.skip("only a file has an identity that can be looked at from outside")
    home.shared_state.end_file_change(1, 1)
    assert not worker.counters.intact
    assert not worker.counters.check()
    with pytest.raises(CountersUnavailable):
        worker.send(charge())
