"""Guessing of passwords is slowed down, by a memory that outlives the counters it stands beside."""

import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from counters_kit import FakeClock, Home

from shared.counters import CountersUnavailable, LoginThrottle, login_throttle


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/counters.db"


@pytest.fixture
def throttle(url: str, clock: FakeClock) -> Iterator[LoginThrottle]:
    throttle = login_throttle(url, clock=clock)
    yield throttle
    throttle.close()


def test_it_works(throttle: LoginThrottle, clock: FakeClock, tmp_path: Path) -> None:
    assert throttle.wait_seconds("ann") == 0
    assert [throttle.failed("ann") for _ in range(8)] == [0, 0, 0, 0, 0, 1, 2, 4]
    assert throttle.wait_seconds("ann") == 4
    clock.pass_by(3)
    assert throttle.wait_seconds("ann") == 1
    clock.pass_by(1)
    assert throttle.wait_seconds("ann") == 0
    assert throttle.wait_seconds("bob") == 0
    assert (tmp_path / "counters-logins.db").exists()
    assert not (tmp_path / "counters.db").exists()


def test_the_wait_grows_to_five_minutes_and_no_further(throttle: LoginThrottle) -> None:
    assert [throttle.failed("ann") for _ in range(100)][12:] == [128, 256, *[300] * 86]
    assert throttle.wait_seconds("ann") == 300


def test_the_right_password_clears(throttle: LoginThrottle) -> None:
    for _ in range(9):
        throttle.failed("ann")
    throttle.failed("bob")
    throttle.cleared("ann")
    assert throttle.wait_seconds("ann") == 0
    assert throttle.failed("ann") == 0
    assert [throttle.failed("bob") for _ in range(5)][-1] == 1


def test_failures_are_forgotten_after_a_day_and_deleted(
    throttle: LoginThrottle, clock: FakeClock, tmp_path: Path
) -> None:
    for _ in range(20):
        throttle.failed("ann")
    clock.pass_by(24 * 3600)
    assert throttle.wait_seconds("ann") == 0
    assert throttle.failed("bob") == 0
    with sqlite3.connect(tmp_path / "counters-logins.db") as connection:
        assert connection.execute("SELECT COUNT(*) FROM login").fetchone() == (1,)
    connection.close()
    assert throttle.failed("ann") == 0


@pytest.mark.parametrize(
    "spelling", ["Ann@Example.com", " ann@example.com ", "\uff41nn@example.com", "ANN@EXAMPLE.COM"]
)
def test_spellings_of_a_name_are_one(throttle: LoginThrottle, spelling: str) -> None:
    for _ in range(6):
        throttle.failed("ann@example.com")
    assert throttle.wait_seconds(spelling) == 1


def test_a_name_may_be_anything(throttle: LoginThrottle) -> None:
    for name in ("", "\0", "\ud800", "x" * 10**6, "'; DROP TABLE login"):
        assert [throttle.failed(name) for _ in range(6)][-1] == 1


def test_a_restart_forgets_nothing_and_no_name_is_stored(url: str, tmp_path: Path, clock: FakeClock) -> None:
    first = login_throttle(url, clock=clock)
    for _ in range(7):
        first.failed("ann@example.com")
    first.close()
    second = login_throttle(url, clock=clock)
    assert second.wait_seconds("ann@example.com") == 2
    second.close()
    assert b"ann@example" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_it_outlives_new_counters_and_lost_ones(tmp_path: Path, url: str, throttle: LoginThrottle) -> None:
    home = Home(tmp_path, url)
    counters = home.live(1, "key")
    for _ in range(7):
        throttle.failed("ann")
    counters.begin_generation(2, {})
    (tmp_path / "counters.db").unlink()
    assert throttle.wait_seconds("ann") == 2
    assert throttle.failed("ann") == 4
    home.close()


def test_all_processes_share_it(url: str, clock: FakeClock, throttle: LoginThrottle) -> None:
    other = login_throttle(url, clock=clock)
    assert [one.failed("ann") for one in [throttle, other] * 4] == [0, 0, 0, 0, 0, 1, 2, 4]
    other.close()


def test_a_clock_set_back_does_not_lock_out_for_longer(throttle: LoginThrottle, clock: FakeClock) -> None:
    for _ in range(6):
        throttle.failed("ann")
    clock.wall_now -= 10_000
    assert throttle.wait_seconds("ann") <= 300


@pytest.mark.parametrize("command", ["rm $1", "head -c 5000 /dev/urandom > $1; rm -f $1-wal", ": > $1; : > $1-wal"])
def test_a_damaged_memory_is_begun_anew(url: str, tmp_path: Path, clock: FakeClock, command: str) -> None:
    first = login_throttle(url, clock=clock)
    first.failed("ann")
    first.close()
    subprocess.run(["sh", "-ec", command, "sh", tmp_path / "counters-logins.db"], check=True)
    second = login_throttle(url, clock=clock)
    try:
        second.failed("ann")
    except CountersUnavailable:
        pass  # whoever finds it says so once
    assert [second.failed("bob") for _ in range(6)][-1] == 1
    second.close()


def test_a_memory_that_is_deleted_while_it_is_open_is_begun_anew_for_all(
    url: str, tmp_path: Path, clock: FakeClock, throttle: LoginThrottle
) -> None:
    other = login_throttle(url, clock=clock)
    throttle.failed("ann")
    other.failed("ann")
    subprocess.run(["sh", "-ec", "rm $1*", "sh", tmp_path / "counters-logins.db"], check=True)
    assert [one.failed("ann") for one in [throttle, other] * 4] == [0, 0, 0, 0, 0, 1, 2, 4]
    other.close()
