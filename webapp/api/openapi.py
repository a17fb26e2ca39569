"""`/openapi.json`: the management API in OpenAPI 3.1. A test holds it to the routes that exist."""

from typing import Any

from flask import Blueprint, Response, json

from shared.models import SCOPES
from webapp.access import anyone_known
from webapp.api import explain_schemas, schemas
from webapp.api.schemas import Json
from webapp.queries.keys import MAX_LIMIT, SORTS, STATUSES
from webapp.queries.usage import GROUPS

bp = Blueprint("openapi", __name__)


@bp.get("/openapi.json")
@anyone_known
def show() -> Response:
    """The document, for any token and for any member of staff."""
    return Response(json.dumps(document()), mimetype="application/json")


def document() -> Json:
    """The whole description. To describe a new route, add its operation to `_paths`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Enterprise Router management API",
            "version": "1",
            "description": "Proxy keys: create, read, edit, pause, revoke, and what they used. Money is decimal "
            "strings of US dollars, moments are RFC 3339 in UTC. An organisation sees only itself.",
        },
        "security": [{"managementToken": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "managementToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": f"A management token (sk-mgmt-...) with the scope in question: {', '.join(SCOPES)}.",
                }
            },
            "schemas": {
                "NewKey": schemas.an_object(schemas.editable(), required=["name"]),
                "KeyPatch": schemas.an_object(schemas.editable()),
                "Key": schemas.key(),
                "CreatedKey": schemas.created_key(),
                "KeyList": schemas.key_list(),
                "Usage": schemas.usage(),
                "Problem": schemas.problem(),
                **explain_schemas.shapes(),
            },
        },
    }


def _paths() -> Json:
    key_id = _parameter("key_id", "path", {"type": "string"}, "The key's id, key_ and 26 characters.")
    if_match = _parameter("If-Match", "header", {"type": "string"}, "The ETag of the key you have seen.")
    return {
        "/v1/keys": _all_keys(),
        "/v1/keys/{key_id}": {
            "parameters": [key_id],
            "get": _operation(
                "getKey", "Read a proxy key", "keys:read", {"200": _answer("The key", "Key"), **_problems(404)}
            ),
            "patch": _operation(
                "updateKey",
                "Edit a proxy key by a merge patch (RFC 7396); it holds for the next request",
                "keys:write",
                {"200": _answer("The key as it is now", "Key"), **_problems(404, 409, 412, 415, 503)},
                parameters=[if_match],
                body="KeyPatch",
            ),
            "delete": _operation(
                "revokeKey",
                "Revoke a proxy key for ever; it holds for the next request",
                "keys:write",
                {"200": _answer("The revoked key", "Key"), **_problems(404, 503)},
            ),
        },
        "/v1/keys/{key_id}/pause": _pausing("pauseKey", "Stop a proxy key for now", key_id, if_match),
        "/v1/keys/{key_id}/resume": _pausing("resumeKey", "Let a paused proxy key work again", key_id, if_match),
        "/v1/keys/{key_id}/usage": {
            "parameters": [key_id],
            "get": _operation(
                "getKeyUsage",
                "What a proxy key used, in UTC days",
                "usage:read",
                {"200": _usage_answer(), **_problems(404)},
                parameters=_usage_parameters(),
            ),
        },
        "/v1/keys/{key_id}/check": {
            "parameters": [key_id],
            "post": _operation(
                "checkKey",
                "What would become of a request of this key; nothing is charged",
                "keys:read",
                {
                    "200": _answer("Whether it would be let out, and why not", "Check"),
                    **_problems(404, 415),
                },
                body="CheckRequest",
            ),
        },
        "/v1/keys/{key_id}/requests": _a_list("listKeyRequests", "Requests of a proxy key", "RequestList", key_id),
        "/v1/keys/{key_id}/refusals": _a_list("listKeyRefusals", "What a proxy key was refused", "RefusalList", key_id),
    }


def _a_list(operation_id: str, summary: str, schema: str, key_id: Json) -> Json:
    operation = _operation(
        operation_id,
        f"{summary}, newest first",
        "usage:read",
        {"200": _answer("A page", schema), **_problems(404)},
        parameters=_page_parameters(),
    )
    return {"parameters": [key_id], "get": operation}


def _all_keys() -> Json:
    return {
        "post": _operation(
            "createKey",
            "Create a proxy key",
            "keys:write",
            {"201": _answer("The key, and in `key` its secret, this once", "CreatedKey"), **_problems(409, 415)},
            parameters=[
                _parameter(
                    "Idempotency-Key",
                    "header",
                    {"type": "string", "maxLength": 255},
                    "For 24 hours the same request again answers with the same key, without its secret.",
                )
            ],
            body="NewKey",
        ),
        "get": _operation(
            "listKeys",
            "List proxy keys",
            "keys:read",
            {"200": _answer("A page of keys", "KeyList"), **_problems()},
            parameters=_list_parameters(),
        ),
    }


def _pausing(operation_id: str, summary: str, key_id: Json, if_match: Json) -> Json:
    operation = _operation(
        operation_id,
        f"{summary}, like a patch of `paused`; it holds for the next request",
        "keys:write",
        {"200": _answer("The key as it is now", "Key"), **_problems(404, 409, 412, 503)},
        parameters=[if_match],
    )
    return {"parameters": [key_id], "post": operation}


def _operation(
    operation_id: str, summary: str, scope: str, responses: Json, *, parameters: Any = (), body: str | None = None
) -> Json:
    operation: Json = {
        "operationId": operation_id,
        "summary": summary,
        "description": f"Needs the scope `{scope}`.",
        "parameters": list(parameters),
        "responses": responses,
    }
    if body is not None:
        content = {"application/json": {"schema": schemas.reference(body)}}
        if body == "KeyPatch":
            content["application/merge-patch+json"] = {"schema": schemas.reference(body)}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _answer(description: str, schema: str) -> Json:
    answer: Json = {"description": description, "content": {"application/json": {"schema": schemas.reference(schema)}}}
    if schema in ("Key", "CreatedKey"):
        answer["headers"] = {"ETag": {"schema": {"type": "string"}, "description": "For If-Match."}}
    return answer


def _usage_answer() -> Json:
    answer = _answer("Sums by group, and of all", "Usage")
    answer["content"]["text/csv"] = {"schema": {"type": "string"}}
    return answer


def _problems(*statuses: int) -> Json:
    words = {
        401: "No management token, or not one of ours",
        403: "The token lacks the scope",
        404: "No such key in this organisation",
        409: "The key was revoked (`key_revoked`), or the Idempotency-Key was used for another request",
        412: "The key was changed since the version in If-Match",
        415: "Not JSON",
        422: "Fields that cannot be taken, each named in `errors`; nothing was written",
        503: "The change may be saved, but the proxies could not be told at once",
    }
    return {
        str(status): {
            "description": words[status],
            "content": {"application/problem+json": {"schema": schemas.reference("Problem")}},
        }
        for status in sorted({401, 403, 422, *statuses})
    }


def _page_parameters() -> list[Json]:
    return [
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50}, "A page."),
        _parameter("cursor", "query", {"type": "string"}, "`next_cursor` of the page before."),
    ]


def _list_parameters() -> list[Json]:
    sorts = [sign + name for name in SORTS for sign in ("", "-")]
    return [
        *_page_parameters(),
        _parameter("status", "query", {"enum": list(STATUSES)}, "Only keys in this state."),
        _parameter("q", "query", {"type": "string", "maxLength": 80}, "Part of a name, or the start of a prefix."),
        _parameter("sort", "query", {"enum": sorts, "default": "-created_at"}, "A minus turns it round."),
    ]


def _usage_parameters() -> list[Json]:
    day: Json = {"type": "string", "description": "A date, or a moment (RFC 3339) whose UTC day is meant."}
    return [
        _parameter("from", "query", day, "First day; 29 days before the last by default."),
        _parameter("to", "query", day, "Last day, included; today by default."),
        _parameter("group_by", "query", {"enum": list(GROUPS), "default": "day"}, "What to sum by."),
        _parameter("format", "query", {"enum": ["json", "csv"], "default": "json"}, "The form of the answer."),
    ]


def _parameter(name: str, where: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": where, "required": where == "path", "schema": schema, "description": description}
