"""Cases P of the catalogue: a provider that follows a script, behind one real worker. It counts what it hears."""

import json
import socket
import struct
from typing import NoReturn

import pytest
from calls import marker, spend_of
from harness import Json, Router, eventually
from raw_http import Ended, Heard, Line, ScriptedProvider, bearer, chat_request, dial, ledger_rows, reply, request

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
    }
).encode()
RESET = struct.pack("ii", 1, 0)


def answers(line: Line, _: Heard) -> None:
    line.sock.sendall(reply(200, ANSWER))


def answers_and_closes(line: Line, heard: Heard) -> NoReturn:
    answers(line, heard)
    raise Ended


def reset(line: Line) -> NoReturn:
    line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    raise Ended


@pytest.fixture
def capped(lab: Router) -> tuple[str, str]:
    """A key with a spend limit: its id and its secret."""
    return lab.create_key(name="capped", spend_limit_usd="1")


def bodies(provider: ScriptedProvider) -> list[bytes]:
    return [heard.body for heard in provider.heard]


def settled(lab: Router, key_id: str, count: int) -> list[Json]:
    """The key's rows, once there are `count`; nothing is held then."""
    eventually(lambda: len(ledger_rows(lab, key_id)) >= count, what="the ledger's rows")
    spend_of(lab, key_id)
    return ledger_rows(lab, key_id)


def test_p03_head_with_a_length_has_no_body_and_the_connection_goes_on(lab: Router, provider: ScriptedProvider) -> None:
    key_id, key = lab.create_key(name="head")

    def script(line: Line, heard: Heard) -> None:
        if heard.first.startswith("HEAD "):
            line.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n")
        else:
            answers(line, heard)

    provider.play(script)
    with dial(lab) as line:
        for _ in range(3):
            line.send(request(b"HEAD /openai/v1/files/file-1/content", bearer(key)))
            head = line.answer(to_head=True)
            assert (head.status, head.headers["content-length"]) == (200, "10")
            line.send(chat_request(key, "hello"))
            assert line.answer().body == ANSWER
    assert [heard.first.split(" ")[0] for heard in provider.heard] == ["HEAD", "POST"] * 3
    assert len({heard.connection for heard in provider.heard}) == 1
    assert [row["outcome"] for row in settled(lab, key_id, 6)] == ["ok"] * 6


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_p07_an_idle_connection_that_the_provider_closed_costs_nothing(
    lab: Router, provider: ScriptedProvider, capped: tuple[str, str], end: str
) -> None:
    """Each answer is the last on its connection, though nothing says so: the next request must not be lost on it."""
    key_id, key = capped

    def script(line: Line, heard: Heard) -> None:
        answers(line, heard)
        if end == "rst":
            reset(line)
        raise Ended

    provider.play(script)
    served = []
    with dial(lab) as line:
        for number in range(20):
            text, hurried = marker(), number % 3 == 0
            if not hurried:
                eventually(lambda: provider.ended == provider.connections, what="the close")
            line.send(chat_request(key, text))
            answer = line.answer()
            heard = sum(text.encode() in body for body in bodies(provider))
            if hurried and answer.status == 502:  # it was written while the close was under way: then it is lost, once
                assert heard <= 1
                continue
            assert (answer.body, heard) == (ANSWER, 1)
            served.append(text)
    rows = settled(lab, key_id, 20)
    assert [row["outcome"] for row in rows].count("ok") == len(served) >= 13
    assert len(rows) == 20


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("reused", [False, True], ids=["fresh", "reused"])
def test_p07_p08_a_request_that_was_heard_is_never_sent_again(
    lab: Router, provider: ScriptedProvider, capped: tuple[str, str], end: str, reused: bool
) -> None:
    """The provider reads all of it and closes without an answer: 502, one row of unknown outcome, one attempt."""
    key_id, key = capped
    text = marker()

    def script(line: Line, heard: Heard) -> None:
        if text.encode() not in heard.body:
            answers(line, heard)
        elif end == "rst":
            reset(line)
        else:
            raise Ended

    provider.play(answers_and_closes)
    with dial(lab) as line:
        line.send(chat_request(key, "until now"))
        assert line.answer().status == 200
        eventually(lambda: provider.ended == provider.connections, what="the close")
        provider.play(script)
        if reused:
            line.send(chat_request(key, "warm"))
            assert line.answer().status == 200
        line.send(chat_request(key, text))
        answer = line.answer()
        assert (answer.status, answer.code) == (502, "provider_unreachable")
        line.send(chat_request(key, "after"))
        assert line.answer().body == ANSWER
    assert sum(text.encode() in body for body in bodies(provider)) == 1
    if reused:
        warm, lost = provider.heard[0], provider.heard[1]
        assert warm.connection == lost.connection
    rows = settled(lab, key_id, 4 if reused else 3)
    assert [row["outcome"] for row in rows].count("unknown") == 1
    assert [row["cost_nanos"] for row in rows if row["outcome"] == "unknown"] == [0]


def test_p07_a_provider_that_takes_nothing_leaves_no_row(
    lab: Router, provider: ScriptedProvider, capped: tuple[str, str]
) -> None:
    """It closes before it was sent anything on a new connection: what it never saw is void."""
    key_id, key = capped
    provider.play(answers)
    with dial(lab) as line:
        line.send(chat_request(key, "one"))
        assert line.answer().status == 200
    assert len(settled(lab, key_id, 1)) == 1


@pytest.mark.parametrize("status", [204, 304])
def test_p03_p04_every_attempt_without_a_body_is_written_down(
    lab: Router, provider: ScriptedProvider, status: int
) -> None:
    """Nothing is left to relay then, so nothing may depend on somebody reading it."""
    key_id, key = lab.create_key(name="bodiless")
    provider.play(lambda line, _: line.sock.sendall(b"HTTP/1.1 %d Status\r\nETag: x\r\n\r\n" % status))
    with dial(lab) as line:
        for method in (b"GET", b"HEAD", b"DELETE"):
            line.send(request(method + b" /openai/v1/files/file-1", bearer(key)))
            answer = line.answer(to_head=True)
            assert (answer.status, answer.headers["etag"]) == (status, "x")
    assert [row["outcome"] for row in settled(lab, key_id, 3)] == ["ok"] * 3
    assert len({heard.connection for heard in provider.heard}) == 1
