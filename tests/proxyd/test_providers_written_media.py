"""Sound and pictures in answers: their base64 is no text, and what no detail calls text is not charged as text."""

import json
from decimal import Decimal
from typing import Any

import pytest
from dialect_kit import find_endpoint, used

from proxyd.providers import DIALECTS, Meter
from shared.catalog import PROVIDERS
from shared.pricing import Usage, cost

AT = 1_795_600_000.0  # in November 2026
IMAGES, SPEAKER = "gemini-3-pro-image-preview", "gpt-audio"
PCM_SECONDS = "A" * 64_000  # one of them in base64, at 24,000 samples of two bytes


def meter(slug: str, path: str, *, streaming: bool = False, **request: object) -> Meter:
    endpoint, model = find_endpoint(PROVIDERS[slug], "POST", path)
    dialect = DIALECTS[endpoint.dialect]
    parsed = dialect.read(endpoint, json.dumps(request).encode(), model, "")
    return dialect.meter(endpoint, parsed, streaming=streaming, content_encoding=None)


def answered(watch: Meter, answer: object, cut: int | None = None) -> Meter:
    watch.feed(json.dumps(answer).encode()[:cut])
    watch.end()
    return watch


def streamed(watch: Meter, *events: object) -> Meter:
    for event in events:
        watch.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    watch.end()
    return watch


def dollars(slug: str, model: str, usage: Usage) -> tuple[Decimal, tuple[str, ...]]:
    found = cost(slug, model, usage, at=AT)
    return Decimal(found.nanos) / 10**9, found.flags


def speaking(*, streaming: bool = False, coding: str = "pcm16", **request: object) -> Meter:
    audio = {"voice": "alloy", "format": coding}
    body = {"model": SPEAKER, "modalities": ["text", "audio"], "audio": audio, "messages": [], **request}
    return meter("openai", "/v1/chat/completions", streaming=streaming, stream=streaming, **body)


def said(data: str, transcript: str = "") -> dict[str, Any]:
    return {"role": "assistant", "content": None, "audio": {"id": "a", "data": data, "transcript": transcript}}


def spoken(usage: dict[str, Any] | None, data: str = PCM_SECONDS) -> dict[str, Any]:
    choice = {"index": 0, "message": said(data, "Hi"), "finish_reason": "stop"}
    return {"model": SPEAKER, "choices": [choice]} | ({} if usage is None else {"usage": usage})


def painted(
    usage: dict[str, Any] | None, *parts: dict[str, Any], mime: str = "image/png", model: str = IMAGES
) -> dict[str, Any]:
    blob = {"inlineData": {"mimeType": mime, "data": "A" * 1_500_000}}
    candidate = {"content": {"parts": [*parts, blob]}, "finishReason": "STOP"}
    return {"modelVersion": model, "candidates": [candidate]} | ({} if usage is None else {"usageMetadata": usage})


def painting(*, streaming: bool = False, model: str = IMAGES, **config: object) -> Meter:
    method = "streamGenerateContent" if streaming else "generateContent"
    path = f"/v1beta/models/{model}:{method}"
    return meter("gemini", path, streaming=streaming, contents=[], generationConfig=config)


TOLD = {"promptTokenCount": 10, "candidatesTokenCount": 1_120, "totalTokenCount": 1_130}


def test_it_works() -> None:
    usage = used(
        answered(painting(), painted({**TOLD, "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1_120}]}))
    )
    assert dollars("gemini", IMAGES, usage) == (Decimal("0.13442"), ())


def test_a_stream_of_sound_that_breaks_off_is_charged_by_its_seconds() -> None:
    watch = speaking(streaming=True)
    for _ in range(10):
        streamed(watch, {"model": SPEAKER, "choices": [{"index": 0, "delta": {"audio": {"data": PCM_SECONDS}}}]})
    usage = watch.delivered()
    assert (usage.counts["output_audio_tokens"], usage.counts["output_tokens"]) == (250, 260)
    assert dollars("openai", SPEAKER, usage)[0] < Decimal("0.03")


def test_an_estimate_of_sound_is_never_more_than_the_request_lets_be_written() -> None:
    watch = speaking(streaming=True, max_tokens=20, n=2)
    usage = streamed(
        watch, {"choices": [{"delta": {"audio": {"data": PCM_SECONDS * 10, "transcript": "Hi"}}}]}
    ).delivered()
    assert (usage.counts["output_tokens"], usage.counts["output_audio_tokens"]) == (40, 40)


def test_a_whole_answer_with_sound_and_no_usage_is_estimated_by_its_coding() -> None:
    pcm = answered(speaking(), spoken(None)).delivered().counts
    assert (pcm["output_audio_tokens"], pcm["output_tokens"]) == (25, 29)
    assert answered(speaking(coding="mp3"), spoken(None)).delivered().counts["output_audio_tokens"] == 4_000


def test_an_answer_that_broke_off_before_it_could_be_read_is_all_of_what_was_asked_for() -> None:
    counts = answered(speaking(max_tokens=2_000), spoken(None), cut=-9).delivered().counts
    assert (counts["output_tokens"], counts["output_audio_tokens"]) == (2_000, 2_000)


@pytest.mark.parametrize("kind", ["response.audio.delta", "response.output_audio.delta"])
def test_sound_of_a_response_is_no_text(kind: str) -> None:
    watch = meter("openai", "/v1/responses", streaming=True, model=SPEAKER, input="x", stream=True)
    counts = streamed(watch, {"type": kind, "delta": PCM_SECONDS}).delivered().counts
    assert (counts["output_audio_tokens"], counts["output_tokens"]) == (25, 26)


def test_a_picture_in_a_stream_that_breaks_off_is_charged_as_a_picture() -> None:
    chunk = painted(None, {"text": "Here it is"})
    del chunk["candidates"][0]["finishReason"]
    usage = streamed(painting(streaming=True), chunk).delivered()
    assert usage.counts["output_image_tokens"] == 2_520
    assert usage.counts["output_tokens"] == 2_520 + 4
    assert Decimal("0.13") < dollars("gemini", IMAGES, usage)[0] < Decimal("0.4")
    limited = streamed(painting(streaming=True, maxOutputTokens=1_000), chunk).delivered()
    assert limited.counts["output_tokens"] == limited.counts["output_image_tokens"] == 1_000


def test_what_is_neither_sound_nor_a_picture_counts_as_text() -> None:
    counts = answered(painting(), painted(None, mime="application/json")).delivered().counts
    assert counts["output_tokens"] >= 500_000
    assert "output_image_tokens" not in counts


@pytest.mark.parametrize("streaming", [True, False])
def test_a_picture_that_no_detail_tells_of_is_charged_as_a_picture_and_flagged(streaming: bool) -> None:
    usage = used((streamed if streaming else answered)(painting(streaming=streaming), painted(TOLD)))
    assert dollars("gemini", IMAGES, usage) == (Decimal("0.13442"), ("unknown_class",))


def test_what_is_called_text_or_thought_stays_so() -> None:
    details = [{"modality": "TEXT", "tokenCount": 120}]
    told = {**TOLD, "candidatesTokensDetails": details, "thoughtsTokenCount": 50, "totalTokenCount": 1_180}
    usage = used(answered(painting(), painted(told)))
    assert (usage.counts["unknown_output_tokens"], usage.unknown) == (1_000, True)
    all_text = {**TOLD, "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 1_120}]}
    assert not used(answered(painting(), painted(all_text))).unknown


FILMS = "gemini-omni-1.1-flash"
FILM = {"promptTokenCount": 10, "candidatesTokenCount": 50_000, "totalTokenCount": 50_010}
MADE = [
    {"inlineData": {"mimeType": "video/mp4", "data": "A" * 3_000_000}},
    {"fileData": {"mimeType": "video/mp4", "fileUri": "x"}},
]


def filmed(part: dict[str, Any], usage: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = {"modelVersion": FILMS, "candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}
    return answer | ({} if usage is None else {"usageMetadata": usage})


@pytest.mark.parametrize("part", MADE)
def test_a_film_that_no_detail_tells_of_is_charged_as_a_film_and_flagged(part: dict[str, Any]) -> None:
    def shooting() -> Meter:
        return painting(model=FILMS, responseModalities=["VIDEO"])

    usage = used(answered(shooting(), filmed(part, FILM)))
    assert dollars("gemini", FILMS, usage) == (Decimal("0.875015"), ("unknown_class",))
    details = {**FILM, "candidatesTokensDetails": [{"modality": "VIDEO", "tokenCount": 50_000}]}
    assert dollars("gemini", FILMS, used(answered(shooting(), filmed(part, details)))) == (Decimal("0.875015"), ())


@pytest.mark.parametrize("part", MADE)
def test_a_film_without_usage_is_as_long_as_one_can_be(part: dict[str, Any]) -> None:
    counts = answered(painting(model=FILMS), filmed(part)).delivered().counts
    assert (counts["output_video_tokens"], counts["output_tokens"] < 57_930) == (57_920, True)
    limited = answered(painting(model=FILMS, maxOutputTokens=20_000), filmed(part)).delivered().counts
    assert limited["output_video_tokens"] == limited["output_tokens"] == 20_000


def test_a_film_of_an_interaction_is_a_film() -> None:
    told = {"total_input_tokens": 10, "total_output_tokens": 50_000, "total_tokens": 50_010}
    for content in ({"type": "video", "uri": "x"}, {"type": "video", "data": "A" * 9, "mime_type": "video/mp4"}):
        step = {"type": "model_output", "content": [content]}
        answer = {"model": FILMS, "status": "completed", "steps": [step], "usage": told}
        watch = meter("gemini", "/v1beta/interactions", model=FILMS, input="x", response_format={"type": "video"})
        usage = used(answered(watch, answer))
        assert dollars("gemini", FILMS, usage) == (Decimal("0.875015"), ("unknown_class",))


def test_words_of_a_model_that_paints_are_words() -> None:
    answer = {"candidates": [{"content": {"parts": [{"text": "No."}]}, "finishReason": "STOP"}], "usageMetadata": TOLD}
    assert not used(answered(painting(responseModalities=["TEXT", "IMAGE"]), answer)).unknown


def test_an_answer_too_large_to_be_looked_at_likely_has_pictures() -> None:
    watch = painting()
    for _ in range(34):
        watch.feed(b" " * 2**20)
    usage = used(answered(watch, {"candidates": [], "usageMetadata": TOLD}))
    assert usage.counts["unknown_output_tokens"] == 1_120
    films = painting(model=FILMS)
    for _ in range(34):
        films.feed(b" " * 2**20)
    assert used(answered(films, {"candidates": [], "usageMetadata": TOLD})).counts["unknown_output_tokens"] == 1_120
    words = painting(model="gemini-2.5-flash")
    for _ in range(34):
        words.feed(b" " * 2**20)
    assert not used(answered(words, {"candidates": [], "usageMetadata": TOLD})).unknown


def test_sound_that_no_detail_tells_of_is_charged_as_sound() -> None:
    told = {"prompt_tokens": 10, "completion_tokens": 80, "total_tokens": 90}
    usage = used(answered(speaking(), spoken(told)))
    assert (usage.counts["unknown_output_tokens"], usage.unknown) == (80, True)
    details = {**told, "completion_tokens_details": {"audio_tokens": 70, "text_tokens": 10}}
    assert not used(answered(speaking(), spoken(details))).unknown
    words = {"model": SPEAKER, "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": told}
    assert not used(answered(speaking(), words)).unknown


def interaction(usage: dict[str, Any] | None) -> dict[str, Any]:
    picture = {"type": "image", "mime_type": "image/png", "data": "A" * 30_000}
    step = {"type": "model_output", "content": [{"type": "text", "text": "Here"}, picture]}
    return {"model": IMAGES, "status": "completed", "steps": [step]} | ({} if usage is None else {"usage": usage})


def test_pictures_of_an_interaction_are_pictures() -> None:
    def asked(*, streaming: bool = False) -> Meter:
        return meter("gemini", "/v1beta/interactions", streaming=streaming, model=IMAGES, input="x", stream=streaming)

    told = {"total_input_tokens": 10, "total_output_tokens": 1_120, "total_tokens": 1_130}
    usage = used(answered(asked(), interaction(told)))
    assert dollars("gemini", IMAGES, usage) == (Decimal("0.13442"), ("unknown_class",))
    by_modality = {**told, "output_tokens_by_modality": [{"modality": "image", "tokens": "1120"}]}
    assert dollars("gemini", IMAGES, used(answered(asked(), interaction(by_modality)))) == (Decimal("0.13442"), ())
    estimate = answered(asked(), interaction(None)).delivered().counts
    assert estimate["output_image_tokens"] == 2_520
    assert estimate["output_tokens"] < 2_600
    delta = {"type": "audio", "mime_type": "audio/l16;rate=24000", "data": PCM_SECONDS}
    broken = streamed(asked(streaming=True), {"event_type": "step.delta", "delta": delta}).delivered()
    assert broken.counts["output_audio_tokens"] == 25


@pytest.mark.parametrize("details", [None, {"text_tokens": 0}, {"text_tokens": 0, "image_tokens": 0}])
def test_an_image_of_openai_that_no_detail_tells_of_is_a_picture(details: object) -> None:
    told = {"input_tokens": 10, "output_tokens": 1_056, "total_tokens": 1_066, "output_tokens_details": details}
    watch = meter("openai", "/v1/images/generations", model="gpt-image-1.5", prompt="x")
    assert used(answered(watch, {"data": [{"b64_json": "AA"}], "usage": told})).counts["output_image_tokens"] == 1_056
