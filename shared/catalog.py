"""What the providers offer: addresses, where their credential goes, and which of their endpoints we can meter.

Data only. To add a provider, add a row to PROVIDERS; to meter an endpoint, add an `Endpoint` to its row and take it off
`shared.endpoints`, where all others stand. What is unmetered, or stands nowhere, is passed through for keys without a
spend limit and refused for the others, because nobody can tell what it costs. `prices_id` and `flavor` are the names
that the price table uses.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from shared.endpoint_kinds import WEBSOCKET, Endpoint, Kind, Provider
from shared.endpoints import FREE, GEMINI_VERSIONS, UNMETERED, is_call, rows_of
from shared.output_limits import UNKNOWN_MODEL, output_maximum
from shared.pricing.table import current_models

__all__ = [
    "COMPATIBLE",
    "LIVE_PATH",
    "NOT_METERED",
    "PROVIDERS",
    "UNKNOWN_MODEL",
    "WEBSOCKET",
    "Endpoint",
    "Kind",
    "Provider",
    "allowed_methods",
    "bare_model",
    "credential_header",
    "find_endpoint",
    "is_session_only",
    "known_models",
    "output_maximum",
    "provider_of_model",
    "spelled_provider",
    "spellings",
]


NOT_METERED = frozenset((Kind.FREE, Kind.UNMETERED))
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _unmetered(slug: str, dialect: str) -> tuple[Endpoint, ...]:
    """What is not metered."""
    return tuple(
        Endpoint(method, path, kind, None, "openai" if "/openai/" in path else dialect)
        for kind, table in ((Kind.UNMETERED, UNMETERED), (Kind.FREE, FREE))
        for method, path in rows_of(table, slug)
    )


LIVE_PATH = "/ws/google.ai.generativelanguage."
_LIVE_TAILS = tuple(f"{version}.GenerativeService.BidiGenerateContent" for version in ("v1beta", "v1alpha", "v1"))


def _gemini_endpoints(version: str) -> tuple[Endpoint, ...]:
    model = f"/{version}/models/{{model}}"
    return (
        Endpoint("POST", f"{model}:generateContent", Kind.GENERATE, "default", "gemini", "google"),
        Endpoint("POST", f"{model}:streamGenerateContent", Kind.GENERATE_STREAM, "default", "gemini", "google"),
        Endpoint("POST", f"{model}:embedContent", Kind.EMBED, "default", "gemini", "google"),
        Endpoint("POST", f"{model}:batchEmbedContents", Kind.EMBED, "default", "gemini", "google"),
        Endpoint("POST", f"{model}:predict", Kind.PREDICT, "default", "gemini", "google"),
        Endpoint("POST", f"{model}:predictLongRunning", Kind.PREDICT_FILM, "default", "gemini", "google"),
        Endpoint("POST", f"/{version}/interactions", Kind.INTERACT, "default", "gemini", "google"),
        Endpoint("POST", f"/{version}/openai/chat/completions", Kind.CHAT, "chat", prices_id="google"),
        Endpoint("POST", f"/{version}/openai/embeddings", Kind.EMBEDDINGS, "embeddings"),
    )


_OPENAI = Provider(
    slug="openai",
    label="OpenAI",
    base_url="https://api.openai.com",
    prices_id="openai",
    dialect="openai",
    auth_header=b"authorization",
    auth_prefix=b"Bearer ",
    extra_headers=(),
    compat_prefix="/v1",
    model_prefixes=("gpt-", "o1", "o3", "o4", "chatgpt-", "text-embedding-", "ft:"),
    endpoints=(
        Endpoint("POST", "/v1/chat/completions", Kind.CHAT, "chat"),
        Endpoint("POST", "/v1/responses", Kind.RESPONSES, "responses"),
        Endpoint("POST", "/v1/embeddings", Kind.EMBEDDINGS, "embeddings"),
        Endpoint("POST", "/v1/completions", Kind.COMPLETIONS, "chat"),
        Endpoint("POST", "/v1/responses/compact", Kind.COMPACT, "responses"),
        Endpoint("POST", "/v1/audio/speech", Kind.SPEECH, "speech"),
        Endpoint("POST", "/v1/audio/transcriptions", Kind.TRANSCRIPTIONS, "transcriptions", form=True),
        Endpoint("POST", "/v1/audio/translations", Kind.TRANSCRIPTIONS, "transcriptions", form=True),
        Endpoint("POST", "/v1/images/generations", Kind.IMAGES, "images"),
        Endpoint("POST", "/v1/images/edits", Kind.IMAGES, "images", form=True),
        Endpoint("POST", "/v1/images/variations", Kind.IMAGES, "images", form=True),
        Endpoint(WEBSOCKET, "/v1/responses", Kind.RESPONSES, "responses"),
        Endpoint(WEBSOCKET, "/v1/realtime", Kind.REALTIME, "realtime"),
        *_unmetered("openai", "openai"),
    ),
)

_ANTHROPIC = Provider(
    slug="anthropic",
    label="Anthropic",
    base_url="https://api.anthropic.com",
    prices_id="anthropic",
    dialect="anthropic",
    auth_header=b"x-api-key",
    auth_prefix=b"",
    extra_headers=((b"anthropic-version", b"2023-06-01"),),
    compat_prefix="/v1",
    model_prefixes=("claude-",),
    endpoints=(
        Endpoint("POST", "/v1/messages", Kind.MESSAGES, "default", "anthropic", "anthropic"),
        Endpoint("POST", "/v1/chat/completions", Kind.CHAT, "chat", prices_id="anthropic"),
        *_unmetered("anthropic", "anthropic"),
    ),
)

_GEMINI = Provider(
    slug="gemini",
    label="Gemini",
    base_url="https://generativelanguage.googleapis.com",
    prices_id="google",
    dialect="gemini",
    auth_header=b"x-goog-api-key",
    auth_prefix=b"",
    extra_headers=(),
    compat_prefix="/v1beta/openai",
    model_prefixes=("gemini-",),
    endpoints=(
        *(endpoint for version in GEMINI_VERSIONS for endpoint in _gemini_endpoints(version)),
        *(Endpoint(WEBSOCKET, f"{LIVE_PATH}{tail}", Kind.LIVE, "live", "gemini", "google") for tail in _LIVE_TAILS),
        *_unmetered("gemini", "gemini"),
    ),
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {provider.slug: provider for provider in (_OPENAI, _ANTHROPIC, _GEMINI)}
)

# Of a provider of an organisation's own: what servers that speak OpenAI's dialect have and bill by tokens. Nobody can
# say of them that they bill no read but that of their models.
COMPATIBLE = (
    *_OPENAI.endpoints[:4],
    *(Endpoint("GET", path, Kind.FREE) for path in ("/v1/models", "/v1/models/{model}")),
)

# Other names under which people know a provider when they write "provider/model".
_SPELLINGS = {"openai": "openai", "anthropic": "anthropic", "gemini": "gemini", "google": "gemini"}


def spelled_provider(spelling: str) -> str | None:
    """The provider that people mean when they write this before a model's name; None when it is none."""
    return _SPELLINGS.get(spelling)


@lru_cache(maxsize=1024)
def spellings(provider_slug: str) -> tuple[str, ...]:
    """What may stand before the name of a provider's model, its own name first."""
    return (provider_slug, *(other for other, slug in _SPELLINGS.items() if slug == provider_slug != other))


# A colon would be ambiguous before Gemini's ":method"; OpenAI's fine-tuned models have several.
_MODEL_BEFORE_METHOD = r"(?P<model>[A-Za-z0-9][A-Za-z0-9._@-]{0,199})"
_MODEL = r"(?P<model>[A-Za-z0-9][A-Za-z0-9._:@-]{0,199})"
# Of an organisation's own provider a slash too, between what are no tricks either.
_MODEL_OF_OWN = r"(?P<model>(?=[^/].{0,199}\Z)[A-Za-z0-9][A-Za-z0-9._:@-]*(?:/[A-Za-z0-9][A-Za-z0-9._:@-]*)*)"
_ID = r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}"


_OWN = "own"
_MODELS = {"openai": _MODEL, _OWN: _MODEL_OF_OWN}
_REST = "/..."


def _pattern(path: str, dialect: str) -> re.Pattern[str]:
    escaped = re.escape(path.removesuffix(_REST))
    model = _MODELS.get(dialect, _MODEL_BEFORE_METHOD)
    below = "(?:/.*)?" if path.endswith(_REST) else ""
    return re.compile(escaped.replace(r"\{model\}", model).replace(r"\{id\}", _ID) + below)


_Found = tuple[Endpoint, str | None]
_Exact = dict[tuple[str, str], _Found]
_Templates = dict[str, list[tuple[re.Pattern[str], Endpoint]]]  # by method, narrow ones first


def _index(endpoints: tuple[Endpoint, ...], dialect: str) -> tuple[_Exact, _Templates]:
    exact: _Exact = {}
    templates: _Templates = {}
    for endpoint in sorted(endpoints, key=lambda e: (_is_wide(e), -len(e.path))):
        if "{" in endpoint.path or _is_wide(endpoint):
            templates.setdefault(endpoint.method, []).append((_pattern(endpoint.path, dialect), endpoint))
        else:
            exact[endpoint.method, endpoint.path] = endpoint, None
    return exact, templates


def _is_wide(endpoint: Endpoint) -> bool:
    return endpoint.path.endswith(_REST)


_INDEX = {slug: _index(provider.endpoints, provider.dialect) for slug, provider in PROVIDERS.items()}
_COMPATIBLE_INDEX = _index(COMPATIBLE, _OWN)


def find_endpoint(provider: Provider, method: str, path: str) -> tuple[Endpoint, str | None] | None:
    """The endpoint at a path, and the model that the path names. None: not listed, so it cannot be metered.

    `path` is below the base URL, without query. A model with any character outside letters, digits and `._@-` is no
    match, so that what was judged is what is sent. HEAD asks for what GET would.
    """
    exact, templates = _INDEX.get(provider.slug, _COMPATIBLE_INDEX)
    wanted = "GET" if method == "HEAD" else method
    found = exact.get((wanted, path))
    if found is not None:
        return found
    for pattern, candidate in templates.get(wanted, ()):
        if (match := pattern.fullmatch(path)) is not None:
            return candidate, match.groupdict().get("model")
    return None


def allowed_methods(provider: Provider, method: str, path: str) -> tuple[str, ...]:
    """The methods of a path that does not take `method`; empty when there is nothing to object to.

    What is not metered is the provider's to object to, but for calls, which would pass for a free read.
    """
    wanted = "GET" if method == "HEAD" else method
    found = find_endpoint(provider, wanted, path)
    exact, _ = _INDEX.get(provider.slug, _COMPATIBLE_INDEX)
    named = tuple(other for other in METHODS if (other, path) in exact)  # what has a name is nobody's id
    if wanted in named or (found is not None and not named and not _is_wide(found[0])):
        return ()
    others = [find_endpoint(provider, other, path) for other in named or METHODS]
    listed = [endpoint for endpoint, _ in filter(None, others) if not _is_wide(endpoint)]
    if all(endpoint.kind in NOT_METERED and not is_call(endpoint.path) for endpoint in listed):
        return ()
    return tuple(endpoint.method for endpoint in listed)


def is_session_only(provider: Provider, path: str) -> bool:
    """Whether nothing but a WebSocket is spoken at a path by who reads it."""
    found = find_endpoint(provider, WEBSOCKET, path)
    return found is not None and found[0].kind in (Kind.REALTIME, Kind.LIVE)


def credential_header(provider: Provider, path: str) -> tuple[bytes, bytes]:
    """Name and value prefix of the header that carries the real credential on a path below the base URL.

    The OpenAI-compatible endpoints of Anthropic and Gemini want a bearer token, unlike their own ones.
    """
    found = path.startswith(f"{provider.compat_prefix}/chat/") or "/openai/" in path
    if found and provider.dialect != "openai":
        return b"authorization", b"Bearer "
    return provider.auth_header, provider.auth_prefix


@lru_cache(maxsize=1024)  # the same few models over and over
def provider_of_model(model: str) -> tuple[str, str] | None:
    """The provider that serves a model of unified mode, and the model's bare name; None when nobody can tell.

    `anthropic/claude-x` and `google/gemini-x` say it; a bare name is told by its beginning. Case matters.
    """
    spelling, slash, bare = model.partition("/")
    if spelling == "models" and bare.startswith(_GEMINI.model_prefixes):  # a Gemini model's full name
        return _GEMINI.slug, bare
    if slash:
        slug = spelled_provider(spelling)
        bare = bare if slug is None else bare_model(slug, bare)
        return None if slug is None or not bare else (slug, bare)
    for provider in PROVIDERS.values():
        if model.startswith(provider.model_prefixes):
            return provider.slug, model
    return None


def bare_model(provider_slug: str, model: str) -> str:
    """A model's name as globs and prices have it: Gemini's full names have the kind of resource before them."""
    return model.removeprefix("models/") if provider_slug == _GEMINI.slug else model


@lru_cache(maxsize=1024)
def known_models(provider_slug: str) -> tuple[str, ...]:
    """Names of the current models of a provider, sorted, as far as the price table knows them."""
    provider = PROVIDERS.get(provider_slug)
    if provider is None:
        return ()  # one of an organisation's own
    names = current_models(provider.prices_id)
    return tuple(sorted(n for n in names if n.startswith(provider.model_prefixes) and re.fullmatch(r"[\w.-]*\w", n)))
