"""Which provider, operation and model a path means, and whether its credential is one of the sandbox's."""

import re
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import parse_qs, unquote

from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.values import SandboxRequest, Slug

CREDENTIAL_START = "sandbox-"

Name = Literal[
    "chat", "completions", "responses", "compact", "embeddings", "speech", "transcriptions", "translations", "images",
    "messages", "generate", "stream", "embed", "count", "models", "model",
    "upload", "file", "batch", "batches", "batch_of", "results", "response", "interact", "predict", "film",
]  # fmt: skip

_FIXED: dict[tuple[str, str], Name] = {
    ("POST", "/v1/chat/completions"): "chat",
    ("POST", "/v1/completions"): "completions",
    ("POST", "/v1/responses"): "responses",
    ("POST", "/v1/responses/compact"): "compact",
    ("POST", "/v1/audio/speech"): "speech",
    ("POST", "/v1/audio/transcriptions"): "transcriptions",
    ("POST", "/v1/audio/translations"): "translations",
    ("POST", "/v1/images/generations"): "images",
    ("POST", "/v1/images/edits"): "images",
    ("POST", "/v1/images/variations"): "images",
    ("POST", "/v1/embeddings"): "embeddings",
    ("POST", "/v1/messages"): "messages",
    ("POST", "/v1/messages/count_tokens"): "count",
    ("GET", "/v1/models"): "models",
    ("GET", "/v1beta/models"): "models",
    ("POST", "/v1beta/openai/chat/completions"): "chat",
    ("POST", "/v1beta/openai/embeddings"): "embeddings",
    ("GET", "/v1beta/openai/models"): "models",
    ("POST", "/v1/files"): "upload",
    ("POST", "/upload/v1beta/files"): "upload",
    ("POST", "/v1/batches"): "batch",
    ("GET", "/v1/batches"): "batches",
    ("POST", "/v1/messages/batches"): "batch",
    ("GET", "/v1/messages/batches"): "batches",
    ("GET", "/v1beta/batches"): "batches",
    ("POST", "/v1beta/interactions"): "interact",
}
# Places with the name of something in their path.
_NAMED: tuple[tuple[str, re.Pattern[str], Name], ...] = (
    ("GET", re.compile(r"/v1/files/([\w-]+)/content"), "file"),
    ("GET", re.compile(r"/v1beta/(files/[\w-]+):download"), "file"),
    ("GET", re.compile(r"/v1/batches/([\w-]+)"), "batch_of"),
    ("POST", re.compile(r"/v1/batches/([\w-]+)/cancel"), "batch_of"),
    ("GET", re.compile(r"/v1/messages/batches/([\w-]+)"), "batch_of"),
    ("POST", re.compile(r"/v1/messages/batches/([\w-]+)/cancel"), "batch_of"),
    ("GET", re.compile(r"/v1/messages/batches/([\w-]+)/results"), "results"),
    ("GET", re.compile(r"/v1beta/(batches/[\w-]+)"), "batch_of"),
    ("GET", re.compile(r"/v1beta/interactions/([\w-]+)"), "response"),
    ("POST", re.compile(r"/v1beta/interactions/([\w-]+)/cancel"), "response"),
    ("GET", re.compile(r"/v1/responses/([\w-]+)"), "response"),
    ("POST", re.compile(r"/v1/responses/([\w-]+)/cancel"), "response"),
)
_METHODS: dict[str, Name] = {
    "generateContent": "generate",
    "streamGenerateContent": "stream",
    "embedContent": "embed",
    "batchEmbedContents": "embed",
    "countTokens": "count",
    "batchGenerateContent": "batch",
    "asyncBatchEmbedContent": "batch",
    "predict": "predict",
    "predictLongRunning": "film",
}
_CALL = re.compile(r"/v1(?:beta)?/models/([^/:]+):([A-Za-z]+)")
_CARD = re.compile(r"/v1(?:beta(?:/openai)?)?/models/([^/:]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request arrived."""

    provider: Slug
    dialect: Slug  # of its bodies and errors
    name: Name | None  # None: nothing is here
    model: str | None = None  # as the path names it
    method: str = ""  # Gemini's, after the colon
    of: str = ""  # the name of what is wanted


def locate(ask: SandboxRequest, body_model: object) -> Place:
    """Find the place; a leading `/openai`, `/anthropic` or `/gemini` settles what the path alone leaves open."""
    path = ask.path
    named: Slug | None = None
    for slug in get_args(Slug):
        if path.startswith(f"/{slug}/"):
            named, path = slug, path.removeprefix(f"/{slug}")
    if (call := _CALL.fullmatch(path)) is not None:
        return Place("gemini", "gemini", _METHODS.get(call[2]), unquote(call[1]), call[2])
    provider = named or _guess(ask, path, body_model)
    if provider == "gemini":
        path = path.replace("/v1/", "/v1beta/", 1)  # what is there is in both versions
    name, model, of = _FIXED.get((ask.method, path)), None, ""
    if name is None and ask.method == "GET" and (card := _CARD.fullmatch(path)) is not None:
        name, model = "model", unquote(card[1])
    if name is None:
        for method, pattern, place in _NAMED:
            if method == ask.method and (found := pattern.fullmatch(path)) is not None:
                name, of = place, found[1]
    openai_style = name in ("chat", "responses", "embeddings") or "/openai/" in path
    return Place(provider, "openai" if openai_style else provider, name, model, of=of)


def _guess(ask: SandboxRequest, path: str, body_model: object) -> Slug:
    if path.startswith(("/v1beta/", "/upload/v1beta/")) or "x-goog-api-key" in ask.headers:
        return "gemini"
    claude = isinstance(body_model, str) and body_model.startswith("claude-")
    by_header = "x-api-key" in ask.headers or "anthropic-version" in ask.headers
    if path.startswith("/v1/messages") or by_header or claude:
        return "anthropic"
    return "openai"


def credential_of(ask: SandboxRequest, place: Place) -> tuple[str, str]:
    """The credential and where it was found; ("none", "") when there is none where this dialect looks."""
    bearer = ask.headers.get("authorization", "").partition(" ")
    if place.dialect == "gemini":
        if key := ask.headers.get("x-goog-api-key"):
            return "x-goog-api-key", key
        in_query = parse_qs(ask.query).get("key")
        return ("query", in_query[0]) if in_query else ("none", "")
    if place.dialect == "anthropic" and (key := ask.headers.get("x-api-key")):
        return "x-api-key", key
    if bearer[0].lower() == "bearer" and bearer[2]:
        return "authorization", bearer[2].strip()
    return "none", ""


def check(ask: SandboxRequest, place: Place, credential: str) -> None:
    """Refuse strangers, places that do not exist, and what Anthropic would refuse for its missing version."""
    if not credential:
        raise Refusal(401, "No API key was provided where this API expects it.")
    if not credential.startswith(CREDENTIAL_START):
        raise Refusal(401, f"The API key is not valid here: the sandbox takes keys that begin with {CREDENTIAL_START}.")
    if place.name is None:
        raise Refusal(404, f"Invalid URL ({ask.method} {ask.path[:200]})", code="unknown_url")
    if place.dialect == "anthropic" and "anthropic-version" not in ask.headers:
        raise Refusal(400, "anthropic-version: header is required")
