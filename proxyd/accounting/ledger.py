"""The ledger in SQL: the only truth about money. Written by the ledger writer alone.

One transaction holds the rows of some ENDs, their daily sums, the totals of their keys and how far the journal has
been read. So each END is in the ledger exactly once: it is read from the position that stands there, and the unique id
of its attempt is a second guard. The transaction holds the row of the generation as well, so that the totals of a
generation's cut are exact although imports never pause (see `accounting_state`).
"""

from collections.abc import Sequence

import orjson
from sqlalchemy import Connection, Engine, bindparam, select, update
from sqlalchemy.exc import IntegrityError

from proxyd.accounting import ledger_postgresql, ledger_rows
from proxyd.accounting.journal_reader import Position
from proxyd.accounting.ledger_rows import Line, posting
from proxyd.accounting.records import EndRecord, LedgerUnavailable
from shared.models import AccountingState, JournalState

# Made once: what they are compiled to is found by a look at the statement, which costs more the newer it is.
_GENERATION = select(AccountingState.generation).with_for_update(read=True)
_ADVANCE = (
    update(JournalState.__table__)  # type: ignore[arg-type] # a Table, as mapped classes have it
    .where(
        JournalState.worker_id == bindparam("journal"),
        JournalState.segment == bindparam("from_segment"),
        JournalState.position == bindparam("from_position"),
    )
    .values(segment=bindparam("to_segment"), position=bindparam("to_position"), end_number=bindparam("to_end"))
)
_KNOWN_SQLITE = "select id from usage_records where id in (select value from json_each(?))"
_KNOWN_POSTGRESQL = "select id from usage_records where id = any(%s)"


class Ledger:
    """Posts what was used. Blocking. Raises SQLAlchemyError; then nothing was written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sqlite = engine.dialect.name == "sqlite"
        self._statements = ledger_rows.STATEMENTS if self._sqlite else ledger_postgresql.STATEMENTS
        self._zone = "" if self._sqlite else "+00"  # behind a moment; SQLite has no such type, and all are UTC

    def post(self, worker_id: str, ends: Sequence[EndRecord], start: Position, reached: Position) -> int:
        """Write what a journal tells between two positions. Returns how many rows were new.

        Raises LedgerUnavailable, and nothing is written, when the position that stands there is not `start`: another
        import was quicker, or an older copy of the database was put back.
        """
        lines = [(attempt, settlement) for _, _, attempt, settlement in ends if settlement is not None]

        def write(*, looking: bool) -> int:
            with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
                generation = connection.scalar(_GENERATION) or 0
                if not self._advance(connection, worker_id, start, reached):
                    raise LedgerUnavailable(f"the journal of worker {worker_id} has been read to another position")
                return self._post(connection, lines, generation, looking=looking)

        try:
            # By position none of these is there yet. That is not asked, because the unique id of a row says it.
            return write(looking=False)
        except IntegrityError:
            return write(looking=True)

    def post_lines(self, lines: Sequence[Line]) -> int:
        """Write what no journal of ours tells; each line once, by its attempt's id. Returns how many were new."""
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            generation = connection.scalar(_GENERATION) or 0
            return self._post(connection, lines, generation, looking=True)

    def _post(self, connection: Connection, lines: Sequence[Line], generation: int, *, looking: bool) -> int:
        """Write lines; if `looking`, only those that are not there yet."""
        fresh = self._fresh(connection, lines) if looking else lines
        for statement, rows in zip(self._statements, posting(fresh, generation, self._zone), strict=True):
            if rows and self._sqlite:
                connection.exec_driver_sql(statement, rows)
            elif rows:
                connection.exec_driver_sql(statement, (ledger_postgresql.document(statement, rows),))
        return len(fresh)

    @staticmethod
    def _advance(connection: Connection, worker_id: str, start: Position, reached: Position) -> bool:
        moved = connection.execute(
            _ADVANCE,
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
        """Without those that are there. Asked with all ids as one value, which SQLAlchemy need not spell out."""
        ids = [attempt.id for attempt, _ in lines]
        if self._sqlite:
            known = connection.exec_driver_sql(_KNOWN_SQLITE, (orjson.dumps(ids).decode(),))
        else:
            known = connection.exec_driver_sql(_KNOWN_POSTGRESQL, (ids,))
        there = {row[0] for row in known}
        return [line for line in lines if line[0].id not in there]
