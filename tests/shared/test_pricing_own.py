"""An organisation's own prices beat the table's, for bounds and for costs, and add models that it does not know."""

from datetime import UTC, datetime

from shared import pricing
from shared.pricing import Bound, OwnPrice, Size, Unbounded, Usage, cost, explain

AT = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
HALF = OwnPrice("price_1", "gpt-4o", (("input_tokens", "1.25"), ("output_tokens", "5")))
HOUSE = OwnPrice("price_2", "house-7b", (("input_tokens", "0.1"), ("output_tokens", "0.2")))
BOOK = {("openai", "gpt-4o"): HALF, ("openai", "house-7b"): HOUSE}
COUNTS = {"input_tokens": 1_000, "cache_read_tokens": 400, "output_tokens": 10}


def test_it_works() -> None:
    got = cost("openai", "gpt-4o", Usage(COUNTS, "gpt-4o"), at=AT, book=BOOK)
    assert got.nanos == 1_000 * 1_250 + 10 * 5_000  # a class that is not named costs what its whole costs
    assert got.price is not None
    assert (got.price.json["override"], got.price.json["id"]) == ("price_1", "gpt-4o")
    assert got.flags == ()


def test_another_name_of_the_same_model_has_the_same_price() -> None:
    served = Usage(COUNTS, "gpt-4o-2024-08-06", "priority")
    assert cost("openai", "gpt-4o-2024-08-06", served, at=AT, book=BOOK).nanos == 1_300_000


def test_what_was_asked_for_counts_where_the_served_name_has_no_price() -> None:
    got = cost("openai", "house-7b", Usage(COUNTS, "house-7b-q4"), at=AT, book=BOOK)
    assert got.nanos == 1_000 * 100 + 10 * 200
    assert cost("openai", "house-7b", Usage(COUNTS, "house-7b"), at=AT).price is None


def test_other_models_and_providers_keep_the_tables_price() -> None:
    for slug, model in (("openai", "gpt-4o-mini"), ("anthropic", "claude-opus-4-8")):
        assert cost(slug, model, Usage(COUNTS, model), at=AT, book=BOOK) == cost(
            slug, model, Usage(COUNTS, model), at=AT
        )


def test_a_bound_is_made_of_the_same_price_in_every_tier() -> None:
    size = Size(1_000, overhead_tokens=0, output_limit=10)
    assert pricing.bound("openai", "gpt-4o", size, at=AT, book=BOOK) == 1_000 * 1_250 + 10 * 5_000
    assert pricing.bound("openai", "house-7b", size, at=AT, book=BOOK) == 1_000 * 100 + 10 * 200
    assert pricing.bound("openai", "house-7b", size, at=AT) is None


def test_fees_that_are_not_named_stay_as_the_table_has_them() -> None:
    counts = {"input_tokens": 0, "output_tokens": 0, "web_searches": 2}
    assert cost("openai", "gpt-4o", Usage(counts), at=AT, book=BOOK).nanos == 2 * 10_000_000
    own = OwnPrice("price_3", "gpt-4o", (("input_tokens", "1"), ("web_searches", "7"), ("code_executions", "30")))
    counts["code_executions"] = 1
    got = cost("openai", "gpt-4o", Usage(counts), at=AT, book={("openai", "gpt-4o"): own})
    assert (got.nanos, got.flags) == (2 * 7_000_000 + 30_000_000, ())


def test_sound_needs_a_rate_of_its_own_here_too() -> None:
    spoken = Size(1, classes=("output_audio_tokens",))
    assert explain("openai", "gpt-4o", spoken, at=AT, remaining_nanos=0, book=BOOK) == Unbounded("output_audio_tokens")
    rates = (*HALF.rates, ("output_audio_tokens", "60"))
    book = {("openai", "gpt-4o"): OwnPrice("price_4", "gpt-4o", rates)}
    found = explain("openai", "gpt-4o", spoken, at=AT, remaining_nanos=0, book=book)
    assert isinstance(found, Bound)
    assert found.nanos == 257 * 1_250 + 16_384 * 60_000


def test_an_explanation_sums_up_to_the_bound_and_names_what_fits() -> None:
    size = Size(
        1_000, overhead_tokens=0, output_limit=500, choices=2, tool_fees={"web_searches": 3}, service_tier="default"
    )
    found = explain("openai", "gpt-4o", size, at=AT, remaining_nanos=40_000_000)
    assert isinstance(found, Bound)
    fee = found.fees["web_searches"]
    assert (found.input.units, found.output.units, fee.units) == (1_000, 1_000, 3)
    assert found.nanos == found.input.nanos + found.output.nanos + fee.nanos == 2_500_000 + 10_000_000 + 30_000_000
    assert found.affordable_output_limit == (40_000_000 - 32_500_000) // (2 * 10_000)
    nothing = explain("openai", "gpt-4o", size, at=AT, remaining_nanos=1)
    assert isinstance(nothing, Bound)
    assert nothing.affordable_output_limit == 0
    embedded = explain("openai", "text-embedding-3-small", Size(5, output_free=True), at=AT, remaining_nanos=1)
    assert isinstance(embedded, Bound)
    assert embedded.affordable_output_limit is None


def test_output_that_has_no_price_is_not_free_in_silence() -> None:
    book = {("openai", "reader"): OwnPrice("price_5", "reader", (("input_tokens", "1"),))}
    got = cost("openai", "reader", Usage({"input_tokens": 10, "output_tokens": 5}), at=AT, book=book)
    assert (got.nanos, got.flags) == (10_000, ("unknown_class",))
    assert explain("openai", "reader", Size(1), at=AT, remaining_nanos=0, book=book) == Unbounded("output_tokens")
    assert cost("openai", "reader", Usage({"input_tokens": 10}), at=AT, book=book).flags == ()
