"""Limits for models: never passed over four workers, and exact whatever is killed or lost."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from faulty import FaultyRouter, Make
from harness import eventually
from load_kit import Call, call, make_key, of_models, one
from reckoning import limits_are_watched, reckon

from shared import money

Tell = Callable[[object], None]
CALLS = 300


async def _burst(router: FaultyRouter, key: object) -> list[Call]:
    return list(await asyncio.gather(*(one(router, key, words=19, slow=0.2) for _ in range(CALLS))))  # type: ignore[arg-type] # a Key


@pytest.mark.slow
def test_calls_at_once_at_a_limit_for_models_over_four_workers(make: Make, tell: Tell) -> None:
    """Two patterns overlap: what counts against both is held on both, and what fits is admitted once it is quiet."""
    router = make(workers=4)
    router.start("sandbox", "proxy", "dashboard")
    router.wait_until_ready()
    probe = make_key(router, "probe")
    first = call(router, probe, words=19)
    eventually(lambda: router.key(probe.id)["spend"]["spent_usd"] != "0.00", 10, "the price of one")
    cost = money.from_usd(router.key(probe.id)["spend"]["spent_usd"])
    limit = money.to_usd(cost * 40)
    key = make_key(
        router, "limited", spend_limit_usd="50", model_limits=of_models("*-sandbox-*", "claude-*", usd=limit)
    )
    with limits_are_watched(router, [key], 0.01) as looks:
        calls = asyncio.run(_burst(router, key))
    while calls[-1].reply.code != "model_spend_exceeded":
        calls.append(call(router, key, words=19))
        assert len(calls) < CALLS + 500
    tell(f"{looks.count} looks, {reckon(router, calls, [key])}")
    assert {one.reply.code for one in calls if not one.served} <= {"model_spend_held", "model_spend_exceeded"}
    refusal = calls[-1].reply.json_of_error()
    spend = router.key(key.id)["model_limits"][0]["spend"]
    spent, needed = money.from_usd(spend["spent_usd"]), money.from_usd(refusal["needed_usd"])
    assert spent + needed > money.from_usd(limit), "what fits was refused"
    assert first.served
    router.stop_all()


def _agree(router: FaultyRouter, key_id: str) -> bool:
    """Of a key once nothing is held: until then the end of a call, the last one's too, may still have to be told."""
    told = router.key(key_id)
    by_key, by_models = told["spend"], told["model_limits"][0]["spend"]
    return bool(by_key["spent_usd"] == by_models["spent_usd"] and by_key["held_usd"] == by_models["held_usd"] == "0.00")


@pytest.mark.slow
def test_a_limit_for_models_that_is_set_under_load_counts_all_that_came_before(make: Make, tell: Tell) -> None:
    """What was spent and what is in flight by then, over all workers: none of it is forgotten, none counted twice."""
    router = make(workers=4)
    router.start("sandbox", "proxy", "dashboard")
    router.wait_until_ready()
    key = make_key(router, "limited", spend_limit_usd="50")
    calls = asyncio.run(_burst(router, key))

    def limited(usd: str, *patterns: str) -> None:
        document = {"model_limits": of_models(*patterns, usd=usd)}
        router.api("PATCH", f"/v1/keys/{key.id}", json=document).raise_for_status()

    with ThreadPoolExecutor(1) as pool:
        under_load = pool.submit(lambda: asyncio.run(_burst(router, key)))
        limited("40", "*-sandbox-*")
        calls += under_load.result()
    eventually(lambda: call(router, key, words=19).served, 20, "counters that know of the limit")
    eventually(lambda: _agree(router, key.id), 10, "both say the same")
    limited(router.key(key.id)["spend"]["spent_usd"], "*-sandbox-*")
    refused = call(router, key, words=19)
    assert refused.reply.code == "model_spend_exceeded"
    codes = {one.reply.code for one in calls if not one.served}
    tell(f"{len(calls)} calls, {codes}")
    assert codes <= {"limits_unavailable", "model_spend_held"}
    router.stop_all()
