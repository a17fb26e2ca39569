"""Exact whole-number rates, compiled once from genai-prices for a model, a service tier and a day.

genai-prices' own `calc_price` takes about 80 us; a compiled `Sheet` gives the same sum in about 2. Rates are integers
over one common denominator (`scale`), so nothing is rounded before the very end. Tests compare both, exactly.

Prices come in through `_find_model` alone: that is the place where overrides will enter.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import Any

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.data_units import unit_data
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices, TimeOfDateConstraint

from shared.catalog import PROVIDERS
from shared.money import NANOS_PER_USD
from shared.pricing.values import Price

SERVICE_TIERS = ("default", "flex", "priority", "fast")
SPEEDS = ("fast",)
_DAY_SECONDS = 86_400
_CACHE = 2_048

# price key -> (usage key, units per price, dimensions). Durations, characters and the like are not among what the
# endpoints of the catalog are billed by.
_UNITS: dict[str, tuple[str, int, frozenset[tuple[str, str]]]] = {
    unit.get("price_key", usage_key): (usage_key, unit["per"], frozenset(unit["dimensions"].items()))
    for usage_key, unit in unit_data.items()
    if unit["dimensions"]["family"] in ("tokens", "tool_calls")
}
_DIMENSIONS = {usage_key: dict(dimensions) for usage_key, _, dimensions in _UNITS.values()}
FEES = frozenset(key for key, dimensions in _DIMENSIONS.items() if dimensions["family"] == "tool_calls")
BASE = -1  # the band below every threshold


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one unit of a class: `nanos` over the sheet's scale."""

    key: str  # usage key
    nanos: int
    within: tuple[int, ...]  # positions of the priced classes that this one contains


@dataclass(frozen=True, slots=True)
class Formula:
    """What a usage that reports certain classes costs in a band, over the sheet's scale."""

    terms: tuple[tuple[str, int, tuple[int, ...]], ...]  # usage key, nanos, places of the terms in its count
    unknown: tuple[tuple[str, int], ...]  # usage key of what nobody knows, and what it costs beside its whole
    unpriced: tuple[str, ...]  # usage keys of fees that have no price


@dataclass(frozen=True, slots=True)
class Band:
    """Rates while the input is above `over` tokens (and not above the next band). Narrow classes come first."""

    over: int
    rates: tuple[Rate, ...]
    unknown_input: int  # the dearest rate of each direction
    unknown_output: int
    price: Price
    # By the classes that a usage reports, kept by `cost.py`: a memo, which says nothing that the rates do not.
    formulas: dict[tuple[str, ...], Formula] = field(init=False, default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CostSheet:
    """What a model's classes cost on a day, in one service tier."""

    scale: int
    bands: tuple[Band, ...]


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The dearest rates that a request can meet whose input ends in this band, over the sheet's scale."""

    over: int
    text: int
    media: int
    written_text: int  # the same two, when input may be written to a cache
    written_media: int
    output: int
    fees: Mapping[str, int]  # usage key -> one call


@dataclass(frozen=True, slots=True)
class BoundSheet:
    """What a request to a model can cost at most on a day, in any service tier that it may be served in."""

    scale: int
    ceilings: tuple[Ceiling, ...]
    has_output: bool
    context_tokens: int | None


def forget() -> None:
    """Drop everything compiled, after the price table itself has changed."""
    _find_model.cache_clear()
    _cost_sheet.cache_clear()
    _bound_sheet.cache_clear()


def cost_sheet(provider_slug: str, model: str, tier: str | None, speed: str | None, at: float) -> CostSheet | None:
    """The sheet by which a usage is priced; None when the model has no price. `at` is in Unix seconds."""
    known_tier = None if tier is None or tier not in SERVICE_TIERS else tier
    known_speed = None if speed is None or speed not in SPEEDS else speed
    return _cost_sheet(provider_slug, model, known_tier, known_speed, int(at) // _DAY_SECONDS)


def bound_sheet(provider_slug: str, model: str, tier: str | None, speed: str | None, at: float) -> BoundSheet | None:
    """The sheet by which a request is bounded; None when the model has no price. `at` is in Unix seconds.

    A request that does not pin its service tier may be served in any: which one is then a setting of the provider's
    project. The standard prices always take part, because a tier may be declined.
    """
    known_speed = None if speed is None or speed not in SPEEDS else speed
    return _bound_sheet(provider_slug, model, _PINNED.get(tier or ""), known_speed, int(at) // _DAY_SECONDS)


# What a request may say about its tier, and the tier it can then be billed by; anything else leaves all open.
_PINNED = {**{tier: tier for tier in SERVICE_TIERS}, "standard": "default", "standard_only": "default"}


@lru_cache(maxsize=_CACHE)
def _cost_sheet(provider_slug: str, model: str, tier: str | None, speed: str | None, day: int) -> CostSheet | None:
    info = _find_model(provider_slug, model)
    if info is None or not _is_priced(info, "input_mtok", day):
        return None
    context = _context(tier, speed)
    tables = _tables(info, [context], day)
    scale = _scale(tables)
    return CostSheet(scale, tuple(_band(info, context, table, scale) for table in tables))


@lru_cache(maxsize=_CACHE)
def _bound_sheet(provider_slug: str, model: str, pinned: str | None, speed: str | None, day: int) -> BoundSheet | None:
    info = _find_model(provider_slug, model)
    if info is None or not _is_priced(info, "input_mtok", day):
        return None
    tiers = (None, *SERVICE_TIERS) if pinned is None else (None, pinned)
    speeds = (None,) if speed is None else (None, speed)
    tables = _tables(info, [_context(tier, fast) for fast in speeds for tier in tiers], day)
    scale = _scale(tables)
    return BoundSheet(
        scale=scale,
        ceilings=_ceilings(tables, scale),
        has_output=_is_priced(info, "output_mtok", day),
        context_tokens=info.context_window,
    )


@lru_cache(maxsize=_CACHE)
def _find_model(provider_slug: str, model: str) -> ModelInfo | None:
    """The price table's entry for a model. Its lookup is not used: that keeps every name ever asked for, for ever."""
    wanted = PROVIDERS[provider_slug].prices_id
    table = next(provider for provider in get_snapshot().providers if provider.id == wanted)
    info = table.find_model(model.lower())
    return None if info is None or _varies_within_a_day(info) else info


def _is_priced(info: ModelInfo, price_key: str, day: int) -> bool:
    """Whether a class has a price. A table without any says that the model is free; one by the hour says nothing."""
    prices = {key for key, value in vars(info.get_prices(_moment(day))).items() if value is not None}
    return not prices or price_key in prices


def _varies_within_a_day(info: ModelInfo) -> bool:
    """Off-peak prices: none of the three providers has them, and a sheet is compiled for a whole day."""
    prices = info.prices if isinstance(info.prices, list) else []
    constraints = [price.constraint for price in prices] + [v.constraint for v in info.price_variants or ()]
    return any(isinstance(constraint, TimeOfDateConstraint) for constraint in constraints)


def _context(tier: str | None, speed: str | None) -> dict[str, str]:
    return {name: value for name, value in (("service_tier", tier), ("speed", speed)) if value is not None}


def _moment(day: int) -> datetime:
    return datetime.fromtimestamp(day * _DAY_SECONDS, UTC)


@dataclass(frozen=True, slots=True)
class _Table:
    """Dollars by price key while the input is above `over` tokens."""

    over: int
    dollars: dict[str, Decimal]


def _tables(info: ModelInfo, contexts: Iterable[dict[str, str]], day: int) -> list[_Table]:
    """For each context (service tier, speed) one table a band, by ascending band."""
    variants = [_token_prices(info.get_prices(_moment(day), context)) for context in contexts]
    tiered = (price for prices in variants for price in prices.values() if isinstance(price, TieredPrices))
    overs = [BASE, *sorted({tier.start for price in tiered for tier in price.tiers})]
    return [
        _Table(over, {key: _at(price, over) for key, price in prices.items()}) for over in overs for prices in variants
    ]


def _scale(tables: Iterable[_Table]) -> int:
    """The smallest denominator over which every rate is a whole number."""
    return lcm(*(_per_unit(key, dollars).denominator for table in tables for key, dollars in table.dollars.items()))


def _token_prices(price: ModelPrice) -> dict[str, Decimal | TieredPrices]:
    return {key: value for key, value in vars(price).items() if value is not None and key in _UNITS}


def _at(price: Decimal | TieredPrices, over: int) -> Decimal:
    """The price of a class while the input is just above `over` tokens."""
    if not isinstance(price, TieredPrices):
        return price
    return next((tier.price for tier in reversed(price.tiers) if over >= tier.start), price.base)


def _per_unit(price_key: str, dollars: Decimal) -> Fraction:
    """Nano-dollars of one unit."""
    return Fraction(dollars) * NANOS_PER_USD / _UNITS[price_key][1]


def _band(info: ModelInfo, context: dict[str, str], table: _Table, scale: int) -> Band:
    keys = sorted(table.dollars, key=lambda key: (-len(_UNITS[key][2]), _UNITS[key][0]))  # narrow classes first
    rates = tuple(
        Rate(
            _UNITS[key][0],
            int(_per_unit(key, table.dollars[key]) * scale),
            tuple(i for i, other in enumerate(keys) if _UNITS[key][2] < _UNITS[other][2]),
        )
        for key in keys
    )
    json: dict[str, Any] = {"id": info.id, "version": genai_prices.__version__, **context}
    json["rates"] = {_UNITS[key][0]: format(dollars, "f") for key, dollars in table.dollars.items()}
    return Band(
        table.over,
        rates,
        unknown_input=_dearest(rates, "input"),
        unknown_output=_dearest(rates, "output"),
        price=Price(info.id, genai_prices.__version__, json),
    )


def _dearest(rates: Iterable[Rate], direction: str) -> int:
    return max((rate.nanos for rate in rates if _DIMENSIONS[rate.key].get("direction") == direction), default=0)


def _ceilings(tables: list[_Table], scale: int) -> tuple[Ceiling, ...]:
    """Per band the dearest rates up to and including it: input below the bound may stop in a cheaper band."""
    return tuple(
        _ceiling(
            over,
            [
                (_UNITS[key][0], int(_per_unit(key, dollars) * scale))
                for table in tables
                if table.over <= over
                for key, dollars in table.dollars.items()
            ],
        )
        for over in sorted({table.over for table in tables})
    )


def _ceiling(over: int, reachable: list[tuple[str, int]]) -> Ceiling:
    def dearest(*, media: bool, written: bool) -> int:
        return max(
            (
                nanos
                for key, nanos in reachable
                if (dimensions := _DIMENSIONS[key]).get("direction") == "input"
                and (media or dimensions.get("modality", "text") == "text")
                and (written or dimensions.get("token_type") != "cache_write")
            ),
            default=0,
        )

    fees: dict[str, int] = {}
    for key, nanos in reachable:
        if key in FEES:
            fees[key] = max(nanos, fees.get(key, 0))
    return Ceiling(
        over=over,
        text=dearest(media=False, written=False),
        media=dearest(media=True, written=False),
        written_text=dearest(media=False, written=True),
        written_media=dearest(media=True, written=True),
        output=max((n for key, n in reachable if _DIMENSIONS[key].get("direction") == "output"), default=0),
        fees=fees,
    )
