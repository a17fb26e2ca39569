"""Edits, pauses and revocations by several people at once, each followed by requests that have to obey it."""

import itertools
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from faulty import FaultyRouter
from load_kit import Call, Key, call, make_key

PEOPLE = 4
CHANGES: dict[str, tuple[dict[str, object], str]] = {
    "pause": ({"paused": True}, "key_paused"),
    "limit": ({"spend_limit_usd": "0"}, "spend_exceeded"),
    "model": ({"allowed_models": ["nothing-*"]}, "model_not_allowed"),
    "address": ({"allowed_ips": ["192.0.2.1"]}, "ip_blocked"),
    "revoke": ({}, "key_revoked"),
}


@dataclass(slots=True)
class Edits:
    """What was done. None of it was answered before it held, or an assertion has failed."""

    count: int
    keys: list[Key] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    created: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.count} edits, {self.created} creations in {self.seconds:.0f} s"


def edit_at_random(routers: Sequence[FaultyRouter], count: int, source: random.Random) -> Edits:
    """So many edits over the dashboards of all these routers, which share their data; two more people make keys."""
    done, began = Edits(count), time.monotonic()
    created, over = itertools.count(), False
    seeds = [source.random() for _ in range(PEOPLE)]

    def edit_many(seed: float) -> None:
        mine = random.Random(seed)
        key = make_key(routers[0], "edited")
        done.keys.append(key)
        for turn in range(count // (2 * PEOPLE)):  # each turn is an edit and its end
            key = _edit(routers, key, turn, mine, done)

    def create_many() -> None:
        while not over:
            make_key(routers[next(created) % len(routers)], "new")

    with ThreadPoolExecutor(PEOPLE + 2) as pool:
        creating = [pool.submit(create_many) for _ in range(2)]
        running = [pool.submit(edit_many, seed) for seed in seeds]
        try:
            for future in running:
                future.result()
        finally:
            over = True
        for future in creating:
            future.result()
    done.created, done.seconds = next(created), time.monotonic() - began
    return done


def _edit(routers: Sequence[FaultyRouter], key: Key, turn: int, source: random.Random, done: Edits) -> Key:
    """One edit, and what a request says that starts after its answer, on whichever worker it lands. The key, or the
    one that takes its place."""
    kind = source.choice(("pause", "limit", "model", "address", "revoke" if turn % 10 == 9 else "pause"))
    change, expected = CHANGES[kind]
    editor = source.choice(routers)
    if kind == "revoke":
        assert editor.api("DELETE", f"/v1/keys/{key.id}").status_code == 200
    else:
        editor.edit(key.id, **change)
    _try(routers, key, expected, f"after {kind}", done)
    if kind == "revoke":
        done.keys.append(make_key(editor, "edited"))
        return done.keys[-1]
    source.choice(routers).edit(key.id, paused=False, spend_limit_usd=None, allowed_models=[], allowed_ips=[])
    _try(routers, key, None, f"after the end of {kind}", done)
    return key


def _try(routers: Sequence[FaultyRouter], key: Key, expected: str | None, when: str, done: Edits) -> None:
    for router in (*routers, *routers)[: max(2, len(routers))]:
        made = call(router, key)
        done.calls.append(made)
        right = made.served if expected is None else made.reply.code == expected
        assert right, f"stale {when}: {made.reply.status} {made.reply.body!r}"
