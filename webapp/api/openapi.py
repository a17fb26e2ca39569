"""`/openapi.json`: the management API in OpenAPI 3.1. A test holds it to the routes that exist."""

from typing import Any

from flask import Blueprint, Response, json

from shared.catalog import PROVIDERS
from shared.models import NAME_LENGTH, SCOPES
from shared.periods import RESETS
from webapp.access import anyone_known
from webapp.queries.keys import MAX_LIMIT, SORTS, STATUSES
from webapp.queries.usage import GROUPS
from webapp.validation import MAX_ENTRIES, MAX_RPM

bp = Blueprint("openapi", __name__)

Json = dict[str, Any]


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
            "description": "Proxy keys: create, read, edit, revoke, and what they used. Money is decimal strings of "
            "US dollars, moments are RFC 3339 in UTC. An organisation sees only itself.",
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
                "NewKey": _object(_editable(), required=["name"]),
                "KeyPatch": _object(_editable()),
                "Key": _key(),
                "CreatedKey": _created_key(),
                "KeyList": _key_list(),
                "Usage": _usage(),
                "Problem": _problem(),
            },
        },
    }


def _paths() -> Json:
    key_id = _parameter("key_id", "path", {"type": "string"}, "The key's id, key_ and 26 characters.")
    return {
        "/v1/keys": {
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
        },
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
                parameters=[_parameter("If-Match", "header", {"type": "string"}, "The ETag of the key you have seen.")],
                body="KeyPatch",
            ),
            "delete": _operation(
                "revokeKey",
                "Revoke a proxy key for ever; it holds for the next request",
                "keys:write",
                {"200": _answer("The revoked key", "Key"), **_problems(404, 503)},
            ),
        },
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
    }


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
        content = {"application/json": {"schema": _ref(body)}}
        if body == "KeyPatch":
            content["application/merge-patch+json"] = {"schema": _ref(body)}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _answer(description: str, schema: str) -> Json:
    answer: Json = {"description": description, "content": {"application/json": {"schema": _ref(schema)}}}
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
            "content": {"application/problem+json": {"schema": _ref("Problem")}},
        }
        for status in sorted({401, 403, 422, *statuses})
    }


def _list_parameters() -> list[Json]:
    sorts = [sign + name for name in SORTS for sign in ("", "-")]
    return [
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50}, "A page."),
        _parameter("cursor", "query", {"type": "string"}, "`next_cursor` of the page before."),
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


def _editable() -> Json:
    texts = {"type": ["array", "null"], "items": {"type": "string"}, "maxItems": MAX_ENTRIES}
    return {
        "name": {"type": "string", "minLength": 1, "maxLength": NAME_LENGTH},
        "allowed_providers": {**texts, "items": {"enum": list(PROVIDERS)}, "description": "Empty: all."},
        "allowed_models": {**texts, "description": "Globs with * and ?, perhaps provider/model. Empty: all."},
        "allowed_ips": {**texts, "description": "Addresses and CIDR ranges, IPv4 and IPv6. Empty: any."},
        "rate_limit_rpm": {
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": MAX_RPM,
            "description": "Requests per minute. Null: no limit. 0: none allowed.",
        },
        "spend_limit_usd": {
            "type": ["string", "number", "null"],
            "description": "The most that may be spent per period. Null: no limit. 0: nothing may be spent.",
        },
        "spend_reset": {"enum": [*RESETS, None], "description": "Period of the spend limit, in UTC."},
        "expires_at": {"type": ["string", "null"], "format": "date-time", "description": "In the future."},
    }


def _key() -> Json:
    moment: Json = {"type": ["string", "null"], "format": "date-time"}
    money: Json = {"type": "string", "pattern": r"^\d+\.\d{2,9}$"}
    fields = _editable()
    for name in ("allowed_providers", "allowed_models", "allowed_ips"):
        fields[name] = {**fields[name], "type": "array"}
    fields["spend_limit_usd"] = {**money, "type": ["string", "null"]}
    fields["spend_reset"] = {"enum": list(RESETS)}
    spend = {
        "spent_usd": money,
        "held_usd": {**money, "description": "Held by requests in flight."},
        "remaining_usd": {**money, "type": ["string", "null"]},
        "period_start": moment,
        "resets_at": moment,
        "lifetime_usd": money,
    }
    own = {
        "id": {"type": "string"},
        "prefix": {"type": "string", "examples": ["sk-proxy-a1b2"]},
        "status": {"enum": list(STATUSES)},
        "created_at": {"type": "string", "format": "date-time"},
        "created_by": {"type": "string"},
        "last_used_at": moment,
        "revoked_at": moment,
        "spend": _object(spend, required=list(spend)),
    }
    return _object({**own, **fields}, required=[*own, *fields])


def _created_key() -> Json:
    key = _key()
    key["properties"]["key"] = {"type": "string", "description": "The secret. Absent when a request is replayed."}
    return key


def _key_list() -> Json:
    fields: Json = {
        "data": {"type": "array", "items": _ref("Key")},
        "has_more": {"type": "boolean"},
        "next_cursor": {"type": ["string", "null"]},
    }
    return _object(fields, required=list(fields))


def _usage() -> Json:
    sums: Json = {name: {"type": "integer"} for name in ("requests", "input_tokens", "output_tokens")}
    sums["cost_usd"] = {"type": "string"}
    groups: Json = {name: {"type": "string"} for name in GROUPS}
    fields: Json = {
        "from": {"type": "string", "format": "date"},
        "to": {"type": "string", "format": "date"},
        "group_by": {"enum": list(GROUPS)},
        "data": {"type": "array", "items": _object({**groups, **sums}, required=list(sums))},
        "total": _object(sums, required=list(sums)),
    }
    return _object(fields, required=list(fields))


def _problem() -> Json:
    error = _object({"field": {"type": "string"}, "message": {"type": "string"}}, required=["field", "message"])
    fields: Json = {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {"type": "array", "items": error},
    }
    return _object(fields, required=list(fields))


def _object(properties: Json, *, required: list[str] | None = None) -> Json:
    return {"type": "object", "properties": properties, "required": required or [], "additionalProperties": False}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
