"""Connections to a cache file: one a thread and process, short transactions, one error type.

Law of this module: nothing yields between BEGIN and COMMIT. In the proxy many greenlets share one thread and so one
connection; the only place where one may be left for another is the pause before a new try at BEGIN. SQLite's own busy
timeout would block them all, hence it is off and we wait through `sleep`, which there is gevent's.

Every sqlite3.Error leaves as `CountersUnavailable`. A connection that failed is closed; the next call opens a new one.
"""

import logging
import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.counters import datafile
from shared.counters.values import CountersLost, CountersUnavailable

_LOG = logging.getLogger(__name__)
_SPINS = 4  # tries at once before the first pause: a short transaction of another process may just be over
_FIRST_PAUSE_SECONDS = 0.0002
_LONGEST_PAUSE_SECONDS = 0.005
BUSY_SECONDS = 1.0  # how long a lock of another process is waited for
SHORT_BUSY_SECONDS = 0.05  # the same, after it was not had in that time
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

Row = tuple[Any, ...]


class Session:
    """A thread's connection, and the inode of the file that it has open."""

    __slots__ = ("cache", "connection", "execute", "inode", "open", "pid")

    def __init__(self, connection: sqlite3.Connection, inode: int) -> None:
        self.connection = connection
        # One cursor for all statements; each of them ends the one before, whose rows were all fetched or not wanted.
        self.execute: Callable[..., sqlite3.Cursor] = connection.cursor().execute
        self.inode = inode
        self.pid = os.getpid()
        self.open = False  # inside a transaction
        self.cache: Any = None  # what its last transaction left for the next one; see `transaction.StateCache`


class Database:
    """The file at `path`. `fill` makes a new one when there is none; without it, none is `CountersLost`."""

    def __init__(
        self,
        path: Path,
        fill: datafile.Fill | None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.path = path
        self.name = os.fspath(path)
        self._full_busy_seconds = busy_seconds
        self._busy_seconds = busy_seconds
        self._fill = fill
        self._sleep = sleep
        self._local = threading.local()
        self._logged_at = float("-inf")
        _ALIVE.add(self)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """All or nothing, alone among all processes; ROLLBACK on any exception."""
        self.close_if_replaced()
        session = self.begin()
        try:
            yield session
        except BaseException as error:
            self.roll_back(session)
            if isinstance(error, sqlite3.Error):
                raise self.failed(error, session) from error
            raise
        self.commit(session)

    def begin(self) -> Session:
        """BEGIN IMMEDIATE, waiting for others as long as `busy_seconds`. End it by `commit` or `roll_back`."""
        deadline, tries = 0.0, 0
        while True:
            session = self._session()
            try:
                session.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                deadline, tries = self._wait_or_fail(session, error, deadline, tries)
            else:
                session.open = True
                self._busy_seconds = self._full_busy_seconds
                return session

    def commit(self, session: Session) -> None:
        try:
            session.execute("COMMIT")
        except sqlite3.Error as error:
            failure = self.failed(error, session)
            self.drop(session)
            failure.in_doubt = True
            raise failure from error
        finally:
            session.open = False

    def roll_back(self, session: Session) -> None:
        session.open = False
        try:
            if session.connection.in_transaction:
                session.execute("ROLLBACK")
        except sqlite3.Error:
            self.drop(session)

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows of one SELECT, as of the last commit."""
        self.close_if_replaced()
        deadline, tries = 0.0, 0
        while True:
            session = self._session()
            try:
                return session.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                deadline, tries = self._wait_or_fail(session, error, deadline, tries)

    def close_if_replaced(self) -> None:
        """Close this thread's connection if its file does not stand at the path any more."""
        session: Session | None = getattr(self._local, "session", None)
        if session is not None and session.pid == os.getpid() and session.inode != datafile.identity(self.name)[0]:
            self.drop(session)

    def close(self) -> None:
        """Close this thread's connection; those of other threads close when their threads end."""
        session: Session | None = getattr(self._local, "session", None)
        if session is not None:
            self.drop(session)

    def drop(self, session: Session) -> None:
        """Give up a connection; what is open on it is rolled back."""
        if getattr(self._local, "session", None) is session:
            del self._local.session
        try:
            session.connection.close()
        except sqlite3.Error:
            _LOG.warning("a connection to the counters could not be closed")

    def failed(self, error: sqlite3.Error, session: Session | None) -> CountersUnavailable:
        """Give up the connection unless it only waited, and say what happened once a second.

        Whoever closes the last connection checkpoints the file, so a lock of another process is no reason to.
        """
        if session is not None and _code_of(error) not in _BUSY:
            self.drop(session)
        kind: str = getattr(error, "sqlite_errorname", None) or type(error).__name__
        at = time.monotonic()
        if at - self._logged_at >= 1.0:
            self._logged_at = at
            _LOG.error("counters unavailable: %s", kind)
        lost = _is_of_no_use(error)
        if lost and self._fill is not None:
            self.create(self._fill)
        return CountersLost(kind) if lost else CountersUnavailable(kind)

    def create(self, fill: datafile.Fill) -> None:
        """Put a new file in the place of whatever stands there."""
        self.close()
        deadline, tries = 0.0, 0
        while True:
            try:
                return datafile.create(self.path, fill, replace=True)
            except (sqlite3.Error, OSError) as error:
                if not isinstance(error, sqlite3.Error) or _code_of(error) not in _BUSY:
                    raise CountersUnavailable(f"cannot make the file: {type(error).__name__}") from error
                deadline, tries = self._wait_or_fail(None, error, deadline, tries)

    def _session(self) -> Session:
        session: Session | None = getattr(self._local, "session", None)
        if session is not None:
            if session.pid == os.getpid():
                return session
            _INHERITED.append(session)
        deadline, tries = 0.0, 0
        while True:
            try:
                if self._fill is not None:
                    datafile.create(self.path, self._fill, replace=False)
                session = Session(*datafile.open_file(self.path))
            except datafile.FileMissing as error:
                raise CountersLost("there is no file") from error
            except sqlite3.Error as error:
                deadline, tries = self._wait_or_fail(None, error, deadline, tries)
            except OSError as error:
                raise CountersUnavailable(f"cannot open the file: {error.strerror}") from error
            else:
                self._local.session = session
                return session

    def _wait_or_fail(
        self, session: Session | None, error: sqlite3.Error, deadline: float, tries: int
    ) -> tuple[float, int]:
        """Pause when a lock stood in the way and time is left; raise otherwise."""
        if _code_of(error) not in _BUSY:
            raise self.failed(error, session) from error
        if tries < _SPINS:
            return deadline, tries + 1
        at = time.monotonic()
        if deadline and at >= deadline:
            # Whoever comes next need not wait as long for the same lock, until it was had once.
            self._busy_seconds = min(SHORT_BUSY_SECONDS, self._full_busy_seconds)
            raise self.failed(error, session) from error
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 1.5 ** (tries - _SPINS))
        self._sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - keeps waiters apart, guards nothing
        return deadline or at + self._busy_seconds, tries + 1


def _is_of_no_use(error: sqlite3.Error) -> bool:
    """Whether the file is damaged, cut short, or another one than ours."""
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_SHORT_READ:
        return True
    return _code_of(error) in _BROKEN or (_code_of(error) == sqlite3.SQLITE_ERROR and "no such" in str(error))


def _code_of(error: sqlite3.Error) -> int | None:
    """The primary result code; errors of the Python module itself have none."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


_ALIVE: "weakref.WeakSet[Database]" = weakref.WeakSet()
# A child must neither use nor close what it inherits over a fork (closing would drop locks of the parent's file).
_INHERITED: list[Session] = []


def _before_fork() -> None:
    """Close the forking thread's idle connections.

    SQLite keeps its record of held file locks in the process; a forked copy of it would believe in locks that the
    child does not have, also for connections which the child opens later.
    """
    for database in list(_ALIVE):
        session: Session | None = getattr(database._local, "session", None)  # noqa: SLF001 - this module's own class
        if session is not None and not session.open and session.pid == os.getpid():
            database.close()


os.register_at_fork(before=_before_fork)
