"""Reading a JSON body so that what is judged is exactly what is sent, and changing it byte by byte.

A name that stands twice in an object means one thing to one parser and another to the next, so it is refused. Parsing
twice to find that out would be slow; so bodies are searched for hints of it (a name that occurs twice, an escape that
could spell a letter) and only those with a hint are parsed again, slowly and exactly.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from proxyd.providers.base import BadBody

MAX_MODEL_LENGTH = 200
MAX_LABEL_LENGTH = 200  # of what is kept of a tool
MAX_COUNT = 2**53

# A value takes up to a hundred times the memory of its bytes, so the shape of a body is limited as well as its size.
# Every value but the first has a bracket, a comma or a colon before it.
MAX_VALUES = 2_000_000
MAX_NAMES = 1_000  # at the top

SPELT_LETTER = re.compile(rb"\\u00[4-7]")  # an ASCII letter or underscore in disguise
_MANY_NAMES = 64
_MANY_SEARCHES = 8  # for one name each; more of them cost more than the slow reading
_QUICK_BYTES = 128 * 1024  # beyond which the slow reading would keep everyone else waiting
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\],:]', re.DOTALL)
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)', re.DOTALL)  # one that never ends is looked at once, too
_NEXT_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+"){0,1000}+[{}\[\]]?', re.DOTALL)
COLON = re.compile(rb"\s*:\s*")
_ONLY_OBJECTS = frozenset({dict})
_ONCE = frozenset({1})
_SPACE = b" \t\r\n"
NONE_NESTED: Mapping[str, tuple[bytes, ...]] = {}
_TOLD = ("type", "model")  # of a tool: what it is, and by which model it works
_leisure = [False]


class SlowBody(Exception):
    """The body cannot be read in little time. Where nobody else is kept waiting, `read_at_leisure` does it."""


def read_at_leisure() -> None:
    """From now on this process takes its time for bodies, so that `SlowBody` is never raised."""
    _leisure[0] = True


def read_object(body: bytes, nested: Mapping[str, tuple[bytes, ...]] = NONE_NESTED) -> dict[str, Any]:
    """Parse a body that must be a JSON object without repeated names at its top. Raises BadBody, SlowBody.

    `nested` are names in deeper objects that decide about money, quoted, by the field at the top in which they stand.
    """
    if len(body) > MAX_VALUES and more_values_than(MAX_VALUES, body):
        raise BadBody(f"The body has more than {MAX_VALUES} values.")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadBody(f"The body is not valid JSON: {error.msg} at byte {error.pos}.") from None
    if type(document) is not dict:
        raise BadBody("The body must be a JSON object.")
    if len(document) > MAX_NAMES:
        raise BadBody(f"The body has more than {MAX_NAMES} fields.")
    if _may_repeat(body, document, nested):
        _refuse_repeats(body)
    return document


class Checking(NamedTuple):
    """What is looked at in a message of a session."""

    nested: Mapping[str, tuple[bytes, ...]]  # as `read_object` takes it
    max_values: int  # and names


def read_event(data: bytes, checking: Checking) -> dict[str, Any]:
    """Parse a message of a session as `read_object` does a body. Raises BadBody, SlowBody."""
    most = checking.max_values
    if len(data) > most and more_values_than(most, data):
        raise BadBody(f"The message has more than {most} values and names.")
    return read_object(data, checking.nested)


def more_values_than(limit: int, body: bytes) -> bool:
    """Whether JSON has more than so many values and names beside the outermost; what stands in its texts is none."""
    if _values(body) <= limit:
        return False
    rest, texts = _STRING.subn(b"", body, count=limit + 2)  # each of these is a value or a name
    return texts > limit + 1 or _values(rest) > limit


def _values(body: bytes) -> int:
    """How many values a body has at most; what stands in strings counts too."""
    return body.count(b",") + body.count(b":") + body.count(b"[") + body.count(b"{")


def _may_repeat(body: bytes, document: Mapping[str, Any], nested: Mapping[str, tuple[bytes, ...]]) -> bool:
    if len(document) > _MANY_NAMES or (b"\\u00" in body and SPELT_LETTER.search(body)):
        return True
    quoted_names = [*map(quoted_name, document)]
    counts = [*map(body.count, quoted_names)]
    if not _ONCE.issuperset(counts):
        searches = 0
        for quoted, count in zip(quoted_names, counts, strict=True):
            if count != 1:
                searches += 1
                if count == 0 or searches > _MANY_SEARCHES or len(_as_name(quoted).findall(body)) != 1:
                    return True
    for parent, names in nested.items():
        if parent in document and any(body.count(quoted) > 1 for quoted in names):
            return True
    return False


@lru_cache(maxsize=256)
def quoted_name(name: str) -> bytes:
    return b'"' + name.encode() + b'"'


@lru_cache(maxsize=256)
def _as_name(quoted: bytes) -> re.Pattern[bytes]:
    return re.compile(re.escape(quoted) + rb"\s*:")


def _refuse_repeats(body: bytes) -> None:
    if len(body) > _QUICK_BYTES and not _leisure[0]:
        raise SlowBody

    def build(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                shown = name if name.isprintable() and len(name) <= MAX_MODEL_LENGTH else "a field"
                raise BadBody(f"{shown} stands twice in one object of the body.", shown)
            seen.add(name)

    try:
        json.loads(body, object_pairs_hook=build)
    except (ValueError, RecursionError):
        raise BadBody("The body is not JSON that can be read without doubt.") from None


def model_name(value: object, param: str = "model") -> str:
    """A model's name: a string of 1 to 200 printable characters without space around it."""
    if not isinstance(value, str):
        raise BadBody(f"{param} is missing." if value is None else f"{param} must be a string.", param)
    if not value or len(value) > MAX_MODEL_LENGTH or not value.isprintable() or value != value.strip():
        raise BadBody(f"{param} must be 1 to 200 printable characters without space around them.", param)
    return value


def flag(document: Mapping[str, Any], name: str) -> bool:
    """A boolean field; absent and null are false."""
    value = document.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise BadBody(f"{name} must be true or false.", name)


def count(document: Mapping[str, Any], name: str, *, least: int = 0, param: str | None = None) -> int | None:
    """A whole number of at least `least`, with a point or without; None when absent or null."""
    value = document.get(name)
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)  # some languages know one kind of number only, and write 1024.0
    if type(value) is not int or not least <= value <= MAX_COUNT:
        raise BadBody(f"{param or name} must be a whole number of at least {least}.", param or name)
    return value


def text(document: Mapping[str, Any], name: str) -> str | None:
    """A string field; None when absent or null."""
    value = document.get(name)
    if value is None or isinstance(value, str):
        return value
    raise BadBody(f"{name} must be a string.", name)


def kind_of(part: Mapping[str, Any]) -> str | None:
    """What the `type` of a part, a block or a tool says; None where it is missing, or no text."""
    kind = part.get("type")
    return kind if type(kind) is str else None


def tool_kinds(tools: Iterable[object]) -> tuple[dict[str, Any], ...]:
    """Of tools their type, their model and the names of their other fields. Those that are alike so far are one."""
    kinds = [_tool_kind(tool) for tool in tools if isinstance(tool, dict)]
    return tuple({orjson.dumps(kind): kind for kind in kinds}.values())


def _tool_kind(tool: Mapping[str, Any]) -> dict[str, str | bool | None]:
    kind: dict[str, str | bool | None] = {}
    for name, value in tool.items():
        if name in _TOLD and isinstance(value, str):
            kind[name] = value[:MAX_LABEL_LENGTH]
        else:
            kind[name] = None if value is None else True
    return kind


def objects(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects; empty when absent or null."""
    value = document.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not _ONLY_OBJECTS.issuperset(map(type, value)):
        raise BadBody(f"{name} must be a list of objects.", name)
    return value


def section(document: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """An object field; None when absent or null."""
    value = document.get(name)
    if value is None or type(value) is dict:
        return value
    raise BadBody(f"{name} must be an object.", name)


def put_first(body: bytes, name: str, value: object) -> bytes:
    """The object `body` with one member more, in front of its others. The name must not be in it."""
    at = body.index(b"{") + 1
    member = orjson.dumps(name) + b":" + orjson.dumps(value)
    empty = body[at:].lstrip(_SPACE).startswith(b"}")
    return body[:at] + member + (b"" if empty else b",") + body[at:]


def put(body: bytes, document: Mapping[str, Any], name: str, value: object) -> bytes:
    """The object `body` with a member set, all other bytes as they were. `document` is `body`, parsed."""
    if name not in document:
        return put_first(body, name, value)
    span = _plain_span(body, name, document[name])
    if span is not None:
        return body[: span[0]] + orjson.dumps(value) + body[span[1] :]
    start, end = member_span(body, name)
    return body[:start] + orjson.dumps(value) + body[end:]


def _plain_span(body: bytes, name: str, value: object) -> tuple[int, int] | None:
    """Where the value of a text member stands, when there can be no doubt: its name occurs once, nothing is escaped."""
    quoted = quoted_name(name)
    if not isinstance(value, str) or b"\\u00" in body or body.count(quoted) != 1:
        return None
    match = COLON.match(body, body.find(quoted) + len(quoted))
    literal = orjson.dumps(value)
    if match is None or not body.startswith(literal, match.end()):
        return None
    return match.end(), match.end() + len(literal)


def member_span(body: bytes, name: str) -> tuple[int, int]:
    """Where the value of a member of the outermost object stands; it must be there."""
    for found, start, end in _members(body):
        if found == name:
            return start, end
    raise AssertionError("a parsed name stands in its own body")


def spans(body: bytes) -> dict[str, tuple[int, int]]:
    """Where the values of all members of the outermost object stand."""
    return {name: (start, end) for name, start, end in _members(body)}


def _members(body: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, start and end of the value of each member of the outermost object."""
    depth = 0
    name: str | None = None
    last_string = b""
    start = position = 0
    while token := (_TOKEN.search if depth < 2 else _NEXT_BRACKET.match)(body, position):
        position = token.end()
        first = body[position - 1 : position]
        if first == b'"':
            last_string = token[0]
            continue
        if first in b"{[":
            depth += 1
        elif first == b":" and depth == 1:
            name, start = orjson.loads(last_string), token.end()
        elif depth == 1 and first in b",}" and name is not None:
            value = body[start : position - 1]
            yield name, start + len(value) - len(value.lstrip(_SPACE)), start + len(value.rstrip(_SPACE))
            name = None
        if first in b"}]":
            depth -= 1
