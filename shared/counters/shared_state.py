"""A page of memory shared by the processes of a data directory: which counters are the right ones.

The counters themselves cannot tell that somebody put back an older copy of them. So every writer notes here, after its
commit, how far they had come, and compares before the next one: what stands behind that is refused. It also says which
file is theirs (so that a copied one is told from the real one), whether a rebuild was requested, and which process is
inside a transaction, so that one which hangs there can be ended.

Slots are unsigned 64-bit numbers, each written in one piece by one instruction; there is no lock. Two writers may
overtake each other by one step, which no more than one lost transaction could hide behind, and that one's own worker
knows its number.
"""

import fcntl
import hashlib
import mmap
import os
from pathlib import Path

from shared.counters import datafile

FILE_NAME = "accounting.page"
WRITER_LOCK = "ledger_writer.lock"  # held by the one ledger writer of a data directory, for as long as it lives
_BYTES = 4096
_MAGIC = 0x45524143_50470001
_BOOT, _GENERATION, _INODE, _MODIFIED, _CHANGING, _SEQUENCE = range(1, 7)
_REBUILD_REQUESTED, _TRANSACTION_PID, _STARTED, _INSTALLATION, _MODEL_LIMITS = range(7, 12)


class SharedStateMissing(Exception):
    """There is none: no ledger writer has run in this data directory, or it is of another release."""


class SharedState:
    """Of one data directory, mapped from its file. Reading and writing a slot costs no system call."""

    def __init__(self, path: Path, memory: mmap.mmap, inode: int) -> None:
        self.path = path
        self._memory = memory
        self._slots = memoryview(memory).cast("Q")
        self._inode = inode

    @classmethod
    def create(cls, data_dir: Path, boot: str, installation: int = 0) -> "SharedState":
        """A fresh one in the place of any older one. For the ledger writer, at the start of everything."""
        path = data_dir / FILE_NAME
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            file.write(b"\0" * _BYTES)
            file.flush()
            shared_state = cls._map(path, file.fileno())
        shared_state._slots[_INSTALLATION] = installation  # noqa: SLF001 - its own class
        shared_state.mark_complete(boot)
        draft.rename(path)
        return shared_state

    @classmethod
    def open(cls, data_dir: Path, boot: str) -> "SharedState":
        """The one that stands there. Raises SharedStateMissing."""
        path = data_dir / FILE_NAME
        try:
            with path.open("r+b") as file:
                if os.fstat(file.fileno()).st_size != _BYTES:
                    raise SharedStateMissing("it is of another size")
                shared_state = cls._map(path, file.fileno())
        except OSError as error:
            raise SharedStateMissing(type(error).__name__) from error
        if not shared_state.is_of_boot(boot):
            raise SharedStateMissing("it is of another boot of the machine")
        return shared_state

    @classmethod
    def _map(cls, path: Path, descriptor: int) -> "SharedState":
        return cls(path, mmap.mmap(descriptor, _BYTES), os.fstat(descriptor).st_ino)

    def mark_complete(self, boot: str) -> None:
        """It is complete, and of this boot of the machine."""
        self._slots[_BOOT] = _number_of(boot)
        self._slots[0] = _MAGIC

    def is_of_boot(self, boot: str) -> bool:
        """Whether it is of this release, and was made in this boot of the machine."""
        return self._slots[0] == _MAGIC and self._slots[_BOOT] == _number_of(boot)

    def is_current(self) -> bool:
        """Whether the file at our path is still this one."""
        try:
            return self.path.stat().st_ino == self._inode
        except OSError:
            return False

    @property
    def installation(self) -> int:
        """Whose counters they are; 0 if that is not known."""
        return self._slots[_INSTALLATION]

    @property
    def generation(self) -> int:
        """Of the counters that are the right ones; 0 before there are any."""
        return self._slots[_GENERATION]

    @property
    def sequence(self) -> int:
        """How far they had come at the last commit that was noted."""
        return self._slots[_SEQUENCE]

    def note_commit(self, sequence: int) -> None:
        """A transaction was committed."""
        self._slots[_SEQUENCE] = max(self._slots[_SEQUENCE], sequence)

    def file_identity(self) -> tuple[int, int]:
        """Inode and time of the last change (ns) of the counters' main file."""
        return self._slots[_INODE], self._slots[_MODIFIED]

    def matches_file(self, name: str) -> bool:
        """Whether what stands at a path is the right file, or is just being written to by its keeper."""
        slots = self._slots
        for _ in range(3):  # the keeper may begin and end between two looks
            if slots[_CHANGING]:
                return True
            expected = slots[_INODE], slots[_MODIFIED]
            if datafile.identity(name) == expected == (slots[_INODE], slots[_MODIFIED]):
                return True
        return self.file_changing

    @property
    def file_changing(self) -> bool:
        """Whether the main file is being written to by its keeper just now."""
        return self._slots[_CHANGING] != 0

    def begin_file_change(self) -> None:
        self._slots[_CHANGING] = 1

    def end_file_change(self, inode: int, modified_ns: int) -> None:
        """The main file is this one now, and stays as it is until the next `begin_moving`."""
        self._slots[_INODE] = inode
        self._slots[_MODIFIED] = modified_ns
        self._slots[_CHANGING] = 0

    def begin_generation(self, generation: int, sequence: int, inode: int, modified_ns: int) -> None:
        """New counters stand in the place of the old ones."""
        self._slots[_SEQUENCE] = sequence
        self.end_file_change(inode, modified_ns)
        self._slots[_GENERATION] = generation

    @property
    def rebuild_requested(self) -> int:
        """The latest generation that somebody found bad."""
        return self._slots[_REBUILD_REQUESTED]

    def request_rebuild(self, generation: int) -> None:
        """Ask the ledger writer for new counters: this generation's are not as they were left."""
        self._slots[_REBUILD_REQUESTED] = max(self._slots[_REBUILD_REQUESTED], generation)

    @property
    def transaction_pid(self) -> int:
        """The process that is inside a transaction on the counters; 0 when none is."""
        return self._slots[_TRANSACTION_PID]

    def enter_transaction(self, pid: int) -> None:
        self._slots[_TRANSACTION_PID] = pid

    def leave_transaction(self, pid: int) -> None:
        """Unless another process has entered since."""
        if self._slots[_TRANSACTION_PID] == pid:
            self._slots[_TRANSACTION_PID] = 0

    @property
    def model_limits(self) -> bool:
        """Whether any key had, or ever had, a limit for models when the present generation was cut."""
        return self._slots[_MODEL_LIMITS] != 0

    def mark_model_limits(self) -> None:
        """Some key has, or had. Before its generation stands here."""
        self._slots[_MODEL_LIMITS] = 1

    @property
    def started(self) -> bool:
        """Whether the ledger writer has made the first generation since everything was started."""
        return self._slots[_STARTED] != 0

    def mark_started(self) -> None:
        self._slots[_STARTED] = 1


def _number_of(boot: str) -> int:
    return int.from_bytes(hashlib.sha256(boot.encode()).digest()[:8], "little")


def is_in_use(data_dir: Path) -> bool:
    """Whether a ledger writer or a worker lives on this data directory, so that somebody goes by its counters."""
    return any(_is_held(path) for path in (data_dir / WRITER_LOCK, *(data_dir / "journals").glob("*.lock")))


def _is_held(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False
