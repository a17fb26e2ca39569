"""The body of an inbound request, read when and as far as somebody asks for it.

The law of this module: bytes of a body are either given out, or thrown away up to its exact end, or the connection is
closed. They are never looked at as the next request.
"""

from collections.abc import Iterator
from time import monotonic
from typing import Protocol

from proxyd.channel import Cancelled, Expired
from proxyd.messages import BadRequest, ClientGone, RequestTimeout, RequestTooLarge
from proxyd.server.limits import ServerLimits
from proxyd.wire.http1 import ChunkedDecoder, Decoder, LengthDecoder, ProtocolError, RequestHead

RECEIVE_BYTES = 64 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Source(Protocol):
    """The connection a body comes over: `buffer` is what was read ahead of it."""

    buffer: bytes
    limits: ServerLimits

    def arm(self, seconds: float) -> None: ...
    def disarm(self) -> None: ...
    def recv(self, size: int) -> bytes: ...
    def send_all(self, data: bytes, stall_seconds: float) -> None: ...
    def body_complete(self) -> None: ...


class RequestBody:
    """Implements `messages.Body` over a connection."""

    __slots__ = (
        "_behind_bytes",
        "_broken",
        "_decoder",
        "_expects",
        "_received",
        "_source",
        "_waited_seconds",
        "complete",
        "length",
    )

    def __init__(self, source: Source, head: RequestHead) -> None:
        length = head.length
        self._source = source
        self._expects = head.expect_continue and length != 0
        self._decoder: Decoder | None = None  # made when it is needed: most bodies come whole
        self._broken = False
        self._received = 0
        self._waited_seconds = 0.0
        self._behind_bytes = 0.0
        self.length = length
        self.complete = length == 0  # the last byte was taken off the wire

    def read(self, limit_bytes: int) -> bytes:
        source, length = self._source, self.length
        if length == len(source.buffer) <= limit_bytes and self._decoder is None and not self.complete:
            # The usual case of a small body that came with its head, and nothing after it.
            data, source.buffer = source.buffer, b""
            self.complete = True
            source.body_complete()
            return data
        return b"".join(self.chunks(limit_bytes))

    def chunks(self, limit_bytes: int) -> Iterator[bytes]:
        if self.length is not None and self.length > limit_bytes:
            raise _too_large(limit_bytes)
        if self.complete:
            return
        data = self._source.buffer
        self._source.buffer = b""
        total = 0
        while True:
            payload = self._decode(data) if data else b""
            total += len(payload)
            if total > limit_bytes:
                self._broken = True
                raise _too_large(limit_bytes)
            if payload:
                yield payload
            if self.complete:
                return
            data = self._receive()

    def keeps_connection(self) -> bool:
        """Tell whether the rest of the body is so small that it can be waited for, to keep the connection."""
        if self.complete:
            return True
        if self._broken or self._expects:
            return False
        decoder = self._decoding()
        if isinstance(decoder, LengthDecoder):
            return decoder.remaining <= self._source.limits.drain_bytes
        # How much more comes in chunks is unknown, unless it is here already.
        data, self._source.buffer = self._source.buffer, b""
        try:
            if data:
                self._decode(data)
        except BadRequest:
            return False
        return self.complete

    def drain(self) -> bool:
        """Throw the rest away; False when it does not come soon. Raises OSError, Cancelled."""
        if self.complete:
            return True
        data, self._source.buffer = self._source.buffer, b""
        self._source.arm(self._source.limits.linger_seconds)
        try:
            while True:
                if data:
                    self._decode(data)
                if self.complete:
                    self._source.disarm()
                    return True
                data = self._source.recv(RECEIVE_BYTES)
                if not data:
                    return False
        except (Expired, BadRequest):
            return False

    def _decoding(self) -> Decoder:
        if self._decoder is None:
            limits, length = self._source.limits, self.length
            self._decoder = ChunkedDecoder(limits.chunk) if length is None else LengthDecoder(length, length == 0)
        return self._decoder

    def _decode(self, data: bytes) -> bytes:
        decoder = self._decoding()
        try:
            payload = decoder.feed(data)
        except ProtocolError as error:
            self._broken = True
            raise BadRequest(str(error)) from None
        if decoder.done:
            self.complete = True
            self._source.buffer, decoder.leftover = decoder.leftover, b""
            self._source.body_complete()
        return payload

    def _receive(self) -> bytes:
        source = self._source
        limits = source.limits
        began = monotonic()
        self._broken = True  # until something came: whatever is raised here ends the connection
        try:
            if self._expects:
                self._expects = False
                if self._received == 0:
                    source.send_all(CONTINUE, limits.write_stall_seconds)
            source.arm(limits.body_idle_seconds)
            data = source.recv(RECEIVE_BYTES)
        except Expired:
            raise RequestTimeout("The rest of the request body did not come in time") from None
        except (Cancelled, OSError):
            raise ClientGone from None
        source.disarm()
        if not data:
            raise ClientGone
        self._waited(monotonic() - began, len(data))
        self._broken = False
        return data

    def _waited(self, seconds: float, size: int) -> None:
        """Judge how fast it comes. While it is on its way it may hold room in memory, or a connection to a provider."""
        limits = self._source.limits
        self._received += size
        self._waited_seconds += seconds
        self._behind_bytes = max(0.0, self._behind_bytes + seconds * limits.body_rate_bytes - size)
        long_seconds = self._waited_seconds - limits.body_long_seconds
        if self._behind_bytes > limits.body_grace_seconds * limits.body_rate_bytes or (
            long_seconds > 0 and self._received < long_seconds * limits.body_long_rate_bytes
        ):
            raise RequestTimeout("The request body came too slowly")


def _too_large(limit_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(f"The request body is larger than {limit_bytes} bytes", limit_bytes=limit_bytes)
