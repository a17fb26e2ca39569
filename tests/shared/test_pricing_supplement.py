"""What is sold by something else than tokens, and the models that the price table lacks."""

from decimal import ROUND_CEILING, Decimal

import pytest

from shared.pricing import Bound, OwnPrice, PriceBook, Size, Unbounded, Usage, bound, cost, explain

D = Decimal
AT = 1_795_600_000.0  # in November 2026


def nanos(dollars: Decimal) -> int:
    return int((dollars * 10**9).to_integral_value(ROUND_CEILING))


@pytest.mark.parametrize(
    ("model", "counts", "dollars"),
    [
        ("whisper-1", {"audio_seconds": 61}, D(61) * D("0.36") / 3_600),
        ("gpt-transcribe", {"audio_seconds": 1}, D("0.27") / 3_600),
        ("tts-1", {"input_characters": 4_096}, D(4_096) * D(15) / 10**6),
        ("tts-1-hd", {"input_characters": 1}, D(30) / 10**6),
        ("dall-e-2", {"image_generations": 3}, D("0.060")),
        ("dall-e-2 256x256", {"image_generations": 3}, D("0.048")),
        ("DALL-E-3 hd 1024x1024", {"image_generations": 1}, D("0.080")),
        ("gpt-image-2.6-flare", {"input_tokens": 10, "output_tokens": 100}, (D(50) + D(3_000)) / 10**6),
        ("gpt-4o-mini-tts-2025-12-15", {"output_tokens": 100}, D(1_200) / 10**6),
        ("gpt-4o-mini-transcribe-2025-12-15", {"input_tokens": 10, "input_audio_tokens": 10}, D(30) / 10**6),
        ("ft:davinci-002:acme::x", {"input_tokens": 1000, "output_tokens": 100}, D(12 * 1_100) / 10**6),
        ("ft:babbage-002:acme::x", {"input_tokens": 1000, "output_tokens": 100}, D("1.6") * 1_100 / 10**6),
        ("gpt-image-2.5-flare-2026-09-08", {"output_tokens": 100}, D(3_000) / 10**6),
    ],
)
def test_it_works(model: str, counts: dict[str, int], dollars: Decimal) -> None:
    found = cost("openai", model, Usage(counts), at=AT)
    assert (found.nanos, found.flags) == (nanos(dollars), ())


@pytest.mark.parametrize(
    ("model", "thousandths"),
    [
        *((name, 25) for name in ("gpt-4o", "gpt-5-chat-latest", "gpt-5.3-chat-latest", "GPT-5-Chat-Latest")),
        *((name, 10) for name in ("gpt-5", "gpt-5.3-codex", "o4-mini", "ft:o4-mini-2025-04-16:o::x")),
    ],
)
def test_a_search_by_the_older_tool_costs_by_the_very_name_of_a_model(model: str, thousandths: int) -> None:
    """Chat models share an entry of the price table with reasoning ones."""
    found = cost("openai", model, Usage({"web_search_previews": 3}), at=AT)
    assert (found.nanos, found.flags) == (3 * thousandths * 10**6, ())
    size = Size(0, tool_fees={"web_search_previews": 1}, output_limit=1)
    bounded = explain("openai", model, size, at=AT, remaining_nanos=10**12)
    assert isinstance(bounded, Bound)
    assert bounded.fees["web_search_previews"].nanos == thousandths * 10**6


@pytest.mark.parametrize(
    ("model", "counts"),
    [
        ("gpt-4o", {"audio_seconds": 1}),
        ("gpt-4o", {"input_characters": 1}),
        ("whisper-1", {"input_tokens": 1}),
        ("tts-1", {"input_characters": 1, "output_tokens": 1}),
    ],
)
def test_what_a_model_is_not_sold_by_is_flagged(model: str, counts: dict[str, int]) -> None:
    assert cost("openai", model, Usage(counts), at=AT).flags == ("unknown_class",)
    assert cost("openai", model, Usage(dict.fromkeys(counts, 0)), at=AT).flags == ()


@pytest.mark.parametrize(
    ("snapshot", "model", "counts"),
    [
        ("tts-1-1106", "tts-1", {"input_characters": 1_000}),
        ("TTS-1-HD-1106", "tts-1-hd", {"input_characters": 1_000}),
        ("gpt-image-1-2025-04-15", "gpt-image-1", {"input_tokens": 10, "output_image_tokens": 100}),
        ("gpt-image-1-mini-2025-10-06", "gpt-image-1-mini", {"input_tokens": 10, "output_image_tokens": 100}),
        ("gpt-5-search-api-2025-10-14", "gpt-5-search-api", {"input_tokens": 10, "output_tokens": 100}),
        ("gpt-4o-transcribe-diarize-2025-10-15", "gpt-4o-transcribe-diarize", {"input_audio_tokens": 10}),
        ("dall-e-3-2025-01-01", "dall-e-3", {"image_generations": 1}),
    ],
)
def test_a_dated_snapshot_costs_what_its_model_costs(snapshot: str, model: str, counts: dict[str, int]) -> None:
    found = cost("openai", snapshot, Usage(counts), at=AT)
    assert found.nanos == cost("openai", model, Usage(counts), at=AT).nanos > 0
    assert found.flags == ()


def test_a_snapshot_with_a_price_of_its_own_keeps_it() -> None:
    counts = {"input_tokens": 1_000, "output_tokens": 1_000}
    older = cost("openai", "gpt-4o-2024-05-13", Usage(counts), at=AT)
    assert older.nanos == nanos(D(5_000 + 15_000) / 10**6) > cost("openai", "gpt-4o", Usage(counts), at=AT).nanos


@pytest.mark.parametrize(
    "name", ["nobody-2025-10-14", "gpt-4o-20251", "tts-1-1306", "tts-1-1132", "tts-1-2025-10", "ft:tts-1:acme-1106"]
)
def test_a_name_that_only_looks_dated_has_no_price(name: str) -> None:
    assert cost("openai", name, Usage({"input_tokens": 1}), at=AT).flags == ("unpriced",)


def test_a_price_of_ones_own_holds_for_snapshots_too() -> None:
    own = OwnPrice("price_1", "tts-1", (("input_tokens", "0"), ("input_characters", "3")))
    found = cost("openai", "tts-1-1106", Usage({"input_characters": 1_000}), at=AT, book={("openai", "tts-1"): own})
    assert found.nanos == nanos(D(3_000) / 10**6)


def test_it_costs_the_most_that_any_model_of_the_provider_asks_for_it() -> None:
    characters = cost("openai", "gpt-4o", Usage({"input_characters": 1_000}), at=AT)
    assert characters.nanos == nanos(D(1_000) * D(30) / 10**6)
    assert cost("openai", "gpt-4o", Usage({"audio_seconds": 3_600}), at=AT).nanos >= nanos(D("1.02"))


def test_a_bound_is_made_of_what_a_model_is_sold_by() -> None:
    size = Size(0, overhead_tokens=0, tool_fees={"audio_seconds": 3_600}, output_free=True)
    assert bound("openai", "whisper-1", size, at=AT) == nanos(D("0.36"))
    assert bound("openai", "dall-e-3", Size(0, overhead_tokens=0, tool_fees={"image_generations": 2}, output_free=True), at=AT) == nanos(D("0.240"))  # fmt: skip


@pytest.mark.parametrize(
    ("model", "size", "what"),
    [
        ("whisper-1", Size(100), "input_tokens"),
        ("dall-e-3", Size(100, output_free=True), "input_tokens"),
        ("gpt-4o", Size(0, tool_fees={"audio_seconds": 1}, output_free=True), "audio_seconds"),
        ("gpt-4o", Size(0, tool_fees={"input_characters": 1}, output_free=True), "input_characters"),
    ],
)
def test_what_a_model_is_not_sold_by_has_no_bound(model: str, size: Size, what: str) -> None:
    assert bound("openai", model, size, at=AT) is None
    assert explain("openai", model, size, at=AT, remaining_nanos=0) == Unbounded(what)


def test_an_output_that_no_request_could_limit_has_no_limit_that_would_fit() -> None:
    limited = explain("openai", "gpt-4o", Size(10, output_limit=100), at=AT, remaining_nanos=10**6)
    fixed = explain("openai", "gpt-4o", Size(10, output_limit=100, output_fixed=True), at=AT, remaining_nanos=10**6)
    assert isinstance(limited, Bound)
    assert isinstance(fixed, Bound)
    assert limited.affordable_output_limit is not None
    assert (fixed.nanos, fixed.affordable_output_limit) == (limited.nanos, None)


def test_an_organisation_may_have_a_price_by_the_hour() -> None:
    own = OwnPrice("price_1", "whisper-1", (("input_tokens", "0"), ("audio_seconds", "0.18")))
    book: PriceBook = {("openai", "whisper-1"): own}
    assert cost("openai", "whisper-1", Usage({"audio_seconds": 3_600}), at=AT, book=book).nanos == nanos(D("0.18"))
    tokens_only = {("openai", "whisper-1"): OwnPrice("price_2", "whisper-1", (("input_tokens", "1"),))}
    found = cost("openai", "whisper-1", Usage({"audio_seconds": 3_600}), at=AT, book=tokens_only)
    assert (found.nanos, found.flags) == (nanos(D("0.36")), ())
