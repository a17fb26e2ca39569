"""The values that pass between the socket loop and the dialects."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from proxyd.sandbox.behaviour import Behaviour
from proxyd.sandbox.speech import Speech

Document = dict[str, Any]
Slug = Literal["openai", "anthropic", "gemini"]


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """One request, complete."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]  # lower-case names
    body: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """What a request for an answer in words means, whatever its dialect."""

    model: str
    prompt: str  # text of the last user message
    input_tokens: int
    limit_tokens: int | None = None
    choices: int = 1
    stream: bool = False
    include_usage: bool = True  # in the stream
    array: bool = False  # stream as a JSON array (Gemini without alt=sse)
    document: Document = field(default_factory=dict)
    # Those that may be called, each with the schema of its arguments; None: here nothing is thought or called.
    tools: Sequence[tuple[str, object]] | None = None
    answers_tool: bool = False  # the last message is a tool's result


@dataclass(frozen=True, slots=True)
class Telling:
    """One answer about to be put into its dialect."""

    id: str  # unique, without the dialect's prefix
    created: int  # Unix seconds
    model: str
    heard: Heard
    speech: Speech
    usage: bool  # False: leave it out

    @property
    def reported_tokens(self) -> int:
        return self.heard.input_tokens + self.speech.output_tokens


@dataclass(frozen=True, slots=True)
class Event:
    """One piece of a streamed answer; `output_tokens` is what has been produced once it is out."""

    data: bytes
    output_tokens: int
    paced: bool = False  # carries text: waits for its turn when the answer has a rate


@dataclass(frozen=True, slots=True)
class Operation:
    """How one endpoint that answers in words is read and told."""

    hear: Callable[[Document, str | None, str], Heard]  # body, model of the path, query
    whole: Callable[[Telling], Document]
    events: Callable[[Telling], Iterator[Event]]
    error_event: bytes
    owns_up: Literal["nothing", "start", "progress"]  # usage a stream has reported before it fails
    stream_type: str = "text/event-stream; charset=utf-8"
    queued: Callable[[Telling], Document] | None = None  # how it begins in the background; None: it cannot
    prefix: str = ""  # of the name by which it is asked for later


@dataclass(frozen=True, slots=True)
class Bill:
    """What an attempt costs if it runs to its end."""

    model: str
    input_tokens: int
    output_tokens: int
    nanos: int | None = None  # where it is not these tokens that are billed


@dataclass(slots=True)
class Answer:
    """One answer: a whole body, or events of which `pieces` carry text."""

    status: int
    body: bytes = b""
    events: Iterator[Event] | None = None
    pieces: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    behaviour: Behaviour = field(default_factory=Behaviour)
    bill: Bill | None = None
    error_event: bytes = b""
    owns_up: str = "nothing"
    goes_on: bool = False  # in the background: a client that leaves ends nothing
