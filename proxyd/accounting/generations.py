"""Which counters are the right ones: found at a start, watched, made anew, and let go live once everybody is in.

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
from proxyd.accounting.closing import closed_lately, used
from proxyd.accounting.journal import lock_path
from proxyd.accounting.living import Living
from proxyd.accounting.machines import Machines
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

JOIN_SECONDS = 5.0  # for living workers to join new counters; then they are ended
FOLD_SECONDS = 1.0
THEIRS_SECONDS = 2.0  # for the counters of a generation that another machine has raised; then its maker has died


class Generations:
    """Of one data directory."""

    def __init__(
        self,
        data_dir: Path,
        machine: str,
        counters: Counters,
        database: AccountingDatabase,
        living: Living,
        machines: Machines,
        monotonic: Callable[[], float],
    ) -> None:
        self._data_dir = data_dir
        self._directory = data_dir / "journals"
        self._machine = machine
        self._counters = counters
        self._database = database
        self._living = living
        self._machines = machines
        self._monotonic = monotonic
        self._missing_since = 0.0
        self._folded_at = float("-inf")
        self._bad = 0  # the latest generation whose counters are known not to be, or no more, the right ones
        self._awaited = (0, 0.0)  # a generation that another machine has raised, and since when it is waited for
        self.reached = False  # whether the counters answered the last time
        self.live = False  # whether they were the right ones then, and complete
        self.shared_state: SharedState

    @property
    def hurried(self) -> bool:
        """Whether somebody waits for new counters, and it is not for a machine that is away."""
        if self.shared_state.rebuild_requested >= self.shared_state.generation:
            return True
        return self._missing_since > 0.0 and not (self._counters.shared and self._is_late())

    def _is_late(self) -> bool:
        return self._monotonic() - self._missing_since > JOIN_SECONDS

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
            self._renew_all("the shared state is gone")
        elif self._counters.shared and self._machines.others_are_there():
            # What stands there is right if they say so. Without one of them nobody could say.
            self.renew("a machine starts")
        else:
            self._renew_all("everything starts")

    def _new_shared_state(self) -> SharedState:
        return SharedState.create(self._data_dir, boot_id(), self._database.installation())

    def _existing_shared_state(self) -> SharedState | None:
        try:
            return SharedState.open(self._data_dir, boot_id())
        except SharedStateMissing:
            return None

    # Watching

    def watch(self) -> bool:
        """Make new counters when these are wrong; let them go live when everybody has joined.

        Answers with whether the journals that are open have changed.
        """
        self.reached = self.live = False
        changed = self._watch()
        self.reached = True
        return changed

    def _watch(self) -> bool:
        shared_state = self.shared_state
        if shared_state.rebuild_requested >= shared_state.generation:
            self.renew("a worker found them as it had not left them")
            return False
        sequence = shared_state.sequence  # read first: what is committed between two looks is no older copy
        try:
            status = self._counters.status()
        except CountersLost as error:
            self.renew(str(error))
            return False
        changed = False
        if status.generation != shared_state.generation or status.sequence < sequence:
            self.renew("an older copy, or others, stand there")
        elif not self._counters.intact:
            self.renew("the file was replaced, or written by somebody else")
        else:
            if self._counters.shared:
                shared_state.note_commit(status.sequence)  # as far as all machines have come, not this one alone
            self.live = status.live
            if status.live:
                self._missing_since = 0.0
            else:
                changed = self._wait_for(status.missing)
            if self._monotonic() - self._folded_at >= FOLD_SECONDS:
                self._folded_at = self._monotonic()
                self._counters.checkpoint()
        return changed

    def check_database(self) -> None:
        """Be of the generation of the database, not an outdated one, and have the shared state that stands there."""
        present, outdated = self._database.generations()
        if present != self.shared_state.generation:
            self.renew("the database is of another generation")
        elif outdated >= present:
            self.renew("the journals of a machine that was given up were imported")
        if not self.shared_state.is_current():
            self.shared_state = self._new_shared_state()
            self._counters.attach(self.shared_state)
            self._renew_all("the shared state is gone")

    def renew(self, why: str) -> None:
        """New counters have to be: those that another machine has made, or is making, or else our own."""
        shared = self._counters.shared
        if shared is None:
            self._renew_all(why)
            return
        present = self._database.generation()
        status, found = self._look()
        if status is not None and status.generation == present > self.shared_state.generation:
            self._follow(shared, status)
            return
        if present > max(self.shared_state.generation, self._bad) and self._awaits(present):
            return
        self._make_new(why, present, found)

    def _look(self) -> tuple[CountersStatus | None, int]:
        """How the counters stand, None if they are lost, and the generation that was found.

        Raises CountersUnavailable: whoever does not reach them lets those be who may.
        """
        try:
            status = self._counters.status()
        except CountersLost as error:
            return None, error.found
        return status, status.generation

    def _awaits(self, generation: int) -> bool:
        """Whether there is still time for its maker to make these counters."""
        if self._awaited[0] != generation:
            self._awaited = (generation, self._monotonic())
        return self._monotonic() - self._awaited[1] < THEIRS_SECONDS

    # New ones

    def _renew_all(self, why: str) -> None:
        """Whatever stands there, and whoever made it."""
        if self._counters.shared:
            self._make_new(why, self._database.generation(), self._look()[1])
            return
        try:
            found = self._look()[1]
        except CountersUnavailable:
            found = 0
        self._make_new(why, None, found)

    def _make_new(self, why: str, known: int | None, found: int) -> None:
        """`known`: the generation that the database has to have still, if that matters; `found`: in the counters."""
        shared = self._counters.shared
        cut = self._database.raise_generation(max(found, self.shared_state.generation), known)
        if cut is None:
            self._bad = max(self._bad, known or 0)  # somebody was quicker; theirs is followed in a next round
            return
        self._bad = cut.generation  # until they are made
        workers = {one.worker_id: one.end_number for one in cut.journals if shared or one.machine == self._machine}
        self._counters.begin_generation(cut.generation, workers)
        self._counters.restore_requests(cut.generation, self._used_lately())
        self._missing_since = self._monotonic()
        log.warning("new counters, generation %d: %s; %d workers have to join", cut.generation, why, len(workers))

    def _follow(self, shared: SharedCounters, status: CountersStatus) -> None:
        """Go by counters that were made: by another machine, or by us, if it was not answered that they are."""
        shared.adopt(status, self._used_lately(status.missing))
        self._missing_since = self._monotonic()
        log.warning("going by the counters that were made, generation %d", status.generation)

    def _used_lately(self, missing: Sequence[str] = ()) -> list[RateBucket]:
        oldest = self.oldest_second()
        return used(closed_lately(self._directory, oldest, missing), oldest)

    def oldest_second(self) -> int:
        """The first second that still weighs for a request rate."""
        return self._counters.moment().second - WINDOW_SECONDS

    # Who has to join

    def _wait_for(self, missing: Sequence[str]) -> bool:
        """Go live if nobody is missing; who is alive and does not join in time is ended, and closed as dead.

        Answers with whether a journal was opened once more, or given up.
        """
        if not missing:
            self._counters.go_live(self.shared_state.generation)
            self._missing_since = 0.0
            return False
        changed = False
        self._missing_since = self._missing_since or self._monotonic()
        late = self._is_late()
        elsewhere = self._machines.elsewhere(missing)
        for worker_id in missing:
            if worker_id in elsewhere:
                continue
            if not lock_path(self._directory, worker_id).exists():
                changed = True
                if journal_reader.segments(self._directory, worker_id):
                    lock_path(self._directory, worker_id).touch(0o600)  # closed since: it is closed once more
                else:
                    self._give_up(worker_id)
            elif late and not self._living.is_dead(worker_id):
                self._living.end(worker_id, "it does not join the new counters")
        self._machines.fence(self.shared_state.generation, elsewhere)
        return changed

    def _give_up(self, worker_id: str) -> None:
        """A journal of which nothing lies here any more: it was deleted, and with it what had not been imported."""
        log.critical("the journal of worker %s is gone; what was not imported of it is lost", worker_id)
        self._counters.close_worker(WorkerReplay(worker_id, self.shared_state.generation, 0))
        self._database.close(worker_id)
