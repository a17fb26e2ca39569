"""One's own account, and members: passwords, sessions, shutting out and letting in. FINDINGS D9, S9 and S12."""

import re
from collections.abc import Callable

import pytest
from dashboard_kit import ADMIN, PASSWORD, Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import hidden, post_login, submit
from sqlalchemy import select
from werkzeug.test import TestResponse

from shared.models import AuditEvent, ManagementToken, User, UserSession
from webapp.actions.tokens import create_token
from webapp.actions.users import create_user
from webapp.context import Actor
from webapp.db import db

NEXT = "another good password"


@pytest.fixture
def browser(app: Flask) -> Callable[..., FlaskClient]:
    """`browser(agent, ip)`: one in which the administrator is logged in."""

    def browser(agent: str = "Firefox", ip: str = "192.0.2.1") -> FlaskClient:
        client = app.test_client()
        client.environ_base |= {"HTTP_USER_AGENT": agent, "REMOTE_ADDR": ip}
        assert post_login(client).status_code == 303
        return client

    return browser


def send(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    return client.post(path, data={"csrf_token": hidden(client.get("/account"), "csrf_token"), **fields})


def change(client: FlaskClient, current: str = PASSWORD, new: str = NEXT) -> TestResponse:
    return send(client, "/account/password", current_password=current, new_password=new)


def others(client: FlaskClient) -> list[str]:
    """The addresses that end the sessions of other browsers."""
    return re.findall(r'action="(/account/sessions/\w{32}/end)"', client.get("/account").text)


def test_it_works(browser: Callable[..., FlaskClient], app: Flask) -> None:
    mine, other = browser(), browser("curl <b>", "2001:db8::7")
    page = mine.get("/account").text
    assert ADMIN in page
    for fact in ("Firefox", "192.0.2.1", "curl &lt;b&gt;", "2001:db8::7", "This one"):
        assert fact in page
    (path,) = others(mine)
    assert send(mine, path).status_code == 303
    assert other.get("/keys").status_code == 303
    assert mine.get("/keys").status_code == 200
    assert others(mine) == []


def test_a_changed_password_ends_all_other_sessions(browser: Callable[..., FlaskClient], app: Flask) -> None:
    mine, other = browser(), browser()
    old = mine.get_cookie("session")
    assert old is not None
    answer = change(mine)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account")
    assert "Your password is changed." in mine.get("/account").text
    assert other.get("/keys").status_code == 303
    thief = app.test_client()
    thief.set_cookie("session", old.value)
    assert thief.get("/keys").status_code == 303
    assert post_login(app.test_client()).status_code == 422
    assert post_login(app.test_client(), password=NEXT).status_code == 303
    with app.app_context():
        stored = str(db.session.execute(select(AuditEvent.action, AuditEvent.before, AuditEvent.after)).all())
    assert "user.password" in stored
    assert NEXT not in stored


@pytest.mark.parametrize(
    ("current", "new", "field", "words"),
    [
        ("wrong password", NEXT, "current-password", "Is wrong."),
        ("", NEXT, "current-password", "Is wrong."),
        (PASSWORD, "short", "new-password", "at least 12"),
        (PASSWORD, "password1234", "new-password", "guessed first"),
        (PASSWORD, PASSWORD, "new-password", "the one you have"),
        (PASSWORD, "x" * 2000, "new-password", "at most 1024"),
    ],
)
def test_a_bad_change_changes_nothing(
    browser: Callable[..., FlaskClient], app: Flask, current: str, new: str, field: str, words: str
) -> None:
    mine, other = browser(), browser()
    refused = change(mine, current, new)
    assert refused.status_code == 422
    error = re.search(rf'id="{field}-error">.*?</svg>([^<]*)<', refused.text, re.DOTALL)
    assert error is not None
    assert words in error[1]
    assert not current or f'value="{current}"' not in refused.text
    assert other.get("/keys").status_code == 200


def test_the_present_password_cannot_be_guessed_for_ever(
    browser: Callable[..., FlaskClient], caplog: pytest.LogCaptureFixture
) -> None:
    mine = browser()
    statuses = [change(mine, "wrong password").status_code for _ in range(8)]
    assert statuses == [422] * 6 + [429] * 2
    assert change(mine).status_code == 429
    lines = [record.getMessage() for record in caplog.records if "event=password_throttled" in record.getMessage()]
    assert len(lines) == 3
    assert "user=usr_" in lines[0]


def test_log_out_everywhere_else(browser: Callable[..., FlaskClient], enter: Callable[[str], FlaskClient]) -> None:
    mine, second, third, stranger = browser(), browser(), browser(), enter("viewer")
    assert send(mine, "/account/sessions/end-others").status_code == 303
    assert "2 other sessions ended." in mine.get("/account").text
    assert [one.get("/keys").status_code for one in (mine, second, third, stranger)] == [200, 303, 303, 200]


def test_nobody_ends_the_sessions_of_others(
    browser: Callable[..., FlaskClient], enter: Callable[[str], FlaskClient], app: Flask
) -> None:
    mine, second, stranger = browser(), browser(), enter("admin")
    (path,) = others(mine)
    assert send(stranger, path).status_code == 404
    for wrong in ("0" * 32, "%25", "_" * 32, path.split("/")[3][:31], "x" * 5000):
        assert send(mine, f"/account/sessions/{wrong}/end").status_code == 404
    assert second.get("/keys").status_code == 200
    with app.app_context():
        digests = db.session.scalars(select(UserSession.digest)).all()
    assert not [digest for digest in digests if digest in mine.get("/account").text]


def test_a_session_that_is_over_is_not_listed(browser: Callable[..., FlaskClient], clock: Clock) -> None:
    browser()
    clock.forward(minutes=31)
    assert others(browser()) == []


@pytest.fixture
def leaver(app: Flask, actor: Actor) -> tuple[str, FlaskClient]:
    """The id of another administrator, and the browser in which they are logged in."""
    with app.app_context():
        created = create_user(actor, "leaver@example.com", "admin", password=PASSWORD)
    client = app.test_client()
    assert post_login(client, "leaver@example.com").status_code == 303
    return created.user_id, client


def test_who_is_deactivated_is_out_at_once(
    browser: Callable[..., FlaskClient], app: Flask, leaver: tuple[str, FlaskClient], org_id: str
) -> None:
    user_id, theirs = leaver
    with app.app_context():
        own = create_token(Actor(org_id, "leaver@example.com", None, role="admin"), "own", ["keys:read"])
        made = create_token(Actor(org_id, own.view.id, None), "made with it", ["keys:read"])
        kept = create_token(Actor(org_id, ADMIN, None), "kept", ["keys:read"])
    mine = browser()
    asked = mine.get(f"/settings/members/{user_id}/deactivate").text
    assert "leaver@example.com" in asked
    assert "own" in asked
    assert send(mine, f"/settings/members/{user_id}/deactivate").status_code == 303
    assert "Deactivated" in mine.get("/settings/members").text
    assert theirs.get("/keys").status_code == 303
    assert post_login(app.test_client(), "leaver@example.com").status_code == 422
    for token, status in ((own, 401), (made, 401), (kept, 200)):
        bearer = {"Authorization": f"Bearer {token.secret}"}
        assert app.test_client().get("/v1/keys", headers=bearer).status_code == status
    assert send(mine, f"/settings/members/{user_id}/activate").status_code == 303
    assert post_login(app.test_client(), "leaver@example.com").status_code == 303
    assert theirs.get("/keys").status_code == 303
    with app.app_context():
        assert db.session.get_one(ManagementToken, own.view.id).revoked_at is not None


def test_a_lost_password(browser: Callable[..., FlaskClient], app: Flask, leaver: tuple[str, FlaskClient]) -> None:
    user_id, theirs = leaver
    answer = send(browser(), f"/settings/members/{user_id}/password")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    made = re.search(r'id="secret" type="text" value="([^"]+)"', answer.text)
    assert made is not None
    assert theirs.get("/keys").status_code == 303
    assert post_login(app.test_client(), "leaver@example.com").status_code == 422
    assert post_login(app.test_client(), "leaver@example.com", made[1]).status_code == 303


def test_a_form_makes_one_password(
    browser: Callable[..., FlaskClient], app: Flask, leaver: tuple[str, FlaskClient]
) -> None:
    """S2: of two, by a double click, only one is good, and nobody knows which."""
    mine, path = browser(), f"/settings/members/{leaver[0]}/password"
    asked = mine.get(path)
    answer, again = (submit(mine, path, form_of=asked) for _ in range(2))
    assert (answer.status_code, again.status_code) == (201, 409)
    assert "made a new password already" in again.text
    made = re.search(r'id="secret" type="text" value="([^"]+)"', answer.text)
    assert made is not None
    assert post_login(app.test_client(), "leaver@example.com", made[1]).status_code == 303


def test_somebody_stays_who_can_let_others_in(
    browser: Callable[..., FlaskClient], app: Flask, leaver: tuple[str, FlaskClient]
) -> None:
    mine = browser()
    with app.app_context():
        my_id = db.session.scalars(select(User.id).where(User.email == ADMIN)).one()
    refused = send(mine, f"/settings/members/{my_id}/deactivate")
    assert refused.status_code == 409
    assert 'href="/settings/members" data-close autofocus>Back to the members</a>' in refused.text
    assert send(leaver[1], f"/settings/members/{my_id}/deactivate").status_code == 303
    assert send(leaver[1], f"/settings/members/{leaver[0]}/deactivate").status_code == 409
    assert leaver[1].get("/keys").status_code == 200


def test_members_of_other_organisations_are_missing(browser: Callable[..., FlaskClient]) -> None:
    mine = browser()
    for path in ("deactivate", "activate", "password"):
        assert send(mine, f"/settings/members/usr_of_others/{path}").status_code == 404


def test_on_the_command_line(app: Flask, leaver: tuple[str, FlaskClient]) -> None:
    runner = app.test_cli_runner()

    def flask(*words: str, code: int = 0) -> str:
        done = runner.invoke(args=["users", *words])
        assert done.exit_code == code, done.output
        return done.output

    assert "is deactivated" in flask("deactivate", "Leaver@Example.com")
    assert leaver[1].get("/keys").status_code == 303
    assert "may log in again" in flask("activate", "leaver@example.com")
    made = flask("password", "leaver@example.com").strip().rpartition(" ")[2]
    assert post_login(app.test_client(), "leaver@example.com", made).status_code == 303
    assert "no member" in flask("deactivate", "nobody@example.com", code=2)
    assert "last administrator" in [flask("deactivate", ADMIN), flask("deactivate", "leaver@example.com", code=2)][1]
