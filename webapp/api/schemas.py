"""The shapes of the management API's documents, in JSON Schema, as `/openapi.json` tells them."""

from typing import Any

from shared.catalog import PROVIDERS
from shared.models import NAME_LENGTH
from shared.periods import RESETS
from webapp.queries.keys import STATUSES
from webapp.queries.usage import GROUPS
from webapp.validation import MAX_ENTRIES, MAX_RPM

Json = dict[str, Any]


def editable() -> Json:
    texts = {"type": ["array", "null"], "items": {"type": "string"}, "maxItems": MAX_ENTRIES}
    return {
        "name": {"type": "string", "minLength": 1, "maxLength": NAME_LENGTH},
        "allowed_providers": {**texts, "items": {"enum": list(PROVIDERS)}, "description": "Empty: all."},
        "allowed_models": {**texts, "description": "Globs with * and ?, perhaps provider/model. Empty: all."},
        "allowed_ips": {**texts, "description": "Addresses and CIDR ranges, IPv4 and IPv6. Empty: any."},
        "rate_limit_rpm": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": MAX_RPM,
            "description": "Requests per minute. Null: no limit. To stop a key, set `paused`.",
        },
        "spend_limit_usd": {
            "type": ["string", "number", "null"],
            "description": "The most that may be spent per period. Null: no limit. 0: nothing may be spent.",
        },
        "spend_reset": {"enum": [*RESETS, None], "description": "Period of the spend limit, in UTC."},
        "expires_at": {"type": ["string", "null"], "format": "date-time", "description": "In the future."},
        "paused": {"type": ["boolean", "null"], "description": "Stopped for now. Null: false."},
    }


def key() -> Json:
    moment: Json = {"type": ["string", "null"], "format": "date-time"}
    money: Json = {"type": "string", "pattern": r"^\d+\.\d{2,9}$"}
    fields = editable()
    for name in ("allowed_providers", "allowed_models", "allowed_ips"):
        fields[name] = {**fields[name], "type": "array"}
    fields["spend_limit_usd"] = {**money, "type": ["string", "null"]}
    fields["spend_reset"] = {"enum": list(RESETS)}
    fields["paused"] = {"type": "boolean"}
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
        "spend": an_object(spend, required=list(spend)),
    }
    return an_object({**own, **fields}, required=[*own, *fields])


def created_key() -> Json:
    created = key()
    created["properties"]["key"] = {"type": "string", "description": "The secret. Absent when a request is replayed."}
    return created


def key_list() -> Json:
    fields: Json = {
        "data": {"type": "array", "items": reference("Key")},
        "has_more": {"type": "boolean"},
        "next_cursor": {"type": ["string", "null"]},
    }
    return an_object(fields, required=list(fields))


def usage() -> Json:
    sums: Json = {name: {"type": "integer"} for name in ("requests", "input_tokens", "output_tokens")}
    sums["cost_usd"] = {"type": "string"}
    groups: Json = {name: {"type": "string"} for name in GROUPS}
    fields: Json = {
        "from": {"type": "string", "format": "date"},
        "to": {"type": "string", "format": "date"},
        "group_by": {"enum": list(GROUPS)},
        "data": {"type": "array", "items": an_object({**groups, **sums}, required=list(sums))},
        "total": an_object(sums, required=list(sums)),
    }
    return an_object(fields, required=list(fields))


def problem() -> Json:
    error = an_object({"field": {"type": "string"}, "message": {"type": "string"}}, required=["field", "message"])
    fields: Json = {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {"type": "array", "items": error},
    }
    return an_object(fields, required=list(fields))


def an_object(properties: Json, *, required: list[str] | None = None) -> Json:
    return {"type": "object", "properties": properties, "required": required or [], "additionalProperties": False}


def reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
