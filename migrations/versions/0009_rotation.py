"""Secrets that can be told apart while several open a key.

Revision 0009, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Empty for the secrets that are there: each is the only one of its key, whose prefix is known.
    op.add_column("key_secrets", sa.Column("prefix", sa.String(length=24), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("key_secrets", "prefix")
