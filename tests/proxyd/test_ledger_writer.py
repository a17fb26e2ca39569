"""The ledger writer: importing, closing the dead, edits whose dashboard died, and being killed at any step."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from accounting_kit import Router, Worker, charge
from ledger_kit import attempt
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from proxyd.accounting import frames, journal_reader
from proxyd.accounting.importer import MAX_BATCH_ENDS
from proxyd.accounting.journal import segment_path
from shared.counters import Admitted, Counters, CountersStatus, CountersUnavailable, SpendExceeded, connect


def die(router: Router, worker: Worker) -> None:
    router.workers.remove(worker)
    worker.kill()


def open_journals(router: Router) -> list[str]:
    return [journal.worker_id for journal in router.database.open_journals("machine_1")]


def segment(router: Router, worker_id: str) -> Path:
    return segment_path(router.directory / "journals", worker_id, 1)


def test_it_works(router: Router, worker: Worker) -> None:
    seq, voided = worker.begin(), worker.begin()
    worker.settle(seq, 300)
    worker.accounting.void(voided)
    assert router.rounds() == 2
    assert router.ledger_rows() == [("ok", 300)]
    assert router.rounds() == 0


def test_a_dead_workers_attempts_come_home(router: Router, worker: Worker) -> None:
    """Settled ones as they were, running ones at what is known; then nothing is held and nothing is left over."""
    dead = router.worker()
    done, noted, _ = (dead.begin() for _ in range(3))
    dead.settle(done, 100)
    dead.accounting.note_progress(noted, 40)
    die(router, dead)
    router.rounds(2)
    assert sorted(router.ledger_rows()) == [("crash", 40), ("crash", 1_000), ("ok", 100)]
    assert router.spent() == (1_140, 0)
    assert open_journals(router) == [worker.id]
    assert journal_reader.workers(router.directory / "journals") == [worker.id]
    router.rounds(2)
    assert router.spent() == (1_140, 0)


def test_what_was_charged_and_never_begun_is_given_back(router: Router, worker: Worker) -> None:
    other = router.worker()
    other.begin()
    other.accounting._begin = lambda *_: None  # type: ignore[method-assign] # killed before it was written
    other.admit(charge())
    assert router.spent() == (0, 2_000)
    die(router, other)
    router.rounds(2)
    assert router.spent() == (1_000, 0)


def test_a_long_journal_comes_home_in_pieces(router: Router, worker: Worker) -> None:
    journal = worker.membership.journal
    assert journal is not None
    for seq in range(1, 2 * MAX_BATCH_ENDS + 100):
        worker.accounting.begin_unheld(seq, attempt(seq, held_nanos=0))
        worker.settle(seq, 1)
    die(router, worker)
    assert sum(router.rounds() for _ in range(4)) == 2 * MAX_BATCH_ENDS + 99
    assert len(router.ledger_rows()) == 2 * MAX_BATCH_ENDS + 99
    assert open_journals(router) == []


def test_a_worker_that_died_before_it_was_in_is_counted(router: Router, worker: Worker) -> None:
    """Only the ledger has what it spent, so the counters are made anew from it."""
    path = router.directory / "accounting.page"
    path.rename(router.directory / "aside")
    late = router.worker()
    (router.directory / "aside").rename(path)
    late.accounting.begin_unheld(1, attempt(1, held_nanos=0))
    late.settle(1, 400)
    worker.begin()
    die(router, late)
    router.rest(worker)
    worker.begin()
    worker.accounting.flush()
    assert router.ledger_rows() == [("ok", 400)]
    assert router.spent() == (400, 2_000)


@pytest.mark.parametrize("where", ["middle", "end"])
def test_a_damaged_journal_is_set_aside_and_the_counters_forget_its_holds(
    router: Router, worker: Worker, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    dead = router.worker()
    first, second, _ = (dead.begin() for _ in range(3))
    dead.settle(first, 100)
    dead.settle(second, 50)
    directory = router.directory / "journals"
    _, after_first = journal_reader.read_ends(directory, dead.id, journal_reader.Position(), 1)
    path = segment(router, dead.id)
    data = bytearray(path.read_bytes())
    data[after_first.position + 20 if where == "middle" else -1] ^= 0xFF
    die(router, dead)
    path.write_bytes(data)
    router.rest(worker)
    worker.begin()
    worker.accounting.flush()
    total = 100 if where == "middle" else 150
    assert sum(cost for _, cost in router.ledger_rows()) == total
    assert router.spent() == (total, 1_000)
    assert f"the journal of worker {dead.id} is damaged" in caplog.text
    assert sorted(path.name for path in directory.glob(f"{dead.id}.*")) == [
        f"{dead.id}.00000001.journal.damaged",
        f"{dead.id}.lock.damaged",
    ]
    assert open_journals(router) == [worker.id]


def test_a_journal_of_another_release_is_set_aside(router: Router, worker: Worker) -> None:
    dead = router.worker()
    dead.begin()
    path = segment(router, dead.id)
    die(router, dead)
    path.write_bytes(
        frames.frame(frames.crc_seed(f"{dead.id}.1"), frames.HEADER, b"[%d,1,0]" % (frames.FORMAT + 1)) + bytes(100)
    )
    router.rest(worker)
    worker.begin()
    assert router.spent() == (0, 1_000)
    assert open_journals(router) == [worker.id]


def test_a_journal_of_another_release_that_was_just_closed_hinders_no_new_counters(
    router: Router, worker: Worker
) -> None:
    seed = frames.crc_seed("01OTHERRELEASE.1")
    path = segment_path(router.directory / "journals", "01OTHERRELEASE", 1)
    path.write_bytes(frames.frame(seed, frames.HEADER, b"[%d,1,0]" % (frames.FORMAT + 1)) + bytes(100))
    router.lose_counters()
    router.rest(worker)
    worker.begin()
    assert router.writer.shared_state.generation == 2


def test_a_journal_that_cannot_be_read_now_is_tried_again(router: Router, worker: Worker) -> None:
    """M1: only damage is damage."""
    dead = router.worker()
    dead.begin()
    path = segment(router, dead.id)
    die(router, dead)
    path.rename(router.directory / "aside")
    path.mkdir()
    router.rounds(2)
    assert router.ledger_rows() == []
    path.rmdir()
    (router.directory / "aside").rename(path)
    router.rounds(2)
    assert (router.ledger_rows(), router.spent()) == ([("crash", 1_000)], (1_000, 0))


def test_a_journal_that_was_deleted_is_given_up(
    router: Router, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    dead = router.worker()
    dead.begin()
    die(router, dead)
    for path in (router.directory / "journals").glob(f"{dead.id}.*"):
        path.unlink()
    router.lose_counters()
    router.rest(worker)
    worker.begin()
    assert f"the journal of worker {dead.id} is gone" in caplog.text
    assert (open_journals(router), router.spent()) == ([worker.id], (0, 1_000))


def test_edits_whose_dashboard_died_are_told(router: Router, worker: Worker) -> None:
    with router.engine.begin() as connection:
        connection.execute(
            text(
                "insert into organizations (id, name, created_at, policy_version) values ('org_1', 'A', '2026-01-01', 3)"
            )
        )
        connection.execute(text("insert into policy_outbox (subject) values ('org_1')"))
    router.rounds()
    assert router.observer.org_version("org_1") == 3
    assert router.database.outbox() == ([], {}, {})


def test_a_database_that_does_not_answer_is_asked_again(
    router: Router, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    worker.settle(worker.begin(), 300)

    def down(*_: Any) -> None:
        raise OperationalError("select", {}, Exception("permission denied for table journals\nDETAIL: of a row"))

    event.listen(router.engine, "before_cursor_execute", down)
    assert router.rounds(3) == 0
    said = {one for one in caplog.messages if "is asked again" in one}
    assert said == {"the database cannot be used, and is asked again: permission denied for table journals"}
    event.remove(router.engine, "before_cursor_execute", down)
    assert router.rounds() == 1
    assert router.ledger_rows() == [("ok", 300)]


def test_a_database_that_was_put_back_gets_its_rows_again(router: Router, worker: Worker, tmp_path: Path) -> None:
    copy = sqlite3.connect(tmp_path / "copy.db")
    with sqlite3.connect(tmp_path / "router.db") as live:
        live.backup(copy)
    live.close()
    for _ in range(3):
        worker.settle(worker.begin(), 300)
        router.rounds()
    with sqlite3.connect(tmp_path / "router.db") as live:
        copy.backup(live)
    live.close()
    copy.close()
    worker.settle(worker.begin(), 300)
    router.rest(worker)
    worker.begin()
    worker.accounting.flush()
    assert router.ledger_rows() == [("ok", 300)] * 4
    assert router.spent() == (1_200, 1_000)


class Watched:
    """Counters before which something happens: at each call, or right after one of them."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.after_condition: Any = None

    def status(self) -> CountersStatus:
        found = self.counters.status()
        if self.after_condition is not None:
            self.after_condition()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.counters, name)


def test_counters_that_are_busy_are_not_made_anew(router: Router, worker: Worker) -> None:
    """A batch that is committed while the ledger writer looks is no sign of an older copy."""
    watched = Watched(connect(router.counters_url, clock=router.clock))
    router.writer = router.new_writer(counters=watched)
    router.writer.start()
    watched.after_condition = lambda: worker.begin(1)
    router.rounds(5)
    assert router.writer.shared_state.generation == 1


def test_everything_new_begins_with_new_counters(router: Router, worker: Worker) -> None:
    worker.settle(worker.begin(), 300)
    worker.begin()
    die(router, worker)
    router.writer = router.new_writer()
    router.writer.start()
    assert router.writer.shared_state.generation == 2
    other = router.worker()
    router.rest(other)
    assert isinstance(other.admit(charge(bound_nanos=8_701))[1], SpendExceeded)
    assert isinstance(other.admit(charge(bound_nanos=8_700))[1], Admitted)


def test_one_that_takes_over_from_a_dead_one_leaves_the_living_alone(router: Router, worker: Worker) -> None:
    worker.begin()
    router.writer = router.new_writer()
    router.writer.start()
    worker.begin()
    assert (router.writer.shared_state.generation, router.spent()) == (1, (0, 2_000))


def test_counters_that_do_not_answer_are_asked_again(router: Router, worker: Worker) -> None:
    dead = router.worker()
    dead.begin()
    die(router, dead)
    real = router.writer._counters.close_worker

    def broken(*_: Any) -> bool:
        raise CountersUnavailable("locked")

    router.writer._counters.close_worker = broken  # type: ignore[method-assign, assignment]
    router.rounds(2)
    assert router.ledger_rows() == [("crash", 1_000)]
    assert router.spent() == (0, 1_000)
    router.writer._counters.close_worker = real  # type: ignore[method-assign]
    router.rounds(2)
    assert router.spent() == (1_000, 0)
    assert os.getpid() not in router.killed
