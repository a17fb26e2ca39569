"""What the gateway may ask of a dialect, and the values that go to and fro.

A dialect is the language of a provider's bodies and errors. It does no I/O and knows no prices: it reads what a request
asks for, changes the few bytes that the contract lets it change, and learns from the answer what was used.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from shared.catalog import Endpoint, Kind
from shared.policy import Fact
from shared.pricing import Size, Usage


class BadBody(Exception):
    """The client's body cannot be accepted: 400 `invalid_request`. `message` is public; `param` names the field."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def __reduce__(self) -> tuple[type["BadBody"], tuple[str, str | None]]:
        return BadBody, (self.message, self.param)


class Elsewhere(NamedTuple):
    """What a body means to a server of one's own; see `openai_compatible`."""

    size: Size
    steering: str | None  # a field by which it may serve another model than the one that is named


class Parsed(Struct):
    """A request body, understood."""

    kind: Kind
    model: str | None  # as the client wrote it, unified prefix included; None: the body names none
    stream: bool
    size: Size
    wants_usage: bool  # the client asked for usage in the stream, so it is shown all of it
    document: Mapping[str, Any]  # the parsed body, of a large one only what may be changed and what meters ask for
    raw: bytes
    spans: Mapping[str, tuple[int, int]] | None = None  # of a large body: where the values of its members stand
    foretold: Usage | None = None  # what the request alone says of its cost, for answers that tell nothing of it
    names_kept: bool = False  # of a large body: whether it names what an account keeps; see `kept_names`
    elsewhere: Elsewhere | None = None  # of a large body, and of one for a server of one's own
    brought: tuple[dict[str, Any], ...] = ()  # the kinds of tools that stand elsewhere in a body than at its top

    @property
    def tools(self) -> list[Any]:
        """All tools, of which a meter may look at their kind."""
        own = self.document.get("tools")
        return [*(own if isinstance(own, list) else ()), *self.brought]


Pieces = list[bytes | memoryview]


class Meter(Protocol):
    """Watches one answer pass by."""

    @property
    def complete(self) -> bool:
        """The answer came to its end: the terminal event, or a whole JSON document."""

    @property
    def failed(self) -> bool:
        """The provider reported an error inside the answer; then usage that it told is billed, and what it wrote."""

    @property
    def wrote(self) -> bool:
        """There is text in the answer."""

    @property
    def served_model(self) -> str | None:
        """The model that the answer names."""

    @property
    def deferred_job(self) -> str | None:
        """The provider's name of the answer, where it is made later and told to whoever asks for it."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the answer's body; returns those to give to the client now."""

    def end(self) -> bytes:
        """Take the end of the body, however it came; returns what was held back."""

    def usage(self) -> Usage | None:
        """What the provider reported. None: nothing, or nothing readable; then see `delivered`."""

    def delivered(self) -> Usage:
        """An estimate from what has come so far, high on purpose.

        A token for each 3 bytes of text (rounded up), and at least one for each event with content; input from the
        request's bytes likewise. Where the provider has told a figure already, the larger one counts.
        """


class Dialect(Protocol):
    """One provider's language. Instances have no state."""

    def read(self, endpoint: Endpoint, body: bytes, path_model: str | None, query: str) -> Parsed:
        """Understand a request body. Raises `BadBody`, and `SlowBody` when it takes too long for the event loop."""

    def rewrite(self, parsed: Parsed, *, model: str | None, output_limit: int | None) -> bytes:
        """The body to send: the client's own bytes, but for what these arguments and metering need.

        `model` replaces the model's name (unified mode); `output_limit` is set as output limit, in tokens, where the
        client set none.
        """

    def meter(self, endpoint: Endpoint, parsed: Parsed, *, streaming: bool, content_encoding: bytes | None) -> Meter:
        """A meter for one answer. `streaming`: it is a stream of events, by the answer's own content type."""

    def count_request(self, endpoint: Endpoint, parsed: Parsed, path: str, model: str) -> tuple[str, Pieces] | None:
        """Path and body of a question to the provider how many tokens the input of a request has; None: it has no such.

        Of a large body `spans` must tell of all members; their bytes are not copied.

        `path` is that of the request, `model` the name by which the provider knows its model.
        """

    def refusal(self, status: int, code: str, message: str, request_id: str, facts: Mapping[str, Fact]) -> bytes:
        """The JSON body of an error of ours; `facts` stand in it as fields of their own."""

    def error_event(self, status: int, code: str, message: str, request_id: str, kind: Kind | None = None) -> bytes:
        """The same inside a stream that has begun, as an event of the dialect."""
