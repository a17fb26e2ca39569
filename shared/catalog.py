"""What the providers offer: addresses, where their credential goes, and which of their endpoints we can meter.

Data only. To add a provider, add a row to PROVIDERS; to meter an endpoint, add an `Endpoint` to its row. A path that
stands nowhere here is passed through for keys without a spend limit and refused for the others, because nobody can
tell what it costs. `prices_id` and `flavor` are the names that the price table uses.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType

from shared.output_limits import UNKNOWN_MODEL, output_maximum
from shared.pricing.table import current_models

__all__ = [
    "PROVIDERS",
    "UNKNOWN_MODEL",
    "Endpoint",
    "Kind",
    "Provider",
    "credential_header",
    "find_endpoint",
    "known_models",
    "output_maximum",
    "provider_of_model",
]


class Kind(StrEnum):
    """What an endpoint does, which decides how its body is read and its answer metered."""

    CHAT = "chat"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
    MESSAGES = "messages"
    GENERATE = "generate"
    GENERATE_STREAM = "generate_stream"
    EMBED = "embed"
    FREE = "free"  # costs nothing at the provider
    UNMETERED = "unmetered"  # costs something that we cannot tell


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method and path of a provider. `{model}` in the path is a model's name, `{id}` an opaque identifier."""

    method: str
    path: str  # below the base URL
    kind: Kind
    flavor: str | None = None  # api_flavor of genai-prices; None when nothing is metered
    dialect: str = "openai"  # of its bodies and errors: "openai", "anthropic" or "gemini"
    prices_id: str = "openai"  # whose extraction tables of genai-prices have `flavor`


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider, as routing, metering and the dashboard know it."""

    slug: str
    label: str
    base_url: str  # without version path
    prices_id: str
    dialect: str
    auth_header: bytes  # lower-case
    auth_prefix: bytes
    extra_headers: tuple[tuple[bytes, bytes], ...]  # added when the client sent none of that name
    compat_prefix: str | None  # where its OpenAI-compatible endpoints live
    model_prefixes: tuple[str, ...]  # beginnings of model names that can only be its own
    endpoints: tuple[Endpoint, ...]


def _free(dialect: str, *routes: str) -> tuple[Endpoint, ...]:
    pairs = (route.split(" ") for route in routes)
    return tuple(Endpoint(method, path, Kind.FREE, None, dialect) for method, path in pairs)


def _gemini_endpoints(version: str) -> tuple[Endpoint, ...]:
    model = f"/{version}/models/{{model}}"
    return (
        Endpoint("POST", f"{model}:generateContent", Kind.GENERATE, "default", "gemini", "google"),
        Endpoint("POST", f"{model}:streamGenerateContent", Kind.GENERATE_STREAM, "default", "gemini", "google"),
        Endpoint("POST", f"{model}:embedContent", Kind.EMBED, "default", "gemini", "google"),
        Endpoint("POST", f"{model}:batchEmbedContents", Kind.EMBED, "default", "gemini", "google"),
        Endpoint("POST", f"/{version}/openai/chat/completions", Kind.CHAT, "chat", prices_id="google"),
        Endpoint("POST", f"/{version}/openai/embeddings", Kind.EMBEDDINGS, "embeddings"),
        *_free("gemini", f"POST {model}:countTokens", f"GET {model}", f"GET /{version}/models"),
        *_free("openai", f"GET /{version}/openai/models", f"GET /{version}/openai/models/{{model}}"),
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
        *_free(
            "openai",
            "GET /v1/models",
            "GET /v1/models/{model}",
            "GET /v1/chat/completions/{id}",
            "POST /v1/chat/completions/{id}",
            "DELETE /v1/chat/completions/{id}",
            "GET /v1/chat/completions/{id}/messages",
            "GET /v1/responses/{id}",
            "DELETE /v1/responses/{id}",
            "POST /v1/responses/{id}/cancel",
            "GET /v1/responses/{id}/input_items",
            "POST /v1/responses/input_tokens",
            "POST /v1/moderations",
        ),
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
        *_free("anthropic", "POST /v1/messages/count_tokens", "GET /v1/models", "GET /v1/models/{model}"),
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
    endpoints=(*_gemini_endpoints("v1beta"), *_gemini_endpoints("v1")),
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {provider.slug: provider for provider in (_OPENAI, _ANTHROPIC, _GEMINI)}
)

# Other names under which people know a provider when they write "provider/model".
_SPELLINGS = {"openai": "openai", "anthropic": "anthropic", "gemini": "gemini", "google": "gemini"}

# A colon would be ambiguous before Gemini's ":method"; OpenAI's fine-tuned models have several.
_MODEL_BEFORE_METHOD = r"(?P<model>[A-Za-z0-9][A-Za-z0-9._@-]{0,199})"
_MODEL = r"(?P<model>[A-Za-z0-9][A-Za-z0-9._:@-]{0,199})"
_ID = r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}"


def _pattern(path: str) -> re.Pattern[str]:
    escaped = re.escape(path)
    model = _MODEL_BEFORE_METHOD if r"\{model\}:" in escaped else _MODEL
    return re.compile(escaped.replace(r"\{model\}", model).replace(r"\{id\}", _ID))


_Exact = dict[tuple[str, str], Endpoint]
_Templates = tuple[tuple[str, re.Pattern[str], Endpoint], ...]


def _index(provider: Provider) -> tuple[_Exact, _Templates]:
    exact = {(e.method, e.path): e for e in provider.endpoints if "{" not in e.path}
    templates = tuple((e.method, _pattern(e.path), e) for e in provider.endpoints if "{" in e.path)
    return exact, templates


_INDEX = {slug: _index(provider) for slug, provider in PROVIDERS.items()}


def find_endpoint(provider: Provider, method: str, path: str) -> tuple[Endpoint, str | None] | None:
    """The endpoint at a path, and the model that the path names. None: not listed, so it cannot be metered.

    `path` is below the base URL, without query. A model with any character outside letters, digits and `._@-` is no
    match, so that what was judged is what is sent.
    """
    exact, templates = _INDEX[provider.slug]
    endpoint = exact.get((method, path))
    if endpoint is not None:
        return endpoint, None
    for wanted, pattern, candidate in templates:
        if wanted == method and (match := pattern.fullmatch(path)) is not None:
            return candidate, match.groupdict().get("model")
    return None


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
    if slash:
        slug = _SPELLINGS.get(spelling)
        return None if slug is None or not bare else (slug, bare)
    for provider in PROVIDERS.values():
        if model.startswith(provider.model_prefixes):
            return provider.slug, model
    return None


@lru_cache(maxsize=8)
def known_models(provider_slug: str) -> tuple[str, ...]:
    """Names of the current models of a provider, sorted, as far as the price table knows them."""
    provider = PROVIDERS[provider_slug]
    names = current_models(provider.prices_id)
    return tuple(sorted(n for n in names if n.startswith(provider.model_prefixes) and re.fullmatch(r"[\w.-]*\w", n)))
