"""A provider's figures as they come: read as numbers, compared, and never trusted."""

import re
from typing import Any

_DIGITS = re.compile(r"[0-9]{1,18}")
MAX_COUNT = 100_000_000  # tokens or calls of one answer; anything above is not a figure but an error


def whole(value: object) -> int | None:
    """A whole number of tokens, or None for everything that is none.

    Digits are one too: the JSON of protocol buffers writes long numbers so (protobuf.dev/programming-guides/json).
    """
    if type(value) is int:
        return value if 0 <= value <= MAX_COUNT else None
    if isinstance(value, float) and value.is_integer():
        return int(value) if 0 <= value <= MAX_COUNT else None
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return whole(int(value))
    return None


def is_absurd(value: object) -> bool:
    """Whether something is a number, and one that nobody can have used: negative, or beyond all sense."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value <= MAX_COUNT


def is_absurd_within(usage: dict[str, Any]) -> bool:
    """Whether a detail is absurd. Asked only when something could not be read."""
    waiting: list[Any] = [usage]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif is_absurd(item):
            return True
    return False


def makes_no_sense(usage: object) -> bool:
    """Whether a usage object has an absurd number at its top."""
    return isinstance(usage, dict) and any(map(is_absurd, usage.values()))


def larger(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Two reports of one answer's usage as one: figures are cumulative, so of each the larger one counts.

    What stands in one of them only is kept; a null says nothing; of words the later ones count.
    """
    for name, value in before.items():
        told = after.get(name)
        if told != value and not (type(told) is int and type(value) is int and told > value):
            return _merged(before, after)
    return after  # nothing fell, as nearly always: a stream may tell its figures with every piece


def _merged(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    merged = dict(before)
    for name, value in after.items():
        if value is None:
            continue
        merged[name] = _larger(merged[name], value) if name in merged else value
    return merged


def _larger(before: Any, after: Any) -> Any:
    if isinstance(before, dict) and isinstance(after, dict):
        return larger(before, after)
    if isinstance(before, list) and isinstance(after, list):
        return _larger_list(before, after)
    numbers = (int, float)
    if isinstance(before, numbers) and isinstance(after, numbers):
        return max(before, after)
    one, other = whole(before), whole(after)
    if one is not None and other is not None:
        return max(one, other)
    return before if isinstance(before, (*numbers, dict, list)) and not isinstance(after, type(before)) else after


def _larger_list(before: list[Any], after: list[Any]) -> list[Any]:
    """Entries of a modality belong together, all others by their place."""
    one, other = by_modality(before), by_modality(after)
    if one is not None and other is not None:
        return list(
            {**one, **{name: larger(one[name], told) if name in one else told for name, told in other.items()}}.values()
        )
    shared = [_larger(one, other) for one, other in zip(before, after, strict=False)]
    return shared + before[len(shared) :] + after[len(shared) :]


def by_modality(details: list[Any]) -> dict[str, dict[str, Any]] | None:
    """A list of details by what they are of; several of one kind are added. None: some of them do not say that."""
    found: dict[str, dict[str, Any]] = {}
    for entry in details:
        name = entry.get("modality") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            return None
        if name not in found:
            found[name] = entry
            continue
        one, other = whole(found[name].get("tokenCount", 0)), whole(entry.get("tokenCount", 0))
        if one is None or other is None:
            return None
        found[name] = {**found[name], **entry, "tokenCount": one + other}
    return found
