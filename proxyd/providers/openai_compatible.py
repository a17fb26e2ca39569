"""What a request in OpenAI's dialect means to another server that speaks it and goes by rules of its own.

Sources: the API references of OpenRouter (openrouter.ai/docs/api-reference), LiteLLM (docs.litellm.ai/docs/proxy) and
vLLM (docs.vllm.ai, "OpenAI-Compatible Server"), and what llama.cpp's server does without `max_tokens`.
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from proxyd.providers.base import Elsewhere, Parsed
from shared.catalog import Kind
from shared.pricing import Size

KINDS = (Kind.CHAT, Kind.COMPLETIONS, Kind.EMBEDDINGS, Kind.RESPONSES)
# Fields by which gateways choose other models than `model`, or add what they bill for.
STEERING = ("models", "route", "plugins", "preset", "fallbacks")


def adapted(parsed: Parsed) -> Parsed:
    """A request as a server of one's own understands it."""
    elsewhere = parsed.elsewhere or elsewhere_of(parsed.kind, parsed.document, parsed.size)
    return replace(parsed, size=elsewhere.size, elsewhere=elsewhere)


def elsewhere_of(kind: Kind, document: Mapping[str, Any], size: Size) -> Elsewhere:
    """The size of a body that was read as OpenAI's, by the whole document, and the field that may change its model."""
    if kind is Kind.COMPLETIONS and document.get("max_tokens") is None:
        size = replace(size, output_limit=None)  # OpenAI's own limit is nobody else's: they write until they are done
    elif kind is Kind.EMBEDDINGS and not _is_plain(document.get("input")):
        size = replace(size, context_inputs=True)
    steering = next((name for name in STEERING if document.get(name) is not None), None)
    return Elsewhere(size, steering)


def _is_plain(given: object) -> bool:
    """Text or tokens, one or a list: not an image by its address, nor a field that OpenAI does not know."""
    if isinstance(given, str):
        return True
    return isinstance(given, list) and all(
        isinstance(one, str | int) or (isinstance(one, list) and all(isinstance(token, int) for token in one))
        for one in given
    )
