"""One transaction on the counters' file: begun only if these are the right counters, and noted once committed."""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable
from operator import itemgetter
from types import TracebackType
from typing import Protocol, Self

import orjson

from shared.counters.database import Database, Row, Session
from shared.counters.moments import BatchContext
from shared.counters.rows import NOT_LOADED, KeyRow
from shared.counters.shared_state import SharedState
from shared.counters.values import Charge, CountersLost, Decision, Missing, Stale

# The row of the counters themselves has the empty id: `batch` is the generation, `joined` whether they are live, and
# `admitted` the organisations that they keep a row of.
_READ_STATE = (
    "SELECT self.batch, self.joined, (SELECT MAX(sequence) FROM process), own.joined, own.batch, own.end_number,"
    " self.admitted"
    " FROM process self LEFT JOIN process own ON own.id = ? WHERE self.id = ''"
)
_READ_KEY = "SELECT place, state FROM key_row WHERE id = ?"
_READ_KEYS = "SELECT id, place, state FROM key_row WHERE id IN (SELECT value FROM json_each(?))"
# Two statements, because to replace a row costs half as much again as to update it.
_UPDATE_KEY = "UPDATE key_row SET state = ? WHERE place = ?"
_INSERT_KEY = "INSERT INTO key_row (state, id) VALUES (?, ?)"


READ_ORG = "SELECT version FROM org WHERE id = ?"
WRITE_ORG = "INSERT INTO org VALUES (?1, ?2) ON CONFLICT DO UPDATE SET version = MAX(version, ?2)"


class Owner(Protocol):
    """Whose transactions they are."""

    database: Database
    shared_state: SharedState | None
    pid: int


MAX_CACHED_ORGS = 64  # versions of organisations
MAX_CACHED_ROWS = 10_240  # of a KiB each
NONE_TRACKED = "[]"
_NONE: frozenset[str] = frozenset()


class RowCache:
    """The rows that the transactions of a connection have used last, for the END of a request and for the next one.

    One that was read before others have committed is read again, and mostly little of it has changed.
    """

    __slots__ = ("_rows", "reading")

    def __init__(self) -> None:
        self.reading = 0  # how often others had committed when rows were read
        self._rows: OrderedDict[str, KeyRow] = OrderedDict()  # the one that was used last comes last

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, key_id: str) -> KeyRow | None:
        return self._rows.get(key_id)

    def keep(self, rows: dict[str, KeyRow]) -> None:
        """As the last ones. Those that were not used for longest go."""
        kept = self._rows
        kept.update(rows)
        for key_id in rows:
            kept.move_to_end(key_id)
        for _ in range(len(kept) - MAX_CACHED_ROWS):
            kept.popitem(last=False)


class StateCache:
    """What stands in the counters, as far as the transactions of a connection have read or written it.

    SQLite tells by a data version whether another connection has committed since. If none has, a worker's next batch
    reads nothing again. It is kept with the connection and goes with it.
    """

    __slots__ = (
        "end_number",
        "generation",
        "joined",
        "live",
        "number",
        "orgs",
        "own_id",
        "rows",
        "sequence",
        "tracked",
        "version",
    )

    def __init__(self, version: int, own_id: str, row: Row | None, rows: RowCache) -> None:
        self.version = version  # SQLite's, of the data
        self.own_id = own_id
        self.generation: int  # 0: there are no counters
        self.live: int
        self.sequence: int  # of the last transaction that wrote
        self.joined: int | None  # None: there is no row of `own_id`
        self.number: int
        self.end_number: int
        *numbers, tracked = row or (*(0,) * 6, NONE_TRACKED)
        self.generation, self.live, self.sequence, self.joined, self.number, self.end_number = numbers
        self.tracked = _NONE if tracked == NONE_TRACKED else frozenset(orjson.loads(tracked))
        self.rows = rows
        self.orgs: dict[str, int] = {}


class Transaction:
    """One transaction on the right counters, with what a look at them tells. What is raised inside undoes it."""

    __slots__ = ("_generation", "_has_written", "_own_id", "_owner", "execute", "sequence", "session", "state")

    def __init__(self, owner: Owner, own_id: str, generation: int) -> None:
        self._owner = owner
        self._own_id = own_id
        self._generation = generation
        self._has_written = False
        self.session: Session
        self.state: StateCache
        self.sequence: int  # of this transaction, if it writes

    def __enter__(self) -> Self:
        owner = self._owner
        shared_state, database = owner.shared_state, owner.database
        if shared_state is None:
            database.close_if_replaced()
            self.session = database.begin()
        else:
            if not shared_state.matches_file(database.name):
                database.close()
                raise CountersLost("the file was replaced or written by somebody else")
            self.session = database.begin()
            if self.session.inode != shared_state.file_identity()[0]:
                database.drop(self.session)  # it has a file open that was right before
                self.session = database.begin()
            shared_state.enter_transaction(owner.pid)
        try:
            self._validate(shared_state)
        except BaseException as error:
            self._undo(error)
            raise
        return self

    def _validate(self, shared_state: SharedState | None) -> None:
        session = self.session
        execute = self.execute = session.execute
        # Only who writes nothing but what `update_cache` is told afterwards puts it back.
        state, session.cache = session.cache, None
        (version,) = execute("PRAGMA data_version").fetchone()
        if state is None or state.version != version or state.own_id != self._own_id:
            rows = RowCache() if state is None else state.rows
            rows.reading += 1
            state = StateCache(version, self._own_id, execute(_READ_STATE, (self._own_id,)).fetchone(), rows)
        if state.generation != self._generation:
            raise CountersLost("the generation is another one", state.generation)
        if shared_state is not None and (
            state.sequence < shared_state.sequence or shared_state.generation != self._generation
        ):
            raise CountersLost("an older copy stands there", self._generation)
        self.state = state
        self.sequence = state.sequence + 1

    def mark_written(self) -> int:
        """Something was written: the number to write with it."""
        self._has_written = True
        return self.sequence

    def row(self, rows: dict[str, KeyRow], key_id: str) -> KeyRow:
        """A key's row, read once."""
        row = rows.get(key_id)
        if row is None:
            cache = self.state.rows
            row = cache.find(key_id)
            if row is None or row.reading != cache.reading:
                row = self._read(key_id, row)
                row.reading = cache.reading
            rows[key_id] = row
        return row

    def read_ahead(self, rows: dict[str, KeyRow], key_ids: Iterable[str]) -> None:
        """Read many rows in one statement, for `row` to find."""
        new = set(key_ids).difference(rows)
        stored = self.execute(_READ_KEYS, (orjson.dumps(list(new)).decode(),)).fetchall()
        for key_id, place, state in sorted(stored, key=itemgetter(1)):  # they are written in the order of the file then
            row = rows[key_id] = KeyRow.decode(state)
            row.place = place
        for key_id in sorted(new.difference(rows)):
            rows[key_id] = KeyRow.new()
        for key_id in new:
            rows[key_id].reading = self.state.rows.reading

    def _read(self, key_id: str, before: KeyRow | None) -> KeyRow:
        """`before`: as it was when others had not committed yet."""
        stored = self.execute(_READ_KEY, (key_id,)).fetchone()
        if stored is None:
            return KeyRow.new()
        place, state = stored
        row = before if before is not None and before.refresh(state) else KeyRow.decode(state)
        row.place = place
        return row

    def decide_org(self, charge: Charge, context: BatchContext) -> Decision | None:
        """As a key's own row does: what refuses a charge of another version than the one that stands there."""
        org_id, orgs = charge.org_id, self.state.orgs
        known = orgs.get(org_id)
        if known is None:
            stored = self.execute(READ_ORG, (org_id,)).fetchone()
            known = orgs[org_id] = stored[0] if stored else NOT_LOADED
            if charge.org_version == known:
                return None
        if known == NOT_LOADED and charge.loaded_in != context.generation:
            return Missing(context.generation)
        if charge.org_version < known:
            return Stale()
        orgs[org_id] = charge.org_version
        self.execute(WRITE_ORG, (org_id, charge.org_version))
        return None

    def write(self, rows: dict[str, KeyRow], day: int) -> None:
        for key_id, row in rows.items():
            if row.place:
                self.execute(_UPDATE_KEY, (row.encode(day), row.place))
            else:
                row.place = self.execute(_INSERT_KEY, (row.encode(day), key_id)).lastrowid or 0

    def update_cache(self, number: int, end_number: int, rows: dict[str, KeyRow]) -> None:
        """Committed: with this batch, and these rows as they stand there now."""
        state = self.state
        state.sequence, state.number, state.end_number = self.sequence, number, end_number
        if len(state.orgs) > MAX_CACHED_ORGS:
            state.orgs.clear()
        state.rows.keep(rows)
        self.session.cache = state

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._undo(error)
            return
        owner = self._owner
        shared_state = owner.shared_state
        if shared_state is None:
            owner.database.commit(self.session)
            return
        try:
            owner.database.commit(self.session)
        finally:
            shared_state.leave_transaction(owner.pid)
        if self._has_written:
            shared_state.note_commit(self.sequence)

    def _undo(self, error: BaseException) -> None:
        owner = self._owner
        owner.database.roll_back(self.session)
        if owner.shared_state is not None:
            owner.shared_state.leave_transaction(owner.pid)
        if isinstance(error, sqlite3.Error):
            raise owner.database.failed(error, self.session) from error
