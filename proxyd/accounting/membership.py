"""A worker's place in the counters: entering, noticing that they are others now, joining those.

A generation of counters knows the workers that are in it. A new worker enters the database first, learns the
generation there and registers in that one only; one that lives on when new counters are made brings with it what the
ledger did not know at their cut.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from proxyd.accounting.accounting_state import JournalImported
from proxyd.accounting.journal import Journal, JournalUnavailable
from proxyd.accounting.journal_reader import read_tail
from proxyd.accounting.limited_models import KnownLimits, LimitsOf, limits_of_nobody
from proxyd.accounting.open_holds import sums_of
from proxyd.accounting.recent_admissions import RecentAdmissions
from proxyd.accounting.records import Attempt, EndRecord, LedgerUnavailable
from shared.counters import (
    Counters,
    CountersLost,
    CountersUnavailable,
    SharedState,
    SharedStateMissing,
    WorkerReplay,
    boot_id,
)
from shared.model_limits import ModelLimits

log = logging.getLogger(__name__)

Register = Callable[[str], int]  # enters a worker in the database; its generation
LOG_INTERVAL_SECONDS = 5.0
_UNREAD = -1  # a generation that no counters have


class Joined(NamedTuple):
    """What a worker's ENDs tell counters that it has joined. Rows are those of limits for models, as they are there."""

    end_number: int  # the last END that they know
    rows: dict[int, tuple[str, ...]]  # on which what is in flight counts, by seq
    rows_of_ended: dict[int, tuple[str, ...]]  # on which what they do not know yet counts, by the number of its END


class Membership:
    """Of one worker. `generation` is the one that it is in; 0 before it is in any. `recent` is what it has admitted."""

    def __init__(
        self,
        data_dir: Path,
        counters: Counters,
        register: Register,
        *,
        sync: bool,
        limits_of: LimitsOf = limits_of_nobody,
        terminate: Callable[[], None] | None = None,
    ) -> None:
        """`limits_of` asks the database for limits for models; `terminate` ends this process."""
        self._data_dir = data_dir
        self._counters = counters
        self._register = register
        self._sync = sync
        self._limits_of = limits_of
        self._shared_state: SharedState | None = None
        self._logged_at = float("-inf")
        self._terminate = terminate or _terminate_self
        self.recent = RecentAdmissions()
        self.journal: Journal | None = None
        self.generation = 0

    @property
    def complete(self) -> bool:
        """Whether this worker is in, be it in counters that are the right ones or not."""
        return self.generation != 0 and self._shared_state is not None

    @property
    def current_generation(self) -> int:
        """The generation of the counters that are the right ones now."""
        return self.generation if self._shared_state is None else self._shared_state.generation

    def enter(self) -> None:
        """Open the journal, find the shared state, register in the database and in the counters; as far as it goes."""
        try:
            if self.journal is None:
                self.journal = Journal(self._data_dir / "journals", sync=self._sync)
            if self._shared_state is None:
                self._shared_state = SharedState.open(self._data_dir, boot_id())
                self._counters.attach(self._shared_state)
            if not self.generation:
                generation = self._register(self.journal.worker_id)
                self._counters.register(self.journal.worker_id, generation)
                # What was begun before is looked at as after joining: limits may have been set since.
                self.generation = _UNREAD if self.journal.open or self.journal.end_number else generation
        except JournalImported as error:
            log.critical("not admitting any more: %s", error)
            self._terminate()
        except (JournalUnavailable, LedgerUnavailable, SharedStateMissing, CountersUnavailable) as error:
            at = time.monotonic()
            if at >= self._logged_at + LOG_INTERVAL_SECONDS:
                self._logged_at = at
                log.warning("not admitting yet: %s: %s", type(error).__name__, error)

    def request_rebuild(self, why: CountersLost) -> None:
        """Request new counters, once, because these are not as they were left, unless new ones stand there already."""
        shared_state = self._shared_state
        if shared_state is not None and shared_state.generation == self.generation > shared_state.rebuild_requested:
            log.error("the counters of generation %d are not as they were left: %s", self.generation, why)
            shared_state.request_rebuild(self.generation)

    def check_shared_state(self) -> None:
        """Let go of a shared state that is no longer the data directory's; `enter` finds the new one."""
        if self._shared_state is not None and not self._shared_state.is_current():
            self._shared_state = None

    def drop_expired(self) -> None:
        """Forget requests that weigh nothing any more."""
        self.recent.clean_up(self._counters.moment().second)

    def join(self, journal: Journal, counts_models: Callable[[], bool]) -> Joined:
        """Bring into new counters what the ledger did not know at their cut.

        That is: ENDs above the cut, what is in flight, requests of the last minute. `counts_models` tells whether
        something of this worker counted against a limit for models. Raises CountersUnavailable; then it is tried again.
        """
        generation = self.current_generation
        state = self._counters.worker_state(journal.worker_id)
        if state is None:
            condition, known = self._counters.status(), self._shared_state
            if known is not None and condition.generation == generation and condition.sequence >= known.sequence:
                self._terminate()
            # Else what stands there is not what we were told of, and does not tell that we are out.
            raise CountersLost("the worker was taken out", generation)
        limits = KnownLimits(self._read_limits, lambda: counts_models() or self.may_be_limited)
        if state.joined:  # before, and the answer was lost: what has ended since is told as always
            end_number = state.end_number
        else:
            end_number = self._tell(journal, generation, state.end_number, limits)
            log.info("joined generation %d of the counters", generation)
        # Others may have ended, or begun without being asked for, while the counters were told.
        ended = self._at_one_moment(journal, end_number, limits)
        self.generation = generation
        return Joined(
            end_number,
            limits.rows_by_seq(self._in_flight(journal)),
            {record.number: limits.rows_for(record.attempt) for record in ended},
        )

    def _tell(self, journal: Journal, generation: int, above: int, limits: KnownLimits) -> int:
        """Tell new counters all that they have to know, as it is at one moment; answers with our last END by then."""
        self.drop_expired()
        ended = self._at_one_moment(journal, above, limits)
        end_number = journal.end_number
        holds = sums_of(
            attempt.hold._replace(rows=limits.rows_for(attempt))
            for _, attempt in self._in_flight(journal)
            if attempt.is_counted
        )
        buckets = self.recent.buckets()
        ends = [record.for_counters(limits.rows_for(record.attempt)) for record in ended]
        self._counters.join(WorkerReplay(journal.worker_id, generation, end_number, ends, list(holds), buckets))
        return end_number

    def _at_one_moment(self, journal: Journal, above: int, limits: KnownLimits) -> list[EndRecord]:
        """The ENDs above a number, once the limits of their keys are known, and of those of all that is in flight.

        Those are asked for before, as attempts end while the database answers. What this returns is of one moment with
        what is in flight, until whoever called waits for anything.
        """
        while True:
            ended: list[EndRecord] = []
            if journal.end_number > above:
                ended = read_tail(journal.directory, journal.worker_id, above).ends
            keys = {attempt.key_id for _, attempt in self._in_flight(journal)}
            if not limits.learn(keys.union(record.attempt.key_id for record in ended)):
                return ended

    @property
    def may_be_limited(self) -> bool:
        """Whether a key that is there since before these counters may have limits for models."""
        return self._shared_state is None or self._shared_state.model_limits

    @staticmethod
    def _in_flight(journal: Journal) -> list[tuple[int, Attempt]]:
        return [(seq, attempt) for seq, (_, attempt) in journal.open.items()]

    def _read_limits(self, key_ids: Collection[str]) -> Mapping[str, ModelLimits]:
        try:
            return self._limits_of(key_ids)
        except LedgerUnavailable as error:
            raise CountersUnavailable("the limits for models cannot be read, so that they cannot be told") from error


def _terminate_self() -> None:
    """End this process in good order: it was taken out of the counters while it lived, and cannot come back as itself.

    That is when its journal was deleted or imported from a copy, or the database put back to a time before it was
    entered. The supervisor starts another one in its place.
    """
    log.critical("this worker was taken out of the counters; it ends, and another one takes its place")
    os.kill(os.getpid(), signal.SIGTERM)
