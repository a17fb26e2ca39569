"""Providers of organisations' own.

Revision 0024, after 0023.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

TABLE = "custom_providers"
BUILT_IN = ("openai", "anthropic", "gemini")


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("org_id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("base_url", sa.String(500), nullable=False),
        sa.Column("auth", sa.String(16), nullable=False),
        sa.Column("api_version", sa.String(40), nullable=True),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("stream_options", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("enabled", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(254), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("auth in ('bearer', 'api-key', 'none')", name=op.f("ck_custom_providers_auth")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name="fk_custom_providers_org_id_organizations"),
        sa.PrimaryKeyConstraint("id", name="pk_custom_providers"),
        sa.UniqueConstraint("org_id", "name", name=op.f("uq_custom_providers_org_id")),
    )


def downgrade() -> None:
    # The release before knows no such provider, and would stumble over what is stored by its name.
    credentials = sa.table("provider_credentials", sa.column("id"), sa.column("provider"))
    refusals = sa.table("credential_refusals", sa.column("credential_id"))
    prices = sa.table("price_overrides", sa.column("provider"))
    own = credentials.c.provider.not_in(BUILT_IN)
    op.execute(sa.delete(refusals).where(refusals.c.credential_id.in_(sa.select(credentials.c.id).where(own))))
    op.execute(sa.delete(credentials).where(own))
    op.execute(sa.delete(prices).where(prices.c.provider.not_in(BUILT_IN)))
    _leave_keys_the_built_in_ones()
    op.drop_table(TABLE)


def _leave_keys_the_built_in_ones() -> None:
    """What a key may use is never more than before: a list that would become empty means all, so its key is paused."""
    keys = sa.table(
        "proxy_keys",
        sa.column("id", sa.String),
        sa.column("allowed_providers", sa.JSON),
        sa.column("paused", sa.Boolean),
        sa.column("version", sa.Integer),
    )
    for key in op.get_bind().execute(sa.select(keys)).all():
        left = [slug for slug in key.allowed_providers if slug in BUILT_IN]
        if left == key.allowed_providers:
            continue
        values = {"allowed_providers": left, "paused": key.paused or not left, "version": key.version + 1}
        op.execute(sa.update(keys).where(keys.c.id == key.id).values(values))
