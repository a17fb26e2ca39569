from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.money import MAX_NANOS
from shared.pricing import MAX_COUNT, OwnPrice, Usage, cost, cost_of_pictures
from shared.pricing.rates import cost_sheet

AT = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()


def test_it_works() -> None:
    got = cost("openai", "gpt-4o", Usage({"input_tokens": 1000, "output_tokens": 100}, "gpt-4o-2024-08-06"), at=AT)
    assert got.nanos == 1000 * 2_500 + 100 * 10_000
    assert got.price is not None
    assert (got.price.id, got.flags) == ("gpt-4o", ())


def test_fractions_of_a_nano_are_rounded_up_once() -> None:
    assert (
        cost("gemini", "gemini-2.5-flash-lite", Usage({"input_tokens": 1, "cache_read_tokens": 1}), at=AT).nanos == 10
    )
    got = cost(
        "openai", "gpt-6.1-terra", Usage({"input_tokens": 1, "cache_read_tokens": 1}, service_tier="flex"), at=AT
    )
    assert got.nanos == 25  # 0.025 dollars a million
    tiny = cost("openai", "gpt-5-nano", Usage({"input_tokens": 1, "cache_read_tokens": 1}, service_tier="flex"), at=AT)
    assert tiny.nanos == 3  # 2.5


def test_an_unknown_model_is_unpriced() -> None:
    got = cost("openai", "llama", Usage({"input_tokens": 5, "output_tokens": 5}, "llama-2"), at=AT)
    assert (got.nanos, got.price, got.flags) == (0, None, ("unpriced",))
    assert cost("openai", None, Usage({}), at=AT).flags == ("unpriced",)


def test_pictures_of_an_untold_model_cost_the_dearest_that_only_paints() -> None:
    usage = Usage({"output_tokens": 100, "output_image_tokens": 100})
    got = cost_of_pictures("openai", usage, at=AT)
    assert got.nanos == max(cost("openai", f"gpt-image-{n}", usage, at=AT).nanos for n in ("1", "1-mini", "1.5")) > 0
    assert "unknown_class" in got.flags


@pytest.mark.parametrize("slug", ["anthropic", "gemini"])
def test_pictures_of_a_provider_none_of_whose_models_only_paint_are_unpriced(slug: str) -> None:
    got = cost_of_pictures(slug, Usage({"output_tokens": 100, "output_image_tokens": 100}), at=AT)
    assert (got.nanos, got.price, got.flags) == (0, None, ("unpriced",))


@pytest.mark.parametrize("model", ["whisper-1", "tts-1"])
def test_tokens_of_models_that_are_sold_otherwise_are_flagged(model: str) -> None:
    found = cost("openai", model, Usage({"input_tokens": 100, "output_tokens": 1}), at=AT)
    assert (found.nanos, found.flags) == (0, ("unknown_class",))


def test_a_free_model_has_a_price_of_nothing() -> None:
    got = cost("gemini", "gemma-3-27b-it", Usage({"input_tokens": 100, "output_tokens": 10}), at=AT)
    assert got.nanos == 0
    assert got.price is not None
    assert got.price.id == "gemma-3"


def test_the_served_model_decides() -> None:
    usage = Usage({"input_tokens": 1000, "output_tokens": 0}, "gpt-4o-mini-2024-07-18")
    assert cost("openai", "gpt-4o", usage, at=AT).nanos == 150_000


def test_an_unknown_served_model_is_priced_as_requested() -> None:
    got = cost("openai", "gpt-4o", Usage({"input_tokens": 1000, "output_tokens": 0}, "mystery"), at=AT)
    assert (got.nanos, got.flags) == (2_500_000, ("served_model_unpriced",))


def test_the_service_tier_decides() -> None:
    counts = {"input_tokens": 1000, "output_tokens": 0}
    assert cost("openai", "gpt-4o", Usage(counts, service_tier="priority"), at=AT).nanos == 4_250_000
    assert cost("openai", "gpt-4o", Usage(counts, service_tier="standard"), at=AT).nanos == 2_500_000
    assert cost("anthropic", "claude-opus-5", Usage(counts, speed="fast"), at=AT).nanos == 10_000_000


def test_classes_nobody_knows_cost_the_dearest_rate() -> None:
    counts = {"input_tokens": 1000, "unknown_input_tokens": 1000, "output_tokens": 0}
    got = cost("anthropic", "claude-opus-5", Usage(counts, unknown=True), at=AT)
    assert (got.nanos, got.flags) == (10_000_000, ("unknown_class",))  # written to the cache for an hour


def test_estimates_are_flagged() -> None:
    assert cost("openai", "gpt-4o", Usage({"input_tokens": 1}, estimated=True), at=AT).flags == ("estimated",)


def test_parts_above_their_whole_are_all_charged() -> None:
    got = cost("openai", "gpt-4o", Usage({"input_tokens": 10, "cache_read_tokens": 100, "output_tokens": 0}), at=AT)
    assert (got.nanos, got.flags) == (100 * 1_250, ("inconsistent",))


def test_calls_of_a_tool_without_a_price_are_flagged() -> None:
    counts = {"input_tokens": 10, "output_tokens": 0, "code_executions": 1}
    assert "unpriced_tool" in cost("openai", "gpt-4o", Usage(counts), at=AT).flags
    counts = {"input_tokens": 10, "output_tokens": 0, "web_searches": 1}
    assert cost("openai", "gpt-4o", Usage(counts), at=AT).nanos == 10 * 2_500 + 10_000_000


@pytest.mark.parametrize("value", [-1, 10**30, 1e30, "12", None, True, 1.5, [], float("nan")])
def test_nonsense_never_crashes_and_is_never_negative(value: Any) -> None:
    got = cost("openai", "gpt-4o", Usage({"input_tokens": 10, "output_tokens": value}), at=AT)
    assert 10 * 2_500 <= got.nanos <= 10 * 2_500 + MAX_COUNT * 10_000
    assert "clamped" in got.flags


@settings(max_examples=200, deadline=None)
@given(
    counts=st.dictionaries(
        st.sampled_from(
            ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
             "input_audio_tokens", "cache_audio_read_tokens", "unknown_input_tokens", "web_searches", "strange"]
        ),
        st.integers(-(10**40), 10**40) | st.integers(0, 10**6),
    ),
    model=st.sampled_from([("openai", "gpt-6-sol"), ("anthropic", "claude-sonnet-4-5"), ("gemini", "gemini-2.5-flash")]),
)  # fmt: skip
def test_every_cost_is_a_sum_that_a_counter_can_hold(counts: dict[str, int], model: str) -> None:
    got = cost(model[0], model[1], Usage(counts), at=AT)
    assert type(got.nanos) is int
    assert 0 <= got.nanos <= MAX_NANOS


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 1000), st.sampled_from(["input_tokens", "output_tokens"]))
def test_more_tokens_never_cost_less(count: int, more: int, key: str) -> None:
    counts = {"input_tokens": 1000, "output_tokens": 1000, key: count}
    less = cost("gemini", "gemini-2.5-pro", Usage(counts), at=AT)
    assert cost("gemini", "gemini-2.5-pro", Usage({**counts, key: count + more}), at=AT).nanos >= less.nanos


CLASSES = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "input_audio_tokens", "web_searches",
    "output_audio_tokens", "output_reasoning_tokens", "unknown_input_tokens", "unknown_output_tokens", "code_executions",
)  # fmt: skip


@given(st.lists(st.dictionaries(st.sampled_from(CLASSES), st.integers(0, 10_000)), min_size=1, max_size=20))
def test_what_is_remembered_of_a_model_makes_nothing_cost_otherwise(usages: list[dict[str, int]]) -> None:
    def prices() -> list[tuple[int, tuple[str, ...]]]:
        found = [cost("openai", "gpt-4o", Usage(counts), at=AT) for counts in usages]
        return [(each.nanos, each.flags) for each in found]

    sheet = cost_sheet("openai", "gpt-4o", None, None, AT)
    assert sheet is not None
    sheet.bands[0].formulas.clear()
    first = prices()
    assert prices() == first
    usages.reverse()
    sheet.bands[0].formulas.clear()
    assert prices() == first[::-1]


def test_of_a_model_only_so_much_is_remembered() -> None:
    sheet = cost_sheet("openai", "gpt-4o", None, None, AT)
    assert sheet is not None
    orders = list(permutations(CLASSES[:5]))
    costs = {cost("openai", "gpt-4o", Usage(dict.fromkeys(order, 1_000)), at=AT).nanos for order in orders}
    assert len(costs) == 1
    assert len(sheet.bands[0].formulas) <= 64 < len(orders)


def test_a_batch_costs_what_the_table_says_of_batches() -> None:
    usage = Usage({"input_tokens": 1000, "output_tokens": 100}, "claude-sonnet-4-6", "batch", batch=True)
    got = cost("anthropic", "claude-sonnet-4-6", usage, at=AT)
    assert got.nanos == 1000 * 1_500 + 100 * 7_500
    assert got.price is not None
    assert (got.price.json["processing"], got.flags) == ("batch", ())
    part = Usage({"input_tokens": 10, "output_tokens": 10}, "gpt-4o-mini", batch=True)
    both = Usage({"input_tokens": 1000, "output_tokens": 100}, "gpt-5", "default", batch=True, parts=(part,))
    assert cost("openai", "gpt-5", both, at=AT).nanos == 1000 * 625 + 100 * 5_000 + 10 * 75 + 10 * 300


def test_a_model_without_prices_for_batches_is_charged_in_full_and_flagged() -> None:
    usage = Usage({"input_tokens": 1000}, "text-embedding-3-small", batch=True)
    got = cost("openai", "text-embedding-3-small", usage, at=AT)
    assert (got.nanos, got.flags) == (20_000, ("unknown_class",))
    assert cost("openai", "llama", Usage({"input_tokens": 1}, batch=True), at=AT).flags == ("unpriced",)


def test_a_price_of_ones_own_holds_for_batches_as_it_is() -> None:
    own = OwnPrice("price_1", "gpt-4o", (("input_tokens", "1"), ("output_tokens", "2")))
    usage = Usage({"input_tokens": 1000, "output_tokens": 100}, "gpt-4o", batch=True)
    assert cost("openai", "gpt-4o", usage, at=AT, book={("openai", "gpt-4o"): own}).nanos == 1_200_000
