"""Whatever a provider reports, and however: no crash, no cost below nothing, and a price that computes it again."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from dialect_kit import find_endpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxyd.providers import DIALECTS
from shared.catalog import PROVIDERS
from shared.pricing import cost
from webapp.verification.arithmetic import expected_cost

AT = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
NAMES = st.sampled_from(
    [
        "prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens", "cached_tokens",
        "audio_tokens", "image_tokens", "prompt_tokens_details", "completion_tokens_details", "input_tokens_details",
        "cache_creation", "cache_creation_input_tokens", "cache_read_input_tokens", "ephemeral_1h_input_tokens",
        "iterations", "type", "model", "server_tool_use", "web_search_requests", "promptTokenCount", "totalTokenCount",
        "candidatesTokenCount", "promptTokensDetails", "promptTokenDetails", "modality", "tokenCount", "num_requests",
        "cached_tokens_details", "cached_image_tokens", "web_search", "image_gen", "strange_tokens", "strange", "text_tokens", "output_tokens_details", "reasoning_tokens",
    ]
)  # fmt: skip
WORDS = st.sampled_from(
    ["message", "compaction", "advisor_message", "fallback_message", "AUDIO", "TEXT", "SMELL", "claude-opus-5", "x", ""]
)
FIGURES = st.integers(0, 10**6) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | FIGURES | WORDS
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=12
)
USAGE = st.dictionaries(NAMES, ANYTHING, max_size=8)
GOOD = {
    "chat": {"prompt_tokens": 5, "completion_tokens": 7},
    "responses": {"input_tokens": 5, "output_tokens": 7},
    "messages": {"input_tokens": 5, "output_tokens": 7},
    "generate": {"promptTokenCount": 5, "candidatesTokenCount": 7},
    "images": {"input_tokens": 5, "output_tokens": 7},
}
PATHS = {
    "chat": ("openai", "/v1/chat/completions", {"model": "gpt-4o", "messages": []}),
    "responses": ("openai", "/v1/responses", {"model": "gpt-5", "input": "x"}),
    "messages": ("anthropic", "/v1/messages", {"model": "claude-opus-5", "max_tokens": 5, "messages": []}),
    "generate": ("gemini", "/v1beta/models/gemini-2.5-flash:generateContent", {"contents": []}),
    "images": ("openai", "/v1/images/generations", {"model": "gpt-image-1.5", "prompt": "x"}),
}


def answer(kind: str, usage: object, extra: object) -> dict[str, Any]:
    if kind == "chat":
        return {"model": "gpt-4o", "choices": [{"message": {"content": "Hi"}}, extra], "usage": usage}
    if kind == "responses":
        calls = [{"type": "web_search_call", "action": extra}, {"type": "image_generation_call", "svg_usage": extra}]
        return {"model": "gpt-5", "status": "completed", "output": [*calls, extra], "usage": usage, "tool_usage": extra}
    if kind == "messages":
        return {"model": "claude-opus-5", "content": [{"type": "text", "text": "Hi"}, extra], "usage": usage}
    if kind == "images":
        return {"data": [extra], "usage": usage, "svg_usage": extra}
    candidate = {"content": {"parts": [{"text": "Hi"}, extra]}, "finishReason": "STOP", "groundingMetadata": extra}
    return {"candidates": [candidate, extra], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}


@pytest.mark.parametrize("kind", PATHS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=USAGE, second=USAGE, extra=ANYTHING, good=st.booleans())
def test_it_works(kind: str, first: dict[str, Any], second: dict[str, Any], extra: object, good: bool) -> None:
    slug, path, request = PATHS[kind]
    endpoint, model = find_endpoint(PROVIDERS[slug], "POST", path)
    dialect = DIALECTS[endpoint.dialect]
    parsed = dialect.read(endpoint, json.dumps(request).encode(), model, "")
    watch = dialect.meter(endpoint, parsed, streaming=False, content_encoding=None)
    told = {**first, **(GOOD[kind] if good else {})}
    pieces = [answer(kind, told, extra), answer(kind, second, extra)]  # Gemini alone sends a stream as one list
    watch.feed(json.dumps(pieces if kind == "generate" else pieces[0]).encode())
    watch.end()
    for usage_of_answer in (watch.usage(), watch.delivered()):
        if usage_of_answer is None:
            continue
        got = cost(slug, parsed.model, usage_of_answer, at=AT)
        assert got.nanos >= 0
        assert set(got.flags) <= {
            "estimated", "unknown_class", "clamped", "inconsistent", "unpriced", "unpriced_tool", "unmetered",
            "served_model_unpriced",
        }  # fmt: skip
        if got.price is not None:
            price = json.loads(json.dumps(got.price.json))
            assert expected_cost(usage_of_answer.total(), price) == got.nanos
