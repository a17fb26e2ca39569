"""Refusals by key and reason; of each request how soon its answer began, and what status its client was given.

Revision 0008, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Plain ADD COLUMN on both databases: neither writes the ledger's rows anew for it.
    op.add_column("usage_records", sa.Column("first_byte_ms", sa.Integer(), nullable=True))
    op.add_column("usage_records", sa.Column("sent_status", sa.Integer(), nullable=True))
    op.create_table(
        "refusals",
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=True),
        sa.Column("client_ip", sa.String(length=45), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "reason", name="pk_refusals"),
    )


def downgrade() -> None:
    op.drop_table("refusals")
    op.drop_column("usage_records", "sent_status")
    op.drop_column("usage_records", "first_byte_ms")
