"""Importing journals of this machine into the ledger, each a bounded batch at a time.

One of which a copy was imported, because this machine was given up, is read on only once its worker has ended: what it
tells beyond the copy costs all machines new counters, and so comes at once and not bit by bit.

Which journals there are, and how far they have been read, stands in the database. A journal whose import has failed is
forgotten until the next `refresh`: whether it was committed is asked there.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from proxyd.accounting import journal_reader
from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.journal_reader import Position
from proxyd.accounting.ledger import Ledger
from proxyd.accounting.observing import Nobody, Observer

MAX_BATCH_ENDS = 2_000  # of a journal at once, and so of one transaction


class Importer:
    """Knows how far each journal of a machine that is not closed has been read."""

    def __init__(
        self,
        directory: Path,
        machine: str,
        database: AccountingDatabase,
        ledger: Ledger,
        monotonic: Callable[[], float],
        observer: Observer | None = None,
    ) -> None:
        self._directory = directory
        self._machine = machine
        self._database = database
        self._ledger = ledger
        self._monotonic = monotonic
        self._positions: dict[str, Position] = {}
        self._from_copy: set[str] = set()
        self._observer = observer or Nobody()
        self._more = False  # a batch was full, so that there may be more to read
        self._in_doubt = False  # an import has failed, and the database was not asked since

    @property
    def positions(self) -> Mapping[str, Position]:
        return self._positions

    @property
    def caught_up(self) -> bool:
        """Whether the last `import_all` has brought home all that the journals told."""
        return not self._more and not self._in_doubt

    def is_from_copy(self, worker_id: str) -> bool:
        """Whether a copy of this journal was imported."""
        return worker_id in self._from_copy

    def refresh(self) -> None:
        """Ask the database which journals are open. How far we have come with those that we know, we know better."""
        found = {journal.worker_id: journal for journal in self._database.open_journals(self._machine)}
        self._positions = {
            worker_id: self._positions.get(worker_id, journal.imported) for worker_id, journal in found.items()
        }
        self._from_copy = {worker_id for worker_id, journal in found.items() if journal.from_copy}
        self._in_doubt = False

    def import_all(self) -> int:
        """A batch of each journal; answers with how many ENDs."""
        counts = [self.import_batch(worker) for worker in list(self._positions) if worker not in self._from_copy]
        self._more = any(count >= MAX_BATCH_ENDS for count in counts)
        return sum(counts)

    def import_batch(self, worker_id: str) -> int:
        """What a journal tells next, in one transaction; how many ENDs."""
        start = self._positions[worker_id]
        ends, reached = journal_reader.read_ends(self._directory, worker_id, start, MAX_BATCH_ENDS)
        if not ends:
            return 0
        try:
            if worker_id in self._from_copy:
                self._ledger.correct(worker_id, ends, start, reached)
            else:
                self._ledger.post(worker_id, ends, start, reached)
        except BaseException:
            self.forget(worker_id)
            self._in_doubt = True
            raise
        self._positions[worker_id] = reached
        self._observer.on_ends(ends)
        return len(ends)

    def import_until(self, worker_id: str, ends_at: float) -> tuple[int, bool]:
        """All that a journal tells, until a moment; the ENDs, and whether it was all. Nothing if it is not open."""
        if worker_id not in self._positions:
            self.refresh()
        imported = 0
        while worker_id in self._positions and (batch := self.import_batch(worker_id)):
            imported += batch
            if self._monotonic() >= ends_at:
                return imported, False
        return imported, True

    def forget(self, worker_id: str) -> None:
        """It is closed, or it is not known how far it has been read."""
        self._positions.pop(worker_id, None)
