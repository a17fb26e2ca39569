"""Prices as people read them: what a model costs on a day, by the sheets that requests are charged by."""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from shared.pricing.own import PriceBook
from shared.pricing.rates import cost_sheet, own_price
from shared.pricing.table import units_by_usage_key

_EMPTY: PriceBook = {}


class ListedPrice(Struct, frozen=True):
    """A model, and dollars by usage key for requests that pin no service tier.

    `rates` is None where no price is known; empty where it is free. `steps` are other rates for a whole request, each
    while its input is above so many tokens. `own` is the id of the organisation's own price.
    """

    model: str
    rates: Mapping[str, str] | None
    steps: tuple[tuple[int, Mapping[str, str]], ...] = ()
    own: str | None = None


def list_prices(slug: str, models: Iterable[str], book: PriceBook | None, at: float) -> Iterator[ListedPrice]:
    """The prices of models of a provider, with the organisation's own ones, of which some may be of no known model."""
    own_prices = book or _EMPTY
    added = {model for provider, model in own_prices if provider == slug}
    for model in sorted({*models, *added}):
        own = own_price(own_prices, slug, model)
        sheet = cost_sheet(slug, model, None, None, at, own)
        if sheet is None:
            yield ListedPrice(model, None)
            continue
        first, *others = ((band.over, band.price.json["rates"]) for band in sheet.bands)
        yield ListedPrice(model, first[1], tuple(others), None if own is None else own.id)


def unit_words(usage_key: str) -> str:
    """What the dollars of a class are for: "a million", "a thousand", "an hour"."""
    unit = units_by_usage_key()[usage_key]
    return {1_000_000: "a million", 1_000: "a thousand", 3_600: "an hour"}[unit.per]
