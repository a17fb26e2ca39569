"""The journal of one worker: what it is about to send, and how that ended, written before anything depends on it.

Append-only segments, preallocated, so that what was begun can be ended on a disk that is full meanwhile. One write for
all BEGINs of a batch before any of them is sent; one for each END before the last byte of its answer is handed over.
A write survives `kill -9` of every process as soon as it returns (the page cache does); `sync` adds the disk.

The worker holds a `flock` for as long as it lives, on a file that names its process. Whoever gets that lock knows that
it is dead; no clock and no lease decides. What is written here is read by `journal_reader`.
"""

import errno
import fcntl
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from ulid import ULID

from proxyd.accounting import frames
from proxyd.accounting.records import Attempt, EndRecord, Settlement

log = logging.getLogger(__name__)

SEGMENT_BYTES = 1024 * 1024
RESERVE_BYTES = 2048  # of a segment, for the END of each attempt that is open
# A BEGIN that is this many segments old and still open is written again, so that the end of a journal tells all that
# is open, and older segments may go.
CARRY_SEGMENTS = 4


class JournalUnavailable(Exception):
    """The journal cannot be written (disk full, read-only, gone): metered traffic must be refused."""


class Journal:
    """An open journal. Used from one thread; nothing in it yields to the event loop."""

    def __init__(self, directory: Path, *, sync: bool = False) -> None:
        """Raises JournalUnavailable."""
        self.directory = directory
        self.end_number = 0  # of the last END
        self._sync = sync
        self.open: dict[int, tuple[int, Attempt]] = {}  # what has not ended: seq -> segment of its BEGIN, attempt
        self._progress: dict[int, int] = {}  # seq -> nanos, of those that are open
        self._segment = 0
        self._file = -1
        self._size = 0
        self._position = 0
        self._crc_seed = 0
        try:
            self.worker_id, self._lock = _lock_new(directory)
        except OSError as error:
            raise JournalUnavailable(_reason(error)) from error
        try:
            self._next_segment()
        except JournalUnavailable:
            lock_path(directory, self.worker_id).unlink(missing_ok=True)  # nothing was begun
            self.close()
            raise

    def begin(self, attempts: Iterable[tuple[int, Attempt]]) -> None:
        """Write BEGIN of these, all or none, in one write. Raises JournalUnavailable."""
        begun = list(attempts)
        data = b"".join([frames.begin(self._crc_seed, seq, attempt) for seq, attempt in begun])
        reserve = RESERVE_BYTES * (len(self.open) + len(begun))
        if self._position + len(data) + reserve > self._size:
            self._next_segment(len(begun))
            data = b"".join([frames.begin(self._crc_seed, seq, attempt) for seq, attempt in begun])
        try:
            if os.fstat(self._file).st_nlink == 0:
                raise JournalUnavailable("its file was deleted")
            _write_all(self._file, data, self._position)
            if self._sync:
                os.fdatasync(self._file)
        except OSError as error:
            self._undo(len(data))
            raise JournalUnavailable(_reason(error)) from error
        self._position += len(data)
        for seq, attempt in begun:
            self.open[seq] = (self._segment, attempt)

    def end(self, seq: int, settlement: Settlement | None) -> EndRecord:
        """Write the END of an attempt; None: nothing of it was sent. Raises JournalUnavailable; then it stays open."""
        attempt = self.open[seq][1]
        record = EndRecord(self.end_number + 1, seq, attempt, settlement)
        data = frames.end(self._crc_seed, record)
        if self._position + len(data) > self._size:
            self._next_segment()
            data = frames.end(self._crc_seed, record)
        try:
            _write_all(self._file, data, self._position)
        except OSError as error:
            self._undo(len(data))
            raise JournalUnavailable(_reason(error)) from error
        self._position += len(data)
        self.end_number += 1
        del self.open[seq]
        self._progress.pop(seq, None)
        return record

    def note_progress(self, seq: int, cost_nanos: int) -> None:
        """Note what an attempt has cost so far, for whoever ends it if we die. Raises JournalUnavailable."""
        data = frames.progress(self._crc_seed, seq, cost_nanos)
        if self._position + len(data) + RESERVE_BYTES * len(self.open) > self._size:
            self._next_segment()
            data = frames.progress(self._crc_seed, seq, cost_nanos)
        try:
            _write_all(self._file, data, self._position)
        except OSError as error:
            self._undo(len(data))
            raise JournalUnavailable(_reason(error)) from error
        self._position += len(data)
        if seq in self.open:
            self._progress[seq] = cost_nanos

    def check(self) -> None:
        """Raise JournalUnavailable unless a BEGIN could be written now."""
        try:
            if os.fstat(self._file).st_nlink == 0 or not self.directory.is_dir():
                raise JournalUnavailable("its file was deleted")
        except OSError as error:
            raise JournalUnavailable(_reason(error)) from error
        if self._position + RESERVE_BYTES * (len(self.open) + 2) > self._size:
            self._next_segment()
        try:
            os.pwrite(self._file, b"\0", self._position)  # what stands there already, if the file can be written
        except OSError as error:
            raise JournalUnavailable(_reason(error)) from error

    def close(self) -> None:
        """Let go of it. The ledger writer takes it from here."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def _undo(self, length: int) -> None:
        """Wipe what a failed write may have left: it lies in space that is ours, so this needs none."""
        try:
            os.pwrite(self._file, b"\0" * min(length, self._size - self._position), self._position)
        except OSError as error:
            log.error("a write to the journal could not be undone: %s", _reason(error))

    def _next_segment(self, more: int = 0) -> None:
        """Go on in a new segment, with room for the ENDs of all that is open and of `more`."""
        number = self._segment + 1
        seed = frames.crc_seed(f"{self.worker_id}.{number}")
        carried = [(seq, a) for seq, (begun, a) in self.open.items() if begun <= number - CARRY_SEGMENTS]
        data = frames.header(seed, number, self.end_number)
        data += b"".join([frames.begin(seed, seq, attempt) for seq, attempt in carried])
        noted = [(seq, self._progress[seq]) for seq, _ in carried if seq in self._progress]
        data += b"".join([frames.progress(seed, seq, nanos) for seq, nanos in noted])
        size = max(SEGMENT_BYTES, len(data) + 2 * RESERVE_BYTES * (len(self.open) + more + 1))
        # Whoever reads the segment before takes this one's name to mean that no more comes there. So it has its name
        # only once it is ready to be written to.
        path = segment_path(self.directory, self.worker_id, number)
        draft = path.with_suffix(".draft")
        file = -1
        try:
            file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            os.posix_fallocate(file, 0, size)
            _write_all(file, data, 0)
            draft.rename(path)
        except OSError as error:
            if file >= 0:
                os.close(file)
                draft.unlink(missing_ok=True)
            raise JournalUnavailable(_reason(error)) from error
        if self._file >= 0:
            os.close(self._file)
        self._file, self._crc_seed, self._segment = file, seed, number
        self._size, self._position = size, len(data)
        for seq, attempt in carried:
            self.open[seq] = (number, attempt)


def _write_all(file: int, data: bytes, position: int) -> None:
    if os.pwrite(file, data, position) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def segment_path(directory: Path, worker_id: str, number: int) -> Path:
    return directory / f"{worker_id}.{number:08d}.journal"


def lock_path(directory: Path, worker_id: str) -> Path:
    return directory / f"{worker_id}.lock"


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _lock_new(directory: Path) -> tuple[str, int]:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        worker_id = str(ULID())
        path = lock_path(directory, worker_id)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_nlink == 0:
                os.close(lock)  # it was so quick that the name is gone already
                continue
            os.write(lock, f"{os.getpid()}\n".encode())
        except BlockingIOError:
            os.close(lock)  # the ledger writer was quicker; it removes the empty name
            continue
        except OSError:
            os.close(lock)
            path.unlink(missing_ok=True)
            raise
        return worker_id, lock
