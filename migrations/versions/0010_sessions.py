"""Where sessions began, places where people have logged in before, and an end of management tokens.

Revision 0010, after 0009.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.add_column("user_sessions", sa.Column("ip", sa.String(45)))
    op.add_column("user_sessions", sa.Column("agent", sa.String(200)))
    op.add_column("management_tokens", sa.Column("expires_at", moment))
    op.create_table(
        "known_places",
        sa.Column("user_id", sa.String(40), nullable=False),
        sa.Column("place", sa.String(80), nullable=False),
        sa.Column("seen_at", moment, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_known_places_user_id_users", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "place", name="pk_known_places"),
    )


def downgrade() -> None:
    op.drop_table("known_places")
    op.drop_column("management_tokens", "expires_at")
    op.drop_column("user_sessions", "agent")
    op.drop_column("user_sessions", "ip")
