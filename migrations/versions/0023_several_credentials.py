"""Several credentials of a provider, what their providers say of them, and which a request or a job was sent with.

The one that each provider has becomes its `default`, which is what the environment sets.

Revision 0023, after 0022.
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

TABLE = "provider_credentials"
BEFORE, NOW = ("org_id", "provider"), ("org_id", "provider", "label")


def upgrade() -> None:
    with op.batch_alter_table(TABLE, recreate="auto") as table:
        table.add_column(sa.Column("label", sa.String(40), nullable=False, server_default="default"))
        table.add_column(sa.Column("weight", sa.Integer(), nullable=False, server_default="1"))
        table.add_column(sa.Column("priority", sa.Integer(), nullable=False, server_default="1"))
        table.add_column(sa.Column("enabled", sa.Boolean(), nullable=False, server_default=sa.true()))
        table.drop_constraint(op.f("uq_provider_credentials_org_id"), type_="unique")
        table.create_unique_constraint(op.f("uq_provider_credentials_org_id"), NOW)
        table.create_check_constraint(op.f("ck_provider_credentials_weight"), "weight between 1 and 100")
        table.create_check_constraint(op.f("ck_provider_credentials_priority"), "priority between 1 and 100")
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "credential_refusals",
        sa.Column("credential_id", sa.String(40), nullable=False),
        sa.Column("set_at", moment, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["credential_id"],
            ["provider_credentials.id"],
            name="fk_credential_refusals_credential_id_provider_credentials",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("credential_id", name="pk_credential_refusals"),
    )
    op.add_column("usage_records", sa.Column("tried", sa.JSON(), nullable=True))
    op.add_column("provider_jobs", sa.Column("credential_id", sa.String(40), nullable=True))


def downgrade() -> None:
    op.drop_column("provider_jobs", "credential_id")
    op.drop_column("usage_records", "tried")
    op.drop_table("credential_refusals")
    # The release before knows one credential of a provider: the first that is enabled, in the order of today.
    op.execute(
        "delete from provider_credentials where exists (select 1 from provider_credentials as first"
        " where first.org_id = provider_credentials.org_id and first.provider = provider_credentials.provider"
        " and (not first.enabled, first.priority, first.id)"
        " < (not provider_credentials.enabled, provider_credentials.priority, provider_credentials.id))"
    )
    with op.batch_alter_table(TABLE, recreate="auto") as table:
        table.drop_constraint(op.f("ck_provider_credentials_priority"), type_="check")
        table.drop_constraint(op.f("ck_provider_credentials_weight"), type_="check")
        table.drop_constraint(op.f("uq_provider_credentials_org_id"), type_="unique")
        table.create_unique_constraint(op.f("uq_provider_credentials_org_id"), BEFORE)
        for column in ("enabled", "priority", "weight", "label"):
            table.drop_column(column)
