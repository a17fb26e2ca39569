"""The ledger in SQL: the only truth about money. Written by the ledger writer alone.

One transaction holds the rows of some ENDs, their daily sums, the totals of their keys and how far the journal has
been read. So each END is in the ledger exactly once: it is read from the position that stands there, and the unique id
of its attempt is a second guard. The transaction holds the row of the generation as well, so that the totals of a
generation's cut are exact although imports never pause (see `accounting_state`).

What is imported of a machine that was given up, and what that machine tells when it comes back all the same, reaches
the counters by no worker. So the transaction that posts it says that the present counters are outdated: new ones, which
begin with the ledger's sums, take their place.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine, Select, bindparam, delete, select, update
from sqlalchemy.exc import IntegrityError

from proxyd.accounting import ledger_postgresql, ledger_sqlite
from proxyd.accounting.adjustments import Adjustment, Corrections, Ended, adjusting, corrections
from proxyd.accounting.journal_reader import Position
from proxyd.accounting.ledger_rows import Line, Row, Statement, posting
from proxyd.accounting.limited_models import keys_summed_by_model
from proxyd.accounting.records import EndRecord, LedgerUnavailable
from shared.models import AccountingState, JournalState, PostedHolds

# Made once: what they are compiled to is found by a look at the statement, which costs more the newer it is.
_PRESENT = select(AccountingState.generation, AccountingState.model_limits)
_GENERATION = _PRESENT.with_for_update(read=True)
_GENERATION_ALONE = _PRESENT.with_for_update()  # nobody else posts or cuts meanwhile
_ADVANCE_COPIED = (
    update(JournalState.__table__)  # type: ignore[arg-type] # a Table, as mapped classes have it
    .where(
        JournalState.worker_id == bindparam("journal"),
        JournalState.segment == bindparam("from_segment"),
        JournalState.position == bindparam("from_position"),
        JournalState.closed_at.is_(None),
    )
    .values(segment=bindparam("to_segment"), position=bindparam("to_position"), end_number=bindparam("to_end"))
)
# Whoever does not know yet that a copy was imported must not pass over what has to be corrected.
_ADVANCE = _ADVANCE_COPIED.where(JournalState.imported_at.is_(None))


class _Present(NamedTuple):
    """What stands there when a transaction begins to post."""

    generation: int = 0
    sums_by_model: bool = False  # some key has, or had, a limit for models


class ReadCopy(NamedTuple):
    """A journal of which a copy was read to its end."""

    worker_id: str
    start: Position  # as the database has it
    reached: Position
    open: Sequence[Line]  # what has no END in the copy, as it is charged


class Ledger:
    """Posts what was used. Blocking. Raises SQLAlchemyError; then nothing was written."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        sqlite = engine.dialect.name == "sqlite"
        sql = ledger_sqlite if sqlite else ledger_postgresql
        self._statements: Sequence[Statement] = sql.STATEMENTS
        self._insert_adjustments: Statement = sql.INSERT_ADJUSTMENTS
        self._known = sql.known
        self._zone = "" if sqlite else "+00"  # behind a moment; SQLite has no such type, and all are UTC

    def post(self, worker_id: str, ends: Sequence[EndRecord], start: Position, reached: Position) -> int:
        """Write what a journal tells between two positions. Returns how many rows were new.

        Raises LedgerUnavailable, and nothing is written, when the position that stands there is not `start`, or the
        journal was closed or imported from a copy: another import was quicker, or an older copy of the database was
        put back.
        """
        lines = [(attempt, settlement) for _, _, attempt, settlement in ends if settlement is not None]

        def write(*, check_existing: bool) -> int:
            with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
                present = _present(connection, _GENERATION)
                if not self._advance(connection, worker_id, start, reached):
                    raise LedgerUnavailable(f"the journal of worker {worker_id} has been read to another position")
                return self._post(connection, lines, present, check_existing=check_existing)

        try:
            # By position none of these is there yet. That is not asked, because the unique id of a row says it.
            return write(check_existing=False)
        except IntegrityError:
            return write(check_existing=True)

    def post_lines(self, lines: Sequence[Line]) -> int:
        """Write what no journal of ours tells; each line once, by its attempt's id. Returns how many were new."""
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            present = _present(connection, _GENERATION)
            return self._post(connection, lines, present, check_existing=True)

    # Of machines that were given up

    def correct(self, worker_id: str, ends: Sequence[EndRecord], start: Position, reached: Position) -> int:
        """Write what a journal tells of which a copy was imported. Returns how many rows were written.

        An END of an attempt that was charged as an estimate is booked as an adjustment. Raises as `post` does.
        """
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            present = _present(connection, _GENERATION_ALONE)
            if not self._advance(connection, worker_id, start, reached, copied=True):
                raise LedgerUnavailable(f"the journal of worker {worker_id} has been read to another position")
            ended = [(attempt, settlement) for _, _, attempt, settlement in ends]
            return self._book(connection, corrections(connection, ended), present)

    def import_copies(self, copies: Sequence[ReadCopy]) -> int:
        """Charge what is open in copies, and have nobody wait for their workers any more. Returns the rows written.

        All of them or none. Their holds go with the counters, which are outdated by this. Raises as `post` does.
        """
        written = 0
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            present = _present(connection, _GENERATION_ALONE)
            for worker_id, start, reached, open_ in copies:
                if not self._advance(connection, worker_id, start, reached, copied=True):
                    raise LedgerUnavailable(f"the journal of worker {worker_id} has been read to another position")
                here = JournalState.worker_id == worker_id
                first = update(JournalState).where(here, JournalState.imported_at.is_(None))
                if connection.execute(first.values(imported_at=datetime.now(UTC))).rowcount:
                    self._outdate(connection, present.generation)
                connection.execute(delete(PostedHolds).where(PostedHolds.worker_id == worker_id))
                written += self._book(connection, corrections(connection, open_), present)
        return written

    def preview(self, ended: Sequence[Ended]) -> Corrections:
        """What would be written of these. Raises SQLAlchemyError."""
        with self.engine.connect() as connection:
            return corrections(connection, ended)

    def _book(self, connection: Connection, found: Corrections, present: _Present) -> int:
        generation = present.generation
        if found.fresh or found.adjustments:
            self._outdate(connection, generation)
        adjusted: list[Line] = [(one.attempt, one.settlement) for one in found.adjustments]
        by_model = _by_model(connection, [*found.fresh, *adjusted], present)
        # All keys first: below, each adjustment is written by itself.
        if touched := posting([*found.fresh, *adjusted], generation, self._zone).touched:
            self._statements[0].execute(connection, touched)
        self._write(connection, posting(found.fresh, generation, self._zone, by_model))
        for adjustment in found.adjustments:
            self._adjust(connection, adjustment, generation, by_model)
        return len(found.fresh) + len(found.adjustments)

    @staticmethod
    def _outdate(connection: Connection, generation: int) -> None:
        connection.execute(update(AccountingState).values(outdated=generation))

    # What all of them do

    def _post(self, connection: Connection, lines: Sequence[Line], present: _Present, *, check_existing: bool) -> int:
        """Write lines; if `check_existing`, only those that are not there yet."""
        fresh = self._fresh(connection, lines) if check_existing else lines
        by_model = _by_model(connection, fresh, present)
        self._write(connection, posting(fresh, present.generation, self._zone, by_model))
        return len(fresh)

    def _adjust(
        self, connection: Connection, adjustment: Adjustment, generation: int, by_model: Collection[str]
    ) -> None:
        _, rows, *sums = adjusting(adjustment, generation, self._zone, by_model)
        self._insert_adjustments.execute(connection, rows)
        self._write(connection, ([], [], *sums))

    def _write(self, connection: Connection, found: Sequence[list[Row]]) -> None:
        for statement, rows in zip(self._statements, found, strict=True):
            if rows:
                statement.execute(connection, rows)

    @staticmethod
    def _advance(
        connection: Connection, worker_id: str, start: Position, reached: Position, *, copied: bool = False
    ) -> bool:
        moved = connection.execute(
            _ADVANCE_COPIED if copied else _ADVANCE,
            {
                "journal": worker_id,
                "from_segment": start.segment,
                "from_position": start.position,
                "to_segment": reached.segment,
                "to_position": reached.position,
                "to_end": reached.end_number,
            },
        )
        return moved.rowcount == 1

    def _fresh(self, connection: Connection, lines: Sequence[Line]) -> list[Line]:
        """Without those that are there."""
        there = self._known(connection, [attempt.id for attempt, _ in lines])
        # One that stands here twice is one as well: of the first, nothing differs.
        first = {line[0].id: line for line in reversed(lines)}
        return [line for line in lines if line[0].id not in there and first[line[0].id] is line]


def _present(connection: Connection, query: Select[int, bool]) -> _Present:
    row = connection.execute(query).first()
    return _Present() if row is None else _Present(row[0], row[1])


def _by_model(connection: Connection, lines: Sequence[Line], present: _Present) -> set[str]:
    """The keys of these lines that have sums by model."""
    if not present.sums_by_model or not lines:
        return set()
    return keys_summed_by_model(connection, {attempt.key_id for attempt, _ in lines})
