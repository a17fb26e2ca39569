"""What the pages about usage ask for: refusals of an organisation by day.

They are counted by day from now on; of those before, only the sums of keys are known, with the time of the last.

Revision 0016, after 0015.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
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
