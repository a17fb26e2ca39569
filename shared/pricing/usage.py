"""Token classes out of a provider's usage object, by the extraction tables of genai-prices.

The tables say which field is which class; the reading itself is our own, because a provider's figures are input like
any other: null, negative, textual, fractional or absurd ones must neither crash nor make anything cheaper. A total
that cannot be read makes the whole reading fail, and the caller estimates; a detail that cannot be read is left out
and flagged. Figures of a class that the tables do not know are counted as `unknown_input_tokens` and
`unknown_output_tokens`, which cost the dearest rate.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ArrayMatch, UsageExtractor

from shared.pricing.cost import MAX_COUNT

# Sums of other fields, or parts that cost what their whole costs.
_PLAIN = frozenset(
    {
        "total_tokens",
        "totalTokenCount",
        "text_tokens",
        "accepted_prediction_tokens",
        "rejected_prediction_tokens",
        "web_fetch_requests",
    }
)
# Where the tables of 0.2.3 lag behind what OpenAI reports.
_EXTRA: dict[tuple[str, str], tuple[tuple[tuple[str, ...], str], ...]] = {
    ("openai", "chat"): ((("prompt_tokens_details", "image_tokens"), "input_image_tokens"),),
    ("openai", "responses"): ((("input_tokens_details", "image_tokens"), "input_image_tokens"),),
}
_OUTPUT_WORDS = ("output", "completion", "candidate", "thought", "reasoning")
_MODALITIES = frozenset({"TEXT", "AUDIO", "IMAGE", "DOCUMENT", "VIDEO", "MODALITY_UNSPECIFIED"})


@dataclass(slots=True)  # not frozen: that would double what making one costs, once a request
class UsageReading:
    """Counts by usage key. `unknown`: something was there that could not be read or classed."""

    counts: dict[str, int]
    unknown: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """An extraction table, sorted by how deep it has to look."""

    totals: tuple[tuple[str, str, bool], ...]  # field, usage key, required
    parts: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]  # field of an object -> (field in it, usage key)
    lists: tuple[tuple[str, tuple[tuple[Callable[[str], bool], str], ...]], ...]  # field -> (modality test, usage key)
    known: frozenset[str]
    known_parts: Mapping[str, frozenset[str]]


def read_usage(prices_id: str, flavor: str, usage: object) -> UsageReading | None:
    """Read a usage object (the content of `usage` or `usageMetadata`). None: there is none, or its totals are junk."""
    if not isinstance(usage, dict) or not usage:
        return None
    plan = _plan(prices_id, flavor)
    counts: dict[str, int] = {}
    get = usage.get
    for field, key, required in plan.totals:
        value = get(field)
        if value is None:
            if required:
                return None
            continue
        if type(value) is not int or not 0 <= value <= MAX_COUNT:
            value = _count(value)
            if value is None:
                return None
        counts[key] = counts[key] + value if key in counts else value
    if not _balance(usage, counts):
        return None
    unknown = False
    for field, entries in plan.parts:
        if (part := get(field)) is not None:
            unknown |= _read_part(field, part, entries, plan.known_parts[field], counts)
    for field, matchers in plan.lists:
        if (details := get(field)) is not None:
            unknown |= _read_list(field, details, matchers, counts)
    if not plan.known.issuperset(usage):
        unknown |= _add_unknown(usage, usage.keys() - plan.known, counts)
    return UsageReading(counts, unknown)


def load() -> None:
    """Read the tables now that the first answer would wait for: they take some 40 ms."""
    get_snapshot()


def _count(value: object) -> int | None:
    """A whole number of tokens, or None for everything that is none."""
    if type(value) is int:
        return value if 0 <= value <= MAX_COUNT else None
    if isinstance(value, float) and value.is_integer():
        return int(value) if 0 <= value <= MAX_COUNT else None
    return None


def _balance(usage: Mapping[str, Any], counts: dict[str, int]) -> bool:
    """Tokens that only the total knows are output: Gemini leaves its thoughts out of `completion_tokens`.

    False when there is neither input nor a total, so that nothing can be told.
    """
    total = usage["total_tokens"] if "total_tokens" in usage else usage.get("totalTokenCount")
    if type(total) is not int or not 0 <= total <= MAX_COUNT:
        total = _count(total)
    if total is not None and ("output_tokens" in counts or "totalTokenCount" in usage):
        hidden = total - counts.get("input_tokens", 0) - counts.get("output_tokens", 0)
        if hidden > 0:
            counts["output_tokens"] = counts.get("output_tokens", 0) + hidden
    return "input_tokens" in counts or total is not None


def _read_part(
    field: str, part: object, entries: tuple[tuple[str, str], ...], known: frozenset[str], counts: dict[str, int]
) -> bool:
    if not isinstance(part, dict):
        return True
    unknown = False
    for name, key in entries:
        value = part.get(name)
        if value is None:
            continue
        if type(value) is not int or not 0 <= value <= MAX_COUNT:
            value = _count(value)
            if value is None:
                unknown = True
                continue
        counts[key] = counts[key] + value if key in counts else value
    if not known.issuperset(part):
        unknown |= _unknown_parts(field, part, known, counts)
    return unknown


def _unknown_parts(field: str, part: Mapping[str, Any], known: frozenset[str], counts: dict[str, int]) -> bool:
    unknown = False
    for name in part.keys() - known:
        value = part[name]
        if isinstance(value, int | float) and value > 0:
            unknown = True
            if name.endswith("_tokens"):
                _add(counts, _unknown_key(field), _count(value) or 0)
        elif isinstance(value, dict) and _count(value.get("ttl_12h_tokens")):
            unknown = True  # OpenAI's longer cache retention costs more, but genai-prices has no price for it
    return unknown


def _read_list(
    field: str, details: object, matchers: tuple[tuple[Callable[[str], bool], str], ...], counts: dict[str, int]
) -> bool:
    if not isinstance(details, list):
        return True
    unknown = False
    seen: set[str] = set()
    for detail in details:
        modality = detail.get("modality") if isinstance(detail, dict) else None
        if not isinstance(modality, str) or modality in seen:
            unknown = True
            continue
        seen.add(modality)
        count = _count(detail.get("tokenCount", 0))
        if count is None:
            unknown = True
        elif modality not in _MODALITIES:
            unknown = True
            _add(counts, _unknown_key(field), count)
        else:
            for matches, key in matchers:
                if matches(modality):
                    _add(counts, key, count)
    return unknown


def _add_unknown(usage: Mapping[str, Any], fields: set[str], counts: dict[str, int]) -> bool:
    """Top-level figures of a class nobody knows come on top of the others, as cache classes once did."""
    unknown = False
    for field in fields:
        value = usage[field]
        lowered = field.lower()
        if lowered.endswith(("_tokens", "tokencount")) and isinstance(value, int | float) and value > 0:
            unknown = True
            count = _count(value) or 0
            _add(counts, _unknown_key(field), count)
            _add(counts, "output_tokens" if "output" in _unknown_key(field) else "input_tokens", count)
    return unknown


def _unknown_key(field: str) -> str:
    is_output = any(word in field.lower() for word in _OUTPUT_WORDS)
    return "unknown_output_tokens" if is_output else "unknown_input_tokens"


def _add(counts: dict[str, int], key: str, count: int) -> None:
    counts[key] = counts.get(key, 0) + count


@lru_cache(maxsize=32)
def _plan(prices_id: str, flavor: str) -> _Plan:
    """Sort an extraction table."""
    extractor = _extractor(prices_id, flavor)
    if extractor is None:
        raise ValueError(f"genai-prices has no extraction table {flavor!r} for {prices_id!r}")
    totals: list[tuple[str, str, bool]] = []
    parts: dict[str, list[tuple[str, str]]] = {}
    lists: dict[str, list[tuple[Callable[[str], bool], str]]] = {}
    for mapping in extractor.mappings:
        path = (mapping.path,) if isinstance(mapping.path, str) else tuple(mapping.path)
        head = path[0]
        if not isinstance(head, str):
            raise TypeError(f"genai-prices has a new kind of path: {path!r}")
        if len(path) == 1:
            totals.append((head, mapping.dest, mapping.required))
        elif isinstance(path[1], ArrayMatch):
            lists.setdefault(head, []).append((path[1].match.is_match, mapping.dest))
        else:
            parts.setdefault(head, []).append((path[1], mapping.dest))
    for extra_path, key in _EXTRA.get((prices_id, flavor), ()):
        if not any(name == extra_path[1] for name, _ in parts[extra_path[0]]):
            parts[extra_path[0]].append((extra_path[1], key))
    known = frozenset({field for field, _, _ in totals} | parts.keys() | lists.keys())
    return _Plan(
        totals=tuple(totals),
        parts=tuple((field, tuple(entries)) for field, entries in parts.items()),
        lists=tuple((field, tuple(entries)) for field, entries in lists.items()),
        known=known | _PLAIN,
        known_parts={field: frozenset(name for name, _ in entries) | _PLAIN for field, entries in parts.items()},
    )


def _extractor(prices_id: str, flavor: str) -> UsageExtractor | None:
    table = next(provider for provider in get_snapshot().providers if provider.id == prices_id)
    return next((e for e in table.extractors or () if e.api_flavor == flavor), None)
