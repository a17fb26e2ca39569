"""Requests that no browser sends: a 4xx and at most one line, nothing written, no traceback. FINDINGS S3, S4 and S5."""

import base64
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from dashboard_kit import Api
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX, SECRET, csrf_of, hidden
from sqlalchemy import func, select, text

from shared.keys import MANAGEMENT_TAG, PROXY_TAG, mint
from shared.models import AuditEvent, IdempotentCreation, ManagementToken, ProxyKey
from webapp.db import db
from webapp.security import access_of

NO_ADDRESS = (
    "http://[",
    "http://[::1",
    "//[",
    "http://\u0080",
    "http://a:b:c",
    "null",
    "",
    "\x7f",
    "http://[v1.x]",
    "]" * 2000,
)


def traces(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged with a traceback."""
    return [record.getMessage() for record in caplog.records if record.exc_info or record.levelno > logging.ERROR]


@pytest.fixture
def admin(enter: Callable[[str], FlaskClient]) -> FlaskClient:
    return enter("admin")


@pytest.mark.parametrize("address", NO_ADDRESS)
@pytest.mark.parametrize("header", ["Origin", "Referer", "HX-Current-URL", "Host"])
def test_it_works(admin: FlaskClient, app: Flask, caplog: pytest.LogCaptureFixture, header: str, address: str) -> None:
    """Each header that holds an address, on a change that would be made without it."""
    token = hidden(admin.get("/keys"), "csrf_token")
    nonce = hidden(admin.get("/keys/new"), "nonce")
    headers = {**HTMX, header: address}
    answer = admin.post("/keys/new", data={"csrf_token": token, "nonce": nonce, "name": "told"}, headers=headers)
    with app.app_context():
        made = db.session.scalar(select(func.count()).select_from(ProxyKey).where(ProxyKey.name == "told"))
    # What was committed is told: no secret is lost for a header.
    assert bool(SECRET.search(answer.text)) == bool(made)
    assert answer.status_code == (201 if made else answer.status_code) < 500
    assert app.test_client().get("/keys", headers={"HX-Request": "true", header: address}).status_code in (400, 401)
    assert traces(caplog) == []


FORMS = [
    b'{"email": 5, "password": null}', b"[1, 2]", b"[" * 100_000, b'"text"', b"\xff\xfe", b"", b"email=a&password=b",
]  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "application/x-www-form-urlencoded+json", "text/xml", "a/b; c"]
)
def test_pages_take_forms_only(app: Flask, admin: FlaskClient, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """FINDINGS S3: of every page that takes a form, with and without a login."""
    token = hidden(admin.get("/keys"), "csrf_token")
    paths = [
        re.sub(r"<[^>]+>", "key_missing", rule.rule)
        for rule in app.url_map.iter_rules()
        if "POST" in (rule.methods or ()) and not (access_of(app, rule.endpoint) or "").startswith("scope:")
    ]
    assert len(paths) > 12
    for path in paths:
        for body in FORMS:
            for client, headers in ((app.test_client(), {}), (admin, {"X-CSRFToken": token})):
                answer = client.post(path, data=body, content_type=kind, headers=headers)
                assert answer.status_code == 415, (path, body[:20])
    assert admin.get("/keys").status_code == 200  # not even logged out
    assert traces(caplog) == []


@pytest.mark.parametrize(
    "body",
    [
        b"email=%00&password=%00", b"email=%ff&password=%ed%a0%80", b"=&=&=", b"email", b"&" * 5000, b"email=" + b"a" * 500_000,
        b"email=\x00\xff", b"email=a%40b&email=c%40d", b"%" * 3000,
    ],
)  # fmt: skip
def test_nonsense_in_the_login_form(app: Flask, caplog: pytest.LogCaptureFixture, body: bytes) -> None:
    client = app.test_client()
    body += b"&csrf_token=" + csrf_of(client).encode()
    answer = client.post("/login", data=body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code in (403, 413, 422)
    assert traces(caplog) == []


@pytest.mark.parametrize(
    "boundary", ["", "; boundary=", "; boundary=x", "; boundary=" + "y" * 300, "; boundary=\u00e9"]
)
def test_nonsense_in_several_parts(app: Flask, caplog: pytest.LogCaptureFixture, boundary: str) -> None:
    for body in (
        b"",
        b"--x\r\n\r\n",
        b"--x\r\nContent-Disposition: form-data; name=email\r\n\r\n\x00\r\n--x--",
        b"--x" * 99,
    ):
        answer = app.test_client().post("/login", data=body, content_type=f"multipart/form-data{boundary}")
        assert answer.status_code in (400, 403, 413, 415, 422)
    assert traces(caplog) == []


def cursor(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


CURSORS = [
    cursor("-created_at", "2026-01-01T00:00:00+00:00", "\ud800"), cursor("name", "\ud800", "key_1"), cursor("name", "\0", "key_1"),
    cursor("name", "a", "key\0"), cursor("-created_at", "\0", "key_1"), cursor("-created_at", "9999-12-31T23:59:59-23:59", "x"),
    cursor("-created_at", "0001-01-01T00:00:00+23:59", "x"), cursor("-created_at", 5, []), cursor(), "\0", "\ud800"[:0] + "%", "=" * 50,
    base64.urlsafe_b64encode(b"[" * 100_000).decode(),
]  # fmt: skip


@pytest.mark.parametrize("given", CURSORS)
def test_nonsense_in_a_cursor(api: Api, admin: FlaskClient, caplog: pytest.LogCaptureFixture, given: str) -> None:
    for sort in ("-created_at", "name"):
        assert admin.get("/keys", query_string={"cursor": given, "sort": sort}).status_code == 422
        assert api("GET", "/v1/keys", query_string={"cursor": given, "sort": sort}).status_code == 422
    assert traces(caplog) == []


@pytest.mark.parametrize(
    "piece", ["%00", "a%00b", "%ff", "%ed%a0%80", "%0a", "%1b[31m", "%e2%80%ae", "x" * 3000, "%2e%2e", "'", "%25"]
)
def test_nonsense_in_a_path(
    app: Flask, api: Api, admin: FlaskClient, caplog: pytest.LogCaptureFixture, piece: str
) -> None:
    token = hidden(admin.get("/keys"), "csrf_token")
    for rule in app.url_map.iter_rules():
        if "<" not in rule.rule:
            continue
        path = re.sub(r"<[^>]+>", piece, rule.rule)
        for method in (rule.methods or set()) - {"OPTIONS"}:
            call: Any = (
                api
                if rule.rule.startswith("/v1")
                else lambda method, path: admin.open(path, method=method, headers={"X-CSRFToken": token})
            )
            answer = call(method, path)
            assert answer.status_code in (404, 415, 422), (method, path)
    assert traces(caplog) == []


@pytest.mark.parametrize(
    "secret",
    [
        mint(PROXY_TAG).raw,
        mint(MANAGEMENT_TAG).raw,
        "sk-ant-api03-" + "x_9-" * 20,
        "AIzaSy" + "D1" * 17,
        "sk-proj-" + "a1B2" * 10,
    ],
)
def test_a_secret_that_is_pasted_goes_nowhere(
    app: Flask, api: Api, admin: FlaskClient, caplog: pytest.LogCaptureFixture, secret: str
) -> None:
    """FINDINGS S5: not into an address, an error, the log or a table."""
    stranger = app.test_client()
    where = [
        stranger.get("/keys", query_string={"q": secret}),
        stranger.get(f"/keys/{secret}/edit"),
        stranger.get(f"/login?next=/keys?q={secret}"),
        stranger.get("/keys", headers={"HX-Request": "true", "HX-Current-URL": f"http://localhost/keys?q={secret}"}),
        admin.get("/keys", query_string={"q": secret}),
        admin.get("/keys", query_string={"q": f"KEY={secret}", "status": "active"}),
        admin.get(f"/keys/{secret}/edit"),
        api("GET", "/v1/keys", query_string={"status": secret}),
        api("GET", "/v1/keys", query_string={"sort": secret, "cursor": secret}),
        api("GET", f"/v1/keys/{secret}"),
        api("POST", "/v1/keys", {"name": "x", "allowed_providers": [secret]}),
        api("POST", "/v1/keys", {"name": "x", secret: 1}),
        api("POST", "/v1/keys", {"name": "x"}, headers={"Idempotency-Key": f"for {secret}"}),
    ]
    form = {"csrf_token": hidden(admin.get("/settings"), "csrf_token"), "scopes": [secret], "name": "x"}
    where.append(admin.post("/settings/tokens", data=form))
    for answer in where:
        assert secret not in answer.text
        assert secret not in str(answer.headers)
    assert where[0].headers["Location"].startswith("/login?next=/keys%3Fq%3D")
    assert where[-2].status_code == 422
    assert secret not in caplog.text
    with app.app_context():
        for table in (ProxyKey, AuditEvent, IdempotentCreation, ManagementToken):
            assert secret not in str(db.session.execute(select(table.__table__)).all())


def test_what_no_database_takes_is_the_callers_fault(
    app: Flask, admin: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever was not looked at before: text with a half of a surrogate pair, as SQLite says it."""

    def stumble() -> str:
        return str(db.session.execute(text("SELECT :x"), {"x": "\ud800"}))

    stumble.access = "role:viewer"  # type: ignore[attr-defined]
    app.view_functions["home.index"] = stumble
    assert admin.get("/").status_code == 400
    assert traces(caplog) == []
