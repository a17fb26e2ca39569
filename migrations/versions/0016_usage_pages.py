"""What the pages about usage ask for: the keys that cost most on a day, and refusals of an organisation by day.

Refusals are counted by day from now on; of those before, only the sums of keys are known, with the time of the last.

Revision 0016, after 0015.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    days = sa.text("day > '1970-01-01'")
    op.create_index(
        "ix_key_spend_day_total_nanos",
        "key_spend",
        ["day", "total_nanos", "key_id"],
        sqlite_where=days,
        postgresql_where=days,
    )
    op.create_table(
        "organization_refusals",
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "day", "reason", name="pk_organization_refusals"),
    )


def downgrade() -> None:
    op.drop_table("organization_refusals")
    op.drop_index("ix_key_spend_day_total_nanos", "key_spend")
