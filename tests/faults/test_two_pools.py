"""Two pools with data directories of their own on one PostgreSQL and one Redis server, as two machines have them."""

import asyncio
import contextlib
import itertools
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from faulty import Make
from harness import children_of, eventually
from load_kit import Call, Key, Load, call, make_key, make_keys, one
from pools_kit import Pools, two_pools
from reckoning import limits_are_watched, reckon
from sizes import SEED, size

from shared import money
from shared.machines import AWAY_SECONDS

Tell = Callable[[object], None]
pytestmark = pytest.mark.slow
CALLS = 300
# What a pool may say when the counters it is asked about are being made anew, or a limit is met.
RIGHT = {"served", "limits_unavailable", "spend_held", "spend_exceeded"}


@pytest.fixture(scope="module")
def shared_pools(make: Make, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pools]:
    with two_pools(make, postgres, tmp_path_factory.mktemp("redis")) as pools:
        yield pools


@pytest.fixture
def pools(shared_pools: Pools) -> Pools:
    """They again, ready."""
    shared_pools.start()
    return shared_pools


@contextlib.contextmanager
def loaded(pools: Pools, keys: Sequence[Key], *, clients: int = 3) -> Iterator[tuple[Load, Load]]:
    """Load on both, and looks at both dashboards whether any limit is passed."""
    with (
        limits_are_watched(pools.first, keys, 0.1),
        limits_are_watched(pools.second, keys, 0.1),
        Load(pools.first, keys, seed=SEED, clients=clients) as on_first,
        Load(pools.second, keys, seed=SEED + 1, clients=clients) as on_second,
    ):
        yield on_first, on_second


def told(loads: Sequence[Load], since: float = 0.0) -> Counter[str]:
    return sum((load.told(since) for load in loads), Counter[str]())


def calls_of(loads: Sequence[Load]) -> list[Call]:
    return [made for load in loads for made in load.calls]


def test_a_limit_holds_over_two_pools(pools: Pools, tell: Tell) -> None:
    """Many calls at once on both: never above it in any look, and what fits is admitted once it is quiet."""
    for _ in range(size(1, 20)):
        probe = make_key(pools.first, "probe", spend_limit_usd="1")
        tried = call(pools.second, probe, words=19)
        cost = _spent(pools, probe)
        key = make_key(pools.first, "limit", spend_limit_usd=money.to_usd(cost * 60))
        with limits_are_watched(pools.first, [key], 0.01), limits_are_watched(pools.second, [key], 0.01):
            calls = asyncio.run(_burst(pools, key))
        for router in itertools.cycle(pools):
            calls.append(call(router, key, words=19))
            assert calls[-1].served or calls[-1].refused
            if calls[-1].reply.code == "spend_exceeded":
                break
        spend = pools.second.key(key.id)["spend"]
        tell(f"{spend['spent_usd']} of {key.limit_usd}, {reckon(pools.first, calls, [key])}")
        assert tried.served
        assert {made.reply.code for made in calls if not made.served} <= {"spend_held", "spend_exceeded"}
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
    key, calls = make_key(pools.first, "edited"), []
    edits = size(20, 2_000)
    for number in range(edits):
        editor = (pools.first, pools.second)[number % 2]
        for paused, expected in ((True, "key_paused"), (False, None)):
            editor.edit(key.id, paused=paused)
            for router in (*pools, *pools):
                calls.append(call(router, key))
                assert calls[-1].reply.code == expected, f"stale: {calls[-1].reply.status} {calls[-1].reply.body!r}"
    tell(f"{2 * edits} edits: {reckon(pools.first, calls, [key])}")


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
            time.sleep(1)
        ended = time.time()
        for load in loads:
            load.wait_for(20, key=keys[1])
    found = reckon(pools.first, calls_of(loads), keys)
    tell(f"{times} times: {dict(told(loads, began))}, after it {dict(told(loads, ended))}; {found}")
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


def test_a_pool_is_cut_off_from_redis_and_counters_are_lost(pools: Pools, tell: Tell, tmp_path: Path) -> None:
    """It runs on without its limits, and reaches PostgreSQL; the other one does not wait for it longer than said."""
    keys = make_keys(pools.first)
    with loaded(pools, keys) as loads, socket.socket(socket.AF_UNIX) as swallows:
        swallows.bind(str(tmp_path / "swallows"))
        swallows.listen(1_000)
        for load in loads:
            load.wait_for(20)
        pools.wire.target = tmp_path / "swallows"
        pools.wire.cut()
        try:
            pools.redis.empty()
            began = time.time()
            loads[0].wait_for(10, 2 * AWAY_SECONDS, key=keys[1])
            waited = time.time() - began
            loads[1].wait_for(5, key=keys[0])
            time.sleep(size(3, 15))
            cut_off = loads[1].told(began + 2)
        finally:
            pools.wire.target = pools.redis.socket
            pools.wire.cut()
        for load in loads:
            load.wait_for(10, key=keys[1])
    tell(
        f"capped keys of the other waited {waited:.0f} s; {dict(cut_off)} meanwhile; "
        f"{reckon(pools.first, calls_of(loads), keys)}"
    )
    assert {"served", "limits_unavailable"} <= set(cut_off)
    assert set(told(loads)) <= RIGHT


def test_redis_is_restarted_under_two_pools(pools: Pools, tell: Tell) -> None:
    keys = make_keys(pools.first)
    with loaded(pools, keys) as loads:
        for load in loads:
            load.wait_for(20)
        pools.redis.tell("SAVE")
        for load in loads:
            load.wait_for(5)
        pools.redis.stop()
        time.sleep(size(1, 10))
        pools.redis.start()
        for load in loads:
            load.wait_for(10, key=keys[1])
    tell(f"{dict(told(loads))}; {reckon(pools.first, calls_of(loads), keys)}")
    assert set(told(loads)) <= RIGHT


def test_postgresql_stands_still_under_two_pools(pools: Pools, tell: Tell) -> None:
    """Keys that are known are served; the ledger follows, and counters that are lost then are made."""
    keys = make_keys(pools.first)
    pid = int((pools.postgres / "data" / "postmaster.pid").read_text().split()[0])
    with contextlib.ExitStack() as stack:
        on_first = stack.enter_context(Load(pools.first, keys[:2], seed=SEED, clients=3))
        on_second = stack.enter_context(Load(pools.second, keys[:2], seed=SEED + 1, clients=3))
        loads = (on_first, on_second)
        for load in loads:
            load.wait_for(20)
        with pools.first.stopped(pid, *children_of(pid)):
            began = time.time()
            for load in loads:
                load.wait_for(20)
            time.sleep(size(3, 20))
            standing = told(loads, began)
        pools.redis.empty()
        for load in loads:
            load.wait_for(10, key=keys[1])
    tell(f"{dict(standing)} meanwhile; {reckon(pools.first, calls_of(loads), keys)}")
    assert set(standing) == {"served"}
