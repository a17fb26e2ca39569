"""The credential that is called default, beside others: what sets it switches it on, what removes it leaves the others."""

from collections.abc import Callable
from typing import Any

import pytest
from cli_kit import Command
from dashboard_kit import Api
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import submit
from sqlalchemy import select

from shared.models import AuditEvent, Organization
from webapp.actions.credentials import store_credentials
from webapp.context import Actor
from webapp.db import db

FIRST, SECOND, THIRD = ("sk-proj-" + letter * 40 + end for letter, end in (("a", "0001"), ("b", "0002"), ("c", "0003")))
Enter = Callable[[str], FlaskClient]


@pytest.fixture
def stored(app: Flask, actor: Actor, api: Api) -> None:
    """As the environment leaves it, and another one beside it."""
    with app.app_context():
        store_credentials(actor, {"openai": FIRST})
    made = api("POST", "/v1/providers/openai/credentials", json={"label": "team-b", "credential": SECOND})
    assert made.status_code == 201


def credentials(api: Api) -> list[dict[str, Any]]:
    listed = api("GET", "/v1/providers").get_json()["data"]
    return [dict(one) for view in listed if view["provider"] == "openai" for one in view["credentials"]]


def version(app: Flask) -> int:
    with app.app_context():
        return db.session.scalar(select(Organization.policy_version)) or 0


def test_the_page_removes_the_first_one_alone(stored: None, enter: Enter, api: Api) -> None:
    """A page that was opened before somebody else added one."""
    admin, path = enter("admin"), "/providers/openai/credential/remove"
    assert "Requests go with the others from now on." in admin.get(path).text
    assert submit(admin, path).status_code == 303
    assert "Requests go with the others from now on." in admin.get("/providers").text
    assert [one["label"] for one in credentials(api)] == ["team-b"]
    assert admin.get(path).status_code == 404


def test_what_is_stored_by_hand_is_used_although_it_was_switched_off(
    app: Flask, stored: None, api: Api, enter: Enter, command: Command, actor: Actor
) -> None:
    """The same one too; but a start that finds it in the environment leaves the switch alone."""
    place = f"/v1/providers/openai/credentials/{credentials(api)[0]['id']}"

    def off() -> int:
        assert api("PATCH", place, json={"enabled": False}).get_json()["enabled"] is False
        return version(app)

    def is_used() -> bool:
        return bool(credentials(api)[0]["enabled"])

    before = off()
    with app.app_context():
        assert store_credentials(actor, {"openai": FIRST}, switch_on=False) == ()
        assert store_credentials(actor, {"openai": THIRD}, switch_on=False) == ("openai",)
    assert not is_used()
    assert api("PUT", "/v1/providers/openai/credential", json={"credential": THIRD}).status_code == 200
    assert is_used()
    assert version(app) == before + 2
    with app.app_context():
        edits = select(AuditEvent).where(AuditEvent.action == "credential.update").order_by(AuditEvent.id)
        switched = [(told.before or {}, told.after or {}) for told in db.session.scalars(edits)]
    assert [(before["enabled"], after["enabled"]) for before, after in switched] == [(True, False), (False, True)]
    off()
    admin = enter("admin")
    assert "which is switched off, and is used" in admin.get("/providers/openai/credential").text
    assert submit(admin, "/providers/openai/credential", credential=FIRST).status_code == 303
    assert is_used()
    off()
    assert command.json("providers set openai", given=f"{FIRST}\n")["credentials"][0]["enabled"] is True
    command.json("providers edit openai team-b --disabled")
    assert command.json("providers set openai --label team-b", given=f"{SECOND}\n")["credentials"][1]["enabled"] is True


def test_another_providers_key_is_refused_wherever_it_is_stored(stored: None, enter: Enter, api: Api) -> None:
    of_another, before = "sk-ant-api03-of-another", credentials(api)
    path, other = "/v1/providers/openai/credentials", before[1]["id"]
    for method, place, document in (
        ("PUT", "/v1/providers/openai/credential", {"credential": of_another}),
        ("POST", path, {"label": "x", "credential": of_another}),
        ("PATCH", f"{path}/{other}", {"credential": of_another}),
    ):
        refused = api(method, place, json=document)
        (told,) = refused.get_json()["errors"]
        assert (refused.status_code, told["field"]) == (422, "credential")
        assert told["message"] == "is a key of Anthropic; that of OpenAI belongs here"
    sent = {"label": "x", "credential": of_another, "weight": "1", "priority": "1", "enabled": "y"}
    for place in ("add", other):
        wrong = submit(enter("admin"), f"/providers/openai/credentials/{place}", sent)
        assert (wrong.status_code, of_another in wrong.text) == (422, False)
        assert "Is a key of Anthropic" in wrong.text
    assert credentials(api) == before
