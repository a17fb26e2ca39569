"""The ledger writer, one process a data directory: the only one that writes the ledger and makes new counters.

It does its work in rounds, each bounded: import what the journals of this machine tell; finish, import and close those
of workers that died; look whether the counters are the right ones and make new ones when they are not; tell the
counters of edits whose dashboard died; keep house. Whatever fails is tried again in the next round, and may be repeated
without effect. While it is away nothing is lost: journals grow.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from proxyd.accounting import journal_reader, segment_store
from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.closing import closed_lately, closing, reopen, unlocked, used
from proxyd.accounting.frames import Damaged
from proxyd.accounting.importer import Importer
from proxyd.accounting.journal import lock_path
from proxyd.accounting.ledger import Ledger
from proxyd.accounting.living import Living
from proxyd.accounting.records import LedgerUnavailable
from shared.counters import (
    WINDOW_SECONDS,
    Counters,
    CountersLost,
    CountersUnavailable,
    Joining,
    Page,
    PageMissing,
    boot_id,
)

log = logging.getLogger(__name__)

IMPORT_SECONDS = 0.5  # for a dead journal in one round
JOIN_SECONDS = 5.0  # for living workers to join new counters; then they are ended
LOOK_SECONDS = 0.5  # between looks which journals there are
SLOW_SECONDS = 1.0  # between looks at what rarely changes
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
    ) -> None:
        self._data_dir = data_dir
        self._directory = data_dir / "journals"
        self._machine = machine
        self._counters = counters
        self._database = database
        self._importer = Importer(self._directory, machine, database, ledger, monotonic)
        self._living = Living(self._directory, kill, monotonic)
        self._monotonic = monotonic
        self._missing_since = 0.0
        self._workers: list[str] = []  # whose journals lie there
        self._looked_at = float("-inf")
        self._slow_at = float("-inf")
        self._swept_at = float("-inf")
        self._folded_at = float("-inf")
        self._finished: set[str] = set()  # dead journals that are whole, and end all that began in them
        self.page: Page

    def start(self) -> None:
        """Take over; with a new generation if nothing is alive. Raises SQLAlchemyError or CountersUnavailable."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        alive = self._living.all()
        page = self._page_of_the_living() if alive else None
        self.page = page or Page.create(self._data_dir, boot_id())
        self._counters.attach(self.page)
        if page is None:
            if not alive:
                self._take_back_closed()
            self._make_new("the page is gone" if alive else "everything starts")

    def _take_back_closed(self) -> None:
        """Journals that lie there and that the database does not know as closed: a backup of it was put back."""
        closed = self._database.closed(unlocked(self._directory))
        for worker_id in reopen(self._directory, closed):
            log.warning("the journal of worker %s is imported once more: the database does not know its end", worker_id)
            self._database.register(worker_id, self._machine)

    def _page_of_the_living(self) -> Page | None:
        try:
            return Page.open(self._data_dir, boot_id())
        except PageMissing:
            return None

    def round(self) -> int:
        """Do once all there is to do; answers with the ENDs that were imported."""
        imported = 0
        for step in (self._watch, self._look_around, self._import_all, self._close_dead, self._slow):
            try:
                imported += step() or 0
            except SQLAlchemyError as error:
                log.warning("the database does not answer, and is asked again: %s", type(error).__name__)
            except LedgerUnavailable as error:
                log.warning("the ledger is not as it was left, and is looked at again: %s", error)
            except CountersUnavailable as error:
                log.warning("the counters do not answer, and are asked again: %s", error)
                self._living.end_who_is_stuck(self.page)
            except OSError as error:
                log.warning("a journal cannot be read or written, and is tried again: %s", error.strerror)
        return imported

    @property
    def hurried(self) -> bool:
        """Whether somebody waits for new counters."""
        return self.page.asked >= self.page.generation or self._missing_since > 0.0

    # Journals

    def _look_around(self) -> None:
        """See which journals there are. Not in every round: the folder may hold thousands of segments."""
        at = self._monotonic()
        if at - self._looked_at >= LOOK_SECONDS:
            self._looked_at = at
            self._workers = journal_reader.workers(self._directory)
            self._importer.look()

    def _import_all(self) -> int:
        return self._importer.import_all()

    def _close_dead(self) -> int:
        imported = 0
        for worker_id in self._workers:
            lock = journal_reader.claim(self._directory, worker_id)
            if lock is None:
                continue
            try:
                imported += self._close(worker_id)
            finally:
                os.close(lock)
        return imported

    def _close(self, worker_id: str) -> int:
        """Finish, import and take out a dead worker's journal; whose lock we hold. A piece of it a round."""
        try:
            if worker_id not in self._finished:
                self._database.register(worker_id, self._machine)
                crashed = journal_reader.finish(self._directory, worker_id)
                if crashed:
                    log.warning("worker %s had died with %d attempts in flight", worker_id, crashed)
                self._finished.add(worker_id)
        except (Damaged, journal_reader.ForeignFormat) as error:
            return self._set_aside(worker_id, error)
        imported, whole = self._importer.import_until(worker_id, self._monotonic() + IMPORT_SECONDS)
        if not whole:
            return imported
        state = self._counters.worker_state(worker_id)
        tail = journal_reader.read_tail(self._directory, worker_id, 0 if state is None else state.end_number)
        if state is None and tail.last.end_number:
            # It never came into these counters, or we died after taking it out. In doubt the ledger tells.
            self.page.ask(self.page.generation)
        elif state is not None:
            self._counters.close_worker(closing(worker_id, self.page.generation, state, tail, self._oldest_second()))
        self._database.close(worker_id)
        self._importer.forget(worker_id)
        self._finished.discard(worker_id)
        lock_path(self._directory, worker_id).unlink(missing_ok=True)
        return imported

    def _set_aside(self, worker_id: str, error: Exception) -> int:
        """Import what can be read of a damaged journal, keep its files, and let new counters forget its holds."""
        log.critical("the journal of worker %s is damaged (%s): what can be read is imported", worker_id, error)
        imported, _ = self._importer.import_until(worker_id, float("inf"))
        for path in self._directory.glob(f"{worker_id}.*"):
            path.rename(path.with_name(f"{path.name}.damaged"))
        self._database.close(worker_id)
        self._importer.forget(worker_id)
        self.page.ask(self.page.generation)
        return imported

    def _oldest_second(self) -> int:
        return self._counters.moment().second - WINDOW_SECONDS

    # Counters

    def _watch(self) -> None:
        """Make new counters when these are wrong; let them go live when everybody has joined."""
        page = self.page
        if page.asked >= page.generation:
            self._make_new("a worker found them as it had not left them")
            return
        sequence = page.sequence  # read first: what is committed between two looks is no older copy
        try:
            condition = self._counters.condition()
        except CountersLost as error:
            self._make_new(str(error))
            return
        if condition.generation != page.generation or condition.sequence < sequence:
            self._make_new("an older copy, or others, stand there")
        elif not self._counters.right:
            self._make_new("the file was replaced, or written by somebody else")
        else:
            if not condition.live:
                self._wait_for(condition.missing)
            if self._monotonic() - self._folded_at >= SLOW_SECONDS:
                self._folded_at = self._monotonic()
                self._counters.fold_log()

    def _make_new(self, why: str) -> None:
        try:
            found = self._counters.condition().generation
        except CountersLost as error:
            found = error.found
        except CountersUnavailable:
            found = 0
        generation = self._database.raise_generation(max(found, self.page.generation))
        journals = self._database.open_journals(self._machine)
        self._counters.begin_generation(generation, {j.worker_id: j.cut_end_number for j in journals})
        self._counters.remember(
            generation, used(closed_lately(self._directory, self._oldest_second()), self._oldest_second())
        )
        self._missing_since = self._monotonic()
        log.warning("new counters, generation %d: %s; %d workers have to join", generation, why, len(journals))

    def _wait_for(self, missing: Sequence[str]) -> None:
        """Go live if nobody is missing; who is alive and does not join in time is ended, and closed as dead."""
        if not missing:
            self._counters.go_live(self.page.generation)
            self._missing_since = 0.0
            return
        self._missing_since = self._missing_since or self._monotonic()
        late = self._monotonic() - self._missing_since > JOIN_SECONDS
        for worker_id in missing:
            if not lock_path(self._directory, worker_id).exists():
                if journal_reader.segments(self._directory, worker_id):
                    lock_path(self._directory, worker_id).touch(0o600)  # closed since: it is closed once more
                    self._looked_at = float("-inf")
                else:
                    self._give_up(worker_id)
            elif late and not self._living.is_dead(worker_id):
                self._living.end(worker_id, "it does not join the new counters")

    def _give_up(self, worker_id: str) -> None:
        """A journal of which nothing lies here any more: it was deleted, and with it what had not been imported."""
        log.critical("the journal of worker %s is gone; what was not imported of it is lost", worker_id)
        self._counters.close_worker(Joining(worker_id, self.page.generation, 0))
        self._database.close(worker_id)
        self._importer.forget(worker_id)

    # What rarely changes

    def _slow(self) -> None:
        at = self._monotonic()
        if at - self._slow_at < SLOW_SECONDS:
            return
        self._slow_at = at
        numbers, keys, orgs = self._database.outbox()
        if numbers:
            self._counters.publish(self.page.generation, keys, orgs)
            self._database.clear_outbox(numbers)
        if self._database.generation() != self.page.generation:
            self._make_new("the database is of another generation")
        if not self.page.stands():
            self.page = Page.create(self._data_dir, boot_id())
            self._counters.attach(self.page)
            self._make_new("the page is gone")
        if at - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = at
            self._database.sweep()
            segment_store.sweep(self._directory, self._importer.positions)
