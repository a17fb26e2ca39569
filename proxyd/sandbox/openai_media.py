"""OpenAI's speech, transcriptions and pictures, each with what it would be billed.

Shapes: https://developers.openai.com/api/reference and the types of the openai package. Prices are those of the
provider's price list in November 2026, written down here once more, so that the invoice is an opinion of its own.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import Any

import orjson

from proxyd.sandbox import reading
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.speech import tokens
from proxyd.sandbox.values import Document

D = Decimal
M = D(1_000_000)
_NANOS = D(1_000_000_000)

BYTES_PER_SECOND = 32_000  # of sound that is heard
PICTURE_BYTES = 96
_SPOKEN_BYTES = 48_000  # sent for any text
_SPOKEN_FACTOR = 6  # tokens of sound for one of text
_SEEN_TOKENS = 1_024  # of a picture that is sent
_HEARD_PER_SECOND = 10


@dataclass(slots=True)
class Made:
    """An answer: one body, or events; and what it would cost."""

    nanos: int
    input_tokens: int = 0
    output_tokens: int = 0
    body: bytes = b""
    content_type: str = "application/json"
    events: list[Document] = field(default_factory=list)


def nanos_of(dollars: Decimal) -> int:
    return int((dollars * _NANOS).to_integral_value(rounding=ROUND_CEILING))


_BY_CHARACTER = {"tts-1": D("15"), "tts-1-hd": D("30")}
_SPEAKS = {"gpt-4o-mini-tts": (D("0.60"), D("12"))}


def speech(model: str, document: Document, *, usage: bool) -> Made:
    """Sound, as bytes that are none, or as events."""
    text = reading.string(document, "input")
    streams = document.get("stream_format") == "sse"
    if model in _BY_CHARACTER:
        if streams:
            raise Refusal(400, f"stream_format sse is not supported with {model}.", param="stream_format")
        made = Made(nanos_of(len(text) * _BY_CHARACTER[model] / M))
    else:
        given, spoken = _SPEAKS[_plain(model)]
        read = tokens(text) + tokens(reading.text_of(document.get("instructions")))
        said = tokens(text) * _SPOKEN_FACTOR
        made = Made(nanos_of(read * given / M + said * spoken / M), read, said)
    sound = (text.encode() or b"?") * (_SPOKEN_BYTES // len(text.encode()) + 1)
    if not streams:
        made.body, made.content_type = sound, "audio/mpeg"
        return made
    halves = (sound[: len(sound) // 2], sound[len(sound) // 2 :])
    made.events = [{"type": "speech.audio.delta", "audio": base64.b64encode(half).decode()} for half in halves]
    told = {"usage": _tokens(made)} if usage else {}
    made.events.append({"type": "speech.audio.done", **told})
    return made


_BY_HOUR = {"whisper-1": D("0.36"), "gpt-transcribe": D("0.27")}
_HEARS = {
    "gpt-4o-transcribe": (D("2.50"), D("6"), D("10")),
    "gpt-4o-mini-transcribe": (D("1.25"), D("3"), D("5")),
}
_STAMPS = {"srt": "1\n00:00:00,000 --> 00:00:{:02},000\n{}\n", "vtt": "WEBVTT\n\n00:00.000 --> 00:{:02}.000\n{}\n"}


def transcription(model: str, document: Document, *, usage: bool) -> Made:
    """What was said, in the shape that was asked for."""
    files = document.get("files")
    if not files:
        raise Refusal(400, "Missing required parameter: 'file'.", param="file")
    sound = files[0][1]
    seconds = max(1, -(-len(sound) // BYTES_PER_SECOND))
    text = f"You sent {len(sound)} bytes of sound: nobody has heard them."
    if model in _BY_HOUR:
        made = Made(nanos_of(seconds * _BY_HOUR[model] / 3_600))
        told: Document = {"type": "duration", "seconds": seconds}
    else:
        given, heard, written = _HEARS[_plain(model)]
        read = tokens(reading.text_of(document.get("prompt")))
        listened, said = seconds * _HEARD_PER_SECOND, tokens(text)
        made = Made(nanos_of((read * given + listened * heard + said * written) / M), read + listened, said)
        details = {"text_tokens": read, "audio_tokens": listened}
        told = {"type": "tokens", **_tokens(made), "input_token_details": details}
    shape = document.get("response_format") or "json"
    shown = {"usage": told} if usage else {}
    if shape == "verbose_json":
        made.body = orjson.dumps(
            {"task": "transcribe", "language": "english", "duration": seconds, "text": text, "segments": [], **shown}
        )
    elif shape == "json" and document.get("stream") == "true" and model not in _BY_HOUR:
        words = [f"{word} " for word in text.split(" ")]
        made.events = [{"type": "transcript.text.delta", "delta": word} for word in words]
        made.events.append({"type": "transcript.text.done", "text": text, **shown})
    elif shape == "json":
        made.body = orjson.dumps({"text": text, **shown})
    else:
        made.content_type = "text/plain; charset=utf-8"
        made.body = _STAMPS.get(str(shape), "{1}\n").format(min(59, seconds), text).encode()
    return made


def translation(model: str, document: Document, *, usage: bool) -> Made:
    """The same in English. It tells no usage, but for the duration in its longest shape."""
    del usage
    return transcription(model, document, usage=False)


# Dollars a million tokens: text and pictures that are read, and what is painted.
_PAINTS = {
    "gpt-image-1-mini": (D("2"), D("2.50"), D("8")),
    "gpt-image-1": (D("5"), D("10"), D("40")),
    "gpt-image-1.5": (D("5"), D("8"), D("32")),
    "gpt-image-2": (D("5"), D("8"), D("30")),
    "gpt-image-2.5-flare": (D("5"), D("8"), D("30")),
    "gpt-image-2.6-sunburst": (D("5"), D("8"), D("30")),
}
_STROKES = {"low": 272, "medium": 1_056, "high": 4_160}
_PARTIAL_TOKENS = 100
_PICTURES = {
    ("dall-e-2", "256x256"): D("0.016"),
    ("dall-e-2", "512x512"): D("0.018"),
    ("dall-e-2", "1024x1024"): D("0.020"),
    ("dall-e-3", "standard", "1024x1024"): D("0.040"),
    ("dall-e-3", "standard", "1024x1792"): D("0.080"),
    ("dall-e-3", "standard", "1792x1024"): D("0.080"),
    ("dall-e-3", "hd", "1024x1024"): D("0.080"),
    ("dall-e-3", "hd", "1024x1792"): D("0.120"),
    ("dall-e-3", "hd", "1792x1024"): D("0.120"),
}


def images(model: str, document: Document, *, usage: bool) -> Made:
    """Pictures that are none."""
    wanted = _number(document, "n", 1)
    picture = {"b64_json": base64.b64encode(b"\x89PNG" * (PICTURE_BYTES // 4)).decode()}
    size = str(document.get("size") or "1024x1024")
    if model.startswith("dall-e-"):
        quality = (str(document.get("quality") or "standard"),) if model == "dall-e-3" else ()
        price = _PICTURES.get((model, *quality, size))
        if price is None:
            raise Refusal(400, f"{model} paints no such picture.", param="size")
        return Made(nanos_of(wanted * price), body=orjson.dumps({"created": 1, "data": [picture] * wanted}))
    given, seen, painted = _PAINTS[model]
    read = tokens(reading.string(document, "prompt")) * wanted
    looked = len(document.get("files") or ()) * _SEEN_TOKENS * wanted
    partial = _number(document, "partial_images", 0)
    streams = document.get("stream") in (True, "true")
    strokes = _STROKES.get(str(document.get("quality")), 1_056) + (partial * _PARTIAL_TOKENS if streams else 0)
    made = Made(
        nanos_of((read * given + looked * seen + strokes * wanted * painted) / M), read + looked, strokes * wanted
    )
    told: Document = {**_tokens(made), "input_tokens_details": {"text_tokens": read, "image_tokens": looked}}
    if not streams:
        detailed = {**told, "output_tokens_details": {"text_tokens": 0, "image_tokens": made.output_tokens}}
        shown = {"usage": detailed} if usage else {}
        made.body = orjson.dumps({"created": 1, "data": [picture] * wanted, "size": size, **shown})
        return made
    if wanted != 1:
        raise Refusal(400, "Streams of several pictures are not supported here.", param="n")
    kind = "image_edit" if "files" in document else "image_generation"
    made.events = [{"type": f"{kind}.partial_image", **picture, "partial_image_index": i} for i in range(partial)]
    made.events.append({"type": f"{kind}.completed", **picture, **({"usage": told} if usage else {})})
    return made


def _tokens(made: Made) -> Document:
    total = made.input_tokens + made.output_tokens
    return {"input_tokens": made.input_tokens, "output_tokens": made.output_tokens, "total_tokens": total}


def _number(document: Document, name: str, otherwise: int) -> int:
    """A number of a JSON body or of a form, where it is text."""
    value = document.get(name, otherwise)
    if not str(value).isdigit():
        raise Refusal(400, f"Invalid value for '{name}'.", param=name)
    return int(value)


def _plain(model: str) -> str:
    """A model's name without the date of its snapshot."""
    return model.removesuffix("-2025-12-15")


MADE: Mapping[str, Callable[..., Made]] = {
    "speech": speech,
    "transcriptions": transcription,
    "translations": translation,
    "images": images,
}
_MODELS: Mapping[str, frozenset[Any]] = {
    "speech": frozenset({*_BY_CHARACTER, *_SPEAKS}),
    "transcriptions": frozenset({*_BY_HOUR, *_HEARS}),
    "translations": frozenset({"whisper-1"}),
    "images": frozenset({*_PAINTS, *(picture[0] for picture in _PICTURES)}),
}


def exists(name: str, model: str) -> bool:
    """Whether one of these endpoints has a model."""
    return _plain(model) in _MODELS[name]


def marker(document: Document) -> str:
    """The words of a request, whatever its field for them."""
    return reading.text_of(document.get("input") or document.get("prompt"))
