"""SQLite: which keys are near their limit is asked only of those that have cost so much in their life.

Each posting of a key asks it, and for nearly all the answer is no: what a key has cost in a period is no more than what
it has cost at all, of which there is one row, written before that of the day. PostgreSQL asks once for all keys of a
posting. Revision 0030, after 0029.
"""

# ruff: noqa: S608 - every statement here is made of constants of this file

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

ALL_DAYS = "1970-01-01"  # the day of the row of key_spend that sums all days of a key
# As revision 0011 asks: of the row that counts for the key, the one of all days if its limit never resets.
BEFORE = (
    "EXISTS (SELECT 1 FROM proxy_keys WHERE id = NEW.key_id AND spend_limit_nanos IS NOT NULL "
    f"AND (spend_reset = 'never') = (NEW.day = '{ALL_DAYS}'))"
)
IN_LIFE = f"(SELECT total_nanos FROM key_spend WHERE key_id = NEW.key_id AND day = '{ALL_DAYS}')"
SINCE = f"{BEFORE[:-1]} AND {IN_LIFE} * 100 >= spend_limit_nanos * 80)"


def upgrade() -> None:
    _ask(SINCE)


def downgrade() -> None:
    _ask(BEFORE)


def _ask(first: str) -> None:
    """Make the triggers anew, with another question before what they do."""
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        return
    for verb in ("INSERT", "UPDATE"):
        name = f"key_spend_list_near_{verb.lower()}"
        sql = bind.exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?", (name,)
        ).scalar_one()
        _, begin, does = sql.partition(" BEGIN ")
        op.execute(f"DROP TRIGGER {name}")
        bind.exec_driver_sql(f"CREATE TRIGGER {name} AFTER {verb} ON key_spend WHEN {first}{begin}{does}")
