"""Answers of chat completions in OpenAI's dialect, whole and as events, for a client that speaks it.

The dialect has no place for thoughts. They are told as `reasoning_content`, and as `thinking_blocks` with what their
provider wants back; SDKs hand on both, as they do all that they do not know.
"""

from typing import Any

import orjson

from proxyd.translation.answer import (
    Answer,
    Begin,
    CallBegin,
    CallPiece,
    End,
    Finish,
    KeepAlive,
    Piece,
    Signature,
    TextPiece,
    ThoughtPiece,
    Tokens,
)
from proxyd.translation.conversation import RedactedThinking, Text, Thinking, ToolCall
from proxyd.wire.sse import KEEP_ALIVE

_FINISH_REASONS: dict[Finish, str] = {
    "end": "stop",
    "length": "length",
    "tools": "tool_calls",
    "stop_sequence": "stop",
    "refused": "content_filter",
}
DONE = b"data: [DONE]\n\n"
Json = dict[str, Any]


def usage_of(tokens: Tokens) -> Json:
    return {
        "prompt_tokens": tokens.input_tokens,
        "completion_tokens": tokens.output_tokens,
        "total_tokens": tokens.input_tokens + tokens.output_tokens,
        "prompt_tokens_details": {"cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_written},
        "completion_tokens_details": {"reasoning_tokens": tokens.thinking},
    }


def write(answer: Answer, created: int) -> Json:
    """A whole answer."""
    texts = [part.text for part in answer.parts if isinstance(part, Text)]
    message: Json = {"role": "assistant", "content": "".join(texts) if texts else None, "refusal": None}
    thoughts = [part for part in answer.parts if isinstance(part, Thinking | RedactedThinking)]
    if thoughts:
        message["reasoning_content"] = "".join(part.text for part in thoughts if isinstance(part, Thinking))
        message["thinking_blocks"] = [_thought(part) for part in thoughts]
    calls = [part for part in answer.parts if isinstance(part, ToolCall)]
    if calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()},
            }
            for call in calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH_REASONS[answer.finish]}
    document: Json = {
        "id": answer.id,
        "object": "chat.completion",
        "created": created,
        "model": answer.model,
        "choices": [choice],
    }
    return document | ({} if answer.usage is None else {"usage": usage_of(answer.usage)})


def _thought(part: Thinking | RedactedThinking) -> Json:
    if isinstance(part, Thinking):
        return {"type": "thinking", "thinking": part.text, "signature": part.signature or ""}
    return {"type": "redacted_thinking", "data": part.data}


class ChatEvents:
    """Writes one answer piece by piece."""

    __slots__ = ("_argued", "_calls", "_head", "_shows_usage", "_thought", "_thoughts")

    def __init__(self, created: int, *, shows_usage: bool) -> None:
        self._head: Json = {"id": "", "object": "chat.completion.chunk", "created": created, "model": ""}
        self._shows_usage = shows_usage
        self._calls = 0
        self._argued = True  # the call that began last has arguments, or there is none
        self._thought = ""  # so far
        self._thoughts = 0

    def write(self, piece: Piece) -> bytes:
        match piece:
            case Begin():
                self._head |= {"id": piece.id, "model": piece.model}
                return self._chunk({"role": "assistant", "content": "", "refusal": None})
            case TextPiece():
                return self._chunk({"content": piece.text}) if piece.text else b""
            case ThoughtPiece():
                self._thought += piece.text
                return self._chunk({"reasoning_content": piece.text}) if piece.text else b""
            case Signature():
                whole, self._thought = Thinking(self._thought, piece.signature), ""
                return self._block(whole)
            case RedactedThinking():
                return self._block(piece)
            case CallBegin():
                before, self._argued = self._without_arguments(), False
                self._calls += 1
                function = {"name": piece.name, "arguments": ""}
                return before + self._call({"id": piece.id, "type": "function", "function": function})
            case CallPiece():
                self._argued = self._argued or bool(piece.arguments)
                return self._call({"function": {"arguments": piece.arguments}}) if piece.arguments else b""
            case KeepAlive():
                return KEEP_ALIVE
            case End():
                return self._without_arguments() + self._end(piece)
            case _:
                return b""

    def _end(self, piece: End) -> bytes:
        ended = self._chunk({}, _FINISH_REASONS[piece.finish])
        if self._shows_usage and piece.usage is not None:
            told = self._head | {"choices": [], "usage": usage_of(piece.usage)}
            ended += b"data: " + orjson.dumps(told) + b"\n\n"
        return ended + DONE

    def _without_arguments(self) -> bytes:
        """A call without any has an object that is empty, which clients parse."""
        if self._argued:
            return b""
        self._argued = True
        return self._call({"function": {"arguments": "{}"}})

    def _call(self, call: Json) -> bytes:
        return self._chunk({"tool_calls": [{"index": self._calls - 1, **call}]})

    def _block(self, part: Thinking | RedactedThinking) -> bytes:
        # By its index OpenAI's SDK tells one element of a list from the next, and fails without it on the second one.
        self._thoughts += 1
        return self._chunk({"thinking_blocks": [{"index": self._thoughts - 1, **_thought(part)}]})

    def _chunk(self, delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = self._head | {"choices": [choice]} | ({"usage": None} if self._shows_usage else {})
        return b"data: " + orjson.dumps(chunk) + b"\n\n"
