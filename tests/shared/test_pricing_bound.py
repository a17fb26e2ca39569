from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from shared import pricing
from shared.catalog import output_maximum
from shared.money import MAX_NANOS
from shared.output_limits import accepted_limit
from shared.pricing import PriceBook, Size, Usage, bound_parts, cost, fitting_output_limit
from shared.pricing.bound import CONTEXT_TOKENS, IMAGE_TOKENS, MINIMUM_LIMIT, Bound, explain
from shared.pricing.own import OwnPrice

AT = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
MODELS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-6-sol"),
    ("openai", "gpt-audio"),
    ("openai", "o3"),
    ("anthropic", "claude-haiku-5-5"),
    ("anthropic", "claude-opus-5"),
    ("anthropic", "claude-3-haiku-20240307"),
    ("gemini", "gemini-2.5-flash"),
    ("gemini", "gemini-2.5-pro"),
    ("gemini", "gemini-3-pro-image-preview"),
    ("gemini", "gemini-4-argon"),
]


def bound(slug: str, model: str, size: Size, *, at: float, output_limit: int | None = None) -> int:
    """The bound of a request that has one."""
    found = pricing.bound(slug, model, size, at=at, output_limit=output_limit)
    assert found is not None
    return found


def test_it_works() -> None:
    size = Size(1000, overhead_tokens=0, output_limit=100, service_tier="default")
    assert bound("openai", "gpt-4o", size, at=AT) == 1000 * 2_500 + 100 * 10_000


def test_an_open_service_tier_counts_as_the_dearest() -> None:
    open_tier = bound("openai", "gpt-4o", Size(1000, overhead_tokens=0, output_limit=100), at=AT)
    assert open_tier == 1000 * 4_250 + 100 * 17_000
    for tier in ("default", "flex"):
        assert (
            bound("openai", "gpt-4o", Size(1000, overhead_tokens=0, output_limit=100, service_tier=tier), at=AT)
            < open_tier
        )
    for tier in ("auto", "priority", "invented"):
        assert (
            bound("openai", "gpt-4o", Size(1000, overhead_tokens=0, output_limit=100, service_tier=tier), at=AT)
            == open_tier
        )


def test_writes_to_caches_count_unless_they_are_excluded() -> None:
    size = Size(1000, overhead_tokens=0, output_limit=0, region="global")
    written = bound("anthropic", "claude-opus-5", size, at=AT)
    plain = bound("anthropic", "claude-opus-5", structs.replace(size, cache_writes=False), at=AT)
    assert (written, plain) == (1000 * 10_000, 1000 * 5_000)
    brief = structs.replace(size, lasting_writes=False)
    assert bound("anthropic", "claude-opus-5", brief, at=AT) == 1000 * 6_250
    media = structs.replace(brief, text_bytes=0, image_parts=1)
    assert bound("anthropic", "claude-opus-5", media, at=AT) == 8_192 * 6_250


def test_the_models_maximum_stands_in_for_a_missing_limit() -> None:
    size = Size(0, overhead_tokens=0, service_tier="default")
    assert bound("openai", "gpt-4o", size, at=AT) == 16_384 * 10_000
    assert bound("openai", "gpt-4o", size, at=AT, output_limit=500) == 500 * 10_000
    assert bound("openai", "gpt-chat-latest", size, at=AT) == 128_000 * 30_000


def test_choices_multiply_the_output() -> None:
    size = Size(0, overhead_tokens=0, output_limit=10, choices=4, service_tier="default")
    assert bound("openai", "gpt-4o", size, at=AT) == 4 * 10 * 10_000


def test_images_and_unseen_input_have_ceilings() -> None:
    def pinned(text_bytes: int, **fields: Any) -> Size:
        return Size(text_bytes, overhead_tokens=0, output_limit=0, service_tier="default", **fields)

    assert bound("openai", "gpt-4o", pinned(0, image_parts=2), at=AT) == 2 * IMAGE_TOKENS["openai"] * 2_500
    assert bound("openai", "gpt-4o", pinned(10, context_inputs=True), at=AT) == 128_000 * 2_500
    assert bound("gemini", "gemini-2.5-pro", pinned(10, context_inputs=True), at=AT) > CONTEXT_TOKENS * 1_250
    several = pinned(1_000, image_parts=1, separate_windows=3)
    assert bound("openai", "gpt-4o", several, at=AT) == (1_000 + IMAGE_TOKENS["openai"] + 3 * 128_000) * 2_500


def test_fees_of_tools_count() -> None:
    size = Size(0, overhead_tokens=0, output_limit=0, tool_fees={"web_searches": 3}, service_tier="default")
    assert bound("openai", "gpt-4o", size, at=AT) == 3 * 10_000_000


@pytest.mark.parametrize(
    ("slug", "model", "size"),
    [
        ("openai", "llama", Size(1)),
        ("openai", "whisper-1", Size(1)),
        ("openai", "text-embedding-3-small", Size(1)),  # no price for output
        ("openai", "gpt-4o", Size(1, unpriced="background")),
        ("openai", "gpt-4o", Size(1, tool_fees={"code_executions": 1})),
        ("openai", "gpt-4o-audio-preview", Size(1, classes=("output_audio_tokens",))),
        ("gemini", "claude-opus-5-", Size(1, tool_fees={"code_executions": 1})),
    ],
)
def test_what_cannot_be_bounded_has_no_bound(slug: str, model: str, size: Size) -> None:
    assert pricing.bound(slug, model, size, at=AT) is None


def test_embeddings_are_bounded_by_their_input() -> None:
    size = Size(1_000_000, overhead_tokens=0, output_free=True)
    assert bound("openai", "text-embedding-3-small", size, at=AT) == 20_000_000


def test_an_absurd_limit_gives_a_bound_that_a_counter_can_hold() -> None:
    assert bound("openai", "o1-pro", Size(1, output_limit=2**53), at=AT) == MAX_NANOS


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_no_well_behaved_provider_bills_more_than_the_bound(data: st.DataObject) -> None:
    slug, model = data.draw(st.sampled_from(MODELS))
    text_bytes = data.draw(st.integers(2, 600_000))
    images = data.draw(st.integers(0, 3))
    audio = data.draw(st.integers(0, 5_000))
    limit = data.draw(st.none() | st.integers(0, 200_000))
    choices = data.draw(st.integers(1, 4))
    searches = data.draw(st.integers(0, 5))
    unseen = data.draw(st.booleans())
    region = data.draw(st.sampled_from([None, "global", "us"])) if slug == "anthropic" else None
    may_write, lasting = data.draw(st.booleans()), data.draw(st.booleans())
    tier = data.draw(st.sampled_from([None, "auto", "default", "flex", "priority", "fast"]))
    size = Size(
        text_bytes, image_parts=images, audio_tokens=audio, context_inputs=unseen, output_limit=limit, choices=choices,
        tool_fees={"web_searches": searches} if searches else {}, cache_writes=may_write, service_tier=tier,
        lasting_writes=lasting, classes=("input_audio_tokens",) if audio else (), region=region,
    )  # fmt: skip
    ceiling = pricing.bound(slug, model, size, at=AT)
    assume(ceiling is not None)
    assert ceiling is not None

    text = data.draw(st.integers(0, text_bytes + size.overhead_tokens))
    media = data.draw(st.integers(0, images * IMAGE_TOKENS[slug] + audio))
    total = text + media
    if unseen and data.draw(st.booleans()):
        total = max(total, 128_000)
    read = data.draw(st.integers(0, total))
    written = data.draw(st.integers(0, total - read)) if may_write else 0
    counts = {
        "input_tokens": total,
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "cache_write_1h_tokens": data.draw(st.integers(0, written if lasting else 0)),
        "output_tokens": choices * (limit if limit is not None else output_maximum(slug, model) or 128_000),
        "web_searches": data.draw(st.integers(0, searches)),
    }
    if audio or (unseen and model in ("gpt-audio", "gemini-2.5-flash")):
        # What is not in the request is heard within the model's window, beside all that is in it.
        window = 128_000 if slug == "openai" else total
        heard = data.draw(st.integers(0, min(total, window))) if unseen else audio
        counts["input_audio_tokens"] = min(heard, total - read - written)
    served: dict[str | None, list[str | None]] = {
        "default": ["default"],
        "flex": ["flex", "default"],
        "priority": ["priority", "default"],
        "fast": ["fast", "default"],
    }
    if slug == "gemini":
        served[None] = served["auto"] = ["default"]  # there, no setting chooses another
    usage = Usage(
        counts, model, data.draw(st.sampled_from(served.get(tier, ["default", "flex", "priority", "fast", None])))
    )
    usage.region = data.draw(st.sampled_from([None, *(["us"] if slug == "anthropic" and region != "global" else [])]))
    if usage.region is not None and region is None:
        ceiling = -(-ceiling * 11 // 10)  # a setting of the workspace, which nobody holds: see docs/pricing.md
    assert cost(slug, model, usage, at=AT).nanos <= ceiling


def fitting(slug: str, model: str, size: Size, remaining: int, book: PriceBook | None = None) -> int | None:
    return fitting_output_limit(slug, model, size, remaining, bound_parts(slug, model, size, AT, book))


def limit_for(remaining: int, size: Size | None = None, model: str = "gpt-4o") -> int | None:
    return fitting("openai", model, size or Size(0, overhead_tokens=0, service_tier="default"), remaining)


def test_no_limit_is_set_when_the_maximum_fits_into_an_eighth() -> None:
    whole = 16_384 * 10_000
    assert limit_for(8 * whole) is None
    assert limit_for(8 * whole - 1) == 16_383


def test_the_limit_fits_into_an_eighth_of_what_remains() -> None:
    remaining = 8 * 5_000 * 10_000
    assert limit_for(remaining) == 5_000


@pytest.mark.parametrize("model", ["gpt-4o-2024-05-13", "gpt-9-of-tomorrow"])
def test_no_more_is_set_than_the_provider_is_known_to_take(model: str) -> None:
    """The first snapshot of GPT-4o refuses more than 4,096; of a model that nobody knows, nothing else is known."""
    book = {("openai", model): OwnPrice("price_1", model, (("input_tokens", "2.5"), ("output_tokens", "10")))}
    limits = {
        fitting("openai", model, Size(0, overhead_tokens=0), nanos, book) for nanos in range(10**9, 10**10, 10**9)
    }
    assert limits - {None} == {4_096}


@pytest.mark.parametrize(
    ("slug", "model", "taken"),
    [
        ("openai", "gpt-5-chat-latest", 16_384),
        ("openai", "computer-use-preview", 1_024),
        ("gemini", "gemini-2.5-flash-preview-tts", 16_384),
        ("gemini", "gemini-2.5-flash-image", 32_768),
    ],
)
def test_a_model_is_asked_for_no_more_than_its_own_page_allows(slug: str, model: str, taken: int) -> None:
    limits = {fitting(slug, model, Size(0, overhead_tokens=0), nanos) for nanos in range(10**9, 10**10, 10**8)}
    assert max(limit for limit in limits if limit is not None) == taken


@pytest.mark.parametrize("kind", ["pro", "flash", "flash-lite"])
def test_a_name_that_leads_to_the_newest_model_is_bounded_as_that_one(kind: str) -> None:
    size, name = Size(1_000), f"gemini-{kind}-latest"
    newest = cost("gemini", name, Usage({"input_tokens": 1}), at=AT).price
    assert newest is not None
    assert newest.id != name
    assert bound("gemini", name, size, at=AT) == bound("gemini", newest.id, size, at=AT)


def test_at_least_4096_tokens_are_given_while_they_fit_at_all() -> None:
    assert limit_for(4_096 * 10_000) == MINIMUM_LIMIT
    assert limit_for(8 * 4_096 * 10_000 - 1) == MINIMUM_LIMIT


def test_less_is_given_when_4096_do_not_fit() -> None:
    assert limit_for(4_096 * 10_000 - 1) == 511
    assert limit_for(16 * 8 * 10_000) == 16


def test_a_limit_that_cannot_fit_is_named_so_that_the_refusal_tells_it() -> None:
    assert limit_for(0) == MINIMUM_LIMIT
    assert limit_for(15 * 8 * 10_000) == MINIMUM_LIMIT
    assert limit_for(10_000, Size(10**6, overhead_tokens=0)) == MINIMUM_LIMIT


def test_a_limit_that_stands_in_the_body_bounds_it_and_is_only_lowered() -> None:
    size = Size(0, overhead_tokens=0, service_tier="default", output_default=5_000)
    assert bound("openai", "gpt-4o", size, at=AT) == 5_000 * 10_000
    assert limit_for(8 * 5_000 * 10_000, size) is None, "and not 5,000 of a maximum of 16,384"
    assert limit_for(8 * 4_500 * 10_000, size) == 4_500
    told = explain("openai", "gpt-4o", size, at=AT, remaining_nanos=10**12)
    assert isinstance(told, Bound)
    assert told.affordable_output_limit == 5_000


def test_small_models_get_their_own_maximum_at_least() -> None:
    assert limit_for(4_096 * 1_500, model="gpt-3.5-turbo") == 4_096


@pytest.mark.parametrize("size", [Size(1, output_limit=5), Size(1, output_free=True), Size(1, unpriced="background")])
def test_no_limit_is_set_where_none_may_be(size: Size) -> None:
    assert limit_for(1, size) is None
    assert fitting("openai", "llama", Size(1), 1) is None


@settings(max_examples=200, deadline=None)
@given(
    which=st.sampled_from(MODELS),
    text_bytes=st.integers(0, 10**6),
    remaining=st.integers(0, 10**11),
    choices=st.integers(1, 3),
)
def test_a_limit_that_was_set_is_within_what_remains_or_cannot_be(
    which: tuple[str, str], text_bytes: int, remaining: int, choices: int
) -> None:
    slug, model = which
    size = Size(text_bytes, choices=choices)
    limit = fitting(slug, model, size, remaining)
    if limit is None:
        assert bound(slug, model, size, at=AT) <= remaining // 8
        return
    needed = bound(slug, model, size, at=AT, output_limit=limit)
    least = min(MINIMUM_LIMIT, output_maximum(slug, model) or 128_000)
    if limit > least:
        assert needed <= remaining // 8
        more = bound(slug, model, size, at=AT, output_limit=limit + 1)
        assert remaining // 8 < more or limit == accepted_limit(slug, model)
    elif limit < least:
        assert needed <= remaining // 8
        assert bound(slug, model, size, at=AT, output_limit=least) > remaining
