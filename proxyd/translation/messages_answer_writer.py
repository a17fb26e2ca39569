"""Answers in Anthropic's dialect, whole and as events, for a client that speaks it."""

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
    KeepAlive,
    Piece,
    Signature,
    TextPiece,
    ThoughtPiece,
    Tokens,
)
from proxyd.translation.conversation import RedactedThinking, Text, Thinking

_STOP_REASONS: dict[Finish, str] = {
    "end": "end_turn",
    "length": "max_tokens",
    "tools": "tool_use",
    "stop_sequence": "stop_sequence",
    "refused": "refusal",
}
Json = dict[str, Any]


def usage_of(tokens: Tokens | None) -> Json:
    """The dialect leaves what was read from a cache, or written to one, out of `input_tokens`."""
    tokens = tokens or Tokens()
    usage: Json = {
        "input_tokens": max(0, tokens.input_tokens - tokens.cache_read - tokens.cache_written),
        "cache_creation_input_tokens": tokens.cache_written,
        "cache_read_input_tokens": tokens.cache_read,
        "output_tokens": tokens.output_tokens,
    }
    return usage | ({"output_tokens_details": {"thinking_tokens": tokens.thinking}} if tokens.thinking else {})


def write(answer: Answer) -> Json:
    """A whole answer."""
    return _message(
        answer.id,
        answer.model,
        [_block(part) for part in answer.parts],
        _STOP_REASONS[answer.finish],
        answer.stop_sequence,
        answer.usage,
    )


def _message(
    name: str, model: str, content: list[Json], reason: str | None, sequence: str | None, usage: Tokens | None
) -> Json:
    return {
        "id": name,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": usage_of(usage),
    }


def _block(part: AnswerPart) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Thinking):
        return {"type": "thinking", "thinking": part.text, "signature": part.signature or ""}
    if isinstance(part, RedactedThinking):
        return {"type": "redacted_thinking", "data": part.data}
    return {"type": "tool_use", "id": part.id, "name": part.name, "input": part.arguments}


class MessageEvents:
    """Writes one answer piece by piece."""

    __slots__ = ("_index", "_open")

    def __init__(self) -> None:
        self._index = 0
        self._open = ""  # the type of the block that is being written

    def write(self, piece: Piece) -> bytes:
        match piece:
            case Begin():
                message = _message(piece.id, piece.model, [], None, None, piece.usage)
                return _event("message_start", message=message)
            case TextPiece():
                begun = self._begin("text", {"type": "text", "text": ""})
                return begun + self._delta({"type": "text_delta", "text": piece.text})
            case ThoughtPiece():
                begun = self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
                return begun + self._delta({"type": "thinking_delta", "thinking": piece.text})
            case Signature():
                begun = self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
                signed = self._delta({"type": "signature_delta", "signature": piece.signature})
                return begun + signed + self._close()
            case RedactedThinking():
                return self._begin("redacted", {"type": "redacted_thinking", "data": piece.data}) + self._close()
            case CallBegin():
                block = {"type": "tool_use", "id": piece.id, "name": piece.name, "input": {}}
                return self._close() + self._begin("tool", block)
            case CallPiece():
                return self._delta({"type": "input_json_delta", "partial_json": piece.arguments})
            case End():
                delta = {"stop_reason": _STOP_REASONS[piece.finish], "stop_sequence": piece.stop_sequence}
                told = _event("message_delta", delta=delta, usage=usage_of(piece.usage))
                return self._close() + told + _event("message_stop")
            case KeepAlive():
                return _event("ping")
            case Failed():
                return b""  # said by whoever words errors
            case _:
                return self._close()

    def _begin(self, kind: str, block: Json) -> bytes:
        if self._open == kind:
            return b""
        closed = self._close()
        self._open = kind
        return closed + _event("content_block_start", index=self._index, content_block=block)

    def _delta(self, delta: Json) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)

    def _close(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        self._index += 1
        return _event("content_block_stop", index=self._index - 1)


def _event(kind: str, **fields: object) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"
