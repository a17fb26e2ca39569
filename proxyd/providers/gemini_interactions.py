"""Gemini's interactions: what a request asks for, and what its answer tells, plain, streamed or in the background.

Sources: ai.google.dev/api/interactions-api and the types `CreateModelInteraction`, `Interaction`, `Usage` of
google-genai 3. Figures are those of generateContent under other names, and are read as such.
"""

from collections.abc import Mapping
from typing import Any

from proxyd.providers.accumulator import UsageAccumulator
from proxyd.providers.base import BadBody, Parsed
from proxyd.providers.body import flag, model_name, read_object, text
from proxyd.providers.gemini_request import bills_searches_by_request, most_searches
from proxyd.providers.input_estimate import (
    OVERHEAD_TOKENS,
    TOOLS_OVERHEAD_TOKENS,
    InputEstimate,
    shaping_parameter,
)
from proxyd.providers.protobuf_json import count, objects
from proxyd.wire.sse import Event
from shared.catalog import Kind
from shared.pricing import Size, whole

_NESTED = {"generation_config": (b'"max_output_tokens"',)}
_PLAIN_TOOLS = frozenset({"function", "computer_use"})
_CONTEXT_TOOLS = frozenset({"url_context", "code_execution", "file_search", "mcp_server", "tool_search"})
_STATE = ("previous_interaction_id", "cached_content", "environment", "continuation_token")  # input that stands there
_PLAIN = frozenset({"text", "thought", "user_input", "model_output", "function_call", "function_result"})
_OPEN = frozenset({"queued", "in_progress", "requires_continuation"})

# Our name of a figure -> theirs.
_TOTALS = {
    "promptTokenCount": "total_input_tokens",
    "candidatesTokenCount": "total_output_tokens",
    "thoughtsTokenCount": "total_thought_tokens",
    "cachedContentTokenCount": "total_cached_tokens",
    "toolUsePromptTokenCount": "total_tool_use_tokens",
    "totalTokenCount": "total_tokens",
}
_DETAILS = {
    "promptTokensDetails": "input_tokens_by_modality",
    "candidatesTokensDetails": "output_tokens_by_modality",
    "cacheTokensDetails": "cached_tokens_by_modality",
    "toolUsePromptTokensDetails": "tool_use_tokens_by_modality",
}
# The first turn's share of the input, and calls, which are counted below.
_KNOWN = frozenset({*_TOTALS.values(), *_DETAILS.values(), "initial_input_tokens", "grounding_tool_count"})
_FEES = {"google_search": "web_searches", "google_maps": "map_searches"}


def read(body: bytes, query: str) -> Parsed:
    """Understand a body. Raises BadBody."""
    document = read_object(body, _NESTED)
    named = document.get("model")
    model = None if named is None else model_name(named).removeprefix("models/")
    if model is None and document.get("agent") is None:
        raise BadBody("model is missing.", "model")
    stream = flag(document, "stream")
    size = _size(document, body, model or "", query)
    return Parsed(Kind.INTERACT, model, stream=stream, size=size, wants_usage=True, document=document, raw=body)


def _size(document: Mapping[str, Any], body: bytes, model: str, query: str) -> Size:
    estimate = InputEstimate()
    _estimate(document.get("input"), estimate)
    estimate.unseen = estimate.unseen or any(document.get(name) is not None for name in _STATE)
    fees: dict[str, int] = {}
    if document.get("cached_content") is not None:
        fees["web_searches"] = most_searches(model)  # it may hold tools
    for tool in objects(document, "tools"):
        kind = text(tool, "type")
        if kind in _PLAIN_TOOLS:
            continue
        estimate.grows = True
        if kind == "google_search":
            fees["web_searches"] = most_searches(model)
        elif kind not in _CONTEXT_TOOLS:
            estimate.unknown_tool(kind)
    _find_features(document, query, estimate)
    config = document.get("generation_config")
    if config is not None and not isinstance(config, dict):
        raise BadBody("generation_config must be an object.", "generation_config")
    tier = text(document, "service_tier")
    shapes = document.get("tools") or document.get("response_format")
    return Size(
        text_bytes=estimate.text_bytes(body),
        image_parts=estimate.images,
        audio_tokens=estimate.audio_tokens,
        context_inputs=estimate.unseen or estimate.grows,
        countable=False,  # the counter knows contents, not interactions
        overhead_tokens=TOOLS_OVERHEAD_TOKENS if shapes else OVERHEAD_TOKENS,
        output_limit=count(config or {}, "max_output_tokens", param="generation_config.max_output_tokens") or None,
        tool_fees=fees,
        cache_writes=False,
        service_tier=None if tier is None else tier.lower(),
        unpriced=estimate.unpriced,
        unbounded=estimate.unbounded,
        other_models=estimate.other_models,
        classes=(*estimate.classes, *_classes(document)),
    )


def _find_features(document: Mapping[str, Any], query: str, estimate: InputEstimate) -> None:
    """Note what goes on by itself, for as long as it likes, and what makes an answer that cannot be read."""
    if flag(document, "background"):
        estimate.feature("background")
    if document.get("agent") is not None:
        estimate.feature("agent")
        estimate.other_models = True
    if (shaping := shaping_parameter(query)) is not None:
        estimate.feature(shaping)


def _classes(document: Mapping[str, Any]) -> tuple[str, ...]:
    """What it is asked to write beside text."""
    modalities = document.get("response_modalities")
    asked = {name.lower() for name in modalities if isinstance(name, str)} if isinstance(modalities, list) else set()
    formats = document.get("response_format")
    for one in formats if isinstance(formats, list) else [formats]:
        if isinstance(one, dict) and isinstance(one.get("type"), str):
            asked.add(one["type"].lower())
    return tuple(f"output_{name}_tokens" for name in sorted(asked & {"audio", "image", "video"}))


def _estimate(given: object, estimate: InputEstimate) -> None:
    """Find the media in steps and contents, however deep. Not by recursion: a client decides how deep."""
    waiting = list(given) if isinstance(given, list) else [given]
    while waiting:
        part = waiting.pop()
        if type(part) is not dict:
            continue
        for name in ("content", "result", "summary"):
            inner = part.get(name)
            if type(inner) is list:
                waiting.extend(inner)
            elif type(inner) is dict:
                waiting.append(inner)
        kind = text(part, "type")
        if kind in _PLAIN or (kind is None and "role" in part):
            continue
        if kind == "image" and isinstance(part.get("data"), str):
            estimate.image_data(part["data"])
        elif kind == "image":
            estimate.image(part.get("uri"))
        elif kind == "audio" and isinstance(part.get("data"), str):
            estimate.audio(part["data"])
        elif kind == "audio":
            estimate.medium("audio/")
        elif kind in ("document", "video"):
            estimate.film = estimate.film or kind == "video"
            estimate.file(part.get("data"))
        else:
            estimate.unseen = True


class InteractionUsage(UsageAccumulator):
    """Interactions. In a stream the last event has the figures."""

    _finished = False

    def event(self, event: Event) -> bool:
        if event.data is None or event.data == b"[DONE]":
            return self.without_data(event)
        value = self.object_of(event.data)
        if value is None:
            return False
        kind = value.get("event_type")
        if kind in ("step.delta", "step.start"):
            self._write(value.get("delta") or value.get("step"))
        elif kind == "interaction.created":
            self._defer(value.get("interaction"))
        elif kind == "interaction.completed":
            self.complete = True
            interaction = value.get("interaction")
            if isinstance(interaction, dict):
                self.document(interaction)
        elif kind == "error":
            self.failed = True
        return False

    def document(self, document: dict[str, Any]) -> None:
        self._finished = True
        self._defer(document)
        self.failed = document.get("status") == "failed"
        model, tier = document.get("model"), document.get("service_tier")
        self.served_model = model.removeprefix("models/")[:200] if isinstance(model, str) else None
        self.service_tier = tier.lower()[:32] if isinstance(tier, str) else self._parsed.size.service_tier
        usage = document.get("usage")
        if isinstance(usage, dict):
            self.report(as_content_usage(usage))
            self._count_calls(usage.get("grounding_tool_count"))
        self.unweighed = document
        if self.reported is not None and not self.reported.get("candidatesTokensDetails"):
            self._weigh()  # whether there is a picture in it

    def _defer(self, interaction: object) -> None:
        """What runs in the background, or by an agent, goes on without us until its end is told."""
        if not isinstance(interaction, dict) or not runs_on(self._parsed.document):
            return
        name, status = interaction.get("id"), interaction.get("status")
        self.deferred = isinstance(status, str) and status in _OPEN
        self.job = name if isinstance(name, str) else None

    def _count_calls(self, told: object) -> None:
        calls: dict[str, int] = {}
        for one in told if isinstance(told, list) else () if told is None else (None,):
            kind, made = (one.get("type"), whole(one.get("count") or 0)) if isinstance(one, dict) else (None, None)
            key = _FEES.get(str(kind))
            if made is None or (made and key is None):
                self.odd = True
            elif made and key is not None:
                model = self.served_model or self._parsed.model or ""
                by_request = key == "web_searches" and bills_searches_by_request(model)
                calls[key] = 1 if by_request else calls.get(key, 0) + made
        self.tool_calls = calls

    def written(self, document: dict[str, Any]) -> None:
        for name in ("steps", "outputs"):
            steps = document.get(name)
            for step in steps if isinstance(steps, list) else ():
                if isinstance(step, dict) and step.get("type") != "user_input":
                    self._write(step)

    def _write(self, part: object) -> None:
        """Count a part, and the sounds and pictures in it, whose base64 is no text."""
        waiting, media_bytes = [part], 0
        while waiting:
            item = waiting.pop()
            if isinstance(item, list):
                waiting.extend(item)
            elif isinstance(item, dict):
                waiting.extend(value for value in item.values() if isinstance(value, dict | list))
                data, mime = item.get("data"), item.get("mime_type") or f"{item.get('type')}/"
                if isinstance(data, str) and self.blob(mime, data):
                    media_bytes += len(data)
                elif data is None and isinstance(item.get("uri"), str):
                    self.stored(mime)
        self.content(_written(part))
        self.content_bytes = max(0, self.content_bytes - media_bytes)

    def _is_final(self, counts: dict[str, int]) -> bool:
        del counts
        return self._finished

    def documents(self, documents: list[Any]) -> None:
        del documents
        self.odd = True


def runs_on(request: Mapping[str, Any]) -> bool:
    """Whether an interaction may go on after its answer."""
    return request.get("background") is True


def as_content_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of an interaction as generateContent would tell them. What is not known here keeps its name."""
    found: dict[str, Any] = {name: value for name, value in usage.items() if name not in _KNOWN}
    found |= {ours: usage[theirs] for ours, theirs in _TOTALS.items() if usage.get(theirs) is not None}
    for ours, theirs in _DETAILS.items():
        details = usage.get(theirs)
        if details is not None:
            found[ours] = [
                {"modality": str(one.get("modality", "")).upper(), "tokenCount": one.get("tokens", 0)}
                if isinstance(one, dict)
                else one
                for one in (details if isinstance(details, list) else [details])
            ]
    return found


def _written(part: object) -> object:
    """What counts as content: everything but names and signatures."""
    if not isinstance(part, dict):
        return part
    return [value for name, value in part.items() if name not in ("type", "id", "signature", "call_id", "name")]
