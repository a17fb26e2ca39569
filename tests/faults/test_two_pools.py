"""Two pools on one PostgreSQL and one Redis server: limits, edits, lost counters and killed processes."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable

import pytest
from edits_kit import edit_at_random
from harness import eventually
from load_kit import Call, Key, Load, call, make_key, make_keys, one
from pools_kit import RIGHT, Pools, PoolsHavoc, calls_of, loaded, told
from reckoning import limits_are_watched, reckon
from sizes import LONG, SEED, chance, size

from shared import money

Tell = Callable[[object], None]
pytestmark = pytest.mark.slow
CALLS = 300
# From the moment that the counters are lost for the last time: they are made anew, and say what the ledger says.
MADE_ANEW_SECONDS = 5.0


def test_a_limit_holds_over_two_pools(pools: Pools, tell: Tell) -> None:
    """Many calls at once on both: never above it in any look, and what fits is admitted once it is quiet."""
    source = chance("two pools")
    for _ in range(size(1, 20)):
        probe = make_key(pools.first, "probe", spend_limit_usd="1")
        tried = call(pools.second, probe, words=19)
        cost = _spent(pools, probe)
        key = make_key(pools.first, "limit", spend_limit_usd=money.to_usd(cost * source.randrange(30, 200)))
        with (
            limits_are_watched(pools.first, [key], 0.01) as looks,
            limits_are_watched(pools.second, [key], 0.01) as more_looks,
        ):
            calls = asyncio.run(_burst(pools, key))
        for router in itertools.cycle(pools):
            calls.append(call(router, key, words=19))
            assert calls[-1].served or calls[-1].refused
            if calls[-1].reply.code == "spend_exceeded":
                break
        spend = pools.second.key(key.id)["spend"]
        found = reckon(pools.first, calls, [key])
        tell(f"{looks.count + more_looks.count} looks, {spend['spent_usd']} of {key.limit_usd}, {found}")
        assert tried.served
        refused = Counter(made.reply.code for made in calls if not made.served)
        assert set(refused) <= {"spend_held", "spend_exceeded"}, refused
        needed = money.from_usd(calls[-1].reply.json_of_error()["needed_usd"])
        assert money.from_usd(spend["spent_usd"]) + needed > money.from_usd(str(key.limit_usd)), "what fits was refused"


def _spent(pools: Pools, key: Key) -> int:
    """Once anything is."""
    eventually(lambda: pools.first.key(key.id)["spend"]["spent_usd"] != "0.00", 10, "the price of one")
    return money.from_usd(pools.first.key(key.id)["spend"]["spent_usd"])


async def _burst(pools: Pools, key: Key) -> list[Call]:
    both = itertools.cycle(pools)
    return list(await asyncio.gather(*(one(next(both), key, words=19, slow=0.2) for _ in range(size(CALLS, 1_000)))))


def test_an_edit_on_either_dashboard_holds_on_both_pools(pools: Pools, tell: Tell) -> None:
    """Pauses, models, limits, revocations; beside them new keys all the time, and others that must notice nothing."""
    others = [make_key(pools.first, "other"), make_key(pools.second, "other capped", spend_limit_usd="50")]
    with (
        Load(pools.first, others, seed=SEED, clients=2, rate=30) as on_first,
        Load(pools.second, others, seed=SEED + 1, clients=2, rate=30) as on_second,
    ):
        edits = edit_at_random(list(pools), size(80, 10_000), chance("edits of two pools"))
    loads = (on_first, on_second)
    found = reckon(pools.first, [*edits.calls, *calls_of(loads)], [*edits.keys, *others])
    tell(f"{edits}; others {dict(told(loads))}; {found}")
    assert set(told(loads)) == {"served"}


def test_an_edit_where_no_proxy_runs_holds_where_one_does(pools: Pools) -> None:
    """The second machine's proxy has ended, and the counters are others since than those it knew."""
    key = make_key(pools.first, "edited")
    pools.second.stop("proxy")
    pools.redis.empty()
    pools.first.wait_until_ready()
    for paused, expected in ((True, "key_paused"), (False, None)):
        pools.second.edit(key.id, paused=paused)
        assert [call(pools.first, key).reply.code for _ in range(4)] == [expected] * 4


def test_counters_are_emptied_each_second_under_two_pools(pools: Pools, tell: Tell) -> None:
    keys = make_keys(pools.first)
    times = size(4, 60)
    with loaded(pools, keys) as loads:
        for load in loads:
            load.wait_for(20)
        began = time.time()
        for _ in range(times):
            pools.redis.empty()
            ended = time.monotonic()
            time.sleep(1)
    found = reckon(pools.first, calls_of(loads), keys, quiet_seconds=ended + MADE_ANEW_SECONDS - time.monotonic())
    calls = [call(router, keys[1]) for router in pools]
    tell(f"{times} times: {dict(told(loads, began))}; {found}")
    assert all(made.served for made in calls)
    assert set(told(loads)) <= RIGHT


def test_a_pool_that_is_started_again_makes_no_new_counters(pools: Pools, tell: Tell) -> None:
    """In good order, and after everything of it was killed; the other one goes on."""
    keys = make_keys(pools.first)
    before = pools.generation()
    with loaded(pools, keys) as loads:
        for end in (lambda: pools.second.stop("proxy"), pools.second.kill_everything):
            for load in loads:
                load.wait_for(10)
            end()
            pools.second.start("proxy")
            pools.second.wait_until_ready()
    tell(f"{dict(told(loads))}; {reckon(pools.first, calls_of(loads), keys)}")
    assert set(loads[0].told()) <= RIGHT - {"limits_unavailable"}
    assert pools.generation() == before


@pytest.mark.timeout(3 * 3_600 if LONG else 300)
def test_kills_at_random_over_two_pools_and_their_servers(pools: Pools, tell: Tell) -> None:
    """Of workers, ledger writers, supervisors, Redis and PostgreSQL; and some of them only stand still for a while."""
    keys = make_keys(pools.first)
    havoc, kills, before = PoolsHavoc(pools, chance("kills of two pools")), size(10, 500), pools.kills()
    with loaded(pools, keys) as loads:
        while (pools.kills() - before).total() < kills:
            havoc.once()
        ended = time.monotonic()
        # A machine that is away is waited for, and who died young pauses: on a busy machine that adds up.
        pools.wait_until_ready(90)
        ready = time.monotonic() - ended
        for load in loads:
            load.wait_for(20, key=keys[1])
    killed = pools.kills() - before
    tell(
        f"{killed.total()} kills {dict(killed)}, ready after {ready:.1f} s: {dict(told(loads))}; {reckon(pools.first, calls_of(loads), keys)}"
    )
