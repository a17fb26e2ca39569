"""Answers of chat completions, from OpenAI or from Gemini's compatible endpoint: into no dialect."""

from collections.abc import Iterator, Mapping
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
    PartEnd,
    Piece,
    Signature,
    TextPiece,
    ThoughtPiece,
    Tokens,
    Unreadable,
    call_of,
)
from proxyd.translation.chat_writer import GEMINI_SIGNATURE
from proxyd.translation.conversation import Text, Thinking
from proxyd.wire.json_size import takes_long
from proxyd.wire.sse import PIECE_BYTES, UNREAD, Event
from shared.pricing import MAX_COUNT

_FINISHES: Mapping[str, Finish] = {"length": "length", "content_filter": "refused"}


def section(document: object, name: str) -> dict[str, Any]:
    """An object in an object; empty where there is none."""
    found = document.get(name) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def listed(document: object, name: str) -> list[dict[str, Any]]:
    """The objects of a list; empty where there is none."""
    found = document.get(name) if isinstance(document, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def word(document: Mapping[str, Any], name: str) -> str:
    """A text; empty where there is none."""
    found = document.get(name)
    return found if isinstance(found, str) else ""


def number(document: Mapping[str, Any], name: str) -> int:
    """A count; 0 where there is none."""
    found = document.get(name)
    return found if type(found) is int and 0 <= found <= MAX_COUNT else 0


def read(document: Mapping[str, Any]) -> Answer:
    """A whole answer. Raises Unreadable."""
    choices = listed(document, "choices")
    if not choices:
        raise Unreadable("the answer has no choice")
    choice, message = choices[0], section(choices[0], "message")
    refused = word(message, "refusal")
    finish = _finish(word(choice, "finish_reason"), calls=bool(listed(message, "tool_calls")), refused=bool(refused))
    parts: list[AnswerPart] = [Text(text) for text in (word(message, "content"), refused) if text]
    for number_of_call, call in enumerate(listed(message, "tool_calls")):
        parts += [Thinking("", signature) for signature in _signature(call)]
        function = section(call, "function")
        name, arguments = word(function, "name"), word(function, "arguments")
        parts.append(call_of(word(call, "id") or f"call_{number_of_call}", name, arguments, cut=finish == "length"))
    usage = document.get("usage")
    tokens = tokens_of(usage) if isinstance(usage, dict) else None
    return Answer(word(document, "id"), word(document, "model"), tuple(parts), finish, None, tokens)


def _finish(reason: str, *, calls: bool, refused: bool) -> Finish:
    """Why it ended. A call that the request named ends with `stop`, and is to be made all the same."""
    found = _FINISHES.get(reason, "refused" if refused else "end")
    return "tools" if calls and found == "end" else found


def _signature(call: Mapping[str, Any]) -> Iterator[str]:
    """Gemini signs its calls, and wants the signature back with them."""
    google = section(section(call, "extra_content"), "google")
    if signature := word(google, "thought_signature"):
        yield GEMINI_SIGNATURE + signature


def tokens_of(usage: Mapping[str, Any]) -> Tokens:
    """Gemini's thoughts are in the total alone."""
    told, written = section(usage, "prompt_tokens_details"), section(usage, "completion_tokens_details")
    prompt, completion = number(usage, "prompt_tokens"), number(usage, "completion_tokens")
    output = max(completion, number(usage, "total_tokens") - prompt)
    return Tokens(
        prompt,
        output,
        number(told, "cached_tokens"),
        number(told, "cache_write_tokens"),
        number(written, "reasoning_tokens") or output - completion,
    )


def kept_alive(event: Event) -> Iterator[Piece]:
    """What an event without data tells. Comments are for the timers of those who wait; a part of an event is not.

    Raises Unreadable for one that is larger than what is looked into: nothing of an answer is left out in silence.
    """
    if event.name == UNREAD or len(event.raw) > PIECE_BYTES:
        raise Unreadable("an event is too large")
    if event.raw.lstrip().startswith(b":") or event.name == b"ping":
        yield KeepAlive()


class ChatStream:
    """Reads one answer event by event."""

    __slots__ = ("_began", "_call", "_calls", "_done", "_finish", "_index", "_refused", "_usage")

    def __init__(self) -> None:
        self._began = self._done = self._refused = False
        self._finish = ""
        self._usage: Tokens | None = None
        self._calls = 0
        self._call = ""  # the id of the call that began last
        self._index: object = None

    def read(self, event: Event) -> Iterator[Piece]:
        """What an event tells. Raises Unreadable."""
        if self._done:
            return
        if event.data is None:
            yield from kept_alive(event)
            return
        if event.data == b"[DONE]":
            yield from self._end()
            return
        if takes_long(event.data):
            raise Unreadable("an event has too many values")
        try:
            chunk = orjson.loads(event.data)
        except orjson.JSONDecodeError:
            raise Unreadable("an event is no JSON") from None
        if not isinstance(chunk, dict):
            raise Unreadable("an event is no object")
        if chunk.get("error") is not None:
            kind, message = error_in(chunk)
            self._done = True
            yield Failed(500, kind, message)
            return
        if not self._began:
            self._began = True
            yield Begin(word(chunk, "id"), word(chunk, "model"))
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._usage = tokens_of(usage)
        for choice in listed(chunk, "choices"):
            if choice.get("index", 0) == 0:
                yield from self._choice(choice)

    def end(self) -> Iterator[Piece]:
        """The body is over; some servers do without the last event."""
        if self._done:
            return
        if not self._finish:
            raise Unreadable("the answer broke off before it was complete")
        yield from self._end()

    def _end(self) -> Iterator[Piece]:
        self._done = True
        yield End(_finish(self._finish, calls=self._calls > 0, refused=self._refused), None, self._usage)

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[Piece]:
        delta = section(choice, "delta")
        if text := word(delta, "content"):
            yield TextPiece(text)
        if refusal := word(delta, "refusal"):
            if not self._refused:
                yield PartEnd()
            self._refused = True
            yield TextPiece(refusal)
        for call in listed(delta, "tool_calls"):
            yield from self._called(call)
        self._finish = word(choice, "finish_reason") or self._finish

    def _called(self, call: Mapping[str, Any]) -> Iterator[Piece]:
        """A call begins with its id. Gemini gives the same index to all of an answer's, and each of them whole."""
        function, name = section(call, "function"), word(call, "id")
        goes_on = call.get("index", self._index) == self._index
        if not self._calls or (name and not (goes_on and name == self._call)):
            self._index, self._call = call.get("index"), name or f"call_{self._calls}"
            self._calls += 1
            for signature in _signature(call):
                yield ThoughtPiece("")
                yield Signature(signature)
            yield CallBegin(self._call, word(function, "name"))
        elif not goes_on:
            raise Unreadable("tool calls come in pieces that take turns")
        if arguments := word(function, "arguments"):
            yield CallPiece(arguments)


def error_in(document: object) -> tuple[str, str]:
    """The provider's word for an error and what it says of it. Google puts its errors into a list."""
    if isinstance(document, list) and document:
        document = document[0]
    found = section(document, "error")
    told = document.get("error") if isinstance(document, dict) else None
    kinds = (found.get(name) for name in ("code", "status", "type"))
    kind = next((each for each in kinds if isinstance(each, str) and each), "provider_error")
    message = told if isinstance(told, str) else word(found, "message")
    return kind, message or "The provider failed and did not say why."
