"""The two servers that two pools share stand still, are killed, or come back as they were before."""

import time
from collections.abc import Callable

import pytest
from load_kit import Load, call, make_key, make_keys
from pools_kit import RIGHT, Pools, calls_of, loaded, told
from reckoning import reckon
from sizes import SEED, size

Tell = Callable[[object], None]
pytestmark = pytest.mark.slow


def test_redis_comes_back_as_it_was_before(pools: Pools, tell: Tell) -> None:
    """It is killed, and what it loads is older than what was spent since."""
    keys = make_keys(pools.first)
    with loaded(pools, keys) as loads:
        for _ in range(size(1, 10)):
            for load in loads:
                load.wait_for(10)
            pools.redis.tell("SAVE")
            for load in loads:
                load.wait_for(5, key=keys[1])
            pools.kill_redis(away_seconds=size(1, 10))
            for load in loads:
                load.wait_for(10, key=keys[1])
    tell(f"{dict(told(loads))}; {reckon(pools.first, calls_of(loads), keys)}")
    assert set(told(loads)) <= RIGHT


def test_redis_stands_still_under_two_pools(pools: Pools, tell: Tell) -> None:
    """Who has no limit is served meanwhile; who has one is told so; and it is the same counters afterwards."""
    keys = make_keys(pools.first)
    free, far = keys[:2]
    before = pools.generation()
    with loaded(pools, keys) as loads:
        for load in loads:
            load.wait_for(20)
        with pools.first.stopped(pools.redis.process.pid):
            time.sleep(1)
            began = time.time()
            for load in loads:
                load.wait_for(5, key=free)
            time.sleep(size(2, 30))
            standing, ended = told(loads, began), time.time()
        for load in loads:
            load.wait_for(10, key=far)
    during = [made for made in calls_of(loads) if began < made.at and made.at + made.reply.seconds < ended]
    tell(f"{dict(standing)} meanwhile; {reckon(pools.first, calls_of(loads), keys)}")
    assert {made.reply.code for made in during if made.key is far} == {"limits_unavailable"}
    assert {made.reply.code for made in during if made.key is free} == {None}
    assert set(told(loads)) <= RIGHT
    assert pools.generation() == before


def test_the_primary_of_redis_is_lost(pools: Pools, tell: Tell) -> None:
    """Its replica has another history from then on: new counters are made there, and no limit is passed."""
    keys = make_keys(pools.first)
    before = pools.generation()
    with loaded(pools, keys) as loads:
        for _ in range(size(1, 5)):
            for load in loads:
                load.wait_for(20)
            pools.promote_a_replica()
            for load in loads:
                load.wait_for(10, key=keys[1])
    tell(f"{dict(told(loads))}; {reckon(pools.first, calls_of(loads), keys)}")
    assert set(told(loads)) <= RIGHT
    assert pools.generation() > before


def test_postgresql_stands_still_under_two_pools(pools: Pools, tell: Tell) -> None:
    """Keys that are known are served; the ledger follows, with nobody being started again."""
    keys, processes = make_keys(pools.first), pools.processes()
    with (
        Load(pools.first, keys[:2], seed=SEED, clients=3) as on_first,
        Load(pools.second, keys[:2], seed=SEED + 1, clients=3) as on_second,
    ):
        loads = (on_first, on_second)
        for load in loads:
            load.wait_for(20)
        with pools.first.stopped(*pools.postgres.pids()):
            began = time.time()
            for load in loads:
                load.wait_for(20)
            time.sleep(size(3, 60))
            standing = told(loads, began)
        for load in loads:
            load.wait_for(10, key=keys[1])
    tell(f"{dict(standing)} meanwhile; {reckon(pools.first, calls_of(loads), keys)}")
    assert set(standing) == {"served"}
    assert pools.processes() == processes, "somebody was started again"


def test_counters_are_lost_while_postgresql_stands_still(pools: Pools, tell: Tell) -> None:
    """There is nothing to make new ones from: they are made once there is, and nobody has passed a limit meanwhile."""
    keys = make_keys(pools.first)
    with loaded(pools, keys) as loads:
        for load in loads:
            load.wait_for(20)
        with pools.first.stopped(*pools.postgres.pids()):
            pools.redis.empty()
            time.sleep(size(2, 20))
        for load in loads:
            load.wait_for(10, key=keys[1])
    tell(f"{dict(told(loads))}; {reckon(pools.first, calls_of(loads), keys)}")
    assert set(told(loads)) <= RIGHT | {"keys_unavailable"}


def test_postgresql_is_killed_under_two_pools(pools: Pools, tell: Tell) -> None:
    """It loses no row; keys that are known are served meanwhile; and pools that have seen it go find it again."""
    keys, processes = make_keys(pools.first), pools.processes()
    with loaded(pools, keys) as loads:
        for load in loads:
            load.wait_for(40, key=keys[1])  # so many that every worker knows it
        began = time.time()
        for _ in range(size(1, 10)):
            pools.kill_postgres(away_seconds=size(1, 5))
            for load in loads:
                load.wait_for(10, key=keys[1])
    new = make_key(pools.second, "new", spend_limit_usd="1")
    calls = [call(router, new) for router in pools]
    tell(f"{dict(told(loads, began))}; {reckon(pools.first, calls_of(loads), keys)}")
    assert {made.reply.code for made in calls_of(loads) if made.key is keys[1]} == {None}
    assert set(told(loads)) <= RIGHT - {"limits_unavailable"} | {"keys_unavailable"}
    assert all(made.served for made in calls)
    assert pools.processes() == processes, "somebody was started again"
