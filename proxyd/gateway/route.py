"""Where a path leads: to one of our own endpoints, to a provider, or to whichever provider serves the model.

Below `/v1` all three providers have endpoints, some of the same name. There the caller's own headers tell whose SDK it
is, so that the whole of each works with the bare base address.

Only values come out of here; the path that goes to a provider is put together from checked parts. To add a route of
the proxy's own, add a row to BUILTINS and a function in `builtin_endpoints.py`.
"""

import re
from functools import lru_cache

from proxyd.gateway import hints
from proxyd.gateway.destinations import (
    Builtin,
    BuiltinName,
    Named,
    NeedsUpgrade,
    NoUpgrade,
    Route,
    RouteMatch,
    SessionRoute,
    Target,
    Unified,
    Unknown,
    WrongMethod,
)
from proxyd.messages import Headers
from proxyd.translation import Translation
from shared import path_case
from shared.catalog import (
    LIVE_PATH,
    METHODS,
    NOT_METERED,
    PROVIDERS,
    WEBSOCKET,
    Kind,
    Provider,
    allowed_methods,
    credential_header,
    find_endpoint,
)
from shared.custom_providers import may_be_name, path_below
from shared.keys import MANAGEMENT_TAG, PROXY_TAG
from shared.translated import BY_MODEL, FALLBACKS, OWN_ALONE, TRANSLATED, ModelInPath, model_in_path, path_by_model

BUILTINS: dict[str, BuiltinName] = {
    "/": "home",
    "/healthz": "health",
    "/readyz": "ready",
    "/v1/models": "models",
    "/v1/key": "key",
}
UNIFIED = ("/v1/chat/completions", "/v1/embeddings", "/v1/responses")
BARE_ANTHROPIC = "/v1/messages"  # and all below it
COMPLETIONS = "/v1/completions"
BARE_GEMINI = ("/v1beta/", "/v1alpha/", "/upload/", "/download/", "/ws/")
MODEL_CARD = "/v1/models/"
_ANYBODYS = frozenset((*BUILTINS, *UNIFIED, BARE_ANTHROPIC, COMPLETIONS))

# How the official SDKs give themselves away: each sends its header with every request.
_SPOKEN = {b"anthropic-version": "anthropic", b"x-goog-api-key": "gemini", b"x-goog-api-client": "gemini"}

_SAFE_PATH = re.compile(r"(?:/[A-Za-z0-9_\-.:~@!$&'()*+,;=%]+)+")
# What could make another path of this one: dots, slashes and control characters in disguise, a broken escape, and the
# disguise of a character that needs none, by which a metered endpoint would pass for an unlisted one.
_TRICKS = re.compile(
    r"/\.{1,2}(?:/|$)|;|%(?![0-9a-f]{2})|%(?:[01].|7f|25|2d|2e|2f|3[0-9a]|4[0-9a-f]|5[0-9acf]|6[1-9a-f]|7[0-9ae])",
    re.IGNORECASE,
)
_VERSIONED = re.compile(r"/v\d[a-z0-9]*/")
_GEMINI_VERSIONED = re.compile(r"(?:/upload|/download)?/v\d[a-z0-9]*/")
_GEMINI_METHOD = re.compile(r"/v1/models/(?:[^/]+:[A-Za-z]+|.+:(?:g|streamG)enerateContent)")


READ = ("GET", "HEAD")


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


def is_gemini(path: str) -> bool:
    """Whether this is a Gemini route, whoever calls it: there, and only there, a key may stand in the query."""
    return path.startswith(("/gemini/", *BARE_GEMINI)) or _GEMINI_METHOD.fullmatch(path) is not None


def match_route(method: str, path: str, spoken: str = "openai") -> RouteMatch:
    """What a method, a path (as received, without the query) and the caller's dialect tell about a request."""
    if PROXY_TAG in path or MANAGEMENT_TAG in path:  # nothing of it is cached
        route = Unknown("A key must not stand in the address.")
        return RouteMatch(route, dialect_of(path, spoken), is_gemini(path))
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
        return WrongMethod((*METHODS, "HEAD"), hints.PREFLIGHT)
    own = BUILTINS.get(path)
    if own is not None:
        return Builtin(own) if method in READ else WrongMethod(READ, hints.takes(path, READ))
    if method == "POST" and (asked := model_in_path(path)) is not None:
        return _of_model(asked)
    if not _SAFE_PATH.fullmatch(path) or _TRICKS.search(path):
        return Unknown(hints.of(path))
    if path in UNIFIED:
        return _by_model(method, path, PROVIDERS[spoken])
    if method == "POST" and path == BARE_ANTHROPIC:
        return _MESSAGES
    if method == "POST" and path == COMPLETIONS and spoken == "openai":
        return _COMPLETIONS
    if path.lower() in _ANYBODYS and path not in _ANYBODYS:
        return Unknown(path_case.sentence(path.lower()))
    provider, tail = _owner(method, path, spoken)
    if provider is None:
        return _named(path) or Unknown(hints.of(path))
    target = _target(provider, method, tail)
    if isinstance(target, Target) and (right := _right_case(target, path, tail)) is not None:
        return Unknown(path_case.sentence(right))
    if method in READ and path.startswith(MODEL_CARD) and isinstance(target, Target):
        return Builtin("model", path.removeprefix(MODEL_CARD), target)
    return target


def _right_case(target: Target, path: str, tail: str) -> str | None:
    """The path that was meant, if it is another one in its case alone; below /v1 it may be any provider's."""
    if target.endpoint is not None and target.endpoint.path != path_case.ALL:
        return None
    if path_case.listed(target.provider, tail):
        return None
    before = f"/{target.provider.slug}"
    if path.startswith(f"{before}/"):
        right = path_case.meant(target.provider, tail) or path_case.meant(target.provider, path.removeprefix(before))
        return None if right is None else f"{before}{right}"
    providers = PROVIDERS.values() if path.startswith("/v1/") else (target.provider,)
    return next(filter(None, (path_case.meant(provider, tail) for provider in providers)), None)


def session_route(path: str, spoken: str = "openai") -> SessionRoute | NoUpgrade:
    """Where a WebSocket's handshake leads."""
    if not _SAFE_PATH.fullmatch(path) or _TRICKS.search(path) or PROXY_TAG in path or MANAGEMENT_TAG in path:
        return NoUpgrade()
    provider, tail = (PROVIDERS["openai"], path) if path in UNIFIED else _owner("GET", path, spoken)
    found = None if provider is None else find_endpoint(provider, WEBSOCKET, tail)
    if provider is None or found is None:
        return NoUpgrade()
    credential = credential_header(provider, tail)
    return SessionRoute(Target(provider, found[0], tail, None, found[0].dialect, credential), found[0])


def _owner(method: str, path: str, spoken: str) -> tuple[Provider | None, str]:
    """The provider of a path, and the path there. None: nobody's."""
    if path.endswith("/") or path.startswith(hints.AZURE) or hints.TWO_VERSIONS.fullmatch(path):
        return None, path
    if path == BARE_ANTHROPIC or path.startswith(f"{BARE_ANTHROPIC}/"):
        return PROVIDERS["anthropic"], path
    if path.startswith(BARE_GEMINI) or (method == "POST" and _GEMINI_METHOD.fullmatch(path)):
        gemini = PROVIDERS["gemini"]
        return (None if _is_lost(gemini, path) else gemini), path
    if path.startswith("/v1/"):
        return PROVIDERS[spoken], path
    slug, slash, rest = path[1:].partition("/")
    provider = PROVIDERS.get(slug)
    if provider is None or not slash:
        return None, path
    tail = f"/{rest}"
    if provider.dialect == "gemini":
        tail = tail if _GEMINI_VERSIONED.match(tail) or tail.startswith(LIVE_PATH) else f"/v1beta{tail}"
    elif not _VERSIONED.match(tail):
        tail = f"/v1{tail}"
    return (None if hints.TWO_VERSIONS.fullmatch(tail) or _is_lost(provider, tail) else provider), tail


def _named(path: str) -> Named | None:
    """A path that begins with what may be the name of an organisation's own provider."""
    name, slash, rest = path[1:].partition("/")
    if not slash or not may_be_name(name):
        return None
    tail = path_below(f"/{rest}")
    return None if tail is None else Named(name, tail, Unknown(hints.of(path)))


def _is_lost(provider: Provider, tail: str) -> bool:
    """Whether an OpenAI client's request has come to Gemini's own paths."""
    return provider.dialect == "gemini" and hints.COMPATIBLE.fullmatch(tail) is not None


def _by_model(method: str, path: str, speaker: Provider) -> Route:
    """An endpoint whose provider is chosen by the model; reading what is stored there goes to the caller's own."""
    openai = PROVIDERS["openai"]
    found = find_endpoint(openai, method, path)
    if found is not None and found[0].kind not in NOT_METERED:
        return Unified(path, found[0])
    return _target(speaker if speaker.compat_prefix == "/v1" else openai, method, path)


def _otherwise(path: str) -> Unified:
    """An endpoint of one provider, which others are reached by as well if the model says so."""
    slug = FALLBACKS[path]
    found = find_endpoint(PROVIDERS[slug], "POST", path)
    assert found is not None  # noqa: S101 - it is one of its provider's endpoints
    return Unified(path, found[0], slug, path in OWN_ALONE)


def _of_model(asked: ModelInPath) -> Route:
    """A method of Gemini's, of a model that says whose it is."""
    gemini = PROVIDERS["gemini"]
    if asked.path is None:
        return Unknown(f"{hints.NOTHING}: {asked.detail}")
    if asked.path not in BY_MODEL:
        return _target(gemini, "POST", asked.path)
    found = find_endpoint(gemini, "POST", asked.path.replace("{model}", "any"))
    assert found is not None  # noqa: S101 - it is one of its endpoints
    return Unified(asked.path, found[0], path_model=asked.model)


_MESSAGES = _otherwise(BARE_ANTHROPIC)
_COMPLETIONS = _otherwise(COMPLETIONS)


def unified_target(route: Unified, provider: Provider) -> Target | Unknown:
    """The provider's endpoint for a request: of the caller's dialect, or the one that it is translated for."""
    return _unified_target(route.path, route.endpoint.kind, provider.slug)


@lru_cache(maxsize=64)  # every path that there is, with every provider
def _unified_target(asked: str, kind: Kind, slug: str) -> Target | Unknown:
    provider = PROVIDERS[slug]
    path = path_by_model(asked, provider)
    found = find_endpoint(provider, "POST", path)
    if found is None:
        return Unknown(f"{provider.label} has no OpenAI-compatible {asked.removeprefix('/v1')}; use its own endpoints.")
    endpoint, translation = found[0], None
    if (kind, slug) in TRANSLATED:
        translation = Translation(kind, slug, endpoint)
    return Target(provider, endpoint, path, None, endpoint.dialect, credential_header(provider, path), translation)


def _target(provider: Provider, method: str, path: str) -> Target | WrongMethod | NeedsUpgrade:
    if method in READ and _is_session_only(provider, path):
        return NeedsUpgrade()
    methods = allowed_methods(provider, method, path)
    if methods:
        return WrongMethod(methods, hints.takes(path, methods))
    endpoint, path_model = find_endpoint(provider, method, path) or (None, None)
    dialect = provider.dialect if endpoint is None else endpoint.dialect
    if "/openai/" in path:
        dialect = "openai"
    return Target(provider, endpoint, path, path_model, dialect, credential_header(provider, path))


def _is_session_only(provider: Provider, path: str) -> bool:
    found = find_endpoint(provider, WEBSOCKET, path)
    return found is not None and found[0].kind in (Kind.REALTIME, Kind.LIVE)
