"""How Alembic reaches the database: through the app's own engine, all migrations in one transaction.

On SQLite that transaction is begun as a writing one (see shared.db), so a process killed in the middle leaves the old
schema; on PostgreSQL a lock keeps a second upgrade waiting.

Indexes of large tables are no part of that: they are built after it (see webapp.large_indexes).

The router may be serving meanwhile. A change that waits for the lock of a table keeps everybody waiting who asks for
that table after it, so on PostgreSQL it waits a second, and then all is as it was.
"""

from alembic import context
from flask import current_app
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from shared import models
from webapp.large_indexes import build_large_indexes

_LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's code
_UPGRADE_LOCK = 0x454E5452  # any number that nobody else takes for an advisory lock in this database


def _run(connection: Connection) -> bool:
    """Whether the tables are of the newest release then."""
    context.configure(
        connection=connection,
        target_metadata=models.metadata(),
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    return set(context.get_context().get_current_heads()) == set(context.script.get_heads())


if context.is_offline_mode():
    raise SystemExit("These migrations need a database; printing SQL alone is not supported.")

engine = current_app.extensions["migrate"].db.engine
try:
    with engine.connect().execution_options(writes=True) as opened, opened.begin():
        if opened.dialect.name == "postgresql":
            opened.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _UPGRADE_LOCK})
            opened.execute(text("SET LOCAL lock_timeout = '1s'"))
        newest = _run(opened)
except OperationalError as error:
    if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
        raise
    raise SystemExit(
        "The tables were not changed: somebody reads or writes one of them in a transaction that takes longer than a "
        "second (a backup, a report?). Try again when it has ended."
    ) from None
if newest:
    build_large_indexes(engine)
