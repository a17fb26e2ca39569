"""A provider's figures as they come: read as numbers, compared, and never trusted."""

from typing import Any

MAX_COUNT = 100_000_000  # tokens or calls of one answer; anything above is not a figure but an error


def whole(value: object) -> int | None:
    """A whole number of tokens, or None for everything that is none."""
    if type(value) is int:
        return value if 0 <= value <= MAX_COUNT else None
    if isinstance(value, float) and value.is_integer():
        return int(value) if 0 <= value <= MAX_COUNT else None
    return None


def is_absurd(value: object) -> bool:
    """Whether something is a number, and one that nobody can have used: negative, or beyond all sense."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value <= MAX_COUNT


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
    return before if isinstance(before, (*numbers, dict, list)) and not isinstance(after, type(before)) else after


def _larger_list(before: list[Any], after: list[Any]) -> list[Any]:
    """Entries of a modality belong together, all others by their place."""
    names = [[entry.get("modality") if isinstance(entry, dict) else None for entry in each] for each in (before, after)]
    if all(isinstance(name, str) for each in names for name in each):
        merged = dict(zip(names[0], before, strict=True))
        for name, entry in zip(names[1], after, strict=True):
            merged[name] = larger(merged[name], entry) if name in merged else entry
        return list(merged.values())
    shared = [_larger(one, other) for one, other in zip(before, after, strict=False)]
    return shared + before[len(shared) :] + after[len(shared) :]
