"""Invitations; and the scope `admin`, without which a token no longer administers.

Until now a token with all of the three scopes did. Most of those were made for keys and usage, by a command whose
default was all. So of the tokens that are there only the first one, which is the operator's own, gets the new scope;
whoever needs another makes it.

Revision 0014, after 0013.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TOKENS = sa.table(
    "management_tokens",
    sa.column("id", sa.String()),
    sa.column("name", sa.String()),
    sa.column("created_by", sa.String()),
    sa.column("scopes", sa.JSON()),
)
BEFORE = ["keys:read", "keys:write", "usage:read"]


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "invitations",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("org_id", sa.String(40), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("created_by", sa.String(254), nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name="fk_invitations_org_id_organizations"),
        sa.PrimaryKeyConstraint("id", name="pk_invitations"),
        sa.UniqueConstraint("org_id", "email", name="uq_invitations_org_id"),
        sa.UniqueConstraint("digest", name="uq_invitations_digest"),
    )
    connection = op.get_bind()
    first = sa.select(TOKENS.c.id, TOKENS.c.scopes).where(TOKENS.c.name == "bootstrap", TOKENS.c.created_by == "system")
    for token_id, scopes in connection.execute(first).all():
        if sorted(scopes) == BEFORE:
            _give(connection, token_id, [*BEFORE, "admin"])


def downgrade() -> None:
    connection = op.get_bind()
    for token_id, scopes in connection.execute(sa.select(TOKENS.c.id, TOKENS.c.scopes)).all():
        if "admin" in scopes:
            # What such a token did in the release before, one with all three did.
            _give(connection, token_id, BEFORE)
    op.drop_table("invitations")


def _give(connection: sa.Connection, token_id: str, scopes: list[str]) -> None:
    connection.execute(sa.update(TOKENS).where(TOKENS.c.id == token_id).values(scopes=scopes))
