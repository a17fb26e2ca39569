"""What a usage costs: exact, rounded up once, and never negative whatever a provider reports."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

from shared.money import MAX_NANOS, NANOS_PER_USD
from shared.pricing.classes import dearest_of_provider, dimensions_of, lies_within
from shared.pricing.figures import MAX_COUNT
from shared.pricing.own import PriceBook
from shared.pricing.rates import cost_sheet, has_batch_prices, own_price
from shared.pricing.sheets import Band, CostSheet, Formula, Rate, dearest, narrow_first
from shared.pricing.supplement import added_names
from shared.pricing.table import PRICES_IDS, current_models, units_by_usage_key
from shared.pricing.values import Cost, Price, Usage

_PAINTS = re.compile(r"(?:chat)?gpt-image-")
_FORMULAS = 64  # kept of a band
_UNKNOWN = {"unknown_input_tokens": "input", "unknown_output_tokens": "output"}


def cost(
    provider_slug: str, requested_model: str | None, usage: Usage, *, at: float, book: PriceBook | None = None
) -> Cost:
    """Price a usage in nano-dollars by the prices of the moment of admission, `at` in Unix seconds.

    The served model decides; when the price table does not know it, the requested one (flag `served_model_unpriced`).
    `book` has the organisation's own prices, which beat the table's, of the served model or the requested one.
    Other flags: `unpriced` (neither is known, cost 0), `unpriced_tool` (calls of a tool without a price), `estimated`,
    `unknown_class` (figures that nobody here can read, or of a class that is charged by the dearest rate, or a tier,
    speed or region of which no price of the model tells), `clamped`
    (a count that was no sensible number), `inconsistent` (parts that exceed their whole; each part is charged),
    `unmetered` (the answer comes later, past us).
    """
    flags: list[str] = []
    if usage.estimated:
        flags.append("estimated")
    if usage.unknown:
        flags.append("unknown_class")
    if usage.clamped:
        flags.append("clamped")
    sheet = None
    if book is None and usage.model is not None:  # as nearly always
        sheet = cost_sheet(
            provider_slug, usage.model, usage.service_tier, usage.speed, at, batch=usage.batch, region=usage.region
        )
    if sheet is None:
        sheet = _sheet(provider_slug, requested_model, usage, at, book, flags)
    if usage.batch and sheet is not None and not _has_batch_prices(provider_slug, requested_model, usage, at, sheet):
        _flag(flags, "unknown_class")
    if usage.parts:
        return _of_parts(provider_slug, requested_model, usage, at, book, flags, sheet)
    if sheet is None or usage.unmetered:
        return Cost(0, None, ("unmetered" if usage.unmetered else "unpriced", *flags))
    if sheet.untold:
        _flag(flags, "unknown_class")
    total, price = _total(sheet, usage, flags)
    return Cost(min(-(-total // sheet.scale), MAX_NANOS), price, tuple(flags))


def cost_of_pictures(provider_slug: str, usage: Usage, *, at: float, book: PriceBook | None = None) -> Cost:
    """Price pictures of which nobody tells the model: as the dearest that only paints, flagged `unknown_class`."""
    names = (*current_models(PRICES_IDS[provider_slug]), *added_names(provider_slug))
    costs = [cost(provider_slug, name, usage, at=at, book=book) for name in names if _PAINTS.match(name)]
    if not costs:
        return cost(provider_slug, None, usage, at=at, book=book)
    dearest_one = max(costs, key=lambda each: each.nanos)
    flags = [*dearest_one.flags]
    _flag(flags, "unknown_class")
    return Cost(dearest_one.nanos, dearest_one.price, tuple(flags))


def _sheet(
    slug: str, requested_model: str | None, usage: Usage, at: float, book: PriceBook | None, flags: list[str]
) -> CostSheet | None:
    tier, speed, served_model, region = usage.service_tier, usage.speed, usage.model, usage.region
    if book is not None:
        for name in (served_model, requested_model):
            if name is not None and (own := own_price(book, slug, name)) is not None:
                return cost_sheet(slug, name, tier, speed, at, own, batch=usage.batch, region=region)
    sheet = None
    if served_model is not None:
        sheet = cost_sheet(slug, served_model, tier, speed, at, batch=usage.batch, region=region)
    if sheet is None and requested_model is not None:
        sheet = cost_sheet(slug, requested_model, tier, speed, at, batch=usage.batch, region=region)
        if sheet is not None and served_model is not None:
            flags.append("served_model_unpriced")
    return sheet


def _has_batch_prices(slug: str, requested_model: str | None, usage: Usage, at: float, sheet: CostSheet) -> bool:
    """Whether what is charged is what a batch costs, and not the dearer price of a request by itself."""
    if "override" in sheet.bands[0].price.json:
        return True  # whoever has a price of his own has said what it is
    return any(name is not None and has_batch_prices(slug, name, at) for name in (usage.model, requested_model))


def _total(sheet: CostSheet, usage: Usage, flags: list[str]) -> tuple[int, Price]:
    """The cost over the sheet's scale, and the price that it was computed with."""
    counts = usage.counts
    for value in counts.values():
        if type(value) is not int or not 0 <= value <= MAX_COUNT:
            counts = {key: _clamp(count) for key, count in counts.items()}
            _flag(flags, "clamped")
            break
    bands = sheet.bands
    band = bands[0] if len(bands) == 1 else _band(sheet, counts.get("input_tokens", 0))
    return _sum(band, counts, flags, sheet.scale)


def _of_parts(
    slug: str,
    requested_model: str | None,
    usage: Usage,
    at: float,
    book: PriceBook | None,
    flags: list[str],
    sheet: CostSheet | None,
) -> Cost:
    """A usage in which other models took part, or the same one more than once: each part at its own rates.

    The price tells each part's counts and rates, so that the row can be computed again.
    """
    whole = Fraction(0)
    shown: list[dict[str, Any]] = []
    first: Price | None = None
    for part in (usage, *usage.parts):
        own = sheet if part is usage else _sheet(slug, requested_model, part, at, book, flags)
        if own is None:
            _flag(flags, "unpriced")
            continue
        if own.untold:
            _flag(flags, "unknown_class")
        total, price = _total(own, part, flags)
        whole += Fraction(total, own.scale)
        first = first or price
        shown.append({**price.json, "usage": part.counts})
    if first is None:
        return Cost(0, None, tuple(flags))
    price = Price(first.id, first.version, {**first.json, "parts": shown})
    return Cost(min(ceil(whole), MAX_NANOS), price, tuple(flags))


def _clamp(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return min(max(value, 0), MAX_COUNT)


def _flag(flags: list[str], name: str) -> None:
    if name not in flags:
        flags.append(name)


def _band(sheet: CostSheet, input_tokens: int) -> Band:
    bands = sheet.bands
    chosen = bands[0]
    for band in bands[1:]:
        if input_tokens > band.over:
            chosen = band
    return chosen


def _sum(band: Band, counts: Mapping[str, int], flags: list[str], scale: int) -> tuple[int, Price]:
    """The cost over the sheet's scale. A class is charged for what its narrower classes leave of it."""
    classes = tuple(counts)
    formula = band.formulas.get(classes) or _formula(band, classes, scale)
    total = 0
    left: list[int] = []
    for key, nanos, within in formula.terms:
        count = counts[key]
        if within:
            for position in within:
                count -= left[position]
            if count < 0:
                count = 0
                _flag(flags, "inconsistent")
        left.append(count)
        total += count * nanos
    for key in formula.unrated:  # most usages report them, as nothing
        if counts[key]:
            return total + _beside_unrated(formula, counts, flags), formula.standing_in or band.price
    for key, nanos in formula.unknown:
        total += counts[key] * nanos
    if formula.unpriced and any(counts[key] for key in formula.unpriced):
        _flag(flags, "unpriced_tool")
    return total, band.price


def _beside_unrated(formula: Formula, counts: Mapping[str, int], flags: list[str]) -> int:
    """What is left to add where another rate stands in for a class."""
    _flag(flags, "unknown_class")
    if any(counts[key] for key in formula.unpriced):
        _flag(flags, "unpriced_tool")
    return sum(counts[key] * nanos for key, nanos in formula.unknown_beside_them)


def _formula(band: Band, classes: tuple[str, ...], scale: int) -> Formula:
    """How usages of these classes are summed up. A provider reports the same ones again and again."""
    formula = _compiled(band, classes, scale)
    if len(band.formulas) < _FORMULAS:
        band.formulas[classes] = formula
    return formula


def _compiled(band: Band, classes: tuple[str, ...], scale: int) -> Formula:
    """A whole that is not reported is the sum of its parts, so that only reported classes take part."""
    unrated = tuple(key for key in classes if key in band.unrated)
    own = {rate.key: rate.nanos for rate in band.rates if rate.key in classes}
    used = [Rate(key, nanos) for key, nanos in own.items()]
    used += [Rate(key, _stand_in(band, key, scale)) for key in unrated]
    used.sort(key=narrow_first)
    dimensions = [dimensions_of(rate.key) for rate in used]
    terms = tuple(
        (rate.key, rate.nanos, tuple(i for i, other in enumerate(dimensions) if lies_within(other, dimensions[place])))
        for place, rate in enumerate(used)
    )
    return Formula(
        terms=terms,
        unknown=_unknown(classes, own, band.rates),
        unknown_beside_them=_unknown(classes, own, (*band.rates, *used)),
        unpriced=tuple(key for key in classes if dimensions_of(key).get("family") == "tool_calls" and key not in own),
        unrated=unrated,
        standing_in=_standing_in(band, {rate.key: rate.nanos for rate in used if rate.key in unrated}, scale),
    )


def _unknown(classes: tuple[str, ...], own: Mapping[str, int], rates: Iterable[Rate]) -> tuple[tuple[str, int], ...]:
    """What parts of an unknown class cost more than their whole, in whose count they already are."""
    rates = tuple(rates)
    return tuple(
        (key, dearest(rates, direction) - own.get(f"{direction}_tokens", 0))
        for key, direction in _UNKNOWN.items()
        if key in classes
    )


def _stand_in(band: Band, key: str, scale: int) -> int:
    """What is charged for a class without a rate of its own: the dearest of its direction that is known.

    Known is what the model asks for anything of the direction, and what other models of the provider ask for the class.
    """
    nanos = dearest(band.rates, dimensions_of(key).get("direction", ""))
    elsewhere = dearest_of_provider(band.prices_id, key)
    if elsewhere is None:
        return nanos
    per = units_by_usage_key()[key].per
    return max(nanos, ceil(Fraction(Decimal(elsewhere)) * NANOS_PER_USD * scale / per))


def _standing_in(band: Band, rates: Mapping[str, int], scale: int) -> Price | None:
    """The band's price with these rates beside its own."""
    if not rates:
        return None
    shown = {key: _dollars(nanos, key, scale) for key, nanos in rates.items()}
    json = {**band.price.json, "rates": {**band.price.json["rates"], **shown}}
    return Price(band.price.id, band.price.version, json)


def _dollars(nanos: int, key: str, scale: int) -> str:
    """A rate as it is written down. Exact, as its scale was made from decimal numbers."""
    exact = Fraction(nanos * units_by_usage_key()[key].per, scale * NANOS_PER_USD)
    return format(Decimal(exact.numerator) / Decimal(exact.denominator), "f")
