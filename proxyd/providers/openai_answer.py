"""What an OpenAI answer tells: chat completions, responses and embeddings, plain and streamed."""

from collections.abc import Mapping
from typing import Any

import orjson

from proxyd.providers.accumulator import UsageAccumulator
from proxyd.providers.openai_tools import (
    CALL_EVENTS,
    ITEM_DONE,
    always_searches,
    call_fee,
    effective_tools,
    images_made,
    items,
    tool_calls,
)
from proxyd.wire.json_size import SHORT_BYTES, takes_long
from proxyd.wire.sse import Event
from shared.pricing import Usage

_FEW = 2  # fields of a delta that has no more than its text, and whose it is
_NO_CONTENT = frozenset({"role", "id", "type", "index"})  # of a delta; its role alone is no content
_SOUND_DELTAS = ("response.audio.delta", "response.output_audio.delta")
# Of an item of a response: what names it, and what a tool made or found, which is no text of the model's.
_UNWRITTEN = frozenset(
    {"id", "type", "status", "role", "phase", "call_id", "object", "output", "outputs", "result", "results", "tools"}
)
_NOT_BY_THE_MODEL = ("_output", "mcp_list_tools")
_FINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


class ChatUsage(UsageAccumulator):
    """Chat completions. In a stream the usage comes last, in a chunk whose `choices` are empty."""

    _finished = False

    def _calls(self) -> Mapping[str, int]:
        """Some models search before every answer, at a fee, though no tool is named; others if options ask for it."""
        if self._endpoint.prices_id != "openai":
            return self.tool_calls
        fee = always_searches(self._parsed.model or "")
        if fee is None and self._parsed.document.get("web_search_options") is not None:
            fee = "web_searches"
        return self.tool_calls if fee is None else {fee: 1}

    def event(self, event: Event) -> bool:
        data = event.data
        if data is None or (len(data) > SHORT_BYTES and self.too_long(data)):
            return self.without_data(event)
        if data == b"[DONE]":
            self.complete = True
            return False
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            self.odd = True
            return False
        if not isinstance(chunk, dict):
            return False
        if chunk.get("error") is not None:
            self.failed = True
            return False
        if self.served_model is None:
            self._served(chunk)
        choices = chunk.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                if not isinstance(choice, dict):
                    continue
                if choice.get("finish_reason") is not None:
                    self._finished = True
                delta = choice.get("delta")
                if isinstance(delta, dict):
                    self._delta(delta)
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._served(chunk)
            self.report(usage)
            if not choices:
                self._finished = True
                return True
        return False

    def document(self, document: dict[str, Any]) -> None:
        self._served(document)
        self._finished = True
        self.report(document.get("usage"))
        self.unweighed = document

    def written(self, document: dict[str, Any]) -> None:
        choices = document.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            message = choice.get("message") if isinstance(choice, dict) else None
            if isinstance(message, dict):
                asked = self._parsed.document.get("audio")
                coding = asked.get("format") if isinstance(asked, dict) else None
                self._message(message, frozenset(), pcm=coding in ("pcm16", "wav"))

    def _delta(self, delta: dict[str, Any]) -> None:
        text = delta.get("content")
        if isinstance(text, str) and len(delta) <= _FEW:
            self.content(text)
        else:
            self._message(delta, _NO_CONTENT, pcm=True)  # in streams there is no other coding

    def _message(self, message: dict[str, Any], left_out: frozenset[str], *, pcm: bool) -> None:
        """Count what a message or a piece of one says. Of its sound only the transcript is text."""
        sound = message.get("audio")
        if isinstance(sound, dict):
            self.sound(sound.get("data"), pcm=pcm)
            message = {**message, "audio": sound.get("transcript")}
        self.content([value for name, value in message.items() if name not in left_out])

    def _served(self, chunk: dict[str, Any]) -> None:
        model, tier = chunk.get("model"), chunk.get("service_tier")
        if isinstance(model, str):
            self.served_model = model[:200]
        if isinstance(tier, str):
            self.service_tier = tier[:32]

    def _is_final(self, counts: dict[str, int]) -> bool:
        del counts
        return self._finished or self.complete

    def documents(self, documents: list[Any]) -> None:
        del documents
        self.odd = True


class CompletionsUsage(ChatUsage):
    """Completions of text, the oldest endpoint. Their choices have a text in place of a message."""

    def event(self, event: Event) -> bool:
        if super().event(event):
            return True
        if event.data is None or takes_long(event.data):
            return False
        try:
            chunk = orjson.loads(event.data)
        except orjson.JSONDecodeError:
            return False
        if isinstance(chunk, dict):
            self.written(chunk)
        return False

    def written(self, document: dict[str, Any]) -> None:
        choices = document.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self.content(choice.get("text"))


class ResponsesUsage(UsageAccumulator):
    """Responses. In a stream the last event carries the whole response with its usage."""

    _finished = False
    _pictures: tuple[Usage, ...] = ()
    _called: dict[object, str | None] | None = None  # the fees of a stream's calls so far, by their items
    _told_tools: object = None

    def event(self, event: Event) -> bool:
        data = event.data
        if data is None or data == b"[DONE]":
            return self.without_data(event)
        if event.name and not _matters(event.name, data) and not self._is_begun(event.name):
            return False
        if len(data) > SHORT_BYTES and self.too_long(data):
            return False
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            self.odd = True
            return False
        kind = value.get("type") if isinstance(value, dict) else None
        if not isinstance(kind, str):
            self.failed = self.failed or (isinstance(value, dict) and value.get("error") is not None)
        elif kind in _FINAL:
            self.complete = True
            self.failed = kind == "response.failed"
            response = value.get("response")
            if isinstance(response, dict):
                self.document(response)
        elif kind == "error":
            self.failed = True
        elif kind == "response.created":
            self._begun(value.get("response"))
        elif kind in _SOUND_DELTAS:
            self.sound(value.get("delta"), pcm=True)
        elif kind.endswith(".delta"):
            self.content(value.get("delta"))
        elif kind in CALL_EVENTS:
            self._call(value.get("item_id"), {"type": CALL_EVENTS[kind]})
        elif kind == ITEM_DONE and isinstance(value.get("item"), dict):
            self._call(value["item"].get("id"), value["item"])
        return False

    def too_long(self, data: bytes) -> bool:
        if not super().too_long(data):
            return False
        if self.reported is not None:  # only the last event has figures
            self.complete = self._finished = True
        return True

    def _call(self, item_id: object, item: Mapping[str, Any]) -> None:
        """Count a call in case the stream breaks off before its end tells them all. Of an item its last word counts."""
        called = self._called = self._called or {}
        key = call_fee(item, effective_tools(self._parsed.tools, self._told_tools))
        called[item_id if isinstance(item_id, str) else len(called)] = key
        fees = [fee for fee in called.values() if fee is not None]
        self.tool_calls = {fee: fees.count(fee) for fee in fees}

    def document(self, document: dict[str, Any]) -> None:
        self._finished = True
        model, tier = document.get("model"), document.get("service_tier")
        self.served_model = model[:200] if isinstance(model, str) else None
        self.service_tier = tier[:32] if isinstance(tier, str) else self.service_tier
        self.report(document.get("usage"))
        self._defer(document)
        tools = effective_tools(self._parsed.tools, document.get("tools"))
        self.tool_calls, unreadable = tool_calls(document, tools)
        self.odd = self.odd or unreadable
        self._pictures = images_made(document, tools)
        self.unweighed = document

    def _is_begun(self, name: bytes) -> bool:
        """Whether an event names a job, or tools that the request does not tell of."""
        asked = self._parsed.document
        return name == b"response.created" and (asked.get("background") is True or asked.get("prompt") is not None)

    def _begun(self, response: object) -> None:
        self._defer(response)
        self._told_tools = response.get("tools") if isinstance(response, dict) else None

    def _defer(self, response: object) -> None:
        """What runs in the background goes on without us: until its end is told here, it is told by a later request."""
        if self._parsed.document.get("background") is not True or not isinstance(response, dict):
            return
        job = response.get("id")
        self.deferred = response.get("status") in ("queued", "in_progress")
        self.job = job if isinstance(job, str) else None

    def written(self, document: dict[str, Any]) -> None:
        for item in items(document):
            if not str(item.get("type")).endswith(_NOT_BY_THE_MODEL):
                self.content([value for name, value in item.items() if name not in _UNWRITTEN])

    def _is_final(self, counts: dict[str, int]) -> bool:
        del counts
        return self._finished

    def _parts(self, counts: dict[str, int]) -> tuple[Usage, ...]:
        del counts
        return self._pictures

    def documents(self, documents: list[Any]) -> None:
        del documents
        self.odd = True


class CompactUsage(ResponsesUsage):
    """A compacted conversation. Its output repeats what was sent; only the summary was written."""

    def written(self, document: dict[str, Any]) -> None:
        for item in items(document):
            if item.get("type") == "compaction":
                self.content(item.get("encrypted_content"))


def _matters(name: bytes, data: bytes) -> bool:
    """Whether an event can tell anything new; those that repeat what came in pieces are not parsed."""
    if name.endswith(b".delta") or name == b"error":
        return True
    kind = name.decode("ascii", "replace")
    return kind in _FINAL or kind in CALL_EVENTS or (kind == ITEM_DONE and b"_call" in data)


class EmbeddingsUsage(UsageAccumulator):
    """Embeddings, and everything else that is one JSON document with its usage."""

    def event(self, event: Event) -> bool:
        del event
        return False

    def document(self, document: dict[str, Any]) -> None:
        model = document.get("model")
        self.served_model = model[:200] if isinstance(model, str) else None
        self.report(document.get("usage"))

    def documents(self, documents: list[Any]) -> None:
        del documents
        self.odd = True
