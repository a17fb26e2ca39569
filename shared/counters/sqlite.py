"""The counters on a SQLite file, shared by all processes of a machine.

Every transaction first checks that these are the counters this process knows (generation, file, sequence; see
`shared_state`). A batch that was applied before gets the decisions of then; otherwise each key is read once,
its ends and charges are judged in memory, in order (`bookings`), and it is written once.
"""

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import orjson
from limits.strategies import MovingWindowRateLimiter

from shared.counters import datafile, last_batch
from shared.counters.bookings import book_ends, book_hold, book_requests, decide
from shared.counters.moments import BatchContext, Moment, moment_of
from shared.counters.rows import KeyRow
from shared.counters.shared_state import SharedState
from shared.counters.storage import SqliteStorage, fill
from shared.counters.transaction import READ_ORG, WRITE_ORG, Transaction
from shared.counters.values import (
    Batch,
    CountersLost,
    CountersStatus,
    CountersUnavailable,
    Decision,
    End,
    RateBucket,
    Seed,
    WorkerReplay,
    WorkerState,
)

_STATUS = "SELECT batch, joined, (SELECT MAX(sequence) FROM process) FROM process WHERE id = ''"
_READ_ADMITTED = "SELECT admitted FROM process WHERE id = ?"
_WRITE_BATCH = "UPDATE process SET batch = ?, end_number = ?, sequence = ?, admitted = ? WHERE id = ?"
_WRITE_JOINED = (
    "INSERT OR REPLACE INTO process (id, joined, batch, end_number, sequence, admitted) VALUES (?, 1, 0, ?, ?, '[]')"
)
_WRITE_SEQUENCE = "UPDATE process SET sequence = ? WHERE id = ''"

# Who is inside a transaction on the old file while a new one is made still notes its number: it stays below the new.
_SEQUENCE_GAP = 2**20


class SqliteCounters:
    """Batches and rebuilds on the file of a `SqliteStorage`. Every method may raise `CountersUnavailable`.

    What writes raises `CountersLost` when these are not the right counters. `shared_state` is of the processes of one
    data directory; without it (a test, a look from outside) only the generation is compared.
    """

    shared = None  # with no other machine

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage
        self._clock = storage.clock
        self._rate = MovingWindowRateLimiter(storage)
        self.database = storage.database
        self.shared_state: SharedState | None = None
        self.pid = os.getpid()

    def attach(self, shared_state: SharedState | None) -> None:
        """Compare with this shared state from now on; for this process."""
        self.shared_state = shared_state
        self.pid = os.getpid()

    def refuse_foreign(self, installation: int) -> None:  # noqa: ARG002 - a file is its machine's own
        """Raise CountersUnavailable if what stands there is somebody else's."""
        datafile.refuse_foreign(self.database.path)

    # Of a worker

    def apply_batch(self, batch: Batch) -> list[Decision]:
        """Apply ends, then decide charges, in order, in one transaction. The same batch again: the same decisions."""
        storage = self._storage
        with self._transaction(batch.worker_id, batch.generation) as tx:
            state = tx.state
            if not state.joined:
                raise CountersLost("the worker is not known", batch.generation)
            if state.number == batch.number:
                return last_batch.decisions(tx.execute(_READ_ADMITTED, (batch.worker_id,)).fetchone()[0], batch)
            if state.number != batch.number - 1:
                raise CountersLost("batches are missing", batch.generation)
            moment = storage.moment = self.moment()
            rows: dict[str, KeyRow] = {}
            storage.rows = rows
            end_number = state.end_number
            ends: list[End] = []
            for end in batch.ends:
                if end.number > end_number:
                    end_number = end.number
                elif end.number:
                    continue  # it was told when the worker joined
                ends.append(end)
            book_ends(tx, rows, ends)
            context = BatchContext(batch.generation, bool(state.live), moment)
            decisions, admitted = decide(tx, rows, batch.charges, context, self._rate.hit)
            tx.write(rows, moment.day)
            told = last_batch.encode(moment, batch.charges, decisions, admitted, state.tracked)
            tx.execute(_WRITE_BATCH, (batch.number, end_number, tx.mark_written(), told, batch.worker_id))
        tx.update_cache(batch.number, end_number, rows)
        return decisions

    def register(self, worker_id: str, generation: int) -> None:
        """A new worker, which holds nothing. What of it the ledger knew at the cut is not counted again."""
        with self._transaction(worker_id, generation) as tx:
            if not tx.state.joined:
                tx.execute(_WRITE_JOINED, (worker_id, tx.state.end_number or 0, tx.mark_written()))

    def join(self, replay: WorkerReplay) -> None:
        """A worker that lives brings what it has into a new generation. Again: no effect."""
        with self._transaction(replay.worker_id, replay.generation) as tx:
            if tx.state.joined is None:
                raise CountersLost("the worker was taken out", replay.generation)
            if tx.state.joined:
                return
            rows: dict[str, KeyRow] = {}
            book_ends(tx, rows, _new(replay, tx.state.end_number, with_holds=False))
            for hold in replay.holds:
                book_hold(tx, rows, hold)
            book_requests(tx, rows, replay.buckets)
            tx.write(rows, self.moment().day)
            tx.execute(_WRITE_JOINED, (replay.worker_id, replay.end_number, tx.mark_written()))

    # Of the ledger writer

    def close_worker(self, replay: WorkerReplay) -> bool:
        """Take out a worker that died: its ends above what the counters have seen, its holds back, its row away.

        `ends` hold one for each attempt that was begun; `holds` are admissions of its last batch that never were;
        `buckets` count if it had not joined. False: it was out before, and nothing was done.
        """
        with self._transaction(replay.worker_id, replay.generation) as tx:
            if tx.state.joined is None:
                return False
            rows: dict[str, KeyRow] = {}
            book_ends(tx, rows, _new(replay, tx.state.end_number, with_holds=bool(tx.state.joined)))
            if tx.state.joined:
                for hold in replay.holds:
                    book_hold(tx, rows, hold, -1)
            else:
                book_requests(tx, rows, replay.buckets)
            tx.write(rows, self.moment().day)
            tx.execute("DELETE FROM process WHERE id = ?", (replay.worker_id,))
            tx.execute(_WRITE_SEQUENCE, (tx.mark_written(),))
        return True

    def worker_state(self, worker_id: str) -> WorkerState | None:
        """What is known of a worker; None: it is not of this generation, or out."""
        rows = self.database.read("SELECT joined, end_number, admitted FROM process WHERE id = ?", (worker_id,))
        if not rows:
            return None
        joined, end_number, admitted = rows[0]
        return WorkerState(bool(joined), end_number, last_batch.held(admitted))

    def begin_generation(
        self, generation: int, workers: Mapping[str, int], organizations: Collection[str] = ()
    ) -> None:
        """Put empty counters in the place of whatever stands there. `workers` (id -> END at the cut) have to join.

        Of these organisations a row is kept, as of a key.
        """
        assert self.shared_state is not None  # noqa: S101 - only the ledger writer calls this, and it has one
        shared_state = self.shared_state
        sequence = shared_state.sequence + _SEQUENCE_GAP

        def fill_in(connection: sqlite3.Connection) -> None:
            fill(connection)
            tracked = orjson.dumps(sorted(organizations)).decode()
            connection.execute("INSERT INTO process VALUES ('', 0, ?, 0, ?, ?)", (generation, sequence, tracked))
            connection.executemany("INSERT INTO process VALUES (?, 0, 0, ?, 0, '[]')", list(workers.items()))

        shared_state.begin_file_change()
        try:
            self.database.create(fill_in)
        except CountersUnavailable:
            # What stood there before is still right, if it stands there.
            shared_state.end_file_change(*shared_state.file_identity())
            raise
        shared_state.begin_generation(generation, sequence, *datafile.identity(self.database.name))

    def restore_requests(self, generation: int, buckets: Iterable[RateBucket]) -> None:
        """Count requests of the last minute that were admitted before these counters were made."""
        with self._update(generation) as (tx, rows):
            book_requests(tx, rows, list(buckets))

    def go_live(self, generation: int) -> None:
        """Every worker has joined or is out: limits are enforced again."""
        with self._transaction("", generation) as tx:
            tx.execute("UPDATE process SET joined = 1, sequence = ? WHERE id = ''", (tx.mark_written(),))

    def checkpoint(self) -> None:
        """Write the log back into the file, which nobody else does. Never on an event loop."""
        shared_state, name = self.shared_state, self.database.name
        assert shared_state is not None  # noqa: S101 - as above
        if not self.intact:
            return
        inode, modified_ns = datafile.identity(name)
        shared_state.begin_file_change()
        try:
            for mode in ("PASSIVE", "RESTART"):
                self.database.read(f"PRAGMA wal_checkpoint({mode})")
        finally:
            now = datafile.identity(name)
            # A file that has come to stand there meanwhile is not the one that was written to, nor right by it.
            shared_state.end_file_change(inode, now[1] if now[0] == inode else modified_ns)

    # Of whoever reads or edits policy

    def publish(self, generation: int, keys: Mapping[str, int], orgs: Mapping[str, int]) -> None:
        """Raise the versions of policies, by id. A key that has no row gets one."""
        with self._update(generation) as (tx, rows):
            for key_id, version in keys.items():
                row = tx.row(rows, key_id)
                row.version = max(row.version, version)
            for org in orgs.items():
                tx.execute(WRITE_ORG, org)

    def seed(self, generation: int, seeds: Iterable[Seed]) -> None:
        """Add what the ledger said of keys when this generation was cut, to each once."""
        with self._update(generation) as (tx, rows):
            for seed in seeds:
                tx.row(rows, seed.key_id).seed(seed)

    def status(self) -> CountersStatus:
        """How the counters stand."""
        (found,) = self.database.read(_STATUS) or [(0, 0, 0)]
        missing = self.database.read("SELECT id FROM process WHERE joined = 0 AND id <> ''")
        return CountersStatus(found[0], bool(found[1]), found[2], tuple(worker for (worker,) in missing))

    def rows(self, key_ids: Sequence[str]) -> dict[str, KeyRow]:
        """The rows of these keys, as far as there are any."""
        found: dict[str, KeyRow] = {}
        for start in range(0, len(key_ids), 500):
            some = orjson.dumps(key_ids[start : start + 500]).decode()
            sql = "SELECT id, state FROM key_row WHERE id IN (SELECT value FROM json_each(?))"
            found.update({key_id: KeyRow.decode(state) for key_id, state in self.database.read(sql, (some,))})
        return found

    def org_version(self, org_id: str) -> int:
        rows = self.database.read(READ_ORG, (org_id,))
        return int(rows[0][0]) if rows else 0

    def check(self) -> bool:
        """Whether these are the right counters, live, and can be written now."""
        status = self.status()
        return status.live and self.intact and self._storage.check()

    def close(self) -> None:
        """Close this thread's connection; the next call opens one. Closing the last of all is a checkpoint: a loss."""
        self.database.close()

    def moment(self) -> Moment:
        return moment_of(self._clock.wall(), self._clock.steady())

    @property
    def intact(self) -> bool:
        """Whether the file that stands at the path is the one the shared state tells of."""
        return self.shared_state is None or self.shared_state.matches_file(self.database.name)

    @contextmanager
    def _update(self, generation: int) -> Iterator[tuple[Transaction, dict[str, KeyRow]]]:
        """A transaction of nobody's in particular; the rows that were read in it are written at its end."""
        with self._transaction("", generation) as tx:
            rows: dict[str, KeyRow] = {}
            yield tx, rows
            tx.write(rows, self.moment().day)
            tx.execute(_WRITE_SEQUENCE, (tx.mark_written(),))

    def _transaction(self, own_id: str, generation: int) -> Transaction:
        return Transaction(self, own_id, generation)


def _new(replay: WorkerReplay, end_number: int, *, with_holds: bool) -> list[End]:
    """What ended above a number; of what these counters were never asked about, the costs alone."""
    ends = [end for end in replay.ends if end.number > end_number]
    return ends if with_holds else [end._replace(held_nanos=0, requests=0, tokens=None) for end in ends]
