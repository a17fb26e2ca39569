"""Where the endpoints lead whose provider is chosen by the model, and which of them another dialect is spoken behind.

Data only; what is translated, and how, is `proxyd.translation`'s.
"""

from collections.abc import Mapping

from shared.catalog import PROVIDERS, Kind, Provider

BY_MODEL: Mapping[str, Kind] = {
    "/v1/chat/completions": Kind.CHAT,
    "/v1/embeddings": Kind.EMBEDDINGS,
    "/v1/completions": Kind.COMPLETIONS,
    "/v1/responses": Kind.RESPONSES,
    "/v1/messages": Kind.MESSAGES,
}
# Who is asked at these for a model that nobody is known to have. At the second none of the other built-in ones answers,
# so that models are not told apart by their names, but for those of an organisation's own providers.
FALLBACKS: Mapping[str, str] = {"/v1/messages": "anthropic", "/v1/completions": "openai"}
OWN_ALONE = ("/v1/completions",)
# Where a request of this kind goes when its model is this provider's. What is not here goes to the provider's endpoint
# of the caller's own dialect: Gemini's for chat completions does all that could be translated.
TRANSLATED: Mapping[tuple[Kind, str], str] = {
    (Kind.MESSAGES, "openai"): "/v1/chat/completions",
    (Kind.MESSAGES, "gemini"): "/v1beta/openai/chat/completions",
    (Kind.CHAT, "anthropic"): "/v1/messages",
    (Kind.RESPONSES, "anthropic"): "/v1/messages",
    (Kind.RESPONSES, "gemini"): "/v1beta/openai/chat/completions",
}


def spoken_as(slug: str) -> str:
    """The provider whose ways of translation are those of `slug`: an organisation's own speaks OpenAI's dialect."""
    return slug if slug in PROVIDERS else "openai"


def path_by_model(path: str, provider: Provider) -> str:
    """The provider's own path for one of `BY_MODEL`, which it may not have."""
    translated = TRANSLATED.get((BY_MODEL[path], spoken_as(provider.slug)))
    return translated or f"{provider.compat_prefix or '/v1'}{path.removeprefix('/v1')}"
