"""`/openapi.json`: the management API in OpenAPI 3.1, made of the models and marks that the views carry."""

from collections.abc import Iterator
from copy import deepcopy

from flask import Blueprint, Response, json

from webapp.access import anyone_known
from webapp.api.spec import SCHEME, UNVERSIONED, WITHOUT_BODY, Json, is_unversioned, optional_bodies, spec

bp = Blueprint("openapi", __name__)
_SCHEMAS = "#/components/schemas/"


@bp.get("/openapi.json")
@anyone_known
def show() -> Response:
    """The document, for any token and for any member of staff."""
    return Response(json.dumps(document()), mimetype="application/json")


def document() -> Json:
    """The whole description, in the context of the app."""
    told: Json = deepcopy(spec.spec)
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            ((scope,),) = (needed[SCHEME] for needed in operation["security"])
            words = f"Needs the scope `{scope}`."
            operation["description"] = f"{operation['description']}\n\n{words}".strip()
            if operation["operationId"] in optional_bodies:
                operation["requestBody"]["required"] = False
            more: dict[int, str] = UNVERSIONED if is_unversioned(method, path) else {}
            if "requestBody" not in operation and method != "get":  # what has none refuses one
                more = WITHOUT_BODY | more
            for status, words in more.items():
                problem = {**operation["responses"]["422"], "description": words}
                operation["responses"].setdefault(str(status), problem)
            if method == "patch":
                content = operation["requestBody"]["content"]
                content["application/merge-patch+json"] = content["application/json"]
    schemas = told["components"]["schemas"]
    used = set(_references(told["paths"]))
    while further := {name for one in used for name in _references(schemas[one])} - used:
        used |= further
    # Models of queries and headers stand in the parameters already.
    told["components"]["schemas"] = {name: schemas[name] for name in sorted(used)}
    return told


def _references(part: object) -> Iterator[str]:
    """The names of the schemas that a part of the document refers to."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref" and isinstance(value, str):
                yield value.removeprefix(_SCHEMAS)
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)
