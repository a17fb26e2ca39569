"""OpenAI's dialect, which Anthropic and Gemini speak too at their compatible endpoints."""

from collections.abc import Callable, Mapping

import orjson

from proxyd.providers.base import Meter, Parsed, Pieces
from proxyd.providers.large_body import edited, with_model
from proxyd.providers.metering import JsonMeter, StreamMeter
from proxyd.providers.openai_answer import (
    ChatUsage,
    CompactUsage,
    CompletionsUsage,
    EmbeddingsUsage,
    ResponsesUsage,
)
from proxyd.providers.openai_images import read_images
from proxyd.providers.openai_media_answer import ImagesUsage, SoundMeter, SpeechUsage, TranscriptionUsage
from proxyd.providers.openai_request import read, read_compact, read_completion
from proxyd.providers.openai_sound import read_no_form, read_speech
from shared.catalog import Endpoint, Kind
from shared.policy import Fact

# `type` of errors as OpenAI uses it; its SDKs choose their exception by status.
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_ACCUMULATORS = {
    Kind.CHAT: ChatUsage,
    Kind.RESPONSES: ResponsesUsage,
    Kind.COMPLETIONS: CompletionsUsage,
    Kind.COMPACT: CompactUsage,
    Kind.SPEECH: SpeechUsage,
    Kind.TRANSCRIPTIONS: TranscriptionUsage,
    Kind.IMAGES: ImagesUsage,
}
# Endpoints that OpenAI alone has, by their path; the other three are spoken by others too. The path of a request costs
# less to look up than a kind.
_READERS: dict[str, Callable[[bytes], Parsed]] = {
    "/v1/completions": read_completion,
    "/v1/responses/compact": read_compact,
    "/v1/audio/speech": read_speech,
    "/v1/audio/transcriptions": read_no_form,
    "/v1/audio/translations": read_no_form,
    "/v1/images/generations": read_images,
    "/v1/images/edits": read_images,
    "/v1/images/variations": read_images,
}
_TELL_USAGE_IF_ASKED = (Kind.CHAT, Kind.COMPLETIONS)  # in a stream


# What the counter of responses takes: `InputTokenCountParams` of the openai SDK 3.
_COUNTED = frozenset(
    {
        "conversation",
        "input",
        "instructions",
        "parallel_tool_calls",
        "personality",
        "previous_response_id",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "truncation",
    }
)


class OpenAI:
    """See `Dialect`.

    `chat_limit` is what an output limit is called that the router sets on a chat completion; `renames_limit` whether
    one that the client calls otherwise is called so too; `asks_for_usage` whether streams are asked to tell their usage
    where the client did not ask.
    """

    def __init__(
        self, *, chat_limit: str = "max_completion_tokens", renames_limit: bool = False, asks_for_usage: bool = True
    ) -> None:
        self._limits = {Kind.CHAT: chat_limit, Kind.COMPLETIONS: "max_tokens", Kind.RESPONSES: "max_output_tokens"}
        self._renames = renames_limit
        self._asked = _TELL_USAGE_IF_ASKED if asks_for_usage else ()

    def read(self, endpoint: Endpoint, body: bytes, path_model: str | None, query: str) -> Parsed:
        del path_model  # stands in the body
        reader = _READERS.get(endpoint.path)
        return read(endpoint.kind, body, query) if reader is None else reader(body)

    def rewrite(self, parsed: Parsed, *, model: str | None, output_limit: int | None) -> bytes:
        document = parsed.document
        changes: dict[str, object] = {}
        if model is not None and model != document.get("model"):
            changes["model"] = model
        if output_limit is not None and parsed.size.output_limit is None and parsed.kind in self._limits:
            changes[self._limits[parsed.kind]] = output_limit
        if self._renames and parsed.kind is Kind.CHAT and document.get("max_tokens") is None:
            limit = document.get("max_completion_tokens")
            if limit is not None:
                changes |= {"max_tokens": limit, "max_completion_tokens": None}
        if parsed.stream and not parsed.wants_usage and parsed.kind in self._asked:
            changes["stream_options"] = {**(document.get("stream_options") or {}), "include_usage": True}
        return edited(parsed, changes) if changes else parsed.raw

    def meter(self, endpoint: Endpoint, parsed: Parsed, *, streaming: bool, content_encoding: bytes | None) -> Meter:
        accumulator = _ACCUMULATORS.get(endpoint.kind, EmbeddingsUsage)(endpoint, parsed)
        if not streaming:
            meter = SoundMeter if endpoint.kind is Kind.SPEECH else JsonMeter
            return meter(accumulator, content_encoding)
        hides = not parsed.wants_usage and endpoint.kind in _TELL_USAGE_IF_ASKED
        return StreamMeter(accumulator, content_encoding, hides=hides)

    def count_request(self, endpoint: Endpoint, parsed: Parsed, path: str, model: str) -> tuple[str, Pieces] | None:
        if endpoint.kind not in (Kind.RESPONSES, Kind.COMPACT):
            return None  # chat completions have no counter
        return f"{path.removesuffix('/compact')}/input_tokens", with_model(parsed, model, _COUNTED)

    def refusal(self, status: int, code: str, message: str, request_id: str, facts: Mapping[str, Fact]) -> bytes:
        del request_id  # stands in the headers only, as OpenAI's own does
        return orjson.dumps({"error": _error(status, code, message, facts)})

    def error_event(self, status: int, code: str, message: str, request_id: str, kind: Kind | None = None) -> bytes:
        del request_id
        if kind is Kind.RESPONSES:
            event = {"type": "error", "code": code, "message": message, "param": None, "sequence_number": 0}
            return b"event: error\ndata: " + orjson.dumps(event) + b"\n\n"
        return b"data: " + orjson.dumps({"error": _error(status, code, message, {})}) + b"\n\n"


def _error(status: int, code: str, message: str, facts: Mapping[str, Fact]) -> dict[str, Fact]:
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"param": None, **facts, "message": message, "type": kind, "code": code}
