"""Handshakes of WebSockets on the wire: those that are none, that smuggle, and that a provider does not answer."""

import pytest
from ask_kit import ask, told
from harness import Router
from hurt_kit import settled
from raw_http import Ended, Heard, Line, ScriptedProvider, bearer, dial, reply, request
from wire_kit import HANDSHAKE, PATHS, UPGRADE, switched


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
