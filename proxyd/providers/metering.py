"""How answers are watched: two meters for all dialects; each dialect fills its `UsageAccumulator` in its own way.

Memory stays small however long a stream is: of its events only the last figures are kept. A plain JSON answer is kept
whole, up to a limit; of a larger one only the end, where embeddings have their usage.
"""

from collections.abc import Iterable

import orjson

from proxyd.providers.accumulator import UsageAccumulator
from proxyd.providers.tail import TAIL_BYTES
from proxyd.wire.content_coding import ContentDecoder
from proxyd.wire.json_size import takes_long
from proxyd.wire.sse import LAST_HALF, Event, EventDecoder
from shared.pricing import Usage

MAX_JSON_BYTES = 32 * 1024 * 1024


class _Watch:
    """What both meters share: they show what their accumulator knows."""

    _decoder: ContentDecoder | None = None
    _passed = 0  # bytes as they came, which is all that is known of what cannot be decoded

    def __init__(self, accumulator: UsageAccumulator, content_encoding: bytes | None) -> None:
        self._accumulator = accumulator
        if content_encoding is not None and (coding := content_encoding.strip().lower()) not in (b"identity", b""):
            self._decoder = ContentDecoder(coding)

    @property
    def complete(self) -> bool:
        return self._accumulator.complete

    @property
    def failed(self) -> bool:
        return self._accumulator.failed

    @property
    def wrote(self) -> bool:
        return self._accumulator.wrote

    @property
    def served_model(self) -> str | None:
        return self._accumulator.served_model

    @property
    def deferred_job(self) -> str | None:
        return self._accumulator.job if self._accumulator.deferred else None

    def usage(self) -> Usage | None:
        return None if self._decoder is not None and self._decoder.broken else self._accumulator.usage()

    def delivered(self) -> Usage:
        if self._decoder is not None and self._decoder.broken:
            self._accumulator.odd = True
            self._accumulator.content_bytes = max(self._accumulator.content_bytes, self._passed)
        return self._accumulator.delivered()


class StreamMeter(_Watch):
    """Watches a stream of events. Where one of them may have to be hidden, whole events are passed on, else all."""

    def __init__(self, accumulator: UsageAccumulator, content_encoding: bytes | None, *, hides: bool) -> None:
        super().__init__(accumulator, content_encoding)
        self._events = EventDecoder()
        self._hides = hides and self._decoder is None  # nothing can be cut out of a compressed stream
        self._hid = False  # the last event

    def feed(self, data: bytes) -> bytes:
        self._passed += len(data)
        accumulator = self._accumulator
        decoder, events = self._decoder, self._events
        found: Iterable[Event] = events.feed(data) if decoder is None else events.feed_in_turns(decoder.feed(data))
        if not self._hides:
            for event in found:
                accumulator.event(event)
            return data
        return b"".join([event.raw for event in found if self._is_shown(event)])

    def _is_shown(self, event: Event) -> bool:
        if event is not LAST_HALF:
            self._hid = self._accumulator.event(event)
        return not self._hid

    def end(self) -> bytes:
        rest = self._events.rest()
        hidden = rest is not None and self._accumulator.event(rest)
        self._accumulator.ended()
        return rest.raw if rest is not None and self._hides and not hidden else b""


class JsonMeter(_Watch):
    """Watches a plain JSON answer."""

    _pieces: list[bytes] | tuple[()] = ()
    _size = 0
    _tail = b""  # once the answer is too large to be kept

    def feed(self, data: bytes) -> bytes:
        self._passed += len(data)
        plain = data if self._decoder is None else self._decoder.feed(data)
        self._size = size = self._size + len(plain)
        pieces = self._pieces
        if size > MAX_JSON_BYTES:
            self._tail = (b"".join(pieces) + self._tail + plain)[-TAIL_BYTES:]
            self._pieces = ()
        elif isinstance(pieces, list):
            pieces.append(plain)
        else:
            self._pieces = [plain]
        self._accumulator.content_bytes = size  # until the end tells more, all of it counts as text
        return data

    def end(self) -> bytes:
        if self._decoder is not None and self._decoder.broken:
            return b""
        body = b"".join(self._pieces)
        if takes_long(body):
            self._tail = body[-TAIL_BYTES:]  # thousands of vectors: a worker does nothing else while it parses them
        if self._tail:
            self._accumulator.unread(self._tail)
            self._accumulator.complete = self._tail.rstrip().endswith(b"}")
            return b""
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            return b""
        self._pieces = ()
        accumulator = self._accumulator
        accumulator.content_bytes = 0
        if isinstance(document, dict):
            accumulator.complete = True
            accumulator.failed = document.get("error") is not None
            accumulator.document(document)
        elif isinstance(document, list):
            accumulator.complete = True
            accumulator.documents(document)
        if not accumulator.failed:
            accumulator.textless_bytes = self._size
        return b""
