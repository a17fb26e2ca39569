"""Answers of generateContent in Gemini's dialect, whole and as chunks, for a client that speaks it.

What a provider wants back of its thoughts is told as Gemini tells it: as `thoughtSignature` of the part behind them.
"""

import base64
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
    PartEnd,
    Piece,
    Signature,
    TextPiece,
    ThoughtPiece,
    Tokens,
    call_of,
)
from proxyd.translation.conversation import RedactedThinking, Text, Thinking, ToolCall
from proxyd.translation.generate_contents import REDACTED, SIGNED

_FINISH_REASONS: dict[Finish, str] = {
    "end": "STOP",
    "length": "MAX_TOKENS",
    "tools": "STOP",
    "stop_sequence": "STOP",
    "refused": "SAFETY",
}
NOTHING_NEW = b"\n\n"  # Google's SDKs take a comment for a chunk
Json = dict[str, Any]


def usage_of(tokens: Tokens) -> Json:
    """The dialect leaves thoughts out of the candidates' count."""
    thoughts = min(tokens.thinking, tokens.output_tokens)
    usage: Json = {
        "promptTokenCount": tokens.input_tokens,
        "candidatesTokenCount": tokens.output_tokens - thoughts,
        "totalTokenCount": tokens.input_tokens + tokens.output_tokens,
    }
    more = {"cachedContentTokenCount": tokens.cache_read, "thoughtsTokenCount": thoughts}
    return usage | {name: count for name, count in more.items() if count}


class _Parts:
    """Makes parts, and puts each signature on the next of them."""

    __slots__ = ("_signature",)

    def __init__(self) -> None:
        self._signature = ""  # that no part has yet

    def made(self, part: Json) -> list[Json]:
        return [self._signed(part)]

    def sign(self, signature: str) -> list[Json]:
        """Keep one; where there is one already, that gets a part of its own."""
        before = self.rest()
        self._signature = base64.b64encode(signature.encode()).decode()
        return before

    def rest(self) -> list[Json]:
        return [self._signed({"thought": True})] if self._signature else []

    def _signed(self, part: Json) -> Json:
        signature, self._signature = self._signature, ""
        return part | {"thoughtSignature": signature} if signature else part


def _call(call: ToolCall) -> Json:
    return {"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}}


def write(answer: Answer) -> Json:
    """A whole answer. A call that was cut off is left out: Google's SDKs run what they find, however it ended."""
    making, parts = _Parts(), list[Json]()
    for part in answer.parts:
        if isinstance(part, Thinking):
            parts += making.made({"text": part.text, "thought": True}) if part.text else []
            parts += making.sign(SIGNED + part.signature) if part.signature else []
        elif isinstance(part, RedactedThinking):
            parts += making.sign(REDACTED + part.data)
        elif isinstance(part, Text):
            parts += making.made({"text": part.text}) if part.text else []
        elif not part.cut:
            parts += making.made(_call(part))
    return _response(answer.id, answer.model, parts + making.rest(), answer.finish, answer.usage)


def _response(name: str, model: str, parts: list[Json], finish: Finish | None, usage: Tokens | None) -> Json:
    candidate: Json = {"content": {"parts": parts or [{"text": ""}], "role": "model"}}
    if finish is not None:
        candidate["finishReason"] = _FINISH_REASONS[finish]
    found: Json = {"candidates": [candidate | {"index": 0}]}
    if usage is not None:
        found["usageMetadata"] = usage_of(usage)
    return found | {"modelVersion": model, "responseId": name}


class GenerateEvents:
    """Writes one answer piece by piece, each a whole response. A call is told when all of it has come.

    Google's SDKs run every call that they are told, however the answer ends. So one that was cut off is left out, and
    one whose arguments may still come behind the next one's waits for the end, and with it what follows.
    """

    __slots__ = ("_arguments", "_call", "_held", "_is_over", "_making", "_model", "_name")

    def __init__(self) -> None:
        self._name = self._model = ""
        self._making = _Parts()
        self._call: CallBegin | None = None
        self._arguments: list[str] = []
        self._is_over = False  # the provider says so of the call
        self._held: list[tuple[Json, bool]] = []  # parts that wait, and whether each is a call without arguments

    def write(self, piece: Piece) -> bytes:
        """Raises Unreadable for a call whose arguments are none."""
        match piece:
            case Begin():
                self._name, self._model = piece.id, piece.model
                return b""
            case TextPiece():
                return self._told({"text": piece.text}) if piece.text else b""
            case ThoughtPiece():
                return self._told({"text": piece.text, "thought": True}) if piece.text else b""
            case Signature():
                return self._chunk(self._called() + self._making.sign(SIGNED + piece.signature))
            case RedactedThinking():
                return self._chunk(self._called() + self._making.sign(REDACTED + piece.data))
            case CallBegin():
                before = self._called()
                self._call, self._is_over = piece, False
                return self._chunk(before)
            case CallPiece():
                self._arguments.append(piece.arguments)
                return b""
            case PartEnd():
                self._is_over = True
                return b""
            case KeepAlive():
                return NOTHING_NEW
            case End():
                parts = self._last(cut=piece.finish == "length") + self._making.rest()
                return _event(_response(self._name, self._model, parts, piece.finish, piece.usage))
            case _:
                return b""

    def _told(self, part: Json) -> bytes:
        return self._chunk(self._called() + self._making.made(part))

    def _taken(self, *, cut: bool) -> ToolCall | None:
        """The call that was on its way."""
        begun, arguments = self._call, "".join(self._arguments)
        self._call, self._arguments = None, []
        return None if begun is None else call_of(begun.id, begun.name, arguments, cut=cut)

    def _called(self) -> list[Json]:
        """The call that was on its way, as something else has come."""
        waits = not self._is_over and not "".join(self._arguments).strip()
        call = self._taken(cut=False)
        made = [] if call is None else self._making.made(_call(call))
        if not waits:
            return made
        self._held += [(part, True) for part in made]
        return []

    def _last(self, *, cut: bool) -> list[Json]:
        """All that was not told yet, as the answer has ended."""
        call = self._taken(cut=cut)
        held = [part for part, is_bare in self._held if not (cut and is_bare)]
        return held if call is None or call.cut else held + self._making.made(_call(call))

    def _chunk(self, parts: list[Json]) -> bytes:
        if self._held:
            self._held += [(part, False) for part in parts]
            return b""
        return _event(_response(self._name, self._model, parts, None, None)) if parts else b""


def _event(response: Json) -> bytes:
    return b"data: " + orjson.dumps(response) + b"\n\n"


class JsonList:
    """Events as the elements of one JSON list, which is what a stream is where nobody asks for events."""

    __slots__ = ("_before",)

    def __init__(self) -> None:
        self._before = b"["

    def feed(self, events: bytes) -> bytes:
        told = b""
        for event in events.split(b"\n\n"):
            if event:
                told += self._before + event.removeprefix(b"data: ")
                self._before = b",\r\n"
        return told or (b"\n" if events else b"")

    def end(self) -> bytes:
        """Behind the last of them."""
        return b"[]" if self._before == b"[" else b"]"
