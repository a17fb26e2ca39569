"""Responses in OpenAI's dialect, whole and as events, for a client that speaks it."""

from typing import Any

import orjson

from proxyd.translation.answer import (
    Answer,
    AnswerPart,
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
from proxyd.translation.responses_reader import REDACTED
from proxyd.wire.sse import KEEP_ALIVE

_INCOMPLETE: dict[Finish, str] = {"length": "max_output_tokens", "refused": "content_filter"}
Json = dict[str, Any]


def usage_of(tokens: Tokens) -> Json:
    return {
        "input_tokens": tokens.input_tokens,
        "input_tokens_details": {"cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_written},
        "output_tokens": tokens.output_tokens,
        "output_tokens_details": {"reasoning_tokens": tokens.thinking},
        "total_tokens": tokens.input_tokens + tokens.output_tokens,
    }


def write(answer: Answer, created: int) -> Json:
    """A whole answer."""
    status = "incomplete" if answer.finish in _INCOMPLETE else "completed"
    output = [_item(part, answer.id, position, "completed") for position, part in enumerate(answer.parts)]
    return _response(answer, created, status, output)


def _response(answer: Answer, created: int, status: str, output: list[Json]) -> Json:
    reason = _INCOMPLETE.get(answer.finish)
    return {
        "id": answer.id,
        "object": "response",
        "created_at": created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": reason} if status == "incomplete" else None,
        "instructions": None,
        "metadata": {},
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": None if answer.usage is None else usage_of(answer.usage),
    }


def _name(kind: str, answer_id: str, position: int) -> str:
    """The id of an item: nobody asks for it, and it is another for each."""
    return f"{kind}_{answer_id}_{position}"


def _text(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _summary(text: str) -> Json:
    return {"type": "summary_text", "text": text}


def _item(part: AnswerPart, answer_id: str, position: int, status: str) -> Json:
    if isinstance(part, Text):
        item: Json = {"type": "message", "id": _name("msg", answer_id, position), "role": "assistant", "status": status}
        return item | {"content": [_text(part.text)]}
    if isinstance(part, ToolCall):
        return {
            "type": "function_call",
            "id": _name("fc", answer_id, position),
            "call_id": part.id,
            "name": part.name,
            "arguments": orjson.dumps(part.arguments).decode(),
            "status": status,
        }
    item = {"type": "reasoning", "id": _name("rs", answer_id, position), "summary": []}
    if isinstance(part, RedactedThinking):
        return item | {"encrypted_content": REDACTED + part.data}
    return item | {"summary": [_summary(part.text)] if part.text else [], "encrypted_content": part.signature}


class ResponseEvents:
    """Writes one answer piece by piece. Items come in order, and each is told whole at its end."""

    __slots__ = ("_answer", "_arguments", "_created", "_items", "_number", "_part")

    def __init__(self, created: int) -> None:
        self._answer = Answer("", "", (), "end")
        self._created = created
        self._items: list[Json] = []
        self._part: AnswerPart | None = None  # the item that is being written
        self._arguments = ""  # of a call, so far
        self._number = 0

    def write(self, piece: Piece) -> bytes:
        part = self._part
        match piece:
            case Begin():
                self._answer = Answer(piece.id, piece.model, (), "end")
                begun = _response(self._answer, self._created, "in_progress", [])
                told = self._event("response.created", response=begun)
                return told + self._event("response.in_progress", response=begun)
            case TextPiece():
                begun_text = b"" if isinstance(part, Text) else self._begin(Text(""))
                self._part = Text((part.text if isinstance(part, Text) else "") + piece.text)
                place = {**self._place(), "content_index": 0}
                return begun_text + self._event("response.output_text.delta", **place, delta=piece.text, logprobs=[])
            case ThoughtPiece():
                begun_thought = b"" if isinstance(part, Thinking) else self._begin(Thinking("", None))
                self._part = Thinking((part.text if isinstance(part, Thinking) else "") + piece.text, None)
                place = {**self._place(), "summary_index": 0}
                kind = "response.reasoning_summary_text.delta"
                return begun_thought + (self._event(kind, **place, delta=piece.text) if piece.text else b"")
            case Signature():
                begun_thought = b"" if isinstance(part, Thinking) else self._begin(Thinking("", None))
                self._part = Thinking(part.text if isinstance(part, Thinking) else "", piece.signature)
                return begun_thought + self._close()
            case RedactedThinking():
                return self._begin(piece) + self._close()
            case CallBegin():
                return self._begin(ToolCall(piece.id, piece.name, {}))
            case CallPiece():
                self._arguments += piece.arguments
                kind = "response.function_call_arguments.delta"
                return self._event(kind, **self._place(), delta=piece.arguments) if piece.arguments else b""
            case KeepAlive():
                return KEEP_ALIVE
            case End():
                return self._end(piece)
            case _:
                return self._close()

    def _end(self, piece: End) -> bytes:
        self._answer = Answer(self._answer.id, self._answer.model, (), piece.finish, usage=piece.usage)
        closed = self._close()
        status = "incomplete" if piece.finish in _INCOMPLETE else "completed"
        response = _response(self._answer, self._created, status, self._items)
        return closed + self._event(f"response.{status}", response=response)

    def _place(self) -> Json:
        return {"item_id": self._current(ToolCall("", "", {}))["id"], "output_index": len(self._items)}

    def _current(self, otherwise: AnswerPart, status: str = "in_progress") -> Json:
        return _item(self._part or otherwise, self._answer.id, len(self._items), status)

    def _begin(self, part: AnswerPart) -> bytes:
        closed = self._close()
        self._part, self._arguments = part, ""
        item = self._current(part)
        if isinstance(part, Text):
            item["content"] = []
        elif isinstance(part, ToolCall):
            item["arguments"] = ""
        told = closed + self._event("response.output_item.added", output_index=len(self._items), item=item)
        if isinstance(part, Text):
            place = {**self._place(), "content_index": 0}
            return told + self._event("response.content_part.added", **place, part=_text(""))
        if isinstance(part, Thinking):
            place = {**self._place(), "summary_index": 0}
            return told + self._event("response.reasoning_summary_part.added", **place, part=_summary(""))
        return told

    def _close(self) -> bytes:
        part = self._part
        if part is None:
            return b""
        told, place = b"", self._place()
        if isinstance(part, Text):
            place["content_index"] = 0
            told += self._event("response.output_text.done", **place, text=part.text, logprobs=[])
            told += self._event("response.content_part.done", **place, part=_text(part.text))
        elif isinstance(part, Thinking):
            place["summary_index"] = 0
            told += self._event("response.reasoning_summary_text.done", **place, text=part.text)
            told += self._event("response.reasoning_summary_part.done", **place, part=_summary(part.text))
        elif isinstance(part, ToolCall):
            arguments = self._arguments or "{}"
            told += self._event("response.function_call_arguments.done", **place, name=part.name, arguments=arguments)
        item = _item(part, self._answer.id, len(self._items), "completed")
        if isinstance(part, ToolCall):
            item["arguments"] = self._arguments or "{}"  # as it came, whatever it is
        told += self._event("response.output_item.done", output_index=len(self._items), item=item)
        self._items.append(item)
        self._part = None
        return told

    def _event(self, kind: str, **fields: object) -> bytes:
        data = orjson.dumps({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
