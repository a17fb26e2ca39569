"""Keys that are stopped for now, and no rate limit of zero any more.

Until now `rate_limit_rpm` 0 was the way to stop a key, and SDKs waited for ever on its 429. Such a key becomes a paused
one without a rate limit: it admits as little as before, and says so. Whoever resumes it has to set the limit they want.
This changes keys that people have set, so each of them gets a new version and an audit event by "system".

Revision 0003, after 0002.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from shared.ids import new_id

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TOO_LOW = "rate_limit_rpm must be at least 1"


def upgrade() -> None:
    # A plain ADD COLUMN on both databases. On SQLite a batch operation would build the table anew and drop the old one,
    # which deletes its rows, and with them, by their foreign key, the secrets of all keys.
    op.add_column("proxy_keys", sa.Column("paused", sa.Boolean(), nullable=False, server_default=sa.false()))
    _pause_what_had_no_rate()
    if op.get_bind().dialect.name == "sqlite":
        _at_least_one_sqlite()
    else:
        _at_least_one_postgresql()


def downgrade() -> None:
    raise NotImplementedError("Without the column paused keys would work again. Restore a backup.")


def _pause_what_had_no_rate() -> None:
    moment = sa.DateTime(timezone=True)
    keys = sa.table(
        "proxy_keys", *map(sa.column, ("id", "org_id", "rate_limit_rpm", "version")), sa.column("paused", sa.Boolean())
    )
    events = sa.table(
        "audit_events",
        *map(sa.column, ("id", "org_id", "actor", "action", "target")),
        sa.column("at", moment),
        sa.column("before", sa.JSON()),
        sa.column("after", sa.JSON()),
    )
    connection = op.get_bind()
    found = connection.execute(sa.select(keys.c.id, keys.c.org_id).where(keys.c.rate_limit_rpm == 0)).all()
    for key_id, org_id in found:
        change = {"paused": True, "rate_limit_rpm": None}
        raised = sa.update(keys).where(keys.c.id == key_id).values(version=keys.c.version + 1, **change)
        connection.execute(raised)
        event = {"id": new_id("aud"), "org_id": org_id, "at": datetime.now(UTC), "actor": "system", "target": key_id}
        before = {"paused": False, "rate_limit_rpm": 0}
        connection.execute(sa.insert(events).values(action="key.update", before=before, after=change, **event))


def _at_least_one_sqlite() -> None:
    """SQLite cannot change a CHECK without building the table anew (see above), so triggers say the same."""
    for when in ("INSERT", "UPDATE OF rate_limit_rpm"):
        op.execute(
            f"CREATE TRIGGER proxy_keys_refuse_rate_{when.split()[0].lower()} BEFORE {when} ON proxy_keys "
            f"WHEN NEW.rate_limit_rpm < 1 BEGIN SELECT RAISE(ABORT, '{TOO_LOW}'); END"
        )


def _at_least_one_postgresql() -> None:
    # The first migration's own name went through the naming convention once more, so it stands there doubled.
    op.execute("ALTER TABLE proxy_keys DROP CONSTRAINT ck_proxy_keys_ck_proxy_keys_rate_limit_rpm")
    op.execute("ALTER TABLE proxy_keys ADD CONSTRAINT ck_proxy_keys_rate_limit_rpm CHECK (rate_limit_rpm >= 1)")
