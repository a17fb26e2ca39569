"""What is kept of a large body once it was parsed: what may be changed, where it stands, and what metering asks for.

A parsed body takes up to a hundred times the memory of its bytes, so nothing else of it stays.
"""

import json
from collections.abc import Container, Mapping
from typing import Any

import orjson
from msgspec.structs import replace

from proxyd.providers.base import BadBody, Parsed, Pieces
from proxyd.providers.body import COLON, MAX_LABEL_LENGTH, member_span, put, quoted_name, tool_kinds
from proxyd.providers.kept_names import names_kept
from proxyd.providers.openai_compatible import KINDS, elsewhere_of

MAX_KEPT_BYTES = 256 * 1024  # of a field that may have to be changed, and of what is kept of the tools

# The fields at the top that `rewrite` looks at or changes, of all dialects.
_REWRITTEN = frozenset(
    {
        "model",
        "stream_options",
        "max_completion_tokens",
        "max_tokens",
        "max_output_tokens",
        "generationConfig",
        "generation_config",
    }
)
_DECODER = json.JSONDecoder()


def for_rewriting(parsed: Parsed) -> Parsed:
    """What `edited`, the dialects and their meters need of a large body, without the rest of it. Raises BadBody."""
    document = {name: value for name, value in parsed.document.items() if name in _REWRITTEN}
    spans: dict[str, tuple[int, int]] = {}
    for name in document:
        spans[name] = start, end = _only_span(parsed.raw, name) or member_span(parsed.raw, name)
        if end - start > MAX_KEPT_BYTES:
            raise BadBody(f"{name} is larger than {MAX_KEPT_BYTES} bytes.", name)
    metered = for_metering(parsed.document)
    if len(orjson.dumps((metered, parsed.brought))) > MAX_KEPT_BYTES:
        raise BadBody(f"tools has kinds of more than {MAX_KEPT_BYTES} bytes.", "tools")
    kept = names_kept(parsed)
    elsewhere = elsewhere_of(parsed.kind, parsed.document, parsed.size) if parsed.kind in KINDS else None
    document.update(metered)
    return replace(parsed, document=document, spans=spans, raw=b"", names_kept=kept, elsewhere=elsewhere)


def for_metering(document: Mapping[str, Any]) -> dict[str, Any]:
    """What meters look at in a request: if it is in the background, stored or searches, how it speaks, its tools."""
    kept: dict[str, Any] = {}
    if document.get("background") is True:
        kept["background"] = True
    if isinstance(document.get("prompt"), dict):
        kept["prompt"] = {}  # of a response; that of a completion is its text
    if document.get("web_search_options") is not None:
        kept["web_search_options"] = {}
    audio = document.get("audio")
    if isinstance(audio, dict) and isinstance(audio.get("format"), str):
        kept["audio"] = {"format": audio["format"][:MAX_LABEL_LENGTH]}
    tools = document.get("tools")
    if isinstance(tools, dict):
        tools = [tools]  # Gemini lets one stand for a list of them
    if isinstance(tools, list):
        kept["tools"] = list(tool_kinds(tools))
    return kept


def edited(parsed: Parsed, changes: Mapping[str, object]) -> bytes:
    """The body with these members set, all other bytes as they were."""
    body, document, spans = parsed.raw, parsed.document, parsed.spans
    if spans is None:
        for name, value in changes.items():
            body = put(body, document, name, value)
        return body
    # A large body is copied once, and not searched: where its members stand was found out when it was parsed.
    at = body.index(b"{") + 1
    pieces: Pieces = [body[:at]]
    pieces += [orjson.dumps(name) + b":" + orjson.dumps(changes[name]) + b"," for name in changes if name not in spans]
    view = memoryview(body)
    for name in sorted(changes.keys() & spans.keys(), key=spans.__getitem__):
        start, end = spans[name]
        pieces += [view[at:start], orjson.dumps(changes[name])]
        at = end
    pieces.append(view[at:])
    return b"".join(pieces)


def with_model(parsed: Parsed, model: str, names: Container[str] | None = None) -> Pieces:
    """The body as an object of these members only (None: of all), with another model."""
    if parsed.spans is None:
        document = {name: value for name, value in parsed.document.items() if names is None or name in names}
        return [orjson.dumps({**document, "model": model})]
    pieces: Pieces = [b'{"model":' + orjson.dumps(model)]
    view = memoryview(parsed.raw)
    for name, (start, end) in parsed.spans.items():
        if name != "model" and (names is None or name in names):
            pieces += [b"," + orjson.dumps(name) + b":", view[start:end]]
    pieces.append(b"}")
    return pieces


def _only_span(body: bytes, name: str) -> tuple[int, int] | None:
    """Where the value of a member stands whose name occurs once; None where that is not certain, or it is large."""
    quoted = quoted_name(name)
    if b"\\u00" in body or body.count(quoted) != 1:
        return None
    match = COLON.match(body, body.find(quoted) + len(quoted))
    if match is None:
        return None
    start = match.end()
    text = body[start : start + MAX_KEPT_BYTES].decode("utf-8", "replace")
    try:
        _, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return start, start + len(text[:end].encode())
