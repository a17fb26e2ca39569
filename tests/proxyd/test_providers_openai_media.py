"""OpenAI's speech, transcriptions and older endpoints: how much they can cost, and what streams tell."""

import json
from decimal import Decimal
from typing import Any

import pytest
from dialect_kit import used
from media_kit import Request, bound_of, endpoint_of, events, unbounded, understood, watching
from sample_answers_media import (
    COMPACT,
    COMPLETIONS,
    GENERATIONS,
    SPEECH,
    TRANSCRIPTIONS,
    TRANSLATIONS,
)

from proxyd.providers import DIALECTS, BadBody

INSTRUCT = {"model": "gpt-3.5-turbo-instruct", "prompt": "Once"}
SPOKEN = {"model": "gpt-4o-mini-tts", "input": "Hello", "voice": "alloy"}


def transcribed(model: str, size: int, **fields: str) -> list[tuple[str, str | bytes]]:
    return [("file", b"\0" * size), ("model", model), *fields.items()]


def painted(model: str = "gpt-image-2", **fields: Any) -> dict[str, Any]:
    return {"model": model, "prompt": "x", **fields}


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({}, 16),
        ({"max_tokens": 100}, 100),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": 10, "n": 3}, 30),
        ({"max_tokens": 10, "n": 2, "best_of": 5}, 50),
        ({"max_tokens": 10, "prompt": ["a", "b", "c"], "n": 2}, 60),
        ({"max_tokens": 10, "prompt": [1, 2, 3]}, 10),
        ({"max_tokens": 10, "prompt": [[1, 2], [3]]}, 20),
        ({"max_tokens": 10, "prompt": None}, 10),
    ],
)
def test_it_works(fields: dict[str, Any], output: int) -> None:
    """Each prompt is completed as often as the larger of `n` and `best_of` says; without a limit, by 16 tokens."""
    found = bound_of(COMPLETIONS, {**INSTRUCT, **fields})
    assert found.output.units == output
    assert found.input.units == len(json.dumps({**INSTRUCT, **fields})) + 256


def test_a_stream_of_a_completion_asks_for_its_usage_and_hides_it() -> None:
    parsed = understood(COMPLETIONS, {**INSTRUCT, "stream": True})
    sent = json.loads(DIALECTS["openai"].rewrite(parsed, model=None, output_limit=None))
    assert sent == {**INSTRUCT, "stream": True, "stream_options": {"include_usage": True}}
    watch = watching(COMPLETIONS, parsed, streaming=True)
    first = b'data: {"model":"gpt-3.5-turbo-instruct","choices":[{"text":"Hel"}]}\n\n'
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    last = b'data: {"choices":[],"usage":%s}\n\n' % json.dumps(usage).encode()
    assert watch.feed(first + last + b"data: [DONE]\n\n") + watch.end() == first + b"data: [DONE]\n\n"
    assert used(watch).counts == {"input_tokens": 3, "output_tokens": 2}


def test_a_stream_of_a_completion_that_breaks_off_costs_its_text() -> None:
    watch = watching(COMPLETIONS, understood(COMPLETIONS, {**INSTRUCT, "stream": True}), streaming=True)
    for text in ("Hello ", "world"):
        watch.feed(b"data: %s\n\n" % json.dumps({"choices": [{"text": text}]}).encode())
    watch.end()
    assert watch.usage() is None
    assert watch.delivered().counts["output_tokens"] == -(-len("Hello world") // 3)


def test_a_summary_is_as_long_as_its_model_lets_it() -> None:
    found = bound_of(COMPACT, {"model": "gpt-5", "input": "x", "max_output_tokens": 1})
    assert (found.output.units, found.affordable_output_limit) == (128_000, None)
    assert bound_of(COMPACT, {"model": "gpt-5", "previous_response_id": "resp_1"}).input.units >= 400_000


def test_the_counter_of_responses_counts_what_is_to_be_compacted() -> None:
    parsed = understood(COMPACT, {"model": "gpt-5", "input": "x", "prompt_cache_key": "k"})
    asked = DIALECTS["openai"].count_request(endpoint_of(COMPACT), parsed, "/v1/responses/compact", "gpt-5")
    assert asked is not None
    assert asked[0] == "/v1/responses/input_tokens"
    assert json.loads(b"".join(asked[1])) == {"model": "gpt-5", "input": "x"}


def test_speech_by_the_character_is_bounded_to_the_cent() -> None:
    found = bound_of(SPEECH, {"model": "tts-1-hd", "input": "Grüße", "voice": "alloy"})
    assert (found.nanos, found.fees["input_characters"].units) == (5 * 30_000, 5)
    assert (found.input.units, found.output.units, found.affordable_output_limit) == (0, 0, None)


@pytest.mark.parametrize(
    ("speed", "spoken"), [(None, 276), (1.0, 276), (4, 276), (0.5, 296), (0.25, 336), (0.001, 336), (0, 336)]
)
def test_slower_speech_is_longer(speed: float | None, spoken: int) -> None:
    assert bound_of(SPEECH, {**SPOKEN, "speed": speed}).output.units == spoken


@pytest.mark.parametrize(
    ("path", "request_", "param"),
    [
        (SPEECH, {"model": "tts-1"}, "input"),
        (SPEECH, {"model": "tts-1", "input": ["a"]}, "input"),
        (SPEECH, {**SPOKEN, "speed": True}, "speed"),
        (SPEECH, {"input": "x"}, "model"),
        (TRANSCRIPTIONS, [("file", b"x")], "model"),
        (TRANSCRIPTIONS, {"model": "whisper-1"}, None),
        (GENERATIONS, painted(n="2"), "n"),
        (GENERATIONS, painted(n=0), "n"),
        (GENERATIONS, painted(quality=1), "quality"),
        (COMPLETIONS, {**INSTRUCT, "best_of": -1}, "best_of"),
        (COMPLETIONS, {"prompt": "x"}, "model"),
    ],
)
def test_what_cannot_be_read_is_refused(path: str, request_: Request, param: str | None) -> None:
    with pytest.raises(BadBody) as refused:
        understood(path, request_)
    assert refused.value.param == param


def test_sound_by_the_second_is_bounded_by_its_bytes() -> None:
    found = bound_of(TRANSLATIONS, transcribed("whisper-1", 500 * 3_600))
    assert found.nanos == 360_100_000  # an hour, and a second for the other fields
    assert found.fees["audio_seconds"].units == 3_601
    assert found.affordable_output_limit is None


def wave(seconds: int) -> bytes:
    """A file of 16,000 samples of two bytes each second."""
    head = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\0\0\0"
    return head + b"\0" * 32_000 * seconds


def test_a_file_that_says_how_long_it_is_is_bounded_by_that() -> None:
    request: list[tuple[str, str | bytes]] = [("file", wave(60)), ("model", "whisper-1")]
    found = bound_of(TRANSCRIPTIONS, request)
    assert (found.nanos, found.fees["audio_seconds"].units) == (6_000_000, 60)
    examples = [*request, ("known_speaker_references[]", "data:audio/wav;base64," + "A" * 5_000)]
    assert bound_of(TRANSCRIPTIONS, examples).fees["audio_seconds"].units == 70
    assert bound_of(TRANSCRIPTIONS, [*request, ("file", wave(60))]).fees["audio_seconds"].units > 7_000
    found = bound_of(TRANSCRIPTIONS, [("file", wave(60)), ("model", "gpt-4o-transcribe")])
    assert found.input.units == 600 + len("gpt-4o-transcribe") + 256


@pytest.mark.parametrize(
    ("size", "fields", "heard", "written"),
    [
        (500 * 60, {}, 610, 2_000),  # the other fields may be sound as well
        (500 * 60, {"prompt": "word " * 100}, 620, 2_000),
        (500 * 36_000, {}, 16_000, 2_000),  # one block has no more than the context window
        (500 * 36_000, {"chunking_strategy": "auto"}, 360_010, 360_010),
        (500 * 36_000, {"chunking_strategy[type]": "server_vad"}, 360_010, 360_010),
    ],
)
def test_sound_by_the_token(size: int, fields: dict[str, str], heard: int, written: int) -> None:
    request = transcribed("gpt-4o-transcribe", size, **fields)
    found = bound_of(TRANSCRIPTIONS, request)
    texts = sum(len(value) for _, value in request if isinstance(value, str))
    assert (found.input.units, found.output.units) == (heard + texts + 256, written)
    assert found.input.usd_per_unit == Decimal("0.000006")


def test_a_transcription_by_a_model_without_a_rate_for_sound_has_no_bound() -> None:
    assert unbounded(TRANSCRIPTIONS, transcribed("gpt-4o-audio-preview", 500)) == "input_audio_tokens"
    assert unbounded(TRANSCRIPTIONS, transcribed("whisper-none", 500)) is None
    assert unbounded(SPEECH, {**SPOKEN, "model": "whisper-1"}) == "input_tokens"


def test_a_stream_of_a_transcription() -> None:
    watch = watching(TRANSCRIPTIONS, understood(TRANSCRIPTIONS, transcribed("gpt-4o-transcribe", 500)), streaming=True)
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 4, "total_tokens": 18}
    shown = events(
        {"type": "transcript.text.delta", "delta": "Hello"},
        {"type": "transcript.text.done", "text": "Hello", "usage": usage},
    )
    assert watch.feed(shown) == shown
    assert watch.complete
    assert used(watch).counts == {"input_tokens": 14, "output_tokens": 4, "input_audio_tokens": 14}


def test_a_transcription_that_breaks_off_costs_its_sound_and_what_was_written() -> None:
    watch = watching(TRANSCRIPTIONS, understood(TRANSCRIPTIONS, transcribed("gpt-4o-transcribe", 500)), streaming=True)
    watch.feed(events({"type": "transcript.text.delta", "delta": "Hello world"}))
    watch.end()
    assert watch.usage() is None
    usage = watch.delivered()
    assert usage.counts["output_tokens"] == 4
    assert usage.counts["input_audio_tokens"] >= 20
    assert usage.estimated


@pytest.mark.parametrize("nonsense", [-1, "x", None, [], 1e300, float("nan")])
def test_seconds_that_make_no_sense_are_estimated(nonsense: object) -> None:
    watch = watching(TRANSCRIPTIONS, understood(TRANSCRIPTIONS, transcribed("whisper-1", 5_000)))
    watch.feed(json.dumps({"text": "x", "usage": {"type": "duration", "seconds": nonsense}}).encode())
    watch.end()
    assert watch.usage() is None
    usage = watch.delivered()
    assert (usage.counts, usage.estimated) == ({"audio_seconds": 11}, True)


def test_speech_as_events_tells_its_usage() -> None:
    watch = watching(SPEECH, understood(SPEECH, {**SPOKEN, "stream_format": "sse"}), streaming=True)
    watch.feed(events({"type": "speech.audio.delta", "audio": "QUJD" * 1_000}))
    assert not watch.complete
    assert watch.usage() is None
    watch.feed(events({"type": "speech.audio.done", "usage": {"input_tokens": 5, "output_tokens": 80}}))
    assert watch.complete
    assert used(watch).counts == {"input_tokens": 5, "output_tokens": 80}


def test_sound_is_passed_on_at_once_and_never_billed_by_itself() -> None:
    """What an answer costs that failed is decided by its status; so nothing here may say that it costs something."""
    watch = watching(SPEECH, understood(SPEECH, SPOKEN))
    assert not watch.complete
    assert watch.feed(b"\xff\xf3") == b"\xff\xf3"
    assert watch.complete
    assert watch.usage() is None
    assert watch.delivered().counts["output_tokens"] == 276
