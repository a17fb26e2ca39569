"""One worker's accounting while something is broken: the journal, the counters, an answer that does not come."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest
from accounting_kit import Router, Worker, charge
from ledger_kit import attempt

from proxyd.accounting.journal import JournalUnavailable
from proxyd.writer import HURRY_SECONDS
from shared.counters import (
    Admitted,
    Batch,
    CountersLost,
    CountersUnavailable,
    SpendHeld,
)


@contextmanager
def broken_journal(worker: Worker) -> Iterator[None]:
    """The journal's file cannot be written meanwhile: what stands in its descriptor is open for reading only."""
    journal = worker.membership.journal
    assert journal is not None
    kept = os.dup(journal._file)
    reading = os.open(os.devnull, os.O_RDONLY)
    os.dup2(reading, journal._file)
    try:
        yield
    finally:
        if journal._file >= 0:  # nobody has closed it meanwhile
            os.dup2(kept, journal._file)
        os.close(kept)
        os.close(reading)


def keep_on(worker: Worker) -> None:
    while True:
        worker.keep()
        gevent.sleep(HURRY_SECONDS)


def test_a_journal_that_cannot_be_written_refuses_and_gives_back(router: Router, worker: Worker) -> None:
    worker.begin()
    with broken_journal(worker):
        for _ in range(3):
            with pytest.raises(JournalUnavailable):
                worker.begin()
        assert worker.accounting.faults()["journal"]
        worker.accounting.flush()
        assert router.spent() == (0, 1_000)
    worker.begin()
    assert (router.spent(), worker.accounting.faults()) == ((0, 2_000), {})


def test_behind_a_journal_that_failed_nobody_is_charged(router: Router, worker: Worker) -> None:
    """The first request finds out; those that follow are refused before the counters are asked."""
    journal = worker.membership.journal
    assert journal is not None
    worker.begin()
    for path in (router.directory / "journals").iterdir():
        path.unlink()
    with pytest.raises(JournalUnavailable):
        worker.begin()
    worker.accounting.flush()
    before = router.observer.status().sequence
    with pytest.raises(JournalUnavailable):
        worker.begin()
    assert router.observer.status().sequence == before


def test_an_end_that_cannot_be_written_is_written_later(router: Router, worker: Worker) -> None:
    seq = worker.begin()
    with broken_journal(worker):
        worker.settle(seq, 300)
        worker.accounting.void(seq)  # comes too late
        worker.accounting.flush()
        assert router.spent() == (0, 1_000)
    router.clock.mono_at += 2
    worker.keep()
    worker.accounting.flush()
    assert router.spent() == (300, 0)


def test_while_the_journal_fails_ends_are_told_and_new_counters_joined(router: Router, worker: Worker) -> None:
    worker.begin()
    seq = worker.begin()
    worker.settle(seq, 300)
    with broken_journal(worker):
        with pytest.raises(JournalUnavailable):
            worker.begin()
        worker.accounting.flush()
        assert router.spent() == (300, 1_000)
        router.lose_counters()
        router.rounds(2)
        worker.keep()
        router.rounds(2)
        assert router.observer.status().live


def test_stop_brings_home_what_it_can_when_the_journal_fails(router: Router) -> None:
    worker = router.worker()
    router.rounds()
    worker.begin()
    with broken_journal(worker):
        with pytest.raises(JournalUnavailable):
            worker.begin()
        worker.accounting.stop()
    router.workers.clear()
    router.rounds(3)
    assert router.ledger_rows() == [("crash", 1_000)]
    assert router.spent() == (1_000, 0)


def test_counters_that_are_lost_are_asked_for_and_joined(router: Router, worker: Worker) -> None:
    done, open_seq = worker.begin(), worker.begin()
    worker.settle(done, 300)
    router.lose_counters()
    seq = router.in_rounds(lambda: worker.begin(100))
    assert router.writer.shared_state.generation == 2
    assert router.spent() == (300, 1_100)
    worker.settle(open_seq, 200)
    assert isinstance(seq, int)
    worker.settle(seq, 50)
    router.rest(worker)
    assert router.spent() == (550, 0)
    assert sorted(cost for _, cost in router.ledger_rows()) == [50, 200, 300]


def test_a_limit_is_not_passed_by_losing_the_counters(router: Router, worker: Worker) -> None:
    other = router.worker()
    for seq in [worker.begin() for _ in range(3)]:
        worker.settle(seq, 1_000)
    for _ in range(5):
        other.begin()
    router.lose_counters()
    keeping = gevent.spawn(keep_on, other)
    answers = []
    for _ in range(4):
        router.clock.mono_at += 2.0
        answers.append(router.in_rounds(lambda: worker.admit(charge())[1]))
    keeping.kill()
    assert [type(answer) for answer in answers] == [Admitted, Admitted, SpendHeld, SpendHeld]


def test_an_older_copy_put_back_is_refused(router: Router, worker: Worker) -> None:
    """M3: it is as wrong as an empty one."""
    worker.begin()
    with (
        sqlite3.connect(router.directory / "counters.db") as source,
        sqlite3.connect(router.directory / "copy.db") as copy,
    ):
        source.backup(copy)
    source.close()
    copy.close()
    for _ in range(4):
        worker.begin(2_000)
    router.lose_counters()
    (router.directory / "copy.db").rename(router.directory / "counters.db")
    answer = router.in_rounds(lambda: worker.admit(charge(bound_nanos=2_000))[1])
    assert isinstance(answer, SpendHeld)
    assert router.spent() == (0, 9_000)


def test_without_a_ledger_writer_a_limited_request_waits_for_two_seconds_and_an_unlimited_one_not(
    router: Router, worker: Worker
) -> None:
    worker.begin()
    router.lose_counters()
    at = router.clock.mono_at
    with pytest.raises(CountersLost):
        worker.begin(limit_nanos=None)
    assert router.clock.mono_at - at < 0.5
    with pytest.raises(CountersUnavailable):
        worker.admit(charge())
    worker.accounting.begin_unheld(77, attempt(77, held_nanos=0))
    worker.settle(77, 40)
    router.rest(worker)
    worker.begin()  # whoever asks lets the ledger's sums in
    assert router.spent() == (40, 2_000)


def test_counters_that_are_locked_are_waited_for_once_and_then_not(router: Router, worker: Worker) -> None:
    """M9: one wait of a second; who comes within half a second more is told at once."""
    worker.begin()
    blocker = sqlite3.connect(router.directory / "counters.db", isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    began = gevent.get_hub().loop.now()
    with pytest.raises(CountersUnavailable):
        worker.begin()
    gevent.get_hub().loop.update_now()
    assert 0.5 < gevent.get_hub().loop.now() - began < 5
    tried: list[Batch] = []
    worker.counters.apply_batch = tried.append  # type: ignore[method-assign, assignment]
    for _ in range(10):
        with pytest.raises(CountersUnavailable, match="a moment ago"):
            worker.begin()
    assert tried == []
    del worker.counters.apply_batch
    blocker.execute("ROLLBACK")
    blocker.close()
    router.clock.mono_at += 1
    worker.begin()
    assert router.spent() == (0, 2_000)


def begin_without_an_answer(worker: Worker) -> None:
    """A request whose batch is applied, which nobody is told."""
    real = worker.counters.apply_batch

    def lost(batch: Batch) -> object:
        real(batch)
        raise CountersUnavailable("cut", in_doubt=True)

    worker.counters.apply_batch = lost  # type: ignore[method-assign, assignment]
    with pytest.raises(CountersUnavailable):
        worker.begin()
    del worker.counters.apply_batch


def test_a_batch_whose_answer_was_lost_is_found_out(router: Router, worker: Worker) -> None:
    """Whoever it had admitted was told otherwise, so nothing stays held; its ends count once."""
    worker.begin()
    ending = worker.begin()
    worker.settle(ending, 300)
    begin_without_an_answer(worker)
    assert router.spent() == (300, 2_000)
    router.clock.mono_at += 1
    worker.begin()
    worker.accounting.flush()
    assert router.spent() == (300, 2_000)


@pytest.mark.parametrize("asked", [True, False])
def test_a_batch_whose_answer_was_lost_is_found_out_though_no_request_follows(
    router: Router, worker: Worker, asked: bool
) -> None:
    worker.settle(worker.begin(), 300)
    worker.accounting.flush()
    begin_without_an_answer(worker)
    assert router.spent() == (300, 1_000)
    router.clock.mono_at += 1
    if asked:
        worker.accounting.flush()
    else:
        worker.keep()
    assert router.spent() == (300, 0)


def test_a_batch_in_doubt_that_was_not_applied_is_applied_once(router: Router, worker: Worker) -> None:
    worker.begin()
    ending = worker.begin()
    worker.settle(ending, 300)

    def lost(batch: Batch) -> object:
        raise CountersUnavailable("cut", in_doubt=True)

    worker.counters.apply_batch = lost  # type: ignore[method-assign, assignment]
    with pytest.raises(CountersUnavailable):
        worker.begin()
    del worker.counters.apply_batch
    worker.settle(1, 100)  # more ends come meanwhile
    router.clock.mono_at += 1
    worker.begin()
    worker.accounting.flush()
    assert router.spent() == (400, 1_000)
