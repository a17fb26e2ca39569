"""The shapes of what a key did, what it was refused and what it would be, in JSON Schema."""

from shared.catalog import PROVIDERS
from shared.policy import Reason
from webapp.api.schemas import Json, an_object, reference

_TEXT: Json = {"type": "string"}
_TEXT_OR_NULL: Json = {"type": ["string", "null"]}
_COUNT: Json = {"type": "integer", "minimum": 0}
_COUNT_OR_NULL: Json = {"type": ["integer", "null"], "minimum": 0}
_MOMENT: Json = {"type": "string", "format": "date-time"}
_REASON: Json = {"enum": [reason.value for reason in Reason], "description": "See docs/errors.md."}


def shapes() -> Json:
    """All of them, by name."""
    return {
        "CheckRequest": _asked(),
        "Check": _check(),
        "Request": _request(),
        "RequestList": _list_of("Request"),
        "Refusal": _refusal(),
        "RefusalList": _list_of("Refusal"),
    }


def _asked() -> Json:
    fields: Json = {
        "ip": {**_TEXT_OR_NULL, "description": "Of the client. Needed where the key has `allowed_ips`."},
        "provider": {"enum": [*PROVIDERS, None], "description": "Told by the path or the model where it is absent."},
        "model": {**_TEXT_OR_NULL, "maxLength": 200},
        "path": {
            **_TEXT_OR_NULL,
            "maxLength": 500,
            "description": "The provider's own, perhaps behind its name: /v1/messages, /openai/v1/embeddings. It is "
            "judged as a POST. The provider's chat where it is absent.",
        },
        "max_tokens": {"type": ["integer", "null"], "minimum": 1, "description": "The output limit of the request."},
    }
    return an_object(fields)


def _check() -> Json:
    refusal = {
        "code": _REASON,
        "status": {"type": "integer"},
        "retry": {"type": "boolean", "description": "Whether the same request may pass later."},
        "message": {**_TEXT, "description": "The sentence that would be sent."},
        "facts": {"type": "object", "description": "The fields that would stand beside it."},
    }
    fields: Json = {
        "allowed": {"type": "boolean"},
        "provider": _TEXT_OR_NULL,
        "model": _TEXT_OR_NULL,
        "endpoint": {**_TEXT_OR_NULL, "description": "The path at the provider."},
        "needed_usd": {**_TEXT_OR_NULL, "description": "The most such a request without any text can cost."},
        "max_tokens": {**_COUNT_OR_NULL, "description": "The output limit that the router would set."},
        "refusal": {"oneOf": [an_object(refusal, required=list(refusal)), {"type": "null"}]},
    }
    return an_object(fields, required=list(fields))


def _request() -> Json:
    fields: Json = {
        "id": {**_TEXT, "description": "The request's id, x-router-request-id where the provider sent one of its own."},
        "at": {**_MOMENT, "description": "Of its admission."},
        "provider": _TEXT,
        "endpoint": _TEXT,
        "model": {**_TEXT_OR_NULL, "description": "As asked for."},
        "served_model": _TEXT_OR_NULL,
        "streamed": {"type": "boolean"},
        "status": {**_COUNT_OR_NULL, "description": "That the client was given. Null: none."},
        "provider_status": {**_COUNT_OR_NULL, "description": "Null: the provider gave none."},
        "outcome": _TEXT,
        "flags": {"type": "array", "items": _TEXT},
        "input_tokens": _COUNT,
        "output_tokens": _COUNT,
        "usage": {"type": "object", "additionalProperties": _COUNT, "description": "Tokens and calls by class."},
        "latency_ms": {**_COUNT, "description": "From the request's head until its answer was complete."},
        "first_byte_ms": {**_COUNT_OR_NULL, "description": "Until the provider's answer began."},
        "client_ip": _TEXT_OR_NULL,
        "provider_request_id": _TEXT_OR_NULL,
        "adjusts": {**_TEXT_OR_NULL, "description": "The id of a request whose estimated cost this row corrects."},
        "cost_usd": {**_TEXT, "description": "Less than nothing where an estimate was too high."},
    }
    return an_object(fields, required=list(fields))


def _refusal() -> Json:
    fields: Json = {
        "reason": _REASON,
        "count": _COUNT,
        "last_at": _MOMENT,
        "status": {"type": "integer"},
        "message": {**_TEXT, "description": "The sentence that was sent last."},
        "model": _TEXT_OR_NULL,
        "client_ip": _TEXT_OR_NULL,
        "request_id": _TEXT,
    }
    return an_object(fields, required=list(fields))


def _list_of(name: str) -> Json:
    fields: Json = {
        "data": {"type": "array", "items": reference(name)},
        "has_more": {"type": "boolean"},
        "next_cursor": _TEXT_OR_NULL,
    }
    return an_object(fields, required=list(fields))
