"""Two opinions on the same price: what priced a request, and what verifies it, which share no arithmetic."""

from typing import Any

import pytest
from genai_prices.data_units import unit_data
from hypothesis import given
from hypothesis import strategies as st

from shared import pricing
from webapp.verification.arithmetic import expected_cost

MODELS = (
    ("openai", "gpt-4o-mini"), ("openai", "gpt-4o-audio-preview"), ("openai", "text-embedding-3-small"), ("openai", "o3"),
    ("anthropic", "claude-sonnet-4-5"), ("anthropic", "claude-haiku-4-5"), ("gemini", "gemini-2.5-pro"),
    ("gemini", "gemini-2.5-flash"),
)  # fmt: skip
AT = 1_795_500_000.0
KEYS = [key for key, unit in unit_data.items() if unit["dimensions"]["family"] in ("tokens", "tool_calls")]
COUNTS = st.dictionaries(
    st.sampled_from([*KEYS, "input_tokens", "output_tokens", "unknown_input_tokens", "unknown_output_tokens"]),
    st.one_of(st.integers(0, 500_000), st.integers(-5, 10**12)),
    max_size=8,
)


@given(model=st.sampled_from(MODELS), counts=COUNTS, tier=st.sampled_from((None, "default", "flex", "priority")))
def test_it_works(model: tuple[str, str], counts: dict[str, int], tier: str | None) -> None:
    provider, name = model
    cost = pricing.cost(provider, name, pricing.Usage(counts, name, tier), at=AT)
    assert cost.price is not None
    assert expected_cost(counts, cost.price.json) == cost.nanos


def test_a_sum_by_hand() -> None:
    """1,000 tokens of which 300 were cached, at 2.50, 1.25 and 10 dollars a million, and one search at 30 a thousand."""
    price = {"rates": {"input_tokens": "2.5", "cache_read_tokens": "1.25", "output_tokens": "10", "web_searches": "30"}}
    counts = {"input_tokens": 1000, "cache_read_tokens": 300, "output_tokens": 9, "web_searches": 1}
    assert expected_cost(counts, price) == 700 * 2_500 + 300 * 1_250 + 9 * 10_000 + 30_000_000
    assert expected_cost({"input_tokens": 1}, {"rates": {"input_tokens": "0.0001"}}) == 1  # rounded up, once
    assert expected_cost({"input_tokens": 3}, {"rates": {"input_tokens": "0.0005"}}) == 2


@pytest.mark.parametrize(
    "price",
    [{}, {"rates": None}, {"rates": {"input_tokens": 2.5}}, {"rates": {"input_tokens": "much"}},
     {"rates": {"input_tokens": "NaN"}}, {"rates": {"gold": "1"}}],
)  # fmt: skip
def test_a_price_that_cannot_be_read_is_none(price: dict[str, Any]) -> None:
    assert expected_cost({"input_tokens": 1}, price) is None
