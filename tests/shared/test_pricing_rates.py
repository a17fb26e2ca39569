"""The compiled prices give, exactly, what genai-prices itself computes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal

from genai_prices import Usage as GenaiUsage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.catalog import PROVIDERS
from shared.pricing import Usage, cost
from shared.pricing.rates import cost_sheet

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MODELS = [
    (slug, provider.prices_id, model)
    for slug, provider in PROVIDERS.items()
    for table in get_snapshot().providers
    if table.id == provider.prices_id
    for model in table.models
    if not vars(model.get_prices(NOW)).keys() & {"audio_hours", "input_mchars"}
]
AMOUNT = st.integers(0, 300_000)


def expected_nanos(
    prices_id: str, model: ModelInfo, counts: Mapping[str, int], at: datetime, context: dict[str, str] | None
) -> int:
    table = next(t for t in get_snapshot().providers if t.id == prices_id)
    price = model.calc_price(
        GenaiUsage(**counts), table, genai_request_timestamp=at, price_context=context or None
    ).total_price
    return int((price * 10**9).to_integral_value(ROUND_CEILING))


@settings(max_examples=400, deadline=None)
@given(
    which=st.sampled_from(MODELS),
    plain=AMOUNT,
    read=AMOUNT,
    written=AMOUNT,
    hour=AMOUNT,
    output=AMOUNT,
    reasoning=AMOUNT,
    searches=st.integers(0, 5),
    context=st.fixed_dictionaries(
        {},
        optional={
            "service_tier": st.sampled_from(["default", "flex", "priority", "fast", "standard"]),
            "speed": st.just("fast"),
        },
    ),
    days=st.integers(0, 1200),
)
def test_it_works(
    which: tuple[str, str, ModelInfo],
    plain: int,
    read: int,
    written: int,
    hour: int,
    output: int,
    reasoning: int,
    searches: int,
    context: dict[str, str],
    days: int,
) -> None:
    slug, prices_id, model = which
    if slug == "gemini" and "tts" not in model.id:
        context.pop("service_tier", None)  # our supplement has what the table lacks
    at = datetime.fromtimestamp(NOW.timestamp() - days * 86_400 + 60, UTC)
    counts = {
        "input_tokens": plain + read + written + hour,
        "cache_read_tokens": read,
        "cache_write_tokens": written + hour,
        "cache_write_1h_tokens": hour,
        "output_tokens": output + reasoning,
        "output_reasoning_tokens": reasoning,
        "web_searches": searches,
    }
    if "web_searches_kcount" not in vars(model.get_prices(at)):
        del counts["web_searches"]  # our supplement has a price for it
    tier, speed = context.get("service_tier"), context.get("speed")
    expected = expected_nanos(prices_id, model, counts, at, context)
    if cost_sheet(slug, model.id, tier, speed, at.timestamp()) is None:
        return  # the id of the entry is not a name that its own match accepts
    got = cost(slug, model.id, Usage(counts, None, tier, speed), at=at.timestamp())
    assert got.price is not None
    if got.price.id == model.id:
        assert got.nanos == expected


@settings(max_examples=200, deadline=None)
@given(
    text=AMOUNT,
    audio=AMOUNT,
    cached_text=AMOUNT,
    cached_audio=AMOUNT,
    out_text=AMOUNT,
    out_image=AMOUNT,
    model=st.sampled_from(["gemini-2.5-flash", "gemini-embedding-2", "gemini-3-pro-image-preview", "gemini-2.5-pro"]),
)
def test_modalities_have_their_own_rates(
    text: int, audio: int, cached_text: int, cached_audio: int, out_text: int, out_image: int, model: str
) -> None:
    if "image" not in model:
        out_image = 0  # it has no price for it, and writes none
    if "embedding" in model:
        out_text = 0
    counts = {
        "input_tokens": text + audio + cached_text + cached_audio,
        "input_text_tokens": text + cached_text,
        "input_audio_tokens": audio + cached_audio,
        "cache_read_tokens": cached_text + cached_audio,
        "cache_text_read_tokens": cached_text,
        "cache_audio_read_tokens": cached_audio,
        "output_tokens": out_text + out_image,
        "output_text_tokens": out_text,
        "output_image_tokens": out_image,
    }
    table = next(t for t in get_snapshot().providers if t.id == "google")
    info = table.find_model(model)
    assert info is not None
    got = cost("gemini", model, Usage(counts, model), at=NOW.timestamp())
    assert got.nanos == expected_nanos("google", info, counts, NOW, None)
    assert got.flags == ()


def test_most_models_of_the_table_are_compiled() -> None:
    compiled = [m for slug, _, m in MODELS if cost_sheet(slug, m.id, None, None, NOW.timestamp()) is not None]
    assert len(compiled) > 0.9 * len(MODELS)


def test_a_price_is_that_of_the_day_of_admission() -> None:
    usage = Usage({"input_tokens": 1_000_000, "output_tokens": 0})
    before = datetime(2025, 6, 9, 23, 59, 59, tzinfo=UTC).timestamp()
    assert cost("openai", "o3", usage, at=before).nanos == 10 * 10**9
    assert cost("openai", "o3", usage, at=before + 1).nanos == 2 * 10**9


def test_a_tier_applies_to_all_tokens_once_it_is_passed() -> None:
    at = NOW.timestamp()
    below = cost("anthropic", "claude-haiku-5-5", Usage({"input_tokens": 100_000, "output_tokens": 0}), at=at)
    above = cost("anthropic", "claude-haiku-5-5", Usage({"input_tokens": 100_001, "output_tokens": 0}), at=at)
    assert above.nanos > 4 * below.nanos
    assert above.price is not None
    assert below.price is not None
    assert Decimal(above.price.json["rates"]["input_tokens"]) > Decimal(below.price.json["rates"]["input_tokens"])


def test_a_row_recomputes_from_its_price() -> None:
    usage = Usage({"input_tokens": 1_234, "cache_read_tokens": 234, "output_tokens": 77}, "gpt-4o", "priority")
    got = cost("openai", "gpt-4o", usage, at=NOW.timestamp())
    assert got.price is not None
    rates = {key: Decimal(value) for key, value in got.price.json["rates"].items()}
    dollars = (1000 * rates["input_tokens"] + 234 * rates["cache_read_tokens"] + 77 * rates["output_tokens"]) / 10**6
    assert got.nanos == int((dollars * 10**9).to_integral_value(ROUND_CEILING))
    assert got.price.json["service_tier"] == "priority"
    assert got.price.json["version"] == got.price.version
