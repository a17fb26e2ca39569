"""Management tokens end with what their maker may do, also those by way of others. FINDINGS S9, decision 0018."""

from collections.abc import Callable
from typing import Any

import pytest
from dashboard_kit import Api
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import submit
from sqlalchemy import select

from shared.models import ADMIN_SCOPE, AuditEvent, Invitation, ManagementToken, User
from webapp.actions import users
from webapp.actions.invitations import invite
from webapp.actions.tokens import create_token, revoke_token
from webapp.actions.users import create_user
from webapp.context import Actor
from webapp.db import db, writing

EMAIL = "ann@example.com"


@pytest.fixture
def ann(app: Flask, actor: Actor) -> str:
    """The id of an administrator with a chain of tokens, whose first one is revoked."""
    with app.app_context():
        user_id = create_user(actor, EMAIL, "admin", password="a password of hers").user_id
        made_by = EMAIL
        for name, scopes in (
            ("first", [ADMIN_SCOPE]),
            ("second", [ADMIN_SCOPE, "keys:write"]),
            ("writes", ["keys:write"]),
            ("reads", ["keys:read"]),
        ):
            token = create_token(Actor(actor.org_id, made_by, None), name, scopes).view.id
            made_by = made_by if name == "writes" else token
            if name == "first":
                revoke_token(actor, token)
        create_token(actor, "of another", [ADMIN_SCOPE, "keys:write"])
        invite(Actor(actor.org_id, made_by, None), "newcomer@example.com", "viewer")
    return user_id


def live(app: Flask) -> set[str]:
    with app.app_context():
        query = select(ManagementToken.name).where(ManagementToken.revoked_at.is_(None))
        return set(db.session.scalars(query)) - {"bootstrap", "of another"}


def told(app: Flask, action: str) -> Any:
    with app.app_context():
        return db.session.scalars(select(AuditEvent).where(AuditEvent.action == action)).one().after


def invitations(app: Flask) -> int:
    with app.app_context():
        return db.session.query(Invitation).count()


def test_a_leaver_loses_all_of_them(app: Flask, ann: str, enter: Callable[[str], FlaskClient]) -> None:
    assert live(app) == {"second", "writes", "reads"}
    admin = enter("admin")
    path = f"/settings/members/{ann}/deactivate"
    asked = admin.get(path).text
    for name in ("second", "writes", "reads"):
        assert f">{name}</strong>" in asked
    for name in ("first", "of another"):
        assert f">{name}</strong>" not in asked
    assert submit(admin, path).status_code == 303
    assert live(app) == set()
    assert told(app, "user.deactivate")["tokens_revoked"] == 3
    assert invitations(app) == 0


@pytest.mark.parametrize(
    ("role", "ending"), [("member", {"second"}), ("viewer", {"second", "writes"})], ids=["member", "viewer"]
)
def test_who_may_do_less_loses_what_allows_more(
    app: Flask, ann: str, enter: Callable[[str], FlaskClient], role: str, ending: set[str]
) -> None:
    admin = enter("admin")
    page, path = admin.get("/settings/members"), f"/settings/members/{ann}/role"
    asked = submit(admin, path, form_of=page, role=role)
    assert asked.status_code == 200
    assert {name for name in ("first", "second", "writes", "reads") if f">{name}</strong>" in asked.text} == ending
    assert live(app) == {"second", "writes", "reads"}, "nothing was done yet"
    assert submit(admin, path, form_of=asked, role=role, sure="yes").status_code == 303
    assert live(app) == {"second", "writes", "reads"} - ending
    assert told(app, "user.role") == {"role": role, "tokens_revoked": len(ending)}
    assert invitations(app) == 0


def test_a_member_made_viewer(app: Flask, ann: str, api: Api) -> None:
    assert api("PATCH", f"/v1/members/{ann}", {"role": "member"}).status_code == 200
    assert "writes" in live(app), "members change keys"
    assert api("PATCH", f"/v1/members/{ann}", {"role": "viewer"}).status_code == 200
    assert live(app) == {"reads"}
    assert api("PATCH", f"/v1/members/{ann}", {"role": "admin"}).status_code == 200
    assert live(app) == {"reads"}


def test_a_change_of_role_that_ends_nothing_asks_nothing(
    app: Flask, ann: str, enter: Callable[[str], FlaskClient]
) -> None:
    with app.app_context(), writing() as session:
        for token in session.scalars(select(ManagementToken).where(ManagementToken.name.in_(("second", "writes")))):
            session.delete(token)
    admin = enter("admin")
    page = admin.get("/settings/members")
    assert submit(admin, f"/settings/members/{ann}/role", form_of=page, role="viewer").status_code == 303


def test_role_and_activity_change_together_or_not_at_all(
    app: Flask, ann: str, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise RuntimeError("on purpose")

    def state() -> tuple[str, bool]:
        with app.app_context():
            user = db.session.get_one(User, ann)
            return user.role, user.disabled_at is None

    change = {"role": "viewer", "active": False}
    with monkeypatch.context() as patched:
        patched.setattr(users, "end_all", broken)
        assert api("PATCH", f"/v1/members/{ann}", change).status_code == 500
    assert state() == ("admin", True)
    assert live(app) == {"second", "writes", "reads"}
    assert api("PATCH", f"/v1/members/{ann}", change).get_json()["role"] == "viewer"
    assert state() == ("viewer", False)
    assert live(app) == set()
    assert api("PATCH", f"/v1/members/{ann}", {"role": "admin", "active": True}).status_code == 200
    assert state() == ("admin", True)
