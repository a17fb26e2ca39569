"""What an OpenAI answer tells: chat completions, responses and embeddings, plain and streamed."""

from typing import Any

import orjson

from proxyd.providers.metering import UsageAccumulator
from proxyd.wire.sse import Event

# Output items of a response that are calls of a tool with a fee, and the fee's usage key.
_CALLS = {"web_search_call": "web_searches", "file_search_call": "storage_searches"}
_FINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


class ChatTally(UsageAccumulator):
    """Chat completions. In a stream the usage comes last, in a chunk whose `choices` are empty."""

    _finished = False

    def event(self, event: Event) -> bool:
        data = event.data
        if data is None:
            return False
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
                    self.content(_written(delta))
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._served(chunk)
            self.reported = usage
            if not choices:
                self._finished = True
                return True
        return False

    def document(self, document: dict[str, Any]) -> None:
        self._served(document)
        self._finished = True
        usage = document.get("usage")
        self.reported = usage if isinstance(usage, dict) else None
        choices = document.get("choices")
        if isinstance(choices, list):
            self.content_later = tuple([choice.get("message") for choice in choices if isinstance(choice, dict)])

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


def _written(delta: dict[str, Any]) -> object:
    """What counts as content of a delta; its role alone does not."""
    content = delta.get("content")
    if isinstance(content, str) and len(delta) <= 2:
        return content
    return [value for name, value in delta.items() if name not in ("role", "id", "type", "index")]


class ResponsesTally(UsageAccumulator):
    """Responses. In a stream the last event carries the whole response with its usage."""

    _finished = False

    def event(self, event: Event) -> bool:
        data = event.data
        if data is None or data == b"[DONE]":
            return False
        if event.name and not _matters(event.name):
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
        elif kind.endswith(".delta"):
            self.content(value.get("delta"))
        return False

    def document(self, document: dict[str, Any]) -> None:
        self._finished = True
        model, tier = document.get("model"), document.get("service_tier")
        self.served_model = model[:200] if isinstance(model, str) else None
        self.service_tier = tier[:32] if isinstance(tier, str) else None
        usage = document.get("usage")
        self.reported = usage if isinstance(usage, dict) else None
        output = document.get("output")
        calls: dict[str, int] = {}
        written: list[object] = []
        for item in output if isinstance(output, list) else ():
            if not isinstance(item, dict):
                continue
            written += item.get("content"), item.get("arguments")
            kind = item.get("type")
            if isinstance(kind, str) and kind in _CALLS:
                calls[_CALLS[kind]] = calls.get(_CALLS[kind], 0) + 1
        self.tool_calls = calls
        self.content_later = tuple(written)

    def _is_final(self, counts: dict[str, int]) -> bool:
        del counts
        return self._finished

    def documents(self, documents: list[Any]) -> None:
        del documents
        self.odd = True


def _matters(name: bytes) -> bool:
    """Whether an event can tell anything new; those that repeat what came in pieces are not parsed."""
    return name.endswith(b".delta") or name == b"error" or name.decode("ascii", "replace") in _FINAL


class EmbeddingsTally(UsageAccumulator):
    """Embeddings, and everything else that is one JSON document with its usage."""

    def event(self, event: Event) -> bool:
        del event
        return False

    def document(self, document: dict[str, Any]) -> None:
        model = document.get("model")
        self.served_model = model[:200] if isinstance(model, str) else None
        usage = document.get("usage")
        self.reported = usage if isinstance(usage, dict) else None

    def documents(self, documents: list[Any]) -> None:
        del documents
        self.odd = True
