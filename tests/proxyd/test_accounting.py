"""Journal, counters and ledger together: each attempt ends exactly once, in all three."""

import logging
from datetime import date

import gevent
import pytest
from ledger_kit import attempt, settlement
from sqlalchemy.exc import OperationalError

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.journal import Journal, JournalUnavailable, claim_orphans
from proxyd.accounting.ledger import Ledger
from shared import counters
from shared.counters import Admitted, Charge, CountersUnavailable
from shared.periods import unix

DAY = date(2026, 11, 24)


class World:
    """Real parts; a database and counters that can be switched off."""

    def __init__(self, tmp_path, engine) -> None:
        self.now = float(unix(DAY)) + 3600
        self.tmp_path = tmp_path
        self.counters = counters.connect(f"sqlite:///{tmp_path / 'counters.db'}", clock=lambda: self.now)
        self.ledger = Ledger(engine)
        self.down = False
        self.books = self.open()
        self.books.seed()

    def open(self) -> Accounting:
        return Accounting(Journal(self.tmp_path / "journals"), self.counters, self.ledger, self.offload)

    def offload(self, function, *arguments):
        if self.down:
            raise OperationalError("down", {}, Exception("down"))
        return function(*arguments)

    def admit(self, books=None, bound: int = 1000, limit: int = 10_000) -> int:
        books = books or self.books
        seq, number = books.journal.new_id()
        result = books.open(
            seq,
            Charge(f"req_{number}", books.journal.worker_id, "org_1", "key_1", 0, None, limit, "daily", bound),
            lambda admitted: attempt(id=f"req_{number}", bound_nanos=bound, day=admitted.day.isoformat()),
        )
        assert isinstance(result, Admitted), result
        return seq

    def state(self) -> tuple[int, int]:
        spend = self.counters.spend("key_1", "daily", 10_000)
        return spend.spent_nanos, spend.held_nanos

    def ledger_sum(self) -> int:
        return sum(nanos for _, _, nanos in self.ledger.totals()[0])


@pytest.fixture
def world(tmp_path, engine):
    world = World(tmp_path, engine)
    yield world
    world.counters.close()


def test_it_works(world):
    seq = world.admit()
    assert world.state() == (0, 1000)
    world.books.settle(seq, settlement(cost_nanos=300))
    assert world.state() == (300, 0)
    assert world.books.flush() == 1
    assert world.ledger_sum() == 300
    world.books.close()
    assert list((world.tmp_path / "journals").iterdir()) == []


def test_a_void_attempt_leaves_nothing(world):
    seq = world.admit()
    world.books.void(seq)
    assert world.state() == (0, 0)
    assert world.books.flush() == 0


def test_settling_twice_counts_once(world):
    seq = world.admit()
    world.books.settle(seq, settlement(cost_nanos=300))
    world.books.settle(seq, settlement(cost_nanos=999))
    world.books.flush()
    assert (world.state(), world.ledger_sum()) == ((300, 0), 300)


def test_m13_while_the_journal_cannot_be_written_nothing_is_charged(world, tmp_path):
    """The first request finds out and gives its hold back; those behind it are refused uncharged, until it works."""

    def used() -> int:
        return 100 - world.counters.rate("key_1", 100).remaining

    path = next((tmp_path / "journals").glob("*.db"))
    connection, world.books.journal._connection = world.books.journal._connection, None
    connection.close()
    aside = path.rename(tmp_path / "aside.db")
    path.mkdir()
    for _ in range(3):
        with pytest.raises(JournalUnavailable):
            world.admit()
    assert (world.state(), used()) == ((0, 0), 1)
    path.rmdir()
    aside.rename(path)
    world.admit()
    assert (world.state(), used()) == ((0, 1000), 2)


def test_while_the_database_is_down_lines_wait(world):
    world.books.settle(world.admit(), settlement(cost_nanos=300))
    world.down = True
    with pytest.raises(OperationalError):
        world.books.flush()
    assert world.state() == (300, 0)
    world.down = False
    assert world.books.flush() == 1
    assert world.books.flush() == 0
    assert world.ledger_sum() == 300


def test_a_flush_whose_end_was_lost_is_repeated_without_effect(world):
    world.books.settle(world.admit(), settlement(cost_nanos=300))
    world.ledger.post(list(world.books._lines.values()))
    world.books.flush()
    assert world.ledger_sum() == 300


def test_a_dead_workers_attempts_come_home(world):
    """Settled ones as they were, running ones at what is known; then nothing is held and nothing is left over."""
    dead = world.open()
    done, noted, running = (world.admit(dead) for _ in range(3))
    dead.journal.settle({done: settlement(cost_nanos=100)})
    dead.journal.note_progress(noted, 40)
    assert world.state() == (0, 3000)
    dead.journal.close(remove=False)  # its lock is free, as after kill -9
    assert world.books.recover() == 3
    assert world.state() == (100 + 40 + 1000, 0)
    assert world.ledger_sum() == 1140
    assert world.books.recover() == 0
    assert running
    assert len(list((world.tmp_path / "journals").glob("*.db"))) == 1


def test_recovery_that_breaks_off_is_done_again_and_counts_once(world, monkeypatch):
    dead = world.open()
    dead.journal.settle({world.admit(dead): settlement(cost_nanos=100)})
    dead.journal.close(remove=False)

    def broken(*arguments):
        raise CountersUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(world.counters, "turn", broken)
        with pytest.raises(CountersUnavailable):
            world.books.recover()
    assert world.ledger_sum() == 100
    assert world.books.recover() == 1
    assert (world.ledger_sum(), world.state()) == (100, (100, 0))


def test_counters_that_cannot_hear_are_told_later(world, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)
    seq = world.admit()

    def broken(*arguments):
        raise CountersUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(world.counters, "turn", broken)
        world.books.settle(seq, settlement(cost_nanos=300))
    assert world.state() == (0, 1000)
    world.books.flush()
    assert world.state() == (300, 0)


def test_lost_counters_are_filled_again_with_what_is_in_flight(world):
    world.books.settle(world.admit(), settlement(cost_nanos=300))
    open_seq = world.admit()
    world.counters.close()
    for path in world.tmp_path.glob("counters.db*"):
        path.unlink()
    assert not world.counters.is_seeded()
    world.books.seed()
    assert world.state() == (300, 1000)
    world.books.settle(open_seq, settlement(cost_nanos=200))
    assert world.state() == (500, 0)
    world.books.flush()
    assert world.ledger_sum() == 500


def test_a_settlement_between_loss_and_seed_counts_once(world):
    seq = world.admit()
    world.counters.close()
    for path in world.tmp_path.glob("counters.db*"):
        path.unlink()
    world.books.settle(seq, settlement(cost_nanos=300))
    world.books.seed()
    assert world.state() == (300, 0)
    world.books.flush()
    assert world.ledger_sum() == 300


def test_a_request_belongs_to_the_day_of_its_admission(world):
    world.now = float(unix(DAY)) + 86_399.999
    seq = world.admit()
    world.now += 1
    assert world.state() == (0, 0)
    world.books.settle(seq, settlement(cost_nanos=300))
    assert world.state() == (0, 0)
    world.now -= 2
    assert world.state() == (300, 0)
    world.books.flush()
    assert world.ledger.totals()[0] == [("key_1", DAY, 300)]


def test_a_clean_end_keeps_the_journal_when_the_last_flush_fails(world, caplog):
    caplog.set_level(logging.CRITICAL)
    world.books.settle(world.admit(), settlement(cost_nanos=300))
    world.down = True
    world.books.close()
    found = [entry for orphan in claim_orphans(world.tmp_path / "journals") for entry in orphan.entries()]
    assert [entry.settlement.cost_nanos for entry in found if entry.settlement] == [300]


def test_another_workers_holds_come_back_after_a_loss(world):
    other = world.open()
    other.seed()
    world.admit(other)
    world.counters.close()
    for path in world.tmp_path.glob("counters.db*"):
        path.unlink()
    world.books.seed()
    assert world.state() == (0, 0)
    other.keep_alive()
    assert world.state() == (0, 1000)
    other.close()


def test_what_is_wrong_with_one_request_of_a_turn_loses_no_other(world, caplog):
    caplog.set_level(logging.CRITICAL)
    seq = world.admit()
    ending = gevent.spawn(world.books.settle, seq, settlement(cost_nanos=300))
    broken = gevent.spawn(world.admit, bound=-1)
    gevent.joinall([ending, broken], timeout=5)
    assert ending.successful()
    assert isinstance(broken.exception, ValueError)
    world.books.flush()
    assert (world.state(), world.ledger_sum()) == ((300, 0), 300)
