"""One request to a provider and its answer.

The law of this module: after a byte of the request left, nothing is sent again. A connection goes back to the pool
only if request and response are both complete to the byte and nothing came after them; in every doubt it is closed.
What goes wrong leaves here as one of the `UpstreamError`s and as nothing else, save what the request's own body raises.
"""

from collections.abc import Iterator
from typing import Protocol

import gevent
from msgspec import Struct

from proxyd.channel import Cancelled, Expired
from proxyd.messages import Incoming, Origin, Outgoing, UpstreamUnreachable
from proxyd.upstream.dial import UpstreamConnection, UpstreamLimits
from proxyd.upstream.failures import FAILURES, translated
from proxyd.upstream.framing import framing
from proxyd.wire.http1 import (
    LAST_CHUNK,
    Decoder,
    ProtocolError,
    ResponseHead,
    chunk,
    find_response_head,
    parse_response_head,
    request_head,
)

RECEIVE_BYTES = 64 * 1024
HEAD_RECEIVE_BYTES = 16 * 1024
# Larger bodies are not worth copying behind their head.
ONE_WRITE_BYTES = 256 * 1024
INFORMATIONAL_LIMIT = 16
# After sending failed: for a response that explains it, which may have been on its way.
EXPLANATION_SECONDS = 2.0
KILL_SECONDS = 1.0


class Pool(Protocol):
    """What a call needs of its pool."""

    limits: UpstreamLimits

    def acquire(self, origin: Origin) -> UpstreamConnection | None:
        """Give an idle connection that is still quiet."""

    def connect(self, call: "Call", origin: Origin) -> UpstreamConnection:
        """Make a new one, telling the call of it at once (`adopt`)."""

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back that can be used again."""


class Call(Struct, eq=False):
    """One exchange: `start`, then `chunks`, then always `close`. `abort` may come at any time, from anywhere."""

    _pool: Pool
    outgoing: Outgoing  # what it sends
    first_byte_seconds: float
    sent: bool = False  # True once a byte of the request may have left
    sending: bool = False
    _connection: UpstreamConnection | None = None
    _head: ResponseHead | None = None
    _decoder: Decoder | None = None
    _buffer: bytes = b""  # received, not decoded yet
    _payload: bytes = b""  # decoded, not given yet
    _failure: ProtocolError | None = None  # found while decoding what came with the head
    _sender: "gevent.Greenlet[[UpstreamConnection, memoryview, memoryview], None] | None" = None
    _body_error: Exception | None = None  # what the request's own body raised
    _aborted: bool = False

    __repr__ = object.__repr__  # its greenlet may be told of in a log, and what it sends has the credential

    def start(self) -> Incoming:
        """Send the request and give the head of its answer.

        Interim answers (100, 103) are swallowed. An answer that comes before the request was sent wholly is given at
        once. Raises `UpstreamError`s, and what the iterator of the request's body raises.
        """
        try:
            connection = self._send()
            head = self._receive_head(connection)
        except FAILURES as error:
            raise self._translated(error, "did not answer in time") from None
        self._head = head
        self._decoder = head.decoder(self._pool.limits.chunk)
        return head

    def chunks(self) -> Iterator[bytes]:
        """Give the answer's body piece by piece as it arrives, without its framing. Raises `UpstreamError`s."""
        connection, decoder, idle_seconds = self._connection, self._decoder, self._pool.limits.idle_seconds
        if connection is None or decoder is None:
            return
        self.has_arrived()
        payload, self._payload = self._payload, b""
        while True:
            if payload:
                yield payload
            try:
                if self._failure is not None:
                    raise self._failure
                if decoder.done:
                    return
                connection.arm(idle_seconds)
                data = connection.recv(RECEIVE_BYTES)
                if data:
                    payload = decoder.feed(data)
                else:
                    payload = b""
                    decoder.end()
            except FAILURES as error:
                raise self._translated(error, "stopped in the middle of its answer") from None

    def peek(self) -> Iterator[bytes]:
        """Give all of the body that is here, again whenever more has come. It stays: `chunks` gives it from its start.

        Raises `UpstreamError`s.
        """
        held = b""
        for data in self.chunks():
            self._payload = held = held + data
            yield held

    def has_arrived(self) -> bool:
        """Whether the whole body came with its head, so that nobody has to wait for it."""
        decoder = self._decoder
        if self._buffer and decoder is not None:
            data, self._buffer = self._buffer, b""
            try:
                self._payload += decoder.feed(data)
            except ProtocolError as error:
                self._failure = error  # raised where the body is read
        return decoder is not None and decoder.done

    def take_arrived(self) -> bytes:
        """The whole body, once `has_arrived` has said that it is here."""
        payload, self._payload = self._payload, b""
        return payload

    def has_begun(self) -> bool:
        """Whether some of the body is here already."""
        return bool(self._buffer or self._payload)

    def abort(self) -> None:
        """End the call from outside, e.g. because the client left. Does not wait; may be called from the hub."""
        self._aborted = True
        if self._connection is not None:
            self._connection.cancel()
            self._connection.shut()

    def close(self) -> None:
        """Let go of the connection: to the pool if it is as good as new, else for ever. Idempotent."""
        connection, self._connection = self._connection, None
        if self.outgoing.on_sent is not None:
            self.outgoing.drop_body()
        if connection is None:
            return
        if self._sender is not None and not self._sender.dead:
            self._sender.kill(block=True, timeout=KILL_SECONDS)
        decoder, head = self._decoder, self._head
        clean = (
            head is not None
            and decoder is not None
            and head.keep_alive
            and decoder.done
            and not decoder.leftover
            and not self._buffer
            and not self._payload
            and not self.sending
            and not self._aborted
        )
        if clean:
            self._pool.release(connection)
        else:
            connection.close()

    def take_over(self) -> tuple[UpstreamConnection, bytes]:
        """After a 101: the connection, which its taker closes, and what has come behind the head already."""
        connection, self._connection = self._connection, None
        if connection is None:
            raise Cancelled
        connection.disarm()
        return connection, self._buffer

    def adopt(self, connection: UpstreamConnection) -> None:
        """Learn of the connection that is being made for this call, so that `abort` reaches it."""
        self._connection = connection
        if self._aborted:
            connection.cancel()

    def _send(self) -> UpstreamConnection:
        """Send the request, or as much of it as goes at once; a greenlet of its own sends the rest."""
        outgoing = self.outgoing
        body = outgoing.body
        first = request_head(outgoing.method, outgoing.target, outgoing.headers, framing(outgoing), outgoing.lines)
        rest = memoryview(b"")
        if isinstance(body, bytes):
            if len(body) <= ONE_WRITE_BYTES:
                first += body
            else:
                rest = memoryview(body)
        while True:
            if self._aborted:
                raise Cancelled
            reused = self._pool.acquire(outgoing.origin)
            connection = reused or self._pool.connect(self, outgoing.origin)
            self._connection = connection
            try:
                taken = connection.transport.send(first)
            except BlockingIOError:
                taken = 0
            except OSError as error:
                # Not a byte left: the peer had closed the connection under us. A fresh one shows what is the matter.
                connection.close()
                if reused is not None:
                    continue
                raise UpstreamUnreachable(
                    f"The connection to {outgoing.origin.host} broke: {error.strerror}", sent=False
                ) from None
            break
        self.sent = True
        if taken < len(first) or rest or not isinstance(body, bytes):
            self.sending = True
            self._sender = gevent.spawn(self._send_rest, connection, memoryview(first)[taken:], rest)
        return connection

    def _send_rest(self, connection: UpstreamConnection, first: memoryview, rest: memoryview) -> None:
        """Send what did not go at once, while the answer is already waited for. Runs in a greenlet of its own."""
        limits = self._pool.limits
        outgoing = self.outgoing
        try:
            connection.send_all(first, limits.send_stall_seconds)
            connection.send_all(rest, limits.send_stall_seconds)
            if not isinstance(outgoing.body, bytes):
                self._send_pieces(connection, outgoing.body, limits.send_stall_seconds)
        except (Cancelled, Expired):
            return  # The reader sees it too.
        except OSError:
            connection.arm(EXPLANATION_SECONDS)
            return
        except Exception as error:  # noqa: BLE001 - carried over to the greenlet that waits, and raised there
            self._body_error = error
            connection.cancel()
            return
        self.sending = False
        outgoing.drop_body()
        if self._head is None:
            connection.arm(self.first_byte_seconds)

    def _send_pieces(self, connection: UpstreamConnection, pieces: Iterator[bytes], stall_seconds: float) -> None:
        length = self.outgoing.length
        total = 0
        for piece in pieces:
            if piece:
                total += len(piece)
                connection.send_all(piece if length is not None else chunk(piece), stall_seconds)
        if length is None:
            connection.send_all(LAST_CHUNK, stall_seconds)
        elif total != length:
            raise ValueError("The request's body has not the length that was announced")

    def _receive_head(self, connection: UpstreamConnection) -> ResponseHead:
        limits = self._pool.limits
        method = self.outgoing.method
        connection.arm(self.first_byte_seconds)
        buffer = b""
        seen = 0
        informational = 0
        while True:
            end = find_response_head(buffer, seen, limits.head_bytes) if buffer else -1
            if end < 0:
                seen = len(buffer)
                data = connection.recv(HEAD_RECEIVE_BYTES)
                if not data:
                    raise ConnectionResetError
                buffer += data
                continue
            head = parse_response_head(buffer[:end], method)
            buffer = buffer[end:]
            if head.status >= 200 or (head.status == 101 and self.outgoing.upgrade):
                self._buffer = buffer
                return head
            seen = 0
            informational += 1
            if head.status == 101 or informational > INFORMATIONAL_LIMIT:
                raise ProtocolError("The response switches protocols unasked, or never comes to the point")

    def _translated(self, error: Exception, slow: str) -> Exception:
        """Name what went wrong; what the request's own body raised, and an abort, come before what followed of it."""
        if self._body_error is not None:
            return self._body_error
        cause = Cancelled() if self._aborted else error
        host = self.outgoing.origin.host
        return translated(cause, host, slow, sent=self.sent, answered=self._head is not None)
