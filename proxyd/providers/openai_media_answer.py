"""What OpenAI's answers with speech, transcriptions and pictures tell of their usage, plain and streamed.

Shapes: `Transcription`, `TranscriptionTextDoneEvent`, `ImagesResponse`, `ImageGenCompletedEvent` of the openai SDK 3,
and the event `speech.audio.done` of https://developers.openai.com/api/reference/resources/audio/subresources/speech.
"""

import math
from typing import Any

from proxyd.providers.accumulator import UsageAccumulator
from proxyd.providers.estimates import estimated_input
from proxyd.providers.metering import JsonMeter
from proxyd.providers.openai_tools import call_it_pictures
from proxyd.wire.sse import Event
from shared.pricing import Usage, whole

MAX_PARTS = 64


class _MediaUsage(UsageAccumulator):
    """What these have in common: events that are JSON objects with a type, and a cost that the request may foretell."""

    def event(self, event: Event) -> bool:
        if event.data is None or event.data == b"[DONE]" or self.repeats(event.name):
            return self.without_data(event)
        value = self.object_of(event.data)
        if value is None:
            return False
        kind = value.get("type")
        if kind == "error" or value.get("error") is not None:
            self.failed = True
        elif isinstance(kind, str):
            self.told(kind, value)
        return False

    def repeats(self, name: bytes) -> bool:
        """Whether an event of this name holds nothing but media, which need not be parsed."""
        del name
        return False

    def told(self, kind: str, value: dict[str, Any]) -> None:
        """Take an event of a type."""
        raise NotImplementedError

    def documents(self, documents: list[Any]) -> None:
        del documents
        self.odd = True

    def delivered(self) -> Usage:
        foretold = self._parsed.foretold
        return super().delivered() if foretold is None else foretold


class SpeechUsage(_MediaUsage):
    """Speech. Its sound tells nothing; a stream of events ends with the usage."""

    def repeats(self, name: bytes) -> bool:
        return name == b"speech.audio.delta"

    def told(self, kind: str, value: dict[str, Any]) -> None:
        if kind == "speech.audio.done":
            self.complete = True
            self.report(value.get("usage"))

    def document(self, document: dict[str, Any]) -> None:
        self.report(document.get("usage"))

    def _writes_for_nothing(self) -> bool:
        return False

    def _reads_for_nothing(self, counts: dict[str, int]) -> bool:
        """Of an answer by tokens for which none at all were told. What was told of the sound is most of its cost."""
        return not self.failed and not counts.get("output_tokens") and bool(estimated_input(self._parsed.size))


class TranscriptionUsage(_MediaUsage):
    """Transcriptions and translations, with usage of tokens or of seconds. Plain text and subtitles tell nothing."""

    def told(self, kind: str, value: dict[str, Any]) -> None:
        if kind == "transcript.text.delta":
            self.content(value.get("delta"))
        elif kind == "transcript.text.done":
            self.complete = True
            self._report(value.get("usage"), None)

    def document(self, document: dict[str, Any]) -> None:
        self._report(document.get("usage"), document.get("duration"))
        self.unweighed = document

    def written(self, document: dict[str, Any]) -> None:
        self.content(document.get("text"))

    def _report(self, usage: object, duration: object) -> None:
        if not isinstance(usage, dict) and duration is not None and self._parsed.size.output_free:
            usage = {"seconds": duration}
        if isinstance(usage, dict) and "seconds" in usage:
            usage = {**usage, "seconds": _billed_seconds(usage["seconds"])}
        self.report(usage)

    def _parts(self, counts: dict[str, int]) -> tuple[Usage, ...]:
        """Where it does not say how much of the input is sound, all of it is: sound is dearer."""
        if "input_tokens" in counts:
            counts.setdefault("input_audio_tokens", counts["input_tokens"])
        return ()

    def _writes_for_nothing(self) -> bool:
        return "seconds" not in (self.reported or {}) and super()._writes_for_nothing()

    def delivered(self) -> Usage:
        usage = super().delivered()
        self._parts(usage.counts)
        return usage


class ImagesUsage(_MediaUsage):
    """Pictures. Older models tell no usage and are sold by the piece."""

    _pictures = 0
    _begun = False
    _whole = False  # a JSON answer that was read to its end
    _authored: tuple[Usage, ...] = ()

    def repeats(self, name: bytes) -> bool:
        self._begun = True
        return name.endswith(b".partial_image")

    def told(self, kind: str, value: dict[str, Any]) -> None:
        if kind.endswith(".completed"):
            self._pictures += 1
            self.complete = self._pictures >= self._parsed.size.choices
            self.reported = _sum(self.reported, value.get("usage"))  # each tells of its own picture

    def document(self, document: dict[str, Any]) -> None:
        made = document.get("data")
        self._whole = isinstance(made, list)
        self._pictures = len(made) if isinstance(made, list) else 0
        self.report(document.get("usage"))
        drawn = document.get("svg_usage")
        if isinstance(drawn, dict) and isinstance(drawn.get("model"), str):
            counts = {f"{way}_tokens": whole(drawn.get(f"{way}_tokens")) or 0 for way in ("input", "output")}
            self._authored = (Usage(counts, drawn["model"][:200]),)

    def _is_final(self, counts: dict[str, int]) -> bool:
        """Of a stream, once all pictures have come: until then one is being painted that no figure tells of."""
        del counts
        return self._whole or self.complete

    def _parts(self, counts: dict[str, int]) -> tuple[Usage, ...]:
        call_it_pictures(counts)
        return self._authored

    def _writes_for_nothing(self) -> bool:
        return False

    def _reads_for_nothing(self, counts: dict[str, int]) -> bool:
        """Of pictures for which no tokens at all were told. Figures of the pictures are most of their cost."""
        return not self.failed and not counts.get("output_tokens") and self._pictures > 0

    def delivered(self) -> Usage:
        """As many pictures as came, or had begun to; nobody knows how far the one that broke off had come."""
        size, foretold = self._parsed.size, self._parsed.foretold
        pictures = self._pictures
        if not self._whole:
            came = self.content_bytes or self.textless_bytes  # of a JSON answer
            pictures = size.choices if came else min(size.choices, pictures + self._begun)
        if foretold is not None:
            return Usage({"image_generations": pictures}, foretold.model, estimated=not self._whole)
        output = (size.output_limit or 0) * pictures
        counts = {"input_tokens": estimated_input(size), "output_tokens": output, "output_image_tokens": output}
        return Usage(counts, estimated=True, unknown=self.odd or bool(self.reported))


class SoundMeter(JsonMeter):
    """Watches an answer that is sound: nothing in it tells of its cost, so that is known with its first byte."""

    def feed(self, data: bytes) -> bytes:
        self._accumulator.complete = True
        return data

    def end(self) -> bytes:
        return b""

    def usage(self) -> Usage | None:
        return None

    def delivered(self) -> Usage:
        return self._accumulator.delivered()


def _billed_seconds(value: object) -> object:
    """To the nearest second, as https://developers.openai.com/api/docs/pricing says; nonsense stays what it is."""
    try:
        seconds = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return value
    return max(1, math.floor(seconds + 0.5)) if 0 <= seconds < 1e9 else value


def _sum(before: dict[str, Any] | None, usage: object) -> dict[str, Any] | None:
    """The figures of two pictures together, and of their details."""
    if not isinstance(usage, dict) or before is None:
        return usage if isinstance(usage, dict) else before
    return {**before, **{name: _added(before.get(name), value) for name, value in usage.items()}}


def _added(before: object, after: object) -> object:
    if isinstance(before, dict):
        return _sum(before, after)
    return before + after if isinstance(before, int) and isinstance(after, int) else after
