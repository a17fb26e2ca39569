"""Limits under concurrency, rates over time, edits while traffic runs; several workers, nothing broken on purpose."""

import asyncio
import itertools
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from edits_kit import edit_at_random
from faulty import FaultyRouter, Make
from harness import eventually
from load_kit import Call, Key, Load, call, make_key, one
from reckoning import Audit, limits_are_watched, reckon
from sizes import SEED, chance, size

from shared import money

Tell = Callable[[object], None]
CALLS = 1_000
# Between the moment that a request is judged and the one that is looked at here lies work of a busy machine.
TOLERANCE_SECONDS = 0.5


@pytest.mark.slow
def test_a_thousand_calls_at_once_at_a_limit_over_four_workers(make: Make, tell: Tell) -> None:
    """Never above it in any look, and what fits is admitted once it is quiet."""
    router = make(workers=4)
    router.start("sandbox", "proxy", "dashboard")
    router.wait_until_ready()
    source = chance("thousand")
    for _ in range(size(3, 20)):
        probe = make_key(router, "probe", spend_limit_usd="1")
        first = call(router, probe, words=19)
        eventually(lambda probe=probe: router.key(probe.id)["spend"]["spent_usd"] != "0.00", 10, "the price of one")  # type: ignore[misc]
        cost = money.from_usd(router.key(probe.id)["spend"]["spent_usd"])
        key = make_key(router, "limit", spend_limit_usd=money.to_usd(cost * source.randrange(30, 200)))
        with limits_are_watched(router, [key], 0.01) as looks:
            calls = asyncio.run(_burst(router, key))
        calls += _until_refused(router, key)
        spend = router.key(key.id)["spend"]
        tell(f"{looks.count} looks, {spend['spent_usd']} of {key.limit_usd}, {reckon(router, calls, [key])}")
        assert {one.reply.code for one in calls if not one.served} <= {"spend_held", "spend_exceeded"}
        refusal = calls[-1].reply.json_of_error()
        spent, needed = money.from_usd(spend["spent_usd"]), money.from_usd(refusal["needed_usd"])
        assert spent + needed > money.from_usd(str(key.limit_usd)), "what fits was refused"
        assert first.served
    router.stop_all()


async def _burst(router: FaultyRouter, key: Key) -> list[Call]:
    return list(await asyncio.gather(*(one(router, key, words=19, slow=0.2) for _ in range(CALLS))))


def _until_refused(router: FaultyRouter, key: Key) -> list[Call]:
    """One after the other, until the limit itself says no: judged by what is spent, as nothing is in flight."""
    done: list[Call] = []
    while not done or done[-1].reply.code != "spend_exceeded":
        done.append(call(router, key, words=19))
        assert done[-1].served or done[-1].refused
        assert len(done) < CALLS
    return done


@dataclass(slots=True)
class Paced:
    """A key with a rate, and what became of its calls."""

    key: Key
    rpm: int
    steady: bool
    done: list[tuple[float, float, Call]] = field(default_factory=list)  # sent, answered; monotonic


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(400)
def test_rates_hold_in_every_minute(router: FaultyRouter, tell: Tell) -> None:
    """CONTRACT 3 rule 7, steady and in bursts, over both workers and through edits, for a minute and more."""
    seconds = size(65, 130)
    paced = [
        Paced(make_key(router, f"{rpm} {steady}", rate_limit_rpm=rpm), rpm, steady)
        for rpm in (1, 2, 10, 60, 600)
        for steady in (True, False)
    ]

    async def all_of_them() -> None:
        ends = time.monotonic() + seconds
        await asyncio.gather(*(_pace(router, one_key, ends) for one_key in paced))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, all_of_them())
        edits = itertools.count()
        while not running.done():
            # The limit stays what it is, the version rises: each edit lets both workers load the key anew.
            for one_key in paced:
                router.edit(one_key.key.id, name=f"edited {next(edits)}")
            time.sleep(1)
        running.result()
    told = [f"{one_key.rpm}{' steady' if one_key.steady else ''}: {_judge_rate(one_key)}" for one_key in paced]
    calls = [made for one_key in paced for _, _, made in one_key.done]
    tell(f"{seconds} s, served of asked {', '.join(told)}; {reckon(router, calls, [p.key for p in paced])}")
    for one_key in paced:
        _judge_admissions(router, one_key)


async def _pace(router: FaultyRouter, paced: Paced, ends: float) -> None:
    """Steady: a little faster than allowed. In bursts: all at once, and again when `Retry-After` says so."""
    while (now := time.monotonic()) < ends:
        count = 1 if paced.steady else min(60, paced.rpm + 2)
        made = await asyncio.gather(*(one(router, paced.key, words=2) for _ in range(count)))
        paced.done += [(m.reply.began_at, m.reply.began_at + m.reply.seconds, m) for m in made]
        if paced.steady:
            # What is denied costs little; so the slow ones ask often, to find out when they are let in again.
            await asyncio.sleep(max(0.0, now + min(0.5, 50 / paced.rpm) - time.monotonic()))
        else:
            waits = [_retry_after(m) for m in made if not m.served]
            await asyncio.sleep(min(max(waits) + 0.05 if waits else 0.2, max(0.0, ends - time.monotonic())))


def _retry_after(made: Call) -> float:
    assert made.reply.code == "rate_limited", (made.reply.status, made.reply.body)
    exact = int(made.reply.headers["retry-after-ms"]) / 1_000
    assert int(made.reply.headers["retry-after"]) == math.ceil(exact), made.reply.headers
    return exact


def _judge_admissions(router: FaultyRouter, paced: Paced) -> None:
    """By the ledger, which has the moment of each admission, however late its answer came."""
    audit = Audit(router)
    try:
        at = sorted(row.admitted_at for row in audit.rows([paced.key]))
    finally:
        audit.close()
    assert at
    for first, one_too_many in zip(at, at[paced.rpm :], strict=False):
        apart = (one_too_many - first).total_seconds()
        assert apart > 60 - TOLERANCE_SECONDS, f"{paced.rpm} a minute: {paced.rpm + 1} admitted within {apart} s"


def _judge_rate(paced: Paced) -> str:
    served = [(sent, answered) for sent, answered, made in paced.done if made.served]
    refused = [(sent, answered, _retry_after(made)) for sent, answered, made in paced.done if not made.served]
    # Each was admitted between its sending and its answer, so that a span holds for sure what lies in it with both.
    starts = sorted(served)
    for index, (first_sent, _) in enumerate(starts):
        within = [s for s, a in starts[index:] if a <= first_sent + 60]
        assert len(within) <= paced.rpm, f"{paced.rpm} a minute: {len(within)} served within 60 s"
    for sent, answered, _ in refused:
        may_count = sum(a > sent - 61 - TOLERANCE_SECONDS and s < answered for s, a in served)
        assert may_count >= paced.rpm, f"{paced.rpm} a minute: refused, though only {may_count} were served in 61 s"
    for sent, answered, wait in refused:
        # True within a second: nobody is let in more than one earlier than the first refusal of a queue was told.
        early = [s for s, a in served if answered < s and a < sent + wait - 1 - TOLERANCE_SECONDS]
        assert not early, f"{paced.rpm} a minute: told to wait {wait} s, let in before"
        # And who comes when it says so is let in, if nobody took the place.
        next_one = [
            (s, m.served) for s, _, m in paced.done if answered + wait <= s <= answered + wait + 2 and not paced.steady
        ]
        if next_one and not any(ok for _, ok in next_one):
            taken = [s for s, _ in served if answered < s < answered + wait]
            assert taken, f"{paced.rpm} a minute: told to wait {wait} s, refused after that"
    return f"{len(served)}/{len(paced.done)}"


@pytest.mark.slow
def test_edits_hold_for_the_next_request_on_every_worker(router: FaultyRouter, tell: Tell) -> None:
    """M12. Pauses, models, limits, revocations; beside them new keys all the time, and others that must notice nothing."""
    others = [make_key(router, "other"), make_key(router, "other capped", spend_limit_usd="50")]
    with Load(router, others, seed=SEED, clients=3, rate=60) as load:
        edits = edit_at_random([router], size(500, 10_000), chance("edits"))
    found = reckon(router, [*edits.calls, *load.calls], [*edits.keys, *others])
    tell(f"{edits}; others {dict(load.told())}; {found}")
    assert set(load.told()) == {"served"}
