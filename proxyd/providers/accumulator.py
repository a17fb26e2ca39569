"""What is known of one answer so far, and what it is charged by when its figures are missing or make no sense."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

from proxyd.providers.base import Parsed
from proxyd.providers.estimates import BYTES_PER_TOKEN, estimated_input, weigh
from proxyd.providers.input_estimate import AUDIO_BYTES_PER_TOKEN
from proxyd.providers.tail import TAIL_BYTES, usage_in_tail, without_fields, word_in_tail
from proxyd.wire.json_size import SHORT_BYTES, takes_long
from proxyd.wire.sse import UNREAD, Event
from shared.catalog import Endpoint
from shared.pricing import REGIONS, Usage, larger, makes_no_sense, read_usage

# The most that Google's pages tell of a picture, 4K by Gemini 3.1 Flash Image: ai.google.dev/gemini-api/docs/pricing.
PICTURE_TOKENS = 2_520
# Base64 of what 40 ms of sound (a token of Gemini's; OpenAI's are longer) are at 24,000 samples of two bytes a second.
PCM_BYTES_PER_TOKEN = 2_560
# Of a film that nobody can count: ten seconds, the most of an answer of Gemini's models that make them ("Maximum output
# tokens" of https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/gemini/omni-flash-preview).
FILM_TOKENS = 57_920
_PCM = ("audio/l16", "audio/pcm", "audio/wav", "audio/x-wav")
_SOUND, _PICTURE, _FILM = "output_audio_tokens", "output_image_tokens", "output_video_tokens"
_STORED = {"audio": (_SOUND, FILM_TOKENS), "image": (_PICTURE, PICTURE_TOKENS), "video": (_FILM, FILM_TOKENS)}
_TOLD_OF_OUTPUT = ("output_text_tokens", "output_reasoning_tokens", _SOUND, _PICTURE, _FILM)
_TOLD_OF_INPUT = ("input_text_tokens", "input_audio_tokens", "input_image_tokens", "input_video_tokens")
NO_CALLS: Mapping[str, int] = MappingProxyType({})
_DEARER_TIERS = ("priority", "fast")


class UsageAccumulator:
    """What is known of one answer so far. Dialects say how events and documents change it."""

    usage_field = "usage"

    # Most of these stay what they are here for the whole of an answer, so none is set before it changes.
    complete = False
    failed = False
    served_model: str | None = None
    service_tier: str | None = None
    speed: str | None = None
    region: str | None = None
    reported: dict[str, Any] | None = None  # the usage object, of all that came the larger figures
    odd = False  # something contradicts what we know of the dialect
    content_events = 0
    content_bytes = 0
    unweighed: dict[str, Any] | None = None  # a whole answer whose text is counted (`written`) if that matters
    textless_bytes = 0  # what counts as written by the model where no text was found
    tool_calls: Mapping[str, int] = NO_CALLS  # by usage key, where they stand outside the usage object
    media: Mapping[str, int] = NO_CALLS  # an estimate of the tokens of the sound and the pictures in it, by usage key
    deferred = False  # the answer is made later, and told to whoever asks for it
    job: str | None = None  # its name, to ask for it by

    def __init__(self, endpoint: Endpoint, parsed: Parsed) -> None:
        self._endpoint = endpoint
        self._parsed = parsed
        # A stream tells its tier at its end, some answers never. Until then what was asked for and is dearer counts.
        size = parsed.size
        if size.service_tier in _DEARER_TIERS:
            self.service_tier = size.service_tier
        self.speed = size.speed
        if size.region in REGIONS:
            self.region = size.region

    def event(self, event: Event) -> bool:
        """Take one event of a stream. True: the client must not see it."""
        raise NotImplementedError

    def object_of(self, data: bytes) -> dict[str, Any] | None:
        """The JSON object that an event carries. None: it is another value, or none, which is noted as odd."""
        if len(data) > SHORT_BYTES and self.too_long(data):
            return None
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            self.odd = True
            return None
        return value if isinstance(value, dict) else None

    def document(self, document: dict[str, Any]) -> None:
        """Take a whole JSON answer, but for its text where `unweighed` is set."""
        raise NotImplementedError

    def documents(self, documents: list[Any]) -> None:
        """Take a JSON list of answers. Only Gemini sends such a thing."""
        raise NotImplementedError

    def written(self, document: dict[str, Any]) -> None:
        """Count the text of a whole answer."""

    def ended(self) -> None:
        """The body is over. For dialects without a terminal event this is where an answer becomes complete."""

    def content(self, value: object) -> None:
        """Count something that the model wrote: one event of content, and the text in it."""
        size = weigh(value)
        if size:
            self.content_events += 1
            self.content_bytes += size

    def sound(self, payload: object, *, pcm: bool) -> None:
        """Count sound that the model spoke, as base64. Of any coding but PCM a second has as few bytes as it likes."""
        if isinstance(payload, str) and payload:
            self._medium(_SOUND, -(-len(payload) // (PCM_BYTES_PER_TOKEN if pcm else AUDIO_BYTES_PER_TOKEN)))

    def blob(self, mime: object, payload: object) -> bool:
        """Count a sound, a picture or a film that the model made, as base64. False: it is none, and counts as text."""
        kind = mime.lower() if isinstance(mime, str) else ""
        if not kind.startswith("audio/"):
            return self.stored(kind)
        self.sound(payload, pcm=kind.startswith(_PCM))
        return True

    def stored(self, mime: object) -> bool:
        """Count one that stands elsewhere, so that nobody can see how long it is. False: it is none of these."""
        found = _STORED.get(mime.lower().partition("/")[0]) if isinstance(mime, str) else None
        if found is not None:
            self._medium(*found)
        return found is not None

    def _medium(self, key: str, tokens: int) -> None:
        self.content_events += 1
        self.media = {**self.media, key: self.media.get(key, 0) + tokens}

    def too_long(self, data: bytes) -> bool:
        """Whether an event has too many values to be parsed. Then all of it counts as text, and its end is read."""
        if not takes_long(data):
            return False
        self._as_text(data, data[-TAIL_BYTES:])
        return True

    def without_data(self, event: Event) -> bool:
        """Take an event without data, as `event` does: it tells nothing, or was not looked into and counts as text."""
        if event.name == UNREAD:
            self._as_text(event.raw, without_fields(event.raw[-TAIL_BYTES:]))
        return False

    def _as_text(self, data: bytes, tail: bytes) -> None:
        self.content_events += 1
        self.content_bytes += len(data)
        self.odd = not self.unread(tail) or self.odd

    def unread(self, tail: bytes) -> bool:
        """The answer, or an event of it, is too large to be looked at. Whether its end has the figures."""
        usage = usage_in_tail(tail, self.usage_field)
        self.report(usage)
        self.service_tier = word_in_tail(tail, "service_tier") or self.service_tier
        return usage is not None

    def report(self, usage: object) -> None:
        """Take a usage object. Figures are cumulative, so none of them falls."""
        if isinstance(usage, dict):
            self.reported = usage if self.reported is None else larger(self.reported, usage)

    def usage(self) -> Usage | None:
        flavor = self._endpoint.flavor
        if flavor is None:
            return None
        if self.deferred:
            return Usage({}, self.served_model, unmetered=True)
        reading = read_usage(self._endpoint.prices_id, flavor, self.reported)
        told = reading is not None and (self._is_final(reading.counts) or (self.failed and not self.wrote))
        if reading is None or not told:
            return None  # of an answer that failed before there was a text, what was told until then is all there is
        counts = reading.counts
        for key, calls in self._calls().items():
            counts[key] = max(calls, counts.get(key, 0))
        parts = self._parts(counts)
        if self.media or self._parsed.size.classes:
            self._class_media(counts)
            self._class_input(counts)
        if not counts.get("output_tokens") and not parts and self._writes_for_nothing():
            return None
        if not counts.get("input_tokens") and not parts and self._reads_for_nothing(counts):
            return None
        self.unweighed = None
        return Usage(
            counts,
            self.served_model,
            self.service_tier,
            self.speed,
            False,
            reading.unknown or self.odd,
            reading.clamped,
            parts=parts,
            region=self.region,
        )

    def _is_final(self, counts: dict[str, int]) -> bool:
        """Whether the figures are the last word; some dialects begin with preliminary ones."""
        del counts
        return True

    def _parts(self, counts: dict[str, int]) -> tuple[Usage, ...]:
        """What other models used for this answer. May mend `counts`, which are the answering model's own."""
        del counts
        return ()

    def _class_media(self, counts: dict[str, int]) -> None:
        """Where no detail tells of a sound or a picture that is there, what none calls text may be of that class."""
        if any(key.startswith("output_") and key not in counts for key in self._parsed.size.classes):
            self._weigh()
        if all(key in counts for key in self.media):
            return
        told = sum(counts.get(key, 0) for key in _TOLD_OF_OUTPUT) + counts.get("unknown_output_tokens", 0)
        left = counts.get("output_tokens", 0) - told
        if left > 0:
            self.odd = True
            counts["unknown_output_tokens"] = counts.get("unknown_output_tokens", 0) + left

    def _class_input(self, counts: dict[str, int]) -> None:
        """The same for what was sent: sound and films, and to models of embeddings pictures."""
        sent = [key for key in self._parsed.size.classes if key.startswith("input_")]
        if all(key in counts for key in sent):
            return
        told = sum(counts.get(key, 0) for key in _TOLD_OF_INPUT) + counts.get("unknown_input_tokens", 0)
        left = counts.get("input_tokens", 0) - told
        if left > 0:
            self.odd = True
            key = sent[0] if sent == ["input_image_tokens"] else "unknown_input_tokens"
            counts[key] = counts.get(key, 0) + left

    def _calls(self) -> Mapping[str, int]:
        """Calls of tools by usage key."""
        return self.tool_calls

    def _writes_for_nothing(self) -> bool:
        """Whether there is text that no tokens were told for. Nobody writes it out of none."""
        return not self.failed and not self._parsed.size.output_free and self.wrote

    def _reads_for_nothing(self, counts: dict[str, int]) -> bool:
        """Whether something was sent, and answered, that no tokens were told for. Nobody reads it as none."""
        size = self._parsed.size
        if self.failed or "audio_seconds" in counts or not estimated_input(size):
            return False
        return size.output_free or bool(counts.get("output_tokens")) or self.wrote

    @property
    def wrote(self) -> bool:
        """Whether there is any text in the answer, or what else a model writes."""
        self._weigh()
        return bool(self.content_bytes or self.media)

    def _weigh(self) -> None:
        if self.unweighed is not None:
            self.written(self.unweighed)
            self.unweighed = None

    def delivered(self) -> Usage:
        written = self.content_bytes if self.wrote else self.textless_bytes
        size, flavor = self._parsed.size, self._endpoint.flavor
        counts = {"input_tokens": estimated_input(size)}
        output_free = size.output_free
        output = 0 if output_free else max(self.content_events, -(-written // BYTES_PER_TOKEN))
        reading = None if flavor is None else read_usage(self._endpoint.prices_id, flavor, self.reported)
        parts: tuple[Usage, ...] = ()
        if reading is not None:  # figures of the input are exact, those of the output may be from before the end
            counts = reading.counts if reading.counts.get("input_tokens") else {**reading.counts, **counts}
            parts = self._parts(counts)
        if "input_audio_tokens" in size.classes and (reading is None or not reading.counts.get("input_tokens")):
            counts["input_audio_tokens"] = size.audio_tokens
        elif size.classes:
            self._class_input(counts)
        if not output_free:
            media = self.media
            if size.output_limit is not None and (media or size.classes):
                output, media = self._within(size.output_limit * size.choices, output)
            counts["output_tokens"] = max(output + sum(media.values()), counts.get("output_tokens", 0))
            for key, tokens in media.items():
                counts[key] = max(tokens, counts.get(key, 0))
        for key, calls in self._calls().items():
            counts[key] = max(calls, counts.get(key, 0))
        unreadable = bool(self.reported) and reading is None
        return Usage(
            counts,
            self.served_model,
            self.service_tier,
            self.speed,
            estimated=True,
            unknown=unreadable or self.odd,
            clamped=makes_no_sense(self.reported) if reading is None else reading.clamped,
            parts=parts,
            region=self.region,
        )

    def _within(self, limit: int, output: int) -> tuple[int, Mapping[str, int]]:
        """Text and media of an answer with media, at most as much of either as the request lets be written.

        What broke off before it could be read (it has bytes, and no event) is all of a class that was asked for.
        """
        asked = [key for key in self._parsed.size.classes if key.startswith("output_")]
        if asked and self.content_bytes and not self.content_events:
            return 0, {asked[0]: min(output, limit)}
        found: dict[str, int] = {}
        for key, tokens in self.media.items():
            found[key] = min(tokens, limit - sum(found.values()))
        return (min(output, limit - sum(found.values())) if found else output), found
