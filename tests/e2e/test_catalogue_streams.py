"""Cases S of the catalogue: what a stream costs, whoever breaks it off and whenever."""

import contextlib
import json
import socket
import time
from pathlib import Path

import pytest
from calls import marker, spend_of
from harness import Json, Router, eventually
from raw_http import Ended, Heard, Line, ScriptedProvider, bearer, chat_request, dial, events, ledger_rows, request

from proxyd.sandbox.invoice import price_nanos

CLAUDE, GPT, GEMINI = "claude-sonnet-4-6", "gpt-4o-mini", "gemini-2.5-flash"
SECOND = 1.0


def stream_request(dialect: str, key: str, text: str, *, max_tokens: int = 4_000) -> bytes:
    """A streaming request in one of the three dialects."""
    if dialect == "openai":
        return chat_request(key, text, stream=True, max_tokens=max_tokens)
    if dialect == "anthropic":
        said = [{"role": "user", "content": text}]
        document = {"model": CLAUDE, "max_tokens": max_tokens, "stream": True, "messages": said}
        path = b"/v1/messages"
    else:
        document = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        document["generationConfig"] = {"maxOutputTokens": max_tokens}
        path = f"/v1beta/models/{GEMINI}:streamGenerateContent?alt=sse".encode()
    body = json.dumps(document).encode()
    return request(b"POST " + path, bearer(key), b"Content-Length: %d" % len(body), body=body)


def documents(body: bytes) -> list[Json]:
    """The JSON events of a stream."""
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line.startswith(b"data: {")]
    return [json.loads(line) for line in lines]


def row_of(router: Router, key_id: str) -> Json:
    """The only row of a key, once it is there; nothing is held then and the counters agree."""
    eventually(lambda: ledger_rows(router, key_id) != [], what="the row")
    (row,) = ledger_rows(router, key_id)
    spend = spend_of(router, key_id)
    assert float(spend["spent_usd"]) == pytest.approx(row["cost_nanos"] / 1e9, rel=1e-9)
    return row


@pytest.fixture
def capped(router: Router) -> tuple[str, str]:
    return router.create_key(name="streams", spend_limit_usd="1")


@pytest.mark.parametrize("asked", [True, False], ids=["s03-asked", "s04-not-asked"])
def test_s03_s04_usage_behind_the_last_choice_is_counted(router: Router, capped: tuple[str, str], asked: bool) -> None:
    key_id, key = capped
    text = marker()
    options = {"stream_options": {"include_usage": True}} if asked else {}
    with dial(router) as line:
        line.send(chat_request(key, text, stream=True, max_tokens=50, **options))
        answer = line.answer()
    told = documents(answer.body)
    finished = [place for place, event in enumerate(told) if event["choices"] and event["choices"][0]["finish_reason"]]
    with_usage = [place for place, event in enumerate(told) if event.get("usage")]
    assert answer.body.rstrip().endswith(b"data: [DONE]")
    (attempt,) = router.attempts(text)
    row = row_of(router, key_id)
    assert (row["cost_nanos"], row["outcome"], row["flags"]) == (attempt["cost_nanos"], "ok", [])
    assert attempt["cost_nanos"] > 0
    if asked:
        assert with_usage == [finished[0] + 1] == [len(told) - 1]
        assert told[-1]["choices"] == []
        assert told[-1]["usage"]["completion_tokens"] == attempt["usage"]["output_tokens"]
    else:
        assert with_usage == []
        assert finished == [len(told) - 1]


def test_s05_cumulative_usage_is_not_summed(lab: Router, provider: ScriptedProvider) -> None:
    key_id, key = lab.create_key(name="deltas", spend_limit_usd="1")
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": CLAUDE, "content": []}
    usage = {"input_tokens": 250, "output_tokens": 1}
    told: list[Json] = [
        {"type": "message_start", "message": {**message, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_stop", "index": 0},
        *({"type": "message_delta", "delta": {}, "usage": {"output_tokens": count}} for count in (5, 30)),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 40}},
        {"type": "message_stop"},
    ]
    provider.play(lambda line, _: line.sock.sendall(events(*told, named=True)))
    with dial(lab) as line:
        line.send(stream_request("anthropic", key, "hello"))
        assert documents(line.answer().body) == told
    row = row_of(lab, key_id)
    assert (row["input_tokens"], row["output_tokens"]) == (250, 40)
    assert row["cost_nanos"] == price_nanos("anthropic", CLAUDE, 250, 40)


def leave(line: Line, how: str) -> float:
    """Close the connection; the moment when it was done."""
    if how == "rst":
        line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    line.sock.close()
    return time.monotonic()


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize(
    ("behaviour", "events_read"),
    [("sandbox:events=60,rate=20", 1), ("sandbox:stall sandbox:words=60", 25), ("sandbox:slow=8", 0)],
    ids=["after-one-event", "half-way-in-silence", "before-the-answer"],
)
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_s08_s09_a_client_that_leaves_is_noticed_within_a_second(
    router: Router, capped: tuple[str, str], dialect: str, behaviour: str, events_read: int, how: str
) -> None:
    """The provider's connection is closed, and what was delivered is charged: no less than the provider bills."""
    key_id, key = capped
    text = marker()
    with dial(router) as line:
        line.send(stream_request(dialect, key, f"{behaviour} {text}"))
        if events_read:
            assert line.head()[0].split(" ")[1] == "200"
            said = b""
            while said.count(b"\ndata: ") < events_read:
                said += line.chunk()
        else:
            eventually(lambda: f"{behaviour} {text}" in str(router.invoice()), what="the provider's attempt")
        left = leave(line, how)
        (attempt,) = router.attempts(text)
        assert time.monotonic() - left < SECOND
    assert attempt["client_aborted"]
    row = row_of(router, key_id)
    assert row["outcome"] == "client_gone"
    assert row["cost_nanos"] >= attempt["cost_nanos"]
    assert row["cost_nanos"] > 0  # the prompt at least, if nothing had been said yet
    assert row["output_tokens"] >= attempt["usage"]["output_tokens"]


def test_s08_a_client_that_leaves_before_the_usage_pays_for_all_it_was_given(
    lab: Router, provider: ScriptedProvider
) -> None:
    key_id, key = lab.create_key(name="before usage", spend_limit_usd="1")
    words = [f"word{number} " for number in range(40)]
    left, noticed = [], []

    def script(line: Line, _: Heard) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        line.sock.sendall(head)
        for word in [*words, None]:
            choice = {"index": 0, "delta": {"content": word} if word else {}, "finish_reason": None if word else "stop"}
            event = b"data: " + json.dumps({"model": GPT, "choices": [choice]}).encode() + b"\n\n"
            line.sock.sendall(b"%x\r\n%b\r\n" % (len(event), event))
        try:
            line.more()  # nothing comes; it ends
        except Ended:
            noticed.append(time.monotonic())
            raise

    provider.play(script)
    with dial(lab) as line:
        line.send(stream_request("openai", key, "hello"))
        line.head()
        said = b""
        while b'"stop"' not in said:
            said += line.chunk()
        left.append(leave(line, "fin"))
    eventually(lambda: noticed != [], SECOND, "the end of the call")
    row = row_of(lab, key_id)
    assert (row["outcome"], row["flags"]) == ("client_gone", ["estimated"])
    # A token for every three bytes, and one an event at least: a tokenizer would find about 80 in it.
    assert row["output_tokens"] >= len("".join(words)) / 3
    assert row["cost_nanos"] >= price_nanos("openai", GPT, 0, 80)


def test_s09_gemini_bills_on_and_is_read_to_its_end(router: Router, capped: tuple[str, str]) -> None:
    key_id, key = capped
    text = marker()
    with dial(router) as line:
        line.send(stream_request("gemini", key, f"sandbox:events=30,rate=30 {text}"))
        line.head()
        line.chunk()
        leave(line, "fin")
    (attempt,) = router.attempts(text)
    assert not attempt["client_aborted"]
    assert attempt["usage"]["output_tokens"] == 30
    row = row_of(router, key_id)
    assert (row["outcome"], row["flags"]) == ("client_gone", [])
    assert row["cost_nanos"] == attempt["cost_nanos"]


def sockets_of(pid: int) -> int:
    """How many sockets a process has open."""
    found = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(descriptor.readlink()).startswith("socket:")
    return found


@pytest.mark.slow
def test_s10_eighty_leave_at_once_and_sixty_four_are_read_to_their_end(lab: Router) -> None:
    """The rest is settled at an estimate at once; nothing is left open."""
    key_id, key = lab.create_key(name="all at once", spend_limit_usd="100")
    (pid,) = lab.worker_pids()
    before = sockets_of(pid)
    text = marker()
    lines = [dial(lab) for _ in range(80)]
    for line in lines:
        line.send(stream_request("gemini", key, f"sandbox:events=80,rate=20 {text}"))
    for line in lines:
        line.head()
        line.chunk()
    for line in lines:
        leave(line, "fin")
    attempts = lab.attempts(text, 80)
    eventually(lambda: len(ledger_rows(lab, key_id)) == 80, what="80 rows")
    rows = ledger_rows(lab, key_id)
    estimated = [row for row in rows if "estimated" in row["flags"]]
    assert len(estimated) == sum(attempt["client_aborted"] for attempt in attempts) == 16
    exact = {attempt["cost_nanos"] for attempt in attempts if not attempt["client_aborted"]}
    assert {row["cost_nanos"] for row in rows if row not in estimated} == exact
    assert all(row["cost_nanos"] > 0 for row in estimated)
    assert {row["outcome"] for row in rows} == {"client_gone"}
    spend_of(lab, key_id)
    # Those to the provider that were read to their end may wait for the next call; all others are gone.
    eventually(lambda: sockets_of(pid) <= before + 64, what="the end of the connections")


def test_s15_a_revoked_keys_stream_runs_on_and_is_billed(router: Router, capped: tuple[str, str]) -> None:
    key_id, key = capped
    text = marker()
    with dial(router) as line:
        line.send(stream_request("openai", key, f"sandbox:events=20,rate=20 {text}"))
        line.head()
        assert router.api("DELETE", f"/v1/keys/{key_id}").status_code == 200
        said = b""
        while piece := line.chunk():
            said += piece
        assert said.rstrip().endswith(b"data: [DONE]")
        line.send(chat_request(key, "after"))
        assert line.answer().code == "key_revoked"
    (attempt,) = router.attempts(text)
    assert row_of(router, key_id)["cost_nanos"] == attempt["cost_nanos"] > 0
