"""Journals that were imported from a copy, and rows that adjust what such an import had to estimate.

A day's cost may fall where a row adjusts one of that key and day; everything else in the daily sums still only rises.

Revision 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Plain ADD COLUMN on both databases: neither writes the ledger's rows anew for it.
    op.add_column("usage_records", sa.Column("adjusts", sa.String(length=64), nullable=True))
    adjusting = sa.text("adjusts IS NOT NULL")
    op.create_index(
        "ix_usage_records_adjusts", "usage_records", ["adjusts"], sqlite_where=adjusting, postgresql_where=adjusting
    )
    op.add_column("journals", sa.Column("imported_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("accounting_state", sa.Column("outdated", sa.BigInteger(), nullable=False, server_default="0"))
    if op.get_bind().dialect.name == "sqlite":
        _let_cost_fall_sqlite()
    else:
        _let_cost_fall_postgresql()


def downgrade() -> None:
    raise NotImplementedError("Without the column adjustments would count as requests. Restore a backup.")


def _let_cost_fall_sqlite() -> None:
    op.execute("DROP TRIGGER usage_daily_refuse_fall")
    op.execute(
        "CREATE TRIGGER usage_daily_refuse_fall BEFORE UPDATE ON usage_daily "
        "WHEN NEW.requests < OLD.requests OR NEW.input_tokens < OLD.input_tokens "
        "OR NEW.output_tokens < OLD.output_tokens OR NEW.key_id <> OLD.key_id OR NEW.day <> OLD.day "
        "OR NEW.provider <> OLD.provider OR NEW.model <> OLD.model "
        "OR (NEW.cost_nanos < OLD.cost_nanos AND NOT EXISTS (SELECT 1 FROM usage_records "
        "WHERE adjusts IS NOT NULL AND key_id = NEW.key_id AND day = NEW.day)) "
        "BEGIN SELECT RAISE(ABORT, 'usage_daily only rises'); END"
    )


def _let_cost_fall_postgresql() -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION refuse_fall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF TG_OP <> 'UPDATE' OR NEW.requests < OLD.requests "
        "OR NEW.input_tokens < OLD.input_tokens OR NEW.output_tokens < OLD.output_tokens "
        "OR (NEW.key_id, NEW.day, NEW.provider, NEW.model) <> (OLD.key_id, OLD.day, OLD.provider, OLD.model) "
        "OR (NEW.cost_nanos < OLD.cost_nanos AND NOT EXISTS (SELECT 1 FROM usage_records "
        "WHERE adjusts IS NOT NULL AND key_id = NEW.key_id AND day = NEW.day)) "
        "THEN RAISE EXCEPTION 'usage_daily only rises'; END IF; RETURN NEW; END $$"
    )
