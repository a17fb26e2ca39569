"""What organisations used by tag and by label, added up: a page of it is as fast with a million keys as with ten.

Both are kept by triggers beside the sums that they are made of, so that an older release which still posts beside this
one keeps them too, and are filled once, while nothing is posted and no key is edited. By tag it is what those keys used
that have the tag now: with a tag a key brings what it has used, and takes it away again. The empty tag has what all
keys used that have any. Sums of labels only rise.

Revision 0031, after 0030.
"""

# ruff: noqa: S608 - every statement here is made of constants of this file

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
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
SUMS = ("requests", "input_tokens", "output_tokens", "cost_nanos", *CLASSES)
NAMES = ", ".join(SUMS)
OF_LABELS = ("org_id", "day", "label")
OF_TAGS = ("org_id", "day", "tag")
# The tags of a list, as a table.
ELEMENTS_SQLITE = "(SELECT CAST(value AS TEXT) AS value FROM json_each({}) WHERE value IS NOT NULL) AS listed"
ELEMENTS_POSTGRESQL = "(SELECT value FROM json_array_elements_text({}) AS value WHERE value IS NOT NULL) AS listed"
# The sums of an organisation's tags are whoever's who has this, until its transaction ends; ledger writers ask for it
# as well, once their keys are theirs (see `ledger_postgresql`).
LOCK = "PERFORM pg_advisory_xact_lock(hashtextextended({}.org_id, 0))"


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    if not sqlite:
        op.execute("SET LOCAL statement_timeout = 0")
        # At once and in the order of whoever posts, so that neither waits for the other in a ring.
        op.execute("LOCK TABLE usage_daily, proxy_keys, label_usage IN SHARE ROW EXCLUSIVE MODE")
    # Tags and labels in the order of their code points on every database.
    by_code = {} if sqlite else {"collation": "C"}
    _create("organization_labels", sa.Column("label", sa.String(length=64, **by_code), nullable=False))
    _create("tag_usage", sa.Column("tag", sa.String(length=40, **by_code), nullable=False))
    if sqlite:
        _keep_labels_sqlite()
        _keep_tags_sqlite()
        _guard_sqlite()
    else:
        _keep_labels_postgresql()
        _keep_tags_postgresql()
        _guard_postgresql()
    _fill()


def downgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    for table, name in (("label_usage", "label_usage_sum"), ("usage_daily", "usage_daily_tags")):
        for verb in ("insert", "update"):
            op.execute(f"DROP TRIGGER {name}_{verb}" + ("" if sqlite else f" ON {table}"))
            if not sqlite:
                op.execute(f"DROP FUNCTION {name}_{verb}()")
    _keep_tags_of_keys(_follow_alone, sqlite=sqlite)
    for table in ("organization_labels", "tag_usage"):
        op.drop_table(table)
    if sqlite:
        op.execute("DELETE FROM sums_in_the_way WHERE table_name = 'organization_labels'")
    else:
        op.execute("DROP FUNCTION refuse_organization_labels()")


def _create(table: str, word: sa.Column[str]) -> None:
    op.create_table(
        table,
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        word,
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in SUMS),
        sa.PrimaryKeyConstraint("org_id", "day", word.name, name=f"pk_{table}"),
    )


def _fill() -> None:
    of_labels, of_tags = ", ".join(OF_LABELS), ", ".join(OF_TAGS)
    sums = ", ".join(f"sum({name})" for name in SUMS)
    op.execute(
        f"INSERT INTO organization_labels ({of_labels}, {NAMES}) "
        f"SELECT {of_labels}, {sums} FROM label_usage GROUP BY {of_labels}"
    )
    tagged = "SELECT tag, key_id FROM key_tags UNION SELECT '', key_id FROM key_tags"  # each key once
    place = "used.org_id, used.day, tagged.tag"
    of_keys = ", ".join(f"sum(used.{name})" for name in SUMS)
    op.execute(
        f"INSERT INTO tag_usage ({of_tags}, {NAMES}) SELECT {place}, {of_keys} "
        f"FROM ({tagged}) AS tagged JOIN usage_daily AS used ON used.key_id = tagged.key_id GROUP BY {place}"
    )


def _is_there(table: str, place: tuple[str, ...]) -> str:
    risen = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in SUMS)
    return f"ON CONFLICT ({', '.join(place)}) DO UPDATE SET {risen}"


def _wrong() -> str:
    """What an update of a label's sum must not do: move it, or lower it, but for a cost that a row adjusts."""
    adjusted = "SELECT 1 FROM usage_records WHERE adjusts IS NOT NULL AND org_id = NEW.org_id AND day = NEW.day"
    return " OR ".join(
        (
            *(f"NEW.{column} <> OLD.{column}" for column in OF_LABELS),
            *(f"NEW.{column} < OLD.{column}" for column in COUNTS),
            f"(NEW.cost_nanos < OLD.cost_nanos AND NOT EXISTS ({adjusted}))",
        )
    )


def _move(row: str, elements: str, *, gone: bool = False) -> str:
    """A statement by which the sums of a key leave the tags that it has no more, and come to those that are new.

    `elements`: the table of a list's elements. The empty tag comes with the first one, and goes with the last.
    """
    before, now = (
        f"SELECT value AS tag FROM {elements.format(name)} UNION SELECT '' FROM {elements.format(name)}"
        for name in ("OLD.tags", f"{row}.tags")
    )
    if gone:
        now = "SELECT '' AS tag WHERE 1 = 0"
    new, old = (
        f"SELECT tag, {sign} AS sign FROM ({these}) AS these WHERE tag NOT IN (SELECT tag FROM ({those}) AS those)"
        for sign, these, those in ((1, now, before), (-1, before, now))
    )
    place, sums = "used.org_id, used.day, moved.tag", ", ".join(f"sum(moved.sign * used.{name})" for name in SUMS)
    return (
        f"INSERT INTO tag_usage ({', '.join(OF_TAGS)}, {NAMES}) SELECT {place}, {sums} "
        f"FROM ({new} UNION ALL {old}) AS moved JOIN usage_daily AS used ON used.key_id = {row}.id "
        f"GROUP BY {place} ORDER BY {place} {_is_there('tag_usage', OF_TAGS)}"
    )


def _follow_alone(elements: str) -> dict[str, tuple[str, ...]]:
    """What follows a change of a key's tags, by the event: rows by which keys are found. As before."""
    now = f"FROM {elements.format('NEW.tags')}"
    old = f"DELETE FROM key_tags WHERE key_id = NEW.id AND tag NOT IN (SELECT value {now})"
    new = f"SELECT DISTINCT NEW.org_id, value, NEW.id {now} WHERE 1 = 1"
    return {
        "update": (old, f"INSERT INTO key_tags (org_id, tag, key_id) {new} ON CONFLICT DO NOTHING"),
        "delete": ("DELETE FROM key_tags WHERE key_id = OLD.id",),
    }


def _follow(elements: str) -> dict[str, tuple[str, ...]]:
    """The same, and what those keys have used."""
    first = {"update": _move("NEW", elements), "delete": _move("OLD", elements, gone=True)}
    return {verb: (first[verb], *statements) for verb, statements in _follow_alone(elements).items()}


def _keep_tags_of_keys(follow: Callable[[str], dict[str, tuple[str, ...]]], *, sqlite: bool) -> None:
    if not sqlite:
        for verb, statements in follow(ELEMENTS_POSTGRESQL).items():
            lock = LOCK.format("NEW" if verb == "update" else "OLD")
            _function(f"proxy_keys_tags_{verb}", "; ".join((lock, *statements)))
        return
    for verb, statements in follow(ELEMENTS_SQLITE).items():
        event = "UPDATE OF tags" if verb == "update" else "DELETE"
        op.execute(f"DROP TRIGGER proxy_keys_tags_{verb}")
        op.execute(
            f"CREATE TRIGGER proxy_keys_tags_{verb} AFTER {event} ON proxy_keys BEGIN {'; '.join(statements)}; END"
        )


# SQLite


def _risen(when: str) -> str:
    """What a row of sums has now beside what it had."""
    return ", ".join(f"NEW.{name}" if when == "INSERT" else f"NEW.{name} - OLD.{name}" for name in SUMS)


def _keep_labels_sqlite() -> None:
    is_there = _is_there("organization_labels", OF_LABELS)
    for when in ("INSERT", "UPDATE"):
        op.execute(
            f"CREATE TRIGGER label_usage_sum_{when.lower()} AFTER {when} ON label_usage BEGIN "
            f"INSERT INTO organization_labels (org_id, day, label, {NAMES}) "
            f"VALUES (NEW.org_id, NEW.day, NEW.label, {_risen(when)}) {is_there}; END"
        )


def _keep_tags_sqlite() -> None:
    for when in ("INSERT", "UPDATE"):
        risen = _risen(when)
        op.execute(
            f"CREATE TRIGGER usage_daily_tags_{when.lower()} AFTER {when} ON usage_daily "
            "WHEN EXISTS (SELECT 1 FROM key_tags WHERE key_id = NEW.key_id) BEGIN "
            f"INSERT INTO tag_usage (org_id, day, tag, {NAMES}) "
            f"SELECT NEW.org_id, NEW.day, tag, {risen} FROM key_tags WHERE key_id = NEW.key_id "
            f"UNION ALL SELECT NEW.org_id, NEW.day, '', {risen} WHERE 1 = 1 {_is_there('tag_usage', OF_TAGS)}; END"
        )
    _keep_tags_of_keys(_follow, sqlite=True)


def _guard_sqlite() -> None:
    """As revision 0028 has it for the others."""
    table, refuse = "organization_labels", "BEGIN SELECT RAISE(ABORT, 'organization_labels only rises'); END"
    same = " AND ".join(f"{name} = NEW.{name}" for name in OF_LABELS)
    in_the_way = (
        f"EXISTS (SELECT 1 FROM {table} WHERE {same}) "
        f"OR (NEW.rowid >= 0 AND EXISTS (SELECT 1 FROM {table} WHERE rowid = NEW.rowid))"
    )
    op.execute(f"INSERT INTO sums_in_the_way (table_name, found) VALUES ('{table}', 0)")
    op.execute(
        f"CREATE TRIGGER {table}_note_replace BEFORE INSERT ON {table} BEGIN UPDATE sums_in_the_way "
        f"SET found = 1 - found WHERE table_name = '{table}' AND found <> ({in_the_way}); END"
    )
    op.execute(
        f"CREATE TRIGGER {table}_refuse_replace AFTER INSERT ON {table} "
        f"WHEN (SELECT found FROM sums_in_the_way WHERE table_name = '{table}') {refuse}"
    )
    op.execute(f"CREATE TRIGGER {table}_refuse_number BEFORE UPDATE ON {table} WHEN NEW.rowid <> OLD.rowid {refuse}")
    op.execute(f"CREATE TRIGGER {table}_refuse_fall BEFORE UPDATE ON {table} WHEN {_wrong()} {refuse}")
    op.execute(f"CREATE TRIGGER {table}_refuse_delete BEFORE DELETE ON {table} {refuse}")


# PostgreSQL


def _function(name: str, body: str) -> None:
    """With the rights of whoever owns the tables, as all that is kept beside others."""
    op.execute(
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        f"SET search_path FROM CURRENT AS $$ BEGIN {body}; RETURN NULL; END $$"
    )


def _each_statement(table: str, name: str) -> None:
    for verb, rows in (("INSERT", "NEW TABLE AS risen"), ("UPDATE", "OLD TABLE AS before NEW TABLE AS risen")):
        op.execute(
            f"CREATE TRIGGER {name}_{verb.lower()} AFTER {verb} ON {table} REFERENCING {rows} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {name}_{verb.lower()}()"
        )


def _changes(of: str) -> dict[str, str]:
    """By how much sums have changed, `of` what, by the event. All rows of it: of equal ones, UNION would keep one."""
    fallen = ", ".join(f"-{name}" for name in SUMS)
    risen = f"SELECT {of}, {NAMES} FROM risen"
    return {"insert": risen, "update": f"{risen} UNION ALL SELECT {of}, {fallen} FROM before"}


def _keep_labels_postgresql() -> None:
    place, sums = ", ".join(OF_LABELS), ", ".join(f"sum({name})" for name in SUMS)
    for verb, change in _changes(place).items():
        _function(
            f"label_usage_sum_{verb}",
            f"INSERT INTO organization_labels ({place}, {NAMES}) SELECT {place}, {sums} FROM ({change}) AS change "
            f"GROUP BY {place} ORDER BY {place} {_is_there('organization_labels', OF_LABELS)}",
        )
    _each_statement("label_usage", "label_usage_sum")


def _keep_tags_postgresql() -> None:
    """Keys whose sums change are locked, as one is whose tags do: else neither would see what the other has done."""
    place, sums = ", ".join(OF_TAGS), ", ".join(f"sum({name})" for name in SUMS)
    lock = "PERFORM 1 FROM proxy_keys WHERE id IN (SELECT key_id FROM risen) ORDER BY id FOR NO KEY UPDATE"
    mine, by = "FROM key_tags WHERE key_tags.key_id = change.key_id", "change.org_id, day, word.tag"
    for verb, change in _changes("key_id, org_id, day").items():
        _function(
            f"usage_daily_tags_{verb}",
            f"{lock}; INSERT INTO tag_usage ({place}, {NAMES}) SELECT {by}, {sums} "
            f"FROM ({change}) AS change CROSS JOIN LATERAL (SELECT tag {mine} UNION SELECT '' {mine}) AS word "
            f"GROUP BY {by} ORDER BY {by} {_is_there('tag_usage', OF_TAGS)}",
        )
    _each_statement("usage_daily", "usage_daily_tags")
    _keep_tags_of_keys(_follow, sqlite=False)


def _guard_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION refuse_organization_labels() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF TG_OP <> 'UPDATE' THEN RAISE EXCEPTION 'organization_labels only rises'; "
        f"ELSIF {_wrong()} THEN RAISE EXCEPTION 'organization_labels only rises'; END IF; RETURN NEW; END $$"
    )
    for name, when, each in (("fall", "UPDATE OR DELETE", "ROW"), ("truncate", "TRUNCATE", "STATEMENT")):
        op.execute(
            f"CREATE TRIGGER organization_labels_refuse_{name} BEFORE {when} ON organization_labels "
            f"FOR EACH {each} EXECUTE FUNCTION refuse_organization_labels()"
        )
