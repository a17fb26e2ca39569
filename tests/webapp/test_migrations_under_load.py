"""Changes of tables while the release before serves: they add, and they wait for nobody long."""

import ast
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask_migrate
import psycopg
import pytest
from dashboard_kit import environment
from flask import Flask
from sqlalchemy import event, inspect, text

from shared.config import Settings
from webapp import create_app
from webapp.db import db
from webapp.large_indexes import build_large_indexes, large_indexes

VERSIONS = Path(__file__).parents[2] / "migrations" / "versions"
# Made before any release that could be upgraded from.
FIRST = ("0001", "0002", "0003", "0004")
# What looks as if it took something away from the release before, each with why that one can live without it.
EXCUSED: dict[str, str] = {
    "0029_limits_for_models_are_limits": "two indexes: the release before finds its lists without them, only slower",
    "0023_several_credentials": "one credential of a provider and label instead of one of a provider: the release "
    "before writes no label, so each that it writes is the `default`, of which there is one as before",
}
ADDS = {"create_table", "add_column", "create_index", "create_foreign_key", "execute", "get_bind", "f"}


@pytest.fixture
def older(postgres: str, tmp_path: Path) -> Iterator[Flask]:
    """The app, over tables of revision 0002."""
    app = create_app(Settings.from_env(environment(tmp_path / "made") | {"DATABASE_URL": postgres}))
    with app.app_context():
        flask_migrate.upgrade(app.extensions["migrate"].directory, revision="0002")
        yield app
        with db.engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        db.engine.dispose()


ROW = (
    "INSERT INTO usage_records (id, org_id, key_id, provider, endpoint, streamed, outcome, flags, usage, input_tokens,"
    " output_tokens, bound_nanos, cost_nanos, day, admitted_at, duration_ms, status) VALUES ('{}', 'org_1', 'key_1',"
    " 'openai', '/', false, 'ok', '[]', '{{}}', 1, 1, 1, 1, '2026-11-24', now(), 1, 401)"
)


def columns() -> set[str]:
    return {column["name"] for column in inspect(db.engine).get_columns("proxy_keys")}


def test_it_works(older: Flask) -> None:
    flask_migrate.upgrade(older.extensions["migrate"].directory)
    assert "paused" in columns()


def test_who_reads_a_table_for_long_is_not_waited_for(older: Flask, postgres: str) -> None:
    """Whoever asks for that table meanwhile is kept waiting for a second, not for as long as that takes."""
    directory = older.extensions["migrate"].directory
    with psycopg.connect(postgres) as reader:
        reader.execute("SELECT count(*) FROM proxy_keys")
        with pytest.raises(SystemExit, match="not changed"):
            flask_migrate.upgrade(directory)
        assert "paused" not in columns()
    flask_migrate.upgrade(directory)
    assert "paused" in columns()


LABELLED = (
    "INSERT INTO label_usage (key_id, day, label, org_id, requests, input_tokens, output_tokens, cost_nanos)"
    " VALUES ('key_1', '2026-11-24', 'run', 'org_1', 1, 1, 1, 1)"
    " ON CONFLICT (key_id, day, label) DO UPDATE SET requests = label_usage.requests + 1"
)


def posting(postgres: str, over: threading.Event, faults: list[Exception], *more: str) -> None:
    """What a ledger writer of the release before does, again and again, in its order."""
    statements = (
        (
            "INSERT INTO usage_daily (key_id, day, provider, model, org_id, requests, input_tokens, output_tokens, cost_nanos)"
            " VALUES ('key_1', '2026-11-24', 'openai', '', 'org_1', 1, 1, 1, 1)"
            " ON CONFLICT (key_id, day, provider, model) DO UPDATE SET requests = usage_daily.requests + 1"
        ),
        (
            "INSERT INTO key_spend VALUES ('key_1', '2026-11-24', 0, 0, 1)"
            " ON CONFLICT (key_id, day) DO UPDATE SET total_nanos = key_spend.total_nanos + 1"
        ),
        "UPDATE proxy_keys SET last_used_at = now() WHERE id = 'key_1'",
        *more,
    )
    try:
        with psycopg.connect(postgres, autocommit=True) as connection:
            while not over.is_set():
                with connection.transaction():
                    for statement in statements:
                        connection.execute(statement)
                        time.sleep(0.02)  # so that the change of tables always meets one halfway
    except psycopg.Error as error:
        faults.append(error)


@pytest.mark.parametrize(("revision", "more"), [("0010", ()), ("0030", (LABELLED,))])
def test_who_posts_and_a_change_of_tables_do_not_wait_in_a_circle(
    older: Flask, postgres: str, revision: str, more: tuple[str, ...]
) -> None:
    directory = older.extensions["migrate"].directory
    flask_migrate.upgrade(directory, revision=revision)
    over, faults = threading.Event(), list[Exception]()
    ledger_writer = threading.Thread(target=posting, args=(postgres, over, faults, *more))
    ledger_writer.start()
    try:
        flask_migrate.upgrade(directory)
    finally:
        over.set()
        ledger_writer.join()
    assert faults == []


def test_an_index_of_the_ledger_is_built_while_it_is_written(older: Flask, postgres: str) -> None:
    """Who writes is not kept waiting, neither by the index nor by those that it waits for; one that is broken is mended."""
    flask_migrate.upgrade(older.extensions["migrate"].directory)
    (index,) = (index for index in large_indexes() if index.table is not None and index.table.name == "usage_records")
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
    with psycopg.connect(postgres, autocommit=True) as other, psycopg.connect(postgres) as writer:
        assert other.execute(valid, [index.name]).fetchall() == [(True,)]
        # What is left of a build that somebody killed.
        other.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)", [index.name])
        writer.execute(ROW.format("attempt 1"))
        building = [threading.Thread(target=build_large_indexes, args=(db.engine,)) for _ in range(2)]
        for thread in building:
            thread.start()
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INDEX CONCURRENTLY%'"
        )
        while other.execute(waits).fetchone() != (1,):
            assert any(thread.is_alive() for thread in building)
        other.execute("SET lock_timeout = '1s'")
        other.execute(ROW.format("attempt 2"))
        writer.commit()
        for thread in building:
            thread.join()
        assert other.execute(valid, [index.name]).fetchall() == [(True,)]
        assert other.execute("SELECT count(*) FROM usage_records").fetchone() == (2,)


def test_keys_are_read_while_their_indexes_are_built(older: Flask, postgres: str) -> None:
    """Nothing is built behind an index that is dropped, because nobody reads a key until that transaction ends."""
    directory = older.extensions["migrate"].directory
    flask_migrate.upgrade(directory, revision="0028")
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        flask_migrate.upgrade(directory)
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
    built = [statement for statement in sent if statement.startswith("CREATE INDEX") and " ON proxy_keys" in statement]
    assert len(built) == 2
    assert all(statement.startswith("CREATE INDEX CONCURRENTLY ix_proxy_keys_with") for statement in built)
    found = {index["name"] for index in inspect(db.engine).get_indexes("proxy_keys")}
    assert {"ix_proxy_keys_with_limit", "ix_proxy_keys_without_limit"} <= found
    assert not {"ix_proxy_keys_limited", "ix_proxy_keys_unlimited"} & found


def takes_away(source: str) -> list[str]:
    """What `upgrade` does that the release before could not live with."""
    (upgrade,) = (
        part for part in ast.parse(source).body if isinstance(part, ast.FunctionDef) and part.name == "upgrade"
    )
    found = []
    for call in (part for part in ast.walk(upgrade) if isinstance(part, ast.Call)):
        if not (isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("op", "batch_op", "batch")):
            continue
        name = call.func.attr
        if name not in ADDS:
            found.append(name)
        if name == "add_column":
            (column,) = (part for part in call.args if isinstance(part, ast.Call))
            words = {word.arg: ast.unparse(word.value) for word in column.keywords}
            if words.get("nullable") == "False" and "server_default" not in words:
                found.append("add_column that the release before does not fill")
    return found


@pytest.mark.parametrize("path", sorted(VERSIONS.glob("*.py")), ids=lambda path: path.stem)
def test_a_migration_takes_nothing_away_from_the_release_before(path: Path) -> None:
    if path.stem[:4] not in FIRST and path.stem not in EXCUSED:
        assert takes_away(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("op.add_column('t', sa.Column('c', sa.Text()))", []),
        ("op.add_column('t', sa.Column('c', sa.Text(), nullable=False, server_default=''))", []),
        ("op.add_column('t', sa.Column('c', sa.Text(), nullable=False))", ["add_column that the release before does not fill"]),
        ("op.drop_column('t', 'c')", ["drop_column"]),
        ("op.rename_table('t', 's')", ["rename_table"]),
        ("batch.alter_column('c', nullable=False)", ["alter_column"]),
    ],
)  # fmt: skip
def test_that_is_told(line: str, found: list[str]) -> None:
    assert takes_away(f"def upgrade():\n    {line}") == found
