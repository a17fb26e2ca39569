"""A provider that tells no tokens for what it read or wrote is not believed: that is estimated, and flagged."""

import json
from typing import Any

import pytest
from dialect_kit import find_endpoint

from proxyd.providers import DIALECTS, Meter
from shared import pricing
from shared.catalog import PROVIDERS

TEXT = "hello world " * 200
INPUT_TOKENS = len(TEXT) // 3  # at least, by the bytes of the text alone
NOTHING = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
NOON = 1_779_969_600.0  # Unix seconds
Json = dict[str, Any]


def meter(slug: str, path: str, body: Json, answer: Json | list[Json]) -> Meter:
    """Of a plain answer, or of a stream of chunks."""
    endpoint, model = find_endpoint(PROVIDERS[slug], "POST", path)
    dialect = DIALECTS[endpoint.dialect]
    parsed = dialect.read(endpoint, json.dumps(body).encode(), model, "")
    watch = dialect.meter(endpoint, parsed, streaming=isinstance(answer, list), content_encoding=None)
    if isinstance(answer, list):
        for chunk in answer:
            watch.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    else:
        watch.feed(json.dumps(answer).encode())
    watch.end()
    return watch


def charged(slug: str, watch: Meter, model: str) -> pricing.Cost:
    usage = watch.usage() or watch.delivered()
    return pricing.cost(slug, model, usage, at=NOON)


def response(item: Json, usage: Json | None = None) -> Meter:
    answer = {"id": "r", "model": "gpt-5", "status": "completed", "output": [item], "usage": usage or NOTHING}
    return meter("openai", "/v1/responses", {"model": "gpt-5", "input": TEXT}, answer)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "function_call", "arguments": TEXT},
        {"type": "custom_tool_call", "input": TEXT, "name": "x"},
        {"type": "apply_patch_call", "operation": {"type": "update_file", "diff": TEXT}},
        {"type": "shell_call", "action": {"commands": [TEXT]}},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": TEXT}]},
        {"type": "mcp_call", "arguments": TEXT, "output": "done"},
        {"type": "of_the_future", "written": TEXT},
    ],
)
def test_it_works(item: Json) -> None:
    watch = response(item)
    assert watch.usage() is None
    found = watch.delivered()
    assert found.estimated
    assert found.counts["input_tokens"] >= INPUT_TOKENS
    assert found.counts["output_tokens"] >= INPUT_TOKENS
    cost = charged("openai", watch, "gpt-5")
    assert (cost.nanos > 0, "estimated" in cost.flags) == (True, True)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [], "phase": "final"},
        {"type": "function_call_output", "call_id": "c", "output": TEXT},
        {"type": "mcp_list_tools", "tools": [{"name": TEXT}]},
        {"type": "image_generation_call", "id": "i", "status": "failed", "result": TEXT},
    ],
)
def test_what_the_model_did_not_write_is_no_output(item: Json) -> None:
    usage = response(item, {"input_tokens": 700, "output_tokens": 0, "total_tokens": 700}).usage()
    assert usage is not None
    assert (usage.counts["input_tokens"], usage.estimated) == (700, False)


UNREAD: list[tuple[str, str, str, Json, Json]] = [
    ("openai", "/v1/embeddings", "text-embedding-3-small", {"input": TEXT},
     {"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 0, "total_tokens": 0}}),
    ("gemini", "/v1beta/models/gemini-embedding-001:embedContent", "gemini-embedding-001", {"content": {"parts": [{"text": TEXT}]}},
     {"embedding": {"values": [0.1]}, "usageMetadata": {"promptTokenCount": 0}}),
    ("openai", "/v1/chat/completions", "gpt-4o", {"messages": [{"role": "user", "content": TEXT}]},
     {"choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}],
      "usage": {"prompt_tokens": 0, "completion_tokens": 4_000, "total_tokens": 4_000}}),
    ("anthropic", "/v1/messages", "claude-opus-4-8", {"max_tokens": 100, "messages": [{"role": "user", "content": TEXT}]},
     {"content": [{"type": "text", "text": TEXT}], "usage": {"input_tokens": 0, "output_tokens": 4_000}}),
    ("gemini", "/v1beta/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash", {"contents": [{"parts": [{"text": TEXT}]}]},
     {"candidates": [{"finishReason": "STOP", "content": {"parts": [{"text": TEXT}]}}],
      "usageMetadata": {"promptTokenCount": 0, "candidatesTokenCount": 4_000, "totalTokenCount": 4_000}}),
]  # fmt: skip


@pytest.mark.parametrize(("slug", "path", "model", "body", "answer"), UNREAD)
def test_a_text_that_was_answered_was_read(slug: str, path: str, model: str, body: Json, answer: Json) -> None:
    """What was told of the output stays, though it is more than its text would be estimated at."""
    watch = meter(slug, path, {"model": model, **body}, {"model": model, **answer})
    assert watch.usage() is None
    found = watch.delivered()
    assert found.counts["input_tokens"] >= INPUT_TOKENS
    assert found.counts.get("output_tokens", 4_000) == 4_000
    cost = charged(slug, watch, model)
    assert (cost.nanos > 0, "estimated" in cost.flags) == (True, True)


def test_of_a_stream_as_well() -> None:
    chunks: list[Json] = [
        {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 400, "total_tokens": 400}},
    ]
    body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": TEXT}]}
    watch = meter("openai", "/v1/chat/completions", body, chunks)
    assert watch.usage() is None
    assert watch.delivered().counts["output_tokens"] == 400


def test_what_was_read_from_a_cache_was_read() -> None:
    answer = {
        "model": "claude-opus-4-8",
        "content": [{"type": "text", "text": "hi"}],
        "usage": {"input_tokens": 0, "cache_read_input_tokens": 900, "output_tokens": 4},
    }
    body = {"model": "claude-opus-4-8", "max_tokens": 100, "messages": [{"role": "user", "content": TEXT}]}
    usage = meter("anthropic", "/v1/messages", body, answer).usage()
    assert usage is not None
    assert (usage.counts["cache_read_tokens"], usage.estimated) == (900, False)


def test_an_answer_of_nothing_costs_nothing() -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": TEXT}]}
    answer = {
        "choices": [{"message": {"content": ""}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }
    assert charged("openai", meter("openai", "/v1/chat/completions", body, answer), "gpt-4o").nanos == 0


def test_pictures_for_which_nothing_was_told_are_charged_as_they_came() -> None:
    body = {"model": "gpt-image-1", "prompt": TEXT, "quality": "low", "size": "1024x1024"}
    watch = meter("openai", "/v1/images/generations", body, {"data": [{"b64_json": "QUJD"}], "usage": NOTHING})
    assert watch.usage() is None
    assert charged("openai", watch, "gpt-image-1").nanos > 0


def test_speech_for_which_nothing_was_told_is_charged_by_its_bound() -> None:
    body = {"model": "gpt-4o-mini-tts", "input": TEXT, "voice": "alloy", "stream_format": "sse"}
    watch = meter("openai", "/v1/audio/speech", body, [{"type": "speech.audio.done", "usage": NOTHING}])
    assert watch.usage() is None
    cost = charged("openai", watch, "gpt-4o-mini-tts")
    assert (cost.nanos > 0, "estimated" in cost.flags) == (True, True)
