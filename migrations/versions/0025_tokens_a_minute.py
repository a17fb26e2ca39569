"""Tokens a minute of a key; an organisation's default for new keys and its maximum.

Keys that are there have no such limit. Nothing that the release before reads or writes is changed.

Revision 0025, after 0023.
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("proxy_keys", sa.Column("rate_limit_tpm", sa.BigInteger(), nullable=True))
    op.add_column("organizations", sa.Column("default_rate_limit_tpm", sa.BigInteger(), nullable=True))
    op.add_column("organizations", sa.Column("max_rate_limit_tpm", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("organizations", "max_rate_limit_tpm")
    op.drop_column("organizations", "default_rate_limit_tpm")
    op.drop_column("proxy_keys", "rate_limit_tpm")
