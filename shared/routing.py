"""Where a path leads, as far as method, path and dialect tell: to a provider, to whoever has the model, or nowhere.

The same for the proxy, which makes routes of it, and for who asks beforehand what would become of a request. What is
returned is put together from checked parts of the path that was sent; nothing of it is mended in silence.
"""

import re
from typing import NamedTuple
from urllib.parse import unquote

from msgspec import Struct

from shared import hints, path_case
from shared.builtin_paths import BUILTINS, READ
from shared.catalog import (
    LIVE_PATH,
    METHODS,
    NOT_METERED,
    PROVIDERS,
    Endpoint,
    Provider,
    allowed_methods,
    find_endpoint,
    is_session_only,
)
from shared.custom_providers import may_be_name, path_below
from shared.keys import MANAGEMENT_TAG, PROXY_TAG
from shared.policy import Deny, Fact, Reason
from shared.translated import BY_MODEL, FALLBACKS, OWN_ALONE, ModelInPath, model_in_path, path_by_model

UNIFIED = ("/v1/chat/completions", "/v1/embeddings", "/v1/responses")
BARE_ANTHROPIC = "/v1/messages"  # and all below it
COMPLETIONS = "/v1/completions"
BARE_GEMINI = ("/v1beta/", "/v1alpha/", "/upload/", "/download/", "/ws/")
HOLDS_A_KEY = "A key must not stand in the address."

_ANYBODYS = frozenset((*BUILTINS, *UNIFIED, BARE_ANTHROPIC, COMPLETIONS))
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
# The same where only what the table has counts, by whatever method: a card may be of a model with colons in its name.
_CALLS = {row.path.rpartition("}:")[2] for row in PROVIDERS["gemini"].endpoints if "{model}:" in row.path}
_GEMINI_CALL = re.compile(
    rf"/v1(?:beta|alpha)?/models/(?:[^:]+:(?:{'|'.join(sorted(_CALLS))})|.+:(?:g|streamG)enerateContent)"
)


class Place(NamedTuple):
    """What is at a provider's path. `endpoint` is None when the catalog does not list it."""

    provider: Provider
    endpoint: Endpoint | None
    path: str  # below the provider's base URL
    path_model: str | None


class Unknown(Struct, frozen=True):
    """Nothing is here; `detail` helps whoever has the base URL wrong."""

    detail: str


class Named(Struct, frozen=True):
    """A request for a provider of the organisation's own, if the key's has one of that name."""

    name: str
    path: str  # below its base URL, with /v1 before it
    otherwise: Unknown  # what is told where there is none


class Unified(Struct, frozen=True):
    """A request whose model decides about the provider."""

    path: str  # of the rows in `shared.translated`, e.g. "/v1/chat/completions"
    endpoint: Endpoint  # that of the caller's dialect, by which the body is read
    fallback: str | None = None  # the provider of models that nobody knows; None: they are refused
    own_alone: bool = False  # no built-in provider is chosen by the model
    path_model: str | None = None  # the model, where the address names it


class WrongMethod(Struct, frozen=True):
    """Something is here, but not for this method."""

    methods: tuple[str, ...]  # that it takes
    detail: str


def leads_to(method: str, path: str, spoken: str = "openai") -> Place | Unified | Named | Unknown | WrongMethod:
    """Where a path leads that is none of `BUILTINS`, or with a method that they do not take.

    `path` is as received, without the query; `spoken` the provider whose SDK calls.
    """
    if path in BUILTINS:
        return WrongMethod(READ, hints.takes(path, READ))
    is_post, calls = method == "POST", _GEMINI_CALL.fullmatch(path) is not None
    if (is_post or calls) and (asked := model_in_path(path)) is not None:
        found = _of_model(asked)
        return found if is_post or isinstance(found, Unknown) else _only_posted(path)
    if not is_plain(path):
        return Unknown(hints.of(path))
    if calls and not is_post:
        return _only_posted(path)
    if path in UNIFIED:
        return _by_model(method, path, PROVIDERS[spoken])
    if method == "POST" and path == BARE_ANTHROPIC:
        return _MESSAGES
    if method == "POST" and path == COMPLETIONS and spoken == "openai":
        return _COMPLETIONS
    if path.lower() in _ANYBODYS and path not in _ANYBODYS:
        return Unknown(path_case.sentence(path.lower()))
    provider, tail = owner_of(method, path, spoken)
    if provider is None:
        return _named(path) or Unknown(hints.of(path))
    return at(provider, method, tail, path)


def is_plain(path: str) -> bool:
    """Whether a path can be read in one way only."""
    return _SAFE_PATH.fullmatch(path) is not None and _TRICKS.search(path) is None


def holds_a_key(path: str) -> bool:
    """Whether a secret of ours stands in a path, however it is escaped: such a one must not be kept or repeated."""
    text = unquote(path) if "%" in path else path
    return PROXY_TAG in text or MANAGEMENT_TAG in text


def is_gemini(path: str) -> bool:
    """Whether this is a Gemini route, whoever calls it: there, and only there, a key may stand in the query."""
    return path.startswith(("/gemini/", *BARE_GEMINI)) or _GEMINI_METHOD.fullmatch(path) is not None


def owner_of(method: str, path: str, spoken: str) -> tuple[Provider | None, str]:
    """The provider of a path, and the path there. None: nobody's."""
    if path.endswith("/") or hints.is_elsewhere(path) or hints.TWO_VERSIONS.fullmatch(path):
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


def at(provider: Provider, method: str, path: str, sent: str) -> Place | WrongMethod | Unknown:
    """What a provider has at a path of its own. `sent` is the whole path, as the proxy is asked for it."""
    methods = allowed_methods(provider, method, path)
    if methods:
        return WrongMethod(methods, hints.takes(path, methods))
    endpoint, path_model = find_endpoint(provider, method, path) or (None, None)
    is_listed = endpoint is not None and endpoint.path != path_case.ALL
    if not is_listed and is_session_only(provider, path) and method not in READ:
        methods = ("GET", *_listed_methods(provider, path))
        return WrongMethod(methods, hints.takes(path, methods))
    if not is_listed and not path_case.listed(provider, path):
        if (right := _right_case(provider, path, sent)) is not None:
            return Unknown(path_case.sentence(right))
        if (detail := hints.of_two_bases(provider, path, sent)) is not None:
            return Unknown(detail)
    return Place(provider, endpoint, path, path_model)


def chosen_by_model(asked: str, provider: Provider) -> Place | Unknown:
    """The endpoint of the provider whose model it is: of the caller's dialect, or the one that it is translated for.

    `asked` is the path of a `Unified` route.
    """
    path = path_by_model(asked, provider)
    found = find_endpoint(provider, "POST", path)
    if found is not None:
        return Place(provider, found[0], path, None)
    tail = asked.removeprefix("/v1")
    if provider.slug in PROVIDERS:
        return Unknown(f"{provider.label} has no OpenAI-compatible {tail}; use its own endpoints.")
    return Unknown(f"{provider.label} has no {tail} that the router knows.")


def nowhere(route: Unknown | WrongMethod) -> Deny:
    """What is told of a path that leads nowhere, or not this way."""
    if isinstance(route, Unknown):
        return Deny(Reason.UNKNOWN_ENDPOINT, {"detail": route.detail})
    facts: dict[str, Fact] = {"detail": route.detail, "allowed_methods": list(route.methods)}
    return Deny(Reason.METHOD_NOT_ALLOWED, facts)


def _named(path: str) -> Named | None:
    """A path that begins with what may be the name of an organisation's own provider."""
    name, slash, rest = path[1:].partition("/")
    if not slash or not may_be_name(name):
        return None
    tail = path_below(f"/{rest}")
    return None if tail is None else Named(name, tail, Unknown(hints.of(path)))


def _right_case(provider: Provider, path: str, sent: str) -> str | None:
    """The path that was meant, if it is another one in its case alone; below /v1 it may be any provider's."""
    before = f"/{provider.slug}"
    if sent.startswith(f"{before}/"):
        right = path_case.meant(provider, path) or path_case.meant(provider, sent.removeprefix(before))
        return None if right is None else f"{before}{right}"
    providers = PROVIDERS.values() if sent.startswith("/v1/") else (provider,)
    return next(filter(None, (path_case.meant(one, path) for one in providers)), None)


def _listed_methods(provider: Provider, path: str) -> tuple[str, ...]:
    """The methods for which a provider's table has a row that fits a path, but for those that fit everything."""
    found = ((method, find_endpoint(provider, method, path)) for method in METHODS)
    return tuple(method for method, entry in found if entry is not None and entry[0].path != path_case.ALL)


def _only_posted(path: str) -> WrongMethod:
    return WrongMethod(("POST",), hints.takes(path, ("POST",)))


def _is_lost(provider: Provider, tail: str) -> bool:
    """Whether an OpenAI client's request has come to Gemini's own paths."""
    return provider.dialect == "gemini" and hints.COMPATIBLE.fullmatch(tail) is not None


def _by_model(method: str, path: str, speaker: Provider) -> Place | Unified | Unknown | WrongMethod:
    """An endpoint whose provider is chosen by the model; reading what is stored there goes to the caller's own."""
    openai = PROVIDERS["openai"]
    found = find_endpoint(openai, method, path)
    if found is not None and found[0].kind not in NOT_METERED:
        return Unified(path, found[0])
    return at(speaker if speaker.compat_prefix == "/v1" else openai, method, path, path)


def _of_model(asked: ModelInPath) -> Place | Unified | Unknown | WrongMethod:
    """A method of Gemini's, of a model that says whose it is."""
    gemini = PROVIDERS["gemini"]
    if asked.path is None:
        return Unknown(f"{hints.NOTHING}: {asked.detail}")
    if asked.path not in BY_MODEL:
        return at(gemini, "POST", asked.path, asked.path)
    found = find_endpoint(gemini, "POST", asked.path.replace("{model}", "any"))
    assert found is not None  # noqa: S101 - it is one of its endpoints
    return Unified(asked.path, found[0], path_model=asked.model)


def as_it_stands(route: Unified, model: str, version: str = "v1beta") -> Place:
    """Gemini's own endpoint for a model with a slash, which a gateway at its address may have."""
    path = f"/{version}/models/{model}:{route.path.rpartition(':')[2]}"
    return Place(PROVIDERS["gemini"], route.endpoint, path, model)


def _otherwise(path: str) -> Unified:
    """An endpoint of one provider, which others are reached by as well if the model says so."""
    slug = FALLBACKS[path]
    found = find_endpoint(PROVIDERS[slug], "POST", path)
    assert found is not None  # noqa: S101 - it is one of its provider's endpoints
    return Unified(path, found[0], slug, path in OWN_ALONE)


_MESSAGES = _otherwise(BARE_ANTHROPIC)
_COMPLETIONS = _otherwise(COMPLETIONS)
