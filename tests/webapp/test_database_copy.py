"""`flask --app wsgi db copy-from`: a real SQLite file, a real PostgreSQL, rows of every kind."""

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from dashboard_kit import environment
from sqlalchemy import JSON, Connection, Text, cast, insert, select, text
from sqlalchemy.exc import DBAPIError

from shared import db, models
from shared.config import Settings
from shared.counters import WRITER_LOCK
from shared.models import PolicyOutbox
from shared.sealing import Sealer
from webapp import create_app
from webapp.bootstrap import bootstrap
from webapp.database_copy import CopyRefused, copy_from
from webapp.db import db as dashboard_db
from webapp.first_start import upgrade_schema

ROOT = Path(__file__).parent.parent.parent
MOMENT = datetime(2026, 3, 1, 23, 59, 59, 123456, tzinfo=UTC)
TRIGGERED = {
    "usage_records": "org_id = 'x'",
    "audit_events": "org_id = 'x'",
    "usage_daily": "requests = requests - 1",
    "organization_usage": "requests = requests - 1",
    "key_spend": "total_nanos = total_nanos - 1",
}

Flask = Callable[..., subprocess.CompletedProcess[str]]
# What some take that do not take just anything.
_TAKEN = {"proxy_keys": {"spend_reset": "weekly"}, "users": {"role": "viewer"}, "key_search": {"text": "small"}, "alert_deliveries": {"channel": "email", "status": "dead"}, "custom_providers": {"auth": "none"}}  # fmt: skip


@contextlib.contextmanager
def opened(url: str, **options: Any) -> Iterator[Connection]:
    """A transaction in a database of which nothing is left open afterwards."""
    engine = db.create(url)
    try:
        with engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection
    finally:
        engine.dispose()


@pytest.fixture
def old(tmp_path: Path) -> Settings:
    """An installation on SQLite with rows of every kind."""
    settings = Settings.from_env(environment(tmp_path / "old"))
    bootstrap(settings)
    with opened(settings.database_url, writes=True) as connection:
        _fill(connection, settings)
    return settings


@pytest.fixture
def environ(old: Settings, postgres: str) -> Iterator[dict[str, str]]:
    """The same data directory, with PostgreSQL as database; at the end that is empty again."""
    yield environment(old.data_dir) | {"DATABASE_URL": postgres}
    with opened(postgres.replace("postgresql://", "postgresql+psycopg://")) as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))


@pytest.fixture
def flask(environ: dict[str, str]) -> Flask:
    """Run `flask --app wsgi` with these arguments and further variables."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], **environ, **more}
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture
def new(environ: dict[str, str]) -> Settings:
    """The target, migrated and empty."""
    settings = Settings.from_env(environ)
    app = create_app(settings)
    with app.app_context():
        upgrade_schema(app)
        dashboard_db.engine.dispose()
    return settings


def copy(old: Settings, new: Settings) -> Any:
    return copy_from(old.database_url, new, ROOT / "migrations")


def refusal(url: str, new: Settings) -> str:
    with pytest.raises(CopyRefused) as told:
        copy_from(url, new, ROOT / "migrations")
    sentence = str(told.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def everything(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables; JSON as it is written."""
    found = {}
    with opened(url) as connection:
        for table in models.metadata().sorted_tables:
            columns = [cast(column, Text) if isinstance(column.type, JSON) else column for column in table.columns]
            found[table.name] = sorted(map(tuple, connection.execute(select(*columns))), key=repr)
    return found


def _fill(connection: Connection, settings: Settings) -> None:
    """One row with everything and one with as little as may be, in every table that takes them."""
    org = connection.scalar(text("select id from organizations"))
    key = connection.scalar(text("select id from proxy_keys"))
    for number, table in enumerate(models.metadata().sorted_tables):
        for full in (True, False):
            row = {}
            for column in table.columns:
                if column.nullable and not full:
                    continue
                value = _value(column, number, full=full)
                if column.foreign_keys:
                    parent = next(iter(column.foreign_keys)).column
                    known = {"organizations": org, "proxy_keys": key}.get(parent.table.name)
                    value = known or connection.scalar(select(parent).limit(1))
                row[column.name] = value
            row |= _TAKEN.get(table.name, {})
            if table.name in ("provider_credentials", "webhooks", "hand_overs"):
                row["sealed"] = Sealer(settings.encryption_keys).seal("sk-real")
                row |= {"url_sealed": row["sealed"]} if table.name == "webhooks" else {}
            alone = not full and all(column.foreign_keys for column in table.primary_key)  # one row a parent
            if table.name == "accounting_state" or alone:
                continue
            connection.execute(insert(table).values(row))
    connection.execute(text("update accounting_state set generation = 17"))
    # Nothing at all, and JSON's null, are two things.
    connection.execute(text("update proxy_keys set allowed_models = 'null' where id = :key"), {"key": key})


def _value(column: Any, number: int, *, full: bool) -> Any:
    if isinstance(column.type, JSON):
        return {"größe": ["\u0000\\\t", 9007199254740993, None, 0.1], "tab\t": {}} if full else []
    kind = column.type.python_type if not isinstance(column.type, db.UtcDateTime) else datetime
    if kind is datetime:
        return MOMENT if full else MOMENT.replace(microsecond=0)
    if kind is date:
        return MOMENT.date() if full else date(1970, 1, 1)
    if kind is str:
        return f"{number}\\N\t\n'é{full}"[: column.type.length]
    simple = {bool: full, int: (7 if "sqlite" else 0) + 9 * full, bytes: b"\x00\xff"}
    if kind is int and column.name.endswith("_nanos"):
        return 9_007_199_254_740_991 if full else 0
    return simple[kind]


def test_it_works(old: Settings, environ: dict[str, str], flask: Flask) -> None:
    before = everything(old.database_url)
    done = flask("db", "upgrade")
    assert done.returncode == 0, done.stderr
    done = flask("db", "copy-from", old.database_url)
    assert done.returncode == 0, done.stderr
    assert "usage_records: 2 rows" in done.stdout
    assert "ledger verify" in done.stdout
    assert everything(Settings.from_env(environ).database_url) == before == everything(old.database_url)
    one_a_parent = ("accounting_state", "alert_rules", "key_alert_rules", "credential_refusals")
    assert all(len(rows) >= (1 if name in one_a_parent else 2) for name, rows in before.items())
    assert "17" in str(before["accounting_state"])


def test_what_guards_the_ledger_is_in_force(old: Settings, new: Settings) -> None:
    copy(old, new)
    engine = db.create(new.database_url)
    for table, column in TRIGGERED.items():
        for statement in (f"update {table} set {column}", f"delete from {table}", f"truncate {table}"):
            with pytest.raises(DBAPIError, match=r"append-only|only rises"), engine.begin() as connection:
                connection.execute(text(statement))
    engine.dispose()


def test_numbers_go_on_above_what_came_along(old: Settings, new: Settings) -> None:
    copied = copy(old, new)
    assert copied.open_journals == 1
    assert copied.sealed_by_others == 0
    with opened(new.database_url) as connection:
        highest = max(connection.scalars(select(PolicyOutbox.id)))
        connection.execute(insert(PolicyOutbox).values(subject="key_1"))
        assert max(connection.scalars(select(PolicyOutbox.id))) == highest + 1


def test_a_key_is_found_by_its_name_whatever_letters_it_has(old: Settings, new: Settings) -> None:
    with opened(old.database_url) as connection:
        connection.execute(text("update proxy_keys set name = 'ÄRGER Ω'"))
    copy(old, new)
    for settings, name in ((old, "Ärger Ω"), (new, "ärger ω")):
        with opened(settings.database_url) as connection:
            found = connection.scalars(text("select text from key_search where key_id in (select id from proxy_keys)"))
            assert {searched.split("\n")[0] for searched in found} == {name}


def test_credentials_that_cannot_be_opened_are_told(old: Settings, new: Settings) -> None:
    copied = copy(old, replace(new, encryption_keys=("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",)))
    assert "8 provider credentials, secrets and" in "\n".join(copied.lines())


def test_a_target_with_rows_is_left_alone(old: Settings, new: Settings) -> None:
    copy(old, new)
    before = everything(new.database_url)
    assert "is not empty: there are rows in " in refusal(old.database_url, new)
    assert everything(new.database_url) == before


def test_a_target_without_tables(old: Settings, environ: dict[str, str]) -> None:
    assert "run `flask --app wsgi db upgrade` first" in refusal(old.database_url, Settings.from_env(environ))


def test_a_source_of_another_version(old: Settings, new: Settings) -> None:
    with opened(old.database_url) as connection:
        connection.execute(text("update alembic_version set version_num = '0002'"))
    assert "another version" in refusal(old.database_url, new)


@pytest.mark.parametrize("where", ["the source's folder", "the data directory"])
def test_a_running_router(old: Settings, new: Settings, tmp_path: Path, where: str) -> None:
    url, folder = old.database_url, old.data_dir
    if where == "the data directory":
        (tmp_path / "copy").mkdir()
        (tmp_path / "copy" / "router.db").write_bytes((old.data_dir / "router.db").read_bytes())
        url = f"sqlite:///{tmp_path / 'copy' / 'router.db'}"
    with (folder / WRITER_LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "A router is running on" in refusal(url, new)


def test_a_source_that_somebody_writes(old: Settings, new: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "BUSY_TIMEOUT_SECONDS", 0)
    with opened(old.database_url, writes=True):
        assert "database is locked" in refusal(old.database_url, new)


@pytest.mark.parametrize("value", ["no moment", "x" * 300])
def test_a_row_that_cannot_go_over_leaves_nothing(old: Settings, new: Settings, value: str) -> None:
    column = "created_at" if value == "no moment" else "name"
    with opened(old.database_url) as connection:
        connection.execute(text(f"update management_tokens set {column} = :value"), {"value": value})
    before = everything(new.database_url)
    told = refusal(old.database_url, new)
    assert told.startswith(
        "The source" if value == "no moment" else "Nothing was copied, because of management_tokens: "
    )
    assert "xxx" not in told
    assert everything(new.database_url) == before


def test_what_is_broken_off_leaves_nothing_and_can_be_begun_again(old: Settings, new: Settings) -> None:
    before = everything(new.database_url)

    def stop(table: str, _count: int) -> None:
        if table == "usage_records":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_from(old.database_url, new, ROOT / "migrations", stop)
    assert everything(new.database_url) == before
    copy(old, new)
    assert everything(new.database_url) == everything(old.database_url)


def test_the_same_database(old: Settings, new: Settings) -> None:
    assert "itself" in refusal(new.database_url, new)
    assert "itself" in refusal(old.database_url, old)


def test_sources_and_targets_that_are_none(old: Settings, new: Settings, tmp_path: Path) -> None:
    assert "there is no file" in refusal(f"sqlite:///{tmp_path / 'gone.db'}", new)
    assert not (tmp_path / "gone.db").exists()
    (tmp_path / "other.db").touch()
    tmp_path.chmod(0o777)  # a source is read wherever somebody left it
    assert "names no PostgreSQL" in refusal(f"sqlite:///{tmp_path / 'other.db'}", old)
    assert "another version" in refusal(f"sqlite:///{tmp_path / 'other.db'}", new)
    told = refusal("postgresql://me:very-secret@nowhere/x", new)
    assert "pg_dump" in told
    assert "very-secret" not in told


def test_a_target_that_does_not_answer(old: Settings, flask: Flask) -> None:
    done = flask("db", "copy-from", old.database_url, DATABASE_URL="postgresql://me:very-secret@127.0.0.1:1/x")
    assert done.returncode == 2
    assert done.stderr.startswith("DATABASE_URL: PostgreSQL at 127.0.0.1:1 cannot be used")
    assert "very-secret" not in done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
