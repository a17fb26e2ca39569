"""Who gets into the management API, and what they see there."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from dashboard_kit import Api, Clock
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from shared.keys import MANAGEMENT_TAG, PROXY_TAG, mint
from shared.models import AuditEvent, ManagementToken
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


def test_an_expired_token(api: Api, app: Flask, actor: Actor, clock: Clock) -> None:
    """FINDINGS S9."""
    with app.app_context():
        api.token = create_token(actor, "short", ["keys:read"], expires_at=clock.now + timedelta(days=1)).secret
    assert api("GET", "/v1/keys").status_code == 200
    clock.forward(days=1)
    refused = api("GET", "/v1/keys")
    assert (refused.status_code, refused.get_json()["code"]) == (401, "invalid_management_token")
    assert "expired" in refused.get_json()["detail"]


def test_who_acts_by_a_token_is_its_id(api: Api, app: Flask) -> None:
    """FINDINGS S7: four hex digits name nobody."""
    created = api.create()
    with app.app_context():
        token_id = db.session.scalars(select(ManagementToken.id)).one()
        actor = db.session.scalar(select(AuditEvent.actor).where(AuditEvent.target == created["id"]))
    assert token_id == actor == created["created_by"]


def test_guessing_tokens_is_slowed_down_and_noticed(
    api: Api, app: Flask, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """FINDINGS S7. Whoever has a good token does not pay for the guesses of others at the same address."""
    guess = Api(api.client, "")
    statuses = []
    for _ in range(300):
        guess.token = mint(MANAGEMENT_TAG).raw
        answer = guess("GET", "/v1/keys")
        statuses.append(answer.status_code)
    assert statuses == [401] * 101 + [429] * 199
    assert answer.headers["Retry-After"] == "1"
    assert answer.get_json()["code"] == "too_many_attempts"
    assert api("GET", "/v1/keys").status_code == 200
    lines = [record.getMessage() for record in caplog.records if "event=token_refused" in record.getMessage()]
    assert 20 <= len(lines) < 100
    assert "ip=127.0.0.1" in lines[0]
    assert not [line for line in lines if "\n" in line or "sk-mgmt-" in line]


@pytest.mark.parametrize("carrier", ["Authorization", "x-api-key", "x-goog-api-key"])
def test_what_is_sent_elsewhere_than_as_a_bearer_is_slowed_down_as_well(
    api: Api, carrier: str, caplog: pytest.LogCaptureFixture
) -> None:
    """FINDINGS S7. It says where the token belongs all the while, also to whoever has a good one."""
    sent = {carrier: f"Basic {api.token}" if carrier == "Authorization" else api.token}
    answers = [api.client.get("/v1/keys", headers=sent) for _ in range(110)]
    assert [answer.status_code for answer in answers] == [401] * 101 + [429] * 9
    assert all("`Authorization: Bearer`" in answer.get_json()["detail"] for answer in answers)
    assert "event=token_refused" in caplog.text
    assert api.token not in caplog.text
    assert [api.client.get("/v1/keys").status_code for _ in range(3)] == [401] * 3
    assert api("GET", "/v1/keys").status_code == 200


def test_refusals_leave_a_trace(
    api: Api, app: Flask, actor: Actor, caplog: pytest.LogCaptureFixture, enter: Callable[[str], FlaskClient]
) -> None:
    """FINDINGS S7: one line each, that says who, where and what was needed."""
    with app.app_context():
        api.token = create_token(actor, "narrow", ["usage:read"]).secret
    api("GET", "/v1/keys")
    viewer = enter("viewer")
    viewer.get("/keys/new")
    viewer.get("/keys/key_of_others/pause")
    viewer.post("/theme", data={"theme": "dark"})
    viewer.post("/theme", json={"theme": "dark"})
    viewer.post("/theme", headers={"Origin": "https://evil.example"})
    enter("member").get("/keys/key_missing/edit")
    kinds = {}
    for record in caplog.records:
        facts = dict(word.partition("=")[::2] for word in record.getMessage().split(" "))
        if "event" in facts:
            kinds[facts["event"]] = facts
    assert kinds["scope_refused"]["needs"] == "keys:read"
    assert kinds["scope_refused"]["token"].startswith("tok_")
    assert kinds["role_refused"]["path"] == "/keys/new"
    assert kinds["role_refused"]["by"].startswith("usr_")
    assert kinds["unknown_id"]["path"] == "/keys/key_missing/edit"
    assert {"csrf_refused", "foreign_origin", "content_refused"} <= set(kinds)
    assert all(facts["request"].startswith("req_") for facts in kinds.values())


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


def test_who_may_only_write_reads_nothing(api: Api, app: Flask, actor: Actor) -> None:
    """FINDINGS S14, over every read there is: a write answers with what it wrote, and with nothing else."""
    key_id = api.create()["id"]
    with app.app_context():
        api.token = create_token(actor, "writes", ["keys:write"]).secret
    reads = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/v1") and "GET" in (rule.methods or ())]
    for rule in reads:
        path = rule.rule.replace("<key_id>", key_id)
        response = api("GET", path)
        assert (response.status_code, response.get_json()["code"]) == (403, "insufficient_scope"), path
        assert key_id not in response.text
    assert len(reads) > 12
    assert api("POST", f"/v1/keys/{key_id}/check", {"model": "gpt-4o"}).status_code == 403
    assert api("PATCH", f"/v1/keys/{key_id}", {"name": "renamed"}).get_json()["name"] == "renamed"


def test_the_last_use_of_a_token_is_noted(api: Api, app: Flask, clock: Clock) -> None:
    clock.forward(minutes=5)
    api("GET", "/v1/keys")
    with app.app_context():
        assert db.session.scalars(select(ManagementToken)).one().last_used_at == clock.now


def test_a_session_does_not_open_the_api(enter: Callable[[str], FlaskClient]) -> None:
    client = enter("admin")
    assert client.get("/v1/keys").status_code == 401
    assert client.post("/v1/keys", json={"name": "x"}).status_code == 401
