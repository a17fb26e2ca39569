"""A conversation with a model in no dialect: what every reader of requests makes, and every writer takes.

Values only. Two requests of different dialects that ask for the same are equal here. `place` is where a part stood in
the caller's body, for a refusal that names it; it is no part of what was said.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["user", "assistant"]
Effort = Literal["minimal", "low", "medium", "high", "xhigh", "max"]
Display = Literal["summarized", "omitted"]
DISPLAYS: tuple[Display, ...] = ("summarized", "omitted")
EFFORTS: tuple[Effort, ...] = ("minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: its bytes in base64 with their media type, or an address where the provider fetches it."""

    media_type: str | None
    data: str  # base64; the address where there is no media type
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class File:
    """A PDF, in base64."""

    data: str
    name: str | None
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a model thought before it answered; `signature` is its provider's, and means something to that one only."""

    text: str
    signature: str | None
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class RedactedThinking:
    """Thoughts that only their provider can read."""

    data: str
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: Mapping[str, Any]
    place: str = field(default="", compare=False)
    cut: bool = field(default=False, compare=False)  # the answer's limit may have ended it before its arguments


@dataclass(frozen=True, slots=True)
class ToolResult:
    call_id: str
    content: tuple[Text | Image, ...]
    failed: bool = False
    place: str = field(default="", compare=False)


Part = Text | Image | File | Thinking | RedactedThinking | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said. Two turns of the same side never follow each other."""

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the client runs."""

    name: str
    description: str | None
    parameters: Mapping[str, Any] | None  # a JSON schema
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether tools are called: as the model likes, not at all, at least one, or the one of this name."""

    mode: Literal["auto", "none", "any", "named"]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Schema:
    """What the answer has to look like, as a JSON schema; `strict`: it is held to."""

    schema: Mapping[str, Any]
    strict: bool = True
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How much the model shall think. `budget_tokens` where the client gave a number."""

    effort: Effort | None  # None: as the model does by itself
    budget_tokens: int | None = None
    display: Display | None = None  # whether its thoughts are told; None: as the model does by itself


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request for the next turn."""

    model: str  # the provider's own name for it
    turns: tuple[Turn, ...]
    system: tuple[Text, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_calls: bool | None = None  # False: one call an answer at most
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    reasoning: Reasoning | None = None
    schema: Schema | None = None
    user: str | None = None  # who the client's own user is, opaque
    standard_tier: bool = False  # never a dearer tier, whatever the provider's account would allow
    stream: bool = False


Said = tuple[Role, tuple[Part, ...]]


def turns_of(said: Iterable[Said]) -> tuple[Turn, ...]:
    """Messages in order, those of the same side that follow each other as one turn, as every provider reads them."""
    turns: list[tuple[Role, list[Part]]] = []  # lists, because one body may hold a hundred thousand messages of a side
    for role, parts in said:
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(parts)
        else:
            turns.append((role, list(parts)))
    return tuple(Turn(role, tuple(parts)) for role, parts in turns)
