"""The file under the counters: modes, locks, forks, and what happens when it is lost, broken or cannot be written."""

import logging
import os
import random
import resource
import signal
import sqlite3
import stat
import threading
import time
from datetime import date

import pytest

from shared.counters import Admitted, Charge, CountersUnavailable, Unseeded, connect

TODAY = date(2027, 1, 15)
NOON = 1_800_014_400.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "counters.db"


@pytest.fixture
def counters(path):
    counters = connect(f"sqlite:///{path}", clock=lambda: NOON)
    assert counters.seed(counters.generation(), [])
    yield counters
    counters.close()


def charge(reservation="r1", **changes):
    fields = {
        "reservation_id": reservation,
        "worker_id": "w1",
        "org_id": "org",
        "key_id": "key",
        "expected_epoch": 0,
        "rate_limit_rpm": 1000,
        "spend_limit_nanos": 10_000,
        "spend_reset": "daily",
        "bound_nanos": 100,
    }
    return Charge(**{**fields, **changes})


def settle_many(counters):
    for at in range(50):
        counters.settle(f"r{at}", f"key {at}", TODAY, 1)


def test_it_works(counters, path):
    assert counters.check()
    assert isinstance(counters.admit(charge()), Admitted)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_nothing_is_opened_before_the_first_use(path):
    connect(f"sqlite:///{path}")
    assert not path.exists()


def test_a_missing_folder_is_unavailable_and_says_no_path(path, tmp_path):
    counters = connect(f"sqlite:///{tmp_path}/nowhere/counters.db")
    with pytest.raises(CountersUnavailable) as caught:
        counters.epoch("org")
    assert str(tmp_path) not in str(caught.value)
    assert not counters.check()


def test_a_deleted_file_is_made_anew_and_knows_that_it_knows_nothing(counters, path, caplog):
    counters.settle("r0", "key", TODAY, 500)
    generation = counters.generation()
    path.unlink()
    answer = counters.admit(charge())
    assert answer == Unseeded(counters.generation())
    assert counters.generation() != generation
    assert "deleted or replaced" in caplog.text
    assert counters.seed(counters.generation(), [("key", TODAY, 500)])
    assert isinstance(counters.admit(charge()), Admitted)
    assert counters.spend("key", "daily").spent_nanos == 500


def test_all_threads_find_the_new_file_after_a_deletion(counters, path):
    other = connect(f"sqlite:///{path}", clock=lambda: NOON)
    counters.epoch("org")
    other.epoch("org")
    path.unlink()
    first = counters.bump_epoch("org")
    assert other.epoch("org") == first
    second = other.bump_epoch("org")
    counters.close()  # must not take the new file's journal along
    assert connect(f"sqlite:///{path}").epoch("org") == second
    other.close()


@pytest.mark.parametrize("content", [b"", b"this is no database" * 500, None])
def test_a_broken_file_is_set_aside(path, content, caplog):
    first = connect(f"sqlite:///{path}", clock=lambda: NOON)
    first.settle("r0", "key", TODAY, 500)
    first.close()
    if content is None:  # sound in its first page only
        content = path.read_bytes()
        content = content[:1024] + random.Random(1).randbytes(len(content) - 1024)
    path.write_bytes(content)
    counters = connect(f"sqlite:///{path}", clock=lambda: NOON)
    for _ in range(3):  # a page may be found broken only when it is used
        try:
            counters.bump_epoch("another org")
            counters.settle("r1", "key", TODAY, 1)
            counters.admit(charge("r2"))
        except CountersUnavailable:
            continue
    assert isinstance(counters.admit(charge("r9")), Unseeded)
    assert (path.parent / f"counters.db.corrupt-{int(NOON)}").read_bytes()[: len(content)] == content
    assert "set aside" in caplog.text
    counters.close()


def test_a_file_that_breaks_while_it_is_open_is_set_aside(counters, path):
    counters.settle("r0", "key", TODAY, 500)
    counters.close()
    counters.epoch("org")
    with path.open("r+b") as file:
        file.seek(1024)
        file.write(b"\xff" * (path.stat().st_size - 1024))
    with pytest.raises(CountersUnavailable):
        settle_many(counters)
    assert isinstance(counters.admit(charge()), Unseeded)


def test_a_database_that_is_not_ours_is_left_alone(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE precious (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(CountersUnavailable):
        connect(f"sqlite:///{path}").epoch("org")
    assert path.read_bytes() == before


def test_trouble_is_logged_once_a_second(tmp_path, caplog):
    now = [NOON]
    counters = connect(f"sqlite:///{tmp_path}/nowhere/counters.db", clock=lambda: now[0])
    with caplog.at_level(logging.ERROR):
        for _ in range(20):
            with pytest.raises(CountersUnavailable):
                counters.epoch("org")
        assert len(caplog.records) == 1
        now[0] += 1
        with pytest.raises(CountersUnavailable):
            counters.epoch("org")
    assert len(caplog.records) == 2


def test_a_lock_held_for_long_is_waited_for_a_second_through_sleep(path):
    pauses: list[float] = []
    counters = connect(f"sqlite:///{path}", sleep=pauses.append)
    counters.epoch("org")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(CountersUnavailable, match="SQLITE_BUSY"):
        counters.admit(charge())
    assert 0.99 <= sum(pauses) <= 1.02
    assert max(pauses) <= 0.0075
    assert pauses[0] <= 0.0003
    assert counters.epoch("org") == 0, "readers are not kept out"
    blocker.execute("ROLLBACK")
    blocker.close()
    counters.bump_epoch("org")


def test_the_lock_is_taken_as_soon_as_it_is_free_and_others_may_use_the_connection_meanwhile(path):
    seen = []

    def sleep(_seconds):
        """What gevent does: another greenlet of this thread runs while one waits."""
        seen.append(counters.epoch("org"))
        if len(seen) == 3:
            blocker.execute("ROLLBACK")
            counters.bump_epoch("org")

    counters = connect(f"sqlite:///{path}", sleep=sleep)
    counters.epoch("org")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    assert counters.bump_epoch("org") > seen[-1]
    assert seen == [0, 0, 0]
    blocker.close()


def test_an_error_inside_rolls_all_of_it_back(counters):
    database = counters._database

    def fail():
        with database.transaction():
            counters.bump_epoch("org")
            counters.settle("r0", "key", TODAY, 500)
            raise ZeroDivisionError

    def ask_nonsense():
        with database.transaction():
            counters.bump_epoch("org")
            with database.transaction() as session:
                session.execute("SELECT nonsense")

    with pytest.raises(ZeroDivisionError):
        fail()
    assert counters.epoch("org") == 0
    assert counters.spend("key", "daily").spent_nanos == 0
    with pytest.raises(CountersUnavailable):
        ask_nonsense()
    assert counters.epoch("org") == 0
    assert counters.bump_epoch("org") > 0


def test_a_full_disk_is_unavailable_and_heals(counters, path):
    counters.settle("r0", "key", TODAY, 1)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name("counters.db-wal").stat().st_size + 100, hard))
        with pytest.raises(CountersUnavailable):
            counters.admit(charge())
        assert not counters.check()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert counters.check()
    assert counters.spend("key", "daily").held_nanos == 0, "nothing was charged"
    assert isinstance(counters.admit(charge()), Admitted)


def test_threads_have_connections_of_their_own(counters):
    def work(number):
        for at in range(50):
            counters.admit(charge(f"{number}-{at}", bound_nanos=1))
            counters.settle(f"{number}-{at}", "key", TODAY, 1)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = counters.spend("key", "never")
    assert (state.spent_nanos, state.held_nanos) == (200, 0)


def test_a_fork_takes_no_connection_along(counters, path):
    first = counters.bump_epoch("org")
    child = os.fork()
    if not child:
        try:
            os._exit(0 if counters.bump_epoch("org") == first + 1 else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert counters.bump_epoch("org") == first + 2
    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    plain.close()


def test_the_journal_is_folded_into_the_file_now_and_then(path):
    counters = connect(f"sqlite:///{path}", clock=lambda: NOON)
    for at in range(4000):
        counters.settle(f"r{at}", f"key{at % 50}", TODAY, 1)
    assert path.with_name("counters.db-wal").stat().st_size < 6_000_000
    counters.close()


def test_real_clock_and_sleep_are_the_default(path):
    counters = connect(f"sqlite:///{path}")
    assert abs(counters.rate("key", 5).resets_at - time.time()) < 5
    counters.close()
