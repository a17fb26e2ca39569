"""What all keys of an organisation may use together, and how many requests of a key may be in flight at once.

Keys and organisations that are there have no such limit. Nothing that the release before reads or writes is changed.

Revision 0022, after 0021.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("organizations", sa.Column("spend_limit_nanos", sa.BigInteger(), nullable=True))
    op.add_column(
        "organizations", sa.Column("spend_reset", sa.String(length=16), server_default="never", nullable=False)
    )
    op.add_column("organizations", sa.Column("rate_limit_rpm", sa.BigInteger(), nullable=True))
    op.add_column("proxy_keys", sa.Column("max_concurrent_requests", sa.BigInteger(), nullable=True))
    op.create_table(
        "organization_seeds",
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("nanos", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "day", name="pk_organization_seeds"),
    )


def downgrade() -> None:
    op.drop_table("organization_seeds")
    op.drop_column("proxy_keys", "max_concurrent_requests")
    op.drop_column("organizations", "rate_limit_rpm")
    op.drop_column("organizations", "spend_reset")
    op.drop_column("organizations", "spend_limit_nanos")
