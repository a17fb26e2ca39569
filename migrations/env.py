"""How Alembic reaches the database: through the app's own engine, all migrations in one transaction.

On SQLite that transaction is begun as a writing one (see shared.db), so a process killed in the middle leaves the old
schema; on PostgreSQL a lock keeps a second upgrade waiting.
"""

from alembic import context
from flask import current_app
from sqlalchemy import Connection, text

import shared.models  # noqa: F401 - fills the metadata
from shared.db import Base

_UPGRADE_LOCK = 0x454E5452  # any number that nobody else takes for an advisory lock in this database


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("These migrations need a database; printing SQL alone is not supported.")

engine = current_app.extensions["migrate"].db.engine
with engine.connect().execution_options(writes=True) as opened, opened.begin():
    if opened.dialect.name == "postgresql":
        opened.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _UPGRADE_LOCK})
    _run(opened)
