"""Requests for sound and pictures, understood, and the meters of their answers."""

import json
from typing import Any

from dialect_kit import find_endpoint
from form_kit import BOUNDARY, form

from proxyd.providers import DIALECTS, Meter, Parsed, read_form
from proxyd.wire.form import FormReader
from shared.catalog import PROVIDERS, Endpoint
from shared.pricing import Bound, Unbounded, explain

Request = dict[str, Any] | list[tuple[str, str | bytes]]
AT = 1_795_600_000.0  # in November 2026


def endpoint_of(path: str) -> Endpoint:
    return find_endpoint(PROVIDERS["openai"], "POST", path)[0]


def understood(path: str, request: Request) -> Parsed:
    """A request as the gateway reads it: an object is sent as JSON, a list as a form."""
    endpoint = endpoint_of(path)
    if isinstance(request, dict):
        return DIALECTS["openai"].read(endpoint, json.dumps(request).encode(), None, "")
    body = form(request)
    reader = FormReader(BOUNDARY)
    reader.feed(body)
    reader.end()
    return read_form(endpoint, reader.parts, body)


def watching(path: str, parsed: Parsed, *, streaming: bool = False) -> Meter:
    return DIALECTS["openai"].meter(endpoint_of(path), parsed, streaming=streaming, content_encoding=None)


def bound_of(path: str, request: Request) -> Bound:
    parsed = understood(path, request)
    found = explain("openai", parsed.model or "", parsed.size, at=AT, remaining_nanos=10**9)
    assert isinstance(found, Bound), found
    return found


def unbounded(path: str, request: Request) -> str | None:
    parsed = understood(path, request)
    found = explain("openai", parsed.model or "", parsed.size, at=AT, remaining_nanos=10**9)
    assert isinstance(found, Unbounded), found
    return found.what


def events(*told: dict[str, Any]) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (each["type"].encode(), json.dumps(each).encode()) for each in told)
