"""A storage of the `limits` library on our SQLite file, with a moving window that is exact to the second.

It keeps one count for each key and second, where the library's own storages keep an entry for each request; see
`window.Window` for what that promises. The window of a proxy key stands in the key's row: while a batch is judged,
`rows` holds those rows, and a hit goes there. Windows of other names have a table of their own.
"""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from limits.storage.base import MovingWindowSupport, Storage

from shared.counters import datafile
from shared.counters.clock import Clock, SystemClock
from shared.counters.database import Database
from shared.counters.moments import Moment
from shared.counters.rows import KeyRow
from shared.counters.values import CountersUnavailable
from shared.counters.window import Window

# Rows of keys are found by a number once they were read: three pages lead to each of ten thousand, where an index that
# holds the rows themselves has five. Earlier releases kept theirs in a table `key`, of which they find none here.
SCHEMA = """
CREATE TABLE process (
    id TEXT PRIMARY KEY, joined INTEGER NOT NULL, batch INTEGER NOT NULL, end_number INTEGER NOT NULL,
    sequence INTEGER NOT NULL, admitted BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE key_row (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state BLOB NOT NULL);
CREATE TABLE org (id TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE window (key TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE fixed (key TEXT PRIMARY KEY, count INTEGER NOT NULL, expires REAL NOT NULL) WITHOUT ROWID
"""
_READ_FIXED = "SELECT count, expires FROM fixed WHERE key = ? AND expires > ?"


def fill(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty file."""
    for statement in SCHEMA.split(";"):
        connection.execute(statement)


def path_of(url: str) -> Path:
    """The file that `sqlite:////absolute` or `sqlite:///relative` names. Raises ValueError with a sentence."""
    start = "sqlite:///"
    name = url.removeprefix(start)
    if not url.startswith(start) or not name.strip("/") or "?" in name:
        raise ValueError("must name a file: sqlite:////absolute/path or sqlite:///relative/path")
    return Path(name)


class SqliteStorage(Storage, MovingWindowSupport):
    """Registered with `limits` for `sqlite://` URLs. Every method may raise `CountersUnavailable`.

    By itself it makes the file it needs; when `fill` is None the file is somebody else's to make.
    """

    STORAGE_SCHEME = ["sqlite"]  # noqa: RUF012 - the library declares it so

    def __init__(
        self,
        uri: str,
        wrap_exceptions: bool = False,  # noqa: FBT001, FBT002 - the library's own signature
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
        fill: datafile.Fill | None = fill,
        **_: object,
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self.clock = clock or SystemClock()
        self.database = Database(path_of(uri), fill, sleep=sleep)
        self.rows: dict[str, KeyRow] = {}
        self.moment: Moment | None = None

    @property
    def base_exceptions(self) -> type[Exception]:
        return CountersUnavailable

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        row = self.rows.get(key)
        if row is not None and self.moment is not None:
            return row.window.acquire(self.moment.second, limit, expiry, amount)
        with self.database.transaction() as session:
            found = session.execute("SELECT state FROM window WHERE key = ?", (key,)).fetchone()
            window = Window(_decode(found[0]) if found else {})
            if not window.acquire(int(self.clock.steady()), limit, expiry, amount):
                return False
            session.execute("INSERT OR REPLACE INTO window VALUES (?, ?)", (key, _encode(window)))
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002 - the contract
        """Unix seconds of the oldest request that still weighs, and how many do."""
        steady = self.clock.steady()
        found = self.database.read("SELECT state FROM window WHERE key = ?", (key,))
        window = Window(_decode(found[0][0]) if found else {})
        count = window.count(int(steady), expiry)
        oldest = next(iter(window.buckets), int(steady))
        return self.clock.wall() - steady + oldest, count

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to a counter that lives `expiry` seconds from its first hit; answer with its new value."""
        with self.database.transaction() as session:
            now = self.clock.wall()
            found = session.execute(_READ_FIXED, (key, now)).fetchone()
            count, expires = found or (0, now + expiry)
            session.execute("INSERT OR REPLACE INTO fixed VALUES (?, ?, ?)", (key, count + amount, expires))
            return int(count + amount)

    def get(self, key: str) -> int:
        rows = self.database.read(_READ_FIXED, (key, self.clock.wall()))
        return int(rows[0][0]) if rows else 0

    def get_expiry(self, key: str) -> float:
        """When the counter expires, in Unix seconds; now if there is none."""
        now = self.clock.wall()
        rows = self.database.read(_READ_FIXED, (key, now))
        return float(rows[0][1]) if rows else now

    def check(self) -> bool:
        """Whether the file can be written now."""
        try:
            with self.database.transaction() as session:
                session.execute("UPDATE process SET batch = batch WHERE id = ''")
        except CountersUnavailable:
            return False
        return True

    def reset(self) -> int:
        """Forget every window that is no key's; answer with how many there were."""
        with self.database.transaction() as session:
            return sum(session.execute(f"DELETE FROM {table}").rowcount for table in ("fixed", "window"))  # noqa: S608 - literals

    def clear(self, key: str) -> None:
        with self.database.transaction() as session:
            session.execute("DELETE FROM fixed WHERE key = ?", (key,))
            session.execute("DELETE FROM window WHERE key = ?", (key,))


def _decode(data: bytes) -> dict[int, int]:
    flat: list[int] = orjson.loads(data)
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _encode(window: Window) -> bytes:
    return orjson.dumps([number for bucket in window.buckets.items() for number in bucket])
