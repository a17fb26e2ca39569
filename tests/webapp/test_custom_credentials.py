"""Credentials of an organisation's own providers: stored together with what they are for, and never for nobody."""

from typing import Any

import pytest
from dashboard_kit import Api, field_errors
from flask import Flask
from sqlalchemy import select

from shared.counters import CountersUnavailable
from shared.models import ProviderCredential
from webapp.actions import credentials, custom_providers, policy
from webapp.context import Actor, NotFound
from webapp.db import db

URL, MOVED = "https://api.groq.com/openai/v1", "https://new.example.com/v1"
FIRST, SECOND = "gsk_" + "aB3" * 17, "gsk_" + "xY7" * 17


@pytest.fixture
def groq(api: Api) -> Api:
    """A provider with two credentials."""
    sent = {"provider": "groq", "base_url": URL, "credential": FIRST}
    assert api("POST", "/v1/providers", sent).status_code == 201
    more = {"label": "second", "credential": SECOND, "weight": 7}
    assert api("POST", "/v1/providers/groq/credentials", more).status_code == 201
    return api


def stored(api: Api) -> list[tuple[str, str, int]]:
    found = api("GET", "/v1/providers/groq").get_json()["credentials"]
    return [(one["label"], one["last4"], one["weight"]) for one in found]


def test_where_the_server_stays_the_others_stay(groq: Api) -> None:
    given = "gsk_" + "pQ5" * 17
    assert groq("PATCH", "/v1/providers/groq", {"credential": given, "enabled": True}).status_code == 200
    assert stored(groq) == [("default", given[-4:], 1), ("second", SECOND[-4:], 7)]
    assert groq("PATCH", "/v1/providers/groq", {"credential": given, "base_url": MOVED}).status_code == 200
    assert stored(groq) == [("default", given[-4:], 1)]


def test_what_is_saved_is_saved_whole_although_nobody_could_be_told(groq: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the old credential is never beside the new address."""
    told: list[list[str]] = []

    def refuse(subjects: list[str]) -> None:
        told.append(subjects)
        raise policy.NotInForce("saved") from CountersUnavailable("away")

    monkeypatch.setattr(policy, "publish", refuse)
    given = "gsk_" + "pQ5" * 17
    moved = groq("PATCH", "/v1/providers/groq", {"credential": given, "base_url": MOVED})
    added = groq("POST", "/v1/providers", {"provider": "mistral", "base_url": URL, "credential": given})
    assert (moved.status_code, added.status_code, len(told)) == (503, 503, 2)
    monkeypatch.undo()
    assert groq("GET", "/v1/providers/groq").get_json()["base_url"] == MOVED
    assert stored(groq) == [("default", given[-4:], 1)]
    assert groq("GET", "/v1/providers/mistral").get_json()["credential"]["last4"] == given[-4:]


def test_an_address_and_its_credential_are_one_transaction(groq: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong with the one, the other is as it was."""

    def fail(*_: Any, **__: Any) -> bool:
        raise NotFound

    monkeypatch.setattr(custom_providers, "store_within", fail)
    assert groq("PATCH", "/v1/providers/groq", {"credential": FIRST, "base_url": MOVED}).status_code == 404
    assert groq("GET", "/v1/providers/groq").get_json()["base_url"] == URL
    assert stored(groq) == [("default", FIRST[-4:], 1), ("second", SECOND[-4:], 7)]


@pytest.mark.parametrize(
    ("method", "path", "document"),
    [
        ("PUT", "/v1/providers/groq/credential", {"credential": SECOND}),
        ("POST", "/v1/providers/groq/credentials", {"label": "third", "credential": SECOND}),
    ],
)
def test_none_is_stored_for_one_that_was_removed_meanwhile(
    app: Flask, groq: Api, org_id: str, method: str, path: str, document: dict[str, object]
) -> None:
    """Both look at the provider's own row, in the transaction that stores."""
    with app.app_context():
        actor = Actor(org_id, "test", None)
        custom_providers.remove_provider(actor, "groq")
        with pytest.raises(NotFound):
            credentials.store_credentials(actor, {"groq": SECOND})
        with pytest.raises(NotFound):
            credentials.add_credential(actor, "groq", {"label": "third", "credential": SECOND})
        assert db.session.scalars(select(ProviderCredential)).all() == []
    assert groq(method, path, document).status_code == 404


def test_a_credential_is_needed_for_another_server(groq: Api) -> None:
    assert (
        "given for another server"
        in field_errors(groq("PATCH", "/v1/providers/groq", {"base_url": MOVED}))["credential"]
    )
