"""An answer in no dialect, whole and as it comes: what readers of answers make, and writers take.

The pieces of a stream, put together, are the whole answer: the tests hold one against the other.
"""

from dataclasses import dataclass
from typing import Literal

import orjson

from proxyd.translation import exact_json
from proxyd.translation.conversation import RedactedThinking, Text, Thinking, ToolCall
from proxyd.wire.json_size import takes_long

Finish = Literal["end", "length", "tools", "stop_sequence", "refused"]


class Unreadable(Exception):
    """A provider's answer is not what its dialect says. The text is public."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an answer used, as its provider tells it. `input_tokens` are all of them, those in caches as well."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read: int = 0
    cache_written: int = 0
    thinking: int = 0  # of the output


AnswerPart = Text | Thinking | RedactedThinking | ToolCall


@dataclass(frozen=True, slots=True)
class Answer:
    id: str
    model: str
    parts: tuple[AnswerPart, ...]
    finish: Finish
    stop_sequence: str | None = None
    usage: Tokens | None = None


# The pieces of a stream, in the order in which they come. A piece of text goes on with the part before it, if that was
# of its kind; `PartEnd` says that it does not.


@dataclass(frozen=True, slots=True)
class Begin:
    id: str
    model: str
    usage: Tokens | None = None  # as far as it is known by then


@dataclass(frozen=True, slots=True)
class TextPiece:
    text: str


@dataclass(frozen=True, slots=True)
class ThoughtPiece:
    text: str


@dataclass(frozen=True, slots=True)
class Signature:
    """Ends a thought."""

    signature: str


@dataclass(frozen=True, slots=True)
class CallBegin:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallPiece:
    """More of the arguments of the call that began last, as JSON text."""

    arguments: str


@dataclass(frozen=True, slots=True)
class PartEnd:
    pass


@dataclass(frozen=True, slots=True)
class End:
    finish: Finish
    stop_sequence: str | None = None
    usage: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The provider says inside its answer that it failed."""

    status: int
    kind: str  # the provider's own word
    message: str


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Nothing new, but the provider is still at it."""


Piece = (
    Begin
    | TextPiece
    | ThoughtPiece
    | Signature
    | RedactedThinking
    | CallBegin
    | CallPiece
    | PartEnd
    | End
    | Failed
    | KeepAlive
)


def call_of(call_id: str, name: str, text: str, *, cut: bool) -> ToolCall:
    """A call and the text of its arguments. Of an answer that was `cut` it is marked unless they are complete.

    Raises Unreadable.
    """
    try:
        return ToolCall(call_id, name, arguments_of(text), cut=cut and not text.strip())
    except Unreadable:
        if not cut:
            raise
        return ToolCall(call_id, name, {}, cut=True)


def arguments_of(text: str, *, cut: bool = False) -> dict[str, object]:
    """The arguments of a call. No text is none; of an answer that was `cut` they may be broken, which says as little.

    Raises Unreadable.
    """
    if not text.strip():
        return {}
    data = text.encode()
    if takes_long(data):
        raise Unreadable("the arguments of a tool call have too many values")
    try:
        value = exact_json.loads(data)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict):
        return value
    if cut:
        return {}
    raise Unreadable("the arguments of a tool call are no JSON object")
