"""Results of jobs become rows of the ledger, each once, whoever dies or fails on the way; the counters agree."""

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from accounting_kit import Router, Worker, charge
from ledger_kit import attempt, settlement

from proxyd.accounting.job_booker import RESULTS_AT_ONCE, JobBooker
from proxyd.accounting.ledger_rows import Line
from proxyd.accounting.provider_jobs import ProviderJobs
from proxyd.accounting.records import LedgerUnavailable


def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def booker(router: Router, worker: Worker, asked: Callable[..., Any] = at_once) -> JobBooker:
    return JobBooker(worker.accounting, worker.membership, ProviderJobs(router.engine), asked, wait_seconds=0.0)


def results(*numbers: int) -> list[Line]:
    made = [attempt(number, id=f"job_{number:04d}", held_nanos=0, second=-1, bound_nanos=number) for number in numbers]
    return [(one, settlement(cost_nanos=one.bound_nanos)) for one in made]


@pytest.fixture
def other(router: Router, worker: Worker) -> Worker:
    found = router.worker()
    router.rounds()
    return found


def agree(router: Router, costs: list[int]) -> None:
    router.rest(*router.workers)
    assert [cost for _, cost in router.ledger_rows()] == costs
    assert router.spent() == (sum(costs), 0)


def test_it_works(router: Router, worker: Worker, other: Worker) -> None:
    worker.begin()  # so that the counters know the key
    assert booker(router, worker).book(results(1, 2, 3)) == 3
    assert booker(router, worker).book(results(1, 2, 3)) == 0
    assert booker(router, other).book(results(2, 3, 4, 4)) == 1
    router.rest(worker, other)
    assert [cost for _, cost in router.ledger_rows()] == [1, 2, 3, 4]
    assert router.spent() == (10, 1_000)


def test_a_key_that_the_counters_do_not_know_is_charged_too(router: Router, worker: Worker) -> None:
    booker(router, worker).book(results(5))
    router.rest(worker)
    _, answer = worker.admit(charge(spend_limit_nanos=1_004))
    assert type(answer).__name__ != "Admitted"
    agree(router, [5])


def test_many_at_once_are_asked_about_in_pieces(router: Router, worker: Worker) -> None:
    asked = []

    def counted(function: Callable[..., Any], *arguments: Any) -> Any:
        if function.__name__ == "take":
            asked.append(len(arguments[0]))
        return function(*arguments)

    numbers = range(1, 2 * RESULTS_AT_ONCE + 2)
    assert booker(router, worker, counted).book(results(*numbers)) == len(numbers)
    assert asked == [RESULTS_AT_ONCE, RESULTS_AT_ONCE, 1]
    agree(router, list(numbers))


def test_what_was_taken_by_who_died_is_booked_by_the_next(router: Router, worker: Worker, other: Worker) -> None:
    ProviderJobs(router.engine).take(["job_0001", "job_0002"], worker.id)
    with pytest.raises(LedgerUnavailable):
        booker(router, other).book(results(1, 2, 3))  # they may stand in a journal that was not read yet
    worker.kill()
    router.workers.remove(worker)
    router.rounds(3)
    assert booker(router, other).book(results(1, 2, 3)) == 2
    agree(router, [1, 2, 3])


def test_who_dies_in_between_is_charged_just_that(router: Router, worker: Worker, other: Worker) -> None:
    ProviderJobs(router.engine).take(["job_0007"], worker.id)
    seq, _ = worker.accounting.new_id()
    worker.accounting.begin_unheld(seq, results(7)[0][0])
    worker.kill()
    router.workers.remove(worker)
    router.rounds(3)
    assert booker(router, other).book(results(7)) == 0  # its journal was read meanwhile
    agree(router, [7])


@pytest.mark.parametrize("late", [False, True])
def test_a_database_that_fails_costs_nothing(router: Router, worker: Worker, late: bool) -> None:
    """Be it before or after it has done what it was asked."""
    fails = [True]

    def failing(function: Callable[..., Any], *arguments: Any) -> Any:
        if late:
            function(*arguments)
        if fails and fails.pop():
            raise LedgerUnavailable("gone")
        return function(*arguments)

    one = booker(router, worker, failing)
    with pytest.raises(LedgerUnavailable):
        one.book(results(1, 2))
    late = False
    assert one.book(results(1, 2, 3)) == 3
    assert one.book(results(1, 2, 3)) == 0
    agree(router, [1, 2, 3])


def test_without_a_journal_nothing_is_taken(router: Router, worker: Worker) -> None:
    before = Worker(router)
    before.membership.generation = 0
    with pytest.raises(LedgerUnavailable):
        booker(router, before).book(results(1))
    before.kill()
    assert booker(router, worker).book(results(1)) == 1


def test_what_another_one_has_taken_is_waited_for(router: Router, worker: Worker, other: Worker) -> None:
    jobs = ProviderJobs(router.engine)
    jobs.take(["job_0001"], worker.id)
    patient = JobBooker(other.accounting, other.membership, jobs, at_once, wait_seconds=60.0)
    waiting = gevent.spawn(patient.book, results(1, 2))
    gevent.sleep(0)
    jobs.wrote(["job_0001"], worker.id)
    assert waiting.get(timeout=10) == 1
