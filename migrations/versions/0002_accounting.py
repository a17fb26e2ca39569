"""What exact accounting stands on: a generation, positions of journals, totals of keys, an outbox, stricter triggers.

Revision 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("usage_records", "audit_events")
ALL_DAYS = "1970-01-01"  # the row of key_spend that sums all days of a key


def upgrade() -> None:
    op.add_column("organizations", sa.Column("policy_version", sa.Integer(), nullable=False, server_default="1"))
    op.create_index("ix_idempotent_creations_created_at", "idempotent_creations", ["created_at"])
    _tables()
    _totals()
    if op.get_bind().dialect.name == "sqlite":
        _stricter_sqlite()
    else:
        _stricter_postgresql()


def downgrade() -> None:
    raise NotImplementedError(
        "Totals and positions are not taken away: counters could not be rebuilt. Restore a backup."
    )


def _tables() -> None:
    op.create_table(
        "accounting_state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounting_state"),
    )
    op.execute("INSERT INTO accounting_state (id, generation) VALUES (1, 0)")
    op.create_table(
        "journals",
        sa.Column("worker_id", sa.String(length=40), nullable=False),
        sa.Column("machine", sa.String(length=40), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("end_number", sa.BigInteger(), nullable=False),
        sa.Column("cut_end_number", sa.BigInteger(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("worker_id", name="pk_journals"),
    )
    op.create_index("ix_journals_closed_at", "journals", ["closed_at"])
    op.create_table(
        "key_spend",
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("base_nanos", sa.BigInteger(), nullable=False),
        sa.Column("total_nanos", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "day", name="pk_key_spend"),
    )
    op.create_table(
        "policy_outbox",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("subject", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policy_outbox"),
    )


def _totals() -> None:
    """Fill the totals of a router that has been running: once, and never again by a query over everything."""
    op.execute(
        "INSERT INTO key_spend (key_id, day, generation, base_nanos, total_nanos) "
        "SELECT key_id, day, 0, SUM(cost_nanos), SUM(cost_nanos) FROM usage_daily GROUP BY key_id, day"
    )
    day = f"'{ALL_DAYS}'" if op.get_bind().dialect.name == "sqlite" else f"DATE '{ALL_DAYS}'"
    op.execute(
        "INSERT INTO key_spend (key_id, day, generation, base_nanos, total_nanos) "  # noqa: S608 - a constant
        f"SELECT key_id, {day}, 0, SUM(cost_nanos), SUM(cost_nanos) FROM usage_daily GROUP BY key_id"
    )


def _stricter_sqlite() -> None:
    """INSERT OR REPLACE deletes without the delete trigger; and sums may only rise."""
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_refuse_replace BEFORE INSERT ON {table} "  # noqa: S608 - constants
            f"WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id) "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
    op.execute(
        "CREATE TRIGGER usage_daily_refuse_delete BEFORE DELETE ON usage_daily "
        "BEGIN SELECT RAISE(ABORT, 'usage_daily only rises'); END"
    )
    op.execute(
        "CREATE TRIGGER usage_daily_refuse_fall BEFORE UPDATE ON usage_daily "
        "WHEN NEW.requests < OLD.requests OR NEW.cost_nanos < OLD.cost_nanos OR NEW.input_tokens < OLD.input_tokens "
        "OR NEW.output_tokens < OLD.output_tokens OR NEW.key_id <> OLD.key_id OR NEW.day <> OLD.day "
        "OR NEW.provider <> OLD.provider OR NEW.model <> OLD.model "
        "BEGIN SELECT RAISE(ABORT, 'usage_daily only rises'); END"
    )


def _stricter_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION refuse_fall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF TG_OP <> 'UPDATE' OR NEW.requests < OLD.requests OR NEW.cost_nanos < OLD.cost_nanos "
        "OR NEW.input_tokens < OLD.input_tokens OR NEW.output_tokens < OLD.output_tokens "
        "OR (NEW.key_id, NEW.day, NEW.provider, NEW.model) <> (OLD.key_id, OLD.day, OLD.provider, OLD.model) "
        "THEN RAISE EXCEPTION 'usage_daily only rises'; END IF; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER usage_daily_refuse_fall BEFORE UPDATE OR DELETE ON usage_daily "
        "FOR EACH ROW EXECUTE FUNCTION refuse_fall()"
    )
    op.execute(
        "CREATE TRIGGER usage_daily_refuse_truncate BEFORE TRUNCATE ON usage_daily "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_fall()"
    )
