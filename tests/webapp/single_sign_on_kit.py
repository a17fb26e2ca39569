"""What the tests of logging in through a provider share: the way there and back, and what became of it."""

from flask import Flask
from flask.testing import FlaskClient
from forms_kit import count
from provider_of_people import PeopleProvider
from sqlalchemy import select
from werkzeug.test import TestResponse

from shared.models import AuditEvent, User, UserSession
from webapp.db import db

BY_GROUPS = {"ROUTER_OIDC_ROLES": "platform=admin, staff=member"}
WITHOUT_PASSWORDS = {"ROUTER_PASSWORD_LOGIN": "off"}
ANYBODY = {"ROUTER_OIDC_DEFAULT_ROLE": "viewer"}


def begin(client: FlaskClient, path: str = "/login/provider") -> str:
    """The address at the provider that the browser is sent to."""
    begun = client.get(path)
    assert begun.status_code == 303, begun.text
    return begun.headers["Location"]


def way_back(provider: PeopleProvider, url: str, subject: str = "ann") -> str:
    """The path that the provider sends the browser back to."""
    return provider.answer(url, sub=subject).removeprefix("http://localhost")


def sign_in(provider: PeopleProvider, client: FlaskClient, subject: str = "ann", target: str = "/keys") -> TestResponse:
    """All of the way; what the dashboard answers at its end."""
    return client.get(way_back(provider, begin(client, f"/login/provider?next={target}"), subject))


def let_in(answer: TestResponse, target: str = "/keys") -> bool:
    """Whether this is the answer to somebody who is logged in now."""
    return (answer.status_code, answer.headers.get("Location")) == (303, target)


def refused(app: Flask, answer: TestResponse, status: int, words: str) -> bool:
    """Whether this page says so, and neither a session nor a link with the provider came of it."""
    assert words in answer.text, answer.text
    assert "You are not logged in" in answer.text
    assert 'href="/login?next=' in answer.text
    assert count(app, UserSession) == 0
    assert answer.headers["Cache-Control"] == "no-store"
    return bool(answer.status_code == status)


def members(app: Flask) -> dict[str, str]:
    """The role of each, by email."""
    with app.app_context():
        return {user.email: user.role for user in db.session.scalars(select(User))}


def audited(app: Flask, *actions: str) -> list[tuple[str, str, object]]:
    """Action, actor and what the event tells, in order."""
    with app.app_context():
        found = db.session.scalars(select(AuditEvent).where(AuditEvent.action.in_(actions)).order_by(AuditEvent.id))
        return [(event.action, event.actor, event.after) for event in found]
