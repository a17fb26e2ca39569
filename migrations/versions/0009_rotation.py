"""Secrets that can be told apart while several open a key; lists that begin in an index; what an organisation used.

The sums of an organisation are kept by triggers, so that an older release which still posts beside this one keeps them
too. They are filled from the daily sums of keys, once; meanwhile nothing is posted. Classes of tokens are counted from
now on only: of what was used before, the ledger's rows alone tell them.

Revision 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

PLACE = ("org_id", "day", "provider", "model")
CLASSES = (
    "cache_read_tokens",
    "cache_write_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "output_reasoning_tokens",
)
SUMS = ("requests", "input_tokens", "output_tokens", "cost_nanos", *CLASSES)
COLUMNS = ", ".join((*PLACE, *SUMS))
IS_THERE = (
    f"ON CONFLICT ({', '.join(PLACE)}) DO UPDATE SET "
    + ", ".join(f"{name} = organization_usage.{name} + excluded.{name}" for name in SUMS)
)  # fmt: skip


def upgrade() -> None:
    # Empty for the secrets that are there: each is the only one of its key, whose prefix is known.
    op.add_column("key_secrets", sa.Column("prefix", sa.String(length=24), nullable=False, server_default=""))
    op.create_index("ix_proxy_keys_org_id_created_at_id", "proxy_keys", ["org_id", "created_at", "id"])
    op.create_index("ix_proxy_keys_org_id_last_used_at_id", "proxy_keys", ["org_id", "last_used_at", "id"])
    op.create_index("ix_proxy_keys_org_id_expires_at_id", "proxy_keys", ["org_id", "expires_at", "id"])
    ever = sa.text("day = '1970-01-01'")
    op.create_index(
        "ix_key_spend_total_nanos", "key_spend", ["total_nanos", "key_id"], sqlite_where=ever, postgresql_where=ever
    )
    for name in CLASSES:
        op.add_column("usage_daily", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "organization_usage",
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in SUMS),
        sa.PrimaryKeyConstraint(*PLACE, name="pk_organization_usage"),
    )
    if op.get_bind().dialect.name == "sqlite":
        _keep_sums_sqlite()
    else:
        _keep_sums_postgresql()
    sums = ", ".join(f"SUM({name})" for name in SUMS)
    op.execute(
        f"INSERT INTO organization_usage ({COLUMNS}) SELECT {', '.join(PLACE)}, {sums} "  # noqa: S608 - constants
        f"FROM usage_daily GROUP BY {', '.join(PLACE)}"
    )


def downgrade() -> None:
    raise NotImplementedError("Secrets that were rotated out would open their keys for ever. Restore a backup.")


def _keep_sums_sqlite() -> None:
    place = ", ".join(f"NEW.{name}" for name in PLACE)
    added = ", ".join(f"NEW.{name}" for name in SUMS)
    risen = ", ".join(f"NEW.{name} - OLD.{name}" for name in SUMS)
    for when, amounts in (("INSERT", added), ("UPDATE", risen)):
        op.execute(
            f"CREATE TRIGGER usage_daily_sum_{when.lower()} AFTER {when} ON usage_daily BEGIN "  # noqa: S608 - constants
            f"INSERT INTO organization_usage ({COLUMNS}) VALUES ({place}, {amounts}) {IS_THERE}; END"
        )


def _keep_sums_postgresql() -> None:
    """Once a statement and in the order of places, so that two ledger writers seldom wait for each other in a ring.

    With the rights of whoever owns the tables: the ledger writer's own user need not know this one.
    """
    place, sums = ", ".join(PLACE), ", ".join(f"sum({name})" for name in SUMS)
    fallen = ", ".join(f"-{name}" for name in SUMS)
    counts = ", ".join(SUMS)
    into = f"INSERT INTO organization_usage ({COLUMNS}) SELECT {place}, {sums} FROM"
    grouped = f"GROUP BY {place} ORDER BY {place} {IS_THERE}"
    both = f"(SELECT {place}, {counts} FROM risen UNION ALL SELECT {place}, {fallen} FROM before) AS change"  # noqa: S608
    for name, source in (("insert", "risen"), ("update", both)):
        op.execute(
            f"CREATE FUNCTION sum_usage_{name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
            f"SET search_path FROM CURRENT AS $$ BEGIN {into} {source} {grouped}; RETURN NULL; END $$"
        )
    op.execute(
        "CREATE TRIGGER usage_daily_sum_insert AFTER INSERT ON usage_daily REFERENCING NEW TABLE AS risen "
        "FOR EACH STATEMENT EXECUTE FUNCTION sum_usage_insert()"
    )
    op.execute(
        "CREATE TRIGGER usage_daily_sum_update AFTER UPDATE ON usage_daily "
        "REFERENCING OLD TABLE AS before NEW TABLE AS risen FOR EACH STATEMENT EXECUTE FUNCTION sum_usage_update()"
    )
