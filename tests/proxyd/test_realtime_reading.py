"""OpenAI Realtime and Gemini Live: what their events say about money, recomputed by hand."""

import base64
from decimal import Decimal
from typing import Any

import pytest

from proxyd.gateway.rejection import Rejection
from proxyd.providers.gemini_live import LiveUsage, setup_of
from proxyd.providers.gemini_live import parsed_of as live_parsed
from proxyd.providers.realtime import ROOM_TOKENS, RealtimeUsage, SessionInput, output_limit_of, parsed_of
from proxyd.providers.realtime_config import SessionConfig, unpriced_in
from proxyd.websocket.opening import realtime_model
from shared import pricing
from shared.catalog import PROVIDERS, WEBSOCKET, Endpoint, find_endpoint

NOW = 1_795_000_000.0  # November 2026
MODEL = "gpt-realtime"


def endpoint(slug: str, path: str) -> Endpoint:
    found = find_endpoint(PROVIDERS[slug], WEBSOCKET, path)
    assert found is not None
    return found[0]


REALTIME = endpoint("openai", "/v1/realtime")
LIVE = endpoint("gemini", "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent")


def usage_of(heard: SessionInput | None = None, config: SessionConfig | None = None) -> RealtimeUsage:
    heard, config = heard or SessionInput(), config or SessionConfig(MODEL)
    return RealtimeUsage(REALTIME, parsed_of(MODEL, heard.size(config, 32_000, 4_096, 0)), heard, config)


def nanos(per_million: dict[str, int], **prices: str) -> int:
    """Tokens times dollars a million, rounded up."""
    exact = sum((Decimal(prices[name]) * count for name, count in per_million.items()), Decimal(0)) * 1_000
    return int(exact.to_integral_value(rounding="ROUND_CEILING"))


def test_it_works() -> None:
    """The example of the provider's own types: each class at its rate, what is cached at that of the cache."""
    usage = usage_of()
    reported = {
        "total_tokens": 253, "input_tokens": 132, "output_tokens": 121,
        "input_token_details": {
            "text_tokens": 119, "audio_tokens": 13, "image_tokens": 0, "cached_tokens": 64,
            "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
    }  # fmt: skip
    usage.done({"id": "resp_1", "status": "completed", "usage": reported})
    found = usage.usage()
    assert found is not None
    cost = pricing.cost("openai", MODEL, found, at=NOW)
    prices = {"text": "4", "sound": "32", "cached": "0.4", "cached_sound": "0.4", "said": "64", "written": "16"}
    counts = {"text": 59, "sound": 9, "cached": 60, "cached_sound": 4, "said": 91, "written": 30}
    assert (cost.nanos, cost.flags) == (nanos(counts, **prices), ())
    assert usage.written_tokens == 121


def test_tokens_that_nobody_classes_cost_what_the_dearest_do() -> None:
    usage = usage_of()
    usage.done({"status": "completed", "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}})
    found = usage.usage()
    assert found is not None
    cost = pricing.cost("openai", MODEL, found, at=NOW)
    assert (cost.nanos, cost.flags) == (nanos({"in": 10, "out": 5}, **{"in": "32", "out": "64"}), ("unknown_class",))


def test_what_broke_off_is_charged_by_its_sound_and_text() -> None:
    heard = SessionInput()
    heard.took({"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(48_000)).decode()}, 64_100)
    usage = usage_of(heard)
    usage.told("response.output_audio.delta", {"delta": base64.b64encode(bytes(12_000)).decode()})
    usage.told("response.output_audio_transcript.delta", {"delta": "hello"})
    assert usage.usage() is None
    counts = usage.delivered().counts
    assert counts["input_audio_tokens"] == 10  # a second
    assert counts["output_audio_tokens"] == 10
    assert counts["output_tokens"] == 12


def test_a_failed_response_without_figures_costs_nothing() -> None:
    usage = usage_of()
    usage.done({"status": "failed", "usage": None})
    assert (usage.failed, usage.usage()) == (True, None)


def test_a_bound_grows_with_the_conversation_and_ends_with_the_context_window() -> None:
    heard, config = SessionInput(), SessionConfig(MODEL)
    bounds = []
    for text in ("", "x" * 1_000, "x" * 40_000, "x" * 400_000):
        heard.text_bytes = len(text)
        size = heard.size(config, 32_000, 4_096, ROOM_TOKENS)
        bounds.append(pricing.bound("openai", MODEL, size, at=NOW) or 0)
    assert bounds == sorted(bounds)
    assert bounds[2] == bounds[3] == nanos({"in": 32_000, "out": 4_096}, **{"in": "32", "out": "64"})
    heard.images = 1
    heard.text_bytes = 0
    assert heard.size(config, 128_000, 4_096, 0).image_parts == 1


def test_media_of_an_event_are_no_text() -> None:
    heard = SessionInput()
    sound, picture = "A" * 4_000, "data:image/png;base64," + "A" * 9_000
    content = [
        {"type": "input_audio", "audio": sound},
        {"type": "input_image", "image_url": picture},
        {"type": "input_text", "text": "hi"},
    ]
    heard.took({"type": "conversation.item.create", "item": {"content": content}}, 13_200)
    assert (heard.heard_bytes, heard.images) == (3_000, 1)
    assert 100 < heard.text_bytes < 200


TODAY: dict[str, Any] = {
    "model": "gpt-realtime-2025-08-28", "max_output_tokens": 100, "output_modalities": ["text"], "tools": [{"type": "function"}],
    "audio": {"input": {"format": {"type": "audio/pcmu"}, "turn_detection": None, "transcription": {"model": "whisper-1"}}},
}  # fmt: skip
BETA: dict[str, Any] = {
    "model": "gpt-realtime-2025-08-28", "max_response_output_tokens": 100, "modalities": ["text"], "input_audio_format": "g711_ulaw",
    "turn_detection": None, "input_audio_transcription": {"model": "whisper-1"},
}  # fmt: skip


@pytest.mark.parametrize("session", [TODAY, BETA], ids=["today", "beta"])
def test_both_shapes_of_a_session_are_read(session: dict[str, Any]) -> None:
    config = SessionConfig(MODEL)
    config.told(session)
    assert config == SessionConfig(
        "gpt-realtime-2025-08-28", 100, speaks=False, spontaneous=False, transcribes="whisper-1", heard="g711"
    )
    config.told({"model": MODEL, "max_output_tokens": "inf"})
    assert config == SessionConfig(MODEL, heard="g711")


def test_until_the_provider_has_agreed_both_settings_may_hold() -> None:
    config = SessionConfig(MODEL)
    config.told({"max_output_tokens": 100, "audio": {"input": {"turn_detection": None}}, "output_modalities": ["text"]})
    config.asked({"max_output_tokens": 50})
    assert config.output_limit == 100
    config.asked({"max_output_tokens": "inf", "output_modalities": ["audio"], "turn_detection": {"type": "server_vad"}})
    assert config == SessionConfig(MODEL)
    assert output_limit_of({"response": {"max_output_tokens": 7}}, config, 4_096) == 7
    assert output_limit_of({"response": {"max_output_tokens": "inf"}}, config, 4_096) == 4_096
    assert output_limit_of({}, config, 4_096) == 4_096


WRITTEN_DOWN = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}


@pytest.mark.parametrize(
    ("event", "used"),
    [
        ({"session": {"tools": [{"type": "mcp"}]}}, [(MODEL, "the tool mcp")]),
        ({"response": {"tools": [{"type": "mcp"}]}}, [(MODEL, "the tool mcp")]),
        ({"response": {"prompt": {"id": "p"}}}, [(MODEL, "prompt")]),
        ({"session": WRITTEN_DOWN}, [("whisper-1", "input transcription")]),
        (
            {"session": {**WRITTEN_DOWN, "prompt": {"id": "p"}}},
            [("whisper-1", "input transcription"), (MODEL, "prompt")],
        ),
        ({"session": {"audio": {"input": {"transcription": None}}, "tools": [{"type": "function"}]}}, []),
    ],
)
def test_what_has_no_bound_is_named(event: dict[str, Any], used: list[tuple[str, str]]) -> None:
    """Each with the model that bills it."""
    assert unpriced_in(event, MODEL) == used


def test_figures_of_live_are_priced_whole() -> None:
    """As a developer published them: 25 tokens of the input belong to no class, and thoughts stand beside the answer."""
    usage = LiveUsage(LIVE, live_parsed("gemini-3.8-live", {}))
    figures = {
        "promptTokenCount": 522, "responseTokenCount": 42, "totalTokenCount": 700, "thoughtsTokenCount": 136,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 332}, {"modality": "AUDIO", "tokenCount": 165}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 42}],
    }  # fmt: skip
    assert usage.told({"usageMetadata": figures, "serverContent": {"turnComplete": True}})
    found = usage.usage()
    assert found is not None
    cost = pricing.cost("gemini", "gemini-3.8-live", found, at=NOW)
    prices = {"text": "0.75", "sound": "3", "unclassed": "3", "said": "12", "thought": "4.5"}
    counts = {"text": 332, "sound": 165, "unclassed": 25, "said": 42, "thought": 136}
    assert (cost.nanos, cost.flags) == (nanos(counts, **prices), ("unknown_class",))


def test_live_without_figures_is_charged_by_what_passed() -> None:
    usage = LiveUsage(LIVE, live_parsed("gemini-3.8-live", {}))
    usage.sent(2_000, sound=True)
    usage.sent(300, sound=False)
    sound = {"inlineData": {"data": "A" * 5_120}}
    assert not usage.told({"serverContent": {"modelTurn": {"parts": [sound, {"text": "abc"}]}}})
    assert usage.usage() is None
    counts = usage.delivered().counts
    assert (counts["input_tokens"], counts["input_audio_tokens"]) == (102, 2)
    assert (counts["output_tokens"], counts["output_audio_tokens"]) == (3, 2)


def test_a_setup_names_the_model() -> None:
    assert setup_of({"setup": {"model": "models/gemini-3.8-live"}}) == (
        "gemini-3.8-live",
        {"model": "models/gemini-3.8-live"},
    )
    assert setup_of({"realtimeInput": {}}) is None


@pytest.mark.parametrize("query", ["model=a;model=b", "model=a%3Bb", "model=a%26model=b", "model=a%23b", "model=+a"])
def test_a_model_that_another_reader_takes_for_another_one_is_none(query: str) -> None:
    assert isinstance(realtime_model(query), Rejection)
    assert realtime_model("model=ft%3Agpt-realtime:acme:1") == "ft:gpt-realtime:acme:1"
