"""Which answers of 401 put a credential aside, and which are about what an app asked for with it."""

import json

import pytest
from request_kit import Untouched

from proxyd.gateway.context import RequestContext
from proxyd.gateway.destinations import SessionRoute, Target
from proxyd.gateway.head import head_info
from proxyd.gateway.route import unified_target
from proxyd.gateway.verdict import is_about_the_credential
from proxyd.messages import Headers, Request
from proxyd.providers import DIALECTS
from shared.catalog import PROVIDERS
from shared.routing import Unified

CHAT = json.dumps({"model": "gpt-4o-mini", "messages": []}).encode()
UPGRADE: Headers = ((b"upgrade", b"websocket"), (b"connection", b"upgrade"))
ORGANIZATION = ((b"openai-organization", b"org-of-somebody"),)


def context(path: str, headers: Headers = (), query: str = "", *, method: str = "POST") -> RequestContext:
    """A request whose body was read, if it is one that is metered."""
    untouched = Untouched()
    request = Request(method, path, query, headers, untouched, untouched)
    head = head_info(request, ())
    made = RequestContext(request, 1, "req_1", head, None, "openai", 0.0)
    route = head.match.route
    assert isinstance(route, Target | SessionRoute), route
    made.target = route.target if isinstance(route, SessionRoute) else route
    endpoint = made.target.endpoint
    if path.endswith("/chat/completions") and endpoint is not None:
        made.parsed = DIALECTS["openai"].read(endpoint, CHAT, None, "")
    return made


def said(code: str | None = None, message: str = "No.") -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "type": "invalid_request_error"}}).encode()


OPENAI = "/openai/v1/chat/completions"
MISMATCH = said("mismatched_organization", "OpenAI-Organization header should match organization for API key")


@pytest.mark.parametrize(
    ("path", "headers", "query", "body"),
    [
        (OPENAI, (), "", said("invalid_api_key")),
        (OPENAI, (), "", said()),
        (OPENAI, (), "", b"no JSON"),
        (OPENAI, (), "", None),
        (OPENAI, (), "", b'{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}'),
        (OPENAI, (), "", b'[{"error":{"code":401,"message":"Request had invalid credentials."}}]'),
        (OPENAI, ((b"openai-beta", b"x"),), "a=b", b'{"error":"no"}'),
        (OPENAI, ORGANIZATION, "", said("invalid_api_key")),
    ],
)
def test_it_works(path: str, headers: Headers, query: str, body: object) -> None:
    assert is_about_the_credential(context(path, headers, query), body)


@pytest.mark.parametrize(
    ("path", "headers", "query", "body"),
    [
        (OPENAI, ORGANIZATION, "", said()),
        (OPENAI, ORGANIZATION, "", None),
        (OPENAI, ((b"openai-project", b"proj_x"),), "", said()),
        (OPENAI, (), "access_token=x", said()),
        (OPENAI, (), "a=b&%24.oauth_token=x", said()),
        (OPENAI, (), "", MISMATCH),
        (OPENAI, (), "", said("mismatched_project")),
        (OPENAI, (), "", said("invalid_organization")),
        (OPENAI, (), "", said(None, "You have insufficient permissions for this operation. Missing scopes: x")),
        (OPENAI, (), "", b'{"error":{"code":401,"message":"API keys are not supported by this API. Expected OAuth2"}}'),
        ("/openai/v1/files", (), "", said("invalid_api_key")),
        ("/openai/v1/organization/costs", (), "", said()),
    ],
)
def test_an_apps_own_request_is_not_about_the_credential(path: str, headers: Headers, query: str, body: object) -> None:
    assert not is_about_the_credential(context(path, headers, query), body)


def test_a_handshake_is_judged_by_what_it_names() -> None:
    opened = context("/v1/realtime", UPGRADE, "model=gpt-realtime", method="GET")
    assert is_about_the_credential(opened, said())
    named = (*UPGRADE, (b"sec-websocket-protocol", b"realtime, openai-organization.org-of-somebody"))
    assert not is_about_the_credential(context("/v1/realtime", named, "model=gpt-realtime", method="GET"), said())


def test_what_is_translated_names_no_account() -> None:
    """Headers that speak to one provider alone do not go to another one."""
    made = context(OPENAI, ORGANIZATION)
    route = head_info(Request("POST", "/v1/messages", "", (), Untouched(), Untouched()), ()).match.route
    assert isinstance(route, Unified)
    target = unified_target(route, PROVIDERS["openai"])
    assert isinstance(target, Target)
    assert target.translation is not None
    made.target = target
    assert is_about_the_credential(made, said())
