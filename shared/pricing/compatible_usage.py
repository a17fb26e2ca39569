"""How servers that speak OpenAI's dialect tell what of their input was read from a cache, in fields of their own.

Sources: DeepSeek's "Context Caching" (api-docs.deepseek.com/guides/kv_cache: hits and misses are all of the input), the
usage in Moonshot's API reference (`cached_tokens`), and vLLM's name for it (`num_cached_tokens`).
Other figures of theirs come on top: Perplexity leaves `citation_tokens` and `reasoning_tokens` out of its total.
"""

from collections.abc import Mapping
from typing import Any

from shared.pricing.figures import whole

_READ = frozenset({"prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens"})
_PARTS = _READ | {"prompt_cache_miss_tokens"}


def parts_of_input(usage: Mapping[str, Any], counts: Mapping[str, int]) -> dict[str, int]:
    """The fields of a usage that are parts of its input, and how many tokens of each were read from a cache.

    `counts` has the input and the output by usage key. Empty unless the total is their sum: then nothing is on top.
    """
    given = counts.get("input_tokens", 0)
    if whole(usage.get("total_tokens")) != given + counts.get("output_tokens", 0):
        return {}
    found = {field: whole(usage[field]) for field in _PARTS & usage.keys()}
    return {
        field: count if field in _READ else 0 for field, count in found.items() if count is not None and count <= given
    }
