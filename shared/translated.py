"""Where the endpoints lead whose provider is chosen by the model, and which of them another dialect is spoken behind.

Data only; what is translated, and how, is `proxyd.translation`'s.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

from shared.catalog import PROVIDERS, Kind, Provider, provider_of_model

# Gemini's methods, at whose address the model stands.
GENERATE_PATHS: Mapping[str, str] = {
    name: f"/v1beta/models/{{model}}:{name}" for name in ("generateContent", "streamGenerateContent")
}
BY_MODEL: Mapping[str, Kind] = {
    "/v1/chat/completions": Kind.CHAT,
    "/v1/embeddings": Kind.EMBEDDINGS,
    "/v1/completions": Kind.COMPLETIONS,
    "/v1/responses": Kind.RESPONSES,
    "/v1/messages": Kind.MESSAGES,
    GENERATE_PATHS["generateContent"]: Kind.GENERATE,
    GENERATE_PATHS["streamGenerateContent"]: Kind.GENERATE_STREAM,
}
# Who is asked at these for a model that nobody is known to have. At the second none of the other built-in ones answers,
# so that models are not told apart by their names, but for those of an organisation's own providers.
FALLBACKS: Mapping[str, str] = {"/v1/messages": "anthropic", "/v1/completions": "openai"}
OWN_ALONE = ("/v1/completions",)
# Who is asked at Gemini's addresses for a model with a slash, if a gateway is where it is: its own has none such.
GATEWAY_FALLBACK = "gemini"
# Where a request of this kind goes when its model is this provider's. What is not here goes to the provider's endpoint
# of the caller's own dialect: Gemini's for chat completions does all that could be translated.
TRANSLATED: Mapping[tuple[Kind, str], str] = {
    (Kind.MESSAGES, "openai"): "/v1/chat/completions",
    (Kind.MESSAGES, "gemini"): "/v1beta/openai/chat/completions",
    (Kind.CHAT, "anthropic"): "/v1/messages",
    (Kind.RESPONSES, "anthropic"): "/v1/messages",
    (Kind.RESPONSES, "gemini"): "/v1beta/openai/chat/completions",
    (Kind.GENERATE, "openai"): "/v1/chat/completions",
    (Kind.GENERATE, "anthropic"): "/v1/messages",
    (Kind.GENERATE_STREAM, "openai"): "/v1/chat/completions",
    (Kind.GENERATE_STREAM, "anthropic"): "/v1/messages",
}

# A model's name with slashes and colons as they are, as Google's SDKs send them, or as who escapes names does. Of RFC
# 3986 all characters that need no escape, but for the semicolon.
_PIECE = r"[A-Za-z0-9@_](?:[A-Za-z0-9._~:@!$&'()*+,=-]|%3[Aa])*"
_NAME = re.compile(rf"{_PIECE}(?:(?:/|%2[Ff]){_PIECE})*")
_IN_PATH = re.compile(r"/(v1(?:beta|alpha)?)/models/(.+):([A-Za-z]+)")
_GEMINIS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,199}")  # a name that its own endpoints are found by


class ModelInPath(NamedTuple):
    """What an address of Gemini's dialect says."""

    model: str  # as it was written
    path: str | None  # one of `BY_MODEL`, or Gemini's own for a model of its own; None: nothing is there
    detail: str  # what is told then


def model_in_path(path: str) -> ModelInPath | None:
    """An address of Gemini's whose model has a provider before it, or can only be another one's.

    None: it is Gemini's as it stands. So is a model without a provider that nobody is known to have.
    """
    found = _IN_PATH.fullmatch(path)
    if found is None:
        return None
    version, written, method = found.groups()
    model, generates = unquote(written), method in GENERATE_PATHS
    slug, bare = provider_of_model(model) or ("", "")
    if slug == "gemini" and model == bare:
        return None
    if "/" not in model and not (slug and generates):
        return None  # Gemini has embeddings whose names begin as OpenAI's do
    if not _NAME.fullmatch(written) or (slug == "gemini" and not _GEMINIS.fullmatch(bare)):
        return ModelInPath(model, None, "what stands before the method is no model's name.") if generates else None
    if slug == "gemini":
        return ModelInPath(model, f"/{version}/models/{bare}:{method}", "")
    detail = f"{model} is a model of another provider than Gemini, for which {method} is not translated. "
    return ModelInPath(model, GENERATE_PATHS.get(method), f"{detail}{' and '.join(GENERATE_PATHS)} are.")


def spoken_as(slug: str) -> str:
    """The provider whose ways of translation are those of `slug`: an organisation's own speaks OpenAI's dialect."""
    return slug if slug in PROVIDERS else "openai"


def path_by_model(path: str, provider: Provider) -> str:
    """The provider's own path for one of `BY_MODEL`, which it may not have."""
    translated = TRANSLATED.get((BY_MODEL[path], spoken_as(provider.slug)))
    return translated or f"{provider.compat_prefix or '/v1'}{path.removeprefix('/v1')}"
