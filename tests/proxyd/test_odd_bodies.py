"""Whatever stands at any place of a body: it is read, or refused, and never a fault of ours."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from proxyd.providers import DIALECTS, BadBody
from shared.catalog import PROVIDERS, Endpoint, Kind

Place = tuple[str | int, ...]
ODD: list[object] = [[], {}, None, 1.5, True, "x", [[]], {"a": []}, 10**30, -1]
BODIES: dict[Kind, dict[str, Any]] = {
    Kind.CHAT: {
        "model": "gpt-4o", "max_tokens": 5, "n": 1, "stream": True, "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:x"}}, {"type": "file", "file": {"file_id": "f"}},
            {"type": "input_audio", "input_audio": {"data": "eA==", "format": "wav"}},
        ]}],
        "tools": [{"type": "function", "function": {"name": "f"}}], "web_search_options": {}, "service_tier": "auto",
        "prediction": {"type": "content", "content": "x"},
    },
    Kind.RESPONSES: {
        "model": "gpt-5", "max_output_tokens": 5, "max_tool_calls": 3, "background": False, "prompt": {"id": "p"},
        "input": [{"type": "message", "role": "user", "content": [
            {"type": "input_image", "image_url": "u"}, {"type": "input_file", "file_id": "f"},
        ]}],
        "tools": [
            {"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}},
            {"type": "image_generation", "model": "gpt-image-1", "size": "1024x1024"},
        ],
        "tool_choice": {"type": "web_search"}, "context_management": [{"type": "compaction"}],
    },
    Kind.MESSAGES: {
        "model": "claude-haiku-4-5", "max_tokens": 5, "system": [{"type": "text", "text": "x"}],
        "messages": [{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "data": "eA=="}},
            {"type": "document", "source": {"type": "url", "url": "u"}},
            {"type": "tool_result", "content": [{"type": "text", "text": "x"}]},
        ]}],
        "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}, "speed": "fast",
    },
    Kind.GENERATE: {
        "contents": [{"role": "user", "parts": [
            {"inlineData": {"mimeType": "image/png", "data": "eA=="}}, {"fileData": {"fileUri": "x"}},
        ]}],
        "tools": [{"googleSearch": {}}, {"functionDeclarations": [{"name": "f"}]}], "cachedContent": "c",
        "generationConfig": {"maxOutputTokens": 5, "candidateCount": 1, "responseModalities": ["TEXT"]},
    },
    Kind.COMPLETIONS: {"model": "gpt-3.5-turbo-instruct", "prompt": ["x", [1, 2]], "max_tokens": 5, "best_of": 2, "n": 1},
    Kind.COMPACT: {"model": "gpt-5", "input": [{"type": "message", "role": "user", "content": "x"}], "service_tier": "auto"},
    Kind.EMBEDDINGS: {"model": "text-embedding-3-small", "input": ["x", [1, 2]], "dimensions": 5},
    Kind.SPEECH: {"model": "gpt-4o-mini-tts", "input": "x", "voice": {"id": "v"}, "instructions": "x", "stream_format": "sse"},
    Kind.IMAGES: {
        "model": "gpt-image-1", "prompt": "x", "n": 2, "size": "1024x1024", "quality": "low", "stream": True,
        "partial_images": 1, "images": [{"image_url": "u"}],
    },
    Kind.EMBED: {"content": {"parts": [{"text": "x"}]}, "requests": [{"model": "m", "content": {"parts": [{"text": "x"}]}}]},
    Kind.PREDICT: {"instances": [{"prompt": "x"}], "parameters": {"sampleCount": 2}},
    Kind.PREDICT_FILM: {"instances": [{"prompt": "x"}], "parameters": {"durationSeconds": 4, "resolution": "720p"}},
    Kind.INTERACT: {
        "model": "gemini-2.5-flash", "stream": True, "background": True, "input": [{"type": "text", "text": "x"}],
        "tools": [{"type": "google_search"}], "generation_config": {"max_output_tokens": 5}, "agent": "a",
    },
}  # fmt: skip
IN_PATH = {Kind.GENERATE: "gemini-2.5-flash", Kind.EMBED: "gemini-embedding-001", Kind.PREDICT: "imagen-4.0-generate-001",
           Kind.PREDICT_FILM: "veo-3.1-generate-preview"}  # fmt: skip
ENDPOINTS = [
    one for provider in PROVIDERS.values() for one in provider.endpoints if one.kind in BODIES and not one.form
]


def places(value: object, above: Place = ()) -> Iterator[Place]:
    yield above
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in inside:
        yield from places(inner, (*above, name))


def with_odd(body: dict[str, Any], place: Place, odd: object) -> bytes:
    changed: Any = {"it": json.loads(json.dumps(body))}
    holder: Any = changed
    for name in ("it", *place)[:-1]:
        holder = holder[name]
    holder[("it", *place)[-1]] = odd
    return json.dumps(changed["it"]).encode()


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=[f"{one.dialect} {one.method} {one.path}" for one in ENDPOINTS])
def test_nothing_odd_is_a_fault_of_ours(endpoint: Endpoint) -> None:
    body = BODIES[endpoint.kind]
    read = refused = 0
    for place in places(body):
        for odd in ODD:
            try:
                DIALECTS[endpoint.dialect].read(endpoint, with_odd(body, place, odd), IN_PATH.get(endpoint.kind), "")
                read += 1
            except BadBody:
                refused += 1
    assert min(read, refused) > 0
