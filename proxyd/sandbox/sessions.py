"""The sandbox's WebSockets: the handshake, frames, and one greenlet that answers while another one listens.

Framing is the `websockets` package's. A session is one of three conversations; each of its answers is an attempt on the
invoice.
"""

import socket
from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import Any, Protocol

import gevent
import orjson
from gevent import socket as gsocket
from gevent.event import Event as Signal
from gevent.lock import BoundedSemaphore
from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER
from websockets.protocol import Protocol as Frames
from websockets.utils import accept_key

from proxyd.sandbox.behaviour import Behaviour
from proxyd.sandbox.invoice import Attempt
from proxyd.sandbox.stream import Pace
from proxyd.sandbox.values import Document

RECEIVE_BYTES = 65_536
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_WATCHED_SECONDS = 0.01


class SessionGone(Exception):
    """The client closed its WebSocket."""


class Conversation(Protocol):
    """What one of the three says."""

    def greet(self, session: "Session") -> None:
        """The handshake is done."""

    def hear(self, session: "Session", message: Document, size: int) -> None:
        """Answer a message. Raises SessionGone when nobody listens any more."""


class Session:
    """One WebSocket, after its handshake."""

    def __init__(self, sock: gsocket.socket, conversation: Conversation, *, binary: bool) -> None:
        self._sock = sock
        self._conversation = conversation
        self._binary = binary
        self._frames = Frames(SERVER, max_size=MAX_MESSAGE_BYTES)
        self._writing = BoundedSemaphore(1)
        self._heard: deque[tuple[Document, int]] = deque()
        self._news = Signal()
        self.gone = False

    def serve(self, first: bytes) -> None:
        """Until the client goes, or the conversation is over."""
        speaker = gevent.spawn(self._speak)
        try:
            self._listen(first)
        except OSError:
            pass
        finally:
            self.gone = True
            self._news.set()
            speaker.join(timeout=1.0)
            speaker.kill()

    def send(self, document: Document) -> None:
        """One message. Raises SessionGone."""
        data = orjson.dumps(document)
        try:
            if self._binary:
                self._frames.send_binary(data)
            else:
                self._frames.send_text(data)
            self._flush()
        except (InvalidState, OSError):
            raise SessionGone from None

    def close(self, code: int, reason: str) -> None:
        """Say goodbye."""
        try:
            self._frames.send_close(code, reason)
            self._flush()
        except (InvalidState, OSError):
            pass

    def cut(self) -> None:
        """End it without a goodbye."""
        self._sock.shutdown(socket.SHUT_RDWR)

    def wait(self, seconds: float) -> None:
        """Wait, and raise SessionGone as soon as the client has gone."""
        until = monotonic() + seconds
        while not self.gone and (left := until - monotonic()) > 0:
            gevent.sleep(min(left, _WATCHED_SECONDS))
        if self.gone:
            raise SessionGone

    def paced(self, how: Behaviour, pieces: Iterator[Any]) -> Iterator[Any]:
        """Pieces of an answer as they are due: all of them, or half and then nothing if it is to break off."""
        everything = list(pieces)
        if how.delay_seconds:
            self.wait(how.delay_seconds)
        pace = Pace(how)
        half = max(1, len(everything) // 2) if how.cut or how.stall or how.error_event else len(everything)
        for place, piece in enumerate(everything[:half]):
            if pace.wanted:
                self.wait(pace.next_seconds())
            elif place % 64 == 63:
                self.wait(0.0)
                gevent.sleep(0)
            yield piece

    def broken_off(self, how: Behaviour, attempt: Attempt) -> bool:
        """Break off if that was asked for."""
        if how.stall:
            self.wait(3_600.0)
        if how.cut:
            attempt.cut = True
            self.cut()
            raise SessionGone
        return how.error_event

    def _listen(self, first: bytes) -> None:
        pieces: list[bytes] = []
        data = first
        while True:
            if data:
                self._frames.receive_data(data)
                for event in self._frames.events_received():
                    if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                        pieces.append(bytes(event.data))
                        if event.fin:
                            self._take(b"".join(pieces))
                            pieces = []
                self._flush()
                if self._frames.close_rcvd is not None or self._frames.parser_exc is not None:
                    return
            data = self._sock.recv(RECEIVE_BYTES)
            if not data:
                return

    def _take(self, message: bytes) -> None:
        try:
            document = orjson.loads(message)
        except orjson.JSONDecodeError:
            document = None
        self._heard.append((document if isinstance(document, dict) else {}, len(message)))
        self._news.set()

    def _speak(self) -> None:
        try:
            self._conversation.greet(self)
            while not self.gone:
                if not self._heard:
                    self._news.clear()
                    self._news.wait()
                    continue
                message, size = self._heard.popleft()
                self._conversation.hear(self, message, size)
        except SessionGone:
            pass

    def _flush(self) -> None:
        with self._writing:
            data = b"".join(self._frames.data_to_send())
            if data:
                self._sock.sendall(data)


def accepted(key: str, protocol: str | None) -> bytes:
    """The answer to a handshake."""
    lines = ["HTTP/1.1 101 Switching Protocols", "upgrade: websocket", "connection: Upgrade"]
    lines.append(f"sec-websocket-accept: {accept_key(key)}")
    if protocol is not None:
        lines.append(f"sec-websocket-protocol: {protocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
