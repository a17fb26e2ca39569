"""Spend limits of a key for some models, and the sums by model that they begin with.

Keys that are there have no such limit. Nothing that the release before reads or writes is changed.

Revision 0026, after 0025.
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("proxy_keys", sa.Column("model_limits", sa.JSON(none_as_null=True), nullable=True))
    op.add_column(
        "accounting_state", sa.Column("model_limits", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column(
        "accounting_state", sa.Column("outdated_for_models", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.create_table(
        "model_spend",
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("base_nanos", sa.BigInteger(), nullable=False),
        sa.Column("total_nanos", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "day", "provider", "model", name="pk_model_spend"),
    )


def downgrade() -> None:
    # What a key may use is never more than before: the release before knows no such limit, so its key is paused.
    keys = sa.table(
        "proxy_keys",
        sa.column("id", sa.String),
        sa.column("model_limits", sa.JSON),
        sa.column("paused", sa.Boolean),
        sa.column("version", sa.Integer),
    )
    for key in op.get_bind().execute(sa.select(keys).where(keys.c.model_limits.is_not(None))).all():
        if key.model_limits:
            op.execute(sa.update(keys).where(keys.c.id == key.id).values(paused=True, version=key.version + 1))
    op.drop_table("model_spend")
    op.drop_column("accounting_state", "outdated_for_models")
    op.drop_column("accounting_state", "model_limits")
    op.drop_column("proxy_keys", "model_limits")
