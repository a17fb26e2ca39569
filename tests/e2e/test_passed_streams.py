"""Answers that are passed on as they come although they are no metered events, and what does not come back."""

import threading

import pytest
from ask_kit import ask
from harness import Router
from raw_http import Heard, Line, ScriptedProvider, bearer, chat_body, dial, reply, request


@pytest.mark.parametrize(
    ("first", "kind", "pieces"),
    [
        (b"GET /v1/responses/resp_1?stream=true", b"text/event-stream", [b"data: 1\n\n", b"data: 2\n\n"]),
        (b"POST /v1/audio/speech", b"audio/mpeg", [b"\xff\xfb\x90", b"\x00]}"]),
        (b"POST /v1/images/generations", b"text/event-stream", [b"event: partial\ndata: {}\n\n", b"data: {}\n\n"]),
        (
            b"POST /v1beta/models/gemini-2.5-flash:streamGenerateContent",
            b"application/json",
            [b'[{"candidates":[{"content":{"parts":[{"text":"one"}]}}]}\n', b',{"usageMetadata":{"promptTokenCount":1}}\n]'],
        ),
        (b"POST /v1/chat/completions", b"text/plain", [b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', b"data: [DONE]\n\n"]),
    ],
    ids=["stored", "speech", "partial images", "gemini list", "plain text"],
)  # fmt: skip
def test_every_stream_arrives_piece_by_piece(
    stage: Router, provider: ScriptedProvider, first: bytes, kind: bytes, pieces: list[bytes]
) -> None:
    """The provider sends the second piece only once the client has the first."""
    _, key = stage.create_key(name="streams")
    arrived = threading.Event()

    def script(line: Line, _: Heard) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % kind
        line.sock.sendall(head + b"%x \r\n%b\r\n" % (len(pieces[0]), pieces[0]))  # with a blank, as some servers do
        assert arrived.wait(10)
        line.sock.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(pieces[1]), pieces[1]))

    provider.play(script)
    body = b"" if first.startswith(b"GET") else chat_body("hello", stream=True)
    if b"gemini" in first:
        body = b'{"contents":{"parts":{"text":"hello"}},"generationConfig":{"maxOutputTokens":"16"}}'
    if b"speech" in first:
        body = b'{"model":"gpt-4o-mini-tts","input":"hello","voice":"alloy"}'
    with dial(stage) as line:
        json_type = b"Content-Type: application/json"
        line.send(request(first, bearer(key), json_type, b"Content-Length: %d" % len(body), body=body))
        _, headers = line.head()
        assert headers["transfer-encoding"] == "chunked"
        assert line.chunk() == pieces[0]
        arrived.set()
        rest = b""
        while piece := line.chunk():
            rest += piece
    assert rest == pieces[1]


def test_usage_that_was_added_is_hidden_in_plain_text_too(stage: Router, provider: ScriptedProvider) -> None:
    _, key = stage.create_key(name="plain", spend_limit_usd="1")
    shown = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}\n\n'
    stream = shown + usage + b"data: [DONE]\n\n"
    provider.play(lambda line, _: line.sock.sendall(reply(200, stream, kind=b"text/plain; charset=utf-8")))
    answer = ask(stage, b"POST /v1/chat/completions", bearer(key), body=chat_body("hello", stream=True))
    assert answer.body == shown + b"data: [DONE]\n\n"


def test_what_a_server_on_the_way_would_act_on_is_not_returned(stage: Router, provider: ScriptedProvider) -> None:
    _, key = stage.create_key(name="headers")
    fields = (b"X-Accel-Redirect: /internal", b"X-Sendfile: /etc/passwd", b"Clear-Site-Data: *", b"X-Kept: 1")
    provider.play(lambda line, _: line.sock.sendall(reply(200, b"{}", *fields)))
    headers = ask(stage, b"GET /v1/files", bearer(key)).headers
    assert headers["x-kept"] == "1"
    assert not {"x-accel-redirect", "x-sendfile", "clear-site-data"} & set(headers)


@pytest.mark.parametrize("first", [b"POST /v1/chat/completions", b"GET /v1/files/file-1/content"])
@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream"])
def test_w6_the_credential_is_in_no_answer_that_succeeds_either(
    stage: Router, provider: ScriptedProvider, first: bytes, kind: bytes
) -> None:
    _, key = stage.create_key(name="echoed")
    secret = stage.credentials["openai"].encode()
    echo = b'data: {"error":{"message":"you sent ' + secret + b'"}}\n\n'
    provider.play(lambda line, _: line.sock.sendall(reply(200, echo, kind=kind)))
    body = chat_body("hello", stream=kind == b"text/event-stream") if first.startswith(b"POST") else b""
    answer = ask(stage, first, bearer(key), body=body)
    assert (answer.status, answer.whole) == (200, True)
    assert answer.body.startswith(echo.replace(secret, b"*" * len(secret)))


def test_head_is_as_free_as_get(stage: Router, quiet: ScriptedProvider) -> None:
    _, key = stage.create_key(name="head", spend_limit_usd="1")
    assert ask(stage, b"HEAD /v1/files/file-1/content", bearer(key)).status == 200
    assert quiet.heard[0].first == "HEAD /v1/files/file-1/content HTTP/1.1"
