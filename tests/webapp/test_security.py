import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, NoReturn

import pytest
from dashboard_kit import Api
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import hidden, post_login
from sqlalchemy import Row, text

from shared.config import Settings
from webapp import create_app
from webapp.db import db
from webapp.headers import CONTENT_SECURITY_POLICY
from webapp.security import access_of, require

ROLES = ("viewer", "member", "admin")
# Whoever adds a route that needs no login adds it here as well, on purpose.
PUBLIC = {
    "invitation.show", "invitation.enter", "login.show", "login.enter", "login.leave", "theme.choose", "health.healthz",
    "hand_over.show", "hand_over.open_link", "single_sign_on.begin", "single_sign_on.finish", "single_sign_on.leave",
}  # fmt: skip


def pages(app: Flask) -> Iterator[tuple[str, str, str, str]]:
    """Endpoint, method, an address and the mark of each route that people use."""
    for rule in app.url_map.iter_rules():
        access = access_of(app, rule.endpoint)
        if access is not None and access.startswith("role:"):
            path = re.sub(r"<[^>]+>", "key_missing", rule.rule)
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                yield rule.endpoint, method, path, access.removeprefix("role:")


def csrf_of(client: FlaskClient) -> str:
    return hidden(client.get("/keys"), "csrf_token")


def test_it_works(enter: Callable[[str], FlaskClient]) -> None:
    assert enter("viewer").get("/keys").status_code == 200


def test_each_route_says_who_may_enter(app: Flask) -> None:
    marks = {rule.endpoint: access_of(app, rule.endpoint) for rule in app.url_map.iter_rules()}
    assert all(marks.values()), marks
    assert {endpoint for endpoint, mark in marks.items() if mark == "public"} == PUBLIC
    for rule in app.url_map.iter_rules():
        assert rule.rule.startswith("/v1") == (marks[rule.endpoint] or "").startswith("scope:"), rule


def test_a_route_without_a_mark_is_closed(settings: Settings, enter: Callable[[str], FlaskClient]) -> None:
    app = create_app(settings)
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    assert app.test_client().get("/forgotten").status_code == 403


@pytest.mark.parametrize("role", [None, *ROLES])
def test_role_matrix(app: Flask, enter: Callable[[str], FlaskClient], role: str | None) -> None:
    """D17: each page and verb, for each role, from the URL map."""
    client = app.test_client() if role is None else enter(role)
    headers = {"X-CSRFToken": "" if role is None else csrf_of(client)}
    tried = 0
    for endpoint, method, path, needed in pages(app):
        status = client.open(path, method=method, headers=headers).status_code
        tried += 1
        if role is None:
            assert status == 303, (endpoint, method)
        elif ROLES.index(role) < ROLES.index(needed):
            assert status == 403, (endpoint, method)
        else:
            assert status not in (401, 403, 405, 500), (endpoint, method, status)
    assert tried >= 10


def test_a_token_does_not_open_pages(app: Flask, api: Api) -> None:
    for _, method, path, _ in pages(app):
        if method == "GET":
            assert api(method, path).status_code == 303


def test_get_changes_nothing(app: Flask, enter: Callable[[str], FlaskClient]) -> None:
    """D10."""
    client = enter("admin")

    def digest() -> dict[str, Sequence[Row[Any]]]:
        with app.app_context():
            tables = [table for table in db.metadata.sorted_tables if table.name != "user_sessions"]
            return {table.name: db.session.execute(table.select()).all() for table in tables}

    client.get("/keys")
    before = digest()
    for _, method, path, _ in pages(app):
        if method == "GET":
            client.get(path)
            client.head(path)
    assert digest() == before


def test_a_change_needs_its_csrf_token(app: Flask, enter: Callable[[str], FlaskClient]) -> None:
    """D09."""
    client, other = enter("admin"), enter("admin")
    theirs, mine = csrf_of(other), csrf_of(client)
    for endpoint, method, path, _ in pages(app):
        if method == "GET":
            continue
        assert client.open(path, method=method).status_code == 403, endpoint
        assert client.open(path, method=method, data={"csrf_token": theirs}).status_code == 403, endpoint
        headers = {"X-CSRFToken": mine, "Sec-Fetch-Site": "cross-site"}
        assert client.open(path, method=method, headers=headers).status_code == 403, endpoint
        headers = {"X-CSRFToken": mine, "Origin": "https://evil.example"}
        assert client.open(path, method=method, headers=headers).status_code == 403, endpoint
        headers = {"X-CSRFToken": mine, "Origin": "null"}
        assert client.open(path, method=method, headers=headers).status_code == 403, endpoint
        headers = {"X-CSRFToken": mine, "Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
        assert client.open(path, method=method, headers=headers).status_code != 403, endpoint


def test_login_needs_a_csrf_token_too(app: Flask) -> None:
    assert app.test_client().post("/login", data={"email": "a@b", "password": "x"}).status_code == 403
    assert app.test_client().post("/logout").status_code == 403


def test_a_lost_session_moves_the_whole_window(app: Flask) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://localhost/keys?status=active&q=a"}
    for method in ("GET", "POST"):
        response = app.test_client().open("/keys/new", method=method, headers=headers)
        assert response.status_code == 401
        assert response.headers["HX-Redirect"] == "/login?next=/keys%3Fstatus%3Dactive%26q%3Da"
        assert "<" not in response.text
    headers["HX-Current-URL"] = "https://evil.example//evil.example"
    response = app.test_client().get("/keys/new", headers=headers)
    assert response.headers["HX-Redirect"] == "/login?next=/"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:99", "[::1"])
def test_no_redirect_is_made_of_the_host(app: Flask, enter: Callable[[str], FlaskClient], host: str) -> None:
    """D13."""
    for client in (app.test_client(), enter("admin")):
        for path in ("/", "/keys/", "//evil.example/keys", "/keys//new", "/login", "/nothing"):
            headers = {"Host": host, "X-Forwarded-Host": "evil.example"}
            response = client.get(path, headers=headers)
            assert "evil" not in response.headers.get("Location", "").partition("next=")[0]
            assert 'href="http' not in response.text


@pytest.mark.parametrize(
    "path", ["/login", "/keys", "/nothing", "/v1/keys", "/static/app.css", "/static/nothing.css", "/healthz"]
)
def test_headers_of_every_answer(app: Flask, path: str) -> None:
    """D12."""
    with app.test_client().get(path) as response:
        headers = response.headers
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in headers
    cache = headers["Cache-Control"]
    assert ("immutable" in cache) if path == "/static/app.css" else (cache == "no-store")


def test_hsts_under_tls(app: Flask) -> None:
    for path in ("/login", "/static/app.css", "/v1/keys"):
        with app.test_client().get(path, base_url="https://router.example") as response:
            assert response.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_the_scheme_of_a_trusted_proxy_counts(settings: Settings) -> None:
    headers = {"X-Forwarded-Proto": "https"}
    app = create_app(replace(settings, trusted_proxies=(ip_network("127.0.0.0/8"),)))
    assert "Strict-Transport-Security" in app.test_client().get("/login", headers=headers).headers
    for said in ("HTTPS", "http, Https "):
        headers_so = {"X-Forwarded-Proto": said}
        assert "Strict-Transport-Security" in app.test_client().get("/login", headers=headers_so).headers
    app = create_app(replace(settings, trusted_proxies=(ip_network("10.0.0.0/8"),)))
    assert "Strict-Transport-Security" not in app.test_client().get("/login", headers=headers).headers


def test_a_proxy_that_nobody_named_is_told(
    app: Flask, enter: Callable[[str], FlaskClient], caplog: pytest.LogCaptureFixture
) -> None:
    """FINDINGS S13: once in the log, and to administrators."""
    admin = enter("admin")
    headers = {"X-Forwarded-Proto": "https"}
    for _ in range(5):
        page = admin.get("/settings", headers=headers)
    assert "not in <code>ROUTER_TRUSTED_PROXIES</code>" in page.text
    assert "Strict-Transport-Security" not in page.headers
    told = [record.getMessage() for record in caplog.records if "ROUTER_TRUSTED_PROXIES" in record.getMessage()]
    assert len(told) == 1
    assert "127.0.0.1" in told[0]
    assert "ROUTER_TRUSTED_PROXIES" not in admin.get("/settings").text
    assert "ROUTER_TRUSTED_PROXIES" not in enter("member").get("/settings", headers=headers).text


@pytest.mark.parametrize(
    "said", [{}, {"Forwarded": "proto=https"}, {"X-Forwarded-Ssl": "on"}, {"X-Forwarded-Proto": "http"}]
)
def test_a_proxy_that_does_not_tell_of_tls_is_told(
    settings: Settings, said: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """FINDINGS S13: where people come by https, by the setting, and requests do not."""
    by_tls = replace(settings, dashboard_url="https://dash.example", trusted_proxies=(ip_network("127.0.0.0/8"),))
    client = create_app(by_tls).test_client()
    client.get("/healthz")
    assert "X-Forwarded-Proto" not in caplog.text
    assert post_login(client, headers=said).status_code == 303
    page = client.get("/settings", headers=said)
    assert "<code>X-Forwarded-Proto: https</code>" in page.text
    told = [record.getMessage() for record in caplog.records if "X-Forwarded-Proto" in record.getMessage()]
    assert len(told) == 1
    assert "127.0.0.1 sends requests without" in told[0]
    assert "by plain HTTP" not in client.get("/settings", base_url="https://localhost").text
    plain = create_app(settings).test_client()
    assert post_login(plain, headers=said).status_code == 303
    assert "by plain HTTP" not in plain.get("/settings", headers=said).text


def test_static_files_stay_in_their_folder(app: Flask) -> None:
    client = app.test_client()
    for path in ("/static/../wsgi.py", "/static/%2e%2e/wsgi.py", "/static//etc/passwd", "/static/"):
        assert client.get(path).status_code in (400, 403, 404), path


def test_a_fault_tells_nothing(
    app: Flask, enter: Callable[[str], FlaskClient], caplog: pytest.LogCaptureFixture
) -> None:
    """D27."""

    @require("viewer")
    def fault() -> NoReturn:
        raise RuntimeError("the secret of the fault")

    client = enter("admin")
    app.view_functions["home.index"] = fault
    response = client.get("/")
    assert response.status_code == 500
    assert "secret of the fault" not in response.text
    assert "Traceback" not in response.text
    assert response.headers["X-Request-Id"] in response.text
    assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "the secret of the fault" in caplog.text


def test_a_database_that_is_gone(app: Flask, api: Api, enter: Callable[[str], FlaskClient]) -> None:
    client = enter("admin")
    with app.app_context():
        db.session.execute(text("ALTER TABLE proxy_keys RENAME TO elsewhere"))
        db.session.commit()
    response = client.get("/keys")
    assert response.status_code == 503
    assert "SELECT" not in response.text
    assert "elsewhere" not in response.text
    response = api("GET", "/v1/keys")
    assert (response.status_code, response.get_json()["code"]) == (503, "unavailable")


def test_large_forms(app: Flask, enter: Callable[[str], FlaskClient]) -> None:
    client = enter("admin")
    assert client.post("/keys/new", data={"name": "x" * 1_000_001}).status_code == 413
    many = {f"field{number}": "x" for number in range(101)}
    response = client.post("/keys/new", data=many, content_type="multipart/form-data")
    assert response.status_code == 413
