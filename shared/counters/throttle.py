"""Slows down guessing of passwords: five failures are free, then each doubles the wait, up to five minutes.

Kept beside the counters, so it is shared by all processes, outlives a restart and is not rebuilt with them: here in a
file of its own, on Redis in keys of its own (`redis.throttle`). Names are stored as hashes: then no addresses of people
stand there, and a stranger's long name costs no more than a short one.
"""

import hashlib
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

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


class LoginThrottle(Protocol):
    """Counts failures by name, whatever the caller makes of it (an account, or an account and an address).

    Every method may raise `CountersUnavailable`.
    """

    def wait_seconds(self, name: str) -> float:
        """Seconds until the next try is allowed; 0 means now."""

    def failed(self, name: str) -> float:
        """Count a failure; answer with the seconds to wait before the next try."""

    def cleared(self, name: str) -> None:
        """Forget the failures: the right password came."""

    def close(self) -> None:
        """Let go of connections. The next call opens one again."""


class SqliteLoginThrottle:
    """Implements `LoginThrottle` on a file."""

    def __init__(self, path: Path, *, clock: Clock, sleep: Callable[[float], None]) -> None:
        self._database = Database(path, lambda connection: connection.execute(_SCHEMA), sleep=sleep)
        self._clock = clock

    def wait_seconds(self, name: str) -> float:
        now = self._clock.wall()
        sql = "SELECT open_at FROM login WHERE name = ? AND failed_at > ?"
        rows = self._database.read(sql, (name_digest(name), now - FORGET_AFTER_SECONDS))
        # The bound holds also when the clock was set back.
        return min(LONGEST_WAIT_SECONDS, max(0.0, rows[0][0] - now)) if rows else 0.0

    def failed(self, name: str) -> float:
        now = self._clock.wall()
        with self._database.transaction() as session:
            since = now - FORGET_AFTER_SECONDS
            sql = "SELECT failures FROM login WHERE name = ? AND failed_at > ?"
            rows = session.execute(sql, (name_digest(name), since)).fetchall()
            failures = 1 + (rows[0][0] if rows else 0)
            wait = _wait_after(failures)
            values = (name_digest(name), failures, now + wait, now)
            session.execute("INSERT OR REPLACE INTO login VALUES (?, ?, ?, ?)", values)
            _prune(session, now)
            return wait

    def cleared(self, name: str) -> None:
        with self._database.transaction() as session:
            session.execute("DELETE FROM login WHERE name = ?", (name_digest(name),))

    def close(self) -> None:
        self._database.close()


def _prune(session: Session, now: float) -> None:
    """Delete what is a day old."""
    session.execute("DELETE FROM login WHERE failed_at <= ?", (now - FORGET_AFTER_SECONDS,))


def _wait_after(failures: int) -> float:
    if failures <= FREE_FAILURES:
        return 0.0
    return min(LONGEST_WAIT_SECONDS, 2.0 ** min(failures - FREE_FAILURES - 1, 60))


def name_digest(name: str) -> bytes:
    """One entry for all spellings of a name that a login form takes as the same."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()
    return hashlib.sha256(folded.encode("utf-8", "surrogatepass")).digest()
