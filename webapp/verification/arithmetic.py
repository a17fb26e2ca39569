"""What a ledger row must cost, from the counts and the price that stand in the row itself.

The rule, in the words of docs/pricing.md: a class of tokens is charged for what its narrower classes leave of it;
figures of a class that nobody knows cost the dearest rate of their direction; the sum is rounded up once. Where other
models took part in an answer, the price tells each part with its own rates. The units of the price table say how much
of a class a price is for and which class lies within which.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from math import ceil, lcm
from typing import Any, NamedTuple

from shared.money import MAX_NANOS, NANOS_PER_USD
from shared.pricing import MAX_COUNT
from shared.pricing.table import units_by_usage_key

UNKNOWN = {"unknown_input_tokens": "input", "unknown_output_tokens": "output"}
Rates = tuple[tuple[str, str], ...]


class Class(NamedTuple):
    """A priced class: nano-dollars of one over the price's scale, and the priced classes that lie within it."""

    nanos: int
    within: tuple[str, ...]


class Sheet(NamedTuple):
    """A price with whole numbers: `scale` is the smallest over which every rate is one."""

    scale: int
    classes: dict[str, Class]


def expected_cost(usage: Mapping[str, Any], price: Mapping[str, Any]) -> int | None:
    """Nano-dollars, or None when the price cannot be read, or when its parts are not those of the usage."""
    parts = price.get("parts")
    if parts is None:
        exact = _exact(usage, price)
        return None if exact is None else min(ceil(exact), MAX_NANOS)
    if not isinstance(parts, list) or not all(_is_part(part) for part in parts):
        return None
    whole = Fraction(0)
    counted: dict[str, int] = {}
    for part in parts:
        exact = _exact(part["usage"], part)
        if exact is None:
            return None
        whole += exact
        for key, count in part["usage"].items():
            counted[key] = counted.get(key, 0) + count
    return min(ceil(whole), MAX_NANOS) if counted == usage else None


def _is_part(part: object) -> bool:
    usage = part.get("usage") if isinstance(part, dict) else None
    return isinstance(usage, dict) and all(type(count) is int for count in usage.values())


def _exact(usage: Mapping[str, Any], price: Mapping[str, Any]) -> Fraction | None:
    rates = price.get("rates")
    if not isinstance(rates, dict) or not all(isinstance(dollars, str) for dollars in rates.values()):
        return None
    sheet = _sheet(tuple(sorted(rates.items())))
    if sheet is None:
        return None
    classes = sheet.classes
    counts = {key: _sensible(count) for key, count in usage.items()}
    own: dict[str, int] = {}
    total = sum(_left(key, counts, classes, own) * classes[key].nanos for key in counts.keys() & classes.keys())
    for key in UNKNOWN.keys() & counts.keys():
        direction = UNKNOWN[key]
        whole = f"{direction}_tokens"
        paid = classes[whole].nanos if whole in classes and whole in counts else 0
        total += counts[key] * (_dearest(classes, direction) - paid)
    return Fraction(total, sheet.scale)


def _left(key: str, counts: Mapping[str, int], classes: Mapping[str, Class], own: dict[str, int]) -> int:
    """What the narrower classes leave of a class; never less than nothing, even if they say more than their whole."""
    if key not in own:
        taken = sum(_left(part, counts, classes, own) for part in classes[key].within if part in counts)
        own[key] = max(0, counts[key] - taken)
    return own[key]


def _sensible(count: object) -> int:
    """A count as it is charged: nothing negative, nothing absurd, nothing that is no number."""
    if not isinstance(count, int) or isinstance(count, bool):
        return 0
    return min(max(count, 0), MAX_COUNT)


def _dearest(classes: Mapping[str, Class], direction: str) -> int:
    wanted = {"family": "tokens", "direction": direction}.items()
    return max(
        (nanos for key, (nanos, _) in classes.items() if wanted <= _dimensions(key).items()),
        default=0,
    )


@lru_cache(maxsize=4096)
def _sheet(rates: Rates) -> Sheet | None:
    """A price as whole numbers; None for one that nobody can read. A ledger has few prices and many rows."""
    nanos: dict[str, Fraction] = {}
    for key, dollars in rates:
        unit = units_by_usage_key().get(key)
        try:
            amount = Decimal(dollars)
        except InvalidOperation:
            return None
        if unit is None or not amount.is_finite():
            return None
        nanos[key] = Fraction(amount) * NANOS_PER_USD / unit.per
    scale = lcm(*(rate.denominator for rate in nanos.values()))
    classes = {key: Class(int(rate * scale), _within(key, nanos)) for key, rate in nanos.items()}
    return Sheet(scale, classes)


def _within(key: str, priced: Iterable[str]) -> tuple[str, ...]:
    """The priced classes that say all that `key` says of their tokens, and more."""
    mine = _dimensions(key).items()
    return tuple(other for other in priced if mine < _dimensions(other).items())


def _dimensions(key: str) -> Mapping[str, str]:
    return units_by_usage_key()[key].dimensions
