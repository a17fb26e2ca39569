"""Words of people's own: tags, owner and note of a key, labels of requests; and secrets that wait behind a link.

Usage by label is counted from now on only, as nobody sent labels before. Tags are found by rows of their own, which
triggers keep. Sums by label only rise, as all sums of the ledger do.

Revision 0020, after 0019.
"""

# ruff: noqa: S608 - every statement here is made of constants of this file

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

CLASSES = (
    "cache_read_tokens",
    "cache_write_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "output_reasoning_tokens",
)
COUNTS = ("requests", "input_tokens", "output_tokens", *CLASSES)
PLACE = ("key_id", "day", "label", "org_id")


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    # In the order of their code points on every database, so that beginnings of them are found by an index.
    by_code = {} if sqlite else {"collation": "C"}
    op.add_column("proxy_keys", sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("proxy_keys", sa.Column("owner_email", sa.String(length=254, **by_code)))
    op.add_column("proxy_keys", sa.Column("note", sa.String(length=1000)))
    owned = sa.text("owner_email IS NOT NULL")
    op.create_index(
        "ix_proxy_keys_owner_email",
        "proxy_keys",
        ["org_id", "owner_email", "id"],
        sqlite_where=owned,
        postgresql_where=owned,
    )
    op.add_column("usage_records", sa.Column("label", sa.String(length=64)))
    op.add_column("provider_jobs", sa.Column("label", sa.String(length=64)))
    op.create_table(
        "key_tags",
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("tag", sa.String(length=40, **by_code), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "tag", "key_id", name="pk_key_tags"),
    )
    op.create_index("ix_key_tags_key_id", "key_tags", ["key_id"])
    _label_usage()
    _hand_overs()
    _let_links_lapse(sqlite=sqlite)
    if sqlite:
        _keep_tags_sqlite()
        _guard_sqlite()
    else:
        _keep_tags_postgresql()
        _guard_postgresql()


def downgrade() -> None:
    raise NotImplementedError("Labels of requests and what was used under them would be lost. Restore a backup.")


def _label_usage() -> None:
    op.create_table(
        "label_usage",
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("org_id", sa.String(length=40), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS[:3]),
        sa.Column("cost_nanos", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0") for name in CLASSES),
        sa.PrimaryKeyConstraint("key_id", "day", "label", name="pk_label_usage"),
    )
    op.create_index("ix_label_usage_org_id_day", "label_usage", ["org_id", "day"])


def _hand_overs() -> None:
    op.create_table(
        "hand_overs",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("prefix", sa.String(length=24), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=254), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"], ["proxy_keys.id"], name="fk_hand_overs_key_id_proxy_keys", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_hand_overs"),
        sa.UniqueConstraint("digest", name="uq_hand_overs_digest"),
    )
    op.create_index("ix_hand_overs_key_id", "hand_overs", ["key_id"])
    op.create_index("ix_hand_overs_expires_at", "hand_overs", ["expires_at"])


def _let_links_lapse(*, sqlite: bool) -> None:
    """A link whose secret was emptied has lapsed: its row goes, and the audit log says when, by the owner's right."""
    told = "json_object" if sqlite else "json_build_object"
    empty = "x''" if sqlite else "''::bytea"
    statements = (
        "INSERT INTO audit_events (id, org_id, at, actor, action, target, before) VALUES "
        "('aud_' || substr(NEW.id, 5), NEW.org_id, NEW.expires_at, 'system', 'key.hand_over_lapse', NEW.key_id, "
        f"{told}('link', NEW.id, 'prefix', NEW.prefix)); DELETE FROM hand_overs WHERE id = NEW.id"
    )
    head = "CREATE TRIGGER hand_overs_lapse AFTER UPDATE OF sealed ON hand_overs "
    if sqlite:
        op.execute(f"{head}WHEN NEW.sealed = {empty} BEGIN {statements}; END")
        return
    op.execute(
        "CREATE FUNCTION hand_overs_lapse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        f"SET search_path FROM CURRENT AS $$ BEGIN {statements}; RETURN NULL; END $$"
    )
    op.execute(f"{head}FOR EACH ROW WHEN (NEW.sealed = {empty}) EXECUTE FUNCTION hand_overs_lapse()")


def _keep_tags_sqlite() -> None:
    add = (
        "INSERT OR IGNORE INTO key_tags (org_id, tag, key_id) SELECT NEW.org_id, value, NEW.id FROM json_each(NEW.tags)"
    )
    for name, when, old in (
        ("insert", "INSERT", ""),
        ("update", "UPDATE OF tags", "DELETE FROM key_tags WHERE key_id = NEW.id; "),
    ):
        op.execute(f"CREATE TRIGGER proxy_keys_tags_{name} AFTER {when} ON proxy_keys BEGIN {old}{add}; END")
    op.execute(
        "CREATE TRIGGER proxy_keys_tags_delete AFTER DELETE ON proxy_keys "
        "BEGIN DELETE FROM key_tags WHERE key_id = OLD.id; END"
    )


def _keep_tags_postgresql() -> None:
    """With the rights of whoever owns the tables, as all that is kept beside keys."""
    forget = "DELETE FROM key_tags WHERE key_id = {}.id"
    add = (
        "INSERT INTO key_tags (org_id, tag, key_id) SELECT NEW.org_id, value, NEW.id "
        "FROM json_array_elements_text(NEW.tags) AS value ON CONFLICT DO NOTHING"
    )
    for name, when, statements in (
        ("insert", "INSERT", add),
        ("update", "UPDATE OF tags", f"{forget.format('NEW')}; {add}"),
        ("delete", "DELETE", forget.format("OLD")),
    ):
        op.execute(
            f"CREATE FUNCTION proxy_keys_tags_{name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
            f"SET search_path FROM CURRENT AS $$ BEGIN {statements}; RETURN NULL; END $$"
        )
        op.execute(
            f"CREATE TRIGGER proxy_keys_tags_{name} AFTER {when} ON proxy_keys FOR EACH ROW "
            f"EXECUTE FUNCTION proxy_keys_tags_{name}()"
        )


def _wrong() -> str:
    """What an update of a sum must not do: move it, or lower it, but for a cost that a row of that day adjusts."""
    adjusted = "SELECT 1 FROM usage_records WHERE adjusts IS NOT NULL AND key_id = NEW.key_id AND day = NEW.day"
    return " OR ".join(
        (
            *(f"NEW.{column} <> OLD.{column}" for column in PLACE),
            *(f"NEW.{column} < OLD.{column}" for column in COUNTS),
            f"(NEW.cost_nanos < OLD.cost_nanos AND NOT EXISTS ({adjusted}))",
        )
    )


def _guard_sqlite() -> None:
    refuse = "BEGIN SELECT RAISE(ABORT, 'label_usage only rises'); END"
    op.execute(f"CREATE TRIGGER label_usage_refuse_fall BEFORE UPDATE ON label_usage WHEN {_wrong()} {refuse}")
    op.execute(f"CREATE TRIGGER label_usage_refuse_delete BEFORE DELETE ON label_usage {refuse}")


def _guard_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION refuse_label_usage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF TG_OP <> 'UPDATE' THEN RAISE EXCEPTION 'label_usage only rises'; "
        f"ELSIF {_wrong()} THEN RAISE EXCEPTION 'label_usage only rises'; END IF; RETURN NEW; END $$"
    )
    for name, when, each in (("fall", "UPDATE OR DELETE", "ROW"), ("truncate", "TRUNCATE", "STATEMENT")):
        op.execute(
            f"CREATE TRIGGER label_usage_refuse_{name} BEFORE {when} ON label_usage FOR EACH {each} "
            "EXECUTE FUNCTION refuse_label_usage()"
        )
