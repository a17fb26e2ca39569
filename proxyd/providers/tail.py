"""What is read of the end of an answer that has too many values, or too many bytes, to be parsed."""

import json
import re
from typing import Any

TAIL_BYTES = 64 * 1024
_FIELD = re.compile(rb"[\r\n]+(?:data: ?)?")


def without_fields(tail: bytes) -> bytes:
    """The end of the JSON in an event's lines. No line ends within a text of it."""
    return _FIELD.sub(b"", tail)


def usage_in_tail(tail: bytes, field: str) -> dict[str, Any] | None:
    """The usage object near the end of an answer."""
    at = tail.rfind(b'"' + field.encode() + b'"')
    colon = tail.find(b":", at)
    if at < 0 or colon < 0:
        return None
    try:
        text = tail[colon + 1 :].decode("utf-8", "replace").lstrip()
        value, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def word_in_tail(tail: bytes, field: str) -> str | None:
    """A word near the end of an answer. Within a text of the answer a quote has a backslash before it."""
    found = re.findall(rb'"%b"\s*:\s*"(\w{1,32})"' % field.encode(), tail)
    return found[-1].decode() if found else None
