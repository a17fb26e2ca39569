"""OpenAI Realtime: what a session's next response may read and write at most, and what each of them used.

A session is a conversation that the provider keeps: all of it is read anew for every response, and billed. We see each
byte of it pass by, so it has a ceiling all the same. Sources: the types of the openai SDK 3, and "Managing costs" of
developers.openai.com/api/docs/guides/realtime-costs (a response costs its tokens, a connection nothing; a token of
sound is 100 ms of what is heard and 50 ms of what is said).
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from proxyd.providers.accumulator import UsageAccumulator
from proxyd.providers.base import Parsed
from proxyd.providers.estimates import IMAGE_TOKENS
from proxyd.providers.input_estimate import TOOLS_OVERHEAD_TOKENS
from proxyd.providers.realtime_config import SessionConfig, limit_in, part_of
from proxyd.wire.sse import Event
from shared.catalog import Endpoint, Kind
from shared.pricing import Size, Usage

# Half of what 100 ms and 50 ms of sound are in bytes, at 24,000 samples of two bytes a second, and at 8,000 of one.
_HEARD_BYTES = {"pcm": 2_400, "g711": 400}
_SAID_BYTES = {"pcm": 1_200, "g711": 200}
_IMAGE_CEILING = 25_000  # see `shared.pricing.bound`
ROOM_TOKENS = 8_192  # of sound that may still come, in what is held for a response that the provider begins by itself

_TEXT_DELTAS = (
    "response.output_text.delta",
    "response.text.delta",
    "response.output_audio_transcript.delta",
    "response.audio_transcript.delta",
    "response.function_call_arguments.delta",
    "response.mcp_call_arguments.delta",
)
_AUDIO_DELTAS = ("response.output_audio.delta", "response.audio.delta")


class SessionInput(Struct):
    """All that the next response may read, as a ceiling in tokens: a byte of text is one at most."""

    settings_bytes: int = 0  # instructions and tools, as the provider told them last
    text_bytes: int = 0
    heard_bytes: int = 0  # of sound, as samples
    images: int = 0
    written_tokens: int = 0  # by the model, in this conversation

    def took(self, message: Mapping[str, Any], size: int) -> None:
        """Add what a client's event brings, of `size` bytes."""
        kind = message.get("type")
        if kind == "input_audio_buffer.append":
            self._heard(message.get("audio"))
            return
        media = 0
        items = [message.get("item"), *_items(part_of(message, "response"))]
        for item in items:
            content = item.get("content") if isinstance(item, dict) else None
            for part in content if isinstance(content, list) else ():
                media += self._took_part(part)
        self.text_bytes += max(0, size - media)

    def _took_part(self, part: object) -> int:
        """The bytes of a part that are no text."""
        if not isinstance(part, dict):
            return 0
        if part.get("type") == "input_image":
            self.images += 1
            source = part.get("image_url")
            return len(source) if isinstance(source, str) else 0
        sound = part.get("audio")
        self._heard(sound)
        return len(sound) if isinstance(sound, str) else 0

    def _heard(self, sound: object) -> None:
        self.heard_bytes += len(sound) * 3 // 4 if isinstance(sound, str) else 0

    def sound_tokens(self, kind: str) -> int:
        """Of what was heard, at most."""
        return -(-self.heard_bytes // _HEARD_BYTES[kind])

    def tokens(self, kind: str) -> int:
        """Of all of it, at most."""
        text = self.settings_bytes + self.text_bytes
        return text + self.sound_tokens(kind) + self.images * _IMAGE_CEILING + self.written_tokens

    def size(self, config: SessionConfig, context_tokens: int | None, output_limit: int, room_tokens: int) -> Size:
        """What a response can use at most that begins before `room_tokens` more have come."""
        classes = ("input_audio_tokens",) if self.heard_bytes or self.written_tokens or room_tokens else ()
        if config.speaks:
            classes = (*classes, "output_audio_tokens")
        whole = self.tokens(config.heard) + room_tokens + TOOLS_OVERHEAD_TOKENS
        if context_tokens is not None and whole >= context_tokens:
            # More does not fit: the oldest of it is left out.
            return Size(
                0,
                context_inputs=True,
                overhead_tokens=0,
                output_limit=output_limit,
                unpriced=config.unpriced,
                unbounded=config.unpriced,
                classes=classes,
                countable=False,
            )
        return Size(
            text_bytes=self.settings_bytes + self.text_bytes,
            image_parts=self.images,
            audio_tokens=self.sound_tokens(config.heard) + self.written_tokens + room_tokens,
            overhead_tokens=TOOLS_OVERHEAD_TOKENS,
            output_limit=output_limit,
            unpriced=config.unpriced,
            unbounded=config.unpriced,
            classes=classes,
            countable=False,
        )


def _items(response: Mapping[str, Any]) -> list[Any]:
    given = response.get("input")
    return given if isinstance(given, list) else []


def output_limit_of(message: Mapping[str, Any], config: SessionConfig, maximum: int) -> int:
    """The most tokens that the response to a client's event may have; without one, to what was heard."""
    response = part_of(message, "response")
    if "max_output_tokens" in response or "max_response_output_tokens" in response:
        limit = limit_in(response)
        return maximum if limit is None else limit
    return maximum if config.output_limit is None else config.output_limit


def parsed_of(model: str, size: Size) -> Parsed:
    """A response as an admission sees it: there is no body of its own."""
    return Parsed(Kind.REALTIME, model, stream=True, size=size, wants_usage=True, document={}, raw=b"")


class RealtimeUsage(UsageAccumulator):
    """One response of a session."""

    def __init__(self, endpoint: Endpoint, parsed: Parsed, heard: SessionInput, config: SessionConfig) -> None:
        super().__init__(endpoint, parsed)
        self.served_model = config.model
        # An estimate for a response that breaks off: about what it reads, neither a ceiling nor nothing.
        self._sound = heard.sound_tokens(config.heard) // 2
        self._input = (heard.settings_bytes + heard.text_bytes) // 3 + heard.images * IMAGE_TOKENS
        self._input += self._sound + heard.written_tokens
        self._said_per_token = _SAID_BYTES[config.said]
        self._said_bytes = 0

    def event(self, event: Event) -> bool:
        """There are no server-sent events here."""
        del event
        return False

    def told(self, kind: str, event: Mapping[str, Any]) -> None:
        """Take an event of this response."""
        delta = event.get("delta")
        if kind in _AUDIO_DELTAS and isinstance(delta, str):
            self._said_bytes += len(delta) * 3 // 4
            self.content_events += 1
        elif kind in _TEXT_DELTAS:
            self.content(delta)

    def done(self, response: Mapping[str, Any]) -> None:
        """It has ended."""
        self.complete = True
        self.failed = response.get("status") == "failed"
        self.report(flattened(response.get("usage")))

    def usage(self) -> Usage | None:
        found = super().usage()
        if found is not None and self.reported is not None:
            leave_nothing_unclassed(found, self.reported)
        return found

    def _reads_for_nothing(self, counts: dict[str, int]) -> bool:
        del counts
        return False  # its size is that of all that the session may hold, by which nothing is to be charged

    def delivered(self) -> Usage:
        found = super().delivered()
        if self.reported is None:
            said = -(-self._said_bytes // self._said_per_token)
            counts = found.counts
            counts["input_tokens"], counts["input_audio_tokens"] = self._input, self._sound
            counts["output_tokens"] = counts.get("output_tokens", 0) + said
            counts["output_audio_tokens"] = said
        return found

    @property
    def written_tokens(self) -> int:
        """What later responses may read of this one."""
        found = self.usage() or self.delivered()
        return found.counts.get("output_tokens", 0)


def flattened(usage: object) -> object:
    """A usage object whose innermost details stand one level higher, where extraction tables reach."""
    if not isinstance(usage, dict):
        return usage
    details = usage.get("input_token_details")
    if not isinstance(details, dict) or "cached_tokens_details" not in details:
        return usage
    inner = {name: value for name, value in details.items() if name != "cached_tokens_details"}
    return {**usage, "input_token_details": inner, "cached_tokens_details": details["cached_tokens_details"]}


_KINDS = ("text_tokens", "audio_tokens", "image_tokens", "video_tokens")


def leave_nothing_unclassed(usage: Usage, reported: Mapping[str, Any]) -> None:
    """Tokens of which nobody says whether they are text or sound cost what the dearest of them would."""
    for whole, details in (("input_tokens", "input_token_details"), ("output_tokens", "output_token_details")):
        parts = part_of(reported, details)
        known = sum(value for name in _KINDS if type(value := parts.get(name)) is int and value > 0)
        left = usage.counts.get(whole, 0) - known
        if left > 0:
            usage.unknown = True
            key = f"unknown_{whole}"
            usage.counts[key] = max(left, usage.counts.get(key, 0))
