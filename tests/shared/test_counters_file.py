"""The file under the counters: modes, locks, forks, threads, and what happens when it cannot be written."""

import logging
import resource
import sqlite3
import stat
import time
from collections import UserDict
from collections.abc import ItemsView, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from counters_kit import FakeClock, Home, Worker, charge

from shared.counters import Admitted, Counters, CountersLost, CountersUnavailable, connect
from shared.counters.sqlite import SqliteCounters
from shared.counters.transaction import Transaction


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path, f"sqlite:///{tmp_path}/counters.db")
    yield home
    home.close()


@pytest.fixture
def path(home: Home) -> Path:
    return home.data_dir / "counters.db"


@pytest.fixture
def worker(home: Home) -> Worker:
    return Worker(home.live(1, "key", "other")).register()


def test_it_works(worker: Worker, path: Path) -> None:
    assert isinstance(worker.ask(charge()), Admitted)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_nothing_is_opened_before_the_first_use(home: Home, path: Path) -> None:
    counters = home.connect()
    counters.close()
    assert [file.name for file in path.parent.iterdir()] == [home.shared_state.path.name]


@pytest.mark.parametrize("url", ["memcached://localhost", "memory://", "sqlite:/x", "counters.db"])
def test_other_urls_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(ValueError, match="must begin with") as caught:
        connect(url.replace("localhost", "secret"))
    assert "secret" not in str(caught.value)


def test_a_missing_folder_is_unavailable_and_names_no_path(tmp_path: Path) -> None:
    counters = connect(f"sqlite:///{tmp_path}/nowhere/counters.db")
    for act in (counters.status, lambda: counters.publish(1, {}, {}), lambda: counters.rows(["key"])):
        with pytest.raises(CountersUnavailable) as caught:
            act()
        assert str(tmp_path) not in str(caught.value)


# Failures in the middle


def test_a_statement_that_fails_undoes_all_before_it(home: Home, worker: Worker, path: Path) -> None:
    worker.send(charge(bound=5))
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TRIGGER t BEFORE UPDATE ON key_row WHEN NEW.id = 'other' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    before = worker.counters.status()
    with pytest.raises(CountersUnavailable, match="SQLITE_CONSTRAINT_TRIGGER") as caught:
        worker.send(charge(bound=7), charge("other", bound=7))
    assert not caught.value.in_doubt
    assert worker.counters.status() == before
    assert home.shared_state.transaction_pid == 0
    row = worker.counters.rows(["key"])["key"]
    assert [entry[1] for entry in row.days.values()] == [5]
    assert sum(row.window.buckets.values()) == 1
    assert isinstance(worker.ask(charge(bound=7)), Admitted)
    connection.close()


@contextmanager
def no_file_grows_beyond(limit: int) -> Iterator[None]:
    """What writes meets the same end as on a full disk. Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_m13_a_full_disk_refuses_and_nothing_is_half_done(home: Home, worker: Worker, path: Path) -> None:
    home.connect().status()  # as the ledger writer has; the last one to close would fold the log
    worker.send(charge(bound=5))
    with no_file_grows_beyond(path.with_name("counters.db-wal").stat().st_size):
        with pytest.raises(CountersUnavailable):
            worker.send(charge(bound=7))
    assert isinstance(worker.ask(charge(bound=7)), Admitted)
    assert [entry[1] for entry in worker.counters.rows(["key"])["key"].days.values()] == [12]


def test_new_counters_that_cannot_be_made_leave_the_old_ones_right(home: Home, worker: Worker, path: Path) -> None:
    writer = home.connect()
    with no_file_grows_beyond(100):
        with pytest.raises(CountersUnavailable, match="cannot make the file"):
            writer.begin_generation(2, {"w1": 0})
    assert not home.shared_state.file_changing
    assert isinstance(worker.ask(charge(bound=7)), Admitted)
    writer.begin_generation(2, {"w1": 0})
    assert writer.status().generation == 2


def test_numbers_of_transactions_that_end_in_the_old_file_stay_below_the_new(home: Home, worker: Worker) -> None:
    """Otherwise the new counters would be refused as an older copy, and made anew once more."""
    late = Transaction(_sqlite(worker.counters), "w1", 1)
    busy = Worker(home.connect(), "w2").register()

    class Workers(UserDict[str, int]):
        """Told while the new file is being filled."""

        def items(self) -> ItemsView[str, int]:
            for _ in range(50):
                busy.send(charge())
            late.__enter__()
            late.mark_written()
            return super().items()

    writer = home.connect()
    writer.begin_generation(2, Workers(w1=0))
    late.__exit__(None, None, None)
    writer.go_live(2)
    assert writer.check()


def _sqlite(counters: Counters) -> SqliteCounters:
    assert isinstance(counters, SqliteCounters)
    return counters


@pytest.mark.parametrize("garbage", ["[1,", 7, b"", b"\x01"])
def test_a_row_of_garbage_is_a_loss(home: Home, worker: Worker, path: Path, garbage: str | int | bytes) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE key_row SET state = ? WHERE id = 'key'", (garbage,))
    with pytest.raises(CountersLost, match="a row cannot be read"):
        worker.send(charge())
    with pytest.raises(CountersLost, match="a row cannot be read"):
        worker.counters.rows(["key"])
    assert isinstance(worker.ask(charge("other")), Admitted)
    connection.close()


def test_one_line_a_second_is_logged(home: Home, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(b"x" * 5000)
    counters = home.connect()
    with caplog.at_level(logging.ERROR):
        for _ in range(20):
            with pytest.raises(CountersLost):
                counters.status()
    assert 1 <= len(caplog.records) <= 2
    assert str(path.parent) not in caplog.text


def test_system_clocks_are_used_unless_told_otherwise(home: Home) -> None:
    counters = connect(home.url)
    moment = counters.moment()
    assert abs(moment.wall - time.time()) < 5
    assert abs(moment.steady - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5
    assert connect(home.url, clock=FakeClock()).moment() == FakeClock().moment
