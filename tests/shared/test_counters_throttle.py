"""Guessing of passwords is slowed down, by a memory that outlives the counters it stands beside."""

import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from counters_kit import FakeClock, Home
from redis_kit import RedisServer

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


@pytest.fixture(params=["sqlite", "redis"])
def anywhere(request: pytest.FixtureRequest, url: str) -> str:
    """A URL on each storage."""
    if request.param == "sqlite":
        return url
    server: RedisServer = request.getfixturevalue("redis_server")
    server.empty()
    return server.url


@pytest.fixture
def either(anywhere: str, clock: FakeClock) -> Iterator[LoginThrottle]:
    """A throttle on each storage."""
    throttle = login_throttle(anywhere, clock=clock)
    yield throttle
    throttle.close()


def test_it_works(either: LoginThrottle, clock: FakeClock) -> None:
    assert either.wait_seconds("ann") == 0
    assert [either.failed("ann") for _ in range(8)] == [0, 0, 0, 0, 0, 1, 2, 4]
    assert either.wait_seconds("ann") == 4
    clock.pass_by(3)
    assert either.wait_seconds("ann") == 1
    clock.pass_by(1)
    assert either.wait_seconds("ann") == 0
    assert either.wait_seconds("bob") == 0


def test_it_has_a_file_of_its_own(throttle: LoginThrottle, tmp_path: Path) -> None:
    throttle.failed("ann")
    assert (tmp_path / "counters-logins.db").exists()
    assert not (tmp_path / "counters.db").exists()


def test_the_wait_grows_to_five_minutes_and_no_further(either: LoginThrottle) -> None:
    assert [either.failed("ann") for _ in range(100)][12:] == [128, 256, *[300] * 86]
    assert either.wait_seconds("ann") == 300


def test_the_right_password_clears(either: LoginThrottle) -> None:
    for _ in range(9):
        either.failed("ann")
    either.failed("bob")
    either.cleared("ann")
    assert either.wait_seconds("ann") == 0
    assert either.failed("ann") == 0
    assert [either.failed("bob") for _ in range(5)][-1] == 1


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
def test_spellings_of_a_name_are_one(either: LoginThrottle, spelling: str) -> None:
    for _ in range(6):
        either.failed("ann@example.com")
    assert either.wait_seconds(spelling) == 1


def test_a_name_may_be_anything(either: LoginThrottle) -> None:
    for name in ("", "\0", "\ud800", "x" * 10**6, "'; DROP TABLE login"):
        assert [either.failed(name) for _ in range(6)][-1] == 1


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


def test_all_processes_share_it(anywhere: str, clock: FakeClock, either: LoginThrottle) -> None:
    other = login_throttle(anywhere, clock=clock)
    assert [one.failed("ann") for one in [either, other] * 4] == [0, 0, 0, 0, 0, 1, 2, 4]
    other.close()


def test_failures_are_forgotten_after_a_day(either: LoginThrottle, clock: FakeClock) -> None:
    for _ in range(20):
        either.failed("ann")
    clock.pass_by(24 * 3600 - 1)
    assert either.failed("ann") == 300
    clock.pass_by(24 * 3600)
    assert either.wait_seconds("ann") == 0
    assert either.failed("ann") == 0


def test_a_server_keeps_hashes_apart_from_the_counters_and_deletes_them(
    redis_server: RedisServer, tmp_path: Path, clock: FakeClock
) -> None:
    redis_server.empty()
    throttle = login_throttle(redis_server.url)
    home = Home(tmp_path, redis_server.url)
    counters = home.live(1, "key")
    for _ in range(7):
        throttle.failed("ann@example.com")
    counters.begin_generation(2, {})
    counters.checkpoint()
    assert 1 < throttle.wait_seconds("ann@example.com") <= 2
    with redis_server.client() as client:
        (key,) = client.keys("*login*")
        assert b"ann" not in key
        assert 24 * 3600 - 10 < client.ttl(key) <= 24 * 3600
    throttle.cleared("ann@example.com")
    assert throttle.wait_seconds("ann@example.com") == 0
    throttle.close()
    home.close()


def test_a_clock_set_back_does_not_lock_out_for_longer(either: LoginThrottle, clock: FakeClock) -> None:
    for _ in range(6):
        either.failed("ann")
    clock.wall_now -= 10_000
    assert either.wait_seconds("ann") <= 300


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
