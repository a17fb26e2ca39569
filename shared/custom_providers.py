"""Providers of an organisation's own: any server that speaks OpenAI's dialect, under a name that was chosen for it.

Values only. The name stands where that of a built-in provider would: before a model (`groq/llama-3.3-70b`), at the
beginning of a path of the proxy (`/groq/v1/...`), in the lists of keys and in the ledger.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from shared.catalog import COMPATIBLE, PROVIDERS, Provider, spelled_provider
from shared.policy import covers

NAME_LENGTH = 32  # as the ledger keeps it
URL_LENGTH = 500
VERSION_LENGTH = 40
BEARER, API_KEY, NONE = "bearer", "api-key", "none"
AUTHS = (BEARER, API_KEY, NONE)
MODELS = "/v1/models"
MODEL_PLACE = "{model}"  # in a base URL: a segment that is the model's name, as in Azure's paths of deployments

_NAME = re.compile(rf"[a-z][a-z0-9-]{{0,{NAME_LENGTH - 2}}}[a-z0-9]")
_VERSION = re.compile(r"v\d[a-z0-9]*")
_TWO_VERSIONS = re.compile(r"(?:/v\d[a-z0-9]*){2}(?:/|\Z)")
_API_VERSION = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{VERSION_LENGTH - 1}}}")
_HOST = re.compile(r"(?=.{1,253}\.?\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*"
                   r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]+\]")  # fmt: skip
_SEGMENTS = re.compile(r"(?:/[A-Za-z0-9_\-.~@!$&'()*+,=:]+|/\{model\})*")
# A model that may stand in a path: nothing in it could make another path of it.
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,199}")
# What a path of the proxy or of the dashboard may begin with for other reasons, or what lists say of something else.
_TAKEN = frozenset(
    (
        "add", "all", "any", "api", "assistants", "audio", "batches", "chat", "completions", "credentials", "custom",
        "download", "embeddings", "files", "healthz", "images", "key", "llm", "messages", "models", "moderations",
        "new", "none", "other", "prices", "providers", "proxy", "readyz", "realtime", "responses", "threads", "upload",
        "uploads", "videos", "ws",
    )
)  # fmt: skip


def read_name(text: str) -> str:
    """A name for a provider. Raises ValueError with a sentence for people."""
    if _NAME.fullmatch(text) is None:
        raise ValueError(
            f"must be 2 to {NAME_LENGTH} lower-case letters, digits and hyphens that begin with a letter, such as groq"
        )
    if spelled_provider(text) is not None:
        raise ValueError(f"is the name of a built-in provider; choose another one than {text}")
    if text in _TAKEN or _VERSION.fullmatch(text) is not None:
        raise ValueError(f"is what other addresses of the router begin with; choose another one than {text}")
    return text


@lru_cache(maxsize=4096)
def may_be_name(text: str) -> bool:
    """Whether a provider of somebody's own could be called so."""
    try:
        read_name(text)
    except ValueError:
        return False
    return True


def read_base_url(text: str) -> str:
    """A base URL as an SDK of OpenAI takes it, version and all, without a slash at its end. Raises ValueError."""
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:  # of a port or of brackets
        raise ValueError("must be an http or https address, such as https://api.groq.com/openai/v1") from None
    if "@" in parts.netloc:
        raise ValueError("must hold no user and no password: a credential is stored for itself, sealed")
    if "?" in text or "#" in text:
        raise ValueError("must hold neither a query nor a fragment: for api-version there is a field")
    host = parts.netloc.rpartition(":")[0] if parts.port is not None else parts.netloc
    fits = len(text) <= URL_LENGTH and text.isascii() and port_is_fine and _HOST.fullmatch(host) is not None
    if parts.scheme not in ("http", "https") or not fits:
        raise ValueError("must be an http or https address, such as https://api.groq.com/openai/v1")
    path = parts.path.rstrip("/")
    segments = path.split("/")
    if _SEGMENTS.fullmatch(path) is None or {".", ".."} & set(segments) or segments.count(MODEL_PLACE) > 1:
        raise ValueError("has a path that cannot be read without doubt: letters, digits, - . _ ~ and {model} once")
    if path.endswith(("/chat/completions", "/completions", "/embeddings", "/responses", "/models")):
        raise ValueError("must end before what is called there: it is what an SDK of OpenAI takes, often with /v1")
    return f"{parts.scheme}://{parts.netloc.lower()}{path}"


def host_of(base_url: str) -> str:
    """The host of a base URL, an address without its brackets."""
    return urlsplit(base_url).hostname or ""


def place_of(base_url: str) -> tuple[str, str]:
    """Whose server a base URL is: scheme, and host with port."""
    address = urlsplit(base_url)
    return address.scheme, address.netloc


def read_api_version(text: str) -> str:
    """What goes into the query as `api-version`. Raises ValueError."""
    if _API_VERSION.fullmatch(text) is None:
        raise ValueError(f"must be 1 to {VERSION_LENGTH} letters, digits, points and hyphens, such as 2024-10-21")
    return text


def path_below(rest: str) -> str | None:
    """What stands behind a name in a path of the proxy, with the version that metered ones may lack; None: nothing."""
    if rest.endswith("/") or _TWO_VERSIONS.match(rest) is not None:
        return None
    if rest.startswith("/v1/"):
        return rest
    path = f"/v1{rest}"
    return path if path in _METERED else None


_METERED = frozenset(endpoint.path for endpoint in COMPATIBLE)


@lru_cache(maxsize=1024)
def provider_named(name: str, auth: str) -> Provider:
    """What routing and metering know of one. Where it listens they are told elsewhere: `base_url` is empty."""
    header, prefix = {BEARER: (b"authorization", b"Bearer "), API_KEY: (b"api-key", b""), NONE: (b"", b"")}[auth]
    return Provider(
        slug=name,
        label=name,
        base_url="",
        prices_id="",
        dialect="openai",
        auth_header=header,
        auth_prefix=prefix,
        extra_headers=(),
        compat_prefix="/v1",
        model_prefixes=(),
        endpoints=COMPATIBLE,
    )


def goes_to_fallback(own: Collection[str], *, usual: bool) -> bool:
    """Whether a model behind a name that no provider has goes to the one that serves what nobody knows.

    Who has providers of its own (`own`) may have mistyped one, and its prompts are not for others to read. Behind
    another address than the usual one (`usual` is False) may be a gateway, whose models are called `meta-llama/...`.
    """
    return not own or not usual


def has_model(models: Sequence[str], model: str) -> bool:
    """Whether a provider has a model, by its list of names and globs; an empty one leaves all open."""
    return not models or any(covers(pattern, model) for pattern in models)


def plain_names(models: Sequence[str]) -> tuple[str, ...]:
    """Those of a list that are names, and no globs."""
    return tuple(name for name in models if not {"*", "?"} & set(name))


def models_of(models: Sequence[str], priced: Iterable[str]) -> tuple[str, ...]:
    """The models of a provider that are known by name: those on its list, and of those with a price what it covers."""
    return tuple(sorted({*plain_names(models), *(name for name in priced if has_model(models, name))}))


def path_of_base(base: str, model: str | None) -> str | None:
    """The path of a base URL, with the model in its place; None where that one cannot stand in a path."""
    if MODEL_PLACE not in base:
        return base
    if model is None or _SEGMENT.fullmatch(model) is None:
        return None
    return base.replace(MODEL_PLACE, model)


def path_there(base: str, path: str, model: str | None) -> str | None:
    """Where `path` of ours, with its version, is over there, whose base URL has the path `base`.

    None: the model stands in all paths but those of models, and cannot stand in one.
    """
    if path == MODELS or path.startswith(f"{MODELS}/"):
        return path_of_models(base) + path.removeprefix(MODELS)
    place = path_of_base(base, model)
    return None if place is None else place + path.removeprefix("/v1")


def path_of_models(base: str) -> str:
    """Where its list of models is. What stands behind a deployment's name knows that deployment alone."""
    before, place, _ = base.partition(f"/{MODEL_PLACE}")
    return (before.removesuffix("/deployments") if place else base) + "/models"


def own_names(listed: Sequence[str]) -> tuple[str, ...]:
    """Of names of providers those that are no built-in's."""
    return tuple(name for name in listed if name not in PROVIDERS)
