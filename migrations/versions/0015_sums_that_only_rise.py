"""All sums of the ledger only rise: totals of keys and sums of organisations as well, and every class of tokens.

Nobody deletes a sum or moves it to another place, INSERT OR REPLACE included, and none falls, but for a cost that a row
of that day adjusts. What a total was when a generation was cut is what it was then, or what it was before.

Revision 0015, after 0014.
"""

# ruff: noqa: S608 - every statement here is made of constants of this file

from collections.abc import Sequence

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ALL_DAYS = "1970-01-01"  # the day of the row of key_spend that sums all days of a key
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


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    guard = _guard_sqlite if sqlite else _guard_postgresql
    for table, wrong in _wrong().items():
        guard(table, " OR ".join(wrong))
    if not sqlite:
        op.execute("DROP FUNCTION refuse_fall()")  # the looser one of usage_daily


def downgrade() -> None:
    raise NotImplementedError("Without these triggers a fault could take money out of the books. Restore a backup.")


def _wrong() -> dict[str, list[str]]:
    """What an update must not do, by table."""
    return {
        "usage_daily": [
            *_moved("key_id", "day", "provider", "model", "org_id"),
            *_fallen(*COUNTS),
            _costs_less("cost_nanos", "key_id = NEW.key_id AND day = NEW.day"),
        ],
        "organization_usage": [
            *_moved("org_id", "day", "provider", "model"),
            *_fallen(*COUNTS),
            _costs_less("cost_nanos", "org_id = NEW.org_id AND day = NEW.day"),
        ],
        "key_spend": [
            *_moved("key_id", "day"),
            "NEW.base_nanos NOT IN (OLD.base_nanos, OLD.total_nanos)",
            _costs_less("total_nanos", f"key_id = NEW.key_id AND (day = NEW.day OR NEW.day = '{ALL_DAYS}')"),
        ],
    }


def _moved(*columns: str) -> Sequence[str]:
    return [f"NEW.{column} <> OLD.{column}" for column in columns]


def _fallen(*columns: str) -> Sequence[str]:
    return [f"NEW.{column} < OLD.{column}" for column in columns]


def _costs_less(column: str, adjusted: str) -> str:
    """Asked only where a cost falls: by the index of the few rows that adjust another."""
    rows = f"SELECT 1 FROM usage_records WHERE adjusts IS NOT NULL AND {adjusted}"
    return f"(NEW.{column} < OLD.{column} AND NOT EXISTS ({rows}))"


def _guard_sqlite(table: str, wrong: str) -> None:
    for name in ("fall", "delete") if table == "usage_daily" else ():  # of it there are looser ones
        op.execute(f"DROP TRIGGER {table}_refuse_{name}")
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} only rises'); END"
    op.execute(f"CREATE TRIGGER {table}_refuse_fall BEFORE UPDATE ON {table} WHEN {wrong} {refuse}")
    op.execute(f"CREATE TRIGGER {table}_refuse_delete BEFORE DELETE ON {table} {refuse}")


def _guard_postgresql(table: str, wrong: str) -> None:
    for name in ("fall", "truncate") if table == "usage_daily" else ():
        op.execute(f"DROP TRIGGER {table}_refuse_{name} ON {table}")
    op.execute(
        f"CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP <> 'UPDATE' THEN RAISE EXCEPTION '{table} only rises'; "
        f"ELSIF {wrong} THEN RAISE EXCEPTION '{table} only rises'; END IF; RETURN NEW; END $$"
    )
    function = f"EXECUTE FUNCTION refuse_{table}()"
    op.execute(f"CREATE TRIGGER {table}_refuse_fall BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {function}")
    op.execute(f"CREATE TRIGGER {table}_refuse_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {function}")
