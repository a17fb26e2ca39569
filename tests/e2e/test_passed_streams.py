"""Answers that are passed on as they come although they are no metered events, and what does not come back."""

import gzip
import threading

import pytest
from ask_kit import ask
from harness import Json, Router, eventually
from raw_http import Ended, Heard, Line, ScriptedProvider, bearer, chat_body, dial, ledger_rows, reply, request


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
        (b"POST /v1/chat/completions", b"application/json", [b": hello\n\n", b"data: [DONE]\n\n"]),
    ],
    ids=["stored", "speech", "partial images", "gemini list", "plain text", "events called JSON"],
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


@pytest.mark.parametrize(
    "kind",
    [
        b"text/plain; charset=utf-8", b"application/octet-stream", b"application/json", b"application/x-ndjson",
        b"application/stream+json", b"text/html", b"",
    ],
)  # fmt: skip
def test_events_by_another_name_are_metered_and_show_no_usage_that_was_added(
    stage: Router, provider: ScriptedProvider, kind: bytes
) -> None:
    key_id, key = stage.create_key(name="plain", spend_limit_usd="1")
    shown = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}\n\n'
    stream = shown + usage + b"data: [DONE]\n\n"
    provider.play(lambda line, _: line.sock.sendall(reply(200, stream, kind=kind)))
    answer = ask(stage, b"POST /v1/chat/completions", bearer(key), body=chat_body("hello", stream=True))
    assert answer.body == shown + b"data: [DONE]\n\n"
    assert metered(stage, key_id) == (9, 1, [])


@pytest.mark.parametrize("kind", [b"text/plain", b"application/json", b"application/octet-stream"])
def test_json_where_events_were_asked_for_is_metered_by_any_name(
    stage: Router, provider: ScriptedProvider, kind: bytes
) -> None:
    key_id, key = stage.create_key(name="json", spend_limit_usd="1")
    body = b'\n {"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}'
    provider.play(lambda line, _: line.sock.sendall(reply(200, body, kind=kind)))
    assert ask(stage, b"POST /v1/chat/completions", bearer(key), body=chat_body("hello", stream=True)).body == body
    assert metered(stage, key_id) == (9, 1, [])


def test_events_by_another_name_are_known_in_a_compression_too(stage: Router, provider: ScriptedProvider) -> None:
    key_id, key = stage.create_key(name="compressed", spend_limit_usd="1")
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}\n\n'
    packed = gzip.compress(usage + b"data: [DONE]\n\n")
    answer = reply(200, packed, b"Content-Encoding: gzip", kind=b"application/octet-stream")
    provider.play(lambda line, _: line.sock.sendall(answer))
    assert ask(stage, b"POST /v1/chat/completions", bearer(key), body=chat_body("hello", stream=True)).body == packed
    assert metered(stage, key_id) == (9, 1, [])


def test_an_answer_that_breaks_off_before_its_first_bytes_is_no_answer(
    stage: Router, provider: ScriptedProvider
) -> None:
    key_id, key = stage.create_key(name="broken", spend_limit_usd="1")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\nda"

    def script(line: Line, _: Heard) -> None:
        line.sock.sendall(head)
        raise Ended

    provider.play(script)
    answer = ask(stage, b"POST /v1/chat/completions", bearer(key), body=chat_body("hello", stream=True))
    assert (answer.status, answer.code) == (502, "provider_unreachable")
    (row,) = rows(stage, key_id)
    assert (row["outcome"], row["flags"]) == ("upstream_truncated", ["estimated"])
    assert row["cost_nanos"] > 0, "its input was taken"


def rows(stage: Router, key_id: str) -> list[Json]:
    eventually(lambda: ledger_rows(stage, key_id) != [], what="the row")
    return ledger_rows(stage, key_id)


def metered(stage: Router, key_id: str) -> tuple[int, int, list[str]]:
    """Input tokens, output tokens and flags of the only row of a key."""
    (row,) = rows(stage, key_id)
    return row["input_tokens"], row["output_tokens"], row["flags"]


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
