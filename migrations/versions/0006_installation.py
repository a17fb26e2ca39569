"""A number by which an installation is told from others that came upon the same counters.

Revision 0006, after 0005.
"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounting_state", sa.Column("installation", sa.BigInteger(), nullable=False, server_default="0"))
    state = sa.table("accounting_state", sa.column("installation", sa.BigInteger()))
    op.execute(state.update().values(installation=secrets.randbelow(2**62) + 1))


def downgrade() -> None:
    op.drop_column("accounting_state", "installation")
