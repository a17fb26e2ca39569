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
    "gpt-35-turbo": 4_096,  # as Azure writes it
    "gpt-35-turbo-16k": 16_384,
    "gpt-chat-latest": 128_000,
    "chat-latest": 128_000,
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
    "gemini-pro-latest": 65_536,  # whatever is newest of its kind, and so its like
    "gemini-flash-latest": 65_536,
    "gemini-flash-lite-latest": 65_536,
    "gemini-live": 65_536,
    "gemini-omni": 65_536,
    "gemini-nano-banana": 65_536,
    "gemini-robotics-er-2": 65_536,
    "gemini-embedding": 0,
    "gemma-": 131_072,
}

_MAXIMA: dict[str, dict[str, int]] = {"openai": _OPENAI, "anthropic": _ANTHROPIC, "gemini": _GEMINI}
# What a provider takes as limit where that is less than the ceiling: with more, the request is refused. A row holds for
# the names that no longer row above has. Where those pages are silent: `max_output_tokens` of litellm's file (1.110).
_ACCEPTED: dict[str, dict[str, int]] = {
    "openai": {
        "gpt-3.5-turbo-16k": 4_096,
        "gpt-35-turbo-16k": 4_096,
        "gpt-4": 4_096,  # of a window of 8,192, which input and output share
        "gpt-4-32k": 4_096,
        "gpt-4o-2024-05-13": 4_096,
        "gpt-5-chat": 16_384,
        "gpt-5.1-chat": 16_384,
        "gpt-5.2-chat": 16_384,
        "gpt-5.3-chat": 16_384,
        "gpt-chat-latest": 16_384,  # whatever is newest of these
        "chat-latest": 16_384,
        "computer-use": 1_024,
    },
    "anthropic": {
        "claude-v1": 4_096,
        "claude-2": 4_096,
        "claude-3-7": 64_000,  # 128,000 are taken beside the header `anthropic-beta: output-128k-2025-02-19` alone
    },
    "gemini": {
        # https://ai.google.dev/gemini-api/docs/generate-content/latest-model: more than that runs in the background.
        "gemini-4": 65_536,
        "gemini-2.5-flash-preview-tts": 16_384,
        "gemini-2.5-flash-tts": 16_384,
        "gemini-2.5-flash-lite-preview-tts": 16_384,
        "gemini-2.5-pro-preview-tts": 16_384,
        "gemini-2.5-pro-tts": 16_384,
        "gemini-3.1-flash-tts": 16_384,
        "gemini-3.8-flash-tts": 16_384,
        "gemini-3.8-flash-lite-tts": 16_384,
        "gemini-2.5-flash-image": 32_768,
        "gemini-2.5-flash-native-audio": 8_192,
        "gemini-3-pro-image": 32_768,
        "gemini-3.1-flash-image": 32_768,
        "gemini-3.1-flash-lite-image": 4_096,
        "gemini-nano-banana": 32_768,
        "gemma-3": 8_192,
        "gemma-4": 32_768,
    },
}
_KNOWN_TO_BE_TAKEN = {slug: {**maxima, **_ACCEPTED[slug]} for slug, maxima in _MAXIMA.items()}


@lru_cache(maxsize=4_096)
def output_maximum(provider_slug: str, model: str) -> int | None:
    """The most output tokens of one answer (one choice) of a model; None when the table does not know it."""
    return _of_longest_prefix(_MAXIMA.get(provider_slug, {}), model)


@lru_cache(maxsize=4_096)
def accepted_limit(provider_slug: str, model: str) -> int:
    """The largest output limit of which is known that the provider takes it for a model: for whoever has to set one."""
    return _of_longest_prefix(_KNOWN_TO_BE_TAKEN.get(provider_slug, {}), model) or ANY_MODEL


def _of_longest_prefix(table: dict[str, int], model: str) -> int | None:
    name = model.lower()
    best = max((prefix for prefix in table if name.startswith(prefix)), key=len, default=None)
    return None if best is None else table[best]
