"""Token classes out of a provider's usage object, by the extraction tables of the price table.

The tables say which field is which class; the reading itself is our own, because a provider's figures are input like
any other: null, negative, textual, fractional or absurd ones must neither crash nor make anything cheaper. A total
that cannot be read makes the whole reading fail, and the caller estimates; a detail that cannot be read is left out
and flagged.

This is the one place where something is noticed that nobody here knows. Figures of a class that the tables do not know,
wherever they stand (a field, a part of an object, an entry of a list, a whole list), are counted as
`unknown_input_tokens` and `unknown_output_tokens`, which cost the dearest known rate of their direction, and flag the
row.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

from shared.pricing import table
from shared.pricing.compatible_usage import parts_of_input
from shared.pricing.figures import MAX_COUNT, is_absurd_within, larger, makes_no_sense, whole

__all__ = ["MAX_COUNT", "UsageReading", "larger", "makes_no_sense", "read_usage"]

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
# Read by the dialect itself, because other models take part in them.
_ELSEWHERE = frozenset({"iterations", "fallback_credit"})
# Where the tables of 0.2.3 lag behind what OpenAI reports.
_EXTRA: dict[tuple[str, str], tuple[tuple[tuple[str, ...], str], ...]] = {
    ("openai", "chat"): ((("prompt_tokens_details", "image_tokens"), "input_image_tokens"),),
    ("openai", "responses"): ((("input_tokens_details", "image_tokens"), "input_image_tokens"),),
    ("openai", "images"): (
        (("cached_tokens",), "cache_read_tokens"),
        (("cached_tokens_details", "cached_image_tokens"), "cache_image_read_tokens"),
        (("cached_tokens_details", "cached_text_tokens"), "cache_text_read_tokens"),
    ),
}
_OUTPUT_WORDS = ("output", "completion", "candidate", "thought", "reasoning")
_MEDIA_WORDS = ("audio", "image", "video")
_MODALITIES = frozenset({"TEXT", "AUDIO", "IMAGE", "DOCUMENT", "VIDEO", "MODALITY_UNSPECIFIED"})


class UsageReading(Struct, frozen=True):
    """Counts by usage key. `unknown`: something could not be read or classed; `clamped`: a figure was absurd."""

    counts: dict[str, int]
    unknown: bool
    clamped: bool = False


class _Plan(Struct, frozen=True):
    """An extraction table, sorted by how deep it has to look."""

    totals: tuple[tuple[str, str, bool], ...]  # field, usage key, required
    parts: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]  # field of an object -> (field in it, usage key)
    lists: tuple[tuple[str, tuple[tuple[Callable[[str], bool], str], ...]], ...]  # field -> (modality test, usage key)
    list_fields: Mapping[str, tuple[tuple[Callable[[str], bool], str], ...]]  # the same by field
    known: frozenset[str]
    known_parts: Mapping[str, frozenset[str]]


def read_usage(prices_id: str, flavor: str, usage: object) -> UsageReading | None:
    """Read a usage object (the content of `usage` or `usageMetadata`). None: there is none, or its totals are junk."""
    if not isinstance(usage, dict) or not usage:
        return None
    plan = _plan(prices_id, flavor)
    counts: dict[str, int] = {}
    is_known = plan.known.issuperset(usage)
    if not is_known:
        usage = _with_lists_of_one_name(plan, usage)
    get = usage.get
    for field, key, required in plan.totals:
        value = get(field)
        if value is None:
            if required:
                return None
            continue
        if type(value) is not int or not 0 <= value <= MAX_COUNT:
            value = whole(value)
            if value is None:
                return None
        counts[key] = counts[key] + value if key in counts else value
    named = {} if is_known else parts_of_input(usage, counts)
    if not _balance(usage, counts):
        return None
    unknown = False
    for field, entries in plan.parts:
        if (part := get(field)) is not None:
            unknown |= _read_part(field, part, entries, plan.known_parts[field], counts)
    for field, matchers in plan.lists:
        if (details := get(field)) is not None:
            unknown |= _read_list(field, details, matchers, counts)
    if not is_known:
        unknown |= _read_others(plan, usage, named, counts)
    return UsageReading(counts, True, is_absurd_within(usage)) if unknown else UsageReading(counts, False)


def _balance(usage: Mapping[str, Any], counts: dict[str, int]) -> bool:
    """Tokens that only the total knows are output: Gemini leaves its thoughts out of `completion_tokens`.

    False when there is neither input nor a total nor a duration, so that nothing can be told.
    """
    total = usage["total_tokens"] if "total_tokens" in usage else usage.get("totalTokenCount")
    if type(total) is not int or not 0 <= total <= MAX_COUNT:
        total = whole(total)
    if total is not None and ("output_tokens" in counts or "totalTokenCount" in usage):
        hidden = total - counts.get("input_tokens", 0) - counts.get("output_tokens", 0)
        if hidden > 0:
            counts["output_tokens"] = counts.get("output_tokens", 0) + hidden
    return "input_tokens" in counts or total is not None or "audio_seconds" in counts


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
            value = whole(value)
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
        if (isinstance(value, int | float) and value > 0) or whole(value):
            unknown = True
            if name.endswith("_tokens"):
                _add(counts, _unknown_key(f"{field}.{name}"), whole(value) or 0)
        elif name == "cache_write_tokens_details" and isinstance(value, dict):
            # OpenAI's longer cache retention costs more, and the table has no price for it.
            unknown |= bool(whole(value.get("ttl_12h_tokens")))
        elif isinstance(value, dict | list):
            unknown |= _add_parts(f"{field}.{name}", value, counts)
    return unknown


def _read_list(
    field: str, details: object, matchers: tuple[tuple[Callable[[str], bool], str], ...], counts: dict[str, int]
) -> bool:
    """One entry may stand for a list of them. What an entry that cannot be read was of is of an unknown class."""
    unknown = unread = False
    told = 0
    for detail in details if isinstance(details, list) else (details,):
        count = whole(detail.get("tokenCount", 0)) if isinstance(detail, dict) else None
        if not isinstance(detail, dict) or count is None:
            unread = True
            continue
        told += count
        modality = detail.get("modality")
        if not isinstance(modality, str) or modality not in _MODALITIES:
            unknown = True
            _add(counts, _unknown_key(field), count)
            continue
        for matches, key in matchers:
            if matches(modality):
                _add(counts, key, count)
    if unread:
        key = _unknown_key(field)
        whole_key = "cache_read_tokens" if field.startswith("cache") else key.removeprefix("unknown_")
        _add(counts, key, max(0, counts.get(whole_key, 0) - told))
    return unknown or unread


def _with_lists_of_one_name(plan: _Plan, usage: dict[str, Any]) -> dict[str, Any]:
    """Usage in which a list whose name is that of a known one but for a letter is that one.

    Gemini's embeddings write `promptTokenDetails` (https://ai.google.dev/api/embeddings). Where both are told, of each
    modality the larger figure counts.
    """
    for field in usage.keys() - plan.known:
        name = field.replace("TokenDetails", "TokensDetails")
        if name in plan.list_fields:
            lists = [
                {name: value if isinstance(value, list) else [value]}
                for value in (usage.get(name), usage[field])
                if value is not None
            ]
            merged = larger(*lists) if len(lists) == 2 else lists[0] if lists else {}
            usage = {**{key: value for key, value in usage.items() if key != field}, **merged}
    return usage


def _read_others(plan: _Plan, usage: Mapping[str, Any], named: Mapping[str, int], counts: dict[str, int]) -> bool:
    if named:
        counts["cache_read_tokens"] = max(*named.values(), counts.get("cache_read_tokens", 0))
    return sum(_add_unknown(field, usage[field], counts) for field in usage.keys() - plan.known - named.keys()) > 0


def _add_unknown(field: str, value: object, counts: dict[str, int]) -> bool:
    """A field that the tables do not know.

    A figure comes on top of the others, as cache classes once did. An object or a list tells parts of a whole that is
    counted already.
    """
    if isinstance(value, dict | list):
        return _add_parts(field, value, counts)
    count = whole(value)
    if not _is_tokens(field) or not isinstance(value, int | float | str) or isinstance(value, bool):
        return False
    if count:
        _add(counts, _unknown_key(field), count)
        _add(counts, "output_tokens" if "output" in _unknown_key(field) else "input_tokens", count)
    return count != 0 and value != ""


def _add_parts(field: str, value: object, counts: dict[str, int]) -> bool:
    """Count all figures of tokens in an object or list whose meaning nobody here knows."""
    unknown = False
    waiting = [(field, value)]
    while waiting:
        name, item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(
                (inner if _tells_direction(inner) else f"{name}.{inner}", part) for inner, part in item.items()
            )
        elif isinstance(item, list):
            waiting.extend((name, part) for part in item)
        elif _is_tokens(name) and (count := whole(item)):
            unknown = True
            key = _unknown_key(name)
            total = counts.get("output_tokens" if "output" in key else "input_tokens", 0)
            counts[key] = min(counts.get(key, 0) + count, max(total, counts.get(key, 0)))
    return unknown


def _is_tokens(name: str) -> bool:
    return name.lower().endswith(("_tokens", "tokencount", "token_count"))


def _tells_direction(name: str) -> bool:
    return any(word in name.lower() for word in (*_OUTPUT_WORDS, "input", "prompt"))


def _unknown_key(field: str) -> str:
    """As what something is counted whose place the tables do not know. Sound and pictures are what their names say."""
    direction = "output" if any(word in field.lower() for word in _OUTPUT_WORDS) else "input"
    named = field.rpartition(".")[2].lower()
    kind = next((f"{word}_" for word in _MEDIA_WORDS if named.startswith(word)), None)
    return f"unknown_{direction}_tokens" if kind is None else f"{direction}_{kind}tokens"


def _add(counts: dict[str, int], key: str, count: int) -> None:
    counts[key] = counts.get(key, 0) + count


@lru_cache(maxsize=32)
def _plan(prices_id: str, flavor: str) -> _Plan:
    """Sort an extraction table."""
    places = table.places(prices_id, flavor)
    if places is None:
        raise ValueError(f"the price table has no extraction table {flavor!r} for {prices_id!r}")
    totals: list[tuple[str, str, bool]] = []
    parts: dict[str, list[tuple[str, str]]] = {}
    lists: dict[str, list[tuple[Callable[[str], bool], str]]] = {}
    for place in places:
        if place.modality is not None:
            lists.setdefault(place.field, []).append((place.modality, place.key))
        elif place.inner is not None:
            parts.setdefault(place.field, []).append((place.inner, place.key))
        else:
            totals.append((place.field, place.key, place.required))
    for (field, *inner), key in _EXTRA.get((prices_id, flavor), ()):
        if not inner:
            totals.append((field, key, False))
        elif not any(name == inner[0] for name, _ in parts.setdefault(field, [])):
            parts[field].append((inner[0], key))
    known = frozenset({field for field, _, _ in totals} | parts.keys() | lists.keys())
    return _Plan(
        totals=tuple(totals),
        parts=tuple((field, tuple(entries)) for field, entries in parts.items()),
        lists=tuple((field, tuple(entries)) for field, entries in lists.items()),
        list_fields={field: tuple(entries) for field, entries in lists.items()},
        known=known | _PLAIN | _ELSEWHERE,
        known_parts={field: frozenset(name for name, _ in entries) | _PLAIN for field, entries in parts.items()},
    )
