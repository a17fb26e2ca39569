"""One change of many keys."""

from typing import Any

import pytest
from dashboard_kit import Api, Clock
from flask import Flask
from forms_kit import count

from shared.models import AuditEvent


@pytest.fixture
def ids(api: Api) -> list[str]:
    return [str(api.create(name=name)["id"]) for name in "abc"]


def change(api: Api, **document: Any) -> dict[str, Any]:
    response = api("POST", "/v1/keys/bulk", document)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.get_json()
    return answer


@pytest.mark.parametrize(
    ("action", "status"), [("revoke", "revoked"), ("pause", "paused"), ("resume", "active"), ("extend", "active")]
)
def test_it_works(api: Api, ids: list[str], action: str, status: str) -> None:
    more = {"expires_at": "2027-01-01T00:00:00Z"} if action == "extend" else {}
    answer = change(api, action=action, ids=[*ids, ids[0]], **more)
    assert (answer["action"], answer["changed"], answer["failed"]) == (action, 3, 0)
    assert [(result["id"], result["status"]) for result in answer["results"]] == [(key_id, 200) for key_id in ids]
    for result in answer["results"]:
        assert result["key"] == api("GET", f"/v1/keys/{result['id']}").get_json()
        assert result["key"]["status"] == status
        if action == "extend":
            assert result["key"]["expires_at"] == more["expires_at"]


def test_one_that_fails_keeps_no_other_back(api: Api, stranger: Api, ids: list[str]) -> None:
    api("DELETE", f"/v1/keys/{ids[1]}")
    theirs = stranger.create()["id"]
    answer = change(api, action="pause", ids=[ids[0], "key_none", ids[1], theirs, ids[2]])
    told = [(result["status"], result.get("code")) for result in answer["results"]]
    assert told == [(200, None), (404, "not_found"), (409, "key_revoked"), (404, "not_found"), (200, None)]
    assert (answer["changed"], answer["failed"]) == (2, 3)
    assert all(result["detail"] for result in answer["results"] if result["status"] != 200)
    assert stranger("GET", f"/v1/keys/{theirs}").get_json()["status"] == "active"


def test_an_expired_key_is_opened_again(api: Api, clock: Clock) -> None:
    key_id = api.create(expires_at="2026-11-24T13:00:00Z")["id"]
    clock.forward(hours=2)
    answer = change(api, action="extend", ids=[key_id], expires_at=None)
    assert (answer["results"][0]["key"]["status"], answer["results"][0]["key"]["expires_at"]) == ("active", None)


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({}, ["action", "ids"]),
        ({"action": "delete", "ids": []}, ["action", "ids"]),
        ({"action": "pause", "ids": "key_1"}, ["ids"]),
        ({"action": "pause", "ids": [1]}, ["ids"]),
        ({"action": "pause", "ids": ["k"] * 201}, ["ids"]),
        ({"action": "pause", "ids": ["k\x00"]}, ["ids"]),
        ({"action": "pause", "ids": ["ID"], "expires_at": "2027-01-01T00:00:00Z"}, ["expires_at"]),
        ({"action": "extend", "ids": ["ID"]}, ["expires_at"]),
        ({"action": "extend", "ids": ["ID"], "expires_at": "2020-01-01T00:00:00Z"}, ["expires_at"]),
        ({"action": "pause", "ids": ["ID"], "colour": "red"}, ["colour"]),
    ],
)
def test_nonsense_is_named_and_nothing_is_written(
    api: Api, app: Flask, document: dict[str, Any], fields: list[str]
) -> None:
    key_id = api.create()["id"]
    events = count(app, AuditEvent)
    if document.get("ids") == ["ID"]:
        document = {**document, "ids": [key_id]}
    response = api("POST", "/v1/keys/bulk", document)
    assert response.status_code == 422
    assert [error["field"] for error in response.get_json()["errors"]] == fields
    assert count(app, AuditEvent) == events
