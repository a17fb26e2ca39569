"""Sound, films and pictures that were sent: what no detail calls text is not charged as text."""

import json
from decimal import Decimal
from typing import Any

import pytest
from dialect_kit import find_endpoint, size_of, used

from proxyd.providers import DIALECTS, Meter
from shared.catalog import PROVIDERS
from shared.pricing import Usage, cost

AT = 1_795_600_000.0  # in November 2026
FLASH, SPEAKER, EMBEDDER = "gemini-2.5-flash", "gpt-audio", "gemini-embedding-2"
CHAT, COMPATIBLE = ("openai", "/v1/chat/completions"), ("gemini", "/v1beta/openai/chat/completions")
SOUND = {"type": "input_audio", "input_audio": {"data": "A" * 64_000, "format": "wav"}}


def meter(slug: str, path: str, request: dict[str, Any]) -> Meter:
    endpoint, model = find_endpoint(PROVIDERS[slug], "POST", path)
    dialect = DIALECTS[endpoint.dialect]
    parsed = dialect.read(endpoint, json.dumps(request).encode(), model, "")
    return dialect.meter(endpoint, parsed, streaming=False, content_encoding=None)


def answered(watch: Meter, answer: dict[str, Any]) -> Meter:
    watch.feed(json.dumps(answer).encode())
    watch.end()
    return watch


def dollars(slug: str, model: str, usage: Usage) -> tuple[Decimal, tuple[str, ...]]:
    found = cost(slug, model, usage, at=AT)
    return Decimal(found.nanos) / 10**9, found.flags


def heard(place: tuple[str, str], model: str, details: object = None, message: object = None) -> Usage:
    """A million tokens, of which one message is sound."""
    request = {"model": model, "messages": [message or {"role": "user", "content": [SOUND]}]}
    told: dict[str, object] = {"prompt_tokens": 10**6, "completion_tokens": 0, "total_tokens": 10**6}
    if details is not None:
        told["prompt_tokens_details"] = details
    choice = {"message": {"content": ""}, "finish_reason": "stop"}
    return used(answered(meter(*place, request), {"model": model, "choices": [choice], "usage": told}))


def generated(part: dict[str, Any], details: list[tuple[str, int]] | None = None, model: str = FLASH) -> Usage:
    usage: dict[str, Any] = {"promptTokenCount": 10**6, "totalTokenCount": 10**6}
    if details is not None:
        usage["promptTokensDetails"] = [{"modality": name, "tokenCount": count} for name, count in details]
    answer = {"candidates": [{"content": {"parts": []}, "finishReason": "STOP"}], "usageMetadata": usage}
    path = f"/v1beta/models/{model}:generateContent"
    return used(answered(meter("gemini", path, {"contents": [{"parts": [part, {"text": "What is it?"}]}]}), answer))


def inline(mime: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime, "data": "A" * 6_400}}


def stored(mime: str | None) -> dict[str, Any]:
    named = {} if mime is None else {"mime_type": mime}
    return {"file_data": {"file_uri": "https://generativelanguage.googleapis.com/v1beta/files/a", **named}}


FLAGGED = ("unknown_class",)


def test_it_works() -> None:
    assert dollars("gemini", FLASH, heard(COMPATIBLE, FLASH)) == (Decimal(1), FLAGGED)
    assert dollars("openai", SPEAKER, heard(CHAT, SPEAKER)) == (Decimal(32), FLAGGED)


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"cached_tokens": 0}, (Decimal(32), FLAGGED)),
        ({"audio_tokens": 100_000, "text_tokens": 900_000}, (Decimal("5.45"), ())),
        ({"audio_tokens": 0}, (Decimal("2.5"), ())),
    ],
)
def test_a_detail_that_tells_of_it_counts(details: object, expected: tuple[Decimal, tuple[str, ...]]) -> None:
    assert dollars("openai", SPEAKER, heard(CHAT, SPEAKER, details)) == expected


def test_an_earlier_spoken_answer_is_sound_too() -> None:
    earlier = {"role": "assistant", "audio": {"id": "audio_1"}}
    assert dollars("openai", SPEAKER, heard(CHAT, SPEAKER, message=earlier)) == (Decimal(32), FLAGGED)


@pytest.mark.parametrize(
    "part", [inline("audio/wav"), inline("Video/mp4"), stored("audio/mp3"), stored("video/mp4"), stored(None)]
)
def test_sound_and_films_that_gemini_reads_are_charged_at_the_dearest_rate(part: dict[str, Any]) -> None:
    assert dollars("gemini", FLASH, generated(part)) == (Decimal(1), FLAGGED)
    all_told = generated(part, [("TEXT", 400_000), ("AUDIO", 100_000), ("VIDEO", 500_000)])
    assert dollars("gemini", FLASH, all_told) == (Decimal("0.37"), ())
    assert generated(part, [("TEXT", 10**6)]).unknown is False
    assert generated(part, [("TEXT", 900_000)]).counts["unknown_input_tokens"] == 100_000


@pytest.mark.parametrize(
    "part", [inline("image/png"), inline("application/pdf"), stored("application/pdf"), {"text": "x"}]
)
def test_what_costs_what_text_does_is_not_flagged(part: dict[str, Any]) -> None:
    assert dollars("gemini", FLASH, generated(part)) == (Decimal("0.3"), ())


@pytest.mark.parametrize(
    ("part", "expected"),
    [(inline("video/mp4"), "0.00792"), (inline("audio/wav"), "0.00792"), (inline("image/png"), "0.000297")],
)
def test_a_film_or_a_picture_that_is_embedded_is_none_of_text(part: dict[str, Any], expected: str) -> None:
    request = {"content": {"parts": [part]}}
    answer = {"embedding": {"values": [1]}, "usageMetadata": {"promptTokenCount": 660, "totalTokenCount": 660}}
    usage = used(answered(meter("gemini", f"/v1beta/models/{EMBEDDER}:embedContent", request), answer))
    assert dollars("gemini", EMBEDDER, usage) == (Decimal(expected), FLAGGED)


def test_interactions_tell_likewise() -> None:
    for part in (
        {"type": "audio", "data": "A" * 640, "mime_type": "audio/wav"},
        {"type": "video", "uri": "https://x/a"},
    ):
        request = {"model": FLASH, "input": [part]}
        told = {"total_input_tokens": 10**6, "total_output_tokens": 0, "total_tokens": 10**6}
        answer = {"model": FLASH, "status": "completed", "steps": [], "usage": told}
        usage = used(answered(meter("gemini", "/v1beta/interactions", request), answer))
        assert dollars("gemini", FLASH, usage) == (Decimal(1), FLAGGED)


def test_an_estimate_of_what_was_heard_is_no_text_either() -> None:
    watch = answered(
        meter(*CHAT, {"model": SPEAKER, "messages": [{"role": "user", "content": [SOUND]}]}), {"choices": []}
    )
    assert watch.usage() is None
    assert watch.delivered().counts["input_audio_tokens"] == 4_000


def test_the_classes_are_those_that_a_limit_may_need_a_rate_for() -> None:
    assert size_of("chat", messages=[{"role": "assistant", "audio": {"id": "a"}}]).classes == ("input_audio_tokens",)
    file = {"type": "input_audio", "input_audio": {"data": "https://example.com/a.wav"}}
    assert size_of("chat", messages=[{"role": "user", "content": [file]}]).classes == ("input_audio_tokens",)
    films = size_of("generate", contents=[{"parts": [stored("video/mp4")]}])
    assert (films.classes, films.context_inputs) == (("input_video_tokens",), True)
