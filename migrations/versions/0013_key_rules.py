"""What an organisation gives new keys, and the most that it lets keys have.

Revision 0013, after 0012.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

NUMBERS = {
    "default_spend_limit_nanos": sa.BigInteger,
    "default_expiry_days": sa.Integer,
    "default_rate_limit_rpm": sa.BigInteger,
    "max_spend_limit_nanos": sa.BigInteger,
    "max_expiry_days": sa.Integer,
    "max_rate_limit_rpm": sa.BigInteger,
}


def upgrade() -> None:
    op.add_column(
        "organizations", sa.Column("default_spend_reset", sa.String(16), nullable=False, server_default="never")
    )
    for name, kind in NUMBERS.items():
        op.add_column("organizations", sa.Column(name, kind()))
    op.add_column(
        "organizations", sa.Column("spend_limit_required", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    for name in ("spend_limit_required", *NUMBERS, "default_spend_reset"):
        op.drop_column("organizations", name)
