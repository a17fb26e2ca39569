"""The SQLite file under the counters: one connection a thread and process, short transactions, one error type.

Law of this module: nothing yields between BEGIN and COMMIT. In the proxy many greenlets share one thread and so one
connection; the only place where one may be left for another is the pause before a new try at BEGIN. SQLite's own busy
timeout would block them all, hence it is off and we wait through `sleep`, which there is gevent's.

Every sqlite3.Error leaves as `CountersUnavailable`. A connection that failed is closed; the next call opens a
new one. How a file is made, and replaced when it is gone or broken, stands in `datafile`.
"""

import logging
import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from shared.counters import datafile
from shared.counters.values import CountersUnavailable

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS = 0.0002
_LONGEST_PAUSE_SECONDS = 0.005
_PATIENCE_SECONDS = 1.0

Row = tuple[Any, ...]


class Window(NamedTuple):
    """A sliding window: its number, the count of the one before, the count of this, and the seconds into this."""

    number: int
    previous: int
    current: int
    elapsed: float

    def weight(self, seconds: int) -> float:
        """The requests of the last `seconds`, those of the window before by the part of it that still counts."""
        return self.previous * (seconds - self.elapsed) / seconds + self.current


class Session:
    """A thread's connection. Inside a transaction `now` is its one moment and `execute` its only tool.

    `window` is the sliding window that was charged last: the library's strategy answers only yes or no, and to look
    again at what it saw would cost as much as the charge.
    """

    __slots__ = ("connection", "depth", "execute", "identity", "now", "pid", "seeded", "window")

    def __init__(self, connection: sqlite3.Connection, identity: datafile.Identity) -> None:
        self.connection = connection
        self.execute: Callable[..., sqlite3.Cursor] = connection.execute
        self.identity = identity
        self.pid = os.getpid()
        self.depth = 0
        self.now = 0.0
        self.window = Window(0, 0, 0, 0.0)
        self.seeded = False  # once true of a file it stays true: saves looking


class Transaction:
    """`with database.transaction() as session`: BEGIN IMMEDIATE to COMMIT, or ROLLBACK on any exception.

    Re-entrant: inside another one of the same thread it takes part in that one. An exception must be let through
    to the outermost, or half of the work would be committed.
    """

    __slots__ = ("_database", "_now", "_session")
    _session: Session

    def __init__(self, database: "Database", now: float | None) -> None:
        self._database = database
        self._now = now

    def __enter__(self) -> Session:
        self._session = self._database.begin(self._now)
        return self._session

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.end(self._session, error)


class Database:
    """The file at `path`, made on first use. `clock` gives Unix seconds; `sleep` waits for a lock."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._name = os.fspath(path)
        self._clock = clock
        self._sleep = sleep
        self._local = threading.local()
        self._logged_at = float("-inf")
        _ALIVE.add(self)

    def transaction(self, now: float | None = None) -> Transaction:
        """All or nothing, alone among all processes. `now` stands for the clock in the outermost transaction."""
        return Transaction(self, now)

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows of one SELECT, as of the last commit (or inside the open transaction)."""
        waited, pauses = 0.0, 0
        while True:
            session = self._session()
            if session.depth:  # no pause in here; an error is translated where the transaction ends
                return session.execute(sql, values).fetchall()
            try:
                if datafile.identity(self._name) != session.identity:
                    self._reopen(session)
                    continue
                return session.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                waited, pauses = self._wait_or_fail(session, error, waited, pauses)

    def now(self) -> float:
        """Unix seconds: the moment of the open transaction, else the clock."""
        session: Session | None = getattr(self._local, "session", None)
        return session.now if session is not None and session.depth else self._clock()

    def begin(self, now: float | None) -> Session:
        """Enter a transaction; see `Transaction`."""
        waited, pauses = 0.0, 0
        while True:
            session = self._session()
            if session.depth:
                session.depth += 1
                return session
            try:
                session.execute("BEGIN IMMEDIATE")
                if datafile.identity(self._name) != session.identity:
                    self._reopen(session)
                    continue
                break
            except sqlite3.Error as error:
                waited, pauses = self._wait_or_fail(session, error, waited, pauses)
        session.depth = 1
        session.now = self._clock() if now is None else now
        return session

    def end(self, session: Session, error: BaseException | None) -> None:
        """Leave a transaction; see `Transaction`."""
        if session.depth > 1:
            session.depth -= 1
            if isinstance(error, sqlite3.Error):
                raise CountersUnavailable(_kind_of(error)) from error
            return
        session.depth = 0
        if error is None:
            try:
                session.execute("COMMIT")
            except sqlite3.Error as failure:
                raise self._failed(failure, session) from failure
        elif isinstance(error, sqlite3.Error):
            raise self._failed(error, session) from error
        elif isinstance(error.__cause__, sqlite3.Error) and isinstance(error, CountersUnavailable):
            self._failed(error.__cause__, session)  # translated by an inner transaction, which could not roll back
        else:
            self._roll_back(session)

    def close(self) -> None:
        """Close this thread's connection; those of other threads close when their threads end."""
        session: Session | None = getattr(self._local, "session", None)
        if session is not None:
            self._drop(session)

    def _session(self) -> Session:
        session: Session | None = getattr(self._local, "session", None)
        if session is not None:
            if session.pid == os.getpid():
                return session
            _INHERITED.append(session)
        waited, pauses = 0.0, 0
        while True:
            seen = datafile.identity(self._name)
            try:
                session = Session(*datafile.connect(self._path))
            except sqlite3.Error as error:
                waited, pauses = self._wait_or_fail(None, error, waited, pauses, seen)
            except OSError as error:
                raise self._unavailable(f"cannot open the file: {error.strerror}") from error
            else:
                self._local.session = session
                return session

    def _wait_or_fail(
        self,
        session: Session | None,
        error: sqlite3.Error,
        waited: float,
        pauses: int,
        seen: datafile.Identity = datafile.NOWHERE,
    ) -> tuple[float, int]:
        """Pause when a lock stood in the way and patience is left; raise otherwise."""
        if _code_of(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or waited >= _PATIENCE_SECONDS:
            raise self._failed(error, session, seen) from error
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 1.5**pauses)
        pause *= random.uniform(0.5, 1.5)  # noqa: S311 - keeps waiters apart, guards nothing
        self._sleep(pause)
        return waited + pause, pauses + 1

    def _failed(
        self, error: sqlite3.Error, session: Session | None, seen: datafile.Identity = datafile.NOWHERE
    ) -> CountersUnavailable:
        """Give up the connection, set a broken file aside, and say what happened once a second."""
        if session is not None:
            self._drop(session)
            seen = session.identity
        if datafile.is_broken(_code_of(error), self._path):
            try:
                datafile.set_aside(self._path, seen, self._clock())
            except OSError:
                _LOG.exception("the broken counters file could not be set aside")
        return self._unavailable(_kind_of(error))

    def _unavailable(self, kind: str) -> CountersUnavailable:
        if abs(self._clock() - self._logged_at) >= 1.0:
            self._logged_at = self._clock()
            _LOG.error("counters unavailable: %s", kind)
        return CountersUnavailable(kind)

    def _reopen(self, session: Session) -> None:
        """Leave a file that is no longer the one at our path: it was deleted or replaced."""
        _LOG.error("the counters file was deleted or replaced; opening the one that stands there now")
        self._drop(session)

    def _roll_back(self, session: Session) -> None:
        try:
            session.execute("ROLLBACK")
        except sqlite3.Error:
            self._drop(session)

    def _drop(self, session: Session) -> None:
        if getattr(self._local, "session", None) is session:
            del self._local.session
        try:
            session.connection.close()  # rolls back what is open
        except sqlite3.Error:
            _LOG.warning("a connection to the counters could not be closed")


def _code_of(error: sqlite3.Error) -> int | None:
    """The primary result code; errors of the Python module itself have none."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _kind_of(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", None) or type(error).__name__


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
        if session is not None and not session.depth and session.pid == os.getpid():
            database.close()


os.register_at_fork(before=_before_fork)
