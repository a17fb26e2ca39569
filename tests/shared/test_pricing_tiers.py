"""Prices of service tiers, speeds and regions: those that the table lacks, and what becomes of those that nobody has."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from msgspec.structs import replace

from shared.pricing import Bound, OwnPrice, PriceBook, Size, Unbounded, Usage, bound, bound_tokens, cost, explain, table
from shared.pricing.bound import CONTEXT_TOKENS
from shared.pricing.rates import bound_sheet

AT = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
LATER = datetime(2027, 1, 2, tzinfo=UTC).timestamp()
MILLION = {"input_tokens": 10**6, "output_tokens": 10**6}
SMALL = {"input_tokens": 10**5, "output_tokens": 10**5}


def dollars(slug: str, usage: Usage, at: float = AT) -> tuple[Decimal, tuple[str, ...]]:
    found = cost(slug, usage.model, usage, at=at)
    return Decimal(found.nanos) / 10**9, found.flags


def bounded(slug: str, model: str, size: Size, book: PriceBook | None = None) -> int | str | None:
    """Nano-dollars; of what has no bound the reason."""
    found = explain(slug, model, size, at=AT, remaining_nanos=10**12, book=book)
    return found.what if isinstance(found, Unbounded) else found.nanos


@pytest.mark.parametrize(
    ("model", "tier", "counts", "expected"),
    [
        ("gemini-3.1-pro-preview", "priority", MILLION, "39.6"),  # 7.2 and 32.4 above 200,000
        ("gemini-3.1-pro-preview", "priority", SMALL, "2.52"),
        ("gemini-3.8-flash", "priority", MILLION, "8.1"),
        ("gemini-2.5-flash", "priority", MILLION, "5.04"),
        ("gemini-2.5-flash", "priority", {**MILLION, "input_audio_tokens": 10**6}, "6.3"),
        ("gemini-2.5-flash", "priority", {"input_tokens": 10**6, "cache_read_tokens": 10**6}, "0.054"),
        ("gemini-2.5-flash", "flex", MILLION, "1.4"),
        ("gemini-2.5-flash", "flex", {"input_tokens": 10**6, "cache_read_tokens": 10**6}, "0.03"),
        ("gemini-3.6-flash", "flex", {"input_tokens": 10**6, "cache_read_tokens": 10**6}, "0.0375"),
        ("gemini-3.5-flash", "flex", {"input_tokens": 10**6, "cache_read_tokens": 10**6}, "0.08"),
        ("gemini-2.5-pro", "flex", MILLION, "8.75"),
        ("gemini-4-argon", "priority", MILLION, "21.6"),
        ("gemini-pro-latest", "priority", SMALL, "2.52"),
        ("gemini-3.8-flash-tts", "priority", MILLION, "17.1"),  # as the table itself has it
    ],
)
def test_it_works(model: str, tier: str, counts: dict[str, int], expected: str) -> None:
    assert dollars("gemini", Usage(counts, model, tier)) == (Decimal(expected), ())


@pytest.mark.parametrize("model", ["gemini-4-argon", "gemini-3.8-flash"])
def test_a_tier_follows_the_prices_of_the_day(model: str) -> None:
    """Both are to cost twice as much from a day on that the table names."""
    before, after = (dollars("gemini", Usage(MILLION, model, "priority"), at)[0] for at in (AT, LATER))
    assert after == 2 * before == Decimal("1.8") * dollars("gemini", Usage(MILLION, model), LATER)[0]


def test_no_tier_of_gemini_is_cheaper_than_flex_or_dearer_than_priority() -> None:
    for name in table.current_models("google"):
        prices = [cost("gemini", name, Usage(SMALL, name, tier), at=AT).nanos for tier in ("flex", None, "priority")]
        assert prices == sorted(prices), name


def test_a_request_to_gemini_is_held_at_the_tier_that_it_names() -> None:
    """Google serves one that names none at the standard tier, and no setting of a project changes that."""
    size = Size(1_000, overhead_tokens=0, output_limit=1_000)
    standard, priority = (
        bounded("gemini", "gemini-3.8-flash", replace(size, service_tier=t)) for t in ("standard", "priority")
    )
    assert (standard, priority) == (4_500_000, 8_100_000)
    assert bounded("gemini", "gemini-3.8-flash", size) == standard
    assert bounded("gemini", "gemini-3.8-flash", replace(size, service_tier="unspecified")) == standard
    assert bounded("gemini", "gemini-3.8-flash", replace(size, service_tier="auto")) == standard
    assert bounded("gemini", "gemini-3.8-flash", replace(size, service_tier="2")) == priority


@pytest.mark.parametrize("tier", ["priority", "3", "2", "urgent"])
def test_a_tier_that_may_be_priority_is_refused_where_that_has_no_price(tier: str) -> None:
    """An enum may be told by its number, of which no page says which tier that is."""
    size = Size(1_000, overhead_tokens=0, output_limit=1_000)
    for model in ("gemini-omni-1.1-flash", "gemini-3-pro-image-preview"):
        assert bounded("gemini", model, replace(size, service_tier=tier)) == "service_tier priority"
        for harmless in (None, "auto", "flex", "standard", "unspecified"):
            assert isinstance(bounded("gemini", model, replace(size, service_tier=harmless)), int)
    for unnamed in (None, "auto", "scale"):
        assert isinstance(bounded("openai", "gpt-5-nano", replace(size, service_tier=unnamed)), int)


UNTOLD = [
    ("openai", "gpt-5-pro", Size(10, service_tier="priority"), "service_tier priority"),
    ("openai", "gpt-audio", Size(10, service_tier="fast"), "service_tier fast"),
    ("anthropic", "claude-opus-4-6", Size(10, speed="fast"), "speed fast"),
    ("anthropic", "claude-haiku-4-5", Size(10, region="us"), "inference_geo"),
    ("gemini", "gemini-3.1-flash-image-preview", Size(10, service_tier="priority"), "service_tier priority"),
    ("gemini", "gemini-3-pro-image-preview", Size(10, service_tier="priority"), "service_tier priority"),
]


@pytest.mark.parametrize(("slug", "model", "size", "what"), UNTOLD)
def test_a_dearer_one_without_a_price_is_a_feature_that_nobody_can_bound(
    slug: str, model: str, size: Size, what: str
) -> None:
    assert bounded(slug, model, size) == what
    assert bound(slug, model, size, at=AT) is None
    assert bound_tokens(slug, model, size, at=AT) is not None, "its tokens are bounded"
    assert isinstance(bounded(slug, model, replace(size, service_tier="default", speed=None, region="global")), int)
    own = {(slug, model): OwnPrice("price_1", model, (("input_tokens", "1"), ("output_tokens", "1")))}
    assert isinstance(bounded(slug, model, size, own), int), "a price of one's own holds for all of them"
    usage = Usage(SMALL, model, size.service_tier, size.speed, region=size.region)
    assert "unknown_class" not in cost(slug, model, usage, at=AT, book=own).flags


@pytest.mark.parametrize(("slug", "model", "size", "what"), UNTOLD)
def test_charged_at_what_is_known_it_is_flagged(slug: str, model: str, size: Size, what: str) -> None:
    usage = Usage(SMALL, model, size.service_tier, size.speed, region=size.region)
    found, standard = cost(slug, model, usage, at=AT), cost(slug, model, Usage(SMALL, model), at=AT)
    assert (found.flags, standard.flags) == (("unknown_class",), ()), what
    assert found.nanos >= standard.nanos
    parts = cost(slug, model, Usage(SMALL, model, parts=(usage,)), at=AT)
    assert "unknown_class" in parts.flags


def test_what_is_told_or_costs_no_more_is_neither() -> None:
    assert isinstance(bounded("openai", "gpt-4.1", Size(10, service_tier="flex")), int)
    assert isinstance(bounded("anthropic", "claude-opus-5", Size(10, speed="fast")), int)
    assert dollars("anthropic", Usage(SMALL, "claude-opus-5", "priority"))[1] == ()  # capacity that was paid for
    assert dollars("openai", Usage(SMALL, "gpt-5-pro", "default"))[1] == ()
    assert dollars("gemini", Usage(SMALL, "gemma-3-27b-it", "priority")) == (Decimal(0), ())


# Regions of Anthropic


@pytest.mark.parametrize(
    ("model", "counts", "dear"),
    [
        ("claude-opus-4-8", {"input_tokens": 40, "output_tokens": 10_000}, "0.27522"),
        ("claude-opus-5", {"input_tokens": 10**6, "cache_write_tokens": 10**6, "cache_write_1h_tokens": 10**6}, "11"),
        ("claude-opus-5", {"input_tokens": 10**6, "cache_read_tokens": 10**6}, "0.55"),
        ("claude-haiku-5-5", {"input_tokens": 10**6, "output_tokens": 0}, "0.55"),  # of the dearer step
    ],
)
def test_inference_in_the_us_costs_a_tenth_more(model: str, counts: dict[str, int], dear: str) -> None:
    assert dollars("anthropic", Usage(counts, model, region="us")) == (Decimal(dear), ())
    found = cost("anthropic", model, Usage(counts, model, region="us"), at=AT)
    assert found.price is not None
    assert found.price.json["inference_geo"] == "us"


@pytest.mark.parametrize("beside", [{"speed": "fast"}, {"batch": True}])
def test_it_does_so_beside_other_prices(beside: dict[str, object]) -> None:
    usage = Usage(SMALL, "claude-opus-5", **beside)  # type: ignore[arg-type]
    near = replace(usage, region="us")
    assert dollars("anthropic", near) == (Decimal("1.1") * dollars("anthropic", usage)[0], ())
    assert dollars("anthropic", usage)[0] != dollars("anthropic", Usage(SMALL, "claude-opus-5"))[0]


def test_fees_are_the_same_everywhere() -> None:
    usage = Usage({"web_searches": 3}, "claude-opus-5", region="us")
    assert dollars("anthropic", usage) == (Decimal("0.03"), ())


def test_a_region_is_held_where_the_request_names_it() -> None:
    size = Size(1_000, overhead_tokens=0, output_limit=1_000, cache_writes=False)
    held = {
        name: bounded("anthropic", "claude-opus-4-8", replace(size, region=name)) for name in (None, "us", "global")
    }
    assert held == {None: 30_000_000, "us": 33_000_000, "global": 30_000_000}
    assert bounded("anthropic", "claude-haiku-4-5", size) == 6_000_000, "it has none"


# Context windows


def window(slug: str, model: str) -> int:
    sheet = bound_sheet(slug, model, None, None, AT)
    assert sheet is not None
    return sheet.context_tokens or CONTEXT_TOKENS


@pytest.mark.parametrize(
    ("slug", "model", "tokens"),
    [
        ("openai", "gpt-4.1-nano", 1_047_576),
        ("openai", "ft:gpt-4.1-2025-04-14:org::id", 1_047_576),
        ("openai", "gpt-5.5-pro", 1_050_000),
        ("openai", "gpt-4o", 128_000),
        ("gemini", "gemini-3.8-flash", 1_048_576),
        ("gemini", "gemini-2.5-flash-lite", 1_048_576),
        ("gemini", "gemini-pro-latest", 1_048_576),
        ("gemini", "gemini-embedding-2", 8_192),
        ("gemini", "gemini-2.5-flash-lite-preview-tts", 8_192),
    ],
)
def test_a_window_is_as_large_as_the_providers(slug: str, model: str, tokens: int) -> None:
    assert window(slug, model) == tokens
    told = explain(slug, model, Size(0, context_inputs=True, output_free=True), at=AT, remaining_nanos=0)
    assert isinstance(told, Bound)
    assert told.input.units == tokens


def test_every_window_reaches_beyond_the_steps_of_the_price_but_one_that_was_closed() -> None:
    short = set()
    for slug, prices_id in table.PRICES_IDS.items():
        for name in table.current_models(prices_id):
            model = table.find_model(prices_id, name)
            steps = (
                []
                if model is None
                else [at for _, rates in model.prices for rate in rates.values() for at, _ in rate.steps]
            )
            if steps and "claude" in name and slug == "gemini":
                continue  # not sold by Google's API
            if steps and window(slug, name) <= max(steps):
                short.add(name)
    assert short == {"claude-sonnet-4-5"}


@pytest.mark.parametrize(
    ("slug", "model", "text_bytes", "counts"),
    [
        ("openai", "gpt-audio", 127_000, {"input_tokens": 120_000, "input_audio_tokens": 90_000}),
        ("gemini", "gemini-2.5-flash", 1_048_000, {"input_tokens": 1_000_000, "input_audio_tokens": 780_000}),
        ("gemini", "gemini-embedding-2", 8_000, {"input_tokens": 8_000, "input_video_tokens": 6_000}),
    ],
)
def test_bytes_of_text_take_no_room_from_what_cannot_be_seen(
    slug: str, model: str, text_bytes: int, counts: dict[str, int]
) -> None:
    """Text has fewer tokens than bytes, so that nearly all of a window may be sound or film beside it."""
    size = Size(text_bytes, context_inputs=True, output_free=True)
    held, alone = (bound(slug, model, each, at=AT) for each in (size, replace(size, text_bytes=0)))
    assert held is not None
    assert alone is not None
    assert cost(slug, model, Usage(counts, model), at=AT).nanos <= alone <= held
