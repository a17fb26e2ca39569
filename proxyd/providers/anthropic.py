"""Anthropic's dialect: the Messages API."""

from collections.abc import Mapping
from typing import Any

import orjson

from proxyd.providers.anthropic_request import read, read_free
from proxyd.providers.base import Meter, Parsed
from proxyd.providers.body import edited
from proxyd.providers.metering import JsonMeter, StreamMeter, UsageAccumulator
from proxyd.wire.sse import Event
from shared.catalog import Endpoint, Kind
from shared.policy import Fact

# Error types of the API reference; everything from 500 up is `api_error`.
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


class Anthropic:
    """See `Dialect`."""

    def read(self, endpoint: Endpoint, body: bytes, path_model: str | None, query: str) -> Parsed:
        del query
        return read_free(body, path_model) if endpoint.kind is Kind.FREE else read(body)

    def rewrite(self, parsed: Parsed, *, model: str | None, output_limit: int | None) -> bytes:
        del output_limit  # every request has its own: `max_tokens` is required
        if model is None or model == parsed.document.get("model"):
            return parsed.raw
        return edited(parsed, {"model": model})

    def meter(self, endpoint: Endpoint, parsed: Parsed, *, streaming: bool, content_encoding: bytes | None) -> Meter:
        accumulator = MessagesUsage(endpoint, parsed)
        if streaming:
            return StreamMeter(accumulator, content_encoding, hides=False)
        return JsonMeter(accumulator, content_encoding)

    def refusal(self, status: int, code: str, message: str, request_id: str, facts: Mapping[str, Fact]) -> bytes:
        error = {**facts, "type": _type(status), "message": message, "code": code}
        return orjson.dumps({"type": "error", "error": error, "request_id": request_id})

    def error_event(self, status: int, code: str, message: str, request_id: str, kind: Kind | None = None) -> bytes:
        del kind
        return b"event: error\ndata: " + self.refusal(status, code, message, request_id, {}) + b"\n\n"


def _type(status: int) -> str:
    return _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


class MessagesUsage(UsageAccumulator):
    """Messages. A stream tells its input first and its output at the end; figures are cumulative, never summed."""

    _final = False

    def event(self, event: Event) -> bool:
        data = event.data
        if data is None or event.name == b"ping":
            return False
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            self.odd = True
            return False
        if not isinstance(value, dict):
            return False
        kind = value.get("type")
        if kind == "content_block_delta":
            delta = value.get("delta")
            if isinstance(delta, dict):
                self.content([text for name, text in delta.items() if name not in ("type", "signature")])
        elif kind == "message_delta":
            self._final = True
            self._merge(value.get("usage"))
        elif kind == "message_start":
            message = value.get("message")
            if isinstance(message, dict):
                self._served(message)
                self._merge(message.get("usage"))
        elif kind == "content_block_start":
            self._block(value.get("content_block"))
        elif kind == "message_stop":
            self.complete = True
        elif kind == "error":
            self.failed = True
        return False

    def _block(self, block: object) -> None:
        """Some blocks come whole, with their first event: results of tools, redacted thoughts."""
        if isinstance(block, dict):
            self.content([value for name, value in block.items() if name not in ("type", "id", "name", "signature")])

    def document(self, document: dict[str, Any]) -> None:
        self._final = True
        self._served(document)
        usage = document.get("usage")
        if isinstance(usage, dict):
            self._merge(usage)
        self.unweighed = document

    def written(self, document: dict[str, Any]) -> None:
        self.content(document.get("content"))

    def documents(self, documents: list[Any]) -> None:
        del documents
        self.odd = True

    def _served(self, message: dict[str, Any]) -> None:
        model = message.get("model")
        if isinstance(model, str):
            self.served_model = model[:200]

    def _merge(self, usage: object) -> None:
        """The last value of each figure wins; a null says nothing."""
        if not isinstance(usage, dict):
            return
        told = {name: value for name, value in usage.items() if value is not None}
        self.reported = told if self.reported is None else {**self.reported, **told}
        tier, speed = told.get("service_tier"), told.get("speed")
        self.service_tier = tier[:32] if isinstance(tier, str) else self.service_tier
        self.speed = speed[:32] if isinstance(speed, str) else self.speed
        if told.get("inference_geo") not in (None, "global", "not_available", ""):
            self.odd = True  # regions have a surcharge that the price table does not know

    def _is_final(self, counts: dict[str, int]) -> bool:
        del counts
        return self._final
