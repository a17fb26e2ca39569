"""What is shown as a price is what is charged."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest

from shared.catalog import PROVIDERS
from shared.pricing import Usage, book_of, cost
from shared.pricing.listing import list_prices, unit_words
from shared.pricing.supplement import added_names
from shared.pricing.table import PRICES_IDS, current_models, units_by_usage_key

AT = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
BOOK = book_of(
    [("price_1", "openai", "gpt-4o", {"input_tokens": "1.25"}), ("price_2", "openai", "mine", {"input_tokens": "0.1"})]
)


@pytest.mark.parametrize("slug", PROVIDERS)
def test_it_works(slug: str) -> None:
    """For every model, a thousand tokens of input and as many of output, in the first band and in each dearer one."""
    models = (*current_models(PRICES_IDS[slug]), *added_names(slug))
    charged = 0
    for listed in list_prices(slug, models, None, AT):
        if listed.rates is None:
            continue
        for above, rates in ((0, listed.rates), *listed.steps):
            if "input_tokens" not in rates or "output_tokens" not in rates:
                continue
            usage = Usage({"input_tokens": above + 1000, "output_tokens": 1000})
            found = cost(slug, listed.model, usage, at=AT)
            exact = (
                Fraction(Decimal(rates["input_tokens"])) * (above + 1000)
                + Fraction(Decimal(rates["output_tokens"])) * 1000
            )
            assert found.nanos == ceil(exact * 1000), (listed.model, above)
            charged += 1
        assert all(unit_words(name) for name in listed.rates)
        assert set(listed.rates) <= set(units_by_usage_key())
    assert charged > 15


def test_an_own_price_comes_first_and_may_be_of_any_model() -> None:
    listed = {price.model: price for price in list_prices("openai", ("gpt-4o", "gpt-4o-mini"), BOOK, AT)}
    assert set(listed) == {"gpt-4o", "gpt-4o-mini", "mine"}
    assert listed["gpt-4o"].own == "price_1"
    assert listed["gpt-4o"].rates is not None
    assert listed["gpt-4o"].rates["input_tokens"] == "1.25"
    assert listed["mine"].rates == {"input_tokens": "0.1"}
    assert listed["gpt-4o-mini"].own is None
    assert [price.model for price in list_prices("gemini", (), BOOK, AT)] == []


def test_what_has_no_price_and_what_is_free() -> None:
    (unknown,) = list_prices("openai", ("nobody-knows-it",), None, AT)
    assert (unknown.rates, unknown.own) == (None, None)
    (free,) = list_prices("gemini", ("gemma-3",), None, AT)
    assert free.rates == {}
