"""Server-sent events, incrementally: bytes in, events out, each with exactly the bytes it came in.

Follows the event stream grammar of the HTML standard (9.2.6): lines end in CRLF, LF or CR, an event ends at an empty
line, a leading byte order mark is ignored, several `data` lines are joined by LF. The raw bytes of all events and of
`rest` together are the input, byte for byte, so that a relay may drop single events and keep the others as they are.
"""

import re
import time
from collections.abc import Iterator
from typing import NamedTuple

MAX_EVENT_BYTES = 32 * 1024 * 1024
MANY_LINES = 50_000  # of an event, which take some 50 ms one by one
PIECE_BYTES = 64 * 1024  # as much as is read of a connection at once; more has been inflated
UNREAD = b"\n"  # in the place of an event's name, which has no line end: it has data that was not looked into

# A CR at the very end may be half of a CRLF. The event is not kept waiting for it: its LF then comes by itself.
# Written so that it begins with a set of two characters, for which the engine searches at five times the speed of
# `(?:\r\n|\n|\r(?!\n)){2}`, which is the same.
_BLANK_LINE = re.compile(rb"[\r\n](?:(?<=\r)\n|(?<=\n)|(?!\n))(?:\r\n|\n|\r(?!\n))")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_BEGINNINGS = (b":", b"data:", b"event:", b"id:", b"retry:")  # of lines


def begins(data: bytes) -> bool | None:
    """Whether this may be how a stream of events begins, and nothing else does. None: that is not told yet."""
    if _BOM.startswith(data):
        return None
    line = data.removeprefix(_BOM).lstrip(b"\r\n")
    if line.startswith(_BEGINNINGS):
        return True
    return None if any(beginning.startswith(line) for beginning in _BEGINNINGS) else False


class Event(NamedTuple):
    """One event. A tuple, because a stream makes a million of them."""

    raw: bytes  # with its empty line
    name: bytes  # of the `event` field; empty when there was none; or UNREAD
    data: bytes | None  # None: no data at all (comments, pings), or UNREAD


KEEP_ALIVE = b": keep-alive\n\n"  # a comment, which tells nothing and keeps a connection awake
LAST_HALF = Event(b"\n", b"", None)  # the LF of a CRLF whose CR ended the event before


class EventDecoder:
    """Cuts a byte stream into events. Keeps no more than one incomplete event."""

    __slots__ = ("_at_start", "_halved", "_held", "_max_bytes", "_scanned", "_skipping")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._held = bytearray()
        self._scanned = 0  # bytes of `_held` in which no event can end any more
        self._max_bytes = max_event_bytes
        self._skipping = False
        self._at_start = True
        self._halved = False  # the last event ended in a CR at the very end of what had come

    def feed(self, data: bytes) -> list[Event]:
        """All events that are complete now, in order. An oversized event comes in pieces that are UNREAD."""
        if self._halved and data:
            self._halved = False
            if data[:1] == b"\n":
                return [LAST_HALF, *self.feed(data[1:])]
        held = self._held
        if not held:
            last = len(data) - 2
            if data[:6] == b"data: " and data.find(b"\n") == last and data[-1:] == b"\n" and b"\r" not in data:
                # One event of one line in one read: what streams mostly look like.
                if not (self._skipping or self._at_start):
                    return [Event(data, b"", data[6:-2])]
                return [self._event(data)]
            if len(data) > 1 and data.find(b"\n\n") == last and b"\r" not in data:
                return [self._event(data)]  # one whole event, of more lines
            buffer: bytes | bytearray = data
        else:
            held += data
            buffer = held
        events: list[Event] = []
        start = 0
        for end in _ends(buffer, self._scanned):
            events.append(self._event(bytes(buffer[start:end])))
            start = end
        if buffer is held:
            del held[:start]
        else:
            held += data[start:]
        self._scanned = max(0, len(held) - 3)
        self._halved = bool(events) and not held and events[-1].raw.endswith(b"\r")
        if len(held) > self._max_bytes:
            events.append(Event(bytes(held), UNREAD, None))
            held.clear()
            self._scanned = 0
            self._skipping = True
        return events

    def feed_in_turns(self, data: bytes) -> Iterator[Event]:
        """The events of a piece that may have been inflated to many. Others have a turn between them."""
        for at in range(0, len(data), PIECE_BYTES):
            if at:
                time.sleep(0)  # gevent's, in a process that relays
            yield from self.feed(data[at : at + PIECE_BYTES])

    def rest(self) -> Event | None:
        """What came after the last complete event; the stream ended before its empty line."""
        if not self._held:
            return None
        event = self._event(bytes(self._held))
        self._held.clear()
        self._scanned = 0
        return event

    def _event(self, raw: bytes) -> Event:
        if self._skipping:
            self._skipping = False
            return Event(raw, UNREAD, None)
        body = raw
        if self._at_start:
            self._at_start = False
            body = raw.removeprefix(_BOM)
        # The three shapes that providers send; everything else takes the long way.
        line_end = body.find(b"\n")
        if b"\r" not in body:
            if body[:6] == b"data: " and line_end == len(body) - 2:
                return Event(raw, b"", body[6:-2])
            second = body[line_end + 1 :]
            if body[:7] == b"event: " and second[:6] == b"data: " and second.find(b"\n") == len(second) - 2:
                return Event(raw, body[7:line_end], second[6:-2])
        elif body[:6] == b"data: " and line_end == len(body) - 3 and body.find(b"\r") == len(body) - 4:
            return Event(raw, b"", body[6:-4])
        return _parse(raw, body)


def _ends(buffer: bytes | bytearray, scanned: int) -> Iterator[int]:
    """Where events end. Where all lines end alike, the usual case, no regular expression is needed.

    What was scanned before is not looked at again: a large event comes in many pieces.
    """
    blank = b"\n\n"
    if buffer.find(b"\r", scanned) >= 0:
        pairs = buffer.count(b"\r\n", scanned)
        if pairs != buffer.count(b"\n", scanned) or pairs != buffer.count(b"\r", scanned):
            for match in _BLANK_LINE.finditer(buffer, scanned):
                yield match.end()
            return
        blank = b"\r\n\r\n"
    position = buffer.find(blank, scanned)
    while position >= 0:
        position += len(blank)
        yield position
        position = buffer.find(blank, position)


def _has_many_lines(data: bytes) -> bool:
    return len(data) > MANY_LINES and data.count(b"\n") + data.count(b"\r") > MANY_LINES


def _parse(raw: bytes, body: bytes) -> Event:
    if _has_many_lines(body):
        return _parse_many(raw, body)
    name = b""
    data: list[bytes] = []
    for line in _LINE_END.split(body):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return Event(raw, name, b"\n".join(data) if data else None)


def _parse_many(raw: bytes, body: bytes) -> Event:
    """An event of many lines. Where all of them begin alike, none needs to be looked at by itself."""
    text = b"\n" + body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n")
    lines, spaced = text.count(b"\n"), text.count(b"\ndata: ")
    if spaced == lines:
        return Event(raw, b"", text.replace(b"\ndata: ", b"\n")[1:])
    if not spaced and text.count(b"\ndata:") == lines:
        return Event(raw, b"", text.replace(b"\ndata:", b"\n")[1:])
    return Event(raw, UNREAD, None)
