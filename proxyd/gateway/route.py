"""Where a path leads: to one of our own endpoints, to a provider, or to whichever provider serves the model.

Below `/v1` all three providers have endpoints, some of the same name. There the caller's own headers tell whose SDK it
is, so that the whole of each works with the bare base address.

Only values come out of here; what a path alone tells is `shared.routing`'s.
"""

from functools import lru_cache

from proxyd.gateway.destinations import Builtin, NeedsUpgrade, NoUpgrade, Route, RouteMatch, SessionRoute, Target
from proxyd.messages import Headers
from proxyd.translation import Translation
from shared import hints, routing
from shared.builtin_paths import BUILTINS, READ
from shared.catalog import (
    METHODS,
    PROVIDERS,
    WEBSOCKET,
    Kind,
    Provider,
    credential_header,
    find_endpoint,
    is_session_only,
)
from shared.routing import BARE_ANTHROPIC, UNIFIED, Place, Unified, Unknown, WrongMethod, is_gemini
from shared.translated import TRANSLATED

MODEL_CARD = "/v1/models/"

# How the official SDKs give themselves away: each sends its header with every request.
_SPOKEN = {b"anthropic-version": "anthropic", b"x-goog-api-key": "gemini", b"x-goog-api-client": "gemini"}


def spoken_by(headers: Headers) -> str:
    """The provider whose SDK a request comes from, by the headers it cannot do without; OpenAI's has none such."""
    for name, _ in headers:
        if name in _SPOKEN:
            return _SPOKEN[name]
    return "openai"


def wants_websocket(headers: Headers) -> bool:
    """Whether a request is the handshake of RFC 6455."""
    return any(name == b"upgrade" and b"websocket" in value.lower() for name, value in headers)


def dialect_of(path: str, spoken: str = "openai") -> str:
    """The dialect in which a caller of this path expects its errors, even when nothing else is right."""
    if path in UNIFIED or path.endswith("/chat/completions") or ("/openai/" in path and "/models/openai/" not in path):
        return "openai"
    if path.startswith(("/anthropic/", BARE_ANTHROPIC, "/v1/v1/messages")):
        return "anthropic"
    return "gemini" if is_gemini(path) else spoken


def match_route(method: str, path: str, spoken: str = "openai") -> RouteMatch:
    """What a method, a path (as received, without the query) and the caller's dialect tell about a request."""
    if routing.holds_a_key(path):  # nothing of it is cached
        return RouteMatch(Unknown(routing.HOLDS_A_KEY), dialect_of(path, spoken), is_gemini(path))
    return _match_cached(method, path, spoken) if len(path) <= _MAX_CACHED_PATH else _match(method, path, spoken)


def _match(method: str, path: str, spoken: str) -> RouteMatch:
    route = find_route(method, path, spoken)
    by_key = is_gemini(path) or (isinstance(route, Target) and route.provider.slug == "gemini")
    return RouteMatch(route, dialect_of(path, spoken), by_key)


_MAX_CACHED_PATH = 120  # characters of a path; longer ones are rare, and would make a large cache
_match_cached = lru_cache(maxsize=4096)(_match)


def find_route(method: str, path: str, spoken: str = "openai") -> Route:
    """Where a request goes."""
    if method == "OPTIONS":
        return WrongMethod(methods_of(path, spoken), hints.PREFLIGHT)
    own = BUILTINS.get(path)
    if own is not None and method in READ:
        return Builtin(own)
    found = routing.leads_to(method, path, spoken)
    if not isinstance(found, Place):
        return found
    if method in READ and is_session_only(found.provider, found.path):
        return NeedsUpgrade()
    target = _target(found)
    if method in READ and path.startswith(MODEL_CARD):
        return Builtin("model", path.removeprefix(MODEL_CARD), target)
    return target


def methods_of(path: str, spoken: str) -> tuple[str, ...]:
    """The methods that lead somewhere at a path; of the whole server, `*`, all that any path takes."""
    every = (*METHODS, "HEAD")
    if path == "*":
        return every
    if isinstance(find_route("POST", path, spoken), Unknown):
        return ()  # neither does any other, and to find hints for each would take long
    found = ((method, find_route(method, path, spoken)) for method in every)
    return tuple(method for method, route in found if not isinstance(route, Unknown | WrongMethod))


def session_route(path: str, spoken: str = "openai") -> SessionRoute | NoUpgrade:
    """Where a WebSocket's handshake leads."""
    if not routing.is_plain(path) or routing.holds_a_key(path):
        return NoUpgrade()
    provider, tail = (PROVIDERS["openai"], path) if path in UNIFIED else routing.owner_of("GET", path, spoken)
    found = None if provider is None else find_endpoint(provider, WEBSOCKET, tail)
    if provider is None or found is None:
        return NoUpgrade()
    credential = credential_header(provider, tail)
    return SessionRoute(Target(provider, found[0], tail, None, found[0].dialect, credential), found[0])


def unified_target(route: Unified, provider: Provider) -> Target | Unknown:
    """The provider's endpoint for a request: of the caller's dialect, or the one that it is translated for."""
    return _unified_target(route.path, route.endpoint.kind, provider.slug)


@lru_cache(maxsize=64)  # every path that there is, with every provider
def _unified_target(asked: str, kind: Kind, slug: str) -> Target | Unknown:
    place = routing.chosen_by_model(asked, PROVIDERS[slug])
    if isinstance(place, Unknown):
        return place
    provider, endpoint, path, _ = place
    assert endpoint is not None  # noqa: S101 - what a model leads to is listed
    translation = None
    if (kind, slug) in TRANSLATED:
        translation = Translation(kind, slug, endpoint)
    return Target(provider, endpoint, path, None, endpoint.dialect, credential_header(provider, path), translation)


def _target(place: Place) -> Target:
    provider, endpoint, path, path_model = place
    dialect = provider.dialect if endpoint is None else endpoint.dialect
    if "/openai/" in path:
        dialect = "openai"
    return Target(provider, endpoint, path, path_model, dialect, credential_header(provider, path))
