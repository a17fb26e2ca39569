"""Whether anything may cost nothing: which models are given away, and prices of nothing of one's own."""

import time

import pytest

from shared.catalog import PROVIDERS
from shared.pricing import Size, book_of, bound, holds_a_free_price, may_be_free
from shared.pricing.free import GIVEN_AWAY
from shared.pricing.table import current_models

AT = time.time()
NO_MODEL = "moderation"  # free as well, at an endpoint that is not metered


def own(slug: str, **rates: str) -> dict[str, bool]:
    """Of each provider, whether any model of its may be free where one has this price."""
    book = book_of([("price_1", slug, "m", rates)])
    assert holds_a_free_price(book) == ("0" in rates.values())
    return {name: may_be_free(name, None, at=AT, book=book) for name in ("openai", "anthropic", "lab")}


@pytest.mark.parametrize("slug", PROVIDERS)
def test_it_works(slug: str) -> None:
    """Of the table's models."""
    given = {
        model for model in current_models(PROVIDERS[slug].prices_id) if may_be_free(slug, model, at=AT, book=None)
    } - {NO_MODEL}
    assert bool(given) == (slug in GIVEN_AWAY) == may_be_free(slug, None, at=AT, book=None)
    assert {bound(slug, model, Size(300_000, output_limit=9), at=AT) for model in given} <= {0}
    assert all(model.startswith("gemma-") for model in given)


def test_a_price_of_ones_own() -> None:
    assert own("lab", input_tokens="0", output_tokens="0.00") == {"openai": False, "anthropic": False, "lab": True}
    assert own("openai", input_tokens="0", output_tokens="3")["openai"], "embeddings have no output"
    assert not any(own("openai", input_tokens="0.000000000001", output_tokens="1").values())


def test_a_model_that_is_known() -> None:
    book = book_of([("price_1", "openai", "free", {"input_tokens": "0"}), ("price_2", "gemini", "gemma-3-27b-it", {"input_tokens": "1"})])  # fmt: skip
    found = {
        (slug, model): may_be_free(slug, model, at=AT, book=book)
        for slug, model in (
            ("openai", "free"),
            ("openai", "gpt-4o"),
            ("gemini", "gemma-3-27b-it"),
            ("gemini", "nobody"),
        )
    }
    assert [key for key, free in found.items() if free] == [("openai", "free")]
    assert may_be_free("gemini", "gemma-3-27b-it", at=AT, book=None)
