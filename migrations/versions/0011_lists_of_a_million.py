"""Lists of a million keys: an index for every order and filter, and rows that triggers keep for what no index says.

Texts that a search goes through, keys that have cost nothing, keys near their limit (shared/models/key_lists.py). They
are filled once, from what is there. On PostgreSQL whoever writes keys or posts waits for that, and whoever reads does
not. So all that takes long stands here, before the migrations after this one lock out readers for a moment.

Searches are quick by trigrams. Where the database user may not have pg_trgm, or this SQLite was built without FTS5,
there are none, and a search goes through the keys one by one (docs/deploy.md).

Revision 0011, after 0010.
"""

# ruff: noqa: S608 - every statement here is made of constants of this file

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# By name: the column behind the organisation, and which keys it has.
PARTIAL = {
    "live": ("created_at", "revoked_at IS NULL"),
    "live_expires_at": ("expires_at", "revoked_at IS NULL"),
    "live_last_used_at": ("last_used_at", "revoked_at IS NULL"),
    "revoked": ("created_at", "revoked_at IS NOT NULL"),
    "paused": ("created_at", "paused IS {true} AND revoked_at IS NULL"),
    "unused": ("created_at", "last_used_at IS NULL AND revoked_at IS NULL"),
    "limited": ("created_at", "spend_limit_nanos IS NOT NULL AND revoked_at IS NULL"),
    "unlimited": ("created_at", "spend_limit_nanos IS NULL AND revoked_at IS NULL"),
}
KEPT = ("key_search", "uncharged_keys", "keys_near_limit")
ALL_DAYS = "1970-01-01"  # the day of the row of key_spend that sums all days of a key
FOR_EVER = "9999-12-31"
# PostgreSQL's codes for: not allowed; no such extension on this server, by its file or by its name; not in our schemas.
NO_EXTENSION = ("42501", "58P01", "0A000", "42704")
# Of the key `keys`: its last day in the ledger, and how many days before it may belong to the same period.
LAST_DAY = "(SELECT max(last.day) FROM key_spend AS last WHERE last.key_id = keys.id)"
BACK = "CASE keys.spend_reset WHEN 'daily' THEN 1 WHEN 'weekly' THEN 7 ELSE 32 END"


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    if not sqlite:
        # In the order in which the ledger writer goes through them: neither waits for the other in a circle.
        op.execute("LOCK TABLE usage_daily, key_spend, proxy_keys IN SHARE ROW EXCLUSIVE MODE")
    _tables()
    _indexes(sqlite=sqlite)
    _fill(sqlite=sqlite)
    _keep(sqlite=sqlite)
    _trigrams(sqlite=sqlite)


def downgrade() -> None:
    raise NotImplementedError("Triggers on keys and their totals would fail without their tables. Restore a backup.")


def _tables() -> None:
    op.create_table(
        "key_search",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_key_search"),
        sa.UniqueConstraint("key_id", name="uq_key_search_key_id"),
    )
    op.create_table(
        "uncharged_keys",
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_uncharged_keys"),
    )
    op.create_index("ix_uncharged_keys_org_id_key_id", "uncharged_keys", ["org_id", "key_id"])
    op.create_table(
        "keys_near_limit",
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_keys_near_limit"),
    )
    op.create_index("ix_keys_near_limit_org_id_day", "keys_near_limit", ["org_id", "day"])


def _indexes(*, sqlite: bool) -> None:
    op.create_index("ix_proxy_keys_org_id_name", "proxy_keys", ["org_id", sa.text("lower(name)"), "id"])
    op.create_index("ix_proxy_keys_org_id_created_by", "proxy_keys", ["org_id", "created_by", "created_at", "id"])
    for name, (column, only) in PARTIAL.items():
        where = sa.text(only.format(true="1" if sqlite else "true"))
        op.create_index(
            f"ix_proxy_keys_{name}",
            "proxy_keys",
            ["org_id", column, "id"],
            sqlite_where=where,
            postgresql_where=where,
        )
    op.create_index("ix_refusals_org_id_last_at", "refusals", ["org_id", "last_at", "key_id", "reason"])
    days = sa.text(f"day > '{ALL_DAYS}'")
    op.create_index(
        "ix_key_spend_day_total_nanos",
        "key_spend",
        ["day", "total_nanos", "key_id"],
        sqlite_where=days,
        postgresql_where=days,
    )


def _text(row: str, *, sqlite: bool) -> str:
    """What of a key is searched."""
    newline, models = ("char(10)", "allowed_models") if sqlite else ("chr(10)", "allowed_models::text")
    return f"lower({row}.name || {newline} || {row}.prefix || {newline} || {row}.{models})"


def _spent(*, sqlite: bool) -> str:
    """What a key has cost in days up to its last one in the ledger: as many as its period has, or more."""
    if sqlite:
        in_all, for_ever, ago = f"'{ALL_DAYS}'", f"'{FOR_EVER}'", f"date({LAST_DAY}, '-' || {BACK} || ' days')"
    else:
        in_all, for_ever, ago = f"DATE '{ALL_DAYS}'", f"DATE '{FOR_EVER}'", f"{LAST_DAY} - {BACK}"
    never = "CASE keys.spend_reset WHEN 'never' THEN"
    return (
        "SELECT coalesce(sum(spent.total_nanos), 0) FROM key_spend AS spent WHERE spent.key_id = keys.id "
        f"AND spent.day BETWEEN {never} {in_all} ELSE {ago} END AND {never} {in_all} ELSE {for_ever} END"
    )


def _near(only: str, *, sqlite: bool) -> str:
    """A statement that marks those of some keys that are near their limit, or may be, and not marked for that day yet.

    On PostgreSQL it locks the keys first, in the order of their ids, as whoever edits one has it locked already.
    """
    for_ever = f"'{FOR_EVER}'" if sqlite else f"DATE '{FOR_EVER}'"
    day = f"CASE WHEN keys.spend_reset = 'never' OR keys.spend_limit_nanos = 0 THEN {for_ever} ELSE {LAST_DAY} END"
    return (
        f"INSERT INTO keys_near_limit (key_id, org_id, day) SELECT keys.id, keys.org_id, {day} "
        f"FROM proxy_keys AS keys WHERE {only} AND keys.spend_limit_nanos IS NOT NULL "
        f"AND NOT EXISTS (SELECT 1 FROM keys_near_limit AS mark WHERE mark.key_id = keys.id AND mark.day >= {day}) "
        f"AND ({_spent(sqlite=sqlite)}) * 100 >= keys.spend_limit_nanos * 80 "
        + ("" if sqlite else "ORDER BY keys.id FOR NO KEY UPDATE OF keys ")
        + "ON CONFLICT (key_id) DO UPDATE SET day = excluded.day"
    )


def _fill(*, sqlite: bool) -> None:
    op.execute(
        f"INSERT INTO key_search (key_id, text) SELECT id, {_text('proxy_keys', sqlite=sqlite)} "
        "FROM proxy_keys ORDER BY created_at"
    )
    op.execute(
        "INSERT INTO uncharged_keys (key_id, org_id) SELECT id, org_id FROM proxy_keys WHERE NOT EXISTS "
        f"(SELECT 1 FROM key_spend WHERE key_id = proxy_keys.id AND day = '{ALL_DAYS}')"
    )
    op.execute(_near("TRUE", sqlite=sqlite))


def _keep(*, sqlite: bool) -> None:
    text = _text("NEW", sqlite=sqlite)
    unmark = "DELETE FROM keys_near_limit WHERE key_id = NEW.id"
    near = _near("keys.id = NEW.id", sqlite=sqlite)
    is_charged = f"EXISTS (SELECT 1 FROM key_spend WHERE key_id = NEW.id AND day = '{ALL_DAYS}')"
    kept: dict[str, tuple[str, ...]] = {
        "insert AFTER INSERT": (
            f"INSERT INTO key_search (key_id, text) VALUES (NEW.id, {text})",
            f"INSERT INTO uncharged_keys (key_id, org_id) SELECT NEW.id, NEW.org_id WHERE NOT {is_charged}",
            near,
        ),
        "text AFTER UPDATE OF name, prefix, allowed_models": (
            f"UPDATE key_search SET text = {text} WHERE key_id = NEW.id",
        ),
        "limit AFTER UPDATE OF spend_limit_nanos, spend_reset": (unmark, near),
        "delete AFTER DELETE": tuple(f"DELETE FROM {table} WHERE key_id = OLD.id" for table in KEPT),
    }
    trigger = _trigger_sqlite if sqlite else _trigger_postgresql
    for head, statements in kept.items():
        trigger(f"proxy_keys_list_{head} ON proxy_keys", "ROW", statements)
    charged = ("DELETE FROM uncharged_keys WHERE key_id = NEW.key_id",)
    trigger(f"key_spend_list_charged AFTER INSERT ON key_spend WHEN (NEW.day = '{ALL_DAYS}')", "ROW", charged)
    if sqlite:
        _keep_near_sqlite()
    else:
        # By the index of ids, however many there are; and once a statement, of which each has many rows.
        of_posting = _near("keys.id = ANY (ARRAY(SELECT key_id FROM risen))", sqlite=False)
        for verb in ("INSERT", "UPDATE"):
            head = f"key_spend_list_near_{verb.lower()} AFTER {verb} ON key_spend REFERENCING NEW TABLE AS risen"
            trigger(head, "STATEMENT", (of_posting,))


def _keep_near_sqlite() -> None:
    """Each posting of a key writes two rows; of one whose limit never resets the total counts, else that of the day."""
    counts = (
        "EXISTS (SELECT 1 FROM proxy_keys WHERE id = NEW.key_id AND spend_limit_nanos IS NOT NULL "
        f"AND (spend_reset = 'never') = (NEW.day = '{ALL_DAYS}'))"
    )
    near = _near("keys.id = NEW.key_id", sqlite=True)
    for verb in ("INSERT", "UPDATE"):
        head = f"key_spend_list_near_{verb.lower()} AFTER {verb} ON key_spend WHEN {counts}"
        _trigger_sqlite(head, "ROW", (near,))


def _trigger_sqlite(head: str, _each: str, statements: Sequence[str]) -> None:
    op.execute(f"CREATE TRIGGER {head} BEGIN {'; '.join(statements)}; END")


def _trigger_postgresql(head: str, each: str, statements: Sequence[str]) -> None:
    """With the rights of whoever owns the tables: users of dashboard and ledger writer need none for this."""
    name = head.partition(" ")[0]
    before, when, condition = head.partition(" WHEN ")
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        f"SET search_path FROM CURRENT AS $$ BEGIN {'; '.join(statements)}; RETURN NULL; END $$"
    )
    op.execute(f"CREATE TRIGGER {before} FOR EACH {each}{when}{condition} EXECUTE FUNCTION {name}()")


def _trigrams(*, sqlite: bool) -> None:
    try:
        with op.get_bind().begin_nested():
            if sqlite:
                _trigrams_sqlite()
            else:
                op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
                op.execute("CREATE INDEX ix_key_search_trigrams ON key_search USING gin (text gin_trgm_ops)")
    except DBAPIError as error:
        missing = "no such module" in str(error) or "no such tokenizer" in str(error)
        if not missing and getattr(error.orig, "sqlstate", None) not in NO_EXTENSION:
            raise


def _trigrams_sqlite() -> None:
    op.execute(
        "CREATE VIRTUAL TABLE key_search_trigrams USING fts5(text, content='key_search', content_rowid='id', "
        "columnsize=0, tokenize='trigram')"
    )
    op.execute("INSERT INTO key_search_trigrams (key_search_trigrams) VALUES ('rebuild')")
    add = "INSERT INTO key_search_trigrams (rowid, text) VALUES (NEW.id, NEW.text)"
    drop = "INSERT INTO key_search_trigrams (key_search_trigrams, rowid, text) VALUES ('delete', OLD.id, OLD.text)"
    for name, when, statements in (
        ("insert", "INSERT", (add,)),
        ("update", "UPDATE", (drop, add)),
        ("delete", "DELETE", (drop,)),
    ):
        op.execute(
            f"CREATE TRIGGER key_search_trigrams_{name} AFTER {when} ON key_search BEGIN {'; '.join(statements)}; END"
        )
