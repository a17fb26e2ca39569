"""Anthropic's dialect: the Messages API."""

from collections.abc import Mapping
from typing import Any

import orjson

from proxyd.providers.accumulator import UsageAccumulator
from proxyd.providers.anthropic_request import code_runs_free, read
from proxyd.providers.base import Meter, Parsed, Pieces
from proxyd.providers.large_body import edited, with_model
from proxyd.providers.metering import JsonMeter, StreamMeter
from proxyd.wire.sse import Event
from shared.catalog import Endpoint, Kind
from shared.policy import Fact
from shared.pricing import REGIONS, Usage, read_usage

# Error types of the API reference; everything from 500 up is `api_error`.
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


# Blocks by which a model runs code at the provider, in a container that is billed by the hour.
_CODE = frozenset({"code_execution", "bash_code_execution", "text_editor_code_execution"})
# What the counter takes: `MessageCountTokensParams` of the anthropic SDK 2.
_COUNTED = frozenset(
    {
        "cache_control",
        "context_management",
        "mcp_servers",
        "messages",
        "output_config",
        "speed",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    }
)
_MOST_PARTS = 64  # of one usage; more are added up by model


class Anthropic:
    """See `Dialect`."""

    def read(self, endpoint: Endpoint, body: bytes, path_model: str | None, query: str) -> Parsed:
        del endpoint, path_model, query  # there is one such endpoint, and all of it stands in the body
        return read(body)

    def rewrite(self, parsed: Parsed, *, model: str | None, output_limit: int | None) -> bytes:
        changes: dict[str, object] = {}
        if model is not None and model != parsed.document.get("model"):
            changes["model"] = model
        if output_limit is not None and parsed.size.output_limit is None:
            # Every client of the dialect sets its own, `max_tokens`; not so one whose request was translated.
            changes["max_tokens"] = output_limit
        return edited(parsed, changes) if changes else parsed.raw

    def meter(self, endpoint: Endpoint, parsed: Parsed, *, streaming: bool, content_encoding: bytes | None) -> Meter:
        accumulator = MessagesUsage(endpoint, parsed)
        if streaming:
            return StreamMeter(accumulator, content_encoding, hides=False)
        return JsonMeter(accumulator, content_encoding)

    def count_request(self, endpoint: Endpoint, parsed: Parsed, path: str, model: str) -> tuple[str, Pieces] | None:
        if endpoint.kind is not Kind.MESSAGES:
            return None
        return f"{path}/count_tokens", with_model(parsed, model, _COUNTED)

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
    _code_runs = 0

    def event(self, event: Event) -> bool:
        data = event.data
        if data is None or event.name == b"ping":
            return self.without_data(event)
        value = self.object_of(data)
        if value is None:
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
            self._note_code(block)
            self.content([value for name, value in block.items() if name not in ("type", "id", "name", "signature")])

    def document(self, document: dict[str, Any]) -> None:
        self._final = True
        self._served(document)
        self._merge(document.get("usage"))
        content = document.get("content")
        for block in content if isinstance(content, list) else ():
            if isinstance(block, dict):
                self._note_code(block)
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
        """Of each figure the larger one counts; a null says nothing."""
        if not isinstance(usage, dict):
            return
        self.report({name: value for name, value in usage.items() if value is not None})
        tier, speed = usage.get("service_tier"), usage.get("speed")
        self.service_tier = tier[:32] if isinstance(tier, str) else self.service_tier
        self.speed = speed[:32] if isinstance(speed, str) else self.speed
        region = usage.get("inference_geo")
        if region in REGIONS:
            self.region = region
        elif region in ("global", "not_available", ""):
            self.region = None
        elif region is not None:
            self.odd = True  # regions have a surcharge, and nobody here knows that of this one

    def _note_code(self, block: dict[str, Any]) -> None:
        """Running code has a price by the hour, but beside the newer web tools it is free."""
        if (
            block.get("type") == "server_tool_use"
            and block.get("name") in _CODE
            and not code_runs_free(self._parsed.tools)
        ):
            self._code_runs += 1
            self.tool_calls = {"code_executions": self._code_runs}

    def _parts(self, counts: dict[str, int]) -> tuple[Usage, ...]:
        """What the figures at the top leave out: summaries of the conversation, advice of another model, other hops.

        Sources: platform.claude.com/docs/en/build-with-claude/compaction ("sum across all entries"),
        .../agents-and-tools/tool-use/advisor-tool (at the advisor's rates; the top has the first prompt only),
        and of the anthropic SDK 2 the types of `usage.iterations`. A hop that declined and wrote nothing is not billed.
        """
        iterations = None if self.reported is None else self.reported.get("iterations")
        if not isinstance(iterations, list):
            self.odd = self.odd or iterations is not None
            return ()
        entries = [entry for entry in iterations if isinstance(entry, dict)]
        has_hops = any(entry.get("type") == "fallback_message" for entry in entries)
        own: dict[str, int] = {}
        parts: list[Usage] = []
        for entry in entries:
            reading = read_usage(self._endpoint.prices_id, "default", entry)
            kind, model = entry.get("type"), entry.get("model")
            if reading is None or kind not in ("message", "fallback_message", "compaction", "advisor_message"):
                self.odd = True
            if reading is None:
                continue
            self.odd = self.odd or reading.unknown
            answers = kind in ("message", "fallback_message")
            named = model[:200] if isinstance(model, str) else None
            if answers and (named == self.served_model or (named is None and not has_hops)):
                for key, count in reading.counts.items():
                    own[key] = own.get(key, 0) + count
            elif not answers or reading.counts.get("output_tokens"):
                name = named or (None if answers else self.served_model)
                parts.append(Usage(reading.counts, name, self.service_tier, self.speed, region=self.region))
        for key, count in own.items():
            counts[key] = max(count, counts.get(key, 0))
        return tuple(parts) if len(parts) <= _MOST_PARTS else _by_model(parts)

    def _is_final(self, counts: dict[str, int]) -> bool:
        del counts
        return self._final


def _by_model(parts: list[Usage]) -> tuple[Usage, ...]:
    found: dict[str | None, Usage] = {}
    for part in parts:
        whole = found.setdefault(part.model, Usage({}, part.model, part.service_tier, part.speed, region=part.region))
        for key, count in part.counts.items():
            whole.counts[key] = whole.counts.get(key, 0) + count
    return tuple(found.values())
