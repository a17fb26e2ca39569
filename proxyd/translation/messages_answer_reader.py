"""Anthropic's answers, whole and as events: into no dialect."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson

from proxyd.translation.answer import (
    Answer,
    AnswerPart,
    Begin,
    CallBegin,
    CallPiece,
    End,
    Failed,
    Finish,
    PartEnd,
    Piece,
    Signature,
    TextPiece,
    ThoughtPiece,
    Tokens,
    Unreadable,
)
from proxyd.translation.chat_answer_reader import error_in, kept_alive, listed, number, section, word
from proxyd.translation.conversation import RedactedThinking, Text, Thinking, ToolCall
from proxyd.wire.json_size import takes_long
from proxyd.wire.sse import Event

_FINISHES: Mapping[str, Finish] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tools",
    "stop_sequence": "stop_sequence",
    "refusal": "refused",
}
# HTTP status of errors that come inside a stream, by their type; every other one is 500.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def read(document: Mapping[str, Any]) -> Answer:
    """A whole answer. Raises Unreadable."""
    if document.get("type") != "message":
        raise Unreadable("the answer is no message")
    finish = _FINISHES.get(word(document, "stop_reason"), "end")
    parts = [_part(block) for block in listed(document, "content")]
    if finish == "length" and parts and isinstance(parts[-1], ToolCall):
        parts[-1] = replace(parts[-1], cut=True)  # its input is as much as there was of it, and does not show that
    return Answer(
        word(document, "id"),
        word(document, "model"),
        tuple(parts),
        finish,
        word(document, "stop_sequence") or None,
        tokens_of(section(document, "usage")),
    )


def _part(block: Mapping[str, Any]) -> AnswerPart:
    kind = block.get("type")
    if kind == "text":
        return Text(word(block, "text"))
    if kind == "tool_use":
        return ToolCall(word(block, "id"), word(block, "name"), section(block, "input"))
    if kind == "thinking":
        return Thinking(word(block, "thinking"), word(block, "signature") or None)
    if kind == "redacted_thinking":
        return RedactedThinking(word(block, "data"))
    raise Unreadable(f"the answer holds a block of type {str(kind)[:80]}")


def tokens_of(usage: Mapping[str, Any]) -> Tokens:
    """What was read from a cache, or written to one, is not in `input_tokens`."""
    read_from, written = number(usage, "cache_read_input_tokens"), number(usage, "cache_creation_input_tokens")
    return Tokens(
        number(usage, "input_tokens") + read_from + written,
        number(usage, "output_tokens"),
        read_from,
        written,
        number(section(usage, "output_tokens_details"), "thinking_tokens"),
    )


class MessageStream:
    """Reads one answer event by event."""

    __slots__ = ("_done", "_end", "_usage")

    def __init__(self) -> None:
        self._done = False
        self._end = End("end")
        self._usage: dict[str, Any] = {}  # figures are cumulative, and later events tell only some of them

    def read(self, event: Event) -> Iterator[Piece]:
        """What an event tells. Raises Unreadable."""
        if self._done:
            return
        if event.data is None or event.name == b"ping":
            yield from kept_alive(event)
            return
        if takes_long(event.data):
            raise Unreadable("an event has too many values")
        try:
            value = orjson.loads(event.data)
        except orjson.JSONDecodeError:
            raise Unreadable("an event is no JSON") from None
        if not isinstance(value, dict):
            raise Unreadable("an event is no object")
        kind = value.get("type")
        if kind == "message_start":
            message = section(value, "message")
            self._learn(section(message, "usage"))
            yield Begin(word(message, "id"), word(message, "model"), tokens_of(self._usage))
        elif kind == "content_block_start":
            yield from _begun(_part(section(value, "content_block")))
        elif kind == "content_block_delta":
            yield from _more(section(value, "delta"))
        elif kind == "content_block_stop":
            yield PartEnd()
        elif kind == "message_delta":
            delta = section(value, "delta")
            self._learn(section(value, "usage"))
            finish = _FINISHES.get(word(delta, "stop_reason"), "end")
            self._end = End(finish, word(delta, "stop_sequence") or None, tokens_of(self._usage))
        elif kind == "message_stop":
            self._done = True
            yield replace(self._end, usage=tokens_of(self._usage))
        elif kind == "error":
            self._done = True
            name, message_text = error_in(value)
            yield Failed(_STATUSES.get(name, 500), name, message_text)

    def end(self) -> Iterator[Piece]:
        """The body is over; without its last event it is not complete."""
        if not self._done:
            raise Unreadable("the answer broke off before it was complete")
        yield from ()

    def _learn(self, usage: Mapping[str, Any]) -> None:
        self._usage |= {name: value for name, value in usage.items() if value is not None}


def _begun(part: AnswerPart) -> Iterator[Piece]:
    """A block as it begins: mostly empty."""
    if isinstance(part, Text):
        yield TextPiece(part.text)
    elif isinstance(part, Thinking):
        yield ThoughtPiece(part.text)
    elif isinstance(part, RedactedThinking):
        yield part
    else:
        yield CallBegin(part.id, part.name)


def _more(delta: Mapping[str, Any]) -> Iterator[Piece]:
    kind = delta.get("type")
    if kind == "text_delta":
        yield TextPiece(word(delta, "text"))
    elif kind == "thinking_delta":
        yield ThoughtPiece(word(delta, "thinking"))
    elif kind == "signature_delta":
        yield Signature(word(delta, "signature"))
    elif kind == "input_json_delta":
        yield CallPiece(word(delta, "partial_json"))
    else:
        raise Unreadable(f"the answer holds a delta of type {str(kind)[:80]}")
