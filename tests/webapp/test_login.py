import re
from datetime import timedelta

import pytest
from dashboard_kit import ADMIN, PASSWORD, Clock
from flask import Flask
from forms_kit import csrf_of, hidden, post_login
from sqlalchemy import func, select, update

from shared.config import Settings
from shared.models import AuditEvent, User, UserSession
from webapp.actions.login import LoggedIn, Refused, log_in, open_session
from webapp.db import db, writing
from webapp.security import safe_next


def session_of(result: LoggedIn | Refused) -> str:
    assert isinstance(result, LoggedIn)
    return result.session_id


def test_it_works(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/keys").headers["Location"] == "/login?next=/keys"
    response = post_login(client, data={"next": "/keys?status=active"})
    assert (response.status_code, response.headers["Location"]) == (303, "/keys?status=active")
    (cookie,) = [one for one in response.headers.getlist("Set-Cookie") if one.startswith("session=")]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie
    assert client.get("/keys").status_code == 200


def test_under_tls_the_cookie_is_bound_to_the_host(app: Flask) -> None:
    client = app.test_client()
    base = {"base_url": "https://router.example"}
    page = client.get("/login", **base)
    token = hidden(page, "csrf_token")
    response = client.post(
        "/login", data={"email": ADMIN, "password": PASSWORD, "csrf_token": token}, headers={}, **base
    )
    assert response.status_code == 303
    cookies = response.headers.getlist("Set-Cookie")
    assert sorted(cookie.partition("=")[0] for cookie in cookies) == ["__Host-browser", "__Host-session"]
    assert all("Secure" in cookie for cookie in cookies)
    assert "max-age" in response.headers["Strict-Transport-Security"]


def test_a_login_gets_a_new_session_and_forgets_what_was_in_the_old_one(app: Flask) -> None:
    client = app.test_client()
    with client.session_transaction() as cookie:
        cookie["_user_id"] = "chosen by an attacker"
        cookie["csrf_token"] = "a" * 40
    assert post_login(client).status_code == 303
    with client.session_transaction() as cookie:
        first = cookie["_user_id"]
        assert first != "chosen by an attacker"
        assert cookie.get("csrf_token") != "a" * 40
    token = hidden(client.get("/keys"), "csrf_token")
    client.post("/login", data={"email": ADMIN, "password": PASSWORD, "csrf_token": token})
    with client.session_transaction() as cookie:
        assert cookie["_user_id"] != first
    with app.app_context():
        assert open_session(first) is None


def test_the_database_holds_no_session_id(app: Flask, settings: Settings) -> None:
    client = app.test_client()
    post_login(client)
    with client.session_transaction() as cookie:
        session_id = cookie["_user_id"].encode()
    for path in settings.data_dir.iterdir():
        assert session_id not in path.read_bytes()
        assert PASSWORD.encode() not in path.read_bytes()


def test_logout_ends_the_session_on_the_server(app: Flask) -> None:
    client = app.test_client()
    post_login(client)
    stolen = client.get_cookie("session")
    assert stolen is not None
    page = client.get("/keys")
    token = hidden(page, "csrf_token")
    assert client.post("/logout", data={"csrf_token": token}).headers["Location"] == "/login"
    client.set_cookie("session", stolen.value)
    assert client.get("/keys").status_code == 303


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (ADMIN, "wrong password"),
        ("nobody@example.com", PASSWORD),
        (ADMIN, ""),
        (ADMIN, PASSWORD + "x" * 1024),
        (ADMIN, "\ud800"),
        ("x" * 100_000, PASSWORD),
    ],
)
def test_refusals_look_alike(app: Flask, email: str, password: str) -> None:
    with app.app_context():
        assert log_in(email, password, "192.0.2.1") == Refused(0.0)


def test_wrong_password_and_unknown_user_get_the_same_page(app: Flask) -> None:
    def body(email: str) -> tuple[int, str]:
        response = post_login(app.test_client(), email, "wrong password")
        return response.status_code, re.sub(r'value="[^"]*"|"X-CSRFToken": "[^"]*"|X-CSRFToken[^}]*', "", response.text)

    assert body(ADMIN) == body("nobody@example.com")


def test_the_stored_hash_is_no_password(app: Flask) -> None:
    with app.app_context():
        stored = db.session.scalars(select(User.password_hash)).one()
        assert stored.startswith("$argon2id$")
        assert isinstance(log_in(ADMIN, stored, None), Refused)


def test_spellings_of_an_email(app: Flask) -> None:
    with app.app_context():
        assert isinstance(log_in("  \N{FULLWIDTH LATIN CAPITAL LETTER A}DMIN@Example.COM ", PASSWORD, None), LoggedIn)


def test_a_disabled_user(app: Flask, clock: Clock) -> None:
    client = app.test_client()
    post_login(client)
    with app.app_context():
        with writing() as session:
            session.execute(update(User).values(disabled_at=clock.now))
        assert isinstance(log_in(ADMIN, PASSWORD, None), Refused)
    assert client.get("/keys").status_code == 303


def test_guessing_is_slowed_down_by_account_and_network(app: Flask, clock: Clock) -> None:
    with app.app_context():
        refusals = [log_in(ADMIN, "wrong", "2001:db8::1") for _ in range(6)]
        waits = [refusal.wait_seconds for refusal in refusals if isinstance(refusal, Refused)]
        assert waits == [0, 0, 0, 0, 0, 1]
        # Neither another spelling nor another address of the same network helps, nor does the right password.
        assert log_in(ADMIN.upper(), PASSWORD, "2001:db8::2") == Refused(1.0, looked=False)
        assert isinstance(log_in(ADMIN, PASSWORD, "198.51.100.7"), LoggedIn)
        clock.forward(seconds=1)
        assert isinstance(log_in(ADMIN, PASSWORD, "2001:db8::1"), LoggedIn)
        assert log_in(ADMIN, "wrong", "2001:db8::1") == Refused(0.0)


def test_who_must_wait_is_not_told_that_the_password_is_wrong(app: Flask) -> None:
    client = app.test_client()
    for _ in range(5):
        assert "Email or password is wrong." in post_login(client, ADMIN, "wrong password").text
    assert "wrong. The next attempt is possible in 1 s." in post_login(client, ADMIN, "wrong password").text
    for email in (ADMIN, "nobody@example.com"):
        for _ in range(6):
            post_login(client, email, "wrong password")
        refused = post_login(client, email).text
        assert "Too many attempts. The next one is possible in 1 s." in refused
        assert "is wrong" not in refused


def test_the_throttle_does_not_believe_a_header(app: Flask) -> None:
    client = app.test_client()
    for number in range(6):
        post_login(client, ADMIN, "wrong password", headers={"X-Forwarded-For": f"10.0.0.{number}"})
    assert post_login(client, headers={"X-Forwarded-For": "10.9.9.9"}).status_code == 422


def test_without_its_throttle_nobody_comes_in(app: Flask, settings: Settings) -> None:
    client = app.test_client()
    token = csrf_of(client)
    app.extensions["login_throttle"].close()
    for path in settings.data_dir.glob("counters-logins.db*"):
        path.unlink()
    (settings.data_dir / "counters-logins.db").mkdir()
    response = client.post("/login", data={"email": ADMIN, "password": PASSWORD, "csrf_token": token})
    assert response.status_code == 503


def test_an_idle_session_ends(app: Flask, clock: Clock) -> None:
    with app.app_context():
        session_id = session_of(log_in(ADMIN, PASSWORD, None))
        for _ in range(5):
            clock.forward(minutes=29)
            assert open_session(session_id) is not None
        clock.forward(minutes=30, seconds=1)
        assert open_session(session_id) is None
        clock.now -= timedelta(minutes=30)
        assert open_session(session_id) is None


def test_a_session_ends_after_twelve_hours(app: Flask, clock: Clock) -> None:
    with app.app_context():
        session_id = session_of(log_in(ADMIN, PASSWORD, None))
        for _ in range(36):
            clock.forward(minutes=20)
            assert open_session(session_id) is not None
        clock.forward(seconds=1)
        assert open_session(session_id) is None
        assert db.session.scalar(select(func.count()).select_from(UserSession)) == 0


@pytest.mark.parametrize("value", ["", "x", "x" * 5000, "eyJfdXNlcl9pZCI6MX0.aaaa.bbbb", "%00", "\xff"])
def test_a_broken_cookie_leads_to_the_login(app: Flask, value: str) -> None:
    client = app.test_client(use_cookies=False)
    assert client.get("/keys", headers={"Cookie": f"session={value}"}).status_code == 303


def test_logins_are_audited_without_what_was_typed(app: Flask) -> None:
    with app.app_context():
        log_in(ADMIN, PASSWORD, "192.0.2.1")
        log_in(ADMIN, "a wrong secret", "192.0.2.1")
        log_in("my-password-by-mistake", "x", "192.0.2.1")
        events = db.session.scalars(select(AuditEvent).where(AuditEvent.action.startswith("login"))).all()
        told = sorted((event.action, event.actor, event.ip) for event in events)
    assert told == [
        ("login.accept", ADMIN, "192.0.2.1"),
        ("login.refuse", ADMIN, "192.0.2.1"),
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/keys?status=active&q=%20x", "/keys?status=active&q=%20x"),
        (None, "/"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("https:evil.example", "/"),
        ("https://router.example/keys", "/"),
        ("%2f%2fevil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/keys\nSet-Cookie: a=b", "/"),
        ("/\t/evil.example", "/"),
        (" /keys", "/"),
        ("keys", "/"),
        ("/" + "x" * 2001, "/"),
        ("//[", "/"),
        ("/keys?q=sk-proxy-a1b2" + "c" * 60, "/keys?q=sk-proxy-a1b2..."),
    ],
)
def test_where_a_login_leads(text: str | None, path: str) -> None:
    assert safe_next(text) == path
