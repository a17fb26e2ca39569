"""Answers of more values than are parsed while others wait: what they cost is read at their end."""

import gzip
import json
import time
from collections.abc import Callable
from time import process_time
from typing import Any

import gevent
import orjson
import pytest
from dialect_kit import BODIES, PATHS, find_endpoint, used
from meter_kit import RESPONSE_USAGE, USAGE, USAGE_CHUNK, chunk, meter, named, relay, sse
from translation_kit import way

from proxyd.providers import DIALECTS, Meter
from proxyd.translation import Translation
from proxyd.translation.answer import Unreadable, arguments_of
from proxyd.translation.chat_answer_reader import ChatStream
from proxyd.translation.messages_answer_reader import MessageStream
from proxyd.wire.sse import MAX_EVENT_BYTES, PIECE_BYTES, EventDecoder
from shared.catalog import PROVIDERS, Kind

DEEP = b"[" * 1000 + b"]" * 1000
NESTED = b"[" + b",".join([DEEP] * 2000) + b"]"  # 4 MB with 1,999 commas, which take half a second to be parsed
MANY = b"[" + b",".join([b"[]"] * 250_000) + b"]"
TO_CLAUDE = way(Kind.CHAT, "anthropic")
TO_GPT = way(Kind.MESSAGES, "openai")


def seconds(work: Callable[[], object]) -> float:
    """What it takes of this process."""
    began = process_time()
    work()
    return process_time() - began


def test_w6_a_small_answer_that_is_nested_deeply_is_read_at_its_end() -> None:
    body = b'{"model":"gpt-4o","x":%b,"usage":%b,"service_tier":"flex"}' % (NESTED, json.dumps(USAGE).encode())
    packed = gzip.compress(body)
    assert len(packed) < 50_000
    watch = meter(streaming=False, encoding=b"gzip")
    assert seconds(lambda: relay(watch, packed)) < 0.2
    usage = used(watch)
    assert (usage.counts["output_tokens"], usage.service_tier, usage.unknown, watch.complete) == (
        10,
        "flex",
        False,
        True,
    )
    watch = meter(streaming=False, encoding=b"gzip")
    relay(watch, gzip.compress(b'{"x":%b}' % NESTED))
    assert watch.usage() is None
    assert watch.delivered().counts["output_tokens"] > 100_000


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses"])
def test_w7_an_event_of_many_values_counts_as_text(path: str) -> None:
    fields: dict[str, Any] = (
        {"prompt": "x"} if path == "/v1/completions" else {"input": "x"} if path == "/v1/responses" else {}
    )
    watch = meter(path, **fields)
    assert seconds(lambda: relay(watch, b"data: " + NESTED + b"\n\n")) < 0.2
    assert (watch.usage(), watch.complete) == (None, False)
    assert watch.delivered().counts["output_tokens"] > 100_000


def test_the_last_event_of_a_response_is_read_at_its_end_if_it_has_many_values() -> None:
    usage = json.dumps(RESPONSE_USAGE).encode()
    last = b'{"type":"response.completed","response":{"output":%b,"service_tier":"priority","usage":%b,"user":null}}'
    watch = meter("/v1/responses", input="x")
    relay(watch, b"event: response.completed\ndata: " + last % (NESTED, usage) + b"\n\n")
    told = used(watch)
    assert (told.counts, told.service_tier, watch.complete, told.unknown) == (
        {"input_tokens": 7, "output_tokens": 3}, "priority", True, False,
    )  # fmt: skip


def meter_of(kind: str, coding: bytes | None) -> Meter:
    """Of a stream in one of the dialects."""
    slug, path = PATHS[kind]
    endpoint, model = find_endpoint(PROVIDERS[slug], "POST", path.replace(":generate", ":streamGenerate"))
    dialect, query = DIALECTS[endpoint.dialect], "alt=sse" if kind == "generate" else ""
    fields: dict[str, Any] = {} if kind == "generate" else {"stream": True}
    if kind == "chat":
        fields["stream_options"] = {"include_usage": True}
    parsed = dialect.read(endpoint, json.dumps({**BODIES[kind], **fields}).encode(), model, query)
    return dialect.meter(endpoint, parsed, streaming=True, content_encoding=coding)


def _answer_of(kind: str, text: str, words: int) -> tuple[bytes, int]:
    """A stream of so many pieces of text, and what its usage tells of the output."""
    if kind == "messages":
        delta = named("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
        start = named("message_start", message={"model": "claude-opus-4-8", "usage": {"input_tokens": 7}})
        end = named("message_delta", delta={}, usage={"output_tokens": words}) + named("message_stop")
    elif kind == "generate":
        start, delta = b"", sse({"candidates": [{"content": {"parts": [{"text": text}]}}]})
        usage = {"promptTokenCount": 7, "candidatesTokenCount": words, "totalTokenCount": words + 7}
        end = sse({"candidates": [{"finishReason": "STOP"}], "usageMetadata": usage})
    elif kind == "responses":
        start, delta = b"", named("response.output_text.delta", delta=text)
        told = {"input_tokens": 7, "output_tokens": words, "total_tokens": words + 7}
        end = named("response.completed", response={"status": "completed", "usage": told})
    else:
        start, delta = b"", sse(chunk(text))
        told = {"prompt_tokens": 7, "completion_tokens": words, "total_tokens": words + 7}
        end = sse({**USAGE_CHUNK, "usage": told}, b"[DONE]")
    return start + delta * words + end, words


@pytest.mark.parametrize("coding", [b"gzip", None], ids=["gzip", "plain"])
@pytest.mark.parametrize("kind", PATHS)
def test_w7_what_inflates_to_many_events_is_read_to_its_usage(kind: str, coding: bytes | None) -> None:
    stream, words = _answer_of(kind, " la", 30_000)
    data = stream if coding is None else gzip.compress(stream)
    watch = meter_of(kind, coding)
    assert relay(watch, data, None if coding else 65_536) == data
    told = used(watch)
    assert (told.counts["input_tokens"], told.counts["output_tokens"], told.unknown) == (7, words, False)
    assert watch.complete


@pytest.mark.parametrize("kind", PATHS)
def test_w7_what_inflates_to_many_events_and_breaks_off_is_charged_by_its_text(kind: str) -> None:
    stream, words = _answer_of(kind, " la", 30_000)
    watch = meter_of(kind, b"gzip")
    watch.feed(gzip.compress(stream)[:-9])
    assert watch.delivered().counts["output_tokens"] >= words


def test_w7_others_have_their_turn_between_many_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", gevent.sleep)  # as in a process that relays
    watch = meter(encoding=b"gzip")
    packed = gzip.compress(b"data:{}\n\n" * 100_000)
    turns: list[bytes] = []

    def others() -> None:
        while True:
            turns.append(b"")
            gevent.sleep(0)

    waiting = gevent.spawn(others)
    watch.feed(packed)
    waiting.kill()
    assert len(turns) >= 900_000 // PIECE_BYTES


@pytest.mark.parametrize("comment", [b"", b": x\n"], ids=["read", "unread"])
@pytest.mark.parametrize("kind", PATHS)
def test_w7_an_event_of_many_lines_costs_what_it_tells(kind: str, comment: bytes) -> None:
    """As plain text: of one whose lines begin alike all is read, else its end, and the rest counts as text."""
    told: dict[str, Any]
    if kind == "generate":
        usage = {"promptTokenCount": 7, "candidatesTokenCount": 900, "totalTokenCount": 907}
        told = {"candidates": [{"finishReason": "STOP"}], "x": [0] * 60_000, "usageMetadata": usage}
    elif kind == "chat":
        usage = {"prompt_tokens": 7, "completion_tokens": 900, "total_tokens": 907}
        told = {"choices": [], "x": [0] * 60_000, "usage": usage}
    elif kind == "messages":
        told = {"type": "message_delta", "x": [0] * 60_000, "usage": {"input_tokens": 7, "output_tokens": 900}}
    else:
        usage = {"input_tokens": 7, "output_tokens": 900, "total_tokens": 907}
        told = {"type": "response.completed", "response": {"x": [0] * 60_000, "usage": usage}}
    lines = json.dumps(told, indent=0).encode().split(b"\n")
    data = comment + b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"
    watch = meter_of(kind, None)
    assert seconds(lambda: relay(watch, data, 65_536)) < 0.3
    if comment:
        delivered = watch.delivered()
        assert delivered.counts["input_tokens"] == 7
        assert delivered.counts["output_tokens"] > len(data) // 10
    else:
        assert (used(watch).counts["input_tokens"], used(watch).counts["output_tokens"]) == (7, 900)


@pytest.mark.parametrize("kind", PATHS)
def test_an_event_that_is_too_large_counts_as_text_to_its_end(kind: str) -> None:
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 900} if kind == "generate" else USAGE
    field = b"usageMetadata" if kind == "generate" else b"usage"
    data = (
        b'data: {"x":"' + b"x" * (MAX_EVENT_BYTES + 3_000_000) + b'","%b":%b}\n\n' % (field, json.dumps(usage).encode())
    )
    watch = meter_of(kind, None)
    relay(watch, data, 1_000_000)
    assert watch.delivered().counts["output_tokens"] > MAX_EVENT_BYTES // 10


@pytest.mark.parametrize(
    ("translation", "body"),
    [
        (TO_GPT, b'{"choices":[{"message":{"content":"x"}}],"more":%b}' % (b"[" + b"0," * 60_000 + b"0]")),
        (
            TO_CLAUDE,
            b'{"content":[{"type":"text","text":"x"}],"more":{%b}}' % b",".join(b'"%d":1' % n for n in range(30_000)),
        ),
    ],
)
def test_w7_a_whole_answer_of_many_values_is_unreadable(translation: Translation, body: bytes) -> None:
    with pytest.raises(Unreadable, match="too many values"):
        translation.answer(body, 0)


def test_text_of_an_answer_is_no_structure() -> None:
    body = orjson.dumps({"choices": [{"message": {"content": "[{,:" * 200_000}, "finish_reason": "stop"}]})
    assert orjson.loads(TO_GPT.answer(body, 0))["content"][0]["text"] == "[{,:" * 200_000


@pytest.mark.parametrize("reader", [ChatStream, MessageStream])
@pytest.mark.parametrize("data", [MANY, b"data:\n" * 60_000], ids=["values", "lines"])
def test_w7_an_event_of_many_values_is_unreadable(reader: type[ChatStream | MessageStream], data: bytes) -> None:
    (event,) = EventDecoder().feed(b"data: " + data.removesuffix(b"\n") + b"\n\n")
    with pytest.raises(Unreadable, match="too"):
        list(reader().read(event))


def test_w7_arguments_of_many_values_are_unreadable() -> None:
    with pytest.raises(Unreadable, match="too many values"):
        arguments_of(f'{{"x":{MANY.decode()}}}')
