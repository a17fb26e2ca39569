from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import pricing
from shared.pricing import UsageReading

CHAT = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 30, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0, "rejected_prediction_tokens": 3},
}
COUNT = st.none() | st.integers(0, 10**6)


def read_usage(prices_id: str, flavor: str, usage: object) -> UsageReading:
    """The figures of a usage that can be read."""
    reading = pricing.read_usage(prices_id, flavor, usage)
    assert reading is not None
    return reading


def genai(prices_id: str, flavor: str, document: object) -> Mapping[str, int | float | Decimal]:
    table = next(t for t in get_snapshot().providers if t.id == prices_id)
    return table.extract_usage(document, api_flavor=flavor)[1]._reported_values()


def test_it_works() -> None:
    reading = read_usage("openai", "chat", CHAT)
    assert reading.counts == {
        "input_tokens": 100,
        "output_tokens": 20,
        "cache_read_tokens": 30,
        "input_audio_tokens": 0,
        "output_audio_tokens": 0,
        "output_reasoning_tokens": 5,
    }
    assert not reading.unknown


@settings(max_examples=100, deadline=None)
@given(
    given_in=st.integers(0, 10**6), out=st.integers(0, 10**6), read=COUNT, written=COUNT, m5=COUNT, h1=COUNT, web=COUNT
)
def test_anthropic_reads_as_genai_prices_does(
    given_in: int, out: int, read: int | None, written: int | None, m5: int | None, h1: int | None, web: int | None
) -> None:
    usage = {
        "input_tokens": given_in,
        "output_tokens": out,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": m5, "ephemeral_1h_input_tokens": h1},
        "server_tool_use": None if web is None else {"web_search_requests": web, "web_fetch_requests": 1},
        "service_tier": "standard",
    }
    reading = read_usage("anthropic", "default", usage)
    assert reading.counts == genai("anthropic", "default", {"usage": usage})
    assert not reading.unknown


@settings(max_examples=100, deadline=None)
@given(prompt=st.integers(0, 10**6), out=COUNT, thought=COUNT, cached=COUNT, tool=COUNT, audio=st.integers(0, 100))
def test_gemini_reads_as_genai_prices_does(
    prompt: int, out: int | None, thought: int | None, cached: int | None, tool: int | None, audio: int
) -> None:
    usage = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": out,
        "thoughtsTokenCount": thought,
        "cachedContentTokenCount": cached,
        "toolUsePromptTokenCount": tool,
        "totalTokenCount": prompt + (out or 0) + (thought or 0) + (tool or 0),
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": prompt},
            {"modality": "AUDIO", "tokenCount": audio},
        ],
    }
    reading = read_usage("google", "default", usage)
    assert reading.counts == genai("google", "default", {"usageMetadata": usage})
    assert not reading.unknown


def test_responses_and_embeddings_are_read() -> None:
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 16,
    }
    counts = read_usage("openai", "responses", usage).counts
    assert (counts["input_tokens"], counts["cache_read_tokens"], counts["cache_write_tokens"]) == (9, 4, 1)
    assert read_usage("openai", "embeddings", {"prompt_tokens": 8, "total_tokens": 8}).counts == {"input_tokens": 8}


def test_tokens_that_only_the_total_knows_are_output() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}
    assert read_usage("google", "chat", usage).counts["output_tokens"] == 105


@pytest.mark.parametrize("junk", [-1, "-5", "5.5", "five", "", 1e30, 1.5, True, [], {}, 10**30, float("inf")])
def test_a_total_that_cannot_be_read_is_no_usage(junk: object) -> None:
    assert pricing.read_usage("openai", "chat", {**CHAT, "completion_tokens": junk}) is None
    assert pricing.read_usage("google", "default", {"promptTokenCount": junk, "candidatesTokenCount": 3}) is None


@pytest.mark.parametrize(
    "usage", [None, {}, [], "usage", 5, {"other": 1}, {"prompt_tokens": 5}, {"prompt_tokens": None}]
)
def test_no_usage_is_no_usage(usage: object) -> None:
    assert pricing.read_usage("openai", "chat", usage) is None


@pytest.mark.parametrize("junk", [-1, "-5", "five", "9" * 12, 1e30, 1.5, True, []])
def test_a_detail_that_cannot_be_read_is_left_out_and_flagged(junk: object) -> None:
    reading = read_usage("openai", "chat", {**CHAT, "prompt_tokens_details": {"cached_tokens": junk}})
    assert reading.unknown
    assert "cache_read_tokens" not in reading.counts


@pytest.mark.parametrize("junk", [5, "x", []])
def test_details_of_another_shape_are_flagged(junk: object) -> None:
    assert read_usage("openai", "chat", {**CHAT, "prompt_tokens_details": junk}).unknown
    assert read_usage("google", "default", {"promptTokenCount": 1, "promptTokensDetails": [junk]}).unknown


def test_whole_numbers_with_a_point_or_as_text_are_numbers() -> None:
    for figure in (100.0, "100", "0100"):
        assert read_usage("openai", "chat", {**CHAT, "prompt_tokens": figure}).counts["input_tokens"] == 100


@pytest.mark.parametrize(
    ("details", "counts"),
    [
        ({"promptTokensDetails": None, "promptTokenDetails": [("VIDEO", 660)]}, {"input_video_tokens": 660}),
        ({"promptTokensDetails": [], "promptTokenDetails": [("VIDEO", 660)]}, {"input_video_tokens": 660}),
        ({"promptTokensDetails": [("VIDEO", 660)], "promptTokenDetails": None}, {"input_video_tokens": 660}),
        (
            {"promptTokensDetails": [("TEXT", 2)], "promptTokenDetails": [("VIDEO", 660)]},
            {"input_text_tokens": 2, "input_video_tokens": 660},
        ),
        (
            {"promptTokensDetails": [("VIDEO", 660), ("TEXT", 2)], "promptTokenDetails": [("VIDEO", 600)]},
            {"input_text_tokens": 2, "input_video_tokens": 660},
        ),
        (
            {"promptTokensDetails": ("TEXT", 2), "promptTokenDetails": [("VIDEO", 660)]},
            {"input_text_tokens": 2, "input_video_tokens": 660},
        ),
        ({"promptTokensDetails": [("VIDEO", 300), ("VIDEO", 360)]}, {"input_video_tokens": 660}),
        (
            {"promptTokensDetails": [("VIDEO", 300), ("VIDEO", 360)], "promptTokenDetails": [("VIDEO", 600)]},
            {"input_video_tokens": 660},
        ),
        ({"promptTokensDetails": ("VIDEO", 660)}, {"input_video_tokens": 660}),
        ({"promptTokensDetails": [("VIDEO", "660")]}, {"input_video_tokens": 660}),
    ],
)
def test_details_are_read_however_often_and_in_whatever_shape_they_are_told(
    details: dict[str, Any], counts: dict[str, int]
) -> None:
    def entry(modality: str, count: object) -> dict[str, object]:
        return {"modality": modality, "tokenCount": count}

    told = {
        name: [entry(*each) for each in value] if isinstance(value, list) else value and entry(*value)
        for name, value in details.items()
    }
    reading = read_usage("google", "default", {"promptTokenCount": 662, "totalTokenCount": 662, **told})
    assert (reading.counts, reading.unknown) == ({"input_tokens": 662, **counts}, False)


@pytest.mark.parametrize(
    ("details", "count"),
    [
        ([{"modality": 2, "tokenCount": 660}], 660),
        ([{"modality": ["VIDEO"], "tokenCount": 660}], 660),
        ([{"tokenCount": 660}], 660),
        ([{"modality": "VIDEO", "tokenCount": "many"}, {"modality": "TEXT", "tokenCount": 2}], 660),
        ([None, {"modality": "TEXT", "tokenCount": 2}], 660),
        ("VIDEO", 662),
        ([{"modality": "TEXT", "tokenCount": 700}, {"modality": "VIDEO", "tokenCount": None}], 0),
    ],
)
@pytest.mark.parametrize("field", ["promptTokensDetails", "promptTokenDetails"])
def test_what_an_entry_of_a_list_that_cannot_be_read_was_of_is_of_an_unknown_class(
    field: str, details: object, count: int
) -> None:
    reading = read_usage("google", "default", {"promptTokenCount": 662, "totalTokenCount": 662, field: details})
    assert (reading.counts.get("unknown_input_tokens", 0), reading.unknown) == (count, True)


def test_cached_tokens_whose_list_cannot_be_read_are_no_more_than_were_cached() -> None:
    told = {"promptTokenCount": 662, "cachedContentTokenCount": 60, "cacheTokensDetails": "x"}
    assert read_usage("google", "default", told).counts["unknown_input_tokens"] == 60


def test_unknown_parts_are_counted_apart() -> None:
    usage = {**CHAT, "completion_tokens_details": {"hologram_tokens": 4}}
    reading = read_usage("openai", "chat", usage)
    assert (reading.counts["unknown_output_tokens"], reading.counts["output_tokens"], reading.unknown) == (4, 20, True)


def test_unknown_figures_come_on_top() -> None:
    reading = read_usage("anthropic", "default", {"input_tokens": 5, "output_tokens": 1, "cache_moved_input_tokens": 7})
    assert (reading.counts["unknown_input_tokens"], reading.counts["input_tokens"], reading.unknown) == (7, 12, True)


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({"prompt_cache_hit_tokens": 90, "prompt_cache_miss_tokens": 10}, 90),  # DeepSeek
        ({"prompt_cache_hit_tokens": 90, "prompt_tokens_details": {"cached_tokens": 90}}, 90),
        ({"prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 100}, 0),
        ({"cached_tokens": 80}, 80),  # Moonshot
        ({"num_cached_tokens": "80"}, 80),  # vLLM
        ({"cached_tokens": 80, "prompt_tokens_details": {"cached_tokens": 30}}, 80),
    ],
)
def test_what_other_servers_call_a_part_of_their_input_is_none_on_top(fields: Mapping[str, Any], read: int) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, **fields}
    reading = read_usage("openai", "chat", usage)
    assert reading.counts == {"input_tokens": 100, "output_tokens": 20, "cache_read_tokens": read}
    assert not reading.unknown


@pytest.mark.parametrize("total", [100, 130, 200, None, "x"])
@pytest.mark.parametrize("field", ["cached_tokens", "prompt_cache_miss_tokens"])
def test_without_a_total_that_proves_it_such_a_part_comes_on_top(field: str, total: object) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": total, field: 80}
    reading = read_usage("openai", "chat", usage)
    assert (reading.counts["input_tokens"], reading.counts["unknown_input_tokens"], reading.unknown) == (180, 80, True)


@pytest.mark.parametrize(("field", "count"), [("cached_tokens", 101), ("cached_tokens", -1), ("citation_tokens", 30)])
def test_a_figure_that_can_be_no_such_part_is_flagged(field: str, count: int) -> None:
    """Perplexity's citations are input beside that of the total: docs.perplexity.ai, "Sonar Deep Research"."""
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, field: count}
    reading = read_usage("openai", "chat", usage)
    assert (reading.counts["input_tokens"], reading.unknown) == (100 + max(0, count), True)


@pytest.mark.parametrize(
    ("figure", "count", "unknown"), [("7", 7, True), ("x", 0, True), ("0", 0, False), ("", 0, False)]
)
def test_unknown_figures_may_be_text(figure: str, count: int, unknown: bool) -> None:
    reading = read_usage("anthropic", "default", {"input_tokens": 5, "output_tokens": 1, "odd_input_tokens": figure})
    assert (reading.counts.get("unknown_input_tokens", 0), reading.unknown) == (count, unknown)
    part = read_usage("openai", "chat", {**CHAT, "prompt_tokens_details": {"odd_tokens": figure}})
    assert part.counts.get("unknown_input_tokens", 0) == count


def test_unknown_modalities_are_counted_apart() -> None:
    usage = {"promptTokenCount": 9, "promptTokensDetails": [{"modality": "SMELL", "tokenCount": 4}]}
    reading = read_usage("google", "default", usage)
    assert (reading.counts["unknown_input_tokens"], reading.unknown) == (4, True)


def test_longer_cache_retention_is_flagged() -> None:
    details = {"cache_write_tokens": 5, "cache_write_tokens_details": {"ttl_12h_tokens": 5, "ttl_30m_tokens": 0}}
    assert read_usage("openai", "chat", {**CHAT, "prompt_tokens_details": details}).unknown
