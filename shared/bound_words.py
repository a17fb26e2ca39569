"""What the most that a request can cost is made of: for machines, and for people."""

from decimal import Decimal

from shared import money
from shared.policy import Fact
from shared.pricing import Bound, BoundPart

# What fees are for that are no calls of a tool, by usage key.
_UNITS = {"audio_seconds": "seconds", "input_characters": "characters", "image_generations": "images"}


def part_facts(part: BoundPart, unit: str) -> dict[str, Fact]:
    million = 1_000_000 if unit == "tokens" else 1_000
    price = f"usd_per_{'million' if unit == 'tokens' else 'thousand'}"
    return {unit: part.units, price: _decimal(part.usd_per_unit * million), "usd": money.to_usd(part.nanos)}


def unit_of(name: str) -> str:
    """What fees of this name are counted in."""
    return _UNITS.get(name, "calls")


def made_of(bound: Bound) -> str:
    """Of what a bound is made, for people, and what would fit."""
    told = [
        f"{part.units:,} tokens of {name} at ${_decimal(part.usd_per_unit * 1_000_000)} a million"
        for name, part in (("input", bound.input), ("output", bound.output))
        if part.units
    ]
    told += [
        f"{part.units:,} {name.replace('_', ' ')} at ${_decimal(part.usd_per_unit * 1_000)} a thousand"
        for name, part in bound.fees.items()
        if part.units
    ]
    fits = bound.affordable_output_limit
    ends = "" if not fits else f"; with an output limit of {fits:,} tokens it fits"
    return f" ({', '.join(told)}{ends})" if told else ""


def _decimal(value: Decimal) -> str:
    return format(value.normalize(), "f")
