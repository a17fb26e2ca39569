"""What the tests of the dialects share: an endpoint that is there, and a usage that was told."""

import json
from typing import Any

from proxyd.providers import DIALECTS, Meter
from shared import catalog
from shared.catalog import PROVIDERS, Endpoint, Provider
from shared.pricing import Size, Usage

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


def find_endpoint(provider: Provider, method: str, path: str) -> tuple[Endpoint, str | None]:
    """The endpoint, and the model where the path names one."""
    found = catalog.find_endpoint(provider, method, path)
    assert found is not None
    return found


def used(watch: Meter) -> Usage:
    """What the provider told."""
    usage = watch.usage()
    assert usage is not None
    return usage


def size_of(kind: str, query: str = "", /, **fields: object) -> Size:
    """Of a request of this kind, with more fields than it needs."""
    slug, path = PATHS[kind]
    endpoint, model = find_endpoint(PROVIDERS[slug], "POST", path)
    return DIALECTS[endpoint.dialect].read(endpoint, json.dumps({**BODIES[kind], **fields}).encode(), model, query).size
