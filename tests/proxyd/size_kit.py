"""How large requests are of which the least is known, and of what stands in them besides."""

import json
from typing import Any

from dialect_kit import find_endpoint

from proxyd.providers import DIALECTS
from shared.catalog import PROVIDERS
from shared.pricing import Size

PATHS = {
    "chat": ("openai", "/v1/chat/completions"),
    "responses": ("openai", "/v1/responses"),
    "messages": ("anthropic", "/v1/messages"),
    "generate": ("gemini", "/v1beta/models/gemini-2.5-flash:generateContent"),
}
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"model": "gpt-4o", "messages": []},
    "responses": {"model": "gpt-5", "input": "x"},
    "messages": {"model": "claude-opus-4-8", "max_tokens": 100, "messages": []},
    "generate": {"contents": []},
}


def size_of(kind: str, query: str = "", **fields: Any) -> Size:
    slug, path = PATHS[kind]
    endpoint, model = find_endpoint(PROVIDERS[slug], "POST", path)
    return DIALECTS[endpoint.dialect].read(endpoint, json.dumps({**BODIES[kind], **fields}).encode(), model, query).size
