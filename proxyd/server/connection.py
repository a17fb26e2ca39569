"""One inbound connection: requests in order, one at a time, each answered before the next is looked at.

The law of this module: a connection goes on only after a request that was read to its exact end and answered with a
framing the client can follow; in every doubt it is closed, and what had arrived behind the doubt is thrown away. A FIN
counts as the client being gone: HTTP knows no use for half a connection that we could tell from a closed one.
"""

import socket
import struct
from collections.abc import Callable
from time import monotonic

from gevent import spawn_later

from proxyd.channel import Cancelled, Channel, Expired
from proxyd.messages import BadRequest, ClientGone, Request, RequestError, RequestTimeout
from proxyd.server.answer import switch, write
from proxyd.server.body import RequestBody
from proxyd.server.lookout import Lookout
from proxyd.server.service import Service
from proxyd.wire.http1 import RepeatedHead, asked_in, find_head, parse_request_head

HEAD_RECEIVE_BYTES = 16 * 1024
LINGER_RECEIVE_BYTES = 64 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
DRAIN_GRACE_SECONDS = 1.0


class Connection(Channel):
    """Implements `messages.Client` and the loop that serves it."""

    __slots__ = (
        "_body",
        "_lookout",
        "_on_gone",
        "_repeated",
        "_service",
        "_socket",
        "awaiting_head",
        "buffer",
        "gone",
        "idle",
        "limits",
        "peer",
        "served",
    )

    def __init__(self, sock: socket.socket, peer: str, service: Service) -> None:
        super().__init__(sock)
        self._socket = sock
        self._service = service
        self._body: RequestBody | None = None  # of the request being answered
        self._on_gone: Callable[[], None] | None = None
        self._lookout: Lookout | None = None  # while unread bytes hide whether the client is still there
        self._repeated: RepeatedHead | None = None
        self.limits = service.limits
        self.peer = peer
        self.gone = False
        self.buffer = b""
        self.idle = True  # waiting for the first byte of a request
        self.awaiting_head = True  # waiting for a whole head
        self.served = 0  # requests so far

    def on_gone(self, callback: Callable[[], None] | None) -> None:
        if callback is not None and self.gone:
            callback()
            return
        self._on_gone = callback
        if callback is not None and not self._watching and (self._body is None or self._body.complete):
            self.watch()

    def send_last(self, data: bytes, stall_seconds: float) -> None:
        """Send the end of an answer: with the answers of others, where there are others to answer."""
        if self._service.answering:
            self._service.outbox.add(self, data, stall_seconds)
        else:
            self.send_all(data, stall_seconds)

    def body_complete(self) -> None:
        """Look out for the client's end again, now that no body stands before it."""
        if self._on_gone is not None:
            self.watch()

    def unread(self) -> None:
        if self._body is None or not self._body.complete:
            return
        try:
            arrived = self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self.watch()
            return
        except OSError:
            arrived = b""
        if not arrived:
            self._tell_gone()
        elif self._lookout is None:
            # The next request, or a stray byte: it stays in the kernel, not in our memory, and hides the end behind it.
            self._lookout = Lookout(self._hub.loop, self._socket, self._tell_gone)

    def _stop_looking(self) -> bool:
        """Whether nothing was lost of what the client has sent since."""
        lookout, self._lookout = self._lookout, None
        if lookout is None:
            return True
        lookout.stop()
        return not lookout.threw_away

    def _tell_gone(self) -> None:
        self.gone = True
        callback, self._on_gone = self._on_gone, None
        if callback is not None:
            callback()

    def close(self) -> None:
        self._stop_looking()
        super().close()

    def run(self) -> None:
        """Serve the connection to its end, and close it."""
        try:
            while self._serve_one():
                pass
        except (OSError, Expired, Cancelled, ClientGone):
            pass  # There is nobody left to tell.
        finally:
            self.close()

    def drain(self) -> None:
        """Give an idle connection no longer than `idle_seconds` from now. Called in the hub."""
        if self.idle and self.sending:  # the end of its last answer finds no room yet
            spawn_later(DRAIN_GRACE_SECONDS, self._hub.loop.run_callback, self.drain)
        elif self.idle:
            # What a connection that was just accepted wanted to ask is probably on its way.
            seconds = max(self._service.idle_seconds, 0 if self.served else DRAIN_GRACE_SECONDS)
            if seconds <= 0:
                self.expire()
            else:
                self.deadline = min(self.deadline, monotonic() + seconds)

    def idle_since(self, now: float) -> float | None:
        """Since when it waits for a request, by `time.monotonic()`; None while it has one, or has just come.

        Half a head is no request: somebody who sends one slowly has no more right to a place than who sends nothing.
        """
        if not self.awaiting_head or self.closed or self.sending:
            return None
        if self.idle and self.served:
            return self.deadline - self.limits.keep_alive_seconds
        since = self.deadline - self.limits.header_timeout_seconds
        return since if now - since >= self.limits.silent_seconds else None

    def evict(self) -> bool:
        """Close a connection without a request, unless something has just arrived on it. Called in the hub."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self.close()
            return True
        except OSError:
            pass  # It ends by itself.
        return False

    def _serve_one(self) -> bool:
        raw: bytes | None = None
        try:
            raw = self._read_head()
            if raw is None:
                return False
            self.flush(self.limits.write_stall_seconds)  # one answer after the other
            repeated = self._repeated
            if repeated is not None and repeated.recognises(raw):
                head = repeated.head
            else:
                head = parse_request_head(raw, self.limits.head)
                repeated = self._repeated = RepeatedHead.of(raw, head, self.limits.head)
        except RequestError as error:
            error.asked = asked_in(raw or self.buffer)
            refusal = self._service.refuse(error, None)
            write(self, refusal, "GET", self.limits.write_stall_seconds, keep=False, http_11=True)
            self._linger()
            return False
        self.served += 1
        body = self._body = RequestBody(self, head)
        cache = None if repeated is None else repeated.head_cache
        response = self._service.respond(Request(head.method, head.path, head.query, head.headers, self, body, cache))
        if response.takeover is not None:
            self._stop_looking()
            self._body = None  # whatever comes from here on belongs to the other protocol, read or not
            switch(self, response, response.takeover, self.limits.write_stall_seconds)
            self._linger()
            return False
        keep = (
            head.keep_alive
            and not response.close
            and not self._service.draining
            and (body.complete or body.keeps_connection())
        )
        keep = write(
            self, response, head.method, self.limits.write_stall_seconds, keep=keep, http_11=head.version == 11
        )
        self._on_gone = None
        if (self._lookout is None or self._stop_looking()) and keep and not self.gone:
            self._body = None
            return body.complete or body.drain()
        if not self.gone and (self.buffer or not body.complete or not self._watching):
            self._linger()
        return False

    @property
    def draining(self) -> bool:
        return self._service.draining

    def take_buffer(self) -> bytes:
        data, self.buffer = self.buffer, b""
        return data

    def _read_head(self) -> bytes | None:
        """Give the next head with its empty line; None when there is none to come. Raises `RequestError`."""
        self.awaiting_head = True
        buffer = self.buffer or self._first_bytes()
        if not buffer:
            return None
        end = buffer.find(b"\r\n\r\n")
        if end > 0 and not buffer.startswith(b"\r\n"):
            # The usual case: the whole head came at once. Its size is judged with the rest of it.
            self.disarm()
            self.awaiting_head = False
            self.buffer = buffer[end + 4 :]
            return buffer[: end + 4]
        limits = self.limits
        seen = 0
        stripped = False
        armed = False
        while True:
            self.buffer = buffer  # in which whoever is refused is looked for
            if buffer.startswith(b"\r\n"):
                # One empty line before a request is forgiven (RFC 9112, section 2.2), not a flood of them.
                if stripped:
                    raise BadRequest("The request begins with empty lines")
                stripped = True
                buffer = buffer[2:]
            end = find_head(buffer, seen, limits.head)
            if end > 0:
                break
            seen = len(buffer)
            if not armed:
                self.arm(limits.header_timeout_seconds)
                armed = True
            try:
                data = self.recv(HEAD_RECEIVE_BYTES)
            except Expired:
                raise RequestTimeout("The request's headers did not come in time") from None
            if not data:
                return None
            buffer += data
        self.disarm()
        self.awaiting_head = False
        self.buffer = buffer[end:]
        return buffer[:end]

    def _first_bytes(self) -> bytes:
        """Wait for a request to begin; b"" when the connection has no future."""
        self.arm(self._service.idle_seconds if self.served else self.limits.header_timeout_seconds)
        self.idle = True
        try:
            while True:
                self.wait_readable()
                try:
                    return self.transport.recv(HEAD_RECEIVE_BYTES)
                except BlockingIOError:
                    continue
        except Expired:
            try:
                return self.transport.recv(HEAD_RECEIVE_BYTES)  # as in `recv`: perhaps it is our loop that was late
            except BlockingIOError:
                return b""
        finally:
            self.idle = False

    def cut(self, *, reset: bool) -> None:
        """End the connection so that the client can tell that something is missing."""
        if reset:
            # A body that ends with the connection looks complete after a FIN.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.close()

    def _linger(self) -> None:
        """Say that we are done and throw away what still comes, for a while: a reset could destroy our answer."""
        if self.closed:
            return
        self.buffer = b""
        self.flush(self.limits.write_stall_seconds)
        self._socket.shutdown(socket.SHUT_WR)
        self.arm(self.limits.linger_seconds)
        total = 0
        while total < self.limits.linger_bytes:
            data = self.recv(LINGER_RECEIVE_BYTES)
            if not data:
                return
            total += len(data)
