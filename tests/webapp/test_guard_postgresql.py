"""What PostgreSQL does otherwise than SQLite, where logins, sessions, tokens and nonsense are concerned."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dashboard_kit import ADMIN, PASSWORD, Api, environment
from flask import Flask
from forms_kit import csrf_of
from sqlalchemy import select, text

from shared.config import Settings
from shared.models import KnownPlace, ManagementToken, User
from webapp import create_app
from webapp.actions.login import LoggedIn, log_in, open_session
from webapp.actions.tokens import create_token
from webapp.actions.users import change_user, create_user
from webapp.bootstrap import BootstrapReport, bootstrap
from webapp.context import Actor, Conflict
from webapp.db import db


@pytest.fixture
def made(postgres: str, tmp_path: Path) -> Iterator[tuple[Flask, BootstrapReport]]:
    settings = Settings.from_env(environment(tmp_path / "made") | {"DATABASE_URL": postgres})
    report = bootstrap(settings)
    app = create_app(settings)
    app.testing = True
    app.config["PROPAGATE_EXCEPTIONS"] = False
    yield app, report
    with app.app_context():
        db.session.remove()
        with db.engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        db.engine.dispose()


def test_it_works(made: tuple[Flask, BootstrapReport], caplog: pytest.LogCaptureFixture) -> None:
    """One start for all of it, because it is dear."""
    app, report = made
    _logins_at_once(app)
    _tokens_at_once(app, report.org_id)
    _administrators_at_once(app, report.org_id)
    _nul(app, report)
    assert not [record.getMessage() for record in caplog.records if record.exc_info]


def _logins_at_once(app: Flask) -> None:
    """From one new place, of which each of them wants to make a row."""

    def one(_: int) -> bool:
        with app.app_context():
            found = log_in(ADMIN, PASSWORD, "192.0.2.1", browser="the same")
            return isinstance(found, LoggedIn) and open_session(found.session_id) is not None

    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(one, range(5))) == [True] * 5
    with app.app_context():
        assert "192.0.2.1" in db.session.scalars(select(KnownPlace.place)).all()


def _tokens_at_once(app: Flask, org_id: str) -> None:
    def one(_: int) -> bool:
        with app.app_context():
            try:
                create_token(Actor(org_id, ADMIN, None), "once", ["keys:read"], once="the-word-of-one-form")
            except Conflict as conflict:
                return conflict.code != "form_used"
        return True

    with ThreadPoolExecutor(5) as pool:
        assert sorted(pool.map(one, range(5))) == [False] * 4 + [True]
    with app.app_context():
        assert len(db.session.scalars(select(ManagementToken).where(ManagementToken.name == "once")).all()) == 1


def _administrators_at_once(app: Flask, org_id: str) -> None:
    """Two who shut out each other at the same moment: one of them stays."""
    actor = Actor(org_id, ADMIN, None)
    with app.app_context():
        other = create_user(actor, "second@example.com", "admin", password=PASSWORD).user_id
        first = db.session.scalars(select(User.id).where(User.email == ADMIN)).one()

    def shut_out(user_id: str) -> bool:
        with app.app_context():
            try:
                change_user(actor, user_id, active=False)
            except Conflict:
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(shut_out, (first, other))) == [False, True]


def _nul(app: Flask, report: BootstrapReport) -> None:
    """FINDINGS S4."""
    client = app.test_client()
    data = {"email": "a\0b@example.com", "password": "\0", "csrf_token": csrf_of(client)}
    assert client.post("/login", data=data).status_code == 422
    assert report.management_token is not None
    api = Api(client, report.management_token)
    assert api("GET", "/v1/keys/a%00b").status_code == 404
    assert api("GET", "/v1/keys?q=a%00b").status_code == 422
    assert api("POST", "/v1/keys", {"name": "a\0b"}).status_code == 422
