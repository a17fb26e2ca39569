"""Conversations and answers to translate: drawn at random, cut into pieces, and put together again."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import strategies as st

from proxyd.translation import Translation
from proxyd.translation.answer import (
    Answer,
    AnswerPart,
    Begin,
    CallBegin,
    CallPiece,
    End,
    PartEnd,
    Piece,
    Signature,
    TextPiece,
    ThoughtPiece,
    Tokens,
    Unreadable,
    arguments_of,
)
from proxyd.translation.conversation import (
    Conversation,
    File,
    Image,
    Part,
    Reasoning,
    RedactedThinking,
    Schema,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from proxyd.wire.sse import Event, EventDecoder
from shared.catalog import PROVIDERS, Kind, find_endpoint
from shared.translated import TRANSLATED

Json = dict[str, Any]
Read = Callable[[Event], Iterator[Piece]]
ASKED = {"role": "user", "content": "hello"}
CHAT: Json = {"model": "claude-sonnet-4-6", "messages": [ASKED]}
MESSAGES: Json = {"model": "gpt-5", "max_tokens": 50, "messages": [ASKED]}
RESPONSES: Json = {"model": "claude-sonnet-4-6", "input": "hello"}
PNG = "data:image/png;base64,aGVsbG8="
GENERATE: Json = {"model": "claude-sonnet-4-6", "contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
DOCUMENTS = {
    Kind.CHAT: CHAT,
    Kind.MESSAGES: MESSAGES,
    Kind.RESPONSES: RESPONSES,
    Kind.GENERATE: GENERATE,
    Kind.GENERATE_STREAM: GENERATE,
}
WORDS = st.text(min_size=1, max_size=8)
NAMES = st.text("abcxyz_", min_size=1, max_size=5)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(NAMES, JSON, min_size=1, max_size=3)
TEXTS = st.builds(Text, WORDS)
IMAGES = st.builds(Image, st.just("image/png"), st.just("aGVsbG8=")) | st.builds(
    Image, st.none(), st.just("https://example.com/a.png")
)
FILES = st.builds(File, st.just("cGRm"), st.none() | NAMES)
CALLS = st.builds(ToolCall, NAMES, NAMES, OBJECTS)
RESULTS = st.builds(ToolResult, NAMES, st.lists(TEXTS, min_size=1, max_size=2).map(tuple))
THOUGHTS = st.builds(Thinking, WORDS, WORDS) | st.builds(RedactedThinking, WORDS)


def way(caller: Kind, provider: str) -> Translation:
    found = find_endpoint(PROVIDERS[provider], "POST", TRANSLATED[caller, provider])
    assert found is not None
    return Translation(caller, provider, found[0])


def sent(caller: Kind, provider: str, document: Json, model: str | None = None) -> Json:
    """The body that the provider gets."""
    found: Json = orjson.loads(way(caller, provider).request(document, model or document["model"]).raw)
    return found


def told(*messages: Json) -> Json:
    return {"messages": [ASKED, *messages]}


def _turn(*kinds: tuple[st.SearchStrategy[Any], int]) -> st.SearchStrategy[tuple[Part, ...]]:
    """Parts of these kinds, in this order, so many of each at most."""
    lists = [st.lists(kind, max_size=most) for kind, most in kinds]
    return st.tuples(*lists).map(lambda drawn: tuple(part for parts in drawn for part in parts)).filter(bool)


USERS = _turn((RESULTS, 2), (TEXTS | IMAGES | FILES, 3)).map(lambda parts: Turn("user", parts))
ASSISTANTS = _turn((TEXTS, 2), (CALLS, 2)).map(lambda parts: Turn("assistant", parts))


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """What both chat completions and messages can say."""
    pairs = draw(st.lists(st.tuples(USERS, ASSISTANTS), max_size=2))
    turns = (*(turn for pair in pairs for turn in pair), draw(USERS))
    tools = tuple(
        draw(st.lists(st.builds(Tool, NAMES, st.none() | WORDS, OBJECTS, st.none() | st.booleans()), max_size=2))
    )
    modes = st.sampled_from([ToolChoice("auto"), ToolChoice("any"), ToolChoice("named", "f")])
    choice = draw(st.none() | modes) if tools else None
    return Conversation(
        model="claude-sonnet-4-6",
        turns=turns,
        system=tuple(draw(st.lists(TEXTS, max_size=2))),
        tools=tools,
        tool_choice=choice,
        parallel_calls=draw(st.none() | st.booleans()) if choice else None,
        max_tokens=draw(st.integers(1, 10**6)),
        stop=tuple(draw(st.lists(WORDS, max_size=2))),
        temperature=draw(st.none() | st.floats(0, 1)),
        top_p=draw(st.none() | st.floats(0, 1)),
        reasoning=draw(st.none() | st.builds(Reasoning, st.sampled_from(["low", "medium", "high", "xhigh", "max"]))),
        schema=draw(st.none() | st.builds(Schema, OBJECTS)),
        user=draw(st.none() | WORDS),
        standard_tier=draw(st.booleans()),
        stream=draw(st.booleans()),
    )


@st.composite
def answers(draw: st.DrawFn, *, thoughts: bool) -> Answer:
    """What a provider may answer; `thoughts` where it tells any. No dialect lets two texts follow each other."""
    parts: list[AnswerPart] = draw(st.lists(THOUGHTS, max_size=2)) if thoughts else []
    parts += draw(st.lists(TEXTS, max_size=1)) + draw(st.lists(CALLS, max_size=2))
    ends = ["tools", "length"] if any(isinstance(part, ToolCall) for part in parts) else ["end", "length", "refused"]
    cached, written, rest, output, thinking = (draw(st.integers(0, 1000)) for _ in range(5))
    usage = Tokens(cached + written + rest, output, cached, written, thinking)
    return Answer(draw(NAMES), draw(NAMES), tuple(parts), draw(st.sampled_from(ends)), None, usage)


def pieces_of(answer: Answer, size: int) -> Iterator[Piece]:
    """The same answer as it would come, `size` characters at a time."""
    yield Begin(answer.id, answer.model, Tokens())
    for part in answer.parts:
        if isinstance(part, Text):
            yield from (TextPiece(text) for text in _cut(part.text, size))
        elif isinstance(part, Thinking):
            yield from (ThoughtPiece(text) for text in _cut(part.text, size))
            yield Signature(part.signature or "")
        elif isinstance(part, ToolCall):
            yield CallBegin(part.id, part.name)
            yield from (CallPiece(text) for text in _cut(orjson.dumps(part.arguments).decode(), size))
        else:
            yield part
        yield PartEnd()
    yield End(answer.finish, answer.stop_sequence, answer.usage)


def _cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def read_events(read: Read, data: bytes) -> list[Piece]:
    """All that a stream tells."""
    return [piece for event in EventDecoder().feed(data) for piece in read(event)]


def assembled(pieces: Iterable[Piece]) -> Answer:
    """The whole answer that these pieces are. Raises Unreadable where they are none."""
    answer: Answer | None = None
    parts: list[AnswerPart] = []
    calls: dict[int, str] = {}  # arguments, by the place of their call
    goes_on = False
    for piece in pieces:
        last = parts[-1] if parts and goes_on else None
        goes_on = not isinstance(piece, PartEnd | Signature | RedactedThinking)
        match piece:
            case Begin():
                answer = Answer(piece.id, piece.model, (), "end", usage=piece.usage)
            case TextPiece():
                _append(
                    parts,
                    Text((last.text if isinstance(last, Text) else "") + piece.text),
                    instead=isinstance(last, Text),
                )
            case ThoughtPiece():
                text = (last.text if isinstance(last, Thinking) else "") + piece.text
                _append(parts, Thinking(text, None), instead=isinstance(last, Thinking))
            case Signature():
                text = last.text if isinstance(last, Thinking) else ""
                _append(parts, Thinking(text, piece.signature), instead=isinstance(last, Thinking))
            case RedactedThinking():
                parts.append(piece)
            case CallBegin():
                calls[len(parts)] = ""
                parts.append(ToolCall(piece.id, piece.name, {}))
            case CallPiece():
                calls[len(parts) - 1] += piece.arguments
            case End() if answer is not None:
                for place, text in calls.items():
                    call = parts[place]
                    assert isinstance(call, ToolCall)
                    parts[place] = replace(call, arguments=arguments_of(text, cut=piece.finish == "length"))
                return replace(
                    answer,
                    parts=tuple(parts),
                    finish=piece.finish,
                    stop_sequence=piece.stop_sequence,
                    usage=piece.usage,
                )
            case _:
                pass
    raise Unreadable("the answer has no end")


def _append(parts: list[AnswerPart], part: AnswerPart, *, instead: bool) -> None:
    """Put a part behind the others, or in the place of the last, which it goes on with."""
    if instead:
        parts[-1] = part
    else:
        parts.append(part)
