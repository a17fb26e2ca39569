"""An answer in no dialect, whole and as it comes: what readers of answers make, and writers take.

The pieces of a stream, put together, are the whole answer: the tests hold one against the other.
"""

from typing import Literal

import orjson
from msgspec import Struct

from proxyd.translation import exact_json
from proxyd.translation.conversation import RedactedThinking, Text, Thinking, ToolCall

Finish = Literal["end", "length", "tools", "stop_sequence", "refused"]


class Unreadable(Exception):
    """A provider's answer is not what its dialect says. The text is public."""


class Tokens(Struct, frozen=True):
    """What an answer used, as its provider tells it. `input_tokens` are all of them, those in caches as well."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read: int = 0
    cache_written: int = 0
    thinking: int = 0  # of the output


AnswerPart = Text | Thinking | RedactedThinking | ToolCall


class Answer(Struct, frozen=True):
    id: str
    model: str
    parts: tuple[AnswerPart, ...]
    finish: Finish
    stop_sequence: str | None = None
    usage: Tokens | None = None


# The pieces of a stream, in the order in which they come. A piece of text goes on with the part before it, if that was
# of its kind; `PartEnd` says that it does not.


class Begin(Struct, frozen=True):
    id: str
    model: str
    usage: Tokens | None = None  # as far as it is known by then


class TextPiece(Struct, frozen=True):
    text: str


class ThoughtPiece(Struct, frozen=True):
    text: str


class Signature(Struct, frozen=True):
    """Ends a thought."""

    signature: str


class CallBegin(Struct, frozen=True):
    id: str
    name: str


class CallPiece(Struct, frozen=True):
    """More of the arguments of the call that began last, as JSON text."""

    arguments: str


class PartEnd(Struct, frozen=True):
    pass


class End(Struct, frozen=True):
    finish: Finish
    stop_sequence: str | None = None
    usage: Tokens | None = None


class Failed(Struct, frozen=True):
    """The provider says inside its answer that it failed."""

    status: int
    kind: str  # the provider's own word
    message: str


class KeepAlive(Struct, frozen=True):
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


def arguments_of(text: str, *, cut: bool = False) -> dict[str, object]:
    """The arguments of a call. No text is none; of an answer that was `cut` they may be broken, which says as little.

    Raises Unreadable.
    """
    if not text.strip():
        return {}
    try:
        value = exact_json.loads(text.encode())
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict):
        return value
    if cut:
        return {}
    raise Unreadable("the arguments of a tool call are no JSON object")
