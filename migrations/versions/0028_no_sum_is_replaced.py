"""SQLite: INSERT OR REPLACE lowers no sum and takes no row of the ledger away, whatever program it comes from.

It deletes the row that is in its way without asking the triggers that refuse deletions, unless a connection asks for
that (`PRAGMA recursive_triggers`), as ours do and a shell does not. Before a row comes it is noted whether one is in
its way; where it has come all the same, that one was replaced. An INSERT ... ON CONFLICT DO UPDATE, as ledger writers
of this release and of the one before send, does not come so far. A row may also be in the way by its number alone.

PostgreSQL has no such statement. Revision 0028, after 0027.
"""

# ruff: noqa: S608 - every statement here is made of constants of this file

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

SUMS = {
    "usage_daily": ("key_id", "day", "provider", "model"),
    "organization_usage": ("org_id", "day", "provider", "model"),
    "key_spend": ("key_id", "day"),
    "label_usage": ("key_id", "day", "label"),
}
APPEND_ONLY = ("usage_records", "audit_events")


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    op.create_table(
        "sums_in_the_way",
        sa.Column("table_name", sa.String(length=40), nullable=False),
        sa.Column("found", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("table_name", name="pk_sums_in_the_way"),
        sqlite_with_rowid=False,
    )
    for table, place in SUMS.items():
        op.execute(f"INSERT INTO sums_in_the_way (table_name, found) VALUES ('{table}', 0)")
        _keep_sums(table, place)
    for table in APPEND_ONLY:
        _keep_rows(table, _in_the_way(table, ("id",)))


def downgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    for table in SUMS:
        for name in ("note_replace", "refuse_replace", "refuse_number"):
            op.execute(f"DROP TRIGGER {table}_{name}")
    op.drop_table("sums_in_the_way")
    for table in APPEND_ONLY:
        _keep_rows(table, f"EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id)")


def _keep_sums(table: str, place: tuple[str, ...]) -> None:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} only rises'); END"
    # Written only where it changes, which it seldom does within a batch.
    op.execute(
        f"CREATE TRIGGER {table}_note_replace BEFORE INSERT ON {table} BEGIN "
        "UPDATE sums_in_the_way SET found = 1 - found "
        f"WHERE table_name = '{table}' AND found <> ({_in_the_way(table, place)}); END"
    )
    op.execute(
        f"CREATE TRIGGER {table}_refuse_replace AFTER INSERT ON {table} "
        f"WHEN (SELECT found FROM sums_in_the_way WHERE table_name = '{table}') {refuse}"
    )
    # UPDATE OR REPLACE takes another row away as well, if it gives one that row's number.
    op.execute(f"CREATE TRIGGER {table}_refuse_number BEFORE UPDATE ON {table} WHEN NEW.rowid <> OLD.rowid {refuse}")


def _keep_rows(table: str, replaced: str) -> None:
    op.execute(f"DROP TRIGGER {table}_refuse_replace")
    op.execute(
        f"CREATE TRIGGER {table}_refuse_replace BEFORE INSERT ON {table} WHEN {replaced} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )


def _in_the_way(table: str, place: tuple[str, ...]) -> str:
    """Whether a row would be replaced. What comes without a number of its own has one below nothing here."""
    same = " AND ".join(f"{column} = NEW.{column}" for column in place)
    return (
        f"EXISTS (SELECT 1 FROM {table} WHERE {same}) "
        f"OR (NEW.rowid >= 0 AND EXISTS (SELECT 1 FROM {table} WHERE rowid = NEW.rowid))"
    )
