"""The time zone in which an organisation's days, weeks and months begin.

All that are there go on in UTC. Usage keeps the days that it has: which day a cost belongs to is decided once, when its
request is admitted, so no row of the ledger is touched. The release before reads and writes none of this.

Revision 0027, after 0026.
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("organizations", sa.Column("time_zone", sa.String(64), nullable=False, server_default="UTC"))


def downgrade() -> None:
    op.drop_column("organizations", "time_zone")
