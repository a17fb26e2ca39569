"""Guessing of passwords is slowed down, by a memory that outlives the counters it stands beside."""

import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from counters_kit import FakeClock, Home
from redis_kit import RedisServer

from shared.counters import CountersUnavailable, Guarded, LoginThrottle, Tried, login_throttle


def fail(throttle: LoginThrottle, clock: FakeClock, name: str = "ann", times: int = 1) -> list[float]:
    """Fail so many times, each as soon as that is allowed; how long the next try has to wait after each."""
    waits = []
    for _ in range(times):
        tried = throttle.attempt([Guarded(name)])
        if not tried.admitted:
            clock.pass_by(tried.wait_seconds)
            tried = throttle.attempt([Guarded(name)])
        assert tried.admitted
        waits.append(tried.wait_seconds)
    return waits


def wait_of(throttle: LoginThrottle, name: str = "ann") -> float:
    """How long a name has to wait; it must have to."""
    tried = throttle.attempt([Guarded(name)])
    assert not tried.admitted
    return tried.wait_seconds


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
    assert fail(either, clock, times=8) == [0, 0, 0, 0, 0, 1, 2, 4]
    assert wait_of(either) == 4
    clock.pass_by(3)
    assert wait_of(either) == 1
    clock.pass_by(1)
    assert either.attempt([Guarded("ann")]) == Tried(admitted=True, wait_seconds=8)
    assert either.attempt([Guarded("bob")]) == Tried(admitted=True, wait_seconds=0)


def test_it_has_a_file_of_its_own(throttle: LoginThrottle, clock: FakeClock, tmp_path: Path) -> None:
    fail(throttle, clock)
    assert (tmp_path / "counters-logins.db").exists()
    assert not (tmp_path / "counters.db").exists()


def test_of_many_tries_at_once_only_one_goes_on(anywhere: str, clock: FakeClock) -> None:
    """FINDINGS M18: judged and counted in one step, also by several processes."""
    throttles = [login_throttle(anywhere, clock=clock) for _ in range(8)]
    fail(throttles[0], clock, times=6)
    clock.pass_by(1)
    with ThreadPoolExecutor(8) as pool:
        tried = list(pool.map(lambda one: one.attempt([Guarded("ann")]), throttles * 4))
    assert sum(one.admitted for one in tried) == 1
    for one in throttles:
        one.close()


def test_the_wait_grows_to_the_longest_and_no_further(either: LoginThrottle, clock: FakeClock) -> None:
    assert fail(either, clock, times=20)[12:] == [128, 256, *[300] * 6]
    assert wait_of(either) == 300
    account = Guarded("account", free_failures=1, longest_wait_seconds=3600)
    waits = []
    for _ in range(15):
        tried = either.attempt([account])
        assert tried.admitted
        waits.append(tried.wait_seconds)
        clock.pass_by(tried.wait_seconds)
    assert waits == [0, *(2**exponent for exponent in range(12)), 3600, 3600]


def test_a_try_is_judged_by_all_of_its_names_and_counted_for_all_or_none(
    either: LoginThrottle, clock: FakeClock
) -> None:
    place, account = Guarded("place"), Guarded("account", free_failures=2)
    for number in range(3):
        assert either.attempt([Guarded(f"place {number}"), account]).admitted
    assert either.attempt([place, account]) == Tried(admitted=False, wait_seconds=1)
    assert [either.attempt([place]).wait_seconds for _ in range(6)] == [
        0,
        0,
        0,
        0,
        0,
        1,
    ]  # the refused one is not counted
    clock.pass_by(1)
    assert either.attempt([place, account]) == Tried(admitted=True, wait_seconds=2)


def test_what_succeeds_clears_the_first_name_and_is_taken_back_from_the_others(
    either: LoginThrottle, clock: FakeClock
) -> None:
    place, account = Guarded("place"), Guarded("account", free_failures=2)
    for _ in range(4):
        clock.pass_by(either.attempt([place, account]).wait_seconds)
    either.succeeded([place, account])
    assert either.attempt([place]).wait_seconds == 0
    assert either.attempt([account]) == Tried(admitted=True, wait_seconds=2)  # the fourth failure again, not the fifth
    single = Guarded("single", free_failures=0)
    either.attempt([place, single])
    either.succeeded([place, single])
    assert either.attempt([single]) == Tried(admitted=True, wait_seconds=1)


def test_failures_are_forgotten_after_a_day_and_deleted(
    throttle: LoginThrottle, clock: FakeClock, tmp_path: Path
) -> None:
    fail(throttle, clock, times=20)
    clock.pass_by(24 * 3600)
    assert fail(throttle, clock, "bob") == [0]
    with sqlite3.connect(tmp_path / "counters-logins.db") as connection:
        assert connection.execute("SELECT COUNT(*) FROM login").fetchone() == (1,)
    connection.close()
    assert fail(throttle, clock) == [0]


def test_of_more_names_than_there_may_be_the_oldest_are_forgotten(
    throttle: LoginThrottle, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.counters.throttle.MOST_NAMES", 10)
    fail(throttle, clock, times=7)
    for number in range(30):
        clock.pass_by(0.01)
        throttle.attempt([Guarded(f"stranger {number}")])
        if number < 9:
            assert wait_of(throttle) > 1
    with sqlite3.connect(tmp_path / "counters-logins.db") as connection:
        assert connection.execute("SELECT COUNT(*) FROM login").fetchone() == (10,)
    connection.close()


@pytest.mark.parametrize(
    "spelling", ["Ann@Example.com", " ann@example.com ", "\uff41nn@example.com", "ANN@EXAMPLE.COM"]
)
def test_spellings_of_a_name_are_one(either: LoginThrottle, clock: FakeClock, spelling: str) -> None:
    fail(either, clock, "ann@example.com", 6)
    assert wait_of(either, spelling) == 1


def test_a_name_may_be_anything(either: LoginThrottle, clock: FakeClock) -> None:
    for name in ("", "\0", "\ud800", "x" * 10**6, "'; DROP TABLE login"):
        assert fail(either, clock, name, 6)[-1] == 1


def test_a_restart_forgets_nothing_and_no_name_is_stored(url: str, tmp_path: Path, clock: FakeClock) -> None:
    first = login_throttle(url, clock=clock)
    fail(first, clock, "ann@example.com", 7)
    first.close()
    second = login_throttle(url, clock=clock)
    assert wait_of(second, "ann@example.com") == 2
    second.close()
    assert b"ann@example" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_it_outlives_new_counters_and_lost_ones(
    tmp_path: Path, url: str, throttle: LoginThrottle, clock: FakeClock
) -> None:
    home = Home(tmp_path, url)
    counters = home.live(1, "key")
    fail(throttle, clock, times=7)
    counters.begin_generation(2, {})
    (tmp_path / "counters.db").unlink()
    assert wait_of(throttle) == 2
    home.close()


def test_all_processes_share_it(anywhere: str, clock: FakeClock, either: LoginThrottle) -> None:
    other = login_throttle(anywhere, clock=clock)
    assert [fail(one, clock)[0] for one in [either, other] * 4] == [0, 0, 0, 0, 0, 1, 2, 4]
    other.close()


def test_failures_are_forgotten_after_a_day(either: LoginThrottle, clock: FakeClock) -> None:
    fail(either, clock, times=20)
    clock.pass_by(24 * 3600 - 1)
    assert fail(either, clock) == [300]
    clock.pass_by(24 * 3600)
    assert fail(either, clock) == [0]


def test_a_server_keeps_hashes_apart_from_the_counters_and_deletes_them(
    redis_server: RedisServer, tmp_path: Path, clock: FakeClock
) -> None:
    redis_server.empty()
    throttle = login_throttle(redis_server.url)
    home = Home(tmp_path, redis_server.url)
    counters = home.live(1, "key")
    for _ in range(6):
        throttle.attempt([Guarded("ann@example.com")])
    counters.begin_generation(2, {})
    counters.checkpoint()
    assert 0.5 < wait_of(throttle, "ann@example.com") <= 1
    with redis_server.client() as client:
        (key,) = client.keys("*login*")
        assert b"ann" not in key
        assert 24 * 3600 - 10 < client.ttl(key) <= 24 * 3600
    throttle.succeeded([Guarded("ann@example.com")])
    assert throttle.attempt([Guarded("ann@example.com")]) == Tried(admitted=True, wait_seconds=0)
    throttle.close()
    home.close()


def test_a_clock_set_back_does_not_lock_out_for_longer(either: LoginThrottle, clock: FakeClock) -> None:
    fail(either, clock, times=6)
    clock.wall_now -= 10_000
    assert wait_of(either) <= 300


@pytest.mark.parametrize("command", ["rm $1", "head -c 5000 /dev/urandom > $1; rm -f $1-wal", ": > $1; : > $1-wal"])
def test_a_damaged_memory_is_begun_anew(url: str, tmp_path: Path, clock: FakeClock, command: str) -> None:
    first = login_throttle(url, clock=clock)
    fail(first, clock)
    first.close()
    subprocess.run(["sh", "-ec", command, "sh", tmp_path / "counters-logins.db"], check=True)
    second = login_throttle(url, clock=clock)
    try:
        fail(second, clock)
    except CountersUnavailable:
        pass  # whoever finds it says so once
    assert fail(second, clock, "bob", 6)[-1] == 1
    second.close()


def test_a_memory_that_is_deleted_while_it_is_open_is_begun_anew_for_all(
    url: str, tmp_path: Path, clock: FakeClock, throttle: LoginThrottle
) -> None:
    other = login_throttle(url, clock=clock)
    fail(throttle, clock)
    fail(other, clock)
    subprocess.run(["sh", "-ec", "rm $1*", "sh", tmp_path / "counters-logins.db"], check=True)
    assert [fail(one, clock)[0] for one in [throttle, other] * 4] == [0, 0, 0, 0, 0, 1, 2, 4]
    other.close()
