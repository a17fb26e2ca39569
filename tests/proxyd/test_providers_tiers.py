"""By which service tier and speed an answer is charged that does not tell them, or has not come to where it would."""

import json
from typing import Any

import pytest
from dialect_kit import find_endpoint

from proxyd.providers import DIALECTS, Meter
from shared.catalog import PROVIDERS
from shared.pricing import Usage

Json = dict[str, Any]

CHAT = {"model": "gpt-5", "choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}}
RESPONSE = {
    "model": "gpt-5",
    "output": [],
    "status": "completed",
    "usage": {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110},
}
MESSAGE: Json = {"model": "claude-opus-4-8", "content": [], "usage": {"input_tokens": 100, "output_tokens": 10}}
CHUNK = {"model": "gpt-5", "choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": None}]}
DELTA = {"type": "response.output_text.delta", "delta": "hello"}
BLOCK = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}}
STEP = {"event_type": "content.delta", "delta": {"type": "text", "text": "hello"}}


def meter(slug: str, path: str, body: Json, answer: Json | list[Json]) -> Meter:
    """Of a plain answer, or of the events of a stream that breaks off after them."""
    endpoint, model = find_endpoint(PROVIDERS[slug], "POST", path)
    dialect = DIALECTS[endpoint.dialect]
    streams = isinstance(answer, list)
    parsed = dialect.read(endpoint, json.dumps({**body, "stream": streams}).encode(), model, "")
    watch = dialect.meter(endpoint, parsed, streaming=streams, content_encoding=None)
    if isinstance(answer, list):
        for event in answer:
            watch.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    else:
        watch.feed(json.dumps(answer).encode())
    watch.end()
    return watch


def charged(slug: str, path: str, body: Json, answer: Json | list[Json]) -> Usage:
    watch = meter(slug, path, body, answer)
    return watch.usage() or watch.delivered()


CHATS = ("openai", "/v1/chat/completions", {"model": "gpt-5", "messages": []})
RESPONSES = ("openai", "/v1/responses", {"model": "gpt-5", "input": "hi"})
COMPACT = ("openai", "/v1/responses/compact", {"model": "gpt-5", "input": "hi"})
MESSAGES = ("anthropic", "/v1/messages", {"model": "claude-opus-4-8", "max_tokens": 100, "messages": []})


@pytest.mark.parametrize(
    ("call", "field", "answer"),
    [
        (CHATS, "service_tier", CHAT),
        (CHATS, "service_tier", [CHUNK]),
        (RESPONSES, "service_tier", RESPONSE),
        (RESPONSES, "service_tier", [DELTA]),
        (COMPACT, "service_tier", RESPONSE),
        (MESSAGES, "speed", MESSAGE),
        (MESSAGES, "speed", [{"type": "message_start", "message": MESSAGE}, BLOCK]),
    ],
)
def test_it_works(call: tuple[str, str, Json], field: str, answer: Json | list[Json]) -> None:
    """What was asked for and is dearer is what was paid for, unless the answer says otherwise."""
    slug, path, body = call
    dearer = "fast" if field == "speed" else "priority"
    assert getattr(charged(slug, path, {**body, field: dearer}, answer), field) == dearer
    assert getattr(charged(slug, path, body, answer), field) is None


@pytest.mark.parametrize(("call", "answer"), [(CHATS, CHAT), (RESPONSES, RESPONSE), (COMPACT, RESPONSE)])
def test_a_tier_that_the_answer_tells_is_the_one(call: tuple[str, str, Json], answer: Json) -> None:
    slug, path, body = call
    told = {**answer, "service_tier": "default"}
    assert charged(slug, path, {**body, "service_tier": "priority"}, told).service_tier == "default"


def test_a_speed_that_the_answer_tells_is_the_one() -> None:
    slug, path, body = MESSAGES
    told = {**MESSAGE, "usage": {**MESSAGE["usage"], "speed": "standard"}}
    assert charged(slug, path, {**body, "speed": "fast"}, told).speed == "standard"


@pytest.mark.parametrize("tier", ["flex", "auto", "of_the_future"])
def test_a_tier_that_is_cheaper_or_unknown_has_to_be_told(tier: str) -> None:
    slug, path, body = RESPONSES
    assert charged(slug, path, {**body, "service_tier": tier}, [DELTA]).service_tier is None


def test_an_interaction_that_breaks_off() -> None:
    body: Json = {"model": "gemini-2.5-flash", "input": "hi", "service_tier": "priority"}
    assert charged("gemini", "/v1beta/interactions", body, [STEP]).service_tier == "priority"
