"""Locks of other processes, forks and threads: one bounded patience, and a connection for each."""

import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from counters_kit import Home, Worker, charge

from shared.counters import Admitted, CountersLost, CountersUnavailable, connect


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


@contextmanager
def held_by_another(path: Path, begin: str = "BEGIN EXCLUSIVE", *pragmas: str) -> Iterator[None]:
    """Another process has the file locked."""
    program = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print("locked", flush=True)
sys.stdin.readline()
"""
    words = [sys.executable, "-c", program, str(path), *pragmas, begin]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "locked\n"
        yield
        process.kill()


# Locks


def test_m09_a_lock_costs_one_bounded_patience_and_then_the_counters_are_unavailable(
    home: Home, worker: Worker, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        time.sleep(seconds)

    waiting = connect(home.url, clock=home.clock, sleep=sleep)
    waiting.attach(home.shared_state)
    second = Worker(waiting, "w2").register()
    with held_by_another(path):
        for least, most in ((0.9, 1.6), (0.04, 0.7)):  # who comes next need not wait as long for the same lock
            started, cpu = time.monotonic(), time.process_time()
            with pytest.raises(CountersUnavailable, match="SQLITE_BUSY") as caught:
                second.send(charge())
            assert least <= time.monotonic() - started < most
            assert time.process_time() - cpu < 0.5, "it waits, it does not spin"
            assert not caught.value.in_doubt
            assert not isinstance(caught.value, CountersLost)
        assert max(pauses) <= 0.0075
        assert 0.5 < sum(pauses) < 2.1
        assert second.counters.status().live, "who reads does not wait"
        assert home.shared_state.transaction_pid == 0
    assert isinstance(second.ask(charge(bound=1)), Admitted)
    assert isinstance(worker.ask(charge(bound=1)), Admitted)
    assert "SQLITE_BUSY" in caplog.text
    waiting.close()


def test_a_lock_on_everything_is_waited_for_once(home: Home, worker: Worker, path: Path) -> None:
    worker.counters.close()  # nobody else has the file open, or it could not be locked so
    with held_by_another(path, "BEGIN EXCLUSIVE", "PRAGMA locking_mode=EXCLUSIVE", "SELECT COUNT(*) FROM key_row"):
        counters = home.connect(attached=False)
        acts = ((counters.status, 0.9, 1.6), (lambda: counters.publish(1, {}, {}), 0.04, 0.7))
        for act, least, most in acts:
            started = time.monotonic()
            with pytest.raises(CountersUnavailable, match="SQLITE_BUSY"):
                act()
            assert least <= time.monotonic() - started < most


def test_who_waited_in_vain_leaves_the_file_as_it_was(home: Home, worker: Worker, path: Path) -> None:
    before, locker = path.stat(), sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CountersUnavailable):
        worker.send(charge())
    locker.execute("ROLLBACK")
    locker.close()
    assert path.stat() == before
    assert worker.counters.intact
    assert isinstance(worker.ask(charge()), Admitted)


@pytest.mark.parametrize("kind", [fcntl.LOCK_SH, fcntl.LOCK_EX])
def test_who_was_stopped_while_it_opened_or_made_the_file_stops_nobody(home: Home, worker: Worker, kind: int) -> None:
    looker, writer = home.connect(attached=False), home.connect()
    with (home.data_dir / "counters.db.lock").open() as stopped:
        fcntl.flock(stopped, kind)
        started = time.monotonic()
        with pytest.raises(CountersUnavailable, match="SQLITE_BUSY"):
            writer.begin_generation(2, {})
        if kind == fcntl.LOCK_EX:
            with pytest.raises(CountersUnavailable, match="SQLITE_BUSY"):
                looker.status()
        assert time.monotonic() - started < 3.2
        assert isinstance(worker.ask(charge()), Admitted), "who has it open already goes on"
    assert looker.status().generation == 1
    writer.begin_generation(2, {})
    assert looker.status().generation == 2


def test_a_lock_that_ends_in_time_is_not_noticed(home: Home, worker: Worker, path: Path) -> None:
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            locker.execute("ROLLBACK")

    waiting = connect(home.url, clock=home.clock, sleep=sleep)
    waiting.register("w2", 1)
    assert len(pauses) == 3
    assert worker.counters.worker_state("w2") is not None
    locker.close()
    waiting.close()


# Forks and threads


def in_child(act: Callable[[], None]) -> int:
    """Run in a forked child; its exit code, 0 when `act` returned."""
    child = os.fork()
    if not child:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_opens_its_own_connection(home: Home, worker: Worker) -> None:
    guard = home.connect()  # of another thread or process: somebody keeps the file open
    opened = threading.Event()
    closing = threading.Event()

    def keep_open() -> None:
        guard.status()
        opened.set()
        closing.wait(30)
        guard.close()

    keeper = threading.Thread(target=keep_open)
    keeper.start()
    opened.wait(30)

    def act() -> None:
        worker.counters.attach(home.shared_state)
        for _ in range(20):
            assert isinstance(worker.ask(charge(bound=1)), Admitted)

    assert in_child(act) == 0
    worker.number += 20
    assert isinstance(worker.ask(charge(bound=1)), Admitted)
    assert [entry[1] for entry in worker.counters.rows(["key"])["key"].days.values()] == [21]
    closing.set()
    keeper.join()


def test_parent_and_child_at_the_same_time(home: Home, worker: Worker) -> None:
    worker.send(charge(bound=1))
    other = Worker(worker.counters, "w2").register()
    guard, holding = sqlite3.connect(home.data_dir / "counters.db"), os.getpid()
    guard.execute("SELECT COUNT(*) FROM key_row").fetchone()
    child = os.fork()
    if not child:
        code = 1
        try:
            other.counters.attach(home.shared_state)
            for _ in range(300):
                assert isinstance(other.ask(charge(bound=1)), Admitted)
            code = 0
        finally:
            os._exit(code)
    assert os.getpid() == holding
    for _ in range(300):
        assert isinstance(worker.ask(charge(bound=1)), Admitted)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [entry[1] for entry in worker.counters.rows(["key"])["key"].days.values()] == [601]
    guard.close()


def test_threads_share_counters(home: Home, worker: Worker) -> None:
    kinds: list[type[object]] = []
    failures: list[BaseException] = []

    def run(name: str) -> None:
        try:
            own = Worker(worker.counters, name).register()
            for _ in range(50):
                kinds.extend(type(answer) for answer in own.send(*[charge(rpm=100, limit=1_000, bound=1)] * 2))
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(f"t{at}",)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert kinds.count(Admitted) == 100
    assert len(kinds) == 400
