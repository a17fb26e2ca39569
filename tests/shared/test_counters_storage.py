"""The contract of `limits`' strategies, on the library's own memory storage and on ours alike."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import limits.storage.memory
import limits.strategies
import pytest
from counters_kit import NOON, FakeClock
from limits import RateLimitItemPerHour, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter
from redis_kit import windows_on

from shared.counters import CountersUnavailable
from shared.counters.redis.storage import SingleStorage
from shared.counters.storage import SqliteStorage, path_of

Storage = MemoryStorage | SqliteStorage | SingleStorage
STRATEGIES = [FixedWindowRateLimiter, MovingWindowRateLimiter]
Strategy = type[FixedWindowRateLimiter | MovingWindowRateLimiter]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    fake = SimpleNamespace(time=clock.wall, time_ns=lambda: int(clock.wall() * 1e9))
    monkeypatch.setattr(limits.storage.memory, "time", fake)
    monkeypatch.setattr(limits.strategies, "time", fake)
    return clock


def ours(folder: Path, clock: FakeClock) -> SqliteStorage:
    storage = storage_from_string(f"sqlite:///{folder}/counters.db", clock=clock)  # type: ignore[arg-type] # passed on
    assert isinstance(storage, SqliteStorage)
    return storage


@pytest.fixture(params=["memory", "sqlite", "redis"])
def storage(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "memory":
        yield MemoryStorage()
        return
    if request.param == "redis":
        on_server = windows_on(request.getfixturevalue("redis_server"), clock)
        yield on_server
        on_server.storage.close()
        return
    storage = ours(tmp_path, clock)
    yield storage
    storage.database.close()


def test_it_works(tmp_path: Path) -> None:
    storage = storage_from_string(f"sqlite:///{tmp_path}/counters.db")
    assert isinstance(storage, SqliteStorage)
    assert storage.check()
    assert storage.incr("a", 60) == 1
    assert storage.base_exceptions is CountersUnavailable
    storage.database.close()


# Moving windows


def test_a_moving_window_admits_up_to_the_limit(storage: Storage) -> None:
    limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(3)
    assert [limiter.hit(item, "a") for _ in range(5)] == [True, True, True, False, False]
    assert not limiter.test(item, "a")
    assert limiter.test(item, "b")
    assert limiter.hit(item, "b")


def test_a_moving_window_keeps_each_hit_for_its_own_minute(storage: Storage, clock: FakeClock) -> None:
    limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(3)
    for _ in range(3):
        assert limiter.hit(item, "a")
        clock.pass_by(10)
    assert not limiter.hit(item, "a")
    stats = limiter.get_window_stats(item, "a")
    assert stats.reset_time == pytest.approx(NOON + 60)
    assert stats.remaining == 0
    clock.pass_by(31.5)
    assert limiter.get_window_stats(item, "a").remaining == 1
    assert limiter.hit(item, "a")
    assert not limiter.hit(item, "a")
    clock.pass_by(61)
    assert limiter.get_window_stats(item, "a").remaining == 3


def test_a_moving_window_counts_the_cost(storage: Storage) -> None:
    limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(10)
    assert not limiter.test(item, "a", cost=11)
    assert not limiter.hit(item, "a", cost=11)
    assert limiter.hit(item, "a", cost=7)
    assert not limiter.test(item, "a", cost=4)
    assert not limiter.hit(item, "a", cost=4)
    assert limiter.test(item, "a", cost=3)
    assert limiter.hit(item, "a", cost=3)
    assert limiter.get_window_stats(item, "a").remaining == 0


def test_what_is_refused_is_not_counted(storage: Storage, clock: FakeClock) -> None:
    limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(1)
    assert limiter.hit(item, "a")
    for _ in range(50):
        clock.pass_by(1)
        assert not limiter.hit(item, "a")
    clock.pass_by(11)
    assert limiter.hit(item, "a")


@pytest.mark.parametrize("item", [RateLimitItemPerSecond(2), RateLimitItemPerMinute(2), RateLimitItemPerHour(2)])
def test_windows_of_any_length(
    storage: Storage, clock: FakeClock, item: RateLimitItemPerSecond | RateLimitItemPerMinute | RateLimitItemPerHour
) -> None:
    limiter = MovingWindowRateLimiter(storage)
    assert limiter.hit(item, "a")
    clock.pass_by(item.get_expiry() / 2)
    assert limiter.hit(item, "a")
    assert not limiter.hit(item, "a")
    clock.pass_by(item.get_expiry() / 2 + 1)
    assert limiter.hit(item, "a")


def test_an_empty_window_resets_in_its_own_length(storage: Storage, clock: FakeClock) -> None:
    limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(3)
    stats = limiter.get_window_stats(item, "a")
    assert stats.remaining == 3
    assert stats.reset_time == pytest.approx(clock.wall() + 60, abs=1)


# Fixed windows


def test_a_fixed_window_admits_up_to_the_limit_and_starts_again_when_it_expires(
    storage: Storage, clock: FakeClock
) -> None:
    limiter, item = FixedWindowRateLimiter(storage), RateLimitItemPerMinute(3)
    assert [limiter.hit(item, "a") for _ in range(5)] == [True, True, True, False, False]
    assert limiter.get_window_stats(item, "a") == (NOON + 60, 0)
    assert not limiter.test(item, "a")
    clock.pass_by(59.9)
    assert not limiter.hit(item, "a")
    clock.pass_by(0.2)
    assert limiter.test(item, "a")
    assert limiter.hit(item, "a")
    assert limiter.get_window_stats(item, "a").remaining == 2


def test_a_fixed_window_starts_at_its_first_hit(storage: Storage, clock: FakeClock) -> None:
    limiter, item = FixedWindowRateLimiter(storage), RateLimitItemPerMinute(1)
    clock.pass_by(50)
    assert limiter.hit(item, "a")
    clock.pass_by(20)
    assert not limiter.hit(item, "a")
    assert limiter.get_window_stats(item, "a").reset_time == NOON + 110


def test_counters_add_up_and_an_unknown_one_is_zero_and_expires_now(storage: Storage, clock: FakeClock) -> None:
    assert storage.get("nothing") == 0
    assert storage.get_expiry("nothing") == clock.wall()
    assert [storage.incr("a", 10, amount) for amount in (1, 5, 2)] == [1, 6, 8]
    assert storage.get("a") == 8
    assert storage.get_expiry("a") == NOON + 10
    clock.pass_by(10.01)
    assert storage.get("a") == 0
    assert storage.incr("a", 10) == 1


# Both


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_clear_forgets_one_counter_only(storage: Storage, strategy: Strategy) -> None:
    limiter, item = strategy(storage), RateLimitItemPerMinute(1)
    assert limiter.hit(item, "a")
    assert limiter.hit(item, "b")
    limiter.clear(item, "a")
    assert limiter.hit(item, "a")
    assert not limiter.hit(item, "b")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_reset_forgets_all(storage: Storage, strategy: Strategy) -> None:
    limiter, item = strategy(storage), RateLimitItemPerMinute(1)
    assert limiter.hit(item, "a")
    assert limiter.hit(item, "b")
    storage.reset()
    assert limiter.hit(item, "a")
    assert limiter.hit(item, "b")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", ["a/b", "a:b*", "%", "é", "'", "", "a b", "[1]"])
def test_r05_names_are_taken_as_they_stand(storage: Storage, strategy: Strategy, name: str) -> None:
    limiter, item = strategy(storage), RateLimitItemPerMinute(1)
    assert limiter.hit(item, "other")
    assert limiter.hit(item, name)
    assert not limiter.hit(item, name)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_windows_of_one_name_are_two(storage: Storage, strategy: Strategy) -> None:
    limiter = strategy(storage)
    assert limiter.hit(RateLimitItemPerMinute(1), "a")
    assert limiter.hit(RateLimitItemPerHour(1), "a")


# Ours


def test_steps_of_the_wall_clock_move_no_window(clock: FakeClock, tmp_path: Path) -> None:
    storage = ours(tmp_path, clock)
    limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(1)
    assert limiter.hit(item, "a")
    for step in (-130, 3600, -3600, 86_400):
        clock.wall_now += step
        assert not limiter.hit(item, "a")
    clock.steady_now += 61
    assert limiter.hit(item, "a")
    storage.database.close()


def test_what_was_counted_outlives_the_process(clock: FakeClock, tmp_path: Path) -> None:
    item = RateLimitItemPerMinute(1)
    for expected in (True, False):
        storage = ours(tmp_path, clock)
        assert MovingWindowRateLimiter(storage).hit(item, "a") is expected
        assert FixedWindowRateLimiter(storage).hit(item, "b") is expected
        storage.database.close()


def test_a_file_that_is_damaged_or_deleted_is_made_anew(clock: FakeClock, tmp_path: Path) -> None:
    storage = ours(tmp_path, clock)
    path = tmp_path / "counters.db"
    assert storage.incr("a", 60) == 1
    path.unlink()
    assert storage.incr("a", 60) == 1
    storage.database.close()
    path.write_bytes(b"x" * 10_000)
    with pytest.raises(CountersUnavailable):
        storage.incr("a", 60)
    assert storage.incr("a", 60) == 1
    assert storage.get("a") == 1
    storage.database.close()


def test_a_file_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    storage = SqliteStorage(f"sqlite:///{tmp_path}/nowhere/counters.db")
    with pytest.raises(CountersUnavailable):
        storage.incr("a", 60)
    assert not storage.check()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:////", "sqlite:///x.db?mode=ro", "redis://h/0"])
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must name a file"):
        path_of(url)


def test_the_path_of_a_url_is_taken_as_it_stands() -> None:
    assert str(path_of("sqlite:////a b/c%20#d.db")) == "/a b/c%20#d.db"
    assert str(path_of("sqlite:///instance/c.db")) == "instance/c.db"


def test_the_librarys_own_clock_is_the_machines(tmp_path: Path) -> None:
    storage = SqliteStorage(f"sqlite:///{tmp_path}/counters.db")
    storage.incr("a", 60)
    assert storage.get_expiry("a") == pytest.approx(time.time() + 60, abs=5)
    storage.database.close()
