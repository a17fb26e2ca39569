"""The counters on Redis or Valkey, for any number of machines: see `redis_script` for what happens inside.

A change is one run of the script of this set of counters. It first compares the generation, and the number of changes
with the page of this data directory; a server that does not know the script is not the one we left.
"""

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.counters import redis_script as script
from shared.counters.clock import Clock
from shared.counters.page import Page
from shared.counters.redis_link import Link
from shared.counters.rows import WINDOW_SECONDS, KeyRow, Moment, moment_of, period_of_day, spend_state
from shared.counters.values import (
    Admitted,
    Answer,
    Batch,
    Charge,
    Condition,
    CountersLost,
    CountersUnavailable,
    Held,
    Joining,
    LastAdmitted,
    Missing,
    RateLimited,
    RateState,
    Rebuilding,
    Seed,
    SpendExceeded,
    SpendHeld,
    Stale,
    Unseeded,
    Used,
    WorkerState,
)

Arguments = list[str | int]

_MICROSECONDS = 1_000_000
# Who is inside a change of the old counters while new ones are made still notes its number: it stays below the new.
_SEQUENCE_GAP = 2**20


class RedisCounters:
    """Implements `Counters`. A clock is for tests; the server's own is used without one."""

    def __init__(self, link: Link, *, clock: Clock | None = None) -> None:
        self._link = link
        self._clock = clock
        self._digests: dict[int, str] = {}  # generation -> that of its script
        self._ahead = 0.0  # of the server's clock, before time.monotonic()
        self.page: Page | None = None

    def attach(self, page: Page | None) -> None:
        """Compare with this page from now on."""
        self.page = page

    def refuse_foreign(self) -> None:
        """Raise CountersUnavailable if what stands there is of another release."""
        (found,) = self._link.fields(script.META, "format")
        if found not in (None, script.FORMAT):
            raise CountersUnavailable("they hold data of another release")

    # Of a worker

    def apply_batch(self, batch: Batch) -> list[Answer]:
        """Apply ends, then judge charges, in order, in one run. The same batch again: the same answers."""
        arguments: Arguments = [batch.number, len(batch.ends)]
        for end in batch.ends:
            arguments += end
        arguments.append(len(batch.charges))
        day = self.moment().day
        for charge in batch.charges:
            period_of_day(charge.spend_reset, day)  # the script trusts us that it is one
            arguments += _charge(charge)
        wall, steady, again, found, *_ = self._change("batch", batch.generation, arguments, own=batch.worker_id)
        moment = moment_of(wall / _MICROSECONDS, steady / _MICROSECONDS)
        self._ahead = moment.wall - time.monotonic()
        if again:
            return _answered_before(found, len(batch.charges))
        width = script.ANSWER_FIELDS
        return [
            _answer(charge, found[at : at + width], batch.generation, moment)
            for charge, at in zip(batch.charges, range(0, len(found), width), strict=True)
        ]

    def register(self, worker_id: str, generation: int) -> None:
        self._change("register", generation, own=worker_id)

    def join(self, joining: Joining) -> None:
        self._change("join", joining.generation, _joining(joining), own=joining.worker_id)

    # Of the ledger writer

    def close_worker(self, joining: Joining) -> bool:
        return bool(self._change("close", joining.generation, _joining(joining), own=joining.worker_id)[1])

    def worker_state(self, worker_id: str) -> WorkerState | None:
        (found,) = self._ask("worker", own=worker_id)
        if found is None:
            return None
        joined, end_number, flat = found
        last = [
            LastAdmitted(flat[at + 1], Held(flat[at + 2].decode(), flat[at + 3], flat[at + 5]))
            for at in range(0, len(flat), 6)
        ]
        return WorkerState(bool(joined), end_number, last)

    def begin_generation(self, generation: int, workers: Mapping[str, int]) -> None:
        assert self.page is not None  # noqa: S101 - only the ledger writer calls this, and it has one
        (before,) = self._link.fields(script.META, "sequence")
        sequence = max(self.page.sequence, int(before or 0)) + _SEQUENCE_GAP
        name = uuid.uuid4().hex
        self._link.load(script.script_of(name))
        arguments: Arguments = [sequence, name, len(workers)]
        for worker in workers.items():
            arguments += worker
        status, *_ = self._run(script.digest_of(name), "begin", generation, arguments, "")
        if status != script.DONE:
            raise CountersUnavailable("newer ones stand there already")
        self.page.begin_generation(generation, sequence, 0, 0)

    def remember(self, generation: int, used: Iterable[Used]) -> None:
        self._change("remember", generation, _used(list(used)))

    def go_live(self, generation: int) -> None:
        self._change("live", generation)

    def fold_log(self) -> None:
        """Nothing to do here: the server keeps its own house."""

    # Of whoever reads or edits policy

    def publish(self, generation: int, keys: Mapping[str, int], orgs: Mapping[str, int]) -> None:
        arguments: Arguments = []
        for versions in (keys, orgs):
            arguments.append(len(versions))
            for version in versions.items():
                arguments += version
        self._change("publish", generation, arguments)

    def seed(self, generation: int, seeds: Iterable[Seed]) -> None:
        every = list(seeds)
        arguments: Arguments = [len(every)]
        for seed in every:
            arguments += (seed.key_id, *_seed(seed))
        self._change("seed", generation, arguments)

    def condition(self) -> Condition:
        generation, live, sequence, missing = self._ask("condition")
        return Condition(generation, bool(live), sequence, tuple(worker.decode() for worker in missing))

    def rows(self, key_ids: Sequence[str]) -> dict[str, KeyRow]:
        found: dict[str, KeyRow] = {}
        for start in range(0, len(key_ids), 500):
            some = key_ids[start : start + 500]
            (rows,) = self._ask("rows", [len(some), *some])
            found.update({key_id: _row(row) for key_id, row in zip(some, rows, strict=True) if row is not None})
        return found

    def org_version(self, org_id: str) -> int:
        (version,) = self._ask("org", own=org_id)
        return int(version)

    def check(self) -> bool:
        return self.condition().live

    def close(self) -> None:
        self._link.close()

    def moment(self) -> Moment:
        """By the server's clock as it was told last, or our own before it was."""
        if self._clock is not None:
            return moment_of(self._clock.wall(), self._clock.steady())
        wall = time.monotonic() + self._ahead if self._ahead else time.time()
        return moment_of(wall, wall)

    @property
    def right(self) -> bool:
        """Each change finds out for itself."""
        return True

    def _change(self, op: str, generation: int, arguments: Arguments | None = None, *, own: str = "") -> list[Any]:
        """What a change answered. Raises CountersLost when these are not the right counters."""
        page = self.page
        if page is not None and page.generation != generation:
            raise CountersLost("the generation is another one", page.generation)
        status, *found = self._run(self._digest(generation), op, generation, arguments or [], own)
        if status == script.DONE:
            if page is not None and not (op == "batch" and found[2]):
                page.note(found[-1] if op == "batch" else found[0])
            return found
        if status == script.OTHER_GENERATION:
            raise CountersLost("the generation is another one", found[0])
        if status == script.OLDER:
            raise CountersLost("an older copy stands there", generation)
        if status == script.UNKNOWN_WORKER:
            raise CountersLost("the worker was taken out" if op == "join" else "the worker is not known", generation)
        raise CountersLost("batches are missing", generation)

    def _ask(self, op: str, arguments: Arguments | None = None, *, own: str = "") -> list[Any]:
        """What stands there, whatever its generation is. Raises CountersLost when nothing does."""
        for known in (True, False):
            generation = max(self._digests, default=0)
            if not known or not generation:
                generation = self._look_up()
            try:
                status, *found = self._run(self._digests[generation], op, generation, arguments or [], own)
            except CountersLost:
                if not known:
                    raise
                continue  # perhaps only that of older counters than those which stand there
            if status != script.DONE:
                raise CountersLost("there are none")
            return found
        raise AssertionError("unreachable")

    def _digest(self, generation: int) -> str:
        found = self._digests.get(generation)
        if found is None:
            stands = self._look_up()
            if stands != generation:
                raise CountersLost("the generation is another one", stands)
            found = self._digests[generation]
        return found

    def _look_up(self) -> int:
        """The generation that stands there, its script's digest learned."""
        generation, name = self._link.fields(script.META, "generation", "name")
        if generation is None or name is None:
            raise CountersLost("there are none")
        self._digests = {int(generation): script.digest_of(name)}
        return int(generation)

    def _run(self, digest: str, op: str, generation: int, arguments: Arguments, own: str) -> list[Any]:
        seen = 0 if self.page is None else self.page.sequence
        wall: str | int = ""
        steady: str | int = ""
        if self._clock is not None:
            wall, steady = (int(at * _MICROSECONDS) for at in (self._clock.wall(), self._clock.steady()))
        found: list[Any] = self._link.run(digest, script.META, [op, generation, seen, own, wall, steady, *arguments])
        return found


def _optional(value: int | None) -> int:
    return script.NONE if value is None else value


def _charge(charge: Charge) -> Arguments:
    return [
        charge.key_id,
        charge.org_id,
        charge.version,
        charge.org_version,
        _optional(charge.rate_limit_rpm),
        _optional(charge.spend_limit_nanos),
        charge.spend_reset,
        charge.bound_nanos,
        charge.loaded_in,
        charge.seq,
        *((0,) if charge.seed is None else (1, *_seed(charge.seed))),
    ]


def _seed(seed: Seed) -> Arguments:
    return [seed.lifetime_nanos, len(seed.days), *(number for day in seed.days.items() for number in day)]


def _used(used: Sequence[Used]) -> Arguments:
    arguments: Arguments = [len(used)]
    for one in used:
        arguments += one
    return arguments


def _joining(joining: Joining) -> Arguments:
    arguments: Arguments = [joining.end_number, len(joining.ends)]
    for end in joining.ends:
        arguments += end
    arguments.append(len(joining.holds))
    for hold in joining.holds:
        arguments += hold
    return arguments + _used(joining.used)


def _row(found: list[Any]) -> KeyRow:
    version, seeded, lifetime, days, window = found
    return KeyRow(
        version,
        lifetime,
        {days[at]: [days[at + 1], days[at + 2]] for at in range(0, len(days), 3)},
        dict(zip(window[::2], window[1::2], strict=True)),
        seeded=bool(seeded),
    )


def _answer(charge: Charge, found: list[int], generation: int, moment: Moment) -> Answer:
    """A charge's answer, of the numbers that the script told."""
    code, used, last, room, spent, held, wait_seconds = found
    rpm, limit = charge.rate_limit_rpm, charge.spend_limit_nanos
    if code == script.STALE:
        return Stale()
    if code == script.MISSING:
        return Missing(generation)
    if code == script.UNSEEDED:
        return Unseeded(generation)
    if code == script.REBUILDING:
        return Rebuilding()
    rate = None if rpm is None else _rate(rpm, used, last, moment)
    if code == script.RATE_LIMITED:
        assert rate is not None  # noqa: S101 - only a limit refuses
        return RateLimited(rate, max(0.0, room + WINDOW_SECONDS + 1 - moment.steady) if room >= 0 else 0.0)
    spend = None
    if limit is not None:
        spend = spend_state(period_of_day(charge.spend_reset, moment.day), limit, spent, held)
    if code == script.ADMITTED:
        return Admitted(moment.day, moment.second, rate, spend)
    assert spend is not None  # noqa: S101 - as above
    return SpendExceeded(spend) if code == script.SPEND_EXCEEDED else SpendHeld(spend, wait_seconds)


def _rate(rpm: int, used: int, last: int, moment: Moment) -> RateState:
    empty_in = max(0.0, last + WINDOW_SECONDS + 1 - moment.steady) if last >= 0 else 0.0
    return RateState(rpm, max(0, rpm - used), -int(-(moment.wall + empty_in) // 1))


def _answered_before(flat: list[Any], asked: int) -> list[Answer]:
    """What a batch was answered whose answer was lost. What was refused then consumed nothing and may ask anew."""
    before = {flat[at]: Admitted(flat[at + 3], flat[at + 4]) for at in range(0, len(flat), 6)}
    return [before.get(index, Stale()) for index in range(max([asked, *(index + 1 for index in before)]))]
