"""Gemini's dialect: the Generative Language API."""

from collections.abc import Mapping
from typing import Any

import orjson

from proxyd.providers import gemini_interactions, gemini_media
from proxyd.providers.accumulator import UsageAccumulator
from proxyd.providers.base import Meter, Parsed, Pieces
from proxyd.providers.gemini_request import asks_for, bills_searches_by_request, read, spelling, tier_name
from proxyd.providers.large_body import edited, with_model
from proxyd.providers.metering import JsonMeter, StreamMeter
from proxyd.wire.sse import Event
from shared.catalog import Endpoint, Kind
from shared.policy import Fact

# Canonical codes of google.rpc.Code, by HTTP status.
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    426: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Gemini:
    """See `Dialect`."""

    def read(self, endpoint: Endpoint, body: bytes, path_model: str | None, query: str) -> Parsed:
        if endpoint.kind is Kind.INTERACT:
            return gemini_interactions.read(body, query)
        if endpoint.kind in (Kind.PREDICT, Kind.PREDICT_FILM):
            return gemini_media.read(endpoint.kind, body, path_model, query)
        return read(endpoint.kind, body, path_model, query)

    def rewrite(self, parsed: Parsed, *, model: str | None, output_limit: int | None) -> bytes:
        del model  # stands in the path, or as the provider itself calls it
        if output_limit is None or parsed.size.output_limit is not None or parsed.size.output_free:
            return parsed.raw
        if parsed.kind is Kind.INTERACT:
            config = parsed.document.get("generation_config") or {}
            return edited(parsed, {"generation_config": {**config, "max_output_tokens": output_limit}})
        name = spelling(parsed.document, "generationConfig")
        config = parsed.document.get(name) or {}
        config = {**config, spelling(config, "maxOutputTokens"): output_limit}
        return edited(parsed, {name: config})

    def meter(self, endpoint: Endpoint, parsed: Parsed, *, streaming: bool, content_encoding: bytes | None) -> Meter:
        accumulator = _ACCUMULATORS.get(endpoint.kind, GenerateUsage)(endpoint, parsed)
        if streaming:
            return StreamMeter(accumulator, content_encoding, hides=False)
        return JsonMeter(accumulator, content_encoding)

    def count_request(self, endpoint: Endpoint, parsed: Parsed, path: str, model: str) -> tuple[str, Pieces] | None:
        if endpoint.kind not in (Kind.GENERATE, Kind.GENERATE_STREAM):
            return None
        question = with_model(parsed, f"models/{model}")
        return f"{path.rpartition(':')[0]}:countTokens", [b'{"generateContentRequest":', *question, b"}"]

    def refusal(self, status: int, code: str, message: str, request_id: str, facts: Mapping[str, Fact]) -> bytes:
        details: list[dict[str, Any]] = [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": code,
                "domain": "enterprise-router",
                "metadata": {name: _plain(value) for name, value in {**facts, "request_id": request_id}.items()},
            }
        ]
        if (wait := facts.get("retry_after_seconds")) is not None:
            # Gemini CLI waits by this, and not by Retry-After. A duration is text in protocol buffers' JSON.
            details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait}s"})
        error = {"code": status, "message": message, "status": _status(status), "details": details}
        return orjson.dumps({"error": error})

    def error_event(self, status: int, code: str, message: str, request_id: str, kind: Kind | None = None) -> bytes:
        del kind
        return b"data: " + self.refusal(status, code, message, request_id, {}) + b"\n\n"


def _plain(value: Fact) -> str:
    """ErrorInfo's metadata are strings; what is no string is told as JSON. A null is empty."""
    return "" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()


def _status(status: int) -> str:
    return _STATUSES.get(status, "INTERNAL" if status >= 500 else "FAILED_PRECONDITION")


class GenerateUsage(UsageAccumulator):
    """generateContent, its streams and the embeddings. Usage is cumulative: the last chunk's counts."""

    usage_field = "usageMetadata"

    def __init__(self, endpoint: Endpoint, parsed: Parsed) -> None:
        super().__init__(endpoint, parsed)
        # A tier that was asked for is the one billed, unless the answer tells another.
        self.service_tier = parsed.size.service_tier
        self._choices = parsed.size.choices
        self._finished: set[int] = set()  # candidates that gave their reason to stop
        self._queries: set[str] = set()
        self._searched = False  # whatever for: that there was a search, and not how many
        self._mapped = False

    def event(self, event: Event) -> bool:
        if event.data is None:
            return self.without_data(event)
        chunk = self.object_of(event.data)
        if chunk is not None:
            self._chunk(chunk)
        return False

    def ended(self) -> None:
        """A stream has no terminal event: it is complete when it ended after some candidate had."""
        self.complete = bool(self._finished)

    def document(self, document: dict[str, Any]) -> None:
        self._chunk(document)
        self._finished.update(range(self._choices))

    def documents(self, documents: list[Any]) -> None:
        """A stream that came as one JSON list."""
        for document in documents:
            if isinstance(document, dict):
                self._chunk(document)
        self.ended()

    def _chunk(self, chunk: dict[str, Any]) -> None:
        if chunk.get("error") is not None:
            self.failed = True
            return
        model = chunk.get("modelVersion")
        if isinstance(model, str):
            self.served_model = model.removeprefix("models/")[:200]
        usage = chunk.get("usageMetadata")
        if isinstance(usage, dict):
            self.report(usage)
            tier = usage.get("serviceTier")
            if isinstance(tier, str):
                self.service_tier = tier_name(tier)[:32]
        feedback = chunk.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            self._finished.update(range(self._choices))
        candidates = chunk.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            if isinstance(candidate, dict):
                self._candidate(candidate)

    def _candidate(self, candidate: dict[str, Any]) -> None:
        if candidate.get("finishReason"):
            index = candidate.get("index", 0)
            self._finished.add(index if isinstance(index, int) else 0)
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                self._part(part)
        grounding = candidate.get("groundingMetadata")
        if isinstance(grounding, dict):
            self._grounding(grounding)

    def _part(self, part: dict[str, Any]) -> None:
        blob = part.get("inlineData")
        is_medium = isinstance(blob, dict) and self.blob(blob.get("mimeType"), blob.get("data"))
        file = part.get("fileData")
        if isinstance(file, dict):
            self.stored(file.get("mimeType"))
        left_out = ("thoughtSignature", "inlineData") if is_medium else ("thoughtSignature",)
        self.content([value for name, value in part.items() if name not in left_out])

    def unread(self, tail: bytes) -> bool:
        model = self._parsed.model or ""
        if "image" in model or "nano-banana" in model:
            self.media = {**self.media, "output_image_tokens": 0}  # it likely has some
        elif "omni" in model:
            self.media = {**self.media, "output_video_tokens": 0}
        return super().unread(tail)

    def _grounding(self, grounding: dict[str, Any]) -> None:
        """Note searches as they are billed: from Gemini 3 on each query but empty ones, once; before, one a request.

        Which of both it is, the model tells that answered: names such as `gemini-flash-latest` lead to either.
        Pages by their address and files of one's own are no searches, though they ground an answer as well. Source:
        ai.google.dev/gemini-api/docs/google-search, "Pricing", and .../url-context. Maps have a price of their own.
        """
        for name in ("webSearchQueries", "imageSearchQueries"):
            queries = grounding.get(name)
            for query in queries if isinstance(queries, list) else ():
                if isinstance(query, str) and query.strip():
                    self._queries.add(f"{name} {query.strip()}")
        chunks = grounding.get("groundingChunks")
        kinds = (
            {kind for chunk in chunks if isinstance(chunk, dict) for kind in chunk}
            if isinstance(chunks, list)
            else set()
        )
        if not self._searched:
            found = "web" in kinds and asks_for(self._parsed.document, "googleSearch", "googleSearchRetrieval")
            found = found and not asks_for(self._parsed.document, "urlContext")
            self._searched = bool(self._queries or found or grounding.get("searchEntryPoint"))
        self._mapped = self._mapped or "maps" in kinds

    def _calls(self) -> Mapping[str, int]:
        if not self._searched and not self._mapped:
            return self.tool_calls
        by_request = bills_searches_by_request(self.served_model or self._parsed.model or "")
        searches = int(self._searched) if by_request else len(self._queries)
        return {key: calls for key, calls in (("web_searches", searches), ("map_searches", int(self._mapped))) if calls}

    def _is_final(self, counts: dict[str, int]) -> bool:
        del counts
        return self.complete or len(self._finished) >= self._choices


_ACCUMULATORS: dict[Kind, type[UsageAccumulator]] = {
    Kind.PREDICT: gemini_media.MediaUsage,
    Kind.PREDICT_FILM: gemini_media.MediaUsage,
    Kind.INTERACT: gemini_interactions.InteractionUsage,
}
