"""Whether anything may cost nothing at all, asked before it is known what a request brings."""

from decimal import Decimal

from shared.pricing.bound import bound
from shared.pricing.own import OwnPrice, PriceBook
from shared.pricing.values import Size

# Providers with models in the price table that are given away: Gemma, at Gemini.
GIVEN_AWAY = frozenset(("gemini",))
_LEAST = Size(1, output_free=True)


def may_be_free(provider_slug: str, model: str | None, *, at: float, book: PriceBook | None) -> bool:
    """Whether some request to a provider can cost nothing, by the prices of `at` (Unix seconds).

    `model` is None where it stands in what was not read: then any of the provider's may be meant.
    """
    if model is not None:
        return bound(provider_slug, model, _LEAST, at=at, book=book) == 0
    own = () if book is None else (price for (slug, _), price in book.items() if slug == provider_slug)
    return provider_slug in GIVEN_AWAY or any(_is_free(price) for price in own)


def holds_a_free_price(book: PriceBook | None) -> bool:
    """Whether an organisation has set a price of nothing, for a model of any provider."""
    return book is not None and any(_is_free(price) for price in book.values())


def _is_free(price: OwnPrice) -> bool:
    """One class without a price is enough: a request may use that one alone, as embeddings have no output."""
    return any(not Decimal(dollars) for _, dollars in price.rates)
