"""Meters of OpenAI's answers, and what they are fed."""

import json

from dialect_kit import find_endpoint

from proxyd.providers import DIALECTS, Meter
from shared.catalog import PROVIDERS

OPENAI = DIALECTS["openai"]
USAGE = {
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
}
RESPONSE_USAGE = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}


def meter(
    path: str = "/v1/chat/completions",
    *,
    provider: str = "openai",
    streaming: bool = True,
    encoding: bytes | None = None,
    **fields: object,
) -> Meter:
    found = find_endpoint(PROVIDERS[provider], "POST", path)[0]
    body = json.dumps({"model": "gpt-4o", "messages": [], "stream": streaming, **fields}).encode()
    return OPENAI.meter(found, OPENAI.read(found, body, None, ""), streaming=streaming, content_encoding=encoding)


def sse(*chunks: object) -> bytes:
    return b"".join(b"data: " + (c if isinstance(c, bytes) else json.dumps(c).encode()) + b"\n\n" for c in chunks)


def named(name: str, **fields: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


def chunk(text: str | None = None, finish: str | None = None, **fields: object) -> dict[str, object]:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "model": "gpt-4o-2024-08-06", "choices": [choice], "usage": None, **fields}


USAGE_CHUNK = {"id": "c", "model": "gpt-4o-2024-08-06", "service_tier": "default", "choices": [], "usage": USAGE}
STREAM = [chunk("Hel"), chunk("lo"), chunk(finish="stop")]


def relay(watch: Meter, data: bytes, size: int | None = None) -> bytes:
    size = size or len(data) or 1
    shown = b"".join(watch.feed(data[at : at + size]) for at in range(0, len(data), size))
    return shown + watch.end()
