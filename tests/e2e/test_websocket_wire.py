"""WebSockets on the wire: handshakes that smuggle, frames that no peer may send, providers that answer nonsense."""

import base64
import hashlib

import pytest
from ask_kit import ask, told
from harness import Router
from hurt_kit import settled
from raw_http import Ended, Heard, Line, ScriptedProvider, bearer, dial, reply, request
from websockets.frames import Frame, Opcode

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


def switched(line: Line, heard: Heard, *fields: bytes) -> None:
    """The provider's 101."""
    accept = base64.b64encode(hashlib.sha1(heard.headers["sec-websocket-key"].encode() + GUID).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\n" + b"".join(field + b"\r\n" for field in UPGRADE)
    line.sock.sendall(head + b"Sec-WebSocket-Accept: %b\r\n" % accept + b"".join(f + b"\r\n" for f in fields) + b"\r\n")


def echo(line: Line, heard: Heard) -> None:
    """A provider that says back what it is told, frame by frame, and closes when it is closed."""
    switched(line, heard)
    while True:
        first, size = line.exactly(2)
        assert size & 0x80, "a client's frames are masked"
        size &= 0x7F
        size = int.from_bytes(line.exactly({126: 2, 127: 8}[size]), "big") if size > 125 else size
        mask, data = line.exactly(4), line.exactly(size)
        plain = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
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


@pytest.fixture
def key(stage: Router) -> str:
    return stage.create_key(name="wire")[1]


# Handshakes


@pytest.mark.parametrize(
    "path", [b"/v1/chat/completions", b"/v1/messages", b"/gemini/ws/live", b"/nowhere", b"/v1/live"]
)
def test_elsewhere_a_websocket_is_told_that_none_is_spoken(
    stage: Router, quiet: ScriptedProvider, key: str, path: bytes
) -> None:
    answer = ask(stage, b"GET " + path, bearer(key), *HANDSHAKE)
    assert (answer.status, answer.code, quiet.heard) == (426, "upgrade_not_supported", [])
    assert "WebSocket" in told(answer)["error"]["message"]


@pytest.mark.parametrize(
    "path", [PATHS[1], b"/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"]
)
def test_where_nothing_else_is_spoken_a_read_is_told_so(
    stage: Router, quiet: ScriptedProvider, key: str, path: bytes
) -> None:
    answer = ask(stage, b"GET " + path, bearer(key))
    assert (answer.status, answer.code, quiet.heard) == (426, "upgrade_required", [])
    assert (answer.headers["upgrade"], answer.headers["sec-websocket-version"]) == ("websocket", "13")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ((*HANDSHAKE[:3], b"Sec-WebSocket-Version: 8"), 426, "upgrade_required"),
        (HANDSHAKE[:3], 426, "upgrade_required"),
        ((*UPGRADE, HANDSHAKE[3], b"Sec-WebSocket-Key: x"), 400, "invalid_request"),
        ((b"Upgrade: websocket", *HANDSHAKE[2:]), 400, "invalid_request"),
        ((*HANDSHAKE, b"Upgrade: h2c"), 400, "invalid_request"),
        ((*HANDSHAKE, b"Sec-WebSocket-Protocol: a b"), 400, "invalid_request"),
        ((*HANDSHAKE, b"Content-Length: 5"), 400, "invalid_request"),
        ((*HANDSHAKE, b"Transfer-Encoding: chunked"), 400, "invalid_request"),
    ],
)
def test_h24_what_is_no_handshake_is_refused_before_the_provider_hears_of_it(
    stage: Router, quiet: ScriptedProvider, key: str, fields: tuple[bytes, ...], status: int, code: str
) -> None:
    with dial(stage) as line:
        smuggled = request(b"GET /v1/models", bearer(key)) if b"Content-Length: 5" not in fields else b"GET /"
        line.send(request(b"GET /v1/responses", bearer(key), *fields) + smuggled)
        answer = line.answer()
    assert (answer.status, answer.code, quiet.heard) == (status, code, [])
    assert ("upgrade" in answer.headers) == (status == 426)


def test_h24_http_1_0_switches_nothing(stage: Router, quiet: ScriptedProvider, key: str) -> None:
    with dial(stage) as line:
        head = request(b"GET /v1/realtime?model=gpt-realtime", bearer(key), *HANDSHAKE)
        line.send(head.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (line.answer().status, quiet.heard) == (426, [])


def test_the_handshake_goes_on_as_one_of_our_own(stage: Router, provider: ScriptedProvider, key: str) -> None:
    provider.play(
        lambda line, heard: switched(line, heard, b"Sec-WebSocket-Protocol: realtime", b"x-request-id: req_theirs")
    )
    fields = (
        b"Sec-WebSocket-Extensions: permessage-deflate", b"Sec-WebSocket-Protocol: realtime, beta",
        b"OpenAI-Beta: realtime=v1", b"Cookie: a=b", b"Origin: https://app.example",
    )  # fmt: skip
    with dial(stage) as line:
        line.send(request(b"GET /openai/realtime?model=gpt-realtime&x=%20", bearer(key), *HANDSHAKE, *fields))
        status, headers = line.head()
    (heard,) = provider.heard
    assert (status, headers["sec-websocket-accept"]) == (
        "HTTP/1.1 101 Switching Protocols",
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    )
    assert (headers["sec-websocket-protocol"], headers["x-request-id"]) == ("realtime", "req_theirs")
    assert "sec-websocket-extensions" not in headers
    assert heard.first == "GET /v1/realtime?model=gpt-realtime&x=%20 HTTP/1.1"
    assert heard.headers["authorization"] == f"Bearer {stage.credentials['openai']}"
    assert heard.headers["sec-websocket-protocol"] == "realtime, beta"
    assert heard.headers["sec-websocket-key"] != "dGhlIHNhbXBsZSBub25jZQ=="
    assert (heard.headers["openai-beta"], heard.headers["connection"]) == ("realtime=v1", "Upgrade")
    assert not {"cookie", "sec-websocket-extensions"} & heard.headers.keys()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 502),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Accept: x\r\n\r\n",
            502,
        ),
        (b"HTTP/1.0 101 Nothing\r\n\r\n", 502),
        (b"garbage\r\n\r\n", 502),
        (b"", 502),
        (reply(401, b'{"error":{"message":"bad key","type":"x","code":"invalid_api_key"}}'), 401),
        (reply(429, b"{}"), 429),
    ],
)
def test_a_provider_that_does_not_switch(stage: Router, provider: ScriptedProvider, answer: bytes, status: int) -> None:
    key_id, key = stage.create_key(name="odd")

    def script(line: Line, _: Heard) -> None:
        line.sock.sendall(answer)
        raise Ended

    provider.play(script)
    with dial(stage) as line:
        line.send(request(b"GET /v1/responses", bearer(key), *HANDSHAKE))
        got = line.answer()
    assert got.status == status
    assert got.code == ("provider_unreachable" if status == 502 else None)
    (row,) = settled(stage, key_id, 1)
    assert (row["cost_nanos"], row["endpoint"]) == (0, "/v1/responses")


# Frames


def test_frames_pass_both_ways_as_they_come(stage: Router, provider: ScriptedProvider, key: str) -> None:
    provider.play(echo)
    event = b'{"type":"response.novelty","text":"gr\xc3\xbc\xc3\x9fe"}'
    with session(stage, key, first=frame(event)) as line:  # a frame that comes with the handshake
        assert received(line) == (0x81, event)
        parts = frame(event[:30], fin=False) + frame(b"here?", Opcode.PING) + frame(event[30:], Opcode.CONT)
        line.send(parts, bytewise=True)
        assert received(line) == (0x8A, b"here?")
        assert received(line) == (0x81, event)
        line.send(frame(event, Opcode.BINARY))
        assert received(line) == (0x82, event)
        line.send(frame(b"\x0f\xa1done", Opcode.CLOSE))
        assert received(line) == (0x88, b"\x0f\xa1done")
        assert line.closed()


def test_fragments_of_the_provider_go_on_at_once(stage: Router, provider: ScriptedProvider, key: str) -> None:
    def script(line: Line, heard: Heard) -> None:
        switched(line, heard)
        line.sock.sendall(frame(b'{"type":', fin=False, mask=False))
        line.exactly(2 + 4 + 4)  # the client's word that it has it
        line.sock.sendall(frame(b'"x"}', Opcode.CONT, mask=False))
        line.exactly(2)

    provider.play(script)
    with session(stage, key) as line:
        assert received(line) == (0x01, b'{"type":')
        line.send(frame(b"ping", Opcode.BINARY)[:0] + frame(b'{"a":1}'))
        first, data = received(line)
        assert (first, data) == (0x80, b'"x"}') or first == 0x81


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"{}", mask=False), 1002),
        (frame(b"\xff\xfe"), 1007),
        (b"\xc1\x80aaaa", 1002),
        (frame(b"x", Opcode.CONT), 1002),
        (b"\x81\xff" + (40 * 1024 * 1024).to_bytes(8, "big") + b"aaaa", 1009),
    ],
    ids=["unmasked", "no utf-8", "extension", "stray continuation", "oversize"],
)
def test_what_no_client_may_send_ends_the_session(
    stage: Router, provider: ScriptedProvider, key: str, data: bytes, code: int
) -> None:
    provider.play(echo)
    with session(stage, key) as line:
        line.send(data)
        first, content = received(line)
        assert (first, int.from_bytes(content[:2], "big")) == (0x88, code)
        assert line.closed()


@pytest.mark.parametrize(
    "data",
    [frame(b"{}", mask=True), frame(b"\xff", mask=False), b"\xc1\x00", b"HTTP/1.1 200 OK\r\n\r\n", b""],
    ids=["masked", "no utf-8", "extension", "http", "end"],
)
def test_a_provider_that_breaks_the_protocol_is_told_apart(
    stage: Router, provider: ScriptedProvider, key: str, data: bytes
) -> None:
    def script(line: Line, heard: Heard) -> None:
        switched(line, heard)
        line.sock.sendall(data)
        raise Ended

    provider.play(script)
    with session(stage, key) as line:
        first, content = received(line)
        assert first == 0x81
        assert b'"provider_unreachable"' in content
        first, content = received(line)
        assert (first, content) == (0x88, (1014).to_bytes(2, "big") + b"provider_unreachable")


def test_the_credential_is_in_no_message_that_goes_back(stage: Router, provider: ScriptedProvider, key: str) -> None:
    credential = stage.credentials["openai"].encode()

    def script(line: Line, heard: Heard) -> None:
        switched(line, heard)
        line.sock.sendall(frame(b'{"type":"error","error":{"message":"key %b"}}' % credential, mask=False))
        line.sock.sendall(frame(b"\x03\xf0" + credential, Opcode.CLOSE, mask=False))
        line.rest()

    provider.play(script)
    with session(stage, key) as line:
        data = line.rest()
    assert credential not in data
    assert data.count(b"[provider credential]") == 2
