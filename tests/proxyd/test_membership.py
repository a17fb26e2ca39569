"""A worker's place in the counters: entering, and joining others with what the ledger does not know."""

from collections.abc import Callable

import pytest
from accounting_kit import Router, Worker, charge
from ledger_kit import attempt

from proxyd.accounting.records import LedgerUnavailable
from shared.counters import Admitted, CountersLost, CountersUnavailable, RateLimited


def test_it_works(router: Router, worker: Worker) -> None:
    membership = worker.membership
    assert membership.complete
    assert membership.generation == membership.current_generation == 1
    state = router.observer.worker_state(worker.id)
    assert state is not None
    assert (state.joined, state.end_number) == (True, 0)
    assert [journal.worker_id for journal in router.database.open_journals("machine_1")] == [worker.id]


def test_what_is_missing_is_entered_later_and_said(router: Router, caplog: pytest.LogCaptureFixture) -> None:
    path = router.directory / "accounting.page"
    path.rename(router.directory / "aside")
    worker = Worker(router)
    assert not worker.membership.complete
    assert "not admitting yet: SharedStateMissing" in caplog.text
    with pytest.raises(CountersUnavailable, match="not in yet"):
        worker.admit(charge())
    (router.directory / "aside").rename(path)
    worker.keep()
    assert worker.membership.complete
    router.rounds()
    worker.begin()
    worker.kill()


def test_a_database_that_does_not_answer_is_asked_again(router: Router, worker: Worker) -> None:
    answers: list[Callable[[], int]] = []

    def register(_: str) -> int:
        return answers.pop(0)()

    def down() -> int:
        raise LedgerUnavailable("down")

    other = router.worker()
    other.membership._register = register
    other.membership.generation = 0
    answers[:] = [down, lambda: 1]
    other.membership.enter()
    assert not other.membership.complete
    other.membership.enter()
    assert other.membership.complete


def test_a_worker_registers_in_no_other_generation_than_the_database_told(router: Router) -> None:
    router.database.raise_generation(0)  # the ledger writer was killed before it made the counters
    worker = router.worker()
    assert not worker.membership.complete
    router.rounds(2)
    worker.keep()
    assert worker.membership.generation == router.writer.shared_state.generation > 2


def test_it_joins_with_ends_above_the_cut_holds_and_requests_of_the_last_minute(router: Router, worker: Worker) -> None:
    known, unknown = worker.begin(), worker.begin()
    worker.settle(known, 100)
    router.rounds()  # in the ledger, so in the cut
    worker.begin(2_000)
    router.clock.forward(61)
    worker.begin(500)
    router.lose_counters()
    router.writer._check_counters()
    worker.settle(unknown, 30)  # above the cut
    worker.keep()
    row = router.observer.rows(["key_1"])["key_1"]
    assert (row.lifetime, row.seeded) == (30, False)
    assert sum(held for _, held in row.days.values()) == 2_500
    assert sum(row.window.buckets.values()) == 1
    state = router.observer.worker_state(worker.id)
    assert state is not None
    assert state.end_number == 2
    worker.keep()
    assert router.observer.rows(["key_1"])["key_1"].lifetime == 30


def test_request_rates_survive_the_counters(router: Router, worker: Worker) -> None:
    for _ in range(3):
        assert isinstance(worker.admit(charge(rate_limit_rpm=4))[1], Admitted)
    router.lose_counters()
    router.rounds(1)
    worker.keep()
    router.rounds(1)
    assert isinstance(worker.admit(charge(rate_limit_rpm=4))[1], Admitted)
    assert isinstance(worker.admit(charge(rate_limit_rpm=4))[1], RateLimited)


def test_request_rates_of_a_worker_that_died_survive_the_counters(router: Router, worker: Worker) -> None:
    other = router.worker()
    for _ in range(3):
        assert isinstance(other.admit(charge(rate_limit_rpm=4))[1], Admitted)
    router.workers.remove(other)
    other.kill()
    router.rounds(1)  # closed
    router.lose_counters()
    router.rounds(1)
    worker.keep()
    router.rounds(1)
    assert isinstance(worker.admit(charge(rate_limit_rpm=4))[1], Admitted)
    assert isinstance(worker.admit(charge(rate_limit_rpm=4))[1], RateLimited)


def test_what_was_begun_before_it_was_in_is_counted_once(router: Router) -> None:
    """Its END is in the ledger when the counters are made anew, so the cut has it; registering must not forget that."""
    blocked = [True]

    def register(worker_id: str) -> int:
        generation = router.database.register(worker_id, "machine_1")
        if blocked[0]:
            raise LedgerUnavailable("the answer is lost")
        return generation

    (router.directory / "accounting.page").rename(router.directory / "aside")
    late = Worker(router)  # it does not come further than its journal
    (router.directory / "aside").rename(router.directory / "accounting.page")
    late.membership._register = register
    late.keep()
    assert late.membership.journal is not None
    late.membership.journal.begin([(1, attempt(1, held_nanos=0))])
    late.settle(1, 70)
    router.rounds(1)
    router.lose_counters()
    router.rounds(1)
    blocked[0] = False
    late.keep()
    router.rest(late)
    late.begin()
    late.accounting.flush()
    assert router.spent() == (70, 1_000)
    late.kill()


def test_lost_counters_are_asked_for_once_a_generation(
    router: Router, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    worker.begin()
    router.lose_counters()
    for _ in range(5):
        with pytest.raises(CountersLost):
            worker.begin(limit_nanos=None)
    assert router.writer.shared_state.rebuild_requested == 1
    assert caplog.text.count("are not as they were left") == 1


def test_a_shared_state_that_was_replaced_is_let_go(router: Router, worker: Worker) -> None:
    worker.begin()
    (router.directory / "accounting.page").unlink()
    router.rest(worker)
    assert worker.membership.generation == router.writer.shared_state.generation == 2
    worker.begin()
    assert router.spent() == (0, 2_000)


def test_a_shared_state_that_was_lost_together_with_the_counters_is_let_go(router: Router, worker: Worker) -> None:
    """The old shared state asks for counters that have been replaced in their turn: no joining, but a look at it."""
    worker.begin()
    router.lose_counters()
    (router.directory / "accounting.page").unlink()
    router.rounds()
    router.rest(worker)
    assert worker.membership.generation == router.writer.shared_state.generation == 3
    assert router.spent() == (0, 1_000)


def test_what_weighs_no_more_is_forgotten(router: Router, worker: Worker) -> None:
    worker.begin()
    assert len(worker.membership.recent.buckets()) == 1
    router.clock.forward(60)
    worker.membership.drop_expired()
    assert len(worker.membership.recent.buckets()) == 1
    router.clock.forward(1)
    worker.membership.drop_expired()
    assert worker.membership.recent.buckets() == []
