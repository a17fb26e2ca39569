"""Journals in a copied folder: which of them can be brought home, and what that adds to the ledger.

A copy is only read. It is taken for what it seems to be, the beginning of a journal of a machine that was given up, if
all of it is whole and it goes on where the ledger has stopped reading. What has no END in it is charged as after a
crash; should the machine come back, its journal goes on where the copy ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from proxyd.accounting import journal_reader
from proxyd.accounting.accounting_state import KnownJournal
from proxyd.accounting.frames import Damaged
from proxyd.accounting.journal_reader import ForeignFormat, Position
from proxyd.accounting.ledger_rows import Line
from proxyd.accounting.machine import machine_there
from proxyd.accounting.records import EndRecord, crashed
from shared.counters import WRITER_LOCK

MAX_BATCH_ENDS = 2_000  # in memory at once, and of one transaction


class ImportRefused(Exception):
    """Nothing was imported; the text is a sentence for people."""


class Unusable(Exception):
    """A copied journal cannot be brought home; the text says why, for people."""


class CopiedFolder(Struct, frozen=True):
    """A folder of journals, and the machine whose it was, if the data directory around it says so."""

    journals: Path
    machine: str | None


@contextmanager
def open_copy(path: Path, own_data_dir: Path) -> Iterator[CopiedFolder]:
    """A copied data directory, or its journal folder, which nobody may begin to use meanwhile.

    Raises ImportRefused if it is none, or if a router runs on it, and OSError.
    """
    data_dir = path if (path / "journals").is_dir() or path.name != "journals" else path.parent
    journals = path if data_dir != path or not (path / "journals").is_dir() else path / "journals"
    if not path.is_dir():
        raise ImportRefused(f"There is no directory {path}.")
    if own_data_dir.exists() and data_dir.samefile(own_data_dir):
        raise ImportRefused(f"{path} is this router's own ROUTER_DATA_DIR; its proxy imports what lies there.")
    if older := sorted(journals.glob("*.db")):
        raise ImportRefused(
            f"{older[0].name} is a journal of an older release; only a proxy that is started on its data directory can "
            "import it."
        )
    with ExitStack() as stack:
        for lock in (data_dir / WRITER_LOCK, *journals.glob("*.lock")):
            stack.enter_context(_shared_lock(lock))
        yield CopiedFolder(journals, machine_there(data_dir))


@contextmanager
def _shared_lock(lock: Path) -> Iterator[None]:
    """Share a lock, if there is one, so that whoever needs it alone does not get it."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)  # a copy may be of a disk that cannot be written
    except FileNotFoundError:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ImportRefused(
                f"A router is running on {lock.parent} ({lock.name} is locked): it imports its journals itself."
            ) from error
        yield
    finally:
        os.close(descriptor)


class CopiedJournal(Struct, frozen=True):
    """One that can: from where to where it has to be read, and what is open at its end."""

    directory: Path
    worker_id: str
    start: Position  # up to here the ledger has it
    reached: Position
    open: tuple[Line, ...]  # as they are charged
    from_copy: bool  # an earlier copy of it was imported before

    def batches(self) -> Iterator[tuple[list[EndRecord], Position, Position]]:
        """Its ENDs that the ledger lacks, a bounded number at a time, and the positions before and after them."""
        start = self.start
        while True:
            ends, reached = journal_reader.read_ends(self.directory, self.worker_id, start, MAX_BATCH_ENDS)
            if not ends:
                return
            yield ends, start, reached
            start = reached


def worker_ids(directory: Path) -> list[str]:
    """Of all journals that lie there, oldest first; also of those that were closed and are kept for a day."""
    closed = {path.name.partition(".")[0] for path in directory.glob("*.journal")}
    return sorted(closed.union(journal_reader.workers(directory)))


def read_copy(directory: Path, worker_id: str, known: KnownJournal | None) -> CopiedJournal:
    """Judge a copied journal; `known` is what the database has of it. Raises Unusable, OSError."""
    start = Position() if known is None else known.imported
    try:
        journal_reader.check_whole(directory, worker_id)
        tail = journal_reader.read_tail(directory, worker_id, above=2**63)
    except Damaged as error:
        raise Unusable(f"it is {error}") from error
    except ForeignFormat as error:
        raise Unusable(f"it was written by another release ({error})") from error
    _refuse_gaps(directory, worker_id, known)
    reached = _read_to_end(directory, worker_id, start)
    if (reached.segment, reached.position) != (tail.last.segment, tail.last.position):
        raise Unusable("it is older than what the ledger has of this journal already")
    return CopiedJournal(
        directory,
        worker_id,
        start,
        reached,
        tuple((attempt, crashed(attempt, tail.progress.get(seq))) for seq, attempt in sorted(tail.open.items())),
        from_copy=known is not None and known.from_copy,
    )


def _refuse_gaps(directory: Path, worker_id: str, known: KnownJournal | None) -> None:
    start = Position() if known is None else known.imported
    numbers = journal_reader.segments(directory, worker_id)
    needed = range(start.segment, max([start.segment, *numbers]) + 1)
    missing = [number for number in needed if number not in numbers]
    if missing and (numbers or known is not None):  # a worker has none if it died before it was entered
        raise Unusable(f"its segment {missing[0]:08d} is not there")


def _read_to_end(directory: Path, worker_id: str, start: Position) -> Position:
    """Where its records end. Raises Unusable if one is missing in between, as when it was copied while it grew."""
    position = start
    while True:
        ends, reached = journal_reader.read_ends(directory, worker_id, position, MAX_BATCH_ENDS)
        expected = range(position.end_number + 1, position.end_number + 1 + len(ends))
        if any(end.number != number for end, number in zip(ends, expected, strict=True)):
            raise Unusable("records are missing in it; was it copied while its router ran?")
        if not ends:
            return reached
        position = reached
