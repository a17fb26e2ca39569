"""The contract of `limits`' strategies, on its own memory storage and on ours alike."""

from types import SimpleNamespace

import limits.storage.memory
import limits.strategies
import pytest
from limits import RateLimitItemPerHour, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import (
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    SlidingWindowCounterRateLimiter,
)

from shared.counters.sqlite import SqliteStorage, path_of

START = 1_800_000_000.0  # a multiple of 60 and of 3,600


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    fake = SimpleNamespace(time=clock)
    monkeypatch.setattr(limits.storage.memory, "time", fake)
    monkeypatch.setattr(limits.strategies, "time", fake)
    return clock


@pytest.fixture(params=["memory", "sqlite"])
def storage(request, clock, tmp_path):
    if request.param == "memory":
        return MemoryStorage()
    return storage_from_string(f"sqlite:///{tmp_path}/counters.db", clock=clock)


def test_it_works(tmp_path):
    storage = storage_from_string(f"sqlite:///{tmp_path}/counters.db")
    assert isinstance(storage, SqliteStorage)
    assert storage.check()
    assert storage.incr("a", 60) == 1


def test_fixed_window_admits_up_to_the_limit_and_starts_again_when_it_expires(storage, clock):
    limiter, item = FixedWindowRateLimiter(storage), RateLimitItemPerMinute(3)
    assert [limiter.hit(item, "a") for _ in range(5)] == [True, True, True, False, False]
    assert limiter.get_window_stats(item, "a").remaining == 0
    assert limiter.get_window_stats(item, "a").reset_time == START + 60
    assert not limiter.test(item, "a")
    clock.now += 59.9
    assert not limiter.hit(item, "a")
    clock.now += 0.2
    assert limiter.test(item, "a")
    assert limiter.hit(item, "a")
    assert limiter.get_window_stats(item, "a").remaining == 2


def test_fixed_window_starts_at_its_first_hit(storage, clock):
    limiter, item = FixedWindowRateLimiter(storage), RateLimitItemPerMinute(1)
    clock.now += 50
    assert limiter.hit(item, "a")
    clock.now += 20
    assert not limiter.hit(item, "a")
    assert limiter.get_window_stats(item, "a").reset_time == START + 110


def test_fixed_window_counts_the_cost(storage):
    limiter, item = FixedWindowRateLimiter(storage), RateLimitItemPerMinute(10)
    assert not limiter.test(item, "a", cost=11)
    assert limiter.hit(item, "a", cost=7)
    assert not limiter.test(item, "a", cost=4)
    assert limiter.test(item, "a", cost=3)


def test_an_unknown_counter_is_zero_and_expires_now(storage, clock):
    assert storage.get("nothing") == 0
    assert storage.get_expiry("nothing") == clock.now


@pytest.mark.parametrize("strategy", [FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter])
def test_clear_forgets_one_counter_only(storage, strategy):
    limiter, item = strategy(storage), RateLimitItemPerMinute(1)
    assert limiter.hit(item, "a")
    assert limiter.hit(item, "b")
    limiter.clear(item, "a")
    assert limiter.hit(item, "a")
    assert not limiter.hit(item, "b")


@pytest.mark.parametrize("strategy", [FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter])
def test_reset_forgets_all(storage, strategy):
    limiter, item = strategy(storage), RateLimitItemPerMinute(1)
    assert limiter.hit(item, "a")
    assert limiter.hit(item, "b")
    assert storage.reset() == 2
    assert limiter.hit(item, "a")
    assert limiter.hit(item, "b")


def test_sliding_window_weighs_the_window_before(storage, clock):
    limiter, item = SlidingWindowCounterRateLimiter(storage), RateLimitItemPerMinute(10)
    assert [limiter.hit(item, "a") for _ in range(11)] == [True] * 10 + [False]
    clock.now += 60  # all of the ten still count
    assert not limiter.hit(item, "a")
    clock.now += 30  # half of them do
    assert limiter.get_window_stats(item, "a").remaining == 5
    assert [limiter.hit(item, "a") for _ in range(6)] == [True] * 5 + [False]
    clock.now += 29.9
    assert limiter.get_window_stats(item, "a").remaining == 5
    clock.now += 120
    assert limiter.get_window_stats(item, "a").remaining == 10


def test_sliding_window_does_not_count_what_it_refuses(storage):
    limiter, item = SlidingWindowCounterRateLimiter(storage), RateLimitItemPerMinute(5)
    assert not limiter.hit(item, "a", cost=6)
    assert limiter.hit(item, "a", cost=5)
    for _ in range(10):
        assert not limiter.hit(item, "a")
    assert storage.get_sliding_window(item.key_for("a"), 60)[2] == 5


def test_sliding_window_tells_counts_and_lifetimes(storage, clock):
    limiter, item = SlidingWindowCounterRateLimiter(storage), RateLimitItemPerMinute(10)
    key = item.key_for("a")
    assert storage.get_sliding_window(key, 60) == (0, 0.0, 0, pytest.approx(120))
    limiter.hit(item, "a", cost=4)
    clock.now += 75
    limiter.hit(item, "a", cost=3)
    assert storage.get_sliding_window(key, 60) == (4, pytest.approx(45), 3, pytest.approx(105))
    stats = limiter.get_window_stats(item, "a")
    assert stats.remaining == 4
    assert stats.reset_time == pytest.approx(clock.now)


@pytest.mark.parametrize("elapsed", [0, 7, 31, 59])
def test_sliding_window_over_the_edge_never_admits_more_than_the_window(storage, clock, elapsed):
    limiter, item = SlidingWindowCounterRateLimiter(storage), RateLimitItemPerMinute(6)
    admitted = []
    clock.now += elapsed
    for _ in range(300):
        if limiter.hit(item, "a"):
            admitted.append(clock.now)
        clock.now += 1
    for end in range(300):  # a window counter is an estimate: it may be off by the rounding of one request
        window = [at for at in admitted if end - 60 < at - START - elapsed <= end]
        assert len(window) <= 6 + 3
    assert 24 <= len(admitted) <= 36


def test_two_windows_of_one_name_are_two(storage):
    limiter = SlidingWindowCounterRateLimiter(storage)
    assert limiter.hit(RateLimitItemPerSecond(1), "a")
    assert limiter.hit(RateLimitItemPerHour(1), "a")


def test_moving_window_keeps_each_hit_for_its_own_minute(storage, clock):
    limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(3)
    for _ in range(3):
        assert limiter.hit(item, "a")
        clock.now += 10
    assert not limiter.hit(item, "a")
    assert not limiter.test(item, "a")
    assert limiter.get_window_stats(item, "a") == (START + 60, 0)
    clock.now = START + 60.5
    assert limiter.get_window_stats(item, "a").remaining == 1
    assert limiter.hit(item, "a")
    assert not limiter.hit(item, "a")
    assert not limiter.hit(item, "b", cost=4)


def test_a_clock_that_steps_back_gives_no_requests_away(clock, tmp_path):
    storage = SqliteStorage(f"sqlite:///{tmp_path}/counters.db", clock=clock)
    limiter, item = SlidingWindowCounterRateLimiter(storage), RateLimitItemPerMinute(4)
    clock.now = START + 59
    assert limiter.hit(item, "a", cost=2)
    clock.now = START + 61
    assert limiter.hit(item, "a", cost=2)
    clock.now = START + 59
    assert not limiter.hit(item, "a")
    clock.now = START + 86_400  # and one that was far ahead does not lock anyone out when it is put right
    assert limiter.hit(item, "a", cost=4)
    clock.now = START + 62
    assert limiter.hit(item, "a")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///x.db?mode=ro", "redis://h/0", "x.db"])
def test_a_url_that_names_no_file_is_refused(url):
    with pytest.raises(ValueError, match="must name a file"):
        path_of(url)


def test_the_path_of_a_url_is_taken_as_it_stands():
    assert str(path_of("sqlite:////a b/c%20#d.db")) == "/a b/c%20#d.db"
    assert str(path_of("sqlite:///instance/c.db")) == "instance/c.db"
