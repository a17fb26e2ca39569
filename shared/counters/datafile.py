"""The counters' data file: how it is made, opened, recognised and, when it is broken, set aside.

A file appears under its name complete or not at all: it is made beside it and renamed, under a lock file. A new file
has a new random generation and knows nothing of what was spent (`seeded` is 0) until the ledger has told it.
"""

import fcntl
import logging
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOG = logging.getLogger(__name__)

Identity = tuple[int, int]
NOWHERE: Identity = (0, 0)

# Small pages: a commit writes and checksums whole ones, and ours hold short rows. Measured for an admission:
# 27 us with 1,024 bytes, 38 us with 4,096 (the statements alone).
# The journal may grow to 4 MB before it is folded into the file.
_PAGE_BYTES = 1024
_CHECKPOINT_PAGES = 4000
_APPLICATION_ID = 0x45524354

_SCHEMA = """
CREATE TABLE meta (generation TEXT NOT NULL, seeded INTEGER NOT NULL, checked REAL NOT NULL);
CREATE TABLE fixed (key TEXT PRIMARY KEY, count INTEGER NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE sliding (
    key TEXT NOT NULL, seconds INTEGER NOT NULL, number INTEGER NOT NULL, previous INTEGER NOT NULL,
    current INTEGER NOT NULL, PRIMARY KEY (key, seconds)
) WITHOUT ROWID;
CREATE TABLE moving (id INTEGER PRIMARY KEY, key TEXT NOT NULL, at REAL NOT NULL, expires REAL NOT NULL);
CREATE INDEX moving_key ON moving (key, at);
CREATE TABLE spend (
    key_id TEXT NOT NULL, day INTEGER NOT NULL, spent INTEGER NOT NULL, held INTEGER NOT NULL,
    PRIMARY KEY (key_id, day)
) WITHOUT ROWID;
CREATE TABLE hold (
    reservation_id TEXT PRIMARY KEY, worker_id TEXT NOT NULL, key_id TEXT NOT NULL, day INTEGER NOT NULL,
    nanos INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE done (reservation_id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE early (
    reservation_id TEXT PRIMARY KEY, key_id TEXT NOT NULL, day INTEGER NOT NULL, nanos INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE lease (worker_id TEXT PRIMARY KEY, ends REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE epoch (org_id TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE login (
    name BLOB PRIMARY KEY, failures INTEGER NOT NULL, open_at REAL NOT NULL, failed_at REAL NOT NULL
) WITHOUT ROWID;
"""


def identity(name: str) -> Identity:
    """Device and inode of the file that stands at a path now; `NOWHERE` when there is none."""
    try:
        status = os.stat(name)  # noqa: PTH116 - on the way of every request; Path.stat costs three times as much
    except OSError:
        return NOWHERE
    return status.st_dev, status.st_ino


def connect(path: Path) -> tuple[sqlite3.Connection, Identity]:
    """Open the file, making it when there is none. Raises sqlite3.Error or OSError."""
    seen = identity(os.fspath(path))
    if seen == NOWHERE:
        _create(path)
        seen = identity(os.fspath(path))
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=0,
        isolation_level=None,
        cached_statements=256,
        check_same_thread=False,  # a thread's connection is closed by whoever collects it
    )
    try:
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(
            "PRAGMA secure_delete=OFF"
        )  # Debian's default wipes what is deleted; there is no secret here
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        connection.execute("SELECT seeded FROM meta").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection, seen


def is_broken(code: int | None, path: Path) -> bool:
    """Whether an error means that the file is lost: damaged, not a database, or cut to nothing.

    A sound database without our tables is none of ours to move: someone gave us a wrong path.
    """
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return True
    try:
        return code == sqlite3.SQLITE_ERROR and path.stat().st_size == 0
    except OSError:
        return False


def set_aside(path: Path, seen: Identity, now: float) -> None:
    """Rename the broken file, unless another process did so already. The next opening makes a new one."""
    with _locked(path):
        if seen == NOWHERE or identity(os.fspath(path)) != seen:
            return
        kept = path.with_name(f"{path.name}.corrupt-{int(now)}")
        for suffix in ("", "-wal", "-shm"):
            source = path.with_name(path.name + suffix)
            if source.exists():
                source.rename(kept.with_name(kept.name + suffix))
    _LOG.critical("the counters file was broken and is set aside as %s; spend limits wait for the ledger", kept.name)


def _create(path: Path) -> None:
    with _locked(path):
        if path.exists():
            return
        # What a deleted file left behind must not be read as part of the new one.
        draft = path.with_name(path.name + ".new")
        for left in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm"), draft):
            left.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection = sqlite3.connect(draft, isolation_level=None)
        try:
            connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            connection.executescript(_SCHEMA)
            connection.execute("INSERT INTO meta VALUES (?, 0, 0)", (secrets.token_hex(8),))
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
        finally:
            connection.close()
        draft.rename(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file beside `path`; held for a few milliseconds, and only when a file is made or replaced."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
