"""Machines that share their counters: when each was last heard of, and what its workers held then.

Revision 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "machines",
        sa.Column("machine", sa.String(length=40), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("posted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("machine", name="pk_machines"),
    )
    op.create_table(
        "posted_holds",
        sa.Column("worker_id", sa.String(length=40), nullable=False),
        sa.Column("holds", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name="pk_posted_holds"),
    )


def downgrade() -> None:
    op.drop_table("posted_holds")
    op.drop_table("machines")
