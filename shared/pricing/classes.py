"""Which classes of tokens may cost more than the class that they are part of, so that they need a rate of their own.

Without one, a class costs what its whole costs; for most that is right: reasoning is output, and a cache read without
a price is plain input. Sound and pictures are not: on models that are sold by it, a token of sound costs eight times
one of text. So their count is never charged at the rate of their whole in silence.

Not meant by that, because the providers' own pages give one price for all: what Gemini reads (a model that is dearer
for sound has that rate in the table), pictures that OpenAI's chat models read, and all that a model writes which is
made for sound or pictures only, as its name says.
"""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache

from shared.pricing.table import PROVIDER_IDS, current_models, find_model, units, units_by_usage_key

_MEDIA = frozenset({"audio", "image", "video"})
_WHOLES: tuple[tuple[str, dict[str, str]], ...] = tuple(
    (f"{direction}_tokens", {"family": "tokens", "direction": direction}) for direction in ("input", "output")
)
_BY_THEMSELVES = frozenset({"durations", "characters"})  # parts of no tokens, so that nothing else pays for them
_WRITES_ONE_KIND = re.compile(r"tts|image|nano-banana")

Dimensions = Mapping[str, str]


def dimensions_of(usage_key: str) -> Dimensions:
    """What a class counts; empty for one that no unit is known for."""
    unit = units_by_usage_key().get(usage_key)
    return {} if unit is None else unit.dimensions


def lies_within(narrow: Dimensions, wide: Dimensions) -> bool:
    """Whether one class says all that the other says of its tokens, and more."""
    return len(narrow) > len(wide) and wide.items() <= narrow.items()


def unrated(prices_id: str, model_id: str, rated: Collection[str]) -> frozenset[str]:
    """The usage keys that need a rate of their own and have none, of a model whose classes in `rated` have one."""
    if not rated:
        return frozenset()  # a free model
    known = [dimensions_of(key) for key in rated]
    unsaid = {key for key, whole in _WHOLES if not any(whole.items() <= rate.items() for rate in known)}
    return frozenset(
        key
        for key, dimensions in _demanding(prices_id)
        if not any(_speaks_for(rate, dimensions) for rate in known)
        and not (dimensions.get("direction") == "output" and _WRITES_ONE_KIND.search(model_id))
    ).union(unsaid)


@lru_cache(maxsize=8)
def _demanding(prices_id: str) -> tuple[tuple[str, Dimensions], ...]:
    return tuple((unit.key, unit.dimensions) for unit in units().values() if _needs_own(prices_id, unit.dimensions))


def _needs_own(prices_id: str, dimensions: Dimensions) -> bool:
    if dimensions["family"] != "tokens":
        return dimensions["family"] in _BY_THEMSELVES and dimensions.get("direction") != "output"
    kind = dimensions.get("modality")
    if dimensions["direction"] == "output":
        return kind in _MEDIA
    if dimensions.get("token_type") == "cache_write":
        # Written to a cache is dearer than read from the client with Anthropic, and for an hour dearer again.
        return prices_id == "anthropic" and kind is None
    return prices_id != "google" and kind == "audio" and dimensions.get("token_type") != "cache_read"


def _speaks_for(rate: Dimensions, wanted: Dimensions) -> bool:
    """Whether a rate tells of the very thing that makes a class demand one."""
    if not rate.items() <= wanted.items():
        return False
    if wanted.get("token_type") == "cache_write":
        return rate.get("token_type") == "cache_write" and (
            wanted.get("cache_ttl") != "1h" or rate.get("cache_ttl") == "1h"
        )
    return rate.get("modality") == wanted.get("modality")


@lru_cache(maxsize=64)
def dearest_of_provider(prices_id: str, usage_key: str) -> str | None:
    """The most that any current model of a provider asks for media or for what is no token; None: none has a rate.

    It stands in where a model reports such a class and has no rate for it: what one's own text costs says nothing.
    """
    wanted = dimensions_of(usage_key)
    is_text = wanted.get("family") == "tokens" and wanted.get("modality") not in _MEDIA
    if is_text or prices_id not in PROVIDER_IDS:
        return None
    found = [
        rate.base
        for name in current_models(prices_id)
        if (model := find_model(prices_id, name)) is not None
        for price_key, rate in model.prices[-1][1].items()
        if (unit := units().get(price_key)) is not None and _speaks_for(unit.dimensions, wanted)
    ]
    return str(max(found)) if found else None
