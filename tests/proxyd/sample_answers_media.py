"""What OpenAI answers to speech, transcriptions, pictures and the older endpoints, and what it costs by hand."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sample_kit import D, M

COMPLETIONS, COMPACT, SPEECH = "/v1/completions", "/v1/responses/compact", "/v1/audio/speech"
TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
GENERATIONS, EDITS, VARIATIONS = "/v1/images/generations", "/v1/images/edits", "/v1/images/variations"
HOUR = D(3_600)


@dataclass(frozen=True)
class MediaSample:
    """One answer to one request, which is a JSON body or the fields and files of a form."""

    name: str
    path: str
    request: dict[str, Any] | list[tuple[str, str | bytes]]
    answer: dict[str, Any] | bytes
    cost: Decimal
    flags: tuple[str, ...] = ()


def sound(model: str, seconds: int = 1, **fields: str) -> list[tuple[str, str | bytes]]:
    return [("file", b"\0" * 500 * seconds), ("model", model), *fields.items()]


def tokens(given: int, written: int, **details: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "type": "tokens", "input_tokens": given, "output_tokens": written, "total_tokens": given + written,
    }  # fmt: skip
    return {"text": "Hello.", "usage": {**told, "input_token_details": details} if details else told}


def seconds(count: float) -> dict[str, Any]:
    return {"text": "Hello.", "usage": {"type": "duration", "seconds": count}}


def painted(text: int, image: int, output: int, pictures: int = 1, **more: Any) -> dict[str, Any]:
    details = {"text_tokens": text, "image_tokens": image}
    usage = {"input_tokens": text + image, "input_tokens_details": details, "output_tokens": output, **more}
    return {"created": 1, "data": [{"b64_json": "iVBORw0K" * 100}] * pictures, "usage": usage}


SAMPLES = [
    MediaSample(
        "a text is completed", COMPLETIONS,
        {"model": "gpt-3.5-turbo-instruct", "prompt": "Once"},
        {
            "model": "gpt-3.5-turbo-instruct:20230824-v2", "choices": [{"text": " upon a time", "index": 0}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 16, "total_tokens": 23},
        },
        D(7) * D("1.5") / M + D(16) * D(2) / M,
    ),
    MediaSample(
        "a conversation is compacted", COMPACT,
        {"model": "gpt-5", "input": "x"},
        {
            "object": "response.compaction",
            "output": [
                {"type": "message", "role": "user", "content": "Some words."},
                {"type": "compaction", "encrypted_content": "gAAAAAB"},
            ],
            "usage": {
                "input_tokens": 5_000, "input_tokens_details": {"cached_tokens": 4_000}, "output_tokens": 300,
                "output_tokens_details": {"reasoning_tokens": 200}, "total_tokens": 5_300,
            },
        },
        D(1_000) * D("1.25") / M + D(4_000) * D("0.125") / M + D(300) * D(10) / M,
    ),
    MediaSample(
        "compacted at the tier that was asked for", COMPACT,
        {"model": "gpt-5", "input": "x", "service_tier": "priority"},
        {
            "output": [{"type": "compaction", "encrypted_content": "gAAAAAB"}],
            "usage": {"input_tokens": 1_000, "output_tokens": 100, "total_tokens": 1_100},
        },
        D(1_000) * D("2.5") / M + D(100) * D(20) / M,
    ),
    MediaSample(
        "speech by the character", SPEECH,
        {"model": "tts-1", "input": "Grüße, 世界", "voice": "alloy"}, b"\xff\xf3\x84",
        D(9) * D(15) / M,
    ),
    MediaSample(
        "fine speech by the character", SPEECH,
        {"model": "tts-1-hd", "input": "Hello", "voice": "alloy"}, b"\xff\xf3\x84",
        D(5) * D(30) / M,
    ),
    # Sound tells no usage: all of the body as input, 256 tokens and four for each byte of the text as output.
    MediaSample(
        "speech by the token", SPEECH,
        {"model": "gpt-4o-mini-tts", "input": "Hello", "voice": "alloy"}, b"\xff\xf3\x84",
        D(len('{"model": "gpt-4o-mini-tts", "input": "Hello", "voice": "alloy"}')) * D("0.6") / M
        + D(256 + 5 * 4) * D(12) / M,
        ("estimated",),
    ),
    MediaSample(
        "sound by the second", TRANSCRIPTIONS, sound("whisper-1", 60), seconds(12), D(12) * D("0.36") / HOUR
    ),
    MediaSample("to the nearest second", TRANSCRIPTIONS, sound("whisper-1", 20), seconds(8.5), D(9) * D("0.36") / HOUR),
    MediaSample("at least one", TRANSCRIPTIONS, sound("whisper-1"), seconds(0.2), D(1) * D("0.36") / HOUR),
    MediaSample(
        "sound by the second, cheaper", TRANSCRIPTIONS, sound("gpt-transcribe", 100), seconds(100),
        D(100) * D("0.27") / HOUR,
    ),
    MediaSample(
        "the duration of a translation", TRANSLATIONS, sound("whisper-1", 9, response_format="verbose_json"),
        {"task": "translate", "language": "english", "duration": 3.62, "text": "Hello."}, D(4) * D("0.36") / HOUR,
    ),
    # No codec in use takes less than 500 bytes a second.
    MediaSample(
        "a translation that tells nothing", TRANSLATIONS, sound("whisper-1", 40), {"text": "Hello."},
        D(41) * D("0.36") / HOUR,
        ("estimated",),
    ),
    MediaSample(
        "subtitles tell nothing", TRANSCRIPTIONS, sound("whisper-1", 20, response_format="vtt"),
        b"WEBVTT\n\n00:00.000 --> 00:04.000\nHello.\n", D(21) * D("0.36") / HOUR,
        ("estimated",),
    ),
    # Four seconds of eight thousand samples of one byte.
    MediaSample(
        "a translation of a file that says how long it is", TRANSLATIONS,
        [
            ("model", "whisper-1"),
            (
                "file",
                b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\0\0\0\0"
                + b"\0" * 31_000,
            ),
        ],
        {"text": "Hello."},
        D(4) * D("0.36") / HOUR,
        ("estimated",),
    ),
    MediaSample(
        "sound by the token", TRANSCRIPTIONS, sound("gpt-4o-transcribe"),
        tokens(40, 12, audio_tokens=33, text_tokens=7),
        D(7) * D("2.5") / M + D(33) * D(6) / M + D(12) * D(10) / M,
    ),
    MediaSample(
        "sound by the token, without details", TRANSCRIPTIONS, sound("gpt-4o-mini-transcribe-2025-12-15"),
        tokens(40, 12),
        D(40) * D(3) / M + D(12) * D(5) / M,
    ),
    # Its price list has tokens only. The dearest that the provider asks for an hour of sound is 3 dollars.
    MediaSample(
        "seconds of a model that is sold by the token", TRANSCRIPTIONS, sound("gpt-4o-transcribe-diarize"),
        seconds(100),
        D(100) * D("0.000833334"),
        ("unknown_class",),
    ),
    MediaSample(
        "a picture by its tokens", GENERATIONS, {"model": "gpt-image-2", "prompt": "x"},
        painted(20, 0, 7_024),
        D(20) * D(5) / M + D(7_024) * D(30) / M,
    ),
    MediaSample(
        "a picture whose words are cheaper", GENERATIONS, {"model": "gpt-image-1.5", "prompt": "x", "n": 2},
        painted(20, 0, 8_420, 2, output_tokens_details={"text_tokens": 100, "image_tokens": 8_320}),
        D(20) * D(5) / M + D(100) * D(10) / M + D(8_320) * D(32) / M,
    ),
    MediaSample(
        "a picture without details", GENERATIONS, {"model": "gpt-image-1.5", "prompt": "x"},
        painted(20, 0, 4_160),
        D(20) * D(5) / M + D(4_160) * D(32) / M,
    ),
    MediaSample(
        "a picture whose references were read from a cache", EDITS,
        [("image", b"png"), ("prompt", "x"), ("model", "gpt-image-2")],
        painted(
            20, 2_000, 1_756, cached_tokens=1_510,
            cached_tokens_details={"cached_image_tokens": 1_500, "cached_text_tokens": 10},
        ),
        D(10) * D(5) / M + D(10) * D("1.25") / M + D(500) * D(8) / M + D(1_500) * D(2) / M + D(1_756) * D(30) / M,
    ),
    MediaSample(
        "a picture is edited", EDITS,
        [("image[]", b"png"), ("image[]", b"png"), ("prompt", "x"), ("model", "gpt-image-2.6-sunburst")],
        painted(12, 2_048, 1_756),
        D(12) * D(5) / M + D(2_048) * D(8) / M + D(1_756) * D(30) / M,
    ),
    # Nobody knows what it chose by itself: the largest picture at the finest, 23,719 tokens, and 2,048 of words.
    MediaSample(
        "a picture that tells nothing", GENERATIONS, {"model": "gpt-image-2", "prompt": "x"},
        {"created": 1, "data": [{"b64_json": "iVBORw0K"}]},
        D(13) * D(5) / M + D(23_719 + 2_048) * D(30) / M,
        ("estimated",),
    ),
    MediaSample(
        "another model writes it", GENERATIONS,
        {"model": "gpt-image-2.6-flare", "prompt": "x", "output_format": "svg"},
        {
            **painted(20, 0, 7_024),
            "svg_usage": {
                "model": "gpt-5", "input_tokens": 300, "output_tokens": 900, "reasoning_tokens": 500,
                "total_tokens": 1_200,
            },
        },
        D(20) * D(5) / M + D(7_024) * D(30) / M + D(300) * D("1.25") / M + D(900) * D(10) / M,
    ),
    MediaSample(
        "pictures by the piece", GENERATIONS,
        {"model": "dall-e-3", "prompt": "x", "quality": "hd", "size": "1792x1024"},
        {"created": 1, "data": [{"url": "u"}]},
        D("0.120"),
    ),
    MediaSample(
        "fewer pictures than were asked for", VARIATIONS,
        [("image", b"png"), ("model", "dall-e-2"), ("n", "4"), ("size", "256x256")],
        {"created": 1, "data": [{"url": "u"}, {"url": "v"}, {"url": "w"}]},
        D(3) * D("0.016"),
    ),
    # Of a size that the price list never had, each costs what the dearest picture of its model does.
    MediaSample(
        "a picture of a strange size", GENERATIONS, {"model": "dall-e-3", "prompt": "x", "size": "1x1"},
        {"created": 1, "data": [{"url": "u"}]},
        D("0.120"),
        ("served_model_unpriced",),
    ),
]  # fmt: skip
