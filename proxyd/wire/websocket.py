"""WebSockets (RFC 6455) without I/O: the two sides of a handshake, and the messages of a connection in their frames.

The law of this module: framing is the `websockets` package's own (`websockets.protocol`), which wants frames masked
from clients and unmasked from servers; no extension is ever agreed to, so that a message is what its frames say, and
its size is known. What a peer does wrong closes its connection, with the code that RFC 6455, section 7.4, has for it.
"""

import base64
import binascii
import codecs
import logging
import re
from collections.abc import Sequence
from typing import NamedTuple

from websockets.exceptions import InvalidState
from websockets.exceptions import ProtocolError as InvalidClose
from websockets.frames import EXTERNAL_CLOSE_CODES, CloseCode, Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol, State
from websockets.utils import accept_key, generate_key

from proxyd.messages import BadRequest, Header, Headers

VERSION = b"13"
MAX_FRAGMENTS = 4_096  # of one message; each costs some microseconds, however small it is
MAX_REASON_BYTES = 123  # of a close frame, beside its code (RFC 6455, section 5.5)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NO_STATUS = (CloseCode.NO_STATUS_RCVD, CloseCode.ABNORMAL_CLOSURE)

# The package would write frames into the log of a process that logs everything, and with them what people say.
_logger = logging.getLogger("proxyd.wire.websocket.frames")
_logger.setLevel(logging.WARNING)


class WrongVersion(BadRequest):
    """The handshake is of another version than RFC 6455's: 426, and the answer says which is spoken."""


class HandshakeFailed(Exception):
    """A server's answer is no handshake, although its status says so."""


class Handshake(NamedTuple):
    """What a client's handshake asks for."""

    accept: bytes  # what the answer must say to it
    protocols: tuple[bytes, ...]  # that it offers, in order


def read_handshake(headers: Headers) -> Handshake:
    """Judge a client's handshake (RFC 6455, section 4.2.1). Raises BadRequest, WrongVersion."""
    if b"upgrade" not in _tokens(headers, b"connection") or _tokens(headers, b"upgrade") != [b"websocket"]:
        raise BadRequest("The WebSocket handshake needs the headers Connection: Upgrade and Upgrade: websocket")
    if _values(headers, b"sec-websocket-version") != [VERSION]:
        raise WrongVersion("The WebSocket handshake must have the one header Sec-WebSocket-Version: 13")
    keys = _values(headers, b"sec-websocket-key")
    try:
        nonces = [base64.b64decode(key, validate=True) for key in keys]
    except binascii.Error:
        nonces = []
    if [len(nonce) for nonce in nonces] != [16]:
        raise BadRequest("The WebSocket handshake must have one header Sec-WebSocket-Key of 16 bytes in base64")
    return Handshake(accept_key(keys[0].decode()).encode(), protocols_in(headers))


def protocols_in(headers: Headers) -> tuple[bytes, ...]:
    """The subprotocols that a client offers. Raises BadRequest."""
    found = tuple(piece.strip() for value in _values(headers, b"sec-websocket-protocol") for piece in value.split(b","))
    if not all(map(_TOKEN.fullmatch, found)):
        raise BadRequest("The header Sec-WebSocket-Protocol is malformed")
    return found


class Offer(NamedTuple):
    """Our own handshake with a server."""

    lines: bytes  # headers, each with its CRLF
    accept: str  # what the server must say to it
    protocols: tuple[bytes, ...]


def offer(protocols: Sequence[bytes]) -> Offer:
    """Ask a server for a WebSocket."""
    key = generate_key()
    lines = b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: "
    lines += key.encode() + b"\r\n"
    if protocols:
        lines += b"sec-websocket-protocol: %b\r\n" % b", ".join(protocols)
    return Offer(lines, accept_key(key), tuple(protocols))


def chosen_protocol(made: Offer, headers: Headers) -> bytes | None:
    """The subprotocol that a server's 101 agrees to (RFC 6455, section 4.1). Raises HandshakeFailed."""
    if b"upgrade" not in _tokens(headers, b"connection") or _tokens(headers, b"upgrade") != [b"websocket"]:
        raise HandshakeFailed("Its 101 switches to something else than a WebSocket")
    if _values(headers, b"sec-websocket-accept") != [made.accept.encode()]:
        raise HandshakeFailed("Its 101 does not answer this handshake")
    if _values(headers, b"sec-websocket-extensions"):
        raise HandshakeFailed("Its 101 agrees to an extension that nobody offered")
    chosen = _values(headers, b"sec-websocket-protocol")
    if len(chosen) > 1 or not set(chosen) <= set(made.protocols):
        raise HandshakeFailed("Its 101 chooses a subprotocol that nobody offered")
    return chosen[0] if chosen else None


def accepting(handshake: Handshake, protocol: bytes | None) -> list[Header]:
    """The headers of our 101 beside those that switch."""
    headers = [(b"sec-websocket-accept", handshake.accept)]
    return headers if protocol is None else [*headers, (b"sec-websocket-protocol", protocol)]


def _values(headers: Headers, wanted: bytes) -> list[bytes]:
    return [value.strip() for name, value in headers if name == wanted]


def _tokens(headers: Headers, wanted: bytes) -> list[bytes]:
    return [piece.strip().lower() for value in _values(headers, wanted) for piece in value.split(b",")]


class Piece(NamedTuple):
    """A frame of a message."""

    data: bytes
    text: bool
    first: bool
    final: bool


class WebSocket:
    """One connection, after its handshake. `server`: we are the server of it."""

    def __init__(self, *, server: bool, max_message_bytes: int) -> None:
        self._protocol = Protocol(SERVER if server else CLIENT, max_size=max_message_bytes, logger=_logger)
        self._text = False  # of the message whose frames come in
        self._fragments = 0
        self._broke = False
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    @property
    def open(self) -> bool:
        """Whether messages can still be sent."""
        return self._protocol.state is State.OPEN

    @property
    def closed_by_peer(self) -> tuple[int, str] | None:
        """The code and reason of its close frame, once it has sent one."""
        received = self._protocol.close_rcvd
        return None if received is None else (int(received.code), received.reason)

    @property
    def failed(self) -> bool:
        """The peer broke the protocol and was told so, or has ended the connection without a goodbye."""
        return self._broke or self._protocol.parser_exc is not None

    @property
    def waiting_bytes(self) -> int:
        """How much of an incomplete frame is kept."""
        return len(self._protocol.reader.buffer)

    def receive(self, data: bytes) -> list[Piece]:
        """Take what came in; the frames of messages that are complete in it. Answers to pings and the like: `take`."""
        protocol = self._protocol
        if protocol.reader.eof:
            return []
        protocol.receive_data(data)
        pieces: list[Piece] = []
        for event in protocol.events_received():
            if not isinstance(event, Frame) or event.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                continue
            piece = self._piece(event)
            if piece is None:
                break
            pieces.append(piece)
        return pieces

    def receive_end(self) -> None:
        """The peer's side of the TCP connection has ended."""
        if not self._protocol.reader.eof:
            self._protocol.receive_eof()

    def send(self, piece: Piece) -> bool:
        """Send a frame of a message; False when the connection is closing already."""
        protocol = self._protocol
        if protocol.state is not State.OPEN:
            return False
        if not piece.first:
            protocol.send_continuation(piece.data, piece.final)
        elif piece.text:
            protocol.send_text(piece.data, piece.final)
        else:
            protocol.send_binary(piece.data, piece.final)
        return True

    def close(self, code: int, reason: str) -> None:
        """Begin to close, or do nothing when that has begun. A code that may not be sent is left out."""
        try:
            if code in EXTERNAL_CLOSE_CODES or 3000 <= code < 5000:
                self._protocol.send_close(code, _short(reason))
            else:
                self._protocol.send_close(None if code in _NO_STATUS else CloseCode.INTERNAL_ERROR)
        except (InvalidState, InvalidClose):
            pass

    def ping(self) -> None:
        """Ask whether the peer is still there."""
        if self.open:
            self._protocol.send_ping(b"")

    def take(self) -> bytes:
        """What must be written to the peer now."""
        return b"".join(self._protocol.data_to_send())

    def _piece(self, frame: Frame) -> Piece | None:
        first = frame.opcode is not Opcode.CONT
        if first:
            self._text, self._fragments = frame.opcode is Opcode.TEXT, 0
            self._utf8.reset()
        self._fragments += 1
        if self._fragments > MAX_FRAGMENTS:
            self._fail(CloseCode.POLICY_VIOLATION, f"a message has more than {MAX_FRAGMENTS} fragments")
            return None
        data = bytes(frame.data)
        if self._text:
            try:
                self._utf8.decode(data, final=frame.fin)
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_DATA, "a text is not UTF-8")
                return None
        return Piece(data, self._text, first, frame.fin)

    def _fail(self, code: CloseCode, reason: str) -> None:
        self._broke = True
        if self.open:
            self._protocol.fail(code, reason)


def _short(reason: str) -> str:
    return reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
