"""The most tokens one answer of a model can have: a safety ceiling, not a promise.

When a client sets no output limit, this number times the output price is what its request could cost. So a number
here errs upwards: too high holds more money for a while, too low would let a request cost more than was held. The
longest prefix of a model's name wins. Sources: the model pages of developers.openai.com, platform.claude.com and
ai.google.dev; a model that none of the rows knows has no ceiling of its own, and `UNKNOWN_MODEL` applies.
"""

from functools import lru_cache

UNKNOWN_MODEL = 128_000  # what the large models of all three providers are sold with
ANY_MODEL = 4_096  # what every model that is sold takes as its limit

_OPENAI = {
    "gpt-3.5": 4_096,
    "gpt-3.5-turbo-16k": 16_384,
    "ft:gpt-3.5": 4_096,
    "gpt-4": 8_192,
    "gpt-4-32k": 32_768,
    "gpt-4-turbo": 4_096,
    "gpt-4-0125": 4_096,
    "gpt-4-1106": 4_096,
    "gpt-4-vision": 4_096,
    "gpt-4.1": 32_768,
    "ft:gpt-4.1": 32_768,
    "gpt-4.5": 16_384,
    "gpt-4o": 16_384,
    "gpt-4o:extended": 65_536,
    "gpt-4o-transcribe": 2_000,
    "gpt-4o-mini-transcribe": 2_000,
    "gpt-4o-realtime": 4_096,
    "gpt-4o-mini-realtime": 4_096,
    "gpt-realtime": 4_096,
    "gpt-realtime-2": 32_000,
    "gpt-realtime-2025": 4_096,  # the first one, by its date
    "ft:gpt-4o": 16_384,
    "ft:o4-mini": 100_000,
    "gpt-5": 128_000,
    "gpt-5-pro": 272_000,
    "gpt-6": 128_000,
    "gpt-audio": 16_384,
    "gpt-oss": 131_072,
    "chatgpt-4o": 16_384,
    "o1": 100_000,
    "o1-mini": 65_536,
    "o1-preview": 32_768,
    "o3": 100_000,
    "o4-mini": 100_000,
    "codex-mini": 100_000,
    "text-embedding": 0,
}

_ANTHROPIC = {
    "claude-v1": 8_192,
    "claude-2": 8_192,
    "claude-3-haiku": 4_096,
    "claude-3-sonnet": 4_096,
    "claude-3-opus": 4_096,
    "claude-3-5": 8_192,
    "claude-3-7": 128_000,  # with a beta header; see `_ACCEPTED`
    "claude-haiku-4": 64_000,
    "claude-sonnet-4": 64_000,
    "claude-sonnet-4-6": 128_000,
    "claude-opus-4": 64_000,
    "claude-opus-4-0": 32_000,
    "claude-opus-4-1": 32_000,
    "claude-opus-4-2025": 32_000,
    "claude-opus-4-6": 128_000,
    "claude-opus-4-7": 128_000,
    "claude-opus-4-8": 128_000,
    "claude-haiku-5": 128_000,
    "claude-sonnet-5": 128_000,
    "claude-opus-5": 128_000,
    "claude-fable-5": 128_000,
    "claude-mythos-5": 128_000,
}

_GEMINI = {
    "gemini-1": 8_192,
    "gemini-2.0": 8_192,
    "gemini-2.5": 65_536,
    "gemini-3": 65_536,
    "gemini-4": 131_072,
    "gemini-flash-1": 8_192,
    "gemini-pro": 8_192,
    "gemini-embedding": 0,
    "gemma-": 131_072,
}

_MAXIMA: dict[str, dict[str, int]] = {"openai": _OPENAI, "anthropic": _ANTHROPIC, "gemini": _GEMINI}
# What a provider takes as limit where that is less than the ceiling: with more, the request is refused.
_ACCEPTED: dict[str, dict[str, int]] = {
    "openai": {"gpt-4o-2024-05-13": 4_096},
    "anthropic": {
        "claude-v1": 4_096,
        "claude-2": 4_096,
        "claude-3-7": 64_000,  # 128,000 are taken beside the header `anthropic-beta: output-128k-2025-02-19` alone
    },
}


@lru_cache(maxsize=4_096)
def output_maximum(provider_slug: str, model: str) -> int | None:
    """The most output tokens of one answer (one choice) of a model; None when the table does not know it."""
    return _of_longest_prefix(_MAXIMA.get(provider_slug, {}), model)


@lru_cache(maxsize=4_096)
def accepted_limit(provider_slug: str, model: str) -> int:
    """The largest output limit of which is known that the provider takes it for a model: for whoever has to set one."""
    accepted = _of_longest_prefix(_ACCEPTED.get(provider_slug, {}), model)
    return accepted or output_maximum(provider_slug, model) or ANY_MODEL


def _of_longest_prefix(table: dict[str, int], model: str) -> int | None:
    name = model.lower()
    best = max((prefix for prefix in table if name.startswith(prefix)), key=len, default=None)
    return None if best is None else table[best]
