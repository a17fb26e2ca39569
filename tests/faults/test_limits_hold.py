"""Limits under concurrency, rates over time, edits while traffic runs; several workers, nothing broken on purpose."""

import asyncio
import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from all_limits_kit import (
    LIMITS,
    TOLERANCE_SECONDS,
    WINDOW_SECONDS,
    Limit,
    Limited,
    Sizes,
    all_rows,
    most_at_once,
    organization_spend,
    tokens_of,
    within,
)
from edits_kit import edit_at_random
from faulty import FaultyRouter, Make
from harness import eventually
from load_kit import Call, Key, Load, call, limits_together, make_key, one
from postgres_kit import PostgresServer
from reckoning import Audit, reckon
from redis_kit import RedisServer
from sizes import SEED, chance, size

from shared import money

Tell = Callable[[object], None]
CALLS, WORDS = 1_000, 19
# What a thousand calls at once may be told there as well: counters or the provider did not answer in time.
ON_A_BUSY_MACHINE = {"limits_unavailable", "provider_timeout", "provider_unreachable"}
LOOSE = 1_200  # calls, for a limit that another one is met long before


@pytest.fixture(params=["sqlite", "servers"])
def four_workers(request: pytest.FixtureRequest, make: Make, tmp_path: Path) -> Iterator[FaultyRouter]:
    """A router on either storage, whose organisation has limits that are far."""
    with ExitStack() as stack:
        settings = {}
        if request.param == "servers":
            postgres: PostgresServer = request.getfixturevalue("postgres_server")
            redis = RedisServer(tmp_path)
            stack.callback(redis.stop)
            settings = {"DATABASE_URL": postgres.make_database("all_limits"), "ROUTER_LIMITS_URL": redis.url}
        router = make(workers=4, **settings)
        stack.callback(router.stop_all)
        router.start("sandbox", "proxy", "dashboard")
        router.wait_until_ready()
        stack.enter_context(limits_together(router))
        yield router


@pytest.mark.slow
def test_a_thousand_calls_at_once_at_all_limits_over_four_workers(
    four_workers: FaultyRouter, request: pytest.FixtureRequest, tell: Tell
) -> None:
    """A key and its organisation have all limits there are, of which one is met soon: none is passed in any look, and
    what fits is admitted once it is quiet.
    """
    router, source = four_workers, chance("thousand")
    # In short runs half of them on each storage, so that all are met in each run.
    turns = source.sample(LIMITS, len(LIMITS))
    if "servers" in request.node.name:
        turns.reverse()
    probe = make_key(router, "probe")
    tried = [call(router, probe, words=WORDS, slow=0.001) for _ in range(4)]
    eventually(lambda: len(all_rows(router, [probe])) == len(tried), 20, "the probes in the ledger")
    keys = [probe]
    for tight in itertools.islice(itertools.cycle(turns), size(len(LIMITS) // 2, 20)):
        before = all_rows(router, keys)
        limited = _limited(router, before, tight, source)
        keys.append(limited.key)
        few = int(limited.fields["max_concurrent_requests"])
        calls: list[Call] = []
        with limited.watched() as looks:
            if not tight.lasting:
                calls += _all_are_served(router, limited, few)
            calls += asyncio.run(_at_once(router, limited.key, CALLS, 0.2))
            burst = Counter(made.reply.code or "served" for made in calls)
            if tight.lasting:
                calls += _until_refused(router, limited.key)
            else:
                calls += _all_are_served(router, limited, few)
        found = reckon(router, calls, [limited.key])
        rows = all_rows(router, keys)
        tell(f"{tight.name}: {looks.count} looks, {dict(burst)}, {found}")
        assert set(burst) <= ON_A_BUSY_MACHINE.union({"served"}, *(one.codes for one in LIMITS))
        limited.judge(calls, rows)
        if tight.lasting:
            last = calls[-1].reply
            assert last.code in tight.codes, last.body
            minute = within(rows, datetime.fromtimestamp(calls[-1].at, UTC), WINDOW_SECONDS + 1 + TOLERANCE_SECONDS)
            assert tight.is_used(limited, last.json_of_error(), minute), "what fits was refused"


def _limited(router: FaultyRouter, before: list[Any], tight: Limit, source: random.Random) -> Limited:
    """A new key with all limits; a few calls fit the tight one."""
    minute = within(before, datetime.now(UTC), WINDOW_SECONDS + 1)
    sizes = Sizes(
        nanos=max(row.cost_nanos for row in before),
        tokens=max(map(tokens_of, before)),
        nanos_before=money.from_usd(organization_spend(router)["spent_usd"]),
        requests_before=len(minute),
    )
    few = source.randrange(80, 200) if tight.lasting else source.randrange(5, 30)
    fields: list[dict[str, Any]] = [{}, {}]
    for limit in LIMITS:
        fields[limit.of_all] |= limit.fields(few if limit is tight else LOOSE, sizes)
    router.api("PATCH", "/v1/organization", json=fields[True]).raise_for_status()
    key = make_key(router, f"all limits, {tight.name}", **fields[False])
    both = money.from_usd(fields[False]["spend_limit_usd"]) + money.from_usd(fields[False]["spend_limit_boost_usd"])
    return Limited(router, Key(key.id, key.secret, money.to_usd(both)), fields[False], fields[True])


async def _at_once(router: FaultyRouter, key: Key, count: int, slow: float) -> list[Call]:
    return list(await asyncio.gather(*(one(router, key, words=WORDS, slow=slow) for _ in range(count))))


def _all_are_served(router: FaultyRouter, limited: Limited, count: int) -> list[Call]:
    """As many as may be at once, all together."""
    calls = asyncio.run(_at_once(router, limited.key, count, 1.0))
    assert all(made.served for made in calls), Counter(made.reply.code for made in calls)
    assert most_at_once(router, calls) == count
    return calls


def _until_refused(router: FaultyRouter, key: Key) -> list[Call]:
    """One after the other, until there is no room for one more: judged by what was used, as nothing is in flight."""
    done: list[Call] = []
    while not done or done[-1].served or done[-1].reply.code in ON_A_BUSY_MACHINE:
        done.append(call(router, key, words=WORDS))
        assert len(done) < LOOSE
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
