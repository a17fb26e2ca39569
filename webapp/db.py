"""The database of the dashboard: Flask-SQLAlchemy over the tables that both processes share.

A request reads through `db.session`; figures that must agree are read in `one_moment()`. A change goes through
`writing()`, which begins the transaction as a writing one (see `shared.db.configure`), commits at its end and rolls
back on any exception.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session
from sqlalchemy import make_url
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import scoped_session

from shared.config import Settings
from shared.db import CONNECT_SECONDS, Base, configure
from webapp.offload import OFFLOAD

# Of a process, which serves hundreds of connections: more requests than this wait for one, and in vain are told 503.
_POOL_SIZE, _OVERFLOW = 10, 10
_ONE_MOMENT = "one moment"

db = SQLAlchemy(model_class=Base)


def init_app(app: Flask, settings: Settings) -> None:
    """Bind `db` to the app. Connects to nothing yet."""
    url = make_url(settings.database_url)
    # Values of a failed statement may be digests and sealed credentials: they stay out of error texts.
    options: dict[str, Any] = {
        "hide_parameters": True,
        "pool_pre_ping": True,
        "pool_size": _POOL_SIZE,
        "max_overflow": _OVERFLOW,
        "pool_timeout": CONNECT_SECONDS,
    }
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"factory": _Connection}
        # Flask-SQLAlchemy would look for a relative file in its own instance folder, the proxy in this directory.
        url = url.set(database=str(Path(url.database or "").absolute()))
        options["pool_pre_ping"] = False
    else:
        options["connect_args"] = {"connect_timeout": CONNECT_SECONDS}
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
    db.init_app(app)
    with app.app_context():
        configure(db.engine)


class _Cursor(sqlite3.Cursor):
    """SQLite waits for locks and disks inside of its calls, which nothing makes cooperative."""

    def execute(self, *arguments: Any) -> "_Cursor":
        OFFLOAD.statements(super().execute, *arguments)
        return self

    def executemany(self, *arguments: Any) -> "_Cursor":
        OFFLOAD.statements(super().executemany, *arguments)
        return self

    def fetchall(self) -> list[Any]:
        found: list[Any] = OFFLOAD.statements(super().fetchall)
        return found


class _Connection(sqlite3.Connection):
    """Transactions are ended by a statement as well, but for the end of a connection's use in the pool."""

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def commit(self) -> None:
        OFFLOAD.statements(super().commit)

    def rollback(self) -> None:
        OFFLOAD.statements(super().rollback)


T = TypeVar("T")


def first_or_next(change: Callable[[], T]) -> T:
    """A change that makes a row which may be there once only, or changes the one that is there.

    When somebody else made it at the same moment the database says so, and the second time it is there.
    """
    try:
        return change()
    except IntegrityError:
        return change()


@contextmanager
def one_moment() -> Iterator[None]:
    """What is read in it all stood there at one moment, whatever is committed between its statements.

    On SQLite any transaction reads so; PostgreSQL is to be told before the first statement, so what was read in the
    request before is not of the same moment. Within another one it is that one.
    """
    session = db.session()
    if _ONE_MOMENT in session.info:
        yield
        return
    session.rollback()
    if db.engine.dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    session.info[_ONE_MOMENT] = True
    try:
        yield
    finally:
        del session.info[_ONE_MOMENT]
        session.rollback()


@contextmanager
def writing() -> Iterator[scoped_session[Session]]:
    """One transaction that writes. What was read in the request before is read afresh in it."""
    if not current_app:
        raise RuntimeError("a write needs an application context")
    db.session.rollback()
    db.session.connection(execution_options={"writes": True})
    try:
        yield db.session
        db.session.commit()
    except BaseException:
        db.session.rollback()
        raise
