"""A first start on each kind of database; PostgreSQL runs when its programs are on the machine."""

import atexit
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from dashboard_kit import Api, environment
from flask import Flask
from psycopg import sql
from sqlalchemy import make_url, text

from shared.config import Settings
from webapp import create_app
from webapp.bootstrap import BootstrapReport, bootstrap
from webapp.db import db


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """The settings of a first start on each kind of database."""
    environ = environment(tmp_path / "made")
    if request.param == "postgresql":
        environ["DATABASE_URL"] = request.getfixturevalue("postgres")
    return Settings.from_env(environ)


@pytest.fixture
def made(either: Settings) -> Iterator[tuple[Flask, BootstrapReport]]:
    """The app and the report of a first start."""
    report = begun(either)
    with leaving_nothing(either) as app:
        yield app, report


_FIRST: dict[str, tuple[Path, str, BootstrapReport]] = {}


def begun(settings: Settings) -> BootstrapReport:
    """Make a first start; each but the first on a kind of database is a copy of that one, which takes a second less."""
    kind = make_url(settings.database_url).get_backend_name()
    if kind not in _FIRST:
        report = bootstrap(settings)
        kept = Path(tempfile.mkdtemp(prefix="router-first-"))
        atexit.register(shutil.rmtree, kept, ignore_errors=True)
        shutil.copytree(settings.data_dir, kept / "data")
        if kind == "postgresql":
            _copy_database(settings, make_url(settings.database_url).database or "", "first_start")
        _FIRST[kind] = kept / "data", "first_start", report
        return report
    data, database, report = _FIRST[kind]
    shutil.copytree(data, settings.data_dir, dirs_exist_ok=True)
    if kind == "postgresql":
        _copy_database(settings, database, make_url(settings.database_url).database or "")
    return report


def _copy_database(settings: Settings, source: str, target: str) -> None:
    """Also over one that is there."""
    url = make_url(settings.database_url).set(drivername="postgresql", database="template1")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        for statement in (
            "DROP DATABASE IF EXISTS {target} WITH (FORCE)",
            "CREATE DATABASE {target} TEMPLATE {source}",
        ):
            names = {"target": sql.Identifier(target), "source": sql.Identifier(source)}
            connection.execute(sql.SQL(statement).format(**names))


@pytest.fixture
def empty(either: Settings) -> Iterator[Flask]:
    """The app over a database without a table."""
    with leaving_nothing(either) as app:
        yield app


@contextlib.contextmanager
def leaving_nothing(settings: Settings, clock: Callable[[], datetime] | None = None) -> Iterator[Flask]:
    """The app; at the end its database is as empty as it was."""
    app = create_app(settings, clock=clock)
    yield app
    with app.app_context():
        if db.engine.dialect.name == "postgresql":
            with db.engine.begin() as connection:
                connection.execute(text("DROP SCHEMA public CASCADE"))
                connection.execute(text("CREATE SCHEMA public"))
        db.engine.dispose()


def api_of(made: tuple[Flask, BootstrapReport]) -> Api:
    app, report = made
    assert report.management_token is not None
    return Api(app.test_client(), report.management_token)
