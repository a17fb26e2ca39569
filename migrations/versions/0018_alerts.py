"""Alerts: rules, webhooks, what happened and what is still to be sent; and an index of refused credentials.

Revision 0018, after 0016.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0016"
branch_labels = None
depends_on = None

REFUSED = sa.text("status IN (401, 403)")


def upgrade() -> None:
    _rules()
    _webhooks()
    _alerts()
    # Of the few rows that a provider answered so, so that all others pay nothing for it. The ledger may be long: on
    # PostgreSQL `webapp.large_indexes` builds it after this transaction, and nobody waits for it.
    if op.get_bind().dialect.name == "sqlite":
        op.create_index(
            "ix_usage_records_credential_refused", "usage_records", ["org_id", "admitted_at"], sqlite_where=REFUSED
        )


def downgrade() -> None:
    op.drop_index("ix_usage_records_credential_refused", "usage_records", if_exists=True)
    for table in ("refusal_samples", "alert_deliveries", "alerts", "webhooks", "key_alert_rules", "alert_rules"):
        op.drop_table(table)


def _rules() -> None:
    op.create_table(
        "alert_rules",
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("recipients", sa.JSON(), nullable=False),
        sa.Column("spend_thresholds", sa.JSON(), nullable=False),
        sa.Column("unused_days", sa.Integer(), nullable=True),
        sa.Column("expiring_days", sa.Integer(), nullable=True),
        sa.Column("credential_refused", sa.Boolean(), nullable=False),
        sa.Column("refusals_per_10_minutes", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name="fk_alert_rules_org_id_organizations"),
        sa.PrimaryKeyConstraint("org_id", name="pk_alert_rules"),
    )
    op.create_table(
        "key_alert_rules",
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("spend_thresholds", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"], ["proxy_keys.id"], name="fk_key_alert_rules_key_id_proxy_keys", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key_id", name="pk_key_alert_rules"),
    )
    op.create_index("ix_key_alert_rules_org_id", "key_alert_rules", ["org_id"])


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("url_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("url_shown", sa.String(length=510), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("previous_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=254), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name="fk_webhooks_org_id_organizations"),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
    )
    op.create_index("ix_webhooks_org_id", "webhooks", ["org_id"])


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=40), nullable=False),
        sa.Column("period", sa.String(length=80), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("kept_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        sa.UniqueConstraint("org_id", "event", "subject", "period", name="uq_alerts_org_id"),
    )
    op.create_index("ix_alerts_kept_until", "alerts", ["kept_until"])
    op.create_table(
        "alert_deliveries",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("target", sa.String(length=254), nullable=False),
        sa.Column("alerts", sa.JSON(), nullable=False),
        sa.Column("more", sa.JSON(), nullable=False),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(length=300), nullable=True),
        sa.CheckConstraint("channel in ('email', 'webhook')", name=op.f("ck_alert_deliveries_channel")),
        sa.CheckConstraint("status in ('pending', 'delivered', 'dead')", name=op.f("ck_alert_deliveries_status")),
        sa.PrimaryKeyConstraint("id", name="pk_alert_deliveries"),
    )
    op.create_index("ix_alert_deliveries_org_id_id", "alert_deliveries", ["org_id", "id"])
    op.create_index("ix_alert_deliveries_ended_at", "alert_deliveries", ["ended_at"])
    op.create_index("ix_alert_deliveries_target_created_at", "alert_deliveries", ["target", "created_at"])
    pending = sa.text("status = 'pending'")
    op.create_index(
        "ix_alert_deliveries_due",
        "alert_deliveries",
        ["target", "next_at"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
    op.create_table(
        "refusal_samples",
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "at", name="pk_refusal_samples"),
    )
