"""Members, tokens, credentials, prices and the organisation by JSON: what the dashboard keeps for administrators."""

from collections.abc import Callable
from typing import Any

import pytest
from dashboard_kit import ADMIN, Api, Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import count
from live_counters import LiveCounters
from sqlalchemy import select

from shared.keys import MANAGEMENT_TAG, PROXY_TAG, mint
from shared.models import ADMIN_SCOPE, SCOPES, AuditEvent, ManagementToken, ProviderCredential, User, UserSession
from webapp.actions.credentials import stored_providers
from webapp.actions.tokens import create_token
from webapp.context import Actor
from webapp.db import db

PROVIDER_KEY = "sk-ant-api03-" + "aB3_-" * 18


def ok(api: Api, method: str, path: str, document: Any = None, status: int = 200) -> Any:
    response = api(method, path, document)
    assert response.status_code == status, response.text
    assert response.headers["Cache-Control"] == "no-store"
    return response.get_json()


def faults(api: Api, method: str, path: str, document: Any) -> list[str]:
    response = api(method, path, document)
    assert response.status_code == 422, response.text
    return [error["field"] for error in response.get_json()["errors"]]


ADMINISTRATION = (
    ("GET", "/v1/members", None),
    ("POST", "/v1/members", {"email": "new@example.com"}),
    ("GET", "/v1/members/usr_x", None),
    ("PATCH", "/v1/members/usr_x", {"role": "admin"}),
    ("DELETE", "/v1/members/usr_x", None),
    ("GET", "/v1/tokens", None),
    ("POST", "/v1/tokens", {"name": "x", "scopes": ["keys:read"]}),
    ("DELETE", "/v1/tokens/tok_x", None),
    ("PUT", "/v1/providers/anthropic/credential", {"credential": PROVIDER_KEY}),
    ("DELETE", "/v1/providers/openai/credential", None),
    ("POST", "/v1/providers/openai/test", None),
    ("POST", "/v1/providers/anthropic/credentials", {"label": "x", "credential": PROVIDER_KEY}),
    ("PATCH", "/v1/providers/openai/credentials/cred_x", {"weight": 2}),
    ("POST", "/v1/providers/openai/credentials/cred_x/test", None),
    ("DELETE", "/v1/providers/openai/credentials/cred_x", None),
    ("GET", "/v1/invitations", None),
    ("POST", "/v1/invitations", {"email": "invited@example.com"}),
    ("DELETE", "/v1/invitations/inv_x", None),
    ("PUT", "/v1/prices/openai/gpt-4o", {"rates": {"input_tokens": "1"}}),
    ("DELETE", "/v1/prices/openai/gpt-4o", None),
    ("PATCH", "/v1/organization", {"name": "x"}),
)


@pytest.mark.parametrize(("method", "path", "document"), ADMINISTRATION)
def test_it_works_for_tokens_that_administer_only(
    api: Api, app: Flask, actor: Actor, method: str, path: str, document: Any
) -> None:
    """One that does not could make itself one that does. S14: all others together are not enough."""
    with app.app_context():
        api.token = create_token(actor, "narrow", [scope for scope in SCOPES if scope != ADMIN_SCOPE]).secret
    before = [count(app, model) for model in (User, ManagementToken, ProviderCredential, AuditEvent)]
    response = api(method, path, document)
    assert (response.status_code, response.get_json()["code"]) == (403, "insufficient_scope")
    assert response.get_json()["detail"] == "This management token lacks the scope admin."
    assert [count(app, model) for model in (User, ManagementToken, ProviderCredential, AuditEvent)] == before


@pytest.mark.parametrize(("method", "path", "document"), ADMINISTRATION)
def test_the_scope_alone_is_enough(api: Api, app: Flask, actor: Actor, method: str, path: str, document: Any) -> None:
    with app.app_context():
        api.token = create_token(actor, "administers", [ADMIN_SCOPE]).secret
    assert api(method, path, document).status_code in (200, 201, 404)
    for read in ("/v1/keys", "/v1/usage", "/v1/audit", "/v1/prices"):
        assert api("GET", read).status_code == 403


def test_others_see_and_change_nothing(api: Api, stranger: Api) -> None:
    member = ok(api, "POST", "/v1/members", {"email": "a@example.com"}, 201)
    token = ok(api, "POST", "/v1/tokens", {"name": "t", "scopes": ["keys:read"]}, 201)
    ok(api, "PUT", "/v1/prices/openai/gpt-4o", {"rates": {"input_tokens": "1"}})
    for method, path, document in (
        ("GET", f"/v1/members/{member['id']}", None),
        ("PATCH", f"/v1/members/{member['id']}", {"role": "admin"}),
        ("DELETE", f"/v1/members/{member['id']}", None),
        ("DELETE", f"/v1/tokens/{token['id']}", None),
        ("DELETE", "/v1/prices/openai/gpt-4o", None),
    ):
        assert stranger(method, path, document).status_code == 404
    for path in ("/v1/members", "/v1/prices"):
        assert ok(stranger, "GET", path)["data"] == []
    assert [row["name"] for row in ok(stranger, "GET", "/v1/tokens")["data"]] == ["theirs"]
    assert ok(stranger, "GET", "/v1/organization")["name"] == "Other"
    assert {event["action"] for event in ok(stranger, "GET", "/v1/audit")["data"]} == {"token.create"}


def test_members(api: Api, app: Flask) -> None:
    created = ok(api, "POST", "/v1/members", {"email": "Ann@Example.com", "role": "viewer"}, 201)
    password = created.pop("password")
    assert len(password) > 12
    assert created == {
        "id": created["id"],
        "email": "ann@example.com",
        "role": "viewer",
        "active": True,
        "created_at": "2026-11-24T12:00:00Z",
    }
    path = f"/v1/members/{created['id']}"
    assert ok(api, "GET", path) == created
    assert [member["email"] for member in ok(api, "GET", "/v1/members")["data"]] == [ADMIN, "ann@example.com"]
    assert ok(api, "PATCH", path, {"role": "member"})["role"] == "member"
    assert ok(api, "PATCH", path, {})["role"] == "member"
    assert ok(api, "DELETE", path)["active"] is False
    assert ok(api, "DELETE", path)["active"] is False
    assert ok(api, "PATCH", path, {"active": True})["active"] is True
    again = api("POST", "/v1/members", {"email": "ann@example.com"})
    assert (again.status_code, again.get_json()["code"]) == (409, "email_taken")
    listed = ok(api, "GET", f"/v1/audit?target={created['id']}")["data"]
    events = [(event["action"], event["before"], event["after"]) for event in listed]
    assert [(action, before) for action, before, _ in events[::-1]] == [
        ("user.create", None),
        ("user.role", {"role": "viewer"}),
        ("user.deactivate", None),
        ("user.activate", None),
    ]
    assert password not in str(ok(api, "GET", "/v1/audit"))


def test_who_may_not_log_in_is_logged_out_at_once(api: Api, app: Flask, enter: Callable[[str], FlaskClient]) -> None:
    browser = enter("member")
    (member,) = [member for member in ok(api, "GET", "/v1/members")["data"] if member["role"] == "member"]
    assert browser.get("/keys").status_code == 200
    ok(api, "DELETE", f"/v1/members/{member['id']}")
    assert browser.get("/keys").status_code == 303
    assert count(app, UserSession) == 0


def test_somebody_is_left_to_administer(api: Api) -> None:
    (admin,) = ok(api, "GET", "/v1/members")["data"]
    path = f"/v1/members/{admin['id']}"
    for method, document in (("DELETE", None), ("PATCH", {"active": False}), ("PATCH", {"role": "member"})):
        response = api(method, path, document)
        assert (response.status_code, response.get_json()["code"]) == (409, "last_administrator")
    second = ok(api, "POST", "/v1/members", {"email": "b@example.com", "role": "admin"}, 201)
    ok(api, "PATCH", path, {"role": "member"})
    assert api("DELETE", f"/v1/members/{second['id']}").status_code == 409


def test_tokens(api: Api, app: Flask) -> None:
    created = ok(api, "POST", "/v1/tokens", {"name": "deploy", "scopes": ["usage:read", "keys:read"]}, 201)
    secret = created.pop("token")
    assert secret.startswith("sk-mgmt-")
    assert created == {
        "id": created["id"],
        "name": "deploy",
        "prefix": secret[:12],
        "scopes": ["keys:read", "usage:read"],
        "created_at": "2026-11-24T12:00:00Z",
        "created_by": created["created_by"],
        "expires_at": None,
        "last_used_at": None,
        "revoked_at": None,
    }
    assert [token["name"] for token in ok(api, "GET", "/v1/tokens")["data"]] == ["deploy", "bootstrap"]
    other = Api(app.test_client(), secret)
    assert other("GET", "/v1/keys").status_code == 200
    revoked = ok(api, "DELETE", f"/v1/tokens/{created['id']}")
    assert revoked["revoked_at"] == "2026-11-24T12:00:00Z"
    assert ok(api, "DELETE", f"/v1/tokens/{created['id']}") == revoked
    assert other("GET", "/v1/keys").status_code == 401


def test_a_token_that_expires(api: Api, app: Flask, clock: Clock) -> None:
    document = {"name": "short", "scopes": ["keys:read"], "expires_at": "2026-11-24T14:00:00+01:00"}
    created = ok(api, "POST", "/v1/tokens", document, 201)
    assert created["expires_at"] == "2026-11-24T13:00:00Z"
    other = Api(app.test_client(), created["token"])
    assert other("GET", "/v1/keys").status_code == 200
    clock.forward(hours=1)
    assert other("GET", "/v1/keys").status_code == 401
    assert faults(api, "POST", "/v1/tokens", document) == ["expires_at"]


def test_credentials(api: Api, app: Flask, org_id: str, live: LiveCounters) -> None:
    listed = ok(api, "GET", "/v1/providers")["data"]
    assert [(row["provider"], row["credential"]) for row in listed] == [
        ("openai", None), ("anthropic", None), ("gemini", None),
    ]  # fmt: skip
    version = live.org_version(org_id)
    told = ok(api, "PUT", "/v1/providers/anthropic/credential", {"credential": f" {PROVIDER_KEY}\n"})
    assert told["base_url"] == "https://api.anthropic.com"
    assert told["credential"]["last4"] == PROVIDER_KEY[-4:]
    assert live.org_version(org_id) > (version or 0)
    with app.app_context():
        assert stored_providers(org_id, pretend_prefix="sandbox-") == {"anthropic": True}
        query = select(AuditEvent).where(AuditEvent.action == "credential.set")
        assert PROVIDER_KEY not in str(db.session.scalars(query).one().after)
    assert ok(api, "DELETE", "/v1/providers/anthropic/credential")["credential"] is None
    assert ok(api, "DELETE", "/v1/providers/anthropic/credential")["credential"] is None
    assert api("PUT", "/v1/providers/mistral/credential", {"credential": PROVIDER_KEY}).status_code == 404
    assert api("DELETE", "/v1/providers/mistral/credential").status_code == 404


@pytest.mark.parametrize(
    "credential", [None, 5, "", "short", "two words here", "x" * 501, "schlüssel-mit-umlaut", mint(PROXY_TAG).raw]
)
def test_what_is_no_credential(api: Api, credential: object) -> None:
    document = {"credential": credential}
    assert faults(api, "PUT", "/v1/providers/openai/credential", document) == ["credential"]
    assert faults(api, "PUT", "/v1/providers/openai/credential", {}) == ["credential"]


def test_prices(api: Api) -> None:
    rates = {"input_tokens": "1.25", "output_tokens": "10"}
    price = ok(api, "PUT", "/v1/prices/openai/ft:gpt-4o:mine::1", {"rates": rates})
    assert (price["provider"], price["model"], price["rates"]) == ("openai", "ft:gpt-4o:mine::1", rates)
    listed = ok(api, "GET", "/v1/prices")
    assert listed["data"] == [price]
    assert listed["table_version"]
    assert ok(api, "DELETE", "/v1/prices/openai/ft:gpt-4o:mine::1") == price
    assert api("DELETE", "/v1/prices/openai/ft:gpt-4o:mine::1").status_code == 404
    assert faults(api, "PUT", "/v1/prices/openai/gpt-4o", {"rates": {"wishes": "1", "output_tokens": "-1"}}) == [
        "rates", "rates.wishes", "rates.output_tokens",
    ]  # fmt: skip
    assert faults(api, "PUT", "/v1/prices/mistral/m", {"rates": rates}) == ["provider"]
    assert faults(api, "PUT", "/v1/prices/openai/m", {}) == ["rates"]


def test_organization(api: Api) -> None:
    before = ok(api, "GET", "/v1/organization")
    assert before["name"] == "Default"
    assert ok(api, "PATCH", "/v1/organization", {"name": " Acme "}) == {**before, "name": "Acme"}
    assert ok(api, "PATCH", "/v1/organization", {}) == {**before, "name": "Acme"}
    event = ok(api, "GET", "/v1/audit?action=organization.update")["data"][0]
    assert (event["before"], event["after"]) == ({"name": "Default"}, {"name": "Acme"})
    assert faults(api, "PATCH", "/v1/organization", {"name": "", "id": "org_x"}) == ["name", "id"]


@pytest.mark.parametrize(
    ("method", "path", "document", "fields"),
    [
        ("POST", "/v1/members", {}, ["email"]),
        ("POST", "/v1/members", {"email": "x", "role": "root"}, ["email", "role"]),
        ("POST", "/v1/members", {"email": "x"}, ["email"]),
        ("POST", "/v1/members", {"email": "a\x00@b"}, ["email"]),
        ("POST", "/v1/tokens", {}, ["name", "scopes"]),
        ("POST", "/v1/tokens", {"name": mint(MANAGEMENT_TAG).raw, "scopes": []}, ["name", "scopes"]),
        ("POST", "/v1/tokens", {"name": "x", "scopes": ["root", "keys:all"]}, ["scopes", "scopes"]),
        ("POST", "/v1/tokens", {"name": "x", "scopes": "keys:read"}, ["scopes"]),
    ],
)
def test_nonsense_is_named(api: Api, method: str, path: str, document: Any, fields: list[str]) -> None:
    assert faults(api, method, path, document) == fields
