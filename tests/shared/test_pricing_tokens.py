"""Tokens of a request at most: the figures of its bound in money, with and without a price."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared import pricing
from shared.money import MAX_NANOS
from shared.pricing import Size, TokenBound, bound_tokens, explain, fitting_token_limit
from shared.pricing.bound import CONTEXT_TOKENS, IMAGE_TOKENS, MINIMUM_LIMIT

AT = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
TEXT = Size(1_000, overhead_tokens=0, output_limit=100)


def bounded(size: Size, model: str = "gpt-4o", *, left: int = 0) -> TokenBound:
    found = bound_tokens("openai", model, size, at=AT, left=left)
    assert found is not None
    return found


def fitting(size: Size, tokens: int, model: str = "gpt-4o") -> int | None:
    return fitting_token_limit("openai", model, size, at=AT, tokens=tokens)


def test_it_works() -> None:
    found = bounded(TEXT, left=5_000)
    assert found == TokenBound(1_000, 100, 4_000)
    assert found.total == 1_100


@given(
    st.builds(
        Size,
        st.integers(0, 10**6),
        image_parts=st.integers(0, 3),
        audio_tokens=st.integers(0, 9_000),
        context_inputs=st.booleans(),
        output_limit=st.none() | st.integers(1, 10**6),
        choices=st.integers(1, 4),
        output_free=st.booleans(),
        extra_output_tokens=st.integers(0, 50),
        counted_tokens=st.none() | st.integers(0, 9_000),
    ),
    st.sampled_from([("openai", "gpt-4o"), ("anthropic", "claude-opus-5"), ("gemini", "gemini-2.5-pro")]),
)
def test_they_are_the_figures_of_its_bound_in_money(size: Size, model: tuple[str, str]) -> None:
    found, told = bound_tokens(*model, size, at=AT), explain(*model, size, at=AT, remaining_nanos=0)
    assert isinstance(told, pricing.Bound)
    assert found is not None
    assert (found.input, found.output) == (told.input.units, told.output.units)


def test_no_price_is_needed() -> None:
    size = Size(10, overhead_tokens=0, context_inputs=True, output_limit=5)
    assert bounded(size, "nobody-has-heard-of-it") == TokenBound(CONTEXT_TOKENS, 5, 0)
    assert bounded(Size(10, overhead_tokens=0, image_parts=2, output_limit=5)).input == 10 + 2 * IMAGE_TOKENS["openai"]


def test_what_writes_nothing_uses_its_input_alone() -> None:
    assert bounded(Size(30, overhead_tokens=0, output_free=True), left=10) == TokenBound(30, 0, None)
    assert bounded(Size(0, overhead_tokens=0, tool_fees={"image_generations": 2}, output_free=True)).total == 0


def test_an_answer_of_one_size_offers_no_other() -> None:
    assert bounded(replace(TEXT, output_fixed=True), left=10**6).affordable_output_limit is None


def test_absurd_limits_stay_within_what_counters_count() -> None:
    assert bounded(replace(TEXT, output_limit=10**30)).total == MAX_NANOS


def test_a_feature_that_costs_money_alone_leaves_them_bounded() -> None:
    assert bounded(replace(TEXT, unpriced="inference_geo")).total == 1_100


def test_one_whose_tokens_nobody_can_tell_does_not() -> None:
    hidden = replace(TEXT, unpriced="inference_geo", unbounded="background")
    assert bound_tokens("openai", "gpt-4o", hidden, at=AT) is None
    assert fitting(replace(hidden, output_limit=None), 1_000) is None


# The output limit that the router sets

OPEN = Size(1_000, overhead_tokens=0)


def test_none_is_set_where_the_longest_answer_is_within_an_eighth() -> None:
    assert fitting(OPEN, 8 * (1_000 + 16_384)) is None
    assert fitting(OPEN, 8 * (1_000 + 16_384) - 1) == 16_383


def test_a_limit_of_the_clients_own_is_never_touched() -> None:
    assert fitting(TEXT, 10) is None
    assert fitting(Size(9, output_free=True), 1) is None


def test_it_is_not_less_than_4096_while_that_fits_the_limit() -> None:
    assert fitting(OPEN, 8 * (1_000 + MINIMUM_LIMIT)) == MINIMUM_LIMIT
    assert fitting(OPEN, 1_000 + MINIMUM_LIMIT) == MINIMUM_LIMIT
    assert fitting(replace(OPEN, choices=2), 1_000 + 2 * MINIMUM_LIMIT) == MINIMUM_LIMIT


def test_no_more_is_set_than_the_provider_is_known_to_take() -> None:
    """And so no limit of tokens makes a request one that the provider refuses."""
    for model, taken in (("gpt-4o-2024-05-13", 4_096), ("gpt-5-chat-latest", 16_384), ("computer-use-preview", 1_024)):
        found = {fitting(OPEN, tokens, model) for tokens in range(5_000, 1_000_000, 5_000)} - {None}
        assert max(limit for limit in found if limit is not None) == taken


def test_what_is_left_of_a_small_limit_is_given_once_nobody_can_count() -> None:
    """Bytes are more than tokens: until the provider was asked, no answer is cut shorter than that."""
    counted = replace(OPEN, counted_tokens=100)
    for size in (replace(OPEN, countable=False), counted):
        left = 3_000 - (1_000 if size.counted_tokens is None else 169)
        assert fitting(size, 3_000) == left
    assert fitting(OPEN, 3_000) == MINIMUM_LIMIT
    assert fitting(replace(OPEN, countable=False), 1_015) == MINIMUM_LIMIT, "not even 16 fit: it is refused and told"
