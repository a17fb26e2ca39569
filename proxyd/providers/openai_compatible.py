"""What a request in OpenAI's dialect means to another server that speaks it and goes by rules of its own.

Sources: the API references of OpenRouter (openrouter.ai/docs/api-reference), LiteLLM (docs.litellm.ai/docs/proxy), xAI
(docs.x.ai, "Live Search") and vLLM (docs.vllm.ai, "OpenAI-Compatible Server"), and of llama.cpp's server what it does
without `max_tokens`, and that `n_predict` beats it (tools/server/server-common.cpp).
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
    elif kind is Kind.EMBEDDINGS:
        size = replace(size, separate_windows=_unseen(document.get("input")))
    if (name := _unbounded(document, size.output_limit)) is not None:
        size = replace(size, unpriced=size.unpriced or name, unbounded=size.unbounded or name)
    steering = next((name for name in STEERING if document.get(name) is not None), None)
    return Elsewhere(size, steering)


def _unbounded(document: Mapping[str, Any], limit: int | None) -> str | None:
    """A field that adds searches, each of them with a fee, or takes the place of the output limit; None: there is none.

    `limit` is that of the request, to which `n_predict` may be equal at most.
    """
    search, predict = document.get("search_parameters"), document.get("n_predict")
    if search is not None and not (isinstance(search, dict) and search.get("mode") == "off"):
        return "search_parameters"
    if predict is None or (limit is not None and type(predict) is int and 0 <= predict <= limit):
        return None
    return "n_predict"


def _unseen(given: object) -> int:
    """How many inputs there are that are neither text nor tokens, but an image by its address or what OpenAI lacks.

    One may stand for a list of them. In a list within the list whatever is no token is one.
    """
    if not isinstance(given, list):
        return int(not isinstance(given, str))
    inner = [part for one in given if isinstance(one, list) for part in one]
    return sum(not isinstance(one, str | int | list) for one in given) + sum(not isinstance(one, int) for one in inner)
