"""Recovery of dead workers: what the counters are told of journals that nobody writes to any more."""

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from proxyd.accounting import journal_reader
from proxyd.accounting.journal import lock_path, segment_path
from proxyd.accounting.journal_reader import Tail
from proxyd.accounting.limited_models import rows_for
from proxyd.accounting.records import Attempt
from shared.counters import WINDOW_SECONDS, RateBucket, WorkerReplay, WorkerState
from shared.model_limits import ModelLimits

log = logging.getLogger(__name__)


def replay_of_dead(
    worker_id: str,
    generation: int,
    state: WorkerState,
    tail: Tail,
    oldest_second: int,
    limits: Mapping[str, ModelLimits] = MappingProxyType({}),
) -> WorkerReplay:
    """What closing a dead worker has to tell the counters. `limits`: those for models, of the keys of its ENDs."""
    never_begun = [last.hold for last in state.last_admitted if not _ends_hold(last.seq, tail)]
    ends = [record.for_counters(rows_for(limits, record.attempt)) for record in tail.ends]
    return WorkerReplay(
        worker_id, generation, tail.last.end_number, ends, never_begun, rate_buckets(tail.begun.values(), oldest_second)
    )


def _ends_hold(seq: int, tail: Tail) -> bool:
    """Whether the END of an attempt takes its hold back.

    Not if it never began; nor if it began without the counters, because their answer was lost that had admitted it.
    """
    begun = tail.begun.get(seq)
    return begun is not None and begun.is_counted


def rate_buckets(attempts: Iterable[Attempt], oldest_second: int) -> list[RateBucket]:
    """Requests by key and second, of those that still weigh, and their tokens."""
    sums: dict[tuple[str, int, str], list[int]] = {}
    for attempt in attempts:
        if attempt.second >= oldest_second:
            entry = sums.setdefault((attempt.key_id, attempt.second, attempt.org_id), [0, 0])
            entry[0] += 1
            entry[1] += attempt.held_tokens
    return [
        RateBucket(key_id, second, count, org_id, tokens) for (key_id, second, org_id), (count, tokens) in sums.items()
    ]


def workers_without_lock(directory: Path) -> set[str]:
    """The workers whose segments lie there and whose lock does not: they were closed."""
    return {path.name.partition(".")[0] for path in directory.glob("*.journal")} - set(
        journal_reader.workers(directory)
    )


def recently_closed(directory: Path, oldest_second: int, missing: Collection[str] = ()) -> Iterator[Attempt]:
    """What began in journals that were closed within the last minute: nobody else brings their requests in.

    Those of whom the counters say that they are missing are closed once more, and bring them then.
    """
    since = time.time() - WINDOW_SECONDS - 1
    for worker_id in workers_without_lock(directory).difference(missing):
        numbers = journal_reader.segments(directory, worker_id)
        if numbers and segment_path(directory, worker_id, numbers[-1]).stat().st_mtime >= since:
            try:
                yield from journal_reader.read_tail(directory, worker_id, 2**63, oldest_second).begun.values()
            except journal_reader.ForeignFormat:
                log.warning("the journal of worker %s is another release's: its request rates start anew", worker_id)


def reopen(directory: Path, closed: set[str]) -> list[str]:
    """Give journals that the ledger does not know as closed their lock again, so that they are closed once more.

    That is when a backup of the database was put back. Answers with their workers.
    """
    again = sorted(workers_without_lock(directory) - closed)
    for worker_id in again:
        lock_path(directory, worker_id).touch(0o600)
    return again
