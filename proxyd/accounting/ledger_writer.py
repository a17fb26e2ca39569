"""The ledger writer, one process a data directory: the only one that writes the ledger and makes new counters.

It does its work in rounds, each bounded: check whether the counters are the right ones and see that there are right
ones (`generations`); import what the journals of this machine tell; recover dead workers, whose journals are ended,
imported and closed; post a heartbeat with what the others hold, if other machines might have to know; tell the counters
of edits whose dashboard died; keep house; add up what workers have refused. Whatever fails is tried again in the next
round, and may be repeated without effect. While it is away nothing is lost: journals grow.
"""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from proxyd.accounting import journal_reader, segment_store
from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.frames import Damaged
from proxyd.accounting.generations import Generations
from proxyd.accounting.importer import Importer
from proxyd.accounting.journal import lock_path
from proxyd.accounting.ledger import Ledger
from proxyd.accounting.machines import Machines
from proxyd.accounting.observing import Observer, WriterStatus
from proxyd.accounting.records import LedgerUnavailable
from proxyd.accounting.recovery import rate_buckets, reopen, replay_of_dead, workers_without_lock
from proxyd.accounting.refusal_importer import RefusalImporter
from proxyd.accounting.worker_liveness import WorkerLiveness
from shared.counters import Counters, CountersUnavailable, RateBucket, SharedState
from shared.database_probe import word_of

log = logging.getLogger(__name__)

IMPORT_SECONDS = 0.5  # for a dead journal in one round
SCAN_SECONDS = 0.5  # between looks which journals there are
HOUSEKEEPING_SECONDS = 1.0  # between looks at what rarely changes
SWEEP_SECONDS = 60.0


class LedgerWriter:
    """Of one data directory. `kill` ends a process outright."""

    def __init__(
        self,
        data_dir: Path,
        machine: str,
        counters: Counters,
        database: AccountingDatabase,
        ledger: Ledger,
        *,
        kill: Callable[[int, int], None] = os.kill,
        monotonic: Callable[[], float] = time.monotonic,
        observer: Observer | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._directory = data_dir / "journals"
        self._machine = machine
        self._counters = counters
        self._database = database
        self._importer = Importer(self._directory, machine, database, ledger, monotonic, observer)
        self._refusals = RefusalImporter(data_dir / "refusals", ledger.engine, monotonic, observer)
        self._liveness = WorkerLiveness(self._directory, kill, monotonic)
        self._machines = Machines(self._directory, machine, counters, database, monotonic)
        self._generations = Generations(
            data_dir, machine, counters, database, self._liveness, self._machines, monotonic
        )
        self._monotonic = monotonic
        self._workers: list[str] = []  # whose journals lie there
        self._scanned_at = float("-inf")
        self._housekept_at = float("-inf")
        self._swept_at = float("-inf")
        self._ended: set[str] = set()  # dead journals that are whole, and end all that began in them
        self.status = WriterStatus(monotonic())  # as the last round left it

    @property
    def shared_state(self) -> SharedState:
        return self._generations.shared_state

    def start(self) -> None:
        """Take over; with a new generation if nothing is alive. Raises SQLAlchemyError or CountersUnavailable."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        alive = self._liveness.alive()
        if not alive:
            self._reopen_unknown()
        self._generations.start(alive=bool(alive))

    def _reopen_unknown(self) -> None:
        """Journals that lie there and that the database does not know as closed: a backup of it was put back."""
        closed = self._database.closed(workers_without_lock(self._directory))
        for worker_id in reopen(self._directory, closed):
            log.warning("the journal of worker %s is imported once more: the database does not know its end", worker_id)
            self._database.register(worker_id, self._machine)

    def round(self) -> int:
        """Do once all there is to do; answers with the ENDs that were imported."""
        imported = self._take_steps(
            self._check_counters,
            self._scan_journals,
            self._import_all,
            self._recover_dead,
            self._heartbeat,
            self._housekeep,
            self._refusals.import_due,
        )
        # Of a journal whose import failed it is not known for a moment how far it has come: at least as far as before.
        known = {worker: number for worker, number in self.status.imported.items() if worker in self._workers}
        known.update((worker, position.end_number) for worker, position in self._importer.positions.items())
        self.status = WriterStatus(
            self.status.caught_up_at,
            known,
            self._generations.reachable,
            self._generations.live,
            self.shared_state.generation,
        )
        return imported

    def _take_steps(self, *steps: Callable[[], int | None]) -> int:
        """Take some steps, whatever becomes of any; answers with the ENDs that were imported."""
        imported = 0
        for step in steps:
            try:
                imported += step() or 0
            except SQLAlchemyError as error:
                log.warning("the database cannot be used, and is asked again: %s", word_of(error))
            except LedgerUnavailable as error:
                log.warning("the ledger is not as it was left, and is looked at again: %s", error)
            except CountersUnavailable as error:
                log.warning("the counters cannot be used, and are tried again: %s", error)
                self._liveness.kill_stuck(self.shared_state)
            except OSError as error:
                log.warning("a journal cannot be read or written, and is tried again: %s", error.strerror)
        return imported

    @property
    def rebuild_pending(self) -> bool:
        """Whether somebody waits for new counters."""
        return self._generations.rebuild_pending

    def leave(self) -> None:
        """Once there will be no more rounds."""
        self._take_steps(self._refusals.import_all)  # what workers have left when they ended
        self._machines.leave()

    # Counters

    def _check_counters(self) -> None:
        if self._generations.check():
            self._scanned_at = float("-inf")

    def _heartbeat(self) -> None:
        """Let other machines know what our workers hold, in case that we should be away when they need it."""
        self._machines.heartbeat(self._workers, self.shared_state.generation if self._generations.reachable else None)

    # Journals

    def _scan_journals(self) -> None:
        """See which journals there are. Not in every round: the folder may hold thousands of segments."""
        at = self._monotonic()
        if at - self._scanned_at >= SCAN_SECONDS:
            self._scanned_at = at
            self._workers = journal_reader.workers(self._directory)
            self._importer.refresh()
            self._terminate_imported()

    def _terminate_imported(self) -> None:
        """Workers that live although a copy of their journal was imported: no counters know them any more."""
        for worker_id in self._workers:
            if self._importer.is_from_copy(worker_id) and not self._liveness.is_dead(worker_id):
                self._liveness.terminate(worker_id, "its journal was imported from a copy while this machine was away")

    def _import_all(self) -> int:
        imported = self._importer.import_all()
        if self._importer.caught_up:
            self.status = replace(self.status, caught_up_at=self._monotonic())
        return imported

    def _recover_dead(self) -> int:
        imported = 0
        for worker_id in self._workers:
            lock = journal_reader.try_lock(self._directory, worker_id)
            if lock is None:
                continue
            try:
                imported += self._recover(worker_id)
            finally:
                os.close(lock)
        return imported

    def _recover(self, worker_id: str) -> int:
        """Finish, import and take out a dead worker's journal; whose lock we hold. A piece of it a round."""
        try:
            if worker_id not in self._ended:
                self._database.register(worker_id, self._machine)
                crashed = journal_reader.end_open_attempts(self._directory, worker_id)
                if crashed:
                    log.warning("worker %s had died with %d attempts in flight", worker_id, crashed)
                self._ended.add(worker_id)
        except (Damaged, journal_reader.ForeignFormat) as error:
            return self._quarantine(worker_id, error)
        imported, whole = self._importer.import_until(worker_id, self._monotonic() + IMPORT_SECONDS)
        if not whole:
            return imported
        unknown: list[RateBucket] = []
        if self._importer.is_from_copy(worker_id):
            # No counters wait for it: they are new ones since, or outdated by what was posted.
            unknown = self._unknown_requests(worker_id)
        else:
            self._close_in_counters(worker_id)
        self._database.close(worker_id)
        self._importer.forget(worker_id)
        self._ended.discard(worker_id)
        if unknown:
            # If this fails, or we die, it is looked at again as one that was closed: in doubt new counters are made.
            self._counters.restore_requests(self.shared_state.generation, unknown)
        lock_path(self._directory, worker_id).unlink(missing_ok=True)
        return imported

    def _close_in_counters(self, worker_id: str) -> None:
        """Take a dead worker, all of whose ENDs are in the ledger, out of the counters with what it held."""
        state = self._counters.worker_state(worker_id)
        tail = journal_reader.read_tail(self._directory, worker_id, 0 if state is None else state.end_number)
        if state is None and tail.last.end_number:
            # It never came into these counters, or we died after taking it out. In doubt the ledger tells.
            self.shared_state.request_rebuild(self.shared_state.generation)
        elif state is not None:
            oldest_second = self._generations.oldest_second()
            limits = self._database.model_limits({record.attempt.key_id for record in tail.ends})
            self._counters.close_worker(
                replay_of_dead(worker_id, self.shared_state.generation, state, tail, oldest_second, limits)
            )

    def _unknown_requests(self, worker_id: str) -> list[RateBucket]:
        """What counters that were made since a copy was imported do not know: its requests of the last minute."""
        if self._counters.worker_state(worker_id) is not None:
            return []  # older ones, which know them; the next are told by its closed journal
        oldest = self._generations.oldest_second()
        begun = journal_reader.read_tail(self._directory, worker_id, 2**63, oldest).begun
        return rate_buckets(begun.values(), oldest)

    def _quarantine(self, worker_id: str, error: Exception) -> int:
        """Import what can be read of a damaged journal, keep its files, and let new counters forget its holds."""
        log.critical("the journal of worker %s is damaged (%s): what can be read is imported", worker_id, error)
        imported, _ = self._importer.import_until(worker_id, float("inf"))
        for path in self._directory.glob(f"{worker_id}.*"):
            path.rename(path.with_name(f"{path.name}.damaged"))
        self._database.close(worker_id)
        self._importer.forget(worker_id)
        self.shared_state.request_rebuild(self.shared_state.generation)
        return imported

    # What rarely changes

    def _housekeep(self) -> None:
        at = self._monotonic()
        if at - self._housekept_at < HOUSEKEEPING_SECONDS:
            return
        self._housekept_at = at
        numbers, keys, orgs = self._database.outbox()
        if numbers:
            self._counters.publish(self.shared_state.generation, keys, orgs)
            self._database.clear_outbox(numbers)
        self._generations.check_database()
        if at - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = at
            self._database.sweep()
            if self._counters.shared is None or self._generations.live:
                # While we are away for others, what was imported has still to be brought to the counters.
                segment_store.sweep(self._directory, self._importer.positions)
