"""The declarative base, the engine and the session factory that both processes share."""

import contextlib
import os
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Engine, Index, MetaData, String, create_engine, event, text
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import DateTime, TypeDecorator

BUSY_TIMEOUT_SECONDS = 5
CONNECT_SECONDS = 5
# Of PostgreSQL: no connection, statement or lock is waited for without end, and a network that swallows packets is
# noticed. (A server that was stopped notices no deadline of its own: whoever asks it from an event loop brings one.)
_DEADLINES = {
    "connect_timeout": CONNECT_SECONDS,
    "options": "-c statement_timeout=15000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=30000",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class Base(DeclarativeBase):
    """Base of every table. Constraint names are fixed, so that migrations can name them on any database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        },
        # Flask-SQLAlchemy finds the engine of a foreign base by this; None is its default engine.
        info={"bind_key": None},
    )


def by_code_point(length: int) -> String:
    """A text that is in the order of its code points on every database, so that an index finds its beginnings."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


class PartialIndex(Index):
    """An index of those rows for which `where` holds, a condition of SQL; PostgreSQL may have words of its own for it.

    An `Index` that is given `sqlite_where` and `postgresql_where` loads both dialects at once, and PostgreSQL's takes
    2 MB of each process. Here these options are made when they are asked for, which is when tables are made.
    """

    def __init__(
        self,
        name: str,
        *columns: str,
        where: str,
        where_postgresql: str | None = None,
        info: dict[Any, Any] | None = None,
    ) -> None:
        super().__init__(name, *columns, info=info)
        self._where = {"sqlite": where, "postgresql": where_postgresql or where}

    @cached_property
    def dialect_options(self) -> Any:
        options = super().dialect_options
        for dialect, where in self._where.items():
            options[dialect]["where"] = text(where)
        return options


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, always aware and always UTC in Python; naive values are refused rather than guessed."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def create(url: str, *, cache_kib: int | None = None, temporary_in_memory: bool = False) -> Engine:
    """An engine for `url`, configured; on SQLite the file is made with mode 0600.

    `cache_kib` is what each connection to SQLite keeps of the file, if not as much as SQLite itself would. With
    `temporary_in_memory` it makes no temporary files: for who writes a lot at once and sorts little.
    Errors of a statement do not repeat its values: they may be digests, names or sealed credentials.
    """
    server = not url.startswith("sqlite")
    engine = create_engine(
        url,
        pool_pre_ping=server,
        pool_timeout=CONNECT_SECONDS,
        hide_parameters=True,
        json_serializer=_to_json,
        connect_args=_DEADLINES if server else {},
    )
    return configure(engine, cache_kib, temporary_in_memory=temporary_in_memory)


def _to_json(value: object) -> str:
    return orjson.dumps(value).decode()


def configure(engine: Engine, cache_kib: int | None = None, *, temporary_in_memory: bool = False) -> Engine:
    """Set what every connection of ours needs: on SQLite WAL, foreign keys, a patient lock, durable commits.

    The sqlite3 module's own transaction handling begins late, at the first write; a read that then turns to writing
    fails at once with SQLITE_BUSY_SNAPSHOT. So transactions are begun here, as IMMEDIATE when a session says that it
    will write (`execution_options(writes=True)`), and as plain ones otherwise.
    """
    if engine.dialect.name != "sqlite":
        return engine

    @event.listens_for(engine, "do_connect")
    def before_connect(*_: object) -> None:
        # What keeps the file from being made, its folder is gone for instance, SQLite says next: as a database's fault,
        # which is what whoever asks one expects.
        with contextlib.suppress(OSError):
            if engine.url.database and not Path(engine.url.database).exists():
                os.close(os.open(engine.url.database, os.O_CREAT | os.O_RDWR, 0o600))

    @event.listens_for(engine, "connect")
    def on_connect(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA recursive_triggers=ON")  # else REPLACE deletes what a trigger keeps
        if temporary_in_memory:
            # Else a statement that may fail half way keeps the pages that it changes in a file, if they are many.
            cursor.execute("PRAGMA temp_store=MEMORY")
        if cache_kib is not None:
            cursor.execute(f"PRAGMA cache_size=-{cache_kib}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - SQLAlchemy's Connection
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
