"""What happens inside a translated stream before, between and instead of the events that are its answer."""

import gzip
import threading

import orjson
import pytest
from ask_kit import ask
from harness import Json, Router
from raw_http import Heard, Line, ScriptedProvider, bearer, chat_body, dial, ledger_rows, reply, request

BEGUN = b'data: {"id":"a","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'
_CALL = (
    b'data: {"id":"a","choices":[{"index":0,"delta":{"tool_calls":[{"index":%d,"function":{"arguments":"{"}}]}}]}\n\n'
)
LOST = _CALL % 0 + _CALL % 1  # more of a call that has not begun: nobody can tell which, but what it costs
FINISHED = b'data: {"id":"a","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"id":"a","choices":[],"usage":{"prompt_tokens":40,"completion_tokens":7}}\n\n'
DONE = b"data: [DONE]\n\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
MESSAGES = b"POST /v1/messages"


@pytest.fixture
def key(stage: Router) -> tuple[str, str]:
    return stage.create_key(name="translated streams", spend_limit_usd="5")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def booked(router: Router, key: tuple[str, str]) -> Json:
    router.wait_for_ledger(key[0], 1)
    return ledger_rows(router, key[0])[0]


def test_a_sign_of_life_is_passed_on_at_once(stage: Router, provider: ScriptedProvider, key: tuple[str, str]) -> None:
    """The provider begins its answer only once the client has it."""
    alive = threading.Event()

    def script(line: Line, _: Heard) -> None:
        line.sock.sendall(HEAD + chunk(b": still at it\n\n"))
        assert alive.wait(10)
        line.sock.sendall(chunk(BEGUN + FINISHED + USAGE + DONE) + b"0\r\n\r\n")

    provider.play(script)
    body = chat_body("hello", stream=True)
    with dial(stage) as line:
        line.send(request(MESSAGES, bearer(key[1]), b"Content-Length: %d" % len(body), body=body))
        line.head()
        assert line.chunk() == b'event: ping\ndata: {"type":"ping"}\n\n'
        alive.set()
        rest = b""
        while piece := line.chunk():
            rest += piece
    assert b"message_stop" in rest
    assert booked(stage, key)["outcome"] == "ok"


def test_a_stream_that_cannot_be_read_is_booked_as_broken_off(
    stage: Router, provider: ScriptedProvider, key: tuple[str, str]
) -> None:
    """It is charged what it used, which comes behind what cannot be read."""
    stream = BEGUN + LOST + FINISHED + USAGE + DONE
    provider.play(lambda line, _: line.sock.sendall(reply(200, stream, kind=b"text/event-stream")))
    answer = ask(stage, MESSAGES, bearer(key[1]), body=chat_body("hello", stream=True))
    assert (answer.status, answer.whole) == (200, False)
    assert answer.body.count(b"event: error") == 1
    assert b"cannot be translated: tool calls come in pieces that take turns" in answer.body
    row = booked(stage, key)
    assert (row["outcome"], row["output_tokens"], row["flags"]) == ("upstream_truncated", 7, [])


def test_who_hangs_up_on_such_a_stream_was_not_the_first(
    stage: Router, provider: ScriptedProvider, key: tuple[str, str]
) -> None:
    gone = threading.Event()

    def script(line: Line, _: Heard) -> None:
        line.sock.sendall(HEAD + chunk(BEGUN + LOST))
        line.rest()  # the router hangs up as well
        gone.set()

    provider.play(script)
    body = chat_body("hello", stream=True)
    with dial(stage) as line:
        line.send(request(MESSAGES, bearer(key[1]), b"Content-Length: %d" % len(body), body=body))
        line.upto(b"cannot be translated")
    row = booked(stage, key)
    assert (row["outcome"], row["flags"]) == ("upstream_truncated", ["estimated"])
    assert gone.wait(10)


@pytest.mark.parametrize("query", [b"", b"?alt=sse"])
def test_a_stream_of_geminis_that_breaks_off_behind_what_cannot_be_read(
    stage: Router, provider: ScriptedProvider, key: tuple[str, str], query: bytes
) -> None:
    """One error is told, and a list is closed."""

    def script(line: Line, _: Heard) -> None:
        line.sock.sendall(HEAD + chunk(BEGUN + LOST))
        line.sock.close()

    provider.play(script)
    body = orjson.dumps({"contents": [{"parts": [{"text": "hello"}]}]})
    path = b"POST /v1beta/models/gpt-4o-mini:streamGenerateContent" + query
    answer = ask(stage, path, bearer(key[1]), body=body)
    assert (answer.status, answer.whole, answer.body.count(b'"error"')) == (200, False, 1)
    assert query or "error" in orjson.loads(answer.body)[-1]
    assert booked(stage, key)["outcome"] == "upstream_truncated"


@pytest.mark.parametrize("path", [MESSAGES, b"POST /v1/responses"])
def test_a_stream_that_ends_in_the_middle_of_an_event(
    stage: Router, provider: ScriptedProvider, key: tuple[str, str], path: bytes
) -> None:
    """The half of an event stays out of the error that the client is told."""
    begun = BEGUN if path == MESSAGES else b'data: {"type":"message_start","message":{"id":"m","model":"c"}}\n\n'

    def script(line: Line, _: Heard) -> None:
        line.sock.sendall(HEAD + chunk(begun + b'data: {"id":"a","cho'))
        line.sock.close()

    provider.play(script)
    body = chat_body("hello", stream=True)
    if path != MESSAGES:
        body = orjson.dumps({"model": "claude-sonnet-4-6", "input": "hello", "stream": True})
    answer = ask(stage, path, bearer(key[1]), body=body)
    assert (answer.status, answer.whole) == (200, False)
    assert answer.body.count(b"event: error") == 1
    error = answer.body.partition(b"event: error\ndata: ")[2]
    assert b"The provider's answer broke off before it was complete." in error
    assert orjson.loads(error)["type"] == "error"
    assert booked(stage, key)["outcome"] == "upstream_truncated"


def test_the_credential_is_in_no_compressed_stream(
    stage: Router, provider: ScriptedProvider, key: tuple[str, str]
) -> None:
    """Which is plain to the client, whatever it was before."""
    secret = stage.credentials["openai"].encode()
    stream = gzip.compress(BEGUN.replace(b"Hello", secret) + FINISHED + USAGE + DONE)
    coding = b"Content-Encoding: gzip"
    provider.play(lambda line, _: line.sock.sendall(reply(200, stream, coding, kind=b"text/event-stream")))
    answer = ask(stage, MESSAGES, bearer(key[1]), body=chat_body("hello", stream=True))
    assert (answer.status, answer.whole, secret in answer.body) == (200, True, False)
    assert b"*" * len(secret) in answer.body
