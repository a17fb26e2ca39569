"""D17: each role, and each scope of a token, at each route with each method. What is forbidden has no effect, and nothing
ends in a 500. The cells come from the URL map, so a new route is in it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from dashboard_kit import Api
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import hidden
from sqlalchemy import ColumnElement, select
from werkzeug.test import TestResponse

from shared.models import ROLES, SCOPES, User
from webapp.actions.tokens import create_token
from webapp.actions.users import create_user
from webapp.actions.webhooks import create_webhook
from webapp.context import Actor
from webapp.db import db
from webapp.security import access_of

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
FIELDS = {
    "name": "taken over",
    "scopes": "keys:read",
    "role": "admin",
    "theme": "dark",
    "new_password": "taken over by others",
}
CALLERS = (None, *(f"role:{role}" for role in ROLES), *(f"scope:{scope}" for scope in SCOPES))
Call = Callable[[str, str], TestResponse]


@pytest.fixture
def subjects(app: Flask, api: Api, actor: Actor) -> dict[str, str]:
    """A thing of each kind that addresses name, by the name of the variable."""
    with app.app_context():
        return {
            "key_id": api.create()["id"],
            "token_id": create_token(actor, "a token", ["keys:read"]).view.id,
            "user_id": create_user(actor, "somebody@example.com", "member").user_id,
            "session_id": "0" * 32,
            "webhook_id": create_webhook(actor, {"url": "https://hooks.example.com/1"}).view.id,
        }


@pytest.fixture
def call(
    request: pytest.FixtureRequest, app: Flask, api: Api, actor: Actor, enter: Callable[[str], FlaskClient]
) -> tuple[str | None, Call]:
    """Who calls, and the way they do."""
    caller: str | None = request.param
    kind, _, name = (caller or "").partition(":")
    if kind == "scope":
        with app.app_context():
            api.token = create_token(actor, "narrow", [name]).secret
        return caller, lambda method, path: api(
            method, path, {"name": "taken over"} if path.startswith("/v1") else None
        )
    client = app.test_client() if caller is None else enter(name)
    headers = {"X-CSRFToken": "" if caller is None else hidden(client.get("/keys"), "csrf_token")}

    def send(method: str, path: str) -> TestResponse:
        data = FIELDS if method == "POST" else None
        return client.open(path, method=method, headers=headers, data=data)

    return caller, send


def cells(app: Flask, subjects: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Method, path, and the mark of the view that takes this method there; "" if none does."""
    marks: dict[str, dict[str, str]] = {}
    for rule in app.url_map.iter_rules():
        path = rule.rule
        for name in rule.arguments:
            path = path.replace(f"<{name}>", subjects.get(name, "missing"))
        for method in rule.methods or ():
            # What the framework itself says of a path tells its methods and has no effect.
            marks.setdefault(path, {})[method] = (
                "public" if method == "OPTIONS" else access_of(app, rule.endpoint) or "nobody"
            )
    for path, methods in marks.items():
        for method in METHODS:
            if path != "/v1/keys/bulk" or method in methods:  # to other methods it is a key of that id
                yield method, path, methods.get(method, "")


def may(caller: str | None, access: str) -> bool:
    if access == "public":
        return True
    if caller is None:
        return False
    kind, _, name = access.partition(":")
    if kind == "known":
        return True
    own, _, who = caller.partition(":")
    if kind == "role":
        return own == "role" and ROLES.index(who) >= ROLES.index(name)
    return caller == access


def digest(app: Flask) -> dict[str, list[str]]:
    """All rows of all tables, but for when a session or a token was last seen."""
    with app.app_context():
        return {
            table.name: sorted(str(row) for row in db.session.execute(select(*_lasting(table.columns))))
            for table in db.metadata.sorted_tables
        }


def _lasting(columns: Iterable[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    return [column for column in columns if column.key not in ("seen_at", "last_used_at")]


@pytest.mark.parametrize("call", CALLERS, indirect=True, ids=str)
def test_it_works(app: Flask, subjects: dict[str, str], call: tuple[str | None, Call]) -> None:
    caller, send = call
    before, forbidden = digest(app), 0
    for method, path, access in cells(app, subjects):
        if may(caller, access):
            continue
        answer = send(method, path)
        forbidden += 1
        assert answer.status_code in ((303, 401, 403) if access else (405,)), (method, path, answer.status_code)
    assert digest(app) == before
    assert forbidden > 150


@pytest.mark.parametrize("call", CALLERS, indirect=True, ids=str)
def test_what_is_allowed_never_fails(app: Flask, subjects: dict[str, str], call: tuple[str | None, Call]) -> None:
    caller, send = call
    tried = 0
    for method, path, access in cells(app, subjects):
        # Logging out ends the session with which the rest is tried.
        if may(caller, access) and path != "/logout":
            status = send(method, path).status_code
            tried += 1
            assert status < 500, (method, path, status)
            assert status != 401 or method == "OPTIONS", (method, path)
    assert tried >= 4
    with app.app_context():
        assert caller != "role:admin" or db.session.get_one(User, subjects["user_id"]).password_hash
