"""Exact whole-number rates, compiled once from the price table for a model, a service tier and a day.

To go through the table for an answer takes about 80 us; a compiled `CostSheet` gives the same sum in about 2. Rates
are integers over one common denominator (`scale`), so nothing is rounded before the very end. Tests compare both.

A model's prices come from `find`: an organisation's own ones first, then the table with its supplement.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import Any

from msgspec import Struct

from shared.money import NANOS_PER_USD
from shared.pricing import supplement, table
from shared.pricing.classes import unrated
from shared.pricing.own import OwnPrice, PriceBook
from shared.pricing.sheets import Band, BoundSheet, Ceiling, CostSheet, Rate, ceiling_of, narrow_first
from shared.pricing.values import Price

SERVICE_TIERS = ("default", "flex", "priority", "fast")
SPEEDS = ("fast",)
REGIONS = ("us",)
BATCH = {"processing": "batch"}  # as the table names it
_DAY_SECONDS = 86_400
_CACHE = 2_048
_EPOCH = date(1970, 1, 1)
# One of these makes a model priced: what it is sold by, which fees of tools beside it are not.
_SOLD_BY = ("input_mtok", "audio_hours", "input_mchars", "image_generations_kcount")
BASE = -1  # the band below every threshold
# What has a price of its own wherever it is offered. Anthropic's priority tier has none: it is capacity, paid before.
_DEARER = frozenset(
    {("service_tier", "priority"), ("service_tier", "fast"), ("speed", "fast"), ("inference_geo", "us")}
)
_APART = _DEARER | {("service_tier", "flex")}
# By which tier a request is billed that names none, where no setting of the provider's project says that:
# https://ai.google.dev/gemini-api/docs/priority-inference.
_UNNAMED_TIER = {"gemini": "default"}


def cost_sheet(
    slug: str,
    model: str,
    tier: str | None,
    speed: str | None,
    at: float,
    own: OwnPrice | None = None,
    *,
    batch: bool = False,
    region: str | None = None,
) -> CostSheet | None:
    """The sheet by which a usage is priced; None when the model has no price. `at` is in Unix seconds.

    A batch is in no service tier: its prices are those of the table for batches.
    """
    known_tier = None if batch or tier is None or tier not in SERVICE_TIERS else tier
    known_speed = None if speed is None or speed not in SPEEDS else speed
    return _cost_sheet(slug, model, known_tier, known_speed, int(at) // _DAY_SECONDS, own, batch, region)


def has_batch_prices(slug: str, model: str, at: float) -> bool:
    """Whether the table tells what a model costs in a batch. Else it is charged as if it were in none."""
    found = _find(slug, model, None)
    return (
        found is not None
        and found.model is not None
        and bool(found.model.varied(_date(int(at) // _DAY_SECONDS), BATCH))
    )


def bound_sheet(
    slug: str,
    model: str,
    tier: str | None,
    speed: str | None,
    at: float,
    own: OwnPrice | None = None,
    region: str | None = None,
) -> BoundSheet | None:
    """The sheet by which a request is bounded; None when the model has no price. `at` is in Unix seconds.

    A request that does not pin its service tier may be served in any: which one is then a setting of the provider's
    project. The standard prices always take part, because a tier may be declined. A region takes part if it is asked
    for: to hold the tenth more of one that a workspace may have set would refuse what fits for all others.
    """
    known_speed = None if speed is None or speed not in SPEEDS else speed
    pinned = _UNNAMED_TIER.get(slug) if tier is None or tier in _UNNAMED else _PINNED.get(tier, _ANY)
    return _bound_sheet(slug, model, pinned, known_speed, int(at) // _DAY_SECONDS, own, region)


def load() -> None:
    """Read the price table now that the first request would wait for."""
    table.version()


# What names no tier, or one that was paid for before.
_UNNAMED = frozenset({"auto", "scale"})
_ANY = "any"  # by a word or number that nobody here knows
# What a request may say about its tier, and the tier it can then be billed by.
_PINNED = {
    **{tier: tier for tier in SERVICE_TIERS},
    "standard": "default",
    "standard_only": "default",
    "unspecified": "default",
}


class _Listed(Struct, frozen=True):
    """A model's prices, wherever they come from."""

    slug: str
    name: str  # as it was asked for
    id: str
    own: OwnPrice | None
    model: table.Model | None  # None: only the organisation has a price

    def rates(self, day: date, context: Mapping[str, str]) -> dict[str, table.Rate]:
        """By price key. An organisation's own price takes the place of all token prices; others not named stay."""
        found: Mapping[str, table.Rate] = {} if self.model is None else self.model.rates(day, context)
        is_free = self.model is not None and not found
        if not is_free:
            found = supplement.completed(self.slug, self.name, found)
        if self.own is not None:
            others = {key: rate for key, rate in found.items() if _family(key) != "tokens"}
            found = {**others, **self.own.by_price_key()}
        return {key: rate for key, rate in found.items() if _family(key) in table.PRICED_FAMILIES}


def own_price(book: PriceBook, slug: str, model: str) -> OwnPrice | None:
    """An organisation's price of a model: under its very name, else under the one by which the price table knows it."""
    own = book.get((slug, model))
    if own is None and (listed := _find(slug, model, None)) is not None:
        own = book.get((slug, listed.id))
    return own


@lru_cache(maxsize=_CACHE)
def _find(slug: str, model: str, own: OwnPrice | None) -> _Listed | None:
    prices_id = table.PRICES_IDS.get(slug)
    listed = None  # of a provider of the organisation's own the table knows nothing, whatever its models are called
    if prices_id is not None:
        listed = table.find_model(prices_id, model) or supplement.added_model(slug, model)
    if listed is not None:
        listed = supplement.mended(slug, listed)
    if own is not None:
        return _Listed(slug, model, own.model, own, listed)
    return None if listed is None else _Listed(slug, model, listed.id, None, listed)


@lru_cache(maxsize=_CACHE)
def _cost_sheet(
    slug: str,
    model: str,
    tier: str | None,
    speed: str | None,
    day: int,
    own: OwnPrice | None,
    batch: bool,  # noqa: FBT001 - a cache tells by places
    region: str | None,
) -> CostSheet | None:
    found = _find(slug, model, own)
    if found is None or not any(_is_priced(found, key, day) for key in _SOLD_BY):
        return None
    context = {**_context(tier, speed, region), **(BATCH if batch else {})}
    tables = _tables(found, [context], day)
    scale = _scale(tables)
    untold = _untold(found, context, day, _APART) is not None
    return CostSheet(scale, tuple(_band(found, context, each, scale) for each in tables), untold)


@lru_cache(maxsize=_CACHE)
def _bound_sheet(
    slug: str, model: str, pinned: str | None, speed: str | None, day: int, own: OwnPrice | None, region: str | None
) -> BoundSheet | None:
    found = _find(slug, model, own)
    if found is None or not any(_is_priced(found, key, day) for key in _SOLD_BY):
        return None
    tiers = (None, *SERVICE_TIERS) if pinned in (None, _ANY) else (None, pinned)
    speeds = (None,) if speed is None else (None, speed)
    regions = (None,) if region is None else (None, region)
    contexts = [_context(tier, fast, place) for place in regions for fast in speeds for tier in tiers]
    tables = _tables(found, contexts, day)
    scale = _scale(tables)
    return BoundSheet(
        scale=scale,
        ceilings=_ceilings(tables, scale),
        has_input=_is_priced(found, "input_mtok", day),
        has_output=_is_priced(found, "output_mtok", day),
        context_tokens=None if found.model is None else found.model.context_tokens,
        unrated=frozenset().union(*(_unrated(found, each) for each in tables)),
        untold=_untold(found, _context("priority" if pinned == _ANY else pinned, speed, region), day, _DEARER),
    )


def _untold(found: _Listed, context: Mapping[str, str], day: int, meant: Collection[tuple[str, str]]) -> str | None:
    """The first of these that applies and of which no price of the model tells, or not for all of its tokens.

    Whoever has a price of his own has said that it holds for all of them.
    """
    if found.own is not None or found.model is None:
        return None
    standard = [key for key in found.model.rates(_date(day), {}) if _family(key) == "tokens"]
    for name, value in context.items():
        if (name, value) in meant and not (found.slug == "anthropic" and name == "service_tier"):
            told = found.model.varied(_date(day), {name: value})
            if any(key not in told for key in standard):
                return name if name == "inference_geo" else f"{name} {value}"
    return None


def _is_priced(found: _Listed, price_key: str, day: int) -> bool:
    """Whether a class has a price. A table without any says that the model is free; one by the hour says nothing."""
    if found.own is None and found.model is not None and not found.model.rates(_date(day), {}):
        return True
    return price_key in found.rates(_date(day), {})


def _context(tier: str | None, speed: str | None, region: str | None) -> dict[str, str]:
    named = (("service_tier", tier), ("speed", speed), ("inference_geo", region))
    return {name: value for name, value in named if value is not None}


def _date(day: int) -> date:
    return _EPOCH + timedelta(days=day)


def _family(price_key: str) -> str:
    unit = table.units().get(price_key)
    return "" if unit is None else unit.dimensions["family"]


class _Table(Struct, frozen=True):
    """Dollars by price key while the input is above `over` tokens."""

    over: int
    dollars: dict[str, Decimal]


def _tables(found: _Listed, contexts: Iterable[dict[str, str]], day: int) -> list[_Table]:
    """For each context (service tier, speed) one table a band, by ascending band."""
    variants = [found.rates(_date(day), context) for context in contexts]
    starts = {start for rates in variants for rate in rates.values() for start, _ in rate.steps}
    return [
        _Table(over, {key: rate.above(over) for key, rate in rates.items()})
        for over in (BASE, *sorted(starts))
        for rates in variants
    ]


def _scale(tables: Iterable[_Table]) -> int:
    """The smallest denominator over which every rate is a whole number."""
    return lcm(*(per_unit(key, dollars).denominator for each in tables for key, dollars in each.dollars.items()))


def per_unit(price_key: str, dollars: Decimal) -> Fraction:
    """Nano-dollars of one unit."""
    return Fraction(dollars) * NANOS_PER_USD / table.units()[price_key].per


def _rates(each: _Table, scale: int) -> list[Rate]:
    found = table.units()
    return [Rate(found[key].key, int(per_unit(key, dollars) * scale)) for key, dollars in each.dollars.items()]


def _unrated(found: _Listed, each: _Table) -> frozenset[str]:
    return unrated(table.PRICES_IDS.get(found.slug, ""), found.id, [table.units()[key].key for key in each.dollars])


def _band(found: _Listed, context: dict[str, str], each: _Table, scale: int) -> Band:
    rates = sorted(_rates(each, scale), key=narrow_first)
    json: dict[str, Any] = {"id": found.id, "version": table.version(), **context}
    if found.own is not None:
        json["override"] = found.own.id
    json["rates"] = {table.units()[key].key: format(dollars, "f") for key, dollars in each.dollars.items()}
    return Band(
        each.over,
        tuple(rates),
        unrated=_unrated(found, each),
        prices_id=table.PRICES_IDS.get(found.slug, ""),
        price=Price(found.id, table.version(), json),
    )


def _ceilings(tables: list[_Table], scale: int) -> tuple[Ceiling, ...]:
    """Per band the dearest rates up to and including it: input below the bound may stop in a cheaper band."""
    return tuple(
        ceiling_of(over, [rate for each in tables if each.over <= over for rate in _rates(each, scale)])
        for over in sorted({each.over for each in tables})
    )
