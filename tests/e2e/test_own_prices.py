"""Prices and bounds through the whole product: what breaks off, and what a refusal explains."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import Json, Router, eventually
from raw_http import (
    Answer,
    Ended,
    Heard,
    Line,
    ScriptedProvider,
    bearer,
    chat_request,
    dial,
    ledger_rows,
    reply,
    request,
)

pytestmark = pytest.mark.e2e

WORDS = "An answer of many words, as they come. " * 100


def only_row(router: Router, key_id: str) -> Json:
    eventually(lambda: ledger_rows(router, key_id) != [], what="the row")
    (row,) = ledger_rows(router, key_id)
    return row


def chat_answer() -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": WORDS}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 900, "total_tokens": 910}
    return json.dumps({"model": "gpt-4o-mini", "choices": [choice], "usage": usage}).encode()


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "content-length"])
def test_an_answer_that_breaks_off_costs_what_was_delivered(
    lab: Router, provider: ScriptedProvider, chunked: bool
) -> None:
    key_id, key = lab.create_key(name="broken", spend_limit_usd="1")
    whole = chat_answer()
    part = whole[: len(whole) * 9 // 10]

    def script(line: Line, heard: Heard) -> None:
        if chunked:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            line.send(head + b"%x\r\n" % len(part) + part + b"\r\n")
        else:
            line.send(reply(200, whole)[: len(reply(200, whole)) - len(whole) + len(part)])
        raise Ended

    provider.play(script)
    with dial(lab) as line:
        line.send(chat_request(key, "hello", max_tokens=1_000))
        status = line.answer().status
    assert status == 502 or chunked
    row = only_row(lab, key_id)
    assert (row["outcome"], row["flags"]) == ("upstream_truncated", ["estimated"])
    assert row["output_tokens"] == -(-len(part) // 3)


COMMAND_SECONDS = 60.0  # that a command may take which is run while a request is in flight


def post(router: Router, key: str, path: str, document: Json) -> Answer:
    body = json.dumps(document).encode()
    with dial(router) as line:
        line.sock.settimeout(COMMAND_SECONDS)
        line.send(request(b"POST " + path.encode(), bearer(key), b"Content-Length: %d" % len(body), body=body))
        return line.answer()


def flask(router: Router, *arguments: str) -> str:
    return router.run("-m", "flask", "--app", "wsgi", *arguments)


def error_of(answer: Answer) -> Json:
    error: Json = json.loads(answer.body)["error"]
    return error


MODEL = "claude-opus-4-8"  # 5 dollars a million of input, 6.25 written to a cache for five minutes, 25 of output
FIRST_TURN = {  # as large as the first request of an assistant that writes code, with its tools and instructions
    "model": MODEL,
    "max_tokens": 32_000,
    "system": [{"type": "text", "text": "word " * 16_000, "cache_control": {"type": "ephemeral"}}],
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "messages": [{"role": "user", "content": "hello; do not compact anything"}],
}


class ScriptedMessages:
    """Counts as it is told, and answers messages with a little."""

    def __init__(self, counted: int | None) -> None:
        self.counted = counted

    def __call__(self, line: Line, heard: Heard) -> None:
        if "count_tokens" not in heard.first:
            usage = {"input_tokens": 16_000, "output_tokens": 5}
            content = [{"type": "text", "text": "Hello."}]
            line.send(reply(200, json.dumps({"model": MODEL, "content": content, "usage": usage}).encode()))
        elif self.counted is None:
            line.upto(b"a byte that never comes")
        else:
            line.send(reply(200, b'{"input_tokens":%d}' % self.counted))


def heard_paths(provider: ScriptedProvider) -> list[str]:
    return [heard.first.split(" ")[1] for heard in provider.heard]


def test_a_first_turn_fits_a_key_of_five_dollars_and_nobody_is_asked(lab: Router, provider: ScriptedProvider) -> None:
    key_id, key = lab.create_key(name="code", spend_limit_usd="5")
    provider.play(ScriptedMessages(16_000))
    assert post(lab, key, "/v1/messages", FIRST_TURN).status == 200
    assert heard_paths(provider) == ["/v1/messages"]
    row = only_row(lab, key_id)
    # Every byte a token at the dearest price of input, and all of the output that was asked for.
    size = len(json.dumps(FIRST_TURN))
    assert row["bound_nanos"] == (size + 256) * 6_250 + 32_000 * 25_000


def test_what_fits_in_truth_is_admitted_after_one_question(lab: Router, provider: ScriptedProvider) -> None:
    key_id, key = lab.create_key(name="a dollar and twenty", spend_limit_usd="1.20")
    provider.play(ScriptedMessages(16_000))
    document = {**FIRST_TURN, "metadata": {"user_id": "of this test"}}
    assert post(lab, key, "/v1/messages", document).status == 200
    assert heard_paths(provider) == ["/v1/messages/count_tokens", "/v1/messages"]
    asked = json.loads(provider.heard[0].body)
    assert asked.keys() == {"model", "system", "messages", "context_management"}
    assert only_row(lab, key_id)["bound_nanos"] == (16_000 + 800 + 64) * 6_250 + 32_000 * 25_000
    provider.play(ScriptedMessages(16_000))
    assert post(lab, key, "/v1/messages", document).status == 200
    assert heard_paths(provider) == ["/v1/messages"]  # the answer of a moment ago still stands


def test_a_large_body_is_counted_whole(lab: Router, provider: ScriptedProvider) -> None:
    key_id, key = lab.create_key(name="a large file", spend_limit_usd="1.20")
    provider.play(ScriptedMessages(16_000))
    page = {"type": "text", "text": "é" * 1_000}
    document = {**FIRST_TURN, "messages": [{"role": "user", "content": [page] * 2_000}]}
    assert post(lab, key, "/v1/messages", document).status == 200
    assert heard_paths(provider) == ["/v1/messages/count_tokens", "/v1/messages"]
    asked, sent = (json.loads(heard.body) for heard in provider.heard)
    assert asked == {name: document[name] for name in ("model", "system", "messages", "context_management")}
    assert sent == document
    assert only_row(lab, key_id)["bound_nanos"] == (16_000 + 800 + 64) * 6_250 + 32_000 * 25_000


def test_what_does_not_fit_in_truth_is_refused_and_explained(lab: Router, provider: ScriptedProvider) -> None:
    _, key = lab.create_key(name="too little", spend_limit_usd="0.85")
    provider.play(ScriptedMessages(16_001))
    words = [{"role": "user", "content": "another question, so that it is counted anew"}]
    answer = post(lab, key, "/v1/messages", {**FIRST_TURN, "messages": words, "max_tokens": 30_000})
    assert heard_paths(provider) == ["/v1/messages/count_tokens"]
    error = error_of(answer)
    assert (answer.status, error["code"], error["spend_reset"]) == (403, "spend_exceeded", "never")
    assert error["bound"] == {
        "input": {"tokens": 16_865, "usd_per_million": "6.25", "usd": "0.10540625"},
        "output": {"tokens": 30_000, "usd_per_million": "25", "usd": "0.75"},
        "fees": {},
    }
    assert error["needed_usd"] == "0.85540625"
    assert error["affordable_max_tokens"] == (850_000_000 - 16_865 * 6_250) // 25_000
    assert "16,865 tokens of input at $6.25 a million, 30,000 tokens of output at $25 a million" in error["message"]
    assert f"with an output limit of {error['affordable_max_tokens']:,} tokens it fits" in error["message"]


def test_a_counter_that_does_not_answer_keeps_nobody_for_long(lab: Router, provider: ScriptedProvider) -> None:
    _, key = lab.create_key(name="no counter", spend_limit_usd="1.20")
    provider.play(ScriptedMessages(None))
    began = time.monotonic()
    answer = post(lab, key, "/v1/messages", {**FIRST_TURN, "messages": [{"role": "user", "content": "silence"}]})
    assert (answer.status, error_of(answer)["code"]) == (403, "spend_exceeded")
    assert 1.9 < time.monotonic() - began < 10


def test_nobody_is_asked_where_the_output_alone_does_not_fit(lab: Router, provider: ScriptedProvider) -> None:
    _, key = lab.create_key(name="next to nothing", spend_limit_usd="0.10")
    provider.play(ScriptedMessages(1))
    assert post(lab, key, "/v1/messages", FIRST_TURN).status == 403
    assert provider.heard == []


def test_a_class_without_a_price_is_refused_by_name_on_a_key_with_a_limit(
    lab: Router, provider: ScriptedProvider
) -> None:
    _, key = lab.create_key(name="sound", spend_limit_usd="100")
    provider.play(ScriptedMessages(1))
    spoken = {"model": "gpt-4o-audio-preview", "messages": [], "modalities": ["text", "audio"], "audio": {}}
    answer = post(lab, key, "/v1/chat/completions", spoken)
    error = error_of(answer)
    assert (answer.status, error["code"]) == (403, "model_not_priced")
    assert (error["unpriced"], error["model"]) == ("output_audio_tokens", "gpt-4o-audio-preview")
    assert "No price is known for output audio tokens of the model gpt-4o-audio-preview" in error["message"]
    painted = {"model": "gpt-5.3-codex", "input": "x", "tools": [{"type": "image_generation"}]}
    error = error_of(post(lab, key, "/openai/v1/responses", painted))
    assert error["code"] == "model_not_priced"
    assert "the tool image_generation" in error["message"]
    assert provider.heard == []


def test_a_price_of_ones_own_holds_for_the_next_request_and_is_verified(
    lab: Router, provider: ScriptedProvider
) -> None:
    key_id, key = lab.create_key(name="own prices", spend_limit_usd="10")
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
    choice = {"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}
    body = json.dumps({"model": "house-model-7b", "choices": [choice], "usage": usage}).encode()
    provider.play(lambda line, _: line.send(reply(200, body)))
    wanted = {"model": "house-model-7b", "messages": [], "max_tokens": 100}
    assert error_of(post(lab, key, "/openai/v1/chat/completions", wanted))["code"] == "model_not_priced"

    costs = []
    for given, written in (("3", "7"), ("0.5", "1.25")):
        flask(lab, "prices", "set", "openai", "house-model-7b", f"input_tokens={given}", f"output_tokens={written}")
        assert post(lab, key, "/openai/v1/chat/completions", wanted).status == 200
        costs.append(1_000 * int(float(given) * 1_000) + 100 * int(float(written) * 1_000))
    eventually(lambda: len(ledger_rows(lab, key_id)) == 2, what="the rows")
    rows = ledger_rows(lab, key_id)
    assert sorted(row["cost_nanos"] for row in rows) == sorted(costs)
    assert all(json.loads(row["price"])["override"].startswith("price_") for row in rows)
    assert json.loads(flask(lab, "prices", "list", "--json"))["data"][0]["rates"]["output_tokens"] == "1.25"
    report = json.loads(flask(lab, "ledger", "verify", "--json"))
    assert report["differences"] == []
    flask(lab, "prices", "unset", "openai", "house-model-7b")
    assert error_of(post(lab, key, "/openai/v1/chat/completions", wanted))["code"] == "model_not_priced"


def test_m19_what_is_in_flight_keeps_the_price_of_its_admission(lab: Router, provider: ScriptedProvider) -> None:
    key_id, key = lab.create_key(name="in flight", spend_limit_usd="10")
    usage = {"prompt_tokens": 100, "completion_tokens": 0, "total_tokens": 100}
    body = json.dumps({"model": "house-model-8b", "choices": [], "usage": usage}).encode()
    came, go = threading.Event(), threading.Event()

    def script(line: Line, heard: Heard) -> None:
        came.set()
        assert go.wait(COMMAND_SECONDS)
        line.send(reply(200, body))

    provider.play(script)
    flask(lab, "prices", "set", "openai", "house-model-8b", "input_tokens=2", "output_tokens=2")
    body_of_request = {"model": "house-model-8b", "messages": [], "max_tokens": 10}
    with ThreadPoolExecutor(1) as pool:
        answered = pool.submit(post, lab, key, "/openai/v1/chat/completions", body_of_request)
        assert came.wait(10)
        flask(lab, "prices", "set", "openai", "house-model-8b", "input_tokens=9", "output_tokens=9")
        go.set()
        assert answered.result(COMMAND_SECONDS).status == 200
    assert only_row(lab, key_id)["cost_nanos"] == 100 * 2_000
    # A price of nothing is a price: free of charge, and admitted.
    flask(lab, "prices", "set", "openai", "house-model-8b", "input_tokens=0", "output_tokens=0")
    assert post(lab, key, "/openai/v1/chat/completions", body_of_request).status == 200
    eventually(lambda: len(ledger_rows(lab, key_id)) == 2, what="the rows")
    rows = ledger_rows(lab, key_id)
    assert sorted((row["cost_nanos"], row["flags"]) for row in rows) == [(0, []), (200_000, [])]
