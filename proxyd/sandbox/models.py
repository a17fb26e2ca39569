"""Which models each provider of the sandbox has: those that genai-prices knows under its name."""

import re
from functools import lru_cache

from genai_prices.data_snapshot import get_snapshot

from proxyd.sandbox.invoice import PRICES_ID
from proxyd.sandbox.values import Slug

_BEGINNINGS: dict[Slug, tuple[str, ...]] = {
    "openai": ("gpt-", "o1", "o3", "o4", "chatgpt-", "text-embedding-"),
    "anthropic": ("claude-",),
    "gemini": ("gemini-", "gemma-"),
}
_PLAIN_NAME = re.compile(r"[a-z][a-z0-9.-]*[a-z0-9]")


@lru_cache(maxsize=10_000)
def exists(provider: Slug, model: str) -> bool:
    """Whether this provider has the model."""
    try:
        get_snapshot().find_provider_model(model, None, PRICES_ID[provider], None)
    except LookupError:
        return False
    return provider == "openai" or model.startswith(_BEGINNINGS[provider])


@lru_cache(maxsize=8)
def names(provider: Slug) -> tuple[str, ...]:
    """The models of a provider, sorted, without aliases."""
    table = next(entry for entry in get_snapshot().providers if entry.id == PRICES_ID[provider])
    plain = (model.id for model in table.models if _PLAIN_NAME.fullmatch(model.id))
    return tuple(sorted(name for name in plain if name.startswith(_BEGINNINGS[provider])))
