"""The management API in words, for people: the same document that `/openapi.json` serves, as a page."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import Blueprint
from werkzeug.wrappers import Response

from webapp.access import anyone_known
from webapp.api.openapi import document
from webapp.render import page

bp = Blueprint("docs", __name__)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a field of a body. `kind` says in words what it takes."""

    name: str
    kind: str
    required: bool
    text: str


@dataclass(frozen=True, slots=True)
class Operation:
    """A call."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    answers: tuple[tuple[str, str], ...]  # status, and what it means


@dataclass(frozen=True, slots=True)
class Group:
    """The calls below one path."""

    id: str
    name: str
    operations: tuple[Operation, ...]


@bp.get("/docs")
@anyone_known
def show() -> Response:
    described = document()
    return page("docs.html", groups=tuple(_groups(described)), intro=described["info"]["description"])


def _groups(described: Json) -> Iterator[Group]:
    schemas = described["components"]["schemas"]
    groups: dict[str, list[Operation]] = {}
    for path, operations in sorted(described["paths"].items()):
        found = groups.setdefault(path.split("/")[2], [])
        found += [_operation(method, path, operation, schemas) for method, operation in operations.items()]
    for name, listed in groups.items():
        yield Group(f"group-{name}", f"/v1/{name}", tuple(listed))


def _operation(method: str, path: str, operation: Json, schemas: Json) -> Operation:
    parameters = [
        Field(
            f"{told['name']} ({told['in']})",
            _kind(told["schema"], schemas),
            told["required"],
            told["description"],
        )
        for told in operation["parameters"]
    ]
    body: tuple[Field, ...] = ()
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        body = tuple(_fields(_resolved(schema, schemas), schemas))
    return Operation(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        description=operation["description"],
        parameters=tuple(parameters),
        body=body,
        answers=tuple((status, answer["description"]) for status, answer in sorted(operation["responses"].items())),
    )


def _fields(schema: Json, schemas: Json) -> Iterator[Field]:
    required = schema.get("required", ())
    for name, told in schema.get("properties", {}).items():
        yield Field(name, _kind(told, schemas), name in required, told.get("description", ""))


def _resolved(schema: Json, schemas: Json) -> Json:
    resolved: Json = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return resolved


def _kind(schema: Json, schemas: Json) -> str:
    """What a schema takes, in few words: `list of openai, anthropic, gemini; or null`."""
    schema = _resolved(schema, schemas)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(part, schemas) for part in schema["anyOf"]))
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    kind = str(schema.get("format") or schema.get("type") or "any")
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}), schemas)}"
    low, high = schema.get("minimum"), schema.get("maximum")
    return f"{kind} from {low:,} to {high:,}" if low is not None and high is not None else kind
