"""Both ends of a WebSocket by hand: frames as bytes, and a provider that switches."""

import base64
import hashlib

from harness import Router
from raw_http import Ended, Heard, Line, bearer, dial, request
from websockets.frames import Frame, Opcode
from websockets.utils import apply_mask

PATHS = (b"/v1/responses", b"/v1/realtime?model=gpt-realtime", b"/openai/realtime?model=gpt-realtime")
UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket")
HANDSHAKE = (*UPGRADE, b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Version: 13")
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(data: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=mask)


def received(line: Line) -> tuple[int, bytes]:
    """The first byte and the content of the next frame of a server's."""
    first, size = line.exactly(2)
    assert not size & 0x80, "a server's frames are not masked"
    if size == 126:
        size = int.from_bytes(line.exactly(2), "big")
    return first, line.exactly(size)


def sent(line: Line) -> tuple[int, bytes]:
    """The first byte and the content of the next frame of a client's, which is the router."""
    first, size = line.exactly(2)
    assert size & 0x80, "a client's frames are masked"
    size &= 0x7F
    size = int.from_bytes(line.exactly({126: 2, 127: 8}[size]), "big") if size > 125 else size
    mask, data = line.exactly(4), line.exactly(size)
    return first, apply_mask(data, mask)


def switched(line: Line, heard: Heard, *fields: bytes) -> None:
    """The provider's 101."""
    accept = base64.b64encode(hashlib.sha1(heard.headers["sec-websocket-key"].encode() + GUID).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\n" + b"".join(field + b"\r\n" for field in UPGRADE)
    line.sock.sendall(head + b"Sec-WebSocket-Accept: %b\r\n" % accept + b"".join(f + b"\r\n" for f in fields) + b"\r\n")


def echo(line: Line, heard: Heard) -> None:
    """A provider that says back what it is told, frame by frame, and closes when it is closed."""
    switched(line, heard)
    while True:
        first, plain = sent(line)
        line.sock.sendall(frame(plain, Opcode(first & 15), mask=False))
        if first & 15 == Opcode.CLOSE:
            raise Ended


def session(router: Router, key: str, path: bytes = PATHS[0], *fields: bytes, first: bytes = b"") -> Line:
    """A session by hand; `first` comes with its handshake."""
    line = dial(router)
    line.send(request(b"GET " + path, bearer(key), *HANDSHAKE, *fields) + first)
    status, _ = line.head()
    assert status == "HTTP/1.1 101 Switching Protocols"
    return line


def sent_until_it_waits(line: Line, data: bytes) -> int:
    """How often `data` could be sent before the other side took no more; 2,000 at most."""
    line.sock.settimeout(1.0)
    for count in range(2_000):
        try:
            line.sock.sendall(data)
        except TimeoutError:
            return count
    return 2_000
