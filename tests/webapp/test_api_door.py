"""Who gets into the management API, and what they see there."""

from collections.abc import Callable

import pytest
from dashboard_kit import Api, Clock
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from shared.keys import MANAGEMENT_TAG, PROXY_TAG, mint
from shared.models import ManagementToken
from webapp.actions.tokens import create_token
from webapp.context import Actor
from webapp.db import db, writing


def test_it_works(api: Api) -> None:
    assert api("GET", "/v1/keys").status_code == 200


def test_others_see_nothing(api: Api, stranger: Api) -> None:
    key_id = api.create()["id"]
    missing = stranger("GET", "/v1/keys/key_missing").get_json()
    for method, path, document in (
        ("GET", f"/v1/keys/{key_id}", None),
        ("PATCH", f"/v1/keys/{key_id}", {"name": "n"}),
        ("DELETE", f"/v1/keys/{key_id}", None),
        ("GET", f"/v1/keys/{key_id}/usage", None),
    ):
        response = stranger(method, path, document)
        assert response.status_code == 404
        assert {**response.get_json(), "request_id": ""} == {**missing, "request_id": ""}
    assert stranger("GET", "/v1/keys").get_json()["data"] == []
    assert api("GET", f"/v1/keys/{key_id}").get_json()["status"] == "active"


@pytest.mark.parametrize(
    ("authorization", "words"),
    [
        (None, "Send a management token"),
        ("Basic abc", "Send a management token"),
        ("Bearer", "Send a management token"),
        (f"Bearer {mint(PROXY_TAG).raw}", "This is a proxy key"),
        (f"Bearer {mint(MANAGEMENT_TAG).raw}", "not known here"),
        (f"Bearer {mint(MANAGEMENT_TAG).raw[:-1]}", "mistyped"),
        ("Bearer sk-live-123", "not a management token"),
        ("Bearer ' OR '1'='1", "Send a management token"),
    ],
)
def test_who_is_not_let_in(app: Flask, authorization: str | None, words: str) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = app.test_client().get("/v1/keys", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert words in response.get_json()["detail"]
    assert authorization is None or "sk-" not in authorization or authorization.split()[-1] not in response.text


def test_a_revoked_token(api: Api, app: Flask) -> None:
    with app.app_context(), writing() as session:
        session.scalars(select(ManagementToken)).one().revoked_at = app.extensions["clock"]()
    assert api("GET", "/v1/keys").status_code == 401


PAUSING = (("POST", "/v1/keys/ID/pause"), ("POST", "/v1/keys/ID/resume"))


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("keys:read", {("GET", "/v1/keys"), ("GET", "/v1/keys/ID")}),
        ("keys:write", {("POST", "/v1/keys"), ("PATCH", "/v1/keys/ID"), ("DELETE", "/v1/keys/ID"), *PAUSING}),
        ("usage:read", {("GET", "/v1/keys/ID/usage")}),
    ],
)
def test_scopes(api: Api, app: Flask, actor: Actor, scope: str, allowed: set[tuple[str, str]]) -> None:
    key_id = api.create()["id"]
    with app.app_context():
        api.token = create_token(actor, "narrow", [scope]).secret
    calls = [
        ("POST", "/v1/keys", {"name": "x"}),
        ("GET", "/v1/keys", None),
        ("GET", "/v1/keys/ID", None),
        ("PATCH", "/v1/keys/ID", {"name": "x"}),
        *((method, path, None) for method, path in PAUSING),
        ("DELETE", "/v1/keys/ID", None),
        ("GET", "/v1/keys/ID/usage", None),
    ]
    for method, path, document in calls:
        response = api(method, path.replace("ID", key_id), document)
        if (method, path) in allowed:
            assert response.status_code in (200, 201)
        else:
            assert (response.status_code, response.get_json()["code"]) == (403, "insufficient_scope")


def test_the_last_use_of_a_token_is_noted(api: Api, app: Flask, clock: Clock) -> None:
    clock.forward(minutes=5)
    api("GET", "/v1/keys")
    with app.app_context():
        assert db.session.scalars(select(ManagementToken)).one().last_used_at == clock.now


def test_a_session_does_not_open_the_api(enter: Callable[[str], FlaskClient]) -> None:
    client = enter("admin")
    assert client.get("/v1/keys").status_code == 401
    assert client.post("/v1/keys", json={"name": "x"}).status_code == 401
