"""SQLite files that are no truth but a cache: how one is made, opened, recognised and replaced.

A file appears under its name complete or not at all: it is made beside it and renamed, under a lock that whoever opens
it takes as well, so that nobody opens one file with the write-ahead log of another.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.counters.values import CountersUnavailable

Fill = Callable[[sqlite3.Connection], object]

# A transaction writes whole pages; ours hold short rows, of which those of busy keys take some hundred bytes.
_PAGE_BYTES = 1024
_CACHE_KIB = 4096
_APPLICATION_ID = 0x45524354  # in the head of each file of ours, of older releases too
_SQLITE = b"SQLite format 3\0"


class FileMissing(Exception):
    """There is no file at the path."""


class ForeignFile(CountersUnavailable):
    """A database of somebody else's stands at the path; nothing of it is touched."""


def refuse_foreign(path: Path) -> None:
    """Raise ForeignFile if a sound database that is not ours stands there, CountersUnavailable if nobody can tell."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CountersUnavailable(f"the file cannot be read: {error.strerror}") from error
    if head.startswith(_SQLITE) and len(head) == 100 and int.from_bytes(head[68:72], "big") != _APPLICATION_ID:
        raise ForeignFile("the database there is another program's")


def open_file(path: Path) -> tuple[sqlite3.Connection, int]:
    """Open the file that stands there, and tell its inode. Raises Missing, sqlite3.Error or OSError."""
    with _locked(path, fcntl.LOCK_SH):
        if not path.exists():
            raise FileMissing
        connection = _connect(path)
        try:
            # What is rebuilt after a power cut needs no waiting for the disk; nor does it, or the checkpoint, belong
            # on the way of a request. Debian's default wipes what is deleted, and there is no secret here.
            for pragma in (
                "synchronous=OFF",
                "wal_autocheckpoint=0",
                "secure_delete=OFF",
                f"cache_size=-{_CACHE_KIB}",
            ):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        # Asked while nobody can put another file in its place.
        return connection, identity(os.fspath(path))[0]


def create(path: Path, fill: Fill, *, replace: bool) -> None:
    """Make a file, filled by `fill`; an older one goes if `replace`, and stays otherwise.

    A database of somebody else's that has come to stand there is kept beside it.
    """
    with _locked(path, fcntl.LOCK_EX):
        if not replace and path.exists():
            return
        try:
            refuse_foreign(path)
        except ForeignFile:
            path.rename(path.with_name(f"{path.name}.not-ours-{time.time_ns()}"))
        draft = path.with_name(path.name + ".new")
        remove(draft)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection = _connect(draft)
        try:
            connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
            connection.execute("BEGIN")
            fill(connection)
            connection.execute("COMMIT")
        finally:
            connection.close()
        remove(path)
        draft.rename(path)


def remove(path: Path) -> None:
    """Delete a file with all that SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def identity(name: str) -> tuple[int, int]:
    """Inode and time of the last change (ns) of what stands at a path; zeros when nothing does."""
    try:
        status = os.stat(name)  # noqa: PTH116 - on the way of every request; Path.stat costs three times as much
    except OSError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=0,
        isolation_level=None,
        cached_statements=64,
        check_same_thread=False,  # a thread's connection is closed by whoever collects it
    )


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    """Hold the lock file beside `path`; for some milliseconds, and only when a file is made or opened.

    Whoever has it may have been stopped, so nobody waits for it here: it is busy, as a database can be.
    """
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            busy = sqlite3.OperationalError("the file is being made or opened")
            busy.sqlite_errorcode, busy.sqlite_errorname = sqlite3.SQLITE_BUSY, "SQLITE_BUSY"
            raise busy from error
        yield
    finally:
        os.close(descriptor)
