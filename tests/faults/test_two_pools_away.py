"""One of two pools is away: killed, or its network to Redis or to PostgreSQL is cut. The other one goes on."""

import time
from collections.abc import Callable

import pytest
from load_kit import call, make_key, make_keys
from pools_kit import RIGHT, Pools, calls_of, loaded, told
from reckoning import reckon
from sizes import LONG, size

from shared.machines import AWAY_SECONDS

Tell = Callable[[object], None]
pytestmark = pytest.mark.slow


def test_counters_are_lost_while_a_pool_is_away(pools: Pools, tell: Tell) -> None:
    """It was killed with calls in flight. What it had posted stands for it until it is back, and is counted once."""
    keys = make_keys(pools.first)
    with loaded(pools, keys) as loads:
        for load in loads:
            load.wait_for(20)
        pools.second.kill_everything()
        pools.redis.empty()
        began = time.time()
        loads[0].wait_for(10, 2 * AWAY_SECONDS, key=keys[1])
        waited = time.time() - began
        pools.redis.empty()  # again: now nobody waits for it
        loads[0].wait_for(10, AWAY_SECONDS, key=keys[1])
        pools.second.start("proxy")
        pools.second.wait_until_ready()
        loads[1].wait_for(10)
    tell(
        f"capped keys waited {waited:.0f} s; {dict(told(loads[:1], began))}; {reckon(pools.first, calls_of(loads), keys)}"
    )
    assert set(loads[0].told()) <= RIGHT


@pytest.mark.parametrize("minutes", [1, 15] if LONG else [0])
def test_a_pool_is_killed_and_comes_back_later(pools: Pools, tell: Tell, *, minutes: int) -> None:
    """Its journals are kept: what it had in flight is held until it is back, then charged, and the other one serves."""
    keys = make_keys(pools.first)
    before = pools.generation()
    with loaded(pools, keys, rate=20) as loads:
        for load in loads:
            load.wait_for(20)
        pools.second.kill_everything()
        began = time.time()
        time.sleep(2 + size(0, minutes * 60))
        alone = loads[0].told(began)
        pools.second.start("proxy")
        pools.second.wait_until_ready()
        for load in loads:
            load.wait_for(10, key=keys[1])
        away = time.time() - began
    tell(f"away for {away:.0f} s, {dict(alone)} at the other; {reckon(pools.first, calls_of(loads), keys)}")
    assert set(loads[0].told()) <= RIGHT - {"limits_unavailable"}
    assert pools.generation() == before


def test_a_pool_is_cut_off_from_redis_and_counters_are_lost(pools: Pools, tell: Tell) -> None:
    """It runs on without its limits, and reaches PostgreSQL; the other one does not wait for it longer than said."""
    keys = make_keys(pools.first)
    with loaded(pools, keys) as loads:
        for load in loads:
            load.wait_for(20)
        with pools.cut_off(pools.to_redis):
            pools.redis.empty()
            began = time.time()
            loads[0].wait_for(10, 2 * AWAY_SECONDS, key=keys[1])
            waited = time.time() - began
            loads[1].wait_for(5, key=keys[0])
            time.sleep(size(3, 15))
            cut_off = loads[1].told(began + 2)
        for load in loads:
            load.wait_for(10, key=keys[1])
    tell(
        f"capped keys of the other waited {waited:.0f} s; {dict(cut_off)} meanwhile; "
        f"{reckon(pools.first, calls_of(loads), keys)}"
    )
    assert {"served", "limits_unavailable"} <= set(cut_off)
    assert set(told(loads)) <= RIGHT


def test_the_network_of_a_pool_to_redis_is_cut(pools: Pools, tell: Tell) -> None:
    """What was on its way arrives when it is there again, and is counted once. An edit holds meanwhile."""
    keys, edited = make_keys(pools.first), make_key(pools.first, "edited")
    calls = [call(router, edited) for router in pools]
    with loaded(pools, keys) as loads:
        for load in loads:
            load.wait_for(20)
        with pools.cut_off(pools.to_redis):
            time.sleep(1)
            began = time.time()
            loads[1].wait_for(5, key=keys[0])
            pools.first.edit(edited.id, paused=True)
            tries = [call(pools.second, edited) for _ in range(4)]
            time.sleep(size(2, 30))
            there, here = loads[0].told(began), loads[1].told(began)
        for load in loads:
            load.wait_for(10, key=keys[1])
    found = reckon(pools.first, [*calls_of(loads), *calls, *tries], [*keys, edited])
    tell(f"{dict(here)} meanwhile, {dict(there)} at the other; {found}")
    assert [made.served for made in calls] == [True, True]
    assert {made.reply.code for made in tries} == {"key_paused"}
    assert {"served", "limits_unavailable"} <= set(here)
    assert set(told(loads)) <= RIGHT
    assert set(loads[0].told()) <= RIGHT - {"limits_unavailable"}


def test_the_network_of_a_pool_to_postgresql_is_cut(pools: Pools, tell: Tell) -> None:
    """It serves keys that it knows, and never by what an edit has changed; its ledger writer follows afterwards."""
    keys, edited = make_keys(pools.first), make_key(pools.first, "edited")
    calls = [call(router, edited) for router in (*pools, *pools)]
    with loaded(pools, keys, rate=30) as loads:
        for load in loads:
            load.wait_for(20)
            load.wait_for(5, key=keys[1])
        with pools.cut_off(pools.to_postgres):
            began = time.time()
            for load in loads:
                load.wait_for(5, key=keys[1])
            pools.first.edit(edited.id, paused=True)
            tries = [call(pools.second, edited) for _ in range(4)]
            time.sleep(size(3, 300))
            there, here = loads[0].told(began), loads[1].told(began)
        pools.second.wait_until_ready()
        later = [call(router, edited) for router in (*pools, *pools)]
        for load in loads:
            load.wait_for(10, key=keys[1])
    found = reckon(pools.first, [*calls_of(loads), *calls, *tries, *later], [*keys, edited])
    tell(f"{dict(here)} meanwhile, {dict(there)} at the other; {found}")
    assert all(made.served for made in calls)
    assert {made.reply.code for made in tries} == {"keys_unavailable"}
    assert {made.reply.code for made in later} == {"key_paused"}
    assert set(here) | set(there) <= RIGHT - {"limits_unavailable"}
