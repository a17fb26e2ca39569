"""Where a path leads: to one of our own endpoints, to a provider, or to whichever provider serves the model.

Only values come out of here; the path that goes to a provider is put together from checked parts. To add a route of
the proxy's own, add a row to BUILTINS and a function in `builtin_endpoints.py`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from shared.catalog import PROVIDERS, Endpoint, Provider, credential_header, find_endpoint
from shared.keys import MANAGEMENT_TAG, PROXY_TAG

BuiltinName = Literal["home", "health", "ready", "models", "key"]
BUILTINS: dict[str, BuiltinName] = {
    "/": "home",
    "/healthz": "health",
    "/readyz": "ready",
    "/v1/models": "models",
    "/v1/key": "key",
}
UNIFIED = ("/v1/chat/completions", "/v1/embeddings", "/v1/responses")
BARE_ANTHROPIC = ("/v1/messages", "/v1/messages/count_tokens")

_SAFE_PATH = re.compile(r"(?:/[A-Za-z0-9_\-.:~@!$&'()*+,;=%]+)+")
# What could make another path of this one: dots, slashes and control characters in disguise, a broken escape, and the
# disguise of a character that needs none, by which a metered endpoint would pass for an unlisted one.
_TRICKS = re.compile(
    r"/\.{1,2}(?:/|$)|;|%(?![0-9a-f]{2})|%(?:[01].|7f|25|2d|2e|2f|3[0-9a]|4[0-9a-f]|5[0-9acf]|6[1-9a-f]|7[0-9ae])",
    re.IGNORECASE,
)
_VERSIONED = re.compile(r"/v\d[a-z0-9]*/")
_GEMINI_METHOD = re.compile(r"/v1/models/[^/]+:[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Builtin:
    """One of the router's own answers."""

    name: BuiltinName


@dataclass(frozen=True, slots=True)
class Target:
    """A request for one provider. `endpoint` is None when the catalog does not list the path."""

    provider: Provider
    endpoint: Endpoint | None
    path: str  # below the provider's base URL
    path_model: str | None
    dialect: str
    credential_header: tuple[bytes, bytes]  # name and value prefix of the header that carries the real credential


@dataclass(frozen=True, slots=True)
class Unified:
    """An OpenAI-style request whose model decides about the provider."""

    tail: str  # e.g. "/chat/completions"
    endpoint: Endpoint  # OpenAI's own, by which the body is read


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing is here; `detail` helps whoever has the base URL wrong."""

    detail: str


Route = Builtin | Target | Unified | Unknown


class RouteMatch(NamedTuple):
    """All that a method and a path tell."""

    route: Route
    dialect: str  # in which the caller expects errors
    query_key_allowed: bool  # on Gemini routes only


def dialect_of(path: str) -> str:
    """The dialect in which a caller of this path expects its errors, even when nothing else is right."""
    if path.endswith("/chat/completions") or "/openai/" in path:
        return "openai"
    if path.startswith(("/anthropic/", "/v1/messages", "/v1/v1/messages")):
        return "anthropic"
    if is_gemini(path):
        return "gemini"
    return "openai"


def is_gemini(path: str) -> bool:
    """Whether this is a Gemini route: there, and only there, a key may stand in the query."""
    return path.startswith(("/gemini/", "/v1beta/")) or _GEMINI_METHOD.fullmatch(path) is not None


def match_route(method: str, path: str) -> RouteMatch:
    """What a method and a path (as received, without the query) tell about a request."""
    if PROXY_TAG in path or MANAGEMENT_TAG in path:  # nothing of it is cached
        return RouteMatch(Unknown("A key must not stand in the address."), dialect_of(path), is_gemini(path))
    return _match_cached(method, path) if len(path) <= _MAX_CACHED_PATH else _match(method, path)


def _match(method: str, path: str) -> RouteMatch:
    return RouteMatch(find_route(method, path), dialect_of(path), is_gemini(path))


def find_route(method: str, path: str) -> Route:
    """Where a request goes."""
    own = BUILTINS.get(path)
    if own is not None and method in ("GET", "HEAD"):
        return Builtin(own)
    if not _SAFE_PATH.fullmatch(path) or _TRICKS.search(path):
        return Unknown("There is no endpoint at this address.")
    if path in UNIFIED:
        openai = PROVIDERS["openai"]
        found = find_endpoint(openai, method, path)
        return Unknown(f"{path} takes POST.") if found is None else Unified(path.removeprefix("/v1"), found[0])
    if path in BARE_ANTHROPIC:
        return _target(PROVIDERS["anthropic"], method, path)
    if path.startswith("/v1beta/") or (method == "POST" and _GEMINI_METHOD.fullmatch(path)):
        return _target(PROVIDERS["gemini"], method, path)
    slug, slash, rest = path[1:].partition("/")
    provider = PROVIDERS.get(slug)
    if provider is None or not slash:
        return Unknown(_hint(path))
    tail = f"/{rest}"
    if not _VERSIONED.match(tail) and provider.dialect != "gemini":
        tail = f"/v1{tail}"
    if tail.startswith("/v1/v1/"):
        return Unknown(_hint(tail))
    return _target(provider, method, tail)


_MAX_CACHED_PATH = 120  # characters of a path; longer ones are rare, and would make a large cache
_match_cached = lru_cache(maxsize=4096)(_match)


def unified_target(route: Unified, provider: Provider) -> Target | Unknown:
    """The provider's own endpoint for an OpenAI-style request."""
    return _unified_target(route.tail, provider.slug)


@lru_cache(maxsize=64)  # every tail that there is, with every provider
def _unified_target(tail: str, slug: str) -> Target | Unknown:
    provider = PROVIDERS[slug]
    path = f"{provider.compat_prefix or '/v1'}{tail}"
    found = find_endpoint(provider, "POST", path)
    if found is None:
        return Unknown(f"{provider.label} has no OpenAI-compatible {tail}; use its own endpoints.")
    return Target(provider, found[0], path, None, "openai", credential_header(provider, path))


def _target(provider: Provider, method: str, path: str) -> Target:
    found = find_endpoint(provider, method, path)
    if found is None:
        return Target(provider, None, path, None, provider.dialect, credential_header(provider, path))
    endpoint, path_model = found
    return Target(provider, endpoint, path, path_model, endpoint.dialect, credential_header(provider, path))


def _hint(path: str) -> str:
    if path.startswith("/v1/v1/messages"):
        return "There is no endpoint at this address: leave /v1 out of the Anthropic base URL."
    if path.startswith("/v1/v1/"):
        return "There is no endpoint at this address: /v1 stands in it twice; check the base URL."
    if path in ("/chat/completions", "/embeddings", "/responses", "/models"):
        return f"There is no endpoint at this address: the base URL must end with /v1, then it is /v1{path}."
    if path == "/messages":
        return "There is no endpoint at this address: the Anthropic base URL is this server's address alone."
    return (
        "There is no endpoint at this address. Use /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/messages, "
        "/v1beta/models/..., or a provider's own path below /openai, /anthropic or /gemini."
    )
