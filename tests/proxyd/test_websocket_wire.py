"""WebSockets without I/O: handshakes that are none, and frames that no peer may send."""

from collections.abc import Sequence

import pytest
from websockets.frames import Frame, Opcode

from proxyd.messages import BadRequest, Header
from proxyd.wire.websocket import (
    HandshakeFailed,
    Piece,
    WebSocket,
    WrongVersion,
    accepting,
    chosen_protocol,
    offer,
    read_handshake,
)

# RFC 6455, section 1.3, has these two.
NONCE, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
ASKED: tuple[Header, ...] = (
    (b"connection", b"keep-alive, Upgrade"),
    (b"upgrade", b"WebSocket"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", NONCE),
)


def but(name: bytes, *values: bytes, headers: Sequence[Header] = ASKED) -> tuple[Header, ...]:
    """The handshake with other values of one header."""
    return (*(header for header in headers if header[0] != name), *((name, value) for value in values))


def frame(data: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=mask)


def server(max_message_bytes: int = 1_000) -> WebSocket:
    return WebSocket(server=True, max_message_bytes=max_message_bytes)


def close_code(socket: WebSocket) -> int:
    """The code of the close frame that waits to be written to a client."""
    data = socket.take()
    at = data.rindex(b"\x88")
    return int.from_bytes(data[at + 2 : at + 4], "big")


def test_it_works() -> None:
    handshake = read_handshake(but(b"sec-websocket-protocol", b"realtime, beta"))
    assert (handshake.accept, handshake.protocols) == (ACCEPT, (b"realtime", b"beta"))
    assert accepting(handshake, b"beta") == [(b"sec-websocket-accept", ACCEPT), (b"sec-websocket-protocol", b"beta")]
    socket = server()
    assert socket.receive(frame("grüße".encode())) == [Piece("grüße".encode(), True, True, True)]
    assert socket.send(Piece(b"back", True, True, True))
    assert socket.take() == frame(b"back", mask=False)
    socket.receive(frame(b"\x03\xe8bye", Opcode.CLOSE))
    assert (socket.closed_by_peer, socket.open, socket.failed) == ((1000, "bye"), False, False)
    assert close_code(socket) == 1000
    assert not socket.send(Piece(b"late", True, True, True))


@pytest.mark.parametrize(
    "headers",
    [
        but(b"connection", b"keep-alive"),
        but(b"upgrade", b"websocket, h2c"),
        but(b"upgrade", b"h2c"),
        but(b"sec-websocket-key"),
        but(b"sec-websocket-key", NONCE, NONCE),
        but(b"sec-websocket-key", b"dGhlIHNhbXBsZQ=="),
        but(b"sec-websocket-key", b"not base64 at all!!"),
        but(b"sec-websocket-protocol", b"a b"),
        but(b"sec-websocket-protocol", b"a,,b"),
    ],
)
def test_a_handshake_that_is_none_is_refused(headers: tuple[Header, ...]) -> None:
    with pytest.raises(BadRequest):
        read_handshake(headers)


@pytest.mark.parametrize("values", [(), (b"8",), (b"13", b"13"), (b"13, 8",)])
def test_another_version_is_told_apart(values: tuple[bytes, ...]) -> None:
    with pytest.raises(WrongVersion):
        read_handshake(but(b"sec-websocket-version", *values))


def test_a_servers_answer_must_be_one_to_this_handshake() -> None:
    made = offer((b"realtime",))
    right = (
        (b"connection", b"upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-accept", made.accept.encode()),
        (b"sec-websocket-protocol", b"realtime"),
    )
    assert chosen_protocol(made, right) == b"realtime"
    assert chosen_protocol(made, right[:3]) is None
    for wrong in (
        but(b"connection", b"close", headers=right),
        but(b"upgrade", b"h2c", headers=right),
        but(b"sec-websocket-accept", ACCEPT, headers=right),
        but(b"sec-websocket-accept", headers=right),
        but(b"sec-websocket-protocol", b"another", headers=right),
        but(b"sec-websocket-extensions", b"permessage-deflate", headers=right),
    ):
        with pytest.raises(HandshakeFailed):
            chosen_protocol(made, wrong)


def test_a_message_in_fragments_comes_frame_by_frame_and_pings_between_them_are_answered() -> None:
    socket = server()
    first, rest = "grü".encode()[:3], "grü".encode()[3:]  # a character in two frames
    data = (
        frame(first, fin=False)
        + frame(b"?", Opcode.PING)
        + frame(b"", Opcode.CONT, fin=False)
        + frame(rest, Opcode.CONT)
    )
    pieces = [piece for at in range(len(data)) for piece in socket.receive(data[at : at + 1])]
    assert pieces == [
        Piece(first, True, True, False), Piece(b"", True, False, False), Piece(rest, True, False, True),
    ]  # fmt: skip
    assert socket.take() == frame(b"?", Opcode.PONG, mask=False)
    assert socket.receive(frame(b"\xff", Opcode.BINARY)) == [Piece(b"\xff", False, True, True)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"x", mask=False), 1002),
        (frame(b"\xff\xfe"), 1007),
        (frame(b"\xc3", fin=False) + frame(b"x", Opcode.CONT), 1007),
        (frame(b"\xc3"), 1007),
        (frame(b"x" * 1_001), 1009),
        (frame(b"x" * 600, fin=False) + frame(b"x" * 600, Opcode.CONT), 1009),
        (frame(b"x", Opcode.CONT), 1002),
        (frame(b"x", fin=False) + frame(b"x"), 1002),
        (b"\xc1\x81aaaax", 1002),  # a bit of an extension that nobody agreed to
        (b"\x83\x80aaaa", 1002),  # an opcode that is none
        (b"\x09\x80aaaa", 1002),  # a ping in fragments
        (b"\x89\xfe\x00\x7eaaaa" + bytes(126), 1002),  # a ping that is too long
        (b"\x88\x81aaaax", 1002),  # a close frame with half a code
        (b"".join([frame(b"", fin=False), *[frame(b"", Opcode.CONT, fin=False)] * 4_096]), 1008),
    ],
    # Masks are chosen at random, and every process that runs tests has to call them the same.
    ids=[f"{number}" for number in range(14)],
)
def test_what_no_client_may_send_closes_with_its_code(data: bytes, code: int) -> None:
    socket = server()
    pieces = socket.receive(data)
    assert not any(piece.final for piece in pieces)
    assert (socket.open, socket.failed, close_code(socket)) == (False, True, code)
    assert socket.receive(frame(b"more")) == []


def test_frames_of_a_server_must_not_be_masked() -> None:
    client = WebSocket(server=False, max_message_bytes=100)
    assert client.receive(frame(b"x", mask=False)) == [Piece(b"x", True, True, True)]
    assert client.receive(frame(b"x", mask=True)) == []
    assert client.failed
    other = WebSocket(server=False, max_message_bytes=100)
    assert other.send(Piece(b"x" * 50, True, True, True))
    sent = other.take()
    assert sent[1] & 0x80
    assert server().receive(sent) == [Piece(b"x" * 50, True, True, True)]


def test_what_is_left_of_a_frame_counts_while_it_is_waited_for() -> None:
    socket = server(10_000)
    data = frame(b"x" * 5_000)
    assert socket.receive(data[:3_000]) == []
    assert socket.waiting_bytes > 2_900
    assert len(socket.receive(data[3_000:])) == 1
    assert socket.waiting_bytes == 0


@pytest.mark.parametrize(
    ("code", "sent"), [(1000, 1000), (1008, 1008), (4001, 4001), (1005, None), (1006, None), (999, 1011), (1015, 1011)]
)
def test_a_code_that_may_not_be_sent_is_not(code: int, sent: int | None) -> None:
    socket = server()
    socket.close(code, "r" * 500)
    data = socket.take()
    assert len(data) <= 127
    if sent is None:
        assert data == b"\x88\x00"
    else:
        assert int.from_bytes(data[2:4], "big") == sent
    socket.close(1000, "twice")
    assert socket.take() == b""


def test_the_end_of_the_connection_is_no_goodbye() -> None:
    socket = server()
    socket.receive_end()
    socket.receive_end()
    assert (socket.closed_by_peer, socket.open) == (None, False)
    assert socket.receive(b"late") == []
