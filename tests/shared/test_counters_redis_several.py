"""The core of the behaviour suite on a cluster, through a Sentinel, and over TLS."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from counters_kit import Home, Worker, charge, kinds, money
from limits import RateLimitItemPerMinute
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter
from redis_kit import RedisCluster, RedisSentinel, TlsServer, until

from shared.counters import Admitted, CountersLost, CountersUnavailable, Guarded, Tried, login_throttle
from shared.counters.redis.check import finding_of
from shared.counters.redis.script import META
from shared.counters.redis.storage import EXACT

Several = RedisCluster | RedisSentinel | TlsServer

# Collected here once more, over `home` of this file. By name, because mypy knows test files as part of a package.
CORE = (
    "counters",
    "worker",
    "test_it_works",
    "test_ends_come_before_charges",
    "test_charges_of_one_batch_are_judged_in_order",
    "test_m03_what_is_refused_consumes_nothing",
    "test_r04_retry_after_is_true_within_a_second",
    "test_r02_an_edit_of_the_rate_forgets_nothing",
    "test_r05_ids_are_taken_as_they_stand",
    "test_several_keys_and_organisations",
    "test_a_batch_again_is_answered_as_it_was_and_changes_nothing",
    "test_workers_number_for_themselves",
)
_SUITE = import_module("test_counters_batches")
globals().update({name: getattr(_SUITE, name) for name in CORE})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinel]:
    sentinel = RedisSentinel(tmp_path_factory.mktemp("sentinel"))
    yield sentinel
    sentinel.stop()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    server = TlsServer(tmp_path_factory.mktemp("tls"))
    yield server
    server.stop()


@pytest.fixture(params=["cluster", "sentinel", "tls"])
def several(request: pytest.FixtureRequest) -> Several:
    found: Several = request.getfixturevalue(request.param)
    found.empty()
    return found


@pytest.fixture
def home(several: Several, tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path, several.url)
    yield home
    home.close()


def test_nothing_keeps_them_from_being_used(several: Several) -> None:
    problem, advice = finding_of(several.url)
    assert problem is None
    assert (advice is not None) == isinstance(several, RedisSentinel), "this one has a replica that nobody waits for"


def test_an_emptied_one_is_a_loss(several: Several, home: Home) -> None:
    worker = Worker(home.live(1, "key")).register()
    assert kinds(worker.send(charge(limit=100, bound=60))) == [Admitted]
    several.empty()
    with pytest.raises(CountersLost):
        worker.send(charge(limit=100, bound=60))
    again = Worker(home.live(2, "key"), generation=2).register()
    assert kinds(again.send(charge(limit=100, bound=60))) == [Admitted]
    assert money(again.counters) == (0, 60, 0)
    again.counters.checkpoint()


def test_scripts_that_are_forgotten_are_a_loss(several: Several, home: Home) -> None:
    worker = Worker(home.live(1, "key")).register()
    one = several.primary if isinstance(several, RedisSentinel) else several
    for server in one.servers if isinstance(one, RedisCluster) else [one]:
        server.tell("SCRIPT", "FLUSH")
    with pytest.raises(CountersLost) as lost:
        worker.send(charge(limit=100, bound=60))
    assert not lost.value.in_doubt


def test_windows_of_the_library(several: Several) -> None:
    storage = storage_from_string(several.url)
    assert isinstance(storage, EXACT)
    item = RateLimitItemPerMinute(2)
    for limiter in (MovingWindowRateLimiter(storage), FixedWindowRateLimiter(storage)):
        for name in ("a", "b", "c", "d"):
            assert [limiter.hit(item, name) for _ in range(3)] == [True, True, False]
        limiter.clear(item, "a")
        assert limiter.hit(item, "a")
    assert storage.reset()
    assert limiter.test(item, "b")
    client: Any = storage.get_connection()
    client.close()


def test_failed_logins(several: Several) -> None:
    throttle = login_throttle(several.url)
    names = [Guarded("ann"), Guarded("her network", free_failures=20)]
    assert [throttle.attempt(names).wait_seconds for _ in range(6)] == [0, 0, 0, 0, 0, 1]
    refused = throttle.attempt(names)
    assert not refused.admitted
    assert 0 < refused.wait_seconds <= 1
    throttle.succeeded(names)
    assert throttle.attempt(names) == Tried(admitted=True, wait_seconds=0)
    throttle.close()


def test_a_primary_with_a_password_behind_a_sentinel_without(sentinel: RedisSentinel, tmp_path: Path) -> None:
    sentinel.empty()
    home = Home(tmp_path, sentinel.url.replace("//", "//:pa%40ss@"))
    sentinel.sentinel.tell("SENTINEL", "SET", "counters", "auth-pass", "pa@ss")
    sentinel.primary.tell("CONFIG", "SET", "requirepass", "pa@ss")
    try:
        assert home.live(1, "key").check()
        assert finding_of(home.url).problem is None
        assert finding_of(sentinel.url).problem == "it wants a password"
    finally:
        with sentinel.primary.client(password="pa@ss") as client:
            client.config_set("requirepass", "")
    home.close()


@pytest.fixture
def own_sentinel(tmp_path: Path) -> Iterator[RedisSentinel]:
    """One whose servers change their parts."""
    (tmp_path / "servers").mkdir()
    sentinel = RedisSentinel(tmp_path / "servers")
    yield sentinel
    sentinel.stop()


@pytest.mark.slow
def test_a_failover_is_a_loss_and_new_counters_are_made_on_the_new_primary(
    own_sentinel: RedisSentinel, tmp_path: Path
) -> None:
    home = Home(tmp_path, own_sentinel.url)
    worker = Worker(home.live(1, "key")).register()
    worker.send(charge(limit=100, bound=60))
    own_sentinel.primary.tell("WAIT", 1, 5000)
    own_sentinel.fail_over()

    def is_lost() -> bool:
        try:
            worker.send(charge(limit=100, bound=10))
        except CountersLost:
            return True
        except CountersUnavailable:
            return False
        raise AssertionError("these are not the counters that it knows")

    until(is_lost)
    again = Worker(home.live(2, "key"), generation=2).register()
    assert kinds(again.send(charge(limit=100, bound=60))) == [Admitted]
    assert own_sentinel.primary.tell("HGET", META, "generation") == b"2"
    home.close()


@pytest.mark.slow
def test_a_frozen_part_of_a_cluster_is_unavailable_and_comes_back(cluster: RedisCluster, tmp_path: Path) -> None:
    cluster.empty()
    home = Home(tmp_path, cluster.url)
    worker = Worker(home.live(1, "key")).register()
    holder = next(server for server in cluster.servers if server.tell("DBSIZE"))
    batch = worker.batch([charge(limit=100, bound=60)])
    holder.freeze()
    try:
        with pytest.raises(CountersUnavailable) as refused:
            worker.counters.apply_batch(batch)
        assert not isinstance(refused.value, CountersLost)
    finally:
        holder.thaw()
    assert kinds(worker.counters.apply_batch(batch)) == [Admitted]
    assert money(worker.counters) == (0, 60, 0)
    home.close()
