"""A temporary raise of a key's spend limit, with its end.

Revision 0021, after 0020.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("proxy_keys", sa.Column("spend_limit_boost_nanos", sa.BigInteger()))
    op.add_column("proxy_keys", sa.Column("spend_limit_boost_until", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("proxy_keys", "spend_limit_boost_until")
    op.drop_column("proxy_keys", "spend_limit_boost_nanos")
