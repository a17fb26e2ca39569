"""Indexes of tables that may be large, on PostgreSQL: built while everybody reads and writes them.

A migration would build them in its transaction, and whoever writes to the table would wait for as long as that takes;
whoever reads it too, where the migration has dropped an index before.
`CREATE INDEX CONCURRENTLY` waits for others instead, and cannot stand in a transaction. So these indexes are no part
of any: whoever brings the tables up to date builds those that are missing afterwards. One that was broken off leaves
an index that the database says is invalid, and is built again. Which ones they are, the models say (`info`).
"""

import time

from sqlalchemy import Connection, Engine, Index, text
from sqlalchemy.schema import CreateIndex, DropIndex

from shared.models import metadata

_BUILD_LOCK = 0x454E5458  # any number that nobody else takes for an advisory lock in this database
_LOOK_AGAIN_SECONDS = 1.0


def large_indexes() -> tuple[Index, ...]:
    """All that are built so."""
    every = (index for table in metadata().sorted_tables for index in table.indexes)
    return tuple(index for index in every if index.info.get("large"))


def build_large_indexes(engine: Engine) -> None:
    """Build those that are not there, or not whole. The tables have to be up to date."""
    if engine.dialect.name != "postgresql":
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if all(_is_whole(connection, index) for index in large_indexes()):
            return
        connection.detach()  # what is set here is not for others, and ends with the connection
        # A build waits for all statements that are older. So whoever waits for another one to end asks, and does not
        # stand in a statement meanwhile: the two would wait for each other.
        while not connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), {"number": _BUILD_LOCK}):
            time.sleep(_LOOK_AGAIN_SECONDS)
        for deadline in ("statement_timeout", "lock_timeout"):
            connection.execute(text(f"SET {deadline} = 0"))
        for index in large_indexes():
            if not _is_whole(connection, index):
                for step in (DropIndex(index, if_exists=True), CreateIndex(index)):
                    connection.exec_driver_sql(_concurrently(str(step.compile(connection))))


def _concurrently(statement: str) -> str:
    """The word is put in here: as an option of the model it would be in every transaction that makes tables."""
    return statement.strip().replace(" INDEX ", " INDEX CONCURRENTLY ", 1)


def _is_whole(connection: Connection, index: Index) -> bool:
    query = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
    return bool(connection.scalar(query, {"name": index.name}))
