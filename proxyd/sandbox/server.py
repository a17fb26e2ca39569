"""The sandbox's sockets: HTTP/1.1 with keep-alive, answers sent whole or event by event, cut and delayed on request.

The raw socket stays within reach, because a provider that breaks off does so with a reset. Nothing of a body or a
credential is logged.
"""

import socket
import struct
import zlib
from collections import deque
from time import monotonic
from urllib.parse import unquote

import gevent
import httptools
import orjson
from gevent import socket as gsocket
from gevent.server import StreamServer

from proxyd.sandbox.handshake import open_session, refused
from proxyd.sandbox.invoice import Attempt
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.service import SandboxService
from proxyd.sandbox.sessions import Session
from proxyd.sandbox.stream import Pace, Stream, whole
from proxyd.sandbox.values import Answer, SandboxRequest

RECEIVE_BYTES = 65_536
BODY_LIMIT_BYTES = 64 * 1024 * 1024
_HANG_SECONDS = 3_600.0
_WATCHED_SECONDS = 0.05  # in shorter pauses the next write notices soon enough that the client went
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger: close() sends RST


class ClientGone(Exception):
    """The client closed or reset its connection."""


class _Reader:
    """Collects complete requests out of what httptools calls back with."""

    def __init__(self) -> None:
        self.ready: deque[tuple[SandboxRequest, bool, bool]] = deque()  # request, keep-alive, HTTP/1.1
        self.expects = False
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_begin()

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.expects = self._headers.get("expect", "").lower() == "100-continue"

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > BODY_LIMIT_BYTES:
            raise ValueError("body too large")
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.expects = False
        path, _, query = self._url.decode("latin-1").partition("?")
        method = self._parser.get_method().decode()
        ask = SandboxRequest(method, unquote(path), query, self._headers, b"".join(self._body))
        modern = self._parser.get_http_version() == "1.1"
        self.ready.append((ask, self._parser.should_keep_alive(), modern))


class Connection:
    """One client's connection, served until it ends."""

    def __init__(self, service: SandboxService, sock: gsocket.socket) -> None:
        self._desk = service
        self._sock = sock

    def serve(self) -> None:
        """Answer requests in order. Returns when the connection is over; the caller closes the socket."""
        reader = _Reader()
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while True:
                while not reader.ready:
                    data = self._sock.recv(RECEIVE_BYTES)
                    if not data:
                        return
                    try:
                        reader.feed(data)
                    except httptools.HttpParserUpgrade as upgrade:
                        self._upgrade(reader.ready.popleft()[0], data[upgrade.args[0] :])
                        return
                    if reader.expects:
                        reader.expects = False
                        self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                ask, keep_alive, modern = reader.ready.popleft()
                answer, attempt = self._desk.answer(ask)
                if not self._send(answer, attempt, modern=modern) or not (keep_alive and modern):
                    return
        except (OSError, ClientGone, httptools.HttpParserError):
            return

    def _upgrade(self, ask: SandboxRequest, first: bytes) -> None:
        """Leave HTTP for a WebSocket, if it may be had."""
        try:
            opened = open_session(self._desk, ask)
        except Refusal as refusal:
            status, document = refused(refusal)
            answer = Answer(status, orjson.dumps(document))
            self._sock.sendall(whole(answer, answer.body))
            return
        self._sock.sendall(opened.answer)
        Session(self._sock, opened.conversation, binary=opened.binary).serve(first)

    def _send(self, answer: Answer, attempt: Attempt | None, *, modern: bool) -> bool:
        """Send one answer; False when the connection cannot go on."""
        if attempt is None:
            self._sock.sendall(whole(answer, answer.body))
            return True
        how = answer.behaviour
        try:
            if how.hang or how.delay_seconds:
                self._wait(_HANG_SECONDS if how.hang else how.delay_seconds)
            if how.cut == "early":
                attempt.cut = True
                return self._reset()
            if answer.bill is not None:
                attempt.charge(answer.bill, answer.bill.output_tokens)
            if answer.events is None:
                return self._send_whole(answer, attempt)
            return self._send_events(answer, attempt, modern=modern)
        except (OSError, ClientGone):
            attempt.client_aborted = True
            self._recharge(answer, attempt)
            return False
        finally:
            attempt.finished, attempt.ended_at = True, self._desk.clock()

    def _recharge(self, answer: Answer, attempt: Attempt) -> None:
        """A client broke off: Gemini bills everything, the others what was produced, and nothing before that."""
        if answer.bill is None:
            return
        if attempt.provider == "gemini" or answer.goes_on:
            attempt.charge(answer.bill, answer.bill.output_tokens)
        elif answer.events is not None and attempt.events_sent:
            attempt.charge(answer.bill, attempt.produced_tokens)
        else:
            attempt.charge_nothing()

    def _send_whole(self, answer: Answer, attempt: Attempt) -> bool:
        how = answer.behaviour
        body = zlib.compress(answer.body, wbits=31) if how.gzip else answer.body
        message = whole(answer, body)
        if not (how.cut or how.stall):
            self._sock.sendall(message)
            return True
        self._sock.sendall(message[: len(message) - len(body) // 2 - 1])
        return self._break_off(answer, attempt)

    def _break_off(self, answer: Answer, attempt: Attempt) -> bool:
        attempt.cut = True
        if answer.behaviour.stall:
            self._wait(_HANG_SECONDS)
        gevent.sleep(0.02)  # so that what was sent is on its way before the reset overtakes it
        return self._reset() if answer.behaviour.cut == "rst" else False

    def _send_events(self, answer: Answer, attempt: Attempt, *, modern: bool) -> bool:
        stream = Stream(answer, attempt, modern=modern)
        pace = Pace(answer.behaviour)
        for event in stream.planned():
            if event.paced and pace.wanted:
                self._write(stream)
                self._wait(pace.next_seconds())
            stream.put(event)
            if stream.full:
                self._write(stream)
                gevent.sleep(0)
        how = answer.behaviour
        if not (how.cut or how.stall):
            stream.end()
        self._write(stream)
        if how.cut or how.stall:
            stream.charge_produced()
            return self._break_off(answer, attempt)
        return modern

    def _write(self, stream: Stream) -> None:
        data = stream.take()
        sent = self._sock.send(data)  # nearly always all of it, at half the price of sendall
        if sent < len(data):
            self._sock.sendall(data[sent:])
        stream.taken()

    def _wait(self, seconds: float) -> None:
        """Wait, and raise ClientGone as soon as the client has gone."""
        if seconds < _WATCHED_SECONDS:
            gevent.sleep(max(0.0, seconds))
            return
        until = monotonic() + seconds
        try:
            gsocket.wait_read(self._sock.fileno(), timeout=seconds)
        except TimeoutError:
            return
        try:
            if not self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise ClientGone
        except BlockingIOError:
            pass
        gevent.sleep(max(0.0, until - monotonic()))  # it has sent its next request already: nothing to watch for

    def _reset(self) -> bool:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        return False


def listen(host: str, port: int, service: SandboxService) -> StreamServer:
    """A server that is ready to `serve_forever`. Raises OSError when the address cannot be had."""

    def handle(sock: gsocket.socket, _address: object) -> None:
        try:
            Connection(service, sock).serve()
        finally:
            sock.close()

    server = StreamServer((host, port), handle, backlog=2048)
    server.init_socket()
    return server
