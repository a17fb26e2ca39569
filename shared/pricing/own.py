"""An organisation's own prices: they beat the price table's, and add models that it does not know."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from shared.pricing.table import Rate, units


class OwnPrice(Struct, frozen=True):
    """What an organisation pays for a model. `rates` are dollars a million tokens, or a thousand calls of a tool."""

    id: str
    model: str
    rates: tuple[tuple[str, str], ...]  # usage key, decimal string

    def by_price_key(self) -> dict[str, Rate]:
        """As the price table has its own. What no unit is known for is left out."""
        dollars = dict(self.rates)
        return {key: Rate(Decimal(dollars[unit.key])) for key, unit in units().items() if unit.key in dollars}


PriceBook = Mapping[tuple[str, str], OwnPrice]  # by provider and model


def book_of(rows: Iterable[Sequence[Any]]) -> PriceBook | None:
    """From id, provider, model and rates of each. None where there is none, as mostly: then nobody looks for one."""
    book = {
        (provider, model): OwnPrice(price_id, model, tuple(sorted(rates.items())))
        for price_id, provider, model, rates in rows
    }
    return book or None
