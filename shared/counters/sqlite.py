"""A storage of the `limits` library on the counters' SQLite file, shared by every process of the machine.

It keeps the library's contract for fixed, moving and sliding windows, with two differences of form: the clock is the
one it was given, and a sliding window is one row of two counts rather than two expiring counters, so that a request
touches one page and nothing is left behind.
"""

import time
from collections.abc import Callable
from math import floor
from pathlib import Path

from limits.storage.base import MovingWindowSupport, SlidingWindowCounterSupport, Storage

from shared.counters.database import Database, Session, Window
from shared.counters.values import CountersUnavailable

_READ_FIXED = "SELECT count, expires FROM fixed WHERE key = ? AND expires > ?"
_READ_SLIDING = "SELECT number, previous, current FROM sliding WHERE key = ? AND seconds = ?"
_INSERT_SLIDING = "INSERT INTO sliding (number, previous, current, key, seconds) VALUES (?, ?, ?, ?, ?)"
_UPDATE_SLIDING = "UPDATE sliding SET number = ?, previous = ?, current = ? WHERE key = ? AND seconds = ?"


def path_of(url: str) -> Path:
    """The file that `sqlite:////absolute` or `sqlite:///relative` names. Raises ValueError with a sentence."""
    start = "sqlite:///"
    name = url.removeprefix(start)
    if not url.startswith(start) or not name.strip("/") or "?" in name:
        raise ValueError("must name a file: sqlite:////absolute/path or sqlite:///relative/path")
    return Path(name)


class SqliteStorage(Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """Registered with `limits` for `sqlite://` URLs. Every method may raise `CountersUnavailable`."""

    STORAGE_SCHEME = ["sqlite"]  # noqa: RUF012 - the library declares it so

    def __init__(
        self,
        uri: str,
        wrap_exceptions: bool = False,  # noqa: FBT001, FBT002 - the library's own signature
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        **_: object,
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self.database = Database(path_of(uri), clock=clock, sleep=sleep)

    @property
    def base_exceptions(self) -> type[Exception]:
        return CountersUnavailable

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to a counter that lives `expiry` seconds from its first hit; answer with its new value."""
        with self.database.transaction() as session:
            rows = session.execute(_READ_FIXED, (key, session.now)).fetchall()
            count, expires = rows[0] if rows else (0, session.now + expiry)
            session.execute("INSERT OR REPLACE INTO fixed VALUES (?, ?, ?)", (key, count + amount, expires))
            return int(count + amount)

    def get(self, key: str) -> int:
        rows = self.database.read(_READ_FIXED, (key, self.database.now()))
        return int(rows[0][0]) if rows else 0

    def get_expiry(self, key: str) -> float:
        """When the counter expires, in Unix seconds; now if there is none."""
        now = self.database.now()
        rows = self.database.read(_READ_FIXED, (key, now))
        return float(rows[0][1]) if rows else now

    def check(self) -> bool:
        """Whether the file can be written now."""
        try:
            with self.database.transaction() as session:
                session.execute("UPDATE meta SET checked = ?", (session.now,))
        except CountersUnavailable:
            return False
        return True

    def reset(self) -> int:
        """Forget every window; answer with how many there were. Money is not touched."""
        with self.database.transaction() as session:
            tables = ("fixed", "sliding", "moving")
            return sum(session.execute(f"DELETE FROM {table}").rowcount for table in tables)  # noqa: S608 - literals

    def clear(self, key: str) -> None:
        with self.database.transaction() as session:
            session.execute("DELETE FROM fixed WHERE key = ?", (key,))
            session.execute("DELETE FROM moving WHERE key = ?", (key,))

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        if amount > limit:
            return False
        with self.database.transaction() as session:
            since = session.now - expiry
            (entries,) = session.execute(
                "SELECT COUNT(*) FROM moving WHERE key = ? AND at >= ?", (key, since)
            ).fetchone()
            if entries + amount > limit:
                return False
            session.execute("DELETE FROM moving WHERE key = ? AND expires < ?", (key, session.now))
            entry = (key, session.now, session.now + expiry)
            for _ in range(amount):
                session.execute("INSERT INTO moving (key, at, expires) VALUES (?, ?, ?)", entry)
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002 - the contract
        now = self.database.now()
        sql = "SELECT MIN(at), COUNT(*) FROM moving WHERE key = ? AND at > ?"
        ((start, entries),) = self.database.read(sql, (key, now - expiry))
        return (float(start), int(entries)) if entries else (now, 0)

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        with self.database.transaction() as session:
            rows = session.execute(_READ_SLIDING, (key, expiry)).fetchall()
            window = _window(rows, expiry, session.now)
            if amount > limit or floor(window.weight(expiry)) + amount > limit:
                session.window = window
                return False
            session.window = window = window._replace(current=window.current + amount)
            write = _UPDATE_SLIDING if rows else _INSERT_SLIDING
            session.execute(write, (window.number, window.previous, window.current, key, expiry))
            return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        window = self.window(key, expiry)
        weight_seconds = expiry - window.elapsed if window.previous else 0.0
        return window.previous, weight_seconds, window.current, 2 * expiry - window.elapsed

    def window(self, key: str, expiry: int) -> Window:
        """A key's sliding window as it is now."""
        return _window(self.database.read(_READ_SLIDING, (key, expiry)), expiry, self.database.now())

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        with self.database.transaction() as session:
            session.execute("DELETE FROM sliding WHERE key = ? AND seconds = ?", (key, expiry))

    def prune(self, session: Session) -> None:
        """Delete the windows that weigh nothing any more."""
        session.execute("DELETE FROM fixed WHERE expires <= ?", (session.now,))
        session.execute("DELETE FROM moving WHERE expires < ?", (session.now,))
        session.execute("DELETE FROM sliding WHERE (number + 2) * seconds <= ?", (session.now,))


def _window(rows: list[tuple[int, int, int]], expiry: int, now: float) -> Window:
    """A row as it is at `now`.

    A clock that steps back over the edge of a window is held at the edge, so that a step never gives requests away.
    A row from further in the future comes of a clock that was wrong, and is forgotten.
    """
    number = int(now // expiry)
    elapsed = now - number * expiry
    if not rows:
        return Window(number, 0, 0, elapsed)
    row_number, previous, current = rows[0]
    if row_number == number:
        return Window(number, previous, current, elapsed)
    if row_number == number - 1:
        return Window(number, current, 0, elapsed)
    if row_number == number + 1:
        return Window(row_number, previous, current, 0.0)
    return Window(number, 0, 0, elapsed)
