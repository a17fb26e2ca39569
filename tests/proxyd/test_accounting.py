"""One worker's accounting against real counters, a real journal and a real ledger writer."""

import sqlite3

import gevent
import pytest
from accounting_kit import Router, Worker, charge
from ledger_kit import NOON, attempt, settlement

from proxyd.accounting.journal_reader import Position, read_ends, read_tail
from shared.counters import (
    Admitted,
    CountersUnavailable,
    SpendExceeded,
    SpendHeld,
    Stale,
)


def test_it_works(router: Router, worker: Worker) -> None:
    seq = worker.begin()
    assert router.spent() == (0, 1_000)
    worker.settle(seq, 300)
    worker.accounting.flush()
    assert router.spent() == (300, 0)
    router.rounds()
    assert router.ledger_rows() == [("ok", 300)]


def test_begin_stands_in_the_journal_before_anything_is_sent(router: Router, worker: Worker) -> None:
    seq = worker.begin()
    tail = read_tail(router.directory / "journals", worker.id, above=0)
    assert list(tail.open) == [seq]
    assert tail.open[seq].held_nanos == 1_000


def test_a_void_attempt_leaves_nothing(router: Router, worker: Worker) -> None:
    worker.accounting.void(worker.begin())
    router.rest(worker)
    assert (router.spent(), router.ledger_rows()) == ((0, 0), [])


def test_only_the_first_end_of_an_attempt_counts(router: Router, worker: Worker) -> None:
    seq, voided = worker.begin(), worker.begin()
    worker.settle(seq, 300)
    worker.settle(seq, 999)
    worker.accounting.void(seq)
    worker.accounting.void(voided)
    worker.settle(voided, 999)
    worker.settle(12345, 1)
    router.rest(worker)
    assert (router.spent(), router.ledger_rows()) == ((300, 0), [("ok", 300)])


def test_a_refused_request_consumes_nothing(router: Router, worker: Worker) -> None:
    worker.begin(6_000)
    assert isinstance(worker.admit(charge(bound_nanos=5_000))[1], SpendHeld)
    assert isinstance(worker.admit(charge(bound_nanos=11_000))[1], SpendExceeded)
    assert router.spent() == (0, 6_000)
    worker.begin(4_000)


def test_requests_of_one_moment_are_one_batch(router: Router, worker: Worker) -> None:
    worker.begin()  # with something open, others may come
    before = router.observer.status().sequence
    greenlets = [gevent.spawn(worker.begin, 100) for _ in range(20)]
    gevent.joinall(greenlets, raise_error=True)
    assert router.observer.status().sequence == before + 1
    assert router.spent() == (0, 3_000)


def test_ends_ride_with_the_next_batch(router: Router, worker: Worker) -> None:
    seq = worker.begin()
    worker.settle(seq, 300)
    before = router.observer.status().sequence
    worker.begin()
    assert router.observer.status().sequence == before + 1
    assert router.spent() == (300, 1_000)


def test_an_end_that_no_batch_follows_is_told_a_little_later(router: Router) -> None:
    worker = router.worker()
    router.rounds()
    seq = worker.begin()
    worker.accounting.start()
    worker.settle(seq, 300)
    with gevent.Timeout(10):
        while router.spent() != (300, 0):
            router.clock.mono_at += 0.01
            gevent.sleep(0.005)
    worker.accounting.stop()
    worker.membership.journal = None
    router.workers.clear()


def test_an_attempt_that_cannot_be_made_gives_its_hold_back(router: Router, worker: Worker) -> None:
    worker.begin()

    def wrong(_: Admitted) -> object:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        worker.accounting.admit(99, charge(seq=99), wrong)  # type: ignore[arg-type] # wrong on purpose
    router.rest(worker)
    assert router.spent() == (0, 1_000)
    worker.begin()


@pytest.mark.parametrize("turns", range(6))
def test_a_request_that_is_cut_off_leaves_no_hold(router: Router, worker: Worker, turns: int) -> None:
    """Killed at any turn of the event loop, while it leads, waits, or is about to be told."""
    worker.begin()
    greenlets = [gevent.spawn(worker.begin) for _ in range(3)]
    for _ in range(turns):
        gevent.sleep(0)
    for greenlet in (greenlets[0], greenlets[2]):
        greenlet.kill(block=False)
    gevent.joinall(greenlets)
    finished = sum(isinstance(greenlet.value, int) for greenlet in greenlets)
    router.rest(worker)
    assert router.spent() == (0, 1_000 * (1 + finished))
    worker.begin()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_request_cut_off_while_its_batch_waits_for_the_counters_leaves_no_hold(
    router: Router, worker: Worker, victim: int
) -> None:
    worker.begin()
    blocker = sqlite3.connect(router.directory / "counters.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    greenlets = [gevent.spawn(worker.admit, charge()) for _ in range(2)]
    gevent.sleep(0.02)
    greenlets[victim].kill(block=True)
    blocker.execute("ROLLBACK")
    blocker.close()
    gevent.joinall(greenlets)
    other = greenlets[1 - victim]
    admitted = other.successful()
    assert admitted if victim == 1 else isinstance(other.exception, CountersUnavailable)
    router.rest(worker)
    assert router.spent() == (0, 2_000 if admitted else 1_000)


def test_a_period_belongs_to_the_moment_of_admission(router: Router, worker: Worker) -> None:
    router.clock.wall_at += 12 * 3600 - 0.001
    seq = worker.begin()
    router.clock.forward(1)
    assert isinstance(worker.admit(charge(bound_nanos=10_000))[1], Admitted)  # the new day begins at nothing
    worker.settle(seq, 300)
    worker.accounting.flush()
    days = router.observer.rows(["key_1"])["key_1"].days
    assert sorted(days.values()) == [[0, 10_000], [300, 0]]
    assert days[min(days)] == [300, 0]


def test_progress_is_what_a_crash_is_charged(router: Router, worker: Worker) -> None:
    noted, _ = worker.begin(), worker.begin()
    worker.accounting.note_progress(noted, 40)
    worker.kill()
    router.workers.clear()
    router.rounds(2)
    assert router.ledger_rows() == [("crash", 40), ("crash", 1_000)]
    assert router.spent() == (1_040, 0)


def test_an_uncapped_request_is_counted_for_the_limit_that_may_come(router: Router, worker: Worker) -> None:
    seq = worker.begin(limit_nanos=None)
    worker.settle(seq, 600)
    worker.accounting.flush()
    assert isinstance(worker.admit(charge(spend_limit_nanos=1_000, version=2))[1], SpendExceeded)


def test_a_flush_of_nothing_asks_nobody(router: Router, worker: Worker) -> None:
    before = router.observer.status().sequence
    worker.accounting.flush()
    assert router.observer.status().sequence == before


def test_ids_are_unique_and_in_order(router: Router, worker: Worker) -> None:
    ids = [worker.accounting.new_id() for _ in range(1_000)]
    assert sorted(name for _, name in ids) == [name for _, name in ids]
    assert len({name for _, name in ids}) == len({seq for seq, _ in ids}) == 1_000


def test_faults_tell_what_is_missing(router: Router, worker: Worker) -> None:
    assert worker.accounting.faults() == {}
    router.lose_counters()
    assert set(worker.accounting.faults()) == {"counters"}


def test_settlements_reach_the_journal_at_once(router: Router, worker: Worker) -> None:
    seq = worker.begin()
    worker.accounting.settle(seq, settlement(cost_nanos=5, flags=("estimated",)))
    ends, _ = read_ends(router.directory / "journals", worker.id, Position(), 10)
    assert [end.settlement for end in ends] == [settlement(cost_nanos=5, flags=("estimated",))]


def test_flush_waits_for_a_batch_that_is_under_way_with_what_has_ended(router: Router, worker: Worker) -> None:
    """A client that asks for its balance right after its answer, while another request waits for the file."""
    ended = worker.begin(700, limit_nanos=10_000)
    worker.settle(ended, 300)
    lock = sqlite3.connect(router.directory / "counters.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    other = gevent.spawn(worker.begin, 100)
    while worker.accounting._ends.pending:
        gevent.sleep(0)
    flushed = gevent.spawn(worker.accounting.flush)
    gevent.sleep(0.01)
    assert not flushed.ready()
    lock.execute("ROLLBACK")
    lock.close()
    flushed.get(timeout=5)
    assert router.spent()[0] == 300
    other.get(timeout=5)


def test_who_has_waited_for_counters_until_a_policy_ended_is_judged_anew(router: Router) -> None:
    now = [NOON]
    worker = Worker(router, now=lambda: now[0])
    router.workers.append(worker)
    router.rounds()
    worker.begin()
    asked = charge(seq=1), lambda _: attempt(id="one"), NOON + 1
    assert isinstance(worker.accounting.admit(1, *asked), Admitted)
    router.clock.mono_step = 0.7
    router.lose_counters()
    with pytest.raises(CountersUnavailable):
        worker.accounting.admit(2, *asked)
    now[0] = NOON + 1
    assert worker.accounting.admit(3, *asked) == Stale()
