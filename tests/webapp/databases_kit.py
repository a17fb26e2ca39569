"""A first start on each kind of database; PostgreSQL runs when its programs are on the machine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from dashboard_kit import Api, environment
from flask import Flask
from sqlalchemy import text

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
    report = bootstrap(either)
    with leaving_nothing(either) as app:
        yield app, report


@pytest.fixture
def empty(either: Settings) -> Iterator[Flask]:
    """The app over a database without a table."""
    with leaving_nothing(either) as app:
        yield app


@contextlib.contextmanager
def leaving_nothing(settings: Settings) -> Iterator[Flask]:
    """The app; at the end its database is as empty as it was."""
    app = create_app(settings)
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
