"""Several credentials of a provider: on the page, over JSON, by commands; who may, what is written down, what is told."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from cli_kit import Command
from dashboard_kit import Api, Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX, submit
from sqlalchemy import select
from werkzeug.test import TestResponse

from shared.models import AuditEvent, CredentialRefusal, Organization, ProviderCredential
from webapp.actions.credentials import MOST_CREDENTIALS, store_credentials
from webapp.context import Actor
from webapp.db import db, writing

FIRST, SECOND, THIRD = ("sk-proj-" + letter * 40 + end for letter, end in (("a", "0001"), ("b", "0002"), ("c", "0003")))
Enter = Callable[[str], FlaskClient]


@pytest.fixture
def stored(app: Flask, actor: Actor) -> None:
    """As the environment leaves it."""
    with app.app_context():
        store_credentials(actor, {"openai": FIRST})


def provider(api: Api, slug: str = "openai") -> dict[str, Any]:
    (found,) = [one for one in api("GET", "/v1/providers").get_json()["data"] if one["provider"] == slug]
    return dict(found)


def add(api: Api, label: str = "team-b", credential: str = SECOND, **fields: object) -> dict[str, Any]:
    answer = api("POST", "/v1/providers/openai/credentials", json={"label": label, "credential": credential, **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.get_json())


def version(app: Flask) -> int:
    with app.app_context():
        return db.session.scalar(select(Organization.policy_version)) or 0


def audited(app: Flask) -> list[tuple[str, Any, Any]]:
    with app.app_context():
        query = select(AuditEvent.action, AuditEvent.before, AuditEvent.after).order_by(AuditEvent.at, AuditEvent.id)
        return [tuple(one) for one in db.session.execute(query) if one.action.startswith("credential.")]


def test_it_works(app: Flask, stored: None, api: Api) -> None:
    before = version(app)
    made = add(api, weight=3, priority=2)
    assert made["id"].startswith("cred_")
    told = {"label": "team-b", "weight": 3, "priority": 2, "enabled": True, "last4": "0002", "refused": None}
    assert {name: made[name] for name in told} == told
    assert (made["source"], made["readable"]) == ("staff", True)
    found = provider(api)
    assert [one["label"] for one in found["credentials"]] == ["default", "team-b"]
    assert found["credential"] == found["credentials"][0]
    place = f"/v1/providers/openai/credentials/{made['id']}"
    changed = api("PATCH", place, json={"priority": 1, "credential": THIRD, "label": "team-c"}).get_json()
    assert (changed["priority"], changed["weight"], changed["last4"], changed["label"]) == (1, 3, "0003", "team-c")
    assert api("PATCH", place, json={"enabled": False}).get_json()["enabled"] is False
    assert version(app) == before + 3
    assert api("PATCH", place, json={"enabled": False, "weight": 3}).status_code == 200
    assert version(app) == before + 3, "nothing was changed"
    left = api("DELETE", place).get_json()
    assert [one["label"] for one in left["credentials"]] == ["default"]
    assert api("DELETE", place).status_code == 404
    events = audited(app)
    assert [action for action, _, _ in events[1:]] == [
        "credential.create", "credential.set", "credential.update", "credential.update", "credential.delete",
    ]  # fmt: skip
    assert not [secret for secret in (FIRST, SECOND, THIRD) if secret in str(events)]


def test_the_one_of_the_environment_stays_what_it_is(app: Flask, stored: None, api: Api, actor: Actor) -> None:
    add(api)
    first = provider(api)["credentials"][0]
    answer = api("PATCH", f"/v1/providers/openai/credentials/{first['id']}", json={"label": "mine"})
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"] == "label"
    assert api("PATCH", f"/v1/providers/openai/credentials/{first['id']}", json={"weight": 7}).status_code == 200
    assert api("PUT", "/v1/providers/openai/credential", json={"credential": THIRD}).status_code == 200
    with app.app_context():
        store_credentials(actor, {"openai": THIRD})
    found = [(one["label"], one["last4"], one["weight"]) for one in provider(api)["credentials"]]
    assert found == [("default", "0003", 7), ("team-b", "0002", 1)]
    left = api("DELETE", "/v1/providers/openai/credential").get_json()["credentials"]
    assert [one["label"] for one in left] == ["team-b"], "which nobody has asked to remove"


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"label": ""}, "label", "empty"),
        ({"label": "x" * 41}, "label", "at most 40"),
        ({"label": "sk-proj-" + "aB3" * 8}, "label", "looks like a secret"),
        ({"label": "default"}, "label", "taken"),
        ({"label": None}, "label", "text"),
        ({"weight": 0}, "weight", "1 to 100"),
        ({"weight": 101}, "weight", "1 to 100"),
        ({"weight": 1.5}, "weight", "1 to 100"),
        ({"weight": True}, "weight", "1 to 100"),
        ({"priority": "first"}, "priority", "1 to 100"),
        ({"enabled": "yes"}, "enabled", "true or false"),
        ({"credential": "short"}, "credential", "8 to 500"),
        ({"colour": "red"}, "colour", "not a known field"),
    ],
)
def test_what_cannot_be_taken_is_named(
    stored: None, api: Api, fields: dict[str, object], field: str, words: str
) -> None:
    made = add(api)
    before = provider(api)
    wanted = {"label": "third", "credential": THIRD, **fields}
    posted = api("POST", "/v1/providers/openai/credentials", json=wanted)
    for answer in (posted, api("PATCH", f"/v1/providers/openai/credentials/{made['id']}", json=fields)):
        assert answer.status_code == 422, answer.text
        (wrong,) = answer.get_json()["errors"]
        assert wrong["field"] == field
        assert words in wrong["message"]
        assert FIRST not in answer.text
    assert provider(api) == before


def test_there_is_an_end_to_them(app: Flask, stored: None, api: Api) -> None:
    with app.app_context(), writing() as session:
        (row,) = session.scalars(select(ProviderCredential)).all()
        for number in range(MOST_CREDENTIALS - 1):
            session.add(
                ProviderCredential(
                    id=f"cred_{number}", org_id=row.org_id, provider="openai", sealed=row.sealed, last4="0001",
                    created_at=row.created_at, created_by="t", label=f"number {number}",
                )
            )  # fmt: skip
    answer = api("POST", "/v1/providers/openai/credentials", json={"label": "more", "credential": SECOND})
    assert (answer.status_code, answer.get_json()["code"]) == (409, "too_many_credentials")


def test_another_providers_and_nobodys_are_404(stored: None, api: Api) -> None:
    made = add(api)
    for path in (f"anthropic/credentials/{made['id']}", "openai/credentials/cred_none", "mistral/credentials/x"):
        assert api("PATCH", f"/v1/providers/{path}", json={"weight": 2}).status_code == 404
        assert api("DELETE", f"/v1/providers/{path}").status_code == 404
        assert api("POST", f"/v1/providers/{path}/test").status_code == 404
    assert (
        api("POST", "/v1/providers/mistral/credentials", json={"label": "a", "credential": SECOND}).status_code == 404
    )


def test_without_one_that_is_in_use_the_provider_is_not_configured(stored: None, api: Api) -> None:
    first = provider(api)["credentials"][0]
    api("PATCH", f"/v1/providers/openai/credentials/{first['id']}", json={"enabled": False})
    found = provider(api)
    assert found["credential"] is None
    assert found["credentials"][0]["enabled"] is False
    key = api("POST", "/v1/keys", json={"name": "app"}).get_json()
    checked = api("POST", f"/v1/keys/{key['id']}/check", json={"provider": "openai", "model": "gpt-4o-mini"}).get_json()
    assert checked["refusal"]["code"] == "provider_not_configured"
    add(api)
    checked = api("POST", f"/v1/keys/{key['id']}/check", json={"provider": "openai", "model": "gpt-4o-mini"}).get_json()
    assert checked["refusal"] is None


def refuse(app: Flask, credential_id: str, words: str = "Incorrect API key <b>provided</b>") -> None:
    with app.app_context(), writing() as session:
        row = session.get(ProviderCredential, credential_id)
        assert row is not None
        at = datetime(2026, 3, 1, 12, tzinfo=UTC)
        session.add(CredentialRefusal(credential_id=row.id, set_at=row.created_at, at=at, status=401, words=words))


def test_what_a_provider_said_is_shown_until_the_credential_is_replaced(
    app: Flask, stored: None, enter: Enter, api: Api, clock: Clock
) -> None:
    first = provider(api)["credentials"][0]
    refuse(app, first["id"])
    told = provider(api)["credential"]["refused"]
    assert told == {"at": "2026-03-01T12:00:00Z", "status": 401, "message": "Incorrect API key <b>provided</b>"}
    page = enter("viewer").get("/providers").text
    assert "Refused by the provider" in page
    assert "Incorrect API key &lt;b&gt;provided&lt;/b&gt;" in page
    add(api)
    assert "Refused by the provider" in enter("viewer").get("/providers").text
    clock.forward(seconds=1)
    api("PUT", "/v1/providers/openai/credential", json={"credential": THIRD})
    assert provider(api)["credential"]["refused"] is None
    assert "Refused by the provider" not in enter("viewer").get("/providers").text


def links(page: TestResponse, label: str) -> dict[str, str]:
    """What can be done to the credential of this label: the words of each link, and where it leads."""
    part = page.text.partition(f">{label}</strong>")[2].partition("</li>")[0]
    return {
        words: place for place, words in re.findall(r'<a class="[^"]*" id="[^"]*" href="([^"]+)"[^>]*>(\w+)<', part)
    }


def test_the_page(app: Flask, stored: None, enter: Enter, api: Api) -> None:
    admin = enter("admin")
    page = admin.get("/providers").text
    assert "/providers/openai/credentials/add" in page
    assert "/providers/anthropic/credentials/add" not in page, "its first one is stored as before"
    assert "<html" not in admin.get("/providers/openai/credentials/add", headers=HTMX).text
    sent = {"label": "team <b>", "credential": SECOND, "weight": "3", "priority": "1", "enabled": "y"}
    assert submit(admin, "/providers/openai/credentials/add", sent).status_code == 303
    shown = admin.get("/providers")
    assert "team &lt;b&gt;" in shown.text
    assert "Priority 1, weight 3." in shown.text
    assert SECOND not in shown.text
    found = links(shown, "team &lt;b&gt;")
    assert set(found) == {"Edit", "Remove"}
    assert 'value="team &lt;b&gt;"' in admin.get(found["Edit"]).text
    assert submit(admin, found["Edit"], {"label": "two", "weight": "5", "priority": "2"}).status_code == 303
    (one,) = [one for one in provider(api)["credentials"] if one["label"] == "two"]
    assert (one["weight"], one["priority"], one["enabled"], one["last4"]) == (5, 2, False, "0002")
    assert "Switched off" in admin.get("/providers").text
    asked = admin.get(found["Remove"]).text
    assert "Requests go with the others from now on." in asked
    assert submit(admin, found["Remove"]).status_code == 303
    assert len(provider(api)["credentials"]) == 1
    assert "Priority 1" not in admin.get("/providers").text


def test_the_form_of_the_first_one(stored: None, enter: Enter, api: Api) -> None:
    admin = enter("admin")
    add(api)
    path = f"/providers/openai/credentials/{provider(api)['credentials'][0]['id']}"
    assert 'name="label"' not in admin.get(path).text
    sent = {"credential": THIRD, "weight": "2", "priority": "1", "enabled": "y"}
    assert submit(admin, path, sent).status_code == 303
    assert provider(api)["credentials"][0]["last4"] == "0003"
    wrong = submit(admin, path, {**sent, "weight": "many"})
    assert wrong.status_code == 422
    assert "whole number from 1 to 100" in unescape(wrong.text)
    assert THIRD not in wrong.text


def test_the_form_says_what_is_wrong_and_repeats_no_credential(stored: None, enter: Enter, api: Api) -> None:
    sent = {"label": "default", "credential": SECOND, "weight": "1", "priority": "1", "enabled": "y"}
    wrong = submit(enter("admin"), "/providers/openai/credentials/add", sent)
    assert wrong.status_code == 422
    assert "taken" in wrong.text
    assert SECOND not in wrong.text
    assert len(provider(api)["credentials"]) == 1


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_others_see_them_and_change_nothing(stored: None, enter: Enter, api: Api, role: str) -> None:
    made = add(api)
    client = enter(role)
    page = client.get("/providers")
    assert "team-b" in page.text
    assert "/credentials/" not in page.text
    path = f"/providers/openai/credentials/{made['id']}"
    for place in ("/providers/openai/credentials/add", path, f"{path}/remove"):
        assert client.get(place).status_code == 403
        assert submit(client, place, form_of=page, label="x").status_code == 403
    assert submit(client, f"{path}/test", form_of=page).status_code == 403
    assert provider(api)["credentials"][1] == made


def test_each_is_tested_by_itself(stored: None, enter: Enter, api: Api) -> None:
    made = add(api, credential="sandbox-second-0002")
    told = api("POST", f"/v1/providers/openai/credentials/{made['id']}/test").get_json()
    assert (told["ok"], told["provider"]) == (True, "openai")
    assert "sandbox" in told["message"]
    admin = enter("admin")
    path = f"/providers/openai/credentials/{made['id']}/test"
    answer = submit(admin, path, form_of=admin.get("/providers"), htmx=True)
    assert "Works" in answer.text
    assert "<html" not in answer.text


def test_commands(app: Flask, command: Command, api: Api) -> None:
    command.json("providers set openai", given=f"{FIRST}\n")
    told = command.json("providers set openai --label team-b", given=f"{SECOND}\n")
    assert [(one["label"], one["last4"]) for one in told["credentials"]] == [("default", "0001"), ("team-b", "0002")]
    told = command.json("providers set openai --label team-b", given=f"{THIRD}\n")
    assert [one["last4"] for one in told["credentials"]] == ["0001", "0003"]
    told = command.json("providers edit openai team-b --weight 5 --priority 2 --disabled --label two")
    assert told["credentials"][1]["label"] == "two"
    assert {told["credentials"][1][name] for name in ("weight", "priority", "enabled")} == {5, 2, False}
    assert "whole number from 1 to 100" in command.fault("providers edit openai two --weight 0")
    assert "no credential of this label. It has default, two." in command.fault(
        "providers edit openai three --weight 1"
    )
    assert re.search(r"openai .*\.\.\.0003 .* two +no", command("providers list").stdout)
    assert command.json("providers remove openai --label two --yes")["credentials"][0]["label"] == "default"
    assert "Forget the credential" in command("providers remove openai", code=1).stderr
    assert command.json("providers remove openai --yes")["credentials"] == []
