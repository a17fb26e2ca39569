"""Answers of more values than are parsed while others wait: what they cost is read at their end."""

import gzip
import json
from collections.abc import Callable
from time import process_time
from typing import Any

import orjson
import pytest
from dialect_kit import used
from meter_kit import RESPONSE_USAGE, USAGE, USAGE_CHUNK, chunk, meter, relay, sse
from translation_kit import way

from proxyd.translation import Translation
from proxyd.translation.answer import Unreadable, arguments_of
from proxyd.translation.chat_answer_reader import ChatStream
from proxyd.translation.messages_answer_reader import MessageStream
from proxyd.wire.sse import EventDecoder
from shared.catalog import Kind

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


def test_w7_what_inflates_to_many_events_is_passed_on_unread() -> None:
    watch = meter(encoding=b"gzip")
    packed = gzip.compress(sse(chunk("x")) + b"data:{}\n\n" * 1_000_000 + sse(USAGE_CHUNK, b"[DONE]"))
    assert seconds(lambda: relay(watch, packed[:-100])) < 0.3
    assert watch.feed(packed[-100:]) == packed[-100:]


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
