"""The journal: one SQLite file a worker, written before the first byte goes to a provider.

BEGIN stands before the request leaves, SETTLE or VOID after it ended. With WAL and synchronous=NORMAL a commit is one
write to the page cache, about 10 us: it survives `kill -9` of every process, and a power cut may cost the last moments.
The worker holds a `flock` on a file beside it for as long as it lives; a file whose lock is free belonged to a worker
that died, and any living process may claim it (see `claim_orphans`).
"""

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson
from ulid import ULID

log = logging.getLogger(__name__)

_SCHEMA = """
create table if not exists entry (
    seq integer primary key,
    attempt blob not null,
    progress blob,
    settlement blob
)
"""


class JournalUnavailable(Exception):
    """The journal cannot be written (disk full, read-only, gone): metered traffic must be refused."""


class Attempt(NamedTuple):
    """What is known before a request is sent to a provider."""

    id: str
    org_id: str
    key_id: str
    provider: str
    endpoint: str
    requested_model: str | None
    streamed: bool
    bound_nanos: int  # what is held for it
    day: str  # UTC day of admission, ISO 8601
    admitted_at: float  # Unix seconds
    client_ip: str | None


class Settlement(NamedTuple):
    """How an attempt ended and what it cost."""

    status: int | None  # the provider's HTTP status; None when it gave none
    outcome: str  # one of OUTCOMES
    flags: tuple[str, ...]
    usage: dict[str, int]
    served_model: str | None
    service_tier: str | None
    price: dict[str, Any] | None
    cost_nanos: int
    duration_ms: int
    provider_request_id: str | None


OUTCOMES = (
    "ok",  # complete answer
    "provider_error",  # the provider answered 4xx or 5xx, or an error event inside a stream
    "client_gone",  # the client went away first
    "upstream_truncated",  # the answer broke off
    "unknown",  # sent, but no answer came
    "crash",  # our worker died meanwhile
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a journal, as found."""

    seq: int
    attempt: Attempt
    settlement: Settlement | None
    progress_nanos: int | None  # cost of what had been delivered when it was last noted


class Journal:
    """An open journal file. Used from one thread; nothing in it yields to the event loop."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.worker_id, self._lock = _lock_new(directory)
        self._path = directory / f"{self.worker_id}.db"
        self._seq = 0
        self._connection: sqlite3.Connection | None = None
        try:
            self._connection = _open(self._path)
        except (sqlite3.Error, OSError) as error:
            log.error("the journal cannot be opened: %s", error)

    def new_id(self) -> tuple[int, str]:
        """A number within this journal and the attempt's id made of it: unique, in order, without a lock."""
        self._seq += 1
        return self._seq, f"{self.worker_id}{self._seq:08x}"

    def begin(self, attempts: Mapping[int, Attempt]) -> None:
        """Write BEGIN of these, all or none, in one commit. Raises JournalUnavailable."""
        rows = [(seq, orjson.dumps(tuple(attempt))) for seq, attempt in attempts.items()]
        self._write_all("insert into entry (seq, attempt) values (?, ?)", rows)

    def note_progress(self, seq: int, cost_nanos: int) -> None:
        """Note what an attempt has cost so far, for whoever settles it if we die. Raises JournalUnavailable."""
        self._write("update entry set progress = ? where seq = ?", (str(cost_nanos).encode(), seq))

    def settle(self, settlements: Mapping[int, Settlement]) -> None:
        """Write SETTLE of these, all or none, in one commit. Raises JournalUnavailable."""
        rows = [(orjson.dumps(tuple(settlement)), seq) for seq, settlement in settlements.items()]
        self._write_all("update entry set settlement = ? where seq = ?", rows)

    def void(self, seq: int) -> None:
        """Take BEGIN back: nothing reached the provider. Raises JournalUnavailable."""
        self._write("delete from entry where seq = ?", (seq,))

    def forget(self, seqs: list[int]) -> None:
        """Remove entries that stand in the ledger. Raises JournalUnavailable; the ledger ignores a second import."""
        self._write_all("delete from entry where seq = ?", [(seq,) for seq in seqs])

    def check(self) -> None:
        """Raise JournalUnavailable unless a write succeeds now."""
        self._write("insert or replace into entry (seq, attempt) values (0, x'')", ())
        self._write("delete from entry where seq = 0", ())

    def close(self, *, remove: bool) -> None:
        """Let go of the file; `remove` it when everything in it stands in the ledger."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if remove:
            _remove(self._path)
        os.close(self._lock)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = _open(self._path)
            except (sqlite3.Error, OSError) as error:
                raise JournalUnavailable(str(error)) from error
        return self._connection

    def _write_all(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        if len(rows) == 1:
            self._write(sql, rows[0])
            return
        connection = self._connected()
        try:
            connection.execute("begin immediate")
            connection.executemany(sql, rows)
            connection.execute("commit")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("rollback")
            raise JournalUnavailable(str(error)) from error

    def _write(self, sql: str, values: tuple[Any, ...]) -> None:
        try:
            self._connected().execute(sql, values)
        except sqlite3.Error as error:
            raise JournalUnavailable(str(error)) from error


class Orphan:
    """A dead worker's journal, claimed: we hold its lock until we leave the `with`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.worker_id = path.stem
        self._lock = lock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def entries(self) -> list[Entry]:
        """All that can be read. A damaged file is put aside under another name, with a line in the log."""
        found: list[Entry] = []
        if not self.path.exists():
            return found
        damage: Exception | None = None
        try:
            connection = _open(self.path)
            try:
                for row in connection.execute(
                    "select seq, attempt, progress, settlement from entry where seq > 0 order by seq"
                ):
                    try:
                        found.append(_entry(*row))
                    except (ValueError, TypeError, KeyError) as error:
                        damage = error  # of this line; the others may be whole
            finally:
                connection.close()
        except sqlite3.Error as error:
            damage = error
        if damage is not None:
            self._put_aside(damage, len(found))
        return found

    def _put_aside(self, damage: Exception, count: int) -> None:
        """Keep a damaged file, with what SQLite had not yet written into it, where `remove` does not find it."""
        aside = self.path.with_suffix(f".damaged-{int(time.time())}")
        log.error("journal %s is damaged (%s); %d entries read, kept as %s", self.path, damage, count, aside)
        for suffix in ("", "-wal"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))

    def remove(self) -> None:
        """Delete the file, once everything in it stands in the ledger."""
        _remove(self.path)


def claim_orphans(directory: Path) -> Iterator[Orphan]:
    """Give each journal whose worker is gone. Only one living process gets it, because only one gets its lock."""
    for lock_path in sorted(directory.glob("*.lock")):
        try:
            lock = os.open(lock_path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        with Orphan(lock_path.with_suffix(".db"), lock) as orphan:
            yield orphan


def _lock_new(directory: Path) -> tuple[str, int]:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        worker_id = str(ULID())
        lock = os.open(directory / f"{worker_id}.lock", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)  # somebody looking for orphans was quicker; it will remove the empty name
            continue
        return worker_id, lock


def _open(path: Path) -> sqlite3.Connection:
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    # Nobody else has this file open while its lock is held, so there is nothing to wait for.
    connection = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=normal")
    connection.execute("pragma locking_mode=exclusive")
    connection.execute(_SCHEMA)
    return connection


def _entry(seq: int, attempt: bytes, progress: bytes | None, settlement: bytes | None) -> Entry:
    settled = None
    if settlement is not None:
        settled = Settlement(*orjson.loads(settlement))
        settled = settled._replace(flags=tuple(settled.flags))
    return Entry(seq, Attempt(*orjson.loads(attempt)), settled, None if progress is None else int(progress))


def _remove(path: Path) -> None:
    for suffix in (".db", ".db-wal", ".db-shm", ".lock"):
        path.with_suffix(suffix).unlink(missing_ok=True)
