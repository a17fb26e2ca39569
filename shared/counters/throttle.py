"""Slows down guessing: so many failures of a name are free, then each doubles the wait, up to its longest.

A try is judged and counted in one step, before anybody looks at what was tried: many at once do not slip past. Kept
beside the counters, so it is shared by all processes, outlives a restart and is not rebuilt with them: here in a file
of its own, on Redis in keys of its own (`redis.throttle`). Names are stored as hashes: then no addresses of people
stand there, and a stranger's long name costs no more than a short one.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from shared.counters.clock import Clock
from shared.counters.database import Database, Session

_SCHEMA = """
CREATE TABLE login (
    name BLOB PRIMARY KEY, failures INTEGER NOT NULL, open_at REAL NOT NULL, failed_at REAL NOT NULL
) WITHOUT ROWID
"""
FREE_FAILURES = 5
LONGEST_WAIT_SECONDS = 300.0
FORGET_AFTER_SECONDS = 24 * 3600.0
# Of names. Above it the one that failed longest ago is forgotten, so that inventing names fills no disk.
MOST_NAMES = 50_000


class Guarded(Struct, frozen=True):
    """A name, and how patient we are with it. The name is whatever the caller makes of it: an account, an address."""

    name: str
    free_failures: int = FREE_FAILURES
    longest_wait_seconds: float = LONGEST_WAIT_SECONDS


class Tried(Struct, frozen=True):
    """Whether a try may go on, which counts as a failure until it has succeeded; and how long the next one waits."""

    admitted: bool
    wait_seconds: float


class LoginThrottle(Protocol):
    """Counts failures by name. Every method may raise `CountersUnavailable`."""

    def attempt(self, names: Sequence[Guarded]) -> Tried:
        """Judge a try by all of its names, and count it for each of them; one that is refused is not counted."""

    def succeeded(self, names: Sequence[Guarded]) -> None:
        """The try was good: forget all failures of the first name, and of the others that it was one."""

    def close(self) -> None:
        """Let go of connections. The next call opens one again."""


class SqliteLoginThrottle:
    """Implements `LoginThrottle` on a file."""

    def __init__(self, path: Path, *, clock: Clock, sleep: Callable[[float], None]) -> None:
        self._database = Database(path, lambda connection: connection.execute(_SCHEMA), sleep=sleep)
        self._clock = clock

    def attempt(self, names: Sequence[Guarded]) -> Tried:
        with self._database.transaction() as session:
            now = self._clock.wall()  # not before others have written theirs
            found = [(guarded, *_read(session, guarded, now)) for guarded in names]
            # The bound holds also when the clock was set back.
            wait = max(min(guarded.longest_wait_seconds, open_at - now) for guarded, _, open_at in found)
            if wait > 0:
                return Tried(admitted=False, wait_seconds=wait)
            longest = 0.0
            for guarded, failures, _ in found:
                wait = wait_after(failures + 1, guarded)
                longest = max(longest, wait)
                values = (name_digest(guarded.name), failures + 1, now + wait, now)
                session.execute("INSERT OR REPLACE INTO login VALUES (?, ?, ?, ?)", values)
            if not all(failures for _, failures, _ in found):
                _prune(session, now)
            return Tried(admitted=True, wait_seconds=longest)

    def succeeded(self, names: Sequence[Guarded]) -> None:
        now = self._clock.wall()
        first, *others = [name_digest(guarded.name) for guarded in names]
        with self._database.transaction() as session:
            session.execute("DELETE FROM login WHERE name = ?", (first,))
            for name in others:
                session.execute("UPDATE login SET failures = failures - 1, open_at = ? WHERE name = ?", (now, name))
                session.execute("DELETE FROM login WHERE name = ? AND failures < 1", (name,))

    def close(self) -> None:
        self._database.close()


def _read(session: Session, guarded: Guarded, now: float) -> tuple[int, float]:
    """The failures of a name that still count, and when it may be tried again."""
    sql = "SELECT failures, open_at FROM login WHERE name = ? AND failed_at > ?"
    rows = session.execute(sql, (name_digest(guarded.name), now - FORGET_AFTER_SECONDS)).fetchall()
    return (rows[0][0], rows[0][1]) if rows else (0, now)


def _prune(session: Session, now: float) -> None:
    """Delete what is a day old, and of more names than there may be the oldest."""
    session.execute("DELETE FROM login WHERE failed_at <= ?", (now - FORGET_AFTER_SECONDS,))
    count: int = session.execute("SELECT COUNT(*) FROM login").fetchall()[0][0]
    if count > MOST_NAMES:
        sql = "DELETE FROM login WHERE name IN (SELECT name FROM login ORDER BY failed_at LIMIT ?)"
        session.execute(sql, (count - MOST_NAMES,))


def wait_after(failures: int, guarded: Guarded) -> float:
    """Seconds until the next try after so many failures."""
    if failures <= guarded.free_failures:
        return 0.0
    return min(guarded.longest_wait_seconds, 2.0 ** min(failures - guarded.free_failures - 1, 60))


def name_digest(name: str) -> bytes:
    """One entry for all spellings of a name that a login form takes as the same."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()
    return hashlib.sha256(folded.encode("utf-8", "surrogatepass")).digest()
