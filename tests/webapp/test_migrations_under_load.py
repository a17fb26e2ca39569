"""Changes of tables while the release before serves: they add, and they wait for nobody long."""

import ast
from collections.abc import Iterator
from pathlib import Path

import flask_migrate
import psycopg
import pytest
from dashboard_kit import environment
from flask import Flask
from sqlalchemy import inspect, text

from shared.config import Settings
from webapp import create_app
from webapp.db import db

VERSIONS = Path(__file__).parents[2] / "migrations" / "versions"
# Made before any release that could be upgraded from.
FIRST = ("0001", "0002", "0003", "0004")
# What takes something away from the release before, each with the release since which nobody uses it.
EXCUSED: dict[str, str] = {}
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
