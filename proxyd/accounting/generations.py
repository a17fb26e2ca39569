"""Which counters are the right ones: found at a start, checked, rebuilt, and let go live once everybody has joined.

Where other machines use the same counters, any of their ledger writers may make new ones. The generation in the
database is the election: it is raised by whoever still finds the one there that was found bad. All others wait for what
that one makes, and adopt it in their shared state. Each waits for, ends and closes workers of its own machine only; for
those of a machine that is away, what it had posted last stands in.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from proxyd.accounting import journal_reader
from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.journal import lock_path
from proxyd.accounting.machines import Machines
from proxyd.accounting.model_cuts import ModelCuts
from proxyd.accounting.recovery import rate_buckets, recently_closed
from proxyd.accounting.worker_liveness import WorkerLiveness
from shared.counters import (
    WINDOW_SECONDS,
    Counters,
    CountersLost,
    CountersStatus,
    CountersUnavailable,
    RateBucket,
    SharedCounters,
    SharedState,
    SharedStateMissing,
    WorkerReplay,
    boot_id,
)

log = logging.getLogger(__name__)

JOIN_TIMEOUT_SECONDS = 5.0  # for living workers to join new counters; then they are ended
CHECKPOINT_SECONDS = 1.0
DATABASE_GAP_SECONDS = 2.5  # without an answer of the database, so that workers could not ask it either
ADOPT_TIMEOUT_SECONDS = 2.0  # for the counters of a generation that another machine has raised; then its maker has died


class Generations:
    """Of one data directory."""

    def __init__(
        self,
        data_dir: Path,
        machine: str,
        counters: Counters,
        database: AccountingDatabase,
        liveness: WorkerLiveness,
        machines: Machines,
        monotonic: Callable[[], float],
    ) -> None:
        self._data_dir = data_dir
        self._directory = data_dir / "journals"
        self._machine = machine
        self._counters = counters
        self._database = database
        self._liveness = liveness
        self._machines = machines
        self._monotonic = monotonic
        self._missing_since = 0.0
        self._checkpointed_at = float("-inf")
        self._known_bad = 0  # the latest generation whose counters are known not to be, or no more, the right ones
        self._model_cuts = ModelCuts()
        self._answered_at = float("-inf")  # when the database last answered while somebody was missing
        self._awaited = (0, 0.0)  # a generation that another machine has raised, and since when it is waited for
        self.reachable = False  # whether the counters answered the last time
        self.live = False  # whether they were the right ones then, and complete
        self.shared_state: SharedState

    @property
    def rebuild_pending(self) -> bool:
        """Whether somebody waits for new counters, and it is not for a machine that is away."""
        if self.shared_state.rebuild_requested >= self.shared_state.generation:
            return True
        return self._missing_since > 0.0 and not (self._counters.shared and self._is_late())

    def _is_late(self) -> bool:
        return self._monotonic() - self._missing_since > JOIN_TIMEOUT_SECONDS

    # A start

    def start(self, *, alive: bool) -> None:
        """Take over from the one before; with a new generation if nothing is `alive`, here or on other machines.

        Raises SQLAlchemyError or CountersUnavailable.
        """
        shared_state = self._existing_shared_state() if alive else None
        self.shared_state = shared_state or self._new_shared_state()
        self._counters.attach(self.shared_state)
        if shared_state is not None:
            return
        if alive:
            self._rebuild_any("the shared state is gone")
        elif self._counters.shared and self._machines.has_live_peers():
            # What stands there is right if they say so. Without one of them nobody could say.
            self.rebuild_or_adopt("a machine starts")
        else:
            self._rebuild_any("everything starts")

    def _new_shared_state(self) -> SharedState:
        return SharedState.create(self._data_dir, boot_id(), self._database.installation())

    def _existing_shared_state(self) -> SharedState | None:
        try:
            return SharedState.open(self._data_dir, boot_id())
        except SharedStateMissing:
            return None

    # Checking

    def check(self) -> bool:
        """Rebuild the counters when these are wrong; let them go live when everybody has joined.

        Answers with whether the journals that are open have changed.
        """
        self.reachable = self.live = False
        changed = self._check()
        self.reachable = True
        return changed

    def _check(self) -> bool:
        shared_state = self.shared_state
        if shared_state.rebuild_requested >= shared_state.generation:
            self.rebuild_or_adopt("a worker found them as it had not left them")
            return False
        sequence = shared_state.sequence  # read first: what is committed between two looks is no older copy
        try:
            status = self._counters.status()
        except CountersLost as error:
            self.rebuild_or_adopt(str(error))
            return False
        changed = False
        if status.generation != shared_state.generation or status.sequence < sequence:
            self.rebuild_or_adopt("an older copy, or others, stand there")
        elif not self._counters.intact:
            self.rebuild_or_adopt("the file was replaced, or written by somebody else")
        else:
            if self._counters.shared:
                shared_state.note_commit(status.sequence)  # as far as all machines have come, not this one alone
            self.live = status.live
            if status.live:
                self._missing_since = 0.0
            else:
                changed = self._await_joins(status.missing)
            if self._monotonic() - self._checkpointed_at >= CHECKPOINT_SECONDS:
                self._checkpointed_at = self._monotonic()
                self._counters.checkpoint()
        return changed

    def check_database(self) -> None:
        """Be of the generation of the database, not an outdated one, and have the shared state that stands there.

        Counters in which a machine that is away has requests in flight for ever are given up as well.
        """
        present, outdated, for_models = self._database.generations()
        due = self._model_cuts.is_due(present, for_models, self._monotonic())
        if present != self.shared_state.generation:
            self.rebuild_or_adopt("the database is of another generation")
        elif outdated >= present:
            self.rebuild_or_adopt("something was posted, or decided, that they know nothing of")
        elif due:
            self.rebuild_or_adopt("a key has a limit for models that they do not know all of")
        elif (lost := self._machines.lost()) is not None:
            self.rebuild_or_adopt(f"machine {lost} is away with requests in flight, which keep others from theirs")
        if not self.shared_state.is_current():
            self.shared_state = self._new_shared_state()
            self._counters.attach(self.shared_state)
            self._rebuild_any("the shared state is gone")

    def rebuild_or_adopt(self, why: str) -> None:
        """New counters have to be: those that another machine has made, or is making, or else our own."""
        shared = self._counters.shared
        if shared is None:
            self._rebuild_any(why)
            return
        present = self._database.generation()
        status, found = self._read_status()
        if status is not None and status.generation == present > self.shared_state.generation:
            self._adopt(shared, status)
            return
        if present > max(self.shared_state.generation, self._known_bad) and self._is_awaited(present):
            return
        self._rebuild(why, present, found)

    def _read_status(self) -> tuple[CountersStatus | None, int]:
        """How the counters stand, None if they are lost, and the generation that was found.

        Raises CountersUnavailable: whoever does not reach them lets those be who may.
        """
        try:
            status = self._counters.status()
        except CountersLost as error:
            return None, error.found
        return status, status.generation

    def _is_awaited(self, generation: int) -> bool:
        """Whether there is still time for its maker to make these counters."""
        if self._awaited[0] != generation:
            self._awaited = (generation, self._monotonic())
        return self._monotonic() - self._awaited[1] < ADOPT_TIMEOUT_SECONDS

    # New ones

    def _rebuild_any(self, why: str) -> None:
        """Whatever stands there, and whoever made it."""
        if self._counters.shared:
            self._rebuild(why, self._database.generation(), self._read_status()[1])
            return
        try:
            found = self._read_status()[1]
        except CountersUnavailable:
            found = 0
        self._rebuild(why, None, found)

    def _rebuild(self, why: str, known: int | None, found: int) -> None:
        """`known`: the generation that the database has to have still, if that matters; `found`: in the counters."""
        shared = self._counters.shared
        cut = self._database.raise_generation(max(found, self.shared_state.generation), known)
        if cut is None:
            # Somebody was quicker; theirs is adopted in a next round.
            self._known_bad = max(self._known_bad, known or 0)
            return
        self._known_bad = cut.generation  # until they are made
        if cut.model_limits:
            self.shared_state.mark_model_limits()
        workers = {one.worker_id: one.end_number for one in cut.journals if shared or one.machine == self._machine}
        self._counters.begin_generation(cut.generation, workers, cut.organizations)
        self._counters.restore_requests(cut.generation, self._recent_buckets())
        self._missing_since = self._monotonic()
        log.warning("new counters, generation %d: %s; %d workers have to join", cut.generation, why, len(workers))

    def _adopt(self, shared: SharedCounters, status: CountersStatus) -> None:
        """Go by counters that were made: by another machine, or by us, if it was not answered that they are."""
        if self._database.has_model_limits():
            self.shared_state.mark_model_limits()
        shared.adopt(status, self._recent_buckets(status.missing))
        self._missing_since = self._monotonic()
        log.warning("going by the counters that were made, generation %d", status.generation)

    def _recent_buckets(self, missing: Sequence[str] = ()) -> list[RateBucket]:
        oldest = self.oldest_second()
        return rate_buckets(recently_closed(self._directory, oldest, missing), oldest)

    def oldest_second(self) -> int:
        """The first second that still weighs for a request rate."""
        return self._counters.moment().second - WINDOW_SECONDS

    # Who has to join

    def _await_joins(self, missing: Sequence[str]) -> bool:
        """Go live if nobody is missing; who is alive and does not join in time is ended, and closed as dead.

        Answers with whether a journal was opened once more, or given up.
        """
        if not missing:
            self._counters.go_live(self.shared_state.generation)
            self._missing_since = 0.0
            return False
        changed = False
        self._missing_since = self._missing_since or self._monotonic()
        if self.shared_state.model_limits:
            self._ask_database()
        late = self._is_late()
        remote = self._machines.remote_workers(missing)
        for worker_id in missing:
            if worker_id in remote:
                continue
            if not lock_path(self._directory, worker_id).exists():
                changed = True
                if journal_reader.segments(self._directory, worker_id):
                    lock_path(self._directory, worker_id).touch(0o600)  # closed since: it is closed once more
                else:
                    self._abandon(worker_id)
            elif late and not self._liveness.is_dead(worker_id):
                self._liveness.kill(worker_id, "it does not join the new counters")
        self._machines.fence(self.shared_state.generation, remote)
        return changed

    def _ask_database(self) -> None:
        """Workers that have to ask it before they can join have time for that from its answer on.

        Raises SQLAlchemyError; then nobody is late.
        """
        self._database.generation()
        at = self._monotonic()
        if at - self._answered_at > DATABASE_GAP_SECONDS:
            self._missing_since = at
        self._answered_at = at

    def _abandon(self, worker_id: str) -> None:
        """A journal of which nothing lies here any more: it was deleted, and with it what had not been imported."""
        log.critical("the journal of worker %s is gone; what was not imported of it is lost", worker_id)
        self._counters.close_worker(WorkerReplay(worker_id, self.shared_state.generation, 0))
        self._database.close(worker_id)
