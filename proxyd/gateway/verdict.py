"""Whether an answer of 401 is about our credential, or about what an app asked for with it.

Providers answer 401 to more than a wrong key: to an organisation or a project that an app names and the key does not
belong to, to a restricted key that lacks a scope, to a method that takes no API keys at all. Nothing of that says
anything about other requests. So a request may go on with another credential, but this one is put aside, and shown as
refused, only where nothing else can have been meant.
"""

from typing import Any
from urllib.parse import unquote

import orjson

from proxyd.gateway.context import RequestContext
from proxyd.wire.json_size import takes_long
from shared.catalog import Kind

REFUSED = 401
# What an app sends to be taken for one of several accounts, which a provider compares with the key.
_ACCOUNT_HEADERS = frozenset((b"openai-organization", b"openai-project", b"x-goog-user-project"))
_PROTOCOLS = b"sec-websocket-protocol"  # in which a browser names the same
_ACCOUNT_PROTOCOLS = (b"openai-organization.", b"openai-project.")
_TOKENS = frozenset(("access_token", "oauth_token"))  # parameters that Google's servers take beside the key
_SESSIONS = frozenset((Kind.REALTIME, Kind.LIVE, Kind.RESPONSES))  # opened by a handshake, which has no body
_OF_THE_KEY = "invalid_api_key"  # OpenAI's code, whatever else stands in the request
_OF_AN_ACCOUNT = ("mismatched_", "invalid_organization", "invalid_project")  # how its other codes begin
_OF_A_RIGHT = ("missing scopes", "insufficient permissions", "api keys are not supported", "not supported by this api")


def is_about_the_credential(context: RequestContext, body: object) -> bool:
    """Of a request that was answered with 401 and this body; anything but bytes tells nothing."""
    endpoint = context.target.endpoint
    if context.parsed is None and (endpoint is None or endpoint.kind not in _SESSIONS):
        return False  # some of what is not metered takes other keys than ours, such as those of administrators
    code, words = _error_in(body)
    if code == _OF_THE_KEY:
        return True
    if context.target.translation is None and _names_an_account(context):
        return False
    return not code.startswith(_OF_AN_ACCOUNT) and not any(said in words for said in _OF_A_RIGHT)


def _names_an_account(context: RequestContext) -> bool:
    request = context.request
    for name, value in request.headers:
        if name in _ACCOUNT_HEADERS or (name == _PROTOCOLS and any(said in value for said in _ACCOUNT_PROTOCOLS)):
            return True
    names = (piece.partition("=")[0] for piece in request.query.split("&"))
    return any(unquote(name).lower().lstrip("$.") in _TOKENS for name in names)


def _error_in(body: object) -> tuple[str, str]:
    """Code and sentence of an error in any of the three dialects, in lower case."""
    try:
        document: Any = orjson.loads(body) if isinstance(body, bytes) and not takes_long(body) else None
    except orjson.JSONDecodeError:
        return "", ""
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return "", error.lower() if isinstance(error, str) else ""
    code, words = error.get("code"), error.get("message")
    return code if isinstance(code, str) else "", words.lower() if isinstance(words, str) else ""
