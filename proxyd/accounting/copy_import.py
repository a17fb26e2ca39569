"""`ledger import`: journals of a machine that will not come back are brought home from a copy of their folder.

What has ended is posted piece by piece, as the machine's own ledger writer would have done it. Then, in one
transaction, what is open is charged as after a crash, nobody waits for these workers any more, and the counters are
declared outdated; new ones begin with the ledger's sums. Whoever is interrupted does it again to the same effect.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct, field

from proxyd.accounting.accounting_state import AccountingDatabase, KnownJournal
from proxyd.accounting.adjustments import Corrections, Ended
from proxyd.accounting.journal_copies import CopiedJournal, ImportRefused, Unusable, read_copy, worker_ids
from proxyd.accounting.ledger import Ledger, ReadCopy
from proxyd.accounting.records import LedgerUnavailable
from shared import money


class Imported(Struct):
    """What was, or would be, imported of a machine."""

    machine: str
    journals: int = 0
    known: int = 0  # of which the ledger has everything
    ended: int = 0  # rows at their true cost
    ended_nanos: int = 0
    crashed: int = 0  # rows of attempts without an END
    crashed_nanos: int = 0
    adjustments: int = 0
    adjusted_nanos: int = 0
    unusable: dict[str, str] = field(default_factory=dict)  # worker -> why
    absent: list[str] = field(default_factory=list)  # workers of the machine of which no copy lies there

    def count(self, found: Corrections, *, of_ends: bool) -> None:
        """Take what is written of some ENDs, or of attempts without one."""
        nanos = sum(settlement.cost_nanos for _, settlement in found.fresh)
        if of_ends:
            self.ended += len(found.fresh)
            self.ended_nanos += nanos
        else:
            self.crashed += len(found.fresh)
            self.crashed_nanos += nanos
        self.adjustments += len(found.adjustments)
        self.adjusted_nanos += sum(adjustment.settlement.cost_nanos for adjustment in found.adjustments)

    def lines(self, *, dry_run: bool) -> Iterator[str]:
        """For people."""
        for worker_id, reason in self.unusable.items():
            yield f"Set aside: the journal of worker {worker_id}: {reason}."
        for worker_id in self.absent:
            yield f"Not there: the journal of worker {worker_id}, which is still waited for."
        verb = "Would be imported" if dry_run else "Imported"
        rows, total = self.ended + self.crashed, _usd(self.ended_nanos + self.crashed_nanos)
        yield f"{verb} from {self.journals} journals of {self.machine}: {rows} rows, {total}."
        if self.crashed:
            estimates = _usd(self.crashed_nanos)
            yield f"{self.crashed} of them, {estimates}, are estimates of what was in flight."
        if self.adjustments:
            yield f"Adjustments of earlier estimates: {self.adjustments}, {_usd(self.adjusted_nanos)}."
        if self.known:
            yield f"{self.known} journals were in the ledger already."
        if not dry_run:
            yield "Next: `flask --app wsgi ledger verify`."


def _usd(nanos: int) -> str:
    return f"{money.to_usd(nanos)} USD"


class CopyImport:
    """Of the journals in one folder, into the ledger of one database. `own_machine` is that of this data directory."""

    def __init__(self, database: AccountingDatabase, ledger: Ledger, own_machine: str | None) -> None:
        self._database = database
        self._ledger = ledger
        self._own_machine = own_machine

    def run(self, directory: Path, named: str | None, *, dry_run: bool) -> Imported:
        """Import what lies in a journal folder; `named` is its machine, if the copy says so.

        Raises ImportRefused, SQLAlchemyError, OSError.
        """
        workers = worker_ids(directory)
        if not workers:
            raise ImportRefused(f"There is no journal in {directory}.")
        known = self._database.journals(workers)
        report = Imported(self._machine(named, known))
        self._refuse_living(report.machine)
        copies = self._read(directory, workers, known, report)
        for copy in copies:
            for ends, _, _ in copy.batches():
                self._count(report, [(attempt, settlement) for _, _, attempt, settlement in ends], of_ends=True)
            self._count(report, copy.open, of_ends=False)
        if not dry_run and copies:
            self._import(copies, report.machine)
        missing = {one.worker_id for one in self._database.open_journals(report.machine) if not one.from_copy}
        report.absent = sorted(missing.difference(workers))
        return report

    def _machine(self, named: str | None, known: dict[str, KnownJournal]) -> str:
        machines = {journal.machine for journal in known.values()} | ({named} if named else set())
        if self._own_machine is not None and self._own_machine in machines:
            raise ImportRefused(
                "These are journals of this very data directory (ROUTER_DATA_DIR); its own proxy brings them home."
            )
        if len(machines) > 1:
            raise ImportRefused(f"These are journals of several machines: {', '.join(sorted(machines))}.")
        if not machines:
            raise ImportRefused(
                "Nothing tells of which machine these journals are; name the whole copied data directory, in which "
                "the file machine_id lies."
            )
        return machines.pop()

    def _refuse_living(self, machine: str) -> None:
        if self._database.live_machines().get(machine):
            raise ImportRefused(
                f"{machine} is there: it was heard of within the last 15 seconds, and imports its journals itself. "
                "Stop it, or let it."
            )

    def _read(
        self, directory: Path, workers: Sequence[str], known: dict[str, KnownJournal], report: Imported
    ) -> list[CopiedJournal]:
        copies = []
        for worker_id in workers:
            journal = known.get(worker_id)
            if journal is not None and journal.closed:
                report.known += 1
                continue
            try:
                copies.append(read_copy(directory, worker_id, journal))
            except Unusable as error:
                report.unusable[worker_id] = str(error)
        report.journals = len(copies)
        return copies

    def _count(self, report: Imported, ended: Sequence[Ended], *, of_ends: bool) -> None:
        report.count(self._ledger.preview(ended), of_ends=of_ends)

    def _import(self, copies: Sequence[CopiedJournal], machine: str) -> None:
        read = []
        for copy in copies:
            self._database.register(copy.worker_id, machine)
            post: Callable[..., int] = self._ledger.correct if copy.from_copy else self._ledger.post
            start = copy.start
            for ends, before, reached in copy.batches():
                _of_others(post, copy.worker_id, ends, before, reached)
                start = reached
            read.append(ReadCopy(copy.worker_id, start, copy.reached, copy.open))
        _of_others(self._ledger.import_copies, read)


def _of_others(post: Callable[..., int], *what: object) -> None:
    """Post. Somebody else may have been quicker, whom we took for dead."""
    try:
        post(*what)
    except LedgerUnavailable as error:
        raise ImportRefused(
            f"Somebody else is importing these journals: {error}. What was imported is in the ledger once; look who it "
            "is, and begin again."
        ) from error
