"""Invitations: a link that opens once, within a week, for a password of one's own."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from dashboard_kit import ADMIN, Api, Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import count, csrf_of, hidden, post_login, submit
from sqlalchemy import select
from werkzeug.test import TestResponse

from shared.models import AuditEvent, Invitation, User
from webapp.actions.tokens import create_token
from webapp.actions.users import create_user
from webapp.context import Actor
from webapp.db import db

NEXT = "another good password"
LINK = re.compile(r'value="http://localhost(/invitation/[\w-]{43})"')
Enter = Callable[[str], FlaskClient]


def invited(admin: FlaskClient, email: str = "Ann@Example.com", role: str = "viewer") -> str:
    """The path of a new link."""
    answer = submit(
        admin, "/settings/members/invitations", form_of=admin.get("/settings/members"), email=email, role=role
    )
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store"), answer.text
    found = LINK.search(answer.text)
    assert found is not None
    return found[1]


def accept(client: FlaskClient, path: str, password: str = NEXT) -> TestResponse:
    page = client.get(path)
    if page.status_code != 200:
        return page
    fields = {"csrf_token": hidden(page, "csrf_token"), "secret": hidden(page, "secret"), "password": password}
    return client.post("/invitation", data=fields)


def test_it_works(app: Flask, enter: Enter) -> None:
    admin, ann = enter("admin"), app.test_client()
    path = invited(admin)
    secret = path.rpartition("/")[2]
    listed = admin.get("/settings/members").text
    assert "ann@example.com" in listed
    assert secret not in listed
    page = ann.get(path)
    assert (page.status_code, page.headers["Cache-Control"]) == (200, "no-store")
    assert "Default" in page.text
    assert ann.get("/keys").status_code == 303
    assert accept(ann, path).status_code == 303
    assert "ann@example.com" in ann.get("/account").text
    assert ann.get("/keys/new").status_code == 403
    assert post_login(app.test_client(), "ann@example.com", NEXT).status_code == 303
    assert count(app, Invitation) == 0
    with app.app_context():
        events = db.session.execute(select(AuditEvent.action, AuditEvent.actor, AuditEvent.before, AuditEvent.after))
        told = [row for row in events.all() if row.action.startswith(("invitation.", "user.create"))]
    assert [row.action for row in told][-3:] == ["invitation.create", "user.create", "invitation.accept"]
    assert told[-1].actor == "ann@example.com"
    assert secret not in str(told)
    assert NEXT not in str(told)


def test_the_browser_in_which_it_was_accepted_is_known(app: Flask, enter: Enter) -> None:
    """FINDINGS S16."""
    ann = app.test_client()
    assert accept(ann, invited(enter("admin"))).status_code == 303
    for _ in range(30):
        post_login(app.test_client(), "ann@example.com", "wrong password")
    ann.delete_cookie("session")
    assert post_login(ann, "ann@example.com", NEXT).status_code == 303
    assert post_login(app.test_client(), "ann@example.com", NEXT).status_code == 422


def test_a_link_opens_once(app: Flask, enter: Enter) -> None:
    path = invited(enter("admin"))
    assert accept(app.test_client(), path).status_code == 303
    again = accept(app.test_client(), path, "quite another password")
    assert again.status_code == 404
    assert "This link was used" in again.text
    assert post_login(app.test_client(), "ann@example.com", "quite another password").status_code == 422


def test_guesses_wait_and_a_good_link_never_does(app: Flask, enter: Enter, caplog: pytest.LogCaptureFixture) -> None:
    """By either way, and together with links to secrets. FINDINGS S7."""
    path, client = invited(enter("admin")), app.test_client()
    token = csrf_of(client)

    def sent(number: int) -> int:
        return client.post(
            "/invitation", data={"secret": f"x{number}", "password": NEXT, "csrf_token": token}
        ).status_code

    shown = [client.get(f"/invitation/{'x' * 42}{number}").status_code for number in range(10)]
    statuses = [*shown, *map(sent, range(20))]
    assert statuses[:20] == [404] * 20
    assert statuses[-1] == 429
    assert "Too many links" in client.get("/invitation/nothing").text
    assert client.get("/hand-over/nothing").status_code == 429
    lines = [record.getMessage() for record in caplog.records if "event=invitation_unknown" in record.getMessage()]
    assert len(lines) == 20
    assert "ip=127.0.0.1" in lines[0]
    assert "xxx" not in str(lines)
    assert accept(client, path).status_code == 303


def test_a_link_that_is_opened_by_many_at_once_opens_once(app: Flask, enter: Enter) -> None:
    path = invited(enter("admin"))
    browsers = [app.test_client() for _ in range(4)]
    pages = [browser.get(path) for browser in browsers]

    def send(number: int) -> int:
        page = pages[number]
        fields = {"csrf_token": hidden(page, "csrf_token"), "secret": hidden(page, "secret")}
        return browsers[number].post("/invitation", data={**fields, "password": f"{NEXT} {number}"}).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(send, range(4)))
    assert statuses == [303, 404, 404, 404]
    with app.app_context():
        assert db.session.query(User).filter_by(email="ann@example.com").count() == 1


def test_looking_at_a_link_uses_up_nothing(app: Flask, enter: Enter) -> None:
    path = invited(enter("admin"))
    for _ in range(3):
        assert app.test_client().get(path).status_code == 200
        assert app.test_client().head(path).status_code == 200
    bad = accept(app.test_client(), path, "short")
    assert bad.status_code == 422
    assert "at least 12" in bad.text
    assert 'value="short"' not in bad.text
    assert accept(app.test_client(), path).status_code == 303


def test_a_link_is_good_for_a_week(app: Flask, enter: Enter, clock: Clock) -> None:
    path = invited(enter("admin"))
    clock.forward(days=7, seconds=-1)
    assert app.test_client().get(path).status_code == 200
    clock.forward(seconds=1)
    assert accept(app.test_client(), path).status_code == 404
    assert "ann@example.com" not in enter("admin").get("/settings/members").text


def test_what_is_no_link_opens_nothing(app: Flask) -> None:
    for secret in ("x", "x" * 43, "%00", "%ED%A0%80", "..", "a" * 5000):
        assert app.test_client().get(f"/invitation/{secret}").status_code == 404, secret
    client = app.test_client()
    fields = {"csrf_token": hidden(client.get("/login"), "csrf_token"), "secret": "x\x00", "password": NEXT}
    assert client.post("/invitation", data=fields).status_code in (400, 404)
    assert app.test_client().post("/invitation", data={"secret": "x", "password": NEXT}).status_code == 403


def test_a_second_invitation_ends_the_first(app: Flask, enter: Enter) -> None:
    admin = enter("admin")
    first, second = invited(admin), invited(admin, role="admin")
    assert app.test_client().get(first).status_code == 404
    browser = app.test_client()
    assert accept(browser, second).status_code == 303
    assert browser.get("/settings/members").status_code == 200


def test_a_form_that_is_sent_twice_makes_one_link(enter: Enter) -> None:
    admin = enter("admin")
    page = admin.get("/settings/members")
    fields = {"email": "ann@example.com", "role": "viewer"}
    first = submit(admin, "/settings/members/invitations", fields, form_of=page)
    again = submit(admin, "/settings/members/invitations", fields, form_of=page)
    assert (first.status_code, again.status_code) == (201, 409)
    assert not LINK.search(again.text)
    found = LINK.search(first.text)
    assert found is not None
    assert admin.application.test_client().get(found[1]).status_code == 200


def test_withdrawing(app: Flask, enter: Enter) -> None:
    admin = enter("admin")
    path = invited(admin)
    page = admin.get("/settings/members")
    action = re.search(r'action="(/settings/members/invitations/inv_\w+/withdraw)"', page.text)
    assert action is not None
    assert submit(admin, action[1], form_of=page).status_code == 303
    assert app.test_client().get(path).status_code == 404
    assert submit(admin, action[1], form_of=page).status_code == 404


@pytest.mark.parametrize(
    ("email", "role", "status", "words"),
    [
        ("nobody", "viewer", 422, "Is not an email address."),
        ("", "viewer", 422, "Is not an email address."),
        ("a@example.com", "root", 422, "Must be one of viewer, member, admin."),
        (ADMIN, "viewer", 409, "is a member already"),
    ],
)
def test_whom_nobody_can_invite(app: Flask, enter: Enter, email: str, role: str, status: int, words: str) -> None:
    admin = enter("admin")
    page = admin.get("/settings/members")
    answer = submit(admin, "/settings/members/invitations", form_of=page, email=email, role=role)
    assert answer.status_code == status
    assert words in answer.text
    assert count(app, Invitation) == 0


def test_who_became_a_member_meanwhile_is_not_made_twice(app: Flask, enter: Enter, actor: Actor) -> None:
    path = invited(enter("admin"))
    with app.app_context():
        create_user(actor, "ann@example.com", "viewer")
    assert accept(app.test_client(), path).status_code == 404


def test_with_its_maker_an_invitation_ends(app: Flask, api: Api, enter: Enter, actor: Actor) -> None:
    """A leaver must not keep a way back in, nor who administers no more."""
    with app.app_context():
        leaver = create_user(actor, "leaver@example.com", "admin", password=NEXT)
        token = create_token(Actor(actor.org_id, "leaver@example.com", None), "theirs", ["admin", "keys:read"]).secret
        reader = create_token(Actor(actor.org_id, "leaver@example.com", None), "reads", ["keys:read"]).secret
    theirs = app.test_client()
    post_login(theirs, "leaver@example.com", NEXT)
    mine, by_page = invited(enter("admin"), "kept@example.com"), invited(theirs)
    url = Api(app.test_client(), token)("POST", "/v1/invitations", {"email": "b@example.com"}).get_json()["url"]
    by_token = url.removeprefix("http://localhost")
    assert app.test_client().get(by_token).status_code == 200
    assert api("PATCH", f"/v1/members/{leaver.user_id}", {"role": "member"}).status_code == 200
    statuses = [app.test_client().get(path).status_code for path in (mine, by_page, by_token)]
    assert statuses == [200, 404, 404]
    assert Api(app.test_client(), token)("GET", "/v1/keys").status_code == 401
    assert Api(app.test_client(), reader)("GET", "/v1/keys").status_code == 200
    assert api("DELETE", f"/v1/members/{leaver.user_id}").status_code == 200
    assert Api(app.test_client(), reader)("GET", "/v1/keys").status_code == 401


def test_by_json(api: Api, stranger: Api, app: Flask) -> None:
    answer = api("POST", "/v1/invitations", {"email": "Ann@example.com", "role": "admin"})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    made = answer.get_json()
    url = made.pop("url")
    assert made["expires_at"] == "2026-12-01T12:00:00Z"
    assert api("GET", "/v1/invitations").get_json()["data"] == [made]
    assert stranger("GET", "/v1/invitations").get_json()["data"] == []
    assert stranger("DELETE", f"/v1/invitations/{made['id']}").status_code == 404
    assert app.test_client().get(url.removeprefix("http://localhost")).status_code == 200
    assert api("DELETE", f"/v1/invitations/{made['id']}").get_json() == made
    assert api("DELETE", f"/v1/invitations/{made['id']}").status_code == 404
    assert app.test_client().get(url.removeprefix("http://localhost")).status_code == 404
    for document in ({}, {"email": "x"}, {"email": "a@b.c", "role": "root"}, {"email": "a\x00@b"}):
        assert api("POST", "/v1/invitations", document).status_code == 422, document


def test_roles_are_changed_on_the_page(app: Flask, enter: Enter, actor: Actor) -> None:
    with app.app_context():
        user_id = create_user(actor, "ann@example.com", "viewer", password=NEXT).user_id
    admin, ann = enter("admin"), app.test_client()
    post_login(ann, "ann@example.com", NEXT)
    assert ann.get("/keys/new").status_code == 403
    page = admin.get("/settings/members")
    assert submit(admin, f"/settings/members/{user_id}/role", form_of=page, role="member").status_code == 303
    assert ann.get("/keys/new").status_code == 200
    assert submit(admin, f"/settings/members/{user_id}/role", form_of=page, role="root").status_code == 422
    with app.app_context():
        me = db.session.scalars(select(User.id).where(User.email.startswith("admin-"))).one()
    assert submit(admin, f"/settings/members/{me}/role", form_of=page, role="viewer").status_code == 409
    assert submit(admin, "/settings/members/usr_of_others/role", form_of=page, role="viewer").status_code == 404
