"""Schemas of Gemini's API, which are a part of OpenAPI 3.0, as the JSON schemas that other providers take."""

from collections.abc import Iterator, Mapping
from typing import Any

from proxyd.providers import BadBody
from proxyd.translation.fields import refusal
from proxyd.translation.proto_fields import ProtoFields

MAX_DEPTH = 100  # levels, of which each provider takes far fewer
_TYPES = frozenset(("string", "number", "integer", "boolean", "array", "object", "null"))
_TEXTS = ("title", "description", "format", "pattern")
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")

Json = dict[str, Any]


def json_schema(value: object, place: str, depth: int = 0) -> Json:
    """A JSON schema that says the same. Raises BadBody for what it cannot say."""
    if depth > MAX_DEPTH:
        raise BadBody(f"{place} is nested too deeply.", place)
    fields = ProtoFields(value, place)
    nullable = fields.flag("nullable") or False
    if nullable and not any(fields.has(name) for name in ("type", "enum", "anyOf")):
        raise refusal(fields.at("nullable"), "stands beside no type, enum or anyOf to which null could be added")
    found: Json = {}
    if (kind := fields.text("type")) is not None:
        if kind.lower() not in _TYPES:
            raise refusal(fields.at("type"))
        found["type"] = [kind.lower(), "null"] if nullable else kind.lower()
    for name in _TEXTS:
        found[name] = fields.text(name)
    for name in _COUNTS:
        found[name] = fields.count(name)
    for name in ("minimum", "maximum"):
        found[name] = fields.number(name)
    if fields.has("enum"):
        if kind is not None and kind.lower() != "string":
            raise refusal(fields.at("enum"), "goes with the type STRING alone")
        found["enum"] = [*fields.texts("enum"), *([None] if nullable else [])]
    found["default"] = fields.take("default")
    if fields.has("example"):
        found["examples"] = [fields.take("example")]
    if fields.has("items"):
        found["items"] = json_schema(fields.mapping("items"), fields.at("items"), depth + 1)
    if fields.has("anyOf"):
        at = fields.at("anyOf")
        among = [json_schema(each, f"{at}.{index}", depth + 1) for index, each in enumerate(fields.items("anyOf"))]
        found["anyOf"] = [*among, *([{"type": "null"}] if nullable else [])]
    if fields.has("properties"):
        found["properties"] = _properties(fields, depth)
    found["required"] = list(fields.texts("required")) or None
    more, at = fields.take("additionalProperties"), fields.at("additionalProperties")
    found["additionalProperties"] = more if more is None or isinstance(more, bool) else json_schema(more, at, depth + 1)
    fields.done()
    return {name: each for name, each in found.items() if each is not None}


def _properties(fields: ProtoFields, depth: int) -> Json:
    """In the order in which they are to be written, which others go by as they stand."""
    at, found = fields.at("properties"), fields.mapping("properties") or {}
    first = [name for name in fields.texts("propertyOrdering") if name in found]
    names = dict.fromkeys((*first, *found))
    return {name: json_schema(found[name], f"{at}.{index}", depth + 1) for index, name in enumerate(names)}


def closed(schema: Mapping[str, Any], place: str, depth: int = 0) -> Json:
    """The same for an answer: objects have the properties that are named, and no other, which providers want said."""
    if depth > MAX_DEPTH:
        raise BadBody(f"{place} is nested too deeply.", place)

    def inner(value: object) -> object:
        return closed(value, place, depth + 1) if isinstance(value, dict) else value

    found: Json = dict(schema)
    for name in ("properties", "$defs", "definitions"):
        if isinstance(named := found.get(name), dict):
            found[name] = {each: inner(value) for each, value in named.items()}
    for name in ("anyOf", "oneOf", "prefixItems"):
        if isinstance(among := found.get(name), list):
            found[name] = [inner(value) for value in among]
    if "items" in found:
        found["items"] = inner(found["items"])
    if isinstance(found.get("properties"), dict):
        found.setdefault("additionalProperties", False)
    return found


def is_exact(schema: Mapping[str, Any]) -> bool:
    """Whether OpenAI's API can hold an answer to a schema: all properties of all its objects have to be there."""
    waiting: list[object] = [schema]
    while waiting:
        value = waiting.pop()
        if not isinstance(value, dict):
            continue
        kind, properties = value.get("type"), value.get("properties")
        if kind == "object" or (isinstance(kind, list) and "object" in kind) or properties is not None:
            required = value.get("required")
            said = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set[str]()
            named = set(properties) if isinstance(properties, dict) else None
            if value.get("additionalProperties") is not False or named is None or named - said:
                return False
        waiting += _below(value)
    return True


def _below(schema: Mapping[str, Any]) -> Iterator[object]:
    for name in ("properties", "$defs", "definitions"):
        if isinstance(named := schema.get(name), dict):
            yield from named.values()
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(among := schema.get(name), list):
            yield from among
    yield schema.get("items")
