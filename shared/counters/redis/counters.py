"""The counters on Redis or Valkey, for any number of machines: see `script` for what happens inside.

A change is one run of the script of this set of counters. It first compares the generation, and the number of changes
with the shared state of this data directory; a server that does not know the script is not the one we left.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from shared.counters.clock import Clock
from shared.counters.moments import Moment, moment_of
from shared.counters.redis import script
from shared.counters.redis.change import Change, seeding_arguments, version_arguments
from shared.counters.redis.codec import (
    Arguments,
    batch_arguments,
    bucket_arguments,
    decisions_before,
    decisions_of,
    hold_arguments,
    replay_arguments,
    row_of,
    worker_state_of,
)
from shared.counters.redis.link import Link
from shared.counters.redis.named_scripts import NamedScripts
from shared.counters.rows import KeyRow
from shared.counters.shared_state import SharedState
from shared.counters.values import (
    Batch,
    CountersForeign,
    CountersLost,
    CountersStatus,
    CountersUnavailable,
    Decision,
    Hold,
    RateBucket,
    Seed,
    WorkerReplay,
    WorkerState,
)

_MICROSECONDS = 1_000_000
# Who is inside a change of the old counters while new ones are made still notes its number: it stays below the new.
_SEQUENCE_GAP = 2**20
_SWEEPS = 100
_TRIES = 5  # of a batch; a second one is right but where it begins another day just then


class RedisCounters:
    """Implements `Counters`. A clock is for tests; the server's own is used without one."""

    def __init__(self, link: Link, *, clock: Clock | None = None, release: script.Release = script.OURS) -> None:
        self._link = link
        self._scripts = NamedScripts(link, release)
        self._release = release
        self._clock = clock
        self._digests: dict[int, str] = {}  # generation -> that of its script
        self._ahead = 0.0  # of the server's clock, before time.monotonic()
        self.shared_state: SharedState | None = None

    def attach(self, shared_state: SharedState | None) -> None:
        """Compare with this shared state from now on."""
        self.shared_state = shared_state

    def refuse_foreign(self, installation: int) -> None:
        """Raise CountersUnavailable if what stands there is of a newer release, or not of this installation.

        What is older is made anew.
        """
        self._scripts.refuse_newer()
        (whose,) = self._link.fields(script.META, "installation")
        _refuse_other(whose, installation)

    # Of a worker

    def apply_batch(self, batch: Batch) -> list[Decision]:
        """Apply ends, then decide charges, in order, in one run. The same batch again: the same decisions.

        It is asked again where a day has begun by the server's clock that had not by the one which it was asked by.
        """
        moment = self.moment()
        for _ in range(_TRIES):
            arguments, days = batch_arguments(batch, moment)
            change = Change("batch", batch.generation, arguments, batch.worker_id)
            wall, steady, done, *found = self._change(change)
            moment = moment_of(wall / _MICROSECONDS, steady / _MICROSECONDS)
            self._ahead = moment.wall - time.monotonic()
            if done == script.APPLIED:
                return decisions_of(batch, found[0], moment, days)
            if done == script.REPEATED:
                return decisions_before(found[0], len(batch.charges))
        raise CountersUnavailable("the server's clock does not stay on a day")

    def register(self, worker_id: str, generation: int) -> None:
        self._change(Change("register", generation, own=worker_id))

    def join(self, replay: WorkerReplay) -> None:
        self._change(Change("join", replay.generation, replay_arguments(replay), replay.worker_id))

    # Of the ledger writer

    def close_worker(self, replay: WorkerReplay) -> bool:
        return bool(self._change(Change("close", replay.generation, replay_arguments(replay), replay.worker_id))[1])

    def worker_state(self, worker_id: str) -> WorkerState | None:
        (found,) = self._ask("worker", own=worker_id)
        return None if found is None else worker_state_of(found)

    def begin_generation(
        self, generation: int, workers: Mapping[str, int], organizations: Collection[str] = ()
    ) -> None:
        assert self.shared_state is not None  # noqa: S101 - only the ledger writer calls this, and it has one
        sequence = max(self.shared_state.sequence, self._changes_so_far()) + _SEQUENCE_GAP
        life, name = self._scripts.prepare()
        release = self._release
        arguments: Arguments = [sequence, life, release.field, name, self.shared_state.installation, len(workers)]
        for worker in workers.items():
            arguments += worker
        arguments += (len(organizations), *organizations)
        status, *_ = self._run(release.digest_of(name), Change("begin", generation, arguments))
        if status == script.FOREIGN:
            raise CountersForeign
        if status != script.DONE:
            raise CountersUnavailable("newer ones stand there already")
        self.shared_state.begin_generation(generation, sequence, 0, 0)

    def restore_requests(self, generation: int, buckets: Iterable[RateBucket]) -> None:
        self._change(Change("restore_requests", generation, bucket_arguments(list(buckets))))

    def go_live(self, generation: int) -> None:
        self._change(Change("live", generation))

    @property
    def shared(self) -> "RedisCounters":
        return self

    def adopt(self, status: CountersStatus, buckets: Iterable[RateBucket]) -> None:
        """Go by counters that another machine has made, as they were found to stand.

        Requests of the last minute that nobody else brings come first: until the shared state says which counters are
        the right ones no worker of ours is in them, and they do not go live without it.
        """
        assert self.shared_state is not None  # noqa: S101 - as above
        generation = status.generation
        self._digest(generation)
        requests = bucket_arguments(list(buckets))
        (sequence,) = self._told(Change("restore_requests", generation, requests, seen=status.sequence))
        self.shared_state.begin_generation(generation, sequence, 0, 0)

    def fence(self, generation: int, worker_id: str, holds: Iterable[Hold]) -> None:
        """Enter a worker whose machine is away with what it is known to hold, until it joins or is taken out.

        No effect once it has joined, or was entered so before.
        """
        self._change(Change("fence", generation, hold_arguments(list(holds)), worker_id))

    def checkpoint(self) -> None:
        """Delete what older generations left, in pieces that keep the server for about a millisecond each."""
        for _ in range(_SWEEPS):
            (more,) = self._ask("sweep")
            if not more:
                break

    # Of whoever reads or edits policy

    def publish(self, generation: int, keys: Mapping[str, int], orgs: Mapping[str, int]) -> None:
        self._change(Change("publish", generation, version_arguments(keys, orgs)))

    def seed(self, generation: int, seeds: Iterable[Seed]) -> None:
        self._change(Change("seed", generation, seeding_arguments(list(seeds))))

    def status(self) -> CountersStatus:
        generation, live, sequence, missing, whose = self._ask("status")
        self._refuse_foreign(whose)
        return CountersStatus(generation, bool(live), sequence, tuple(worker.decode() for worker in missing))

    def rows(self, key_ids: Sequence[str]) -> dict[str, KeyRow]:
        found: dict[str, KeyRow] = {}
        for start in range(0, len(key_ids), 500):
            some = key_ids[start : start + 500]
            (rows,) = self._ask("rows", [len(some), *some])
            found.update({key_id: row_of(row) for key_id, row in zip(some, rows, strict=True) if row is not None})
        return found

    def org_version(self, org_id: str) -> int:
        (version,) = self._ask("org", own=org_id)
        return int(version)

    def check(self) -> bool:
        return self.status().live

    def close(self) -> None:
        self._link.close()

    def moment(self) -> Moment:
        """By the server's clock as it was told last, or our own before it was."""
        if self._clock is not None:
            return moment_of(self._clock.wall(), self._clock.steady())
        wall = time.monotonic() + self._ahead if self._ahead else time.time()
        return moment_of(wall, wall)

    @property
    def intact(self) -> bool:
        """Each change finds out for itself."""
        return True

    def _change(self, change: Change) -> list[Any]:
        """What a change answered. Raises CountersLost when these are not the right counters."""
        shared_state = self.shared_state
        if shared_state is not None:
            if shared_state.generation != change.generation:
                raise CountersLost("the generation is another one", shared_state.generation)
            change.seen = shared_state.sequence
        found = self._told(change)
        is_batch = change.op == "batch"
        if shared_state is not None and not (is_batch and found[2]):
            shared_state.note_commit(found[-1] if is_batch else found[0])
        return found

    def _told(self, change: Change) -> list[Any]:
        """What a change answered to whoever has seen so many of them."""
        op, generation = change.op, change.generation
        status, *found = self._run(self._digest(generation), change)
        if status == script.DONE:
            return found
        if status == script.OTHER_GENERATION:
            raise CountersLost("the generation is another one", *found)
        if status == script.OLDER:
            raise CountersLost("an older copy stands there", generation)
        if status == script.UNKNOWN_WORKER:
            raise CountersLost("the worker was taken out" if op == "join" else "the worker is not known", generation)
        raise CountersLost("batches are missing", generation)

    def _ask(self, op: str, arguments: Sequence[str | int] = (), *, own: str = "") -> list[Any]:
        """What stands there, whatever its generation is. Raises CountersLost when nothing does."""
        for known in (True, False):
            latest = max(self._digests.items(), default=None) if known else None
            generation, digest = latest or self._look_up()
            try:
                status, *found = self._run(digest, Change(op, generation, arguments, own))
            except CountersLost as error:
                if not known:
                    # What stands there is not what was left, but it says which generation new ones have to be above.
                    raise CountersLost(str(error), generation) from error
                continue  # perhaps only that of older counters than those which stand there
            if status != script.DONE:
                raise CountersLost("there are none")
            return found
        raise AssertionError("unreachable")

    def _digest(self, generation: int) -> str:
        found = self._digests.get(generation)
        if found is None:
            stands, found = self._look_up()
            if stands != generation:
                raise CountersLost("the generation is another one", stands)
        return found

    def _look_up(self) -> tuple[int, str]:
        """The generation that stands there and its script's digest, which are learned."""
        generation, digest, whose = self._scripts.find()
        self._refuse_foreign(whose)
        self._digests = {generation: digest}  # threads share it, so it is replaced and never changed
        return generation, digest

    def _changes_so_far(self) -> int:
        """Of what new counters take the place of. What is none of ours is deleted."""
        try:
            generation, sequence = self._link.fields(script.META, "generation", "sequence")
            int(generation or 0)  # for the sake of its error
            return int(sequence or 0)
        except (CountersLost, ValueError):
            self._link.call(lambda client: client.delete(script.META))
            return 0

    def _refuse_foreign(self, whose: str | bytes | None) -> None:
        if self.shared_state is not None:
            _refuse_other(whose, self.shared_state.installation)

    def _run(self, digest: str, change: Change) -> list[Any]:
        wall: str | int = ""
        steady: str | int = ""
        if self._clock is not None:
            wall, steady = (int(at * _MICROSECONDS) for at in (self._clock.wall(), self._clock.steady()))
        command = [change.op, change.generation, change.seen, change.own, wall, steady, *change.arguments]
        found: list[Any] = self._link.run(digest, script.META, command)
        if found[0] == script.OTHER_FORMAT:
            # Another release has made them since we looked; which one, is told by looking again.
            raise CountersLost("the generation is another one", self._look_up()[0])
        return found


def _refuse_other(whose: str | bytes | None, installation: int) -> None:
    """Raise CountersForeign if both are known and differ."""
    if installation and int(whose or 0) not in (0, installation):
        raise CountersForeign
