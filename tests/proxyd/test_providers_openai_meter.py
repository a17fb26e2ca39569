import gzip
import json

import pytest
from dialect_kit import used
from meter_kit import RESPONSE_USAGE, STREAM, USAGE, USAGE_CHUNK, chunk, meter, named, relay, sse


def test_it_works() -> None:
    watch = meter()
    shown = relay(watch, sse(*STREAM, USAGE_CHUNK, b"[DONE]"))
    assert shown == sse(*STREAM, b"[DONE]")
    usage = used(watch)
    assert (usage.counts["input_tokens"], usage.counts["output_tokens"], usage.counts["cache_read_tokens"]) == (
        19,
        10,
        4,
    )
    assert (usage.model, usage.service_tier, usage.estimated) == ("gpt-4o-2024-08-06", "default", False)
    assert (watch.complete, watch.failed, watch.served_model) == (True, False, "gpt-4o-2024-08-06")


def test_a_client_that_asked_sees_the_usage() -> None:
    data = sse(*STREAM, USAGE_CHUNK, b"[DONE]")
    watch = meter(stream_options={"include_usage": True})
    assert relay(watch, data) == data
    assert used(watch).counts["output_tokens"] == 10


@pytest.mark.parametrize("size", [*range(1, 12), 50, 10_000])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_every_split_is_relayed_and_metered_alike(size: int, ends: bytes) -> None:
    before = (b": PROCESSING\n\n" + sse(*STREAM)).replace(b"\n", ends)
    hidden = sse(USAGE_CHUNK).replace(b"\n", ends)
    after = sse(b"[DONE]").replace(b"\n", ends)
    watch = meter()
    assert relay(watch, before + hidden + after, size) == before + after
    assert used(watch).counts["input_tokens"] == 19


def test_usage_in_a_chunk_with_content_is_shown() -> None:
    data = sse(chunk("Hi", "stop", usage=USAGE), b"[DONE]")
    watch = meter()
    assert relay(watch, data) == data
    assert used(watch).counts["output_tokens"] == 10


def test_an_empty_chunk_without_usage_is_shown() -> None:
    data = sse({"choices": [], "prompt_filter_results": []}, *STREAM, b"[DONE]")
    assert relay(meter(), data) == data


def test_what_is_incomplete_is_held_until_it_is_complete() -> None:
    watch = meter()
    event = sse(STREAM[0])
    assert watch.feed(event[:-1]) == b""
    assert watch.feed(event[-1:]) == event
    assert watch.feed(b"data: [DONE]") == b""
    assert watch.end() == b"data: [DONE]"
    assert watch.complete


def test_a_stream_without_usage_is_estimated() -> None:
    watch = meter(messages=[{"role": "user", "content": "x" * 3000}])
    relay(watch, sse(*[chunk("word ") for _ in range(40)]))
    assert watch.usage() is None
    usage = watch.delivered()
    assert usage.estimated
    assert usage.counts["output_tokens"] >= 40 * 5 / 3
    assert usage.counts["input_tokens"] >= 1000
    assert not watch.complete


def test_each_event_with_content_is_at_least_a_token() -> None:
    watch = meter()
    relay(watch, sse(*[chunk("a") for _ in range(9)]))
    assert watch.delivered().counts["output_tokens"] == 9
    call = {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":"Par'}}]}}
    watch = meter()
    relay(watch, sse({"choices": [call]}))
    assert watch.delivered().counts["output_tokens"] >= 4


def test_preliminary_usage_is_not_final() -> None:
    watch = meter(provider="gemini", path="/v1beta/openai/chat/completions")
    relay(watch, sse(chunk("Hello", usage={"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6})))
    assert watch.usage() is None
    assert watch.delivered().counts["input_tokens"] == 5


def test_thoughts_missing_from_geminis_completion_tokens_are_counted() -> None:
    watch = meter(provider="gemini", path="/v1beta/openai/chat/completions", streaming=False)
    relay(
        watch,
        json.dumps(
            {
                "model": "gemini-2.5-flash",
                "choices": [],
                "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 106},
            }
        ).encode(),
    )
    assert used(watch).counts["output_tokens"] == 101


def test_an_error_inside_the_stream_is_seen() -> None:
    watch = meter()
    data = sse(STREAM[0], {"error": {"message": "overloaded"}})
    assert relay(watch, data) == data
    assert (watch.failed, watch.wrote, watch.usage()) == (True, True, None)
    assert watch.delivered().counts["output_tokens"] == 1
    silent = meter()
    relay(silent, sse({"error": {"message": "overloaded"}}))
    assert (silent.failed, silent.wrote, silent.usage()) == (True, False, None)


@pytest.mark.parametrize(
    "junk", [b"{", b"[]", b"5", b'{"choices":5}', b'{"choices":[5]}', b'{"choices":[{"delta":[]}]}', b'{"usage":5}']
)
def test_junk_in_a_stream_is_relayed(junk: bytes) -> None:
    data = sse(junk, *STREAM, b"[DONE]")
    watch = meter()
    assert relay(watch, data) == data
    assert watch.delivered().counts["output_tokens"] >= 2


def test_a_plain_answer_is_metered() -> None:
    document = {
        "model": "gpt-4o",
        "choices": [{"message": {"content": "Hello"}}],
        "usage": USAGE,
        "service_tier": "priority",
    }
    data = json.dumps(document, indent=1).encode()
    watch = meter(streaming=False)
    assert relay(watch, data, 7) == data
    assert (watch.complete, used(watch).counts["input_tokens"], used(watch).service_tier) == (True, 19, "priority")


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "x",
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": "1"},
        {"prompt_tokens": 1e30, "completion_tokens": 1},
    ],
)
def test_a_plain_answer_without_readable_usage_is_estimated(usage: object) -> None:
    data = json.dumps(
        {"model": "gpt-4o", "choices": [{"message": {"content": "Hello world"}}], "usage": usage}
    ).encode()
    watch = meter(streaming=False)
    relay(watch, data)
    assert watch.usage() is None
    assert watch.delivered().counts["output_tokens"] >= 4
    assert watch.delivered().unknown == (isinstance(usage, dict) and bool(usage))


@pytest.mark.parametrize("data", [b"", b"<html>", b"{", b'"x"', b"[1]"])
def test_a_plain_answer_of_another_shape_never_crashes(data: bytes) -> None:
    watch = meter(streaming=False)
    assert relay(watch, data) == data
    assert watch.usage() is None
    assert watch.delivered().estimated


def test_compressed_answers_are_metered_and_relayed_as_they_are() -> None:
    plain = sse(*STREAM, USAGE_CHUNK, b"[DONE]")
    packed = gzip.compress(plain)
    watch = meter(encoding=b"gzip")
    assert relay(watch, packed, 10) == packed
    assert used(watch).counts["input_tokens"] == 19


@pytest.mark.parametrize("coding", [b"compress", b"gzip", b"zstd", b"br", b"gzip, br"])
def test_what_cannot_be_decoded_counts_as_text(coding: bytes) -> None:
    """A coding that nobody here knows, or bytes that are not of it."""
    watch = meter(streaming=False, encoding=coding)
    assert relay(watch, b"\x11" * 300) == b"\x11" * 300
    assert watch.usage() is None
    assert watch.delivered().counts["output_tokens"] == 100
    assert watch.delivered().unknown


def test_the_last_event_of_a_response_carries_its_usage() -> None:
    response = {
        "model": "gpt-5-2025-08-07", "service_tier": "default", "usage": RESPONSE_USAGE, "error": None,
        "output": [{"type": "web_search_call"}, {"type": "web_search_call"}, {"type": "message", "content": []}],
    }  # fmt: skip
    events: list[tuple[str, dict[str, object]]] = [
        ("response.created", {"response": {"model": "gpt-5", "usage": None}}),
        ("response.output_text.delta", {"delta": "Hello"}),
        ("response.output_text.done", {"text": "Hello"}),
        ("response.completed", {"response": response}),
    ]
    data = b"".join(named(name, **fields) for name, fields in events)
    watch = meter("/v1/responses", input="x")
    assert relay(watch, data, 11) == data
    usage = used(watch)
    assert usage.counts["input_tokens"] == 7
    assert usage.counts["web_searches"] == 2
    assert (watch.complete, usage.model) == (True, "gpt-5-2025-08-07")


@pytest.mark.parametrize(("kind", "failed"), [("response.incomplete", False), ("response.failed", True)])
def test_a_response_may_end_otherwise(kind: str, failed: bool) -> None:
    event = {"type": kind, "response": {"model": "gpt-5", "usage": RESPONSE_USAGE}}
    watch = meter("/v1/responses", input="x")
    relay(watch, f"event: {kind}\ndata: {json.dumps(event)}\n\n".encode())
    assert (watch.complete, watch.failed, used(watch).counts["output_tokens"]) == (True, failed, 3)


def test_a_response_that_breaks_off_is_estimated() -> None:
    watch = meter("/v1/responses", input="x")
    relay(
        watch, b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"Hello you"}\n\n'
    )
    assert (watch.usage(), watch.complete, watch.delivered().counts["output_tokens"]) == (None, False, 3)
    relay(watch, b'event: error\ndata: {"type":"error","message":"x"}\n\n')
    assert (watch.failed, watch.wrote) == (True, True)


def test_embeddings_are_metered_however_large() -> None:
    head = b'{"object":"list","data":[{"embedding":[' + b",".join([b"0.123456789"] * 10) + b"]}],"
    tail = b'"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}'
    watch = meter("/v1/embeddings", streaming=False, input="x")
    relay(watch, head + tail, 33)
    assert used(watch).counts == {"input_tokens": 8}
    watch = meter("/v1/embeddings", streaming=False, input="x")
    watch.feed(b'{"data":[')
    for _ in range(34):
        watch.feed(b"0.123456789," * 87_382)
    watch.feed(b"0],")
    assert watch.feed(tail) == tail
    watch.end()
    assert (used(watch).counts, watch.complete) == ({"input_tokens": 8}, True)


def test_embeddings_without_usage_are_estimated_from_the_request() -> None:
    watch = meter("/v1/embeddings", streaming=False, input="x" * 300)
    relay(watch, b'{"data":[]}')
    assert watch.usage() is None
    assert watch.delivered().counts["input_tokens"] >= 100
    assert "output_tokens" not in watch.delivered().counts
