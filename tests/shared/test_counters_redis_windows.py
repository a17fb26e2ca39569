"""Windows of `limits` on a server: what its strategies promise is in test_counters_storage; this is what is ours."""

import time

import pytest
from counters_kit import FakeClock
from limits import RateLimitItemPerMinute
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter
from redis_kit import RedisServer, windows_on

from shared.counters.redis.storage import SingleStorage


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_window_on_a_server_keeps_one_count_a_second_and_goes_by_itself(
    redis_server: RedisServer, clock: FakeClock
) -> None:
    storage = windows_on(redis_server, clock)
    limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(100_000)
    for _ in range(3):
        assert limiter.hit(item, "a", cost=20_000)
        clock.pass_by(1)
    with redis_server.client() as client:
        (key,) = client.keys("*")
        assert client.memory_usage(key) < 300
        assert 60_000 < client.pttl(key) <= 62_000
    assert not limiter.hit(item, "a", cost=40_001)
    assert limiter.hit(item, "a", cost=40_000)
    storage.storage.close()


def test_without_a_clock_a_server_goes_by_its_own(redis_server: RedisServer) -> None:
    redis_server.empty()
    storage = SingleStorage(redis_server.url)
    for limiter in (MovingWindowRateLimiter(storage), FixedWindowRateLimiter(storage)):
        assert [limiter.hit(RateLimitItemPerMinute(2), "a") for _ in range(3)] == [True, True, False]
        reset_at, remaining = limiter.get_window_stats(RateLimitItemPerMinute(2), "a")
        assert remaining == 0
        assert reset_at == pytest.approx(time.time() + 60, abs=5)
    assert storage.check()
    storage.storage.close()
