"""The bytes of an answer: its head, and a stream's events framed, batched, cut short and accounted for."""

import zlib
from collections.abc import Iterator
from http import HTTPStatus
from time import monotonic

from proxyd.sandbox.behaviour import Behaviour
from proxyd.sandbox.invoice import Attempt
from proxyd.sandbox.values import Answer, Event

BATCH_BYTES = 32_768


def whole(answer: Answer, body: bytes) -> bytes:
    """A complete response."""
    return _head(answer, f"content-length: {len(body)}") + body


def _head(answer: Answer, framing: str) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}", f"content-type: {answer.content_type}", framing]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if answer.behaviour.gzip:
        lines.append("content-encoding: gzip")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"


class Stream:
    """A streamed answer on its way: `put` events, `take` the bytes to write, then say that they were `taken`."""

    def __init__(self, answer: Answer, attempt: Attempt, *, modern: bool) -> None:
        self._answer = answer
        self._attempt = attempt
        self._chunked = modern
        self._zip = zlib.compressobj(wbits=31) if answer.behaviour.gzip else None
        framing = "transfer-encoding: chunked" if modern else "connection: close"
        self._waiting = [_head(answer, f"{framing}\r\ncache-control: no-cache")]
        self._waiting_bytes = 0
        self._events = 0
        self._tokens = 0

    def planned(self) -> Iterator[Event]:
        """The events that go out: all, or half of the text when the answer is to break off."""
        answer, how = self._answer, self._answer.behaviour
        if answer.events is None:
            return
        left = max(1, answer.pieces // 2) if how.cut or how.stall or how.error_event else -1
        for event in answer.events:
            yield event
            left -= event.paced
            if left == 0:
                return

    @property
    def full(self) -> bool:
        """Whether it is time to write."""
        return self._waiting_bytes > BATCH_BYTES

    def put(self, event: Event) -> None:
        """Frame one event."""
        self._add(event.data)
        self._events += 1
        self._tokens = event.output_tokens

    def end(self) -> None:
        """Put what ends the stream properly, which may be the dialect's error event."""
        if self._answer.behaviour.error_event:
            self._add(self._answer.error_event)
            self._charge_failed()
        rest = self._zip.flush() if self._zip is not None else b""
        if rest:
            self._waiting.append(b"%x\r\n%s\r\n" % (len(rest), rest) if self._chunked else rest)
        if self._chunked:
            self._waiting.append(b"0\r\n\r\n")

    def take(self) -> bytes:
        """Everything that waits to be written."""
        return b"".join(self._waiting)

    def taken(self) -> None:
        """It was written."""
        self._waiting.clear()
        self._waiting_bytes = 0
        self._attempt.events_sent += self._events
        self._events = 0
        self._attempt.produced_tokens = self._tokens

    def charge_produced(self) -> None:
        """Bill what has been written."""
        if self._answer.bill is not None:
            self._attempt.charge(self._answer.bill, self._attempt.produced_tokens)

    def _charge_failed(self) -> None:
        """A stream that fails is billed by the usage it has reported, which differs by dialect."""
        bill, owns_up = self._answer.bill, self._answer.owns_up
        if bill is None or self._answer.behaviour.no_usage or owns_up == "nothing":
            self._attempt.charge_nothing()
        else:
            self._attempt.charge(bill, self._tokens if owns_up == "progress" else min(1, bill.output_tokens))

    def _add(self, data: bytes) -> None:
        if self._zip is not None:
            data = self._zip.compress(data) + self._zip.flush(zlib.Z_SYNC_FLUSH)
        framed = b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data
        self._waiting.append(framed)
        self._waiting_bytes += len(framed)


class Pace:
    """When each event is due. A rate is kept on average: what comes late is not followed by a full pause."""

    def __init__(self, how: Behaviour) -> None:
        self._how = how
        self._started = monotonic()
        self._count = 0

    @property
    def wanted(self) -> bool:
        return bool(self._how.rate or self._how.event_delay_seconds)

    def next_seconds(self) -> float:
        """Seconds to wait before the next event."""
        if not self._how.rate:
            return self._how.event_delay_seconds
        due = self._started + self._count / self._how.rate
        self._count += 1
        return max(0.0, due - monotonic())
