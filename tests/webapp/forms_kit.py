"""What the tests of the pages share: sending a form as a browser would, and looking behind the pages."""

import re
from collections.abc import Mapping
from html import unescape
from typing import Any

from dashboard_kit import ADMIN, PASSWORD
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared.db import Base
from shared.models import ProxyKey
from webapp.db import db

HTMX = {"HX-Request": "true", "HX-Current-URL": "http://localhost/keys"}
SECRET = re.compile(r"sk-proxy-[0-9a-f]{64}")


def hidden(page: TestResponse, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found is not None, f"no hidden field {name}"
    return unescape(found[1])


def csrf_of(client: FlaskClient) -> str:
    """The token of the login form."""
    return hidden(client.get("/login"), "csrf_token")


def post_login(client: FlaskClient, email: str = ADMIN, password: str = PASSWORD, **more: Any) -> TestResponse:
    """Log in as a browser would."""
    data = {"email": email, "password": password, "csrf_token": csrf_of(client), **more.pop("data", {})}
    return client.post("/login", data=data, **more)


def submit(
    client: FlaskClient,
    path: str,
    filled: Mapping[str, object] | None = None,
    *,
    htmx: bool = False,
    form_of: TestResponse | None = None,
    **more: object,
) -> TestResponse:
    """Send the form that `path` shows, filled with `filled` and `more`, with its hidden fields, as the browser would."""
    page = form_of or client.get(path)
    fields = {**(filled or {}), **more}
    for name in ("csrf_token", "nonce", "version", "seen"):
        if f'name="{name}"' in page.text:
            fields.setdefault(name, hidden(page, name))
    return client.post(path, data=fields, headers=HTMX if htmx else {})


def stored(app: Flask, key_id: str) -> ProxyKey:
    """The row of a key."""
    with app.app_context():
        row = db.session.get(ProxyKey, key_id)
    assert row is not None
    return row


def count(app: Flask, table: type[Base]) -> int:
    with app.app_context():
        return db.session.query(table).count()
