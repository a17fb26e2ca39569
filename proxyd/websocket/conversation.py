"""What a session asks of whoever knows its dialect."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import orjson

from proxyd.bodies.parser import BodyParser, ParserBusy
from proxyd.gateway.body_reader import PARSED_HERE_BYTES
from proxyd.gateway.rejection import Rejection, rejected
from proxyd.providers import DIALECTS, BadBody, SlowBody
from proxyd.providers.body import NONE_NESTED, Checking, read_event
from proxyd.providers.tail import TAIL_BYTES, usage_in_tail
from proxyd.websocket.turns import Turn, Turns
from proxyd.wire.json_size import SHORT_BYTES, takes_long
from shared.policy import ERRORS, Reason

# What is said of one turn and not of the key: whoever asks for another one may have it.
_OF_ONE_TURN = frozenset(
    {
        Reason.INVALID_REQUEST,
        Reason.MODEL_NOT_ALLOWED,
        Reason.MODEL_NOT_PRICED,
        Reason.TOKENS_NOT_BOUNDED,
        Reason.TOKEN_RATE_LIMITED,
        Reason.ENDPOINT_NOT_METERED,
        Reason.MODEL_SPEND_EXCEEDED,
    }
)
_TYPE_FIRST = re.compile(rb'\s*\{\s*"type"\s*:\s*"([\w.]{1,100})"')
MANY_VALUES = 50_000  # and names, of a client's message; sound and pictures are a single one
MAX_TURNS = 64  # of one session at a time; each takes memory here until the provider has answered it


class Ends(NamedTuple):
    """Why a session ends: at once, or as soon as no turn runs any more."""

    why: Rejection
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a client's message."""

    forward: bytes | None = None  # what goes to the provider; None: nothing does
    turn: Turn | None = None  # that begins with it
    answer: bytes | None = None  # what the client is told in its place
    ends: Ends | None = None


class Conversation(Protocol):
    """The dialect of a session, and the turns in it. One greenlet calls `from_client`, another `from_server`."""

    @property
    def running(self) -> int:
        """How many turns the provider may be at."""

    def from_client(self, data: bytes) -> Verdict:
        """Judge a whole message of the client's, and admit the turn that it begins."""

    def from_server(self, data: bytes) -> Ends | None:
        """Meter a whole message of the provider's, before its end is passed on."""

    def error(self, rejection: Rejection) -> bytes:
        """The refusal as a message of the dialect."""

    def end(self, outcome: str) -> None:
        """Settle what is open: the session is over."""


def too_many() -> Rejection:
    """A client asks for more turns at once than anybody can want answered."""
    return rejected(Reason.ROUTER_BUSY, detail=f"{MAX_TURNS} turns of this session wait to be answered")


def ending(rejection: Rejection) -> Ends | None:
    """Whether the refusal of a turn ends the session: what neither time nor another question would change does."""
    reason = rejection.deny.reason
    return None if rejection.deny.retry or reason in _OF_ONE_TURN else Ends(rejection)


def openai_error(rejection: Rejection, request_id: str) -> dict[str, Any]:
    """The content of an error of OpenAI's events, with the facts of the refusal."""
    deny = rejection.deny
    status = ERRORS[deny.reason].status
    body = DIALECTS["openai"].refusal(status, deny.reason.value, deny.sentence(), request_id, deny.fields)
    found: dict[str, Any] = orjson.loads(body)["error"]
    return found


def read(data: bytes) -> Mapping[str, Any]:
    """A provider's message; empty, when it is none that can be understood.

    Of one that is too long, its type, and the usage at its end as that of a response.
    """
    if len(data) > SHORT_BYTES and takes_long(data):
        begins = _TYPE_FIRST.match(data)
        usage = usage_in_tail(data[-TAIL_BYTES:], "usage")
        return {} if begins is None else {"type": begins[1].decode(), "response": {"usage": usage}}
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def read_client(
    data: bytes, parser: BodyParser, turns: Turns, nested: Mapping[str, tuple[bytes, ...]] = NONE_NESTED
) -> dict[str, Any]:
    """A client's message; a large one, or one that has to be read twice, is looked at beside the worker first.

    Raises BadBody, and ParserBusy when nobody could look at it in time.
    """
    checking = Checking(nested, MANY_VALUES)
    try:
        if len(data) > PARSED_HERE_BYTES:
            raise SlowBody  # noqa: TRY301 - likewise, for its size alone
        return read_event(data, checking)
    except SlowBody:
        key = turns.session.key
        parser.check("" if key is None else key.id, checking, data)
        document: dict[str, Any] = orjson.loads(data)
        return document


def refusal_of(error: BadBody | ParserBusy) -> Rejection:
    """The refusal of a message that is not read."""
    if isinstance(error, ParserBusy):
        return rejected(Reason.ROUTER_BUSY, detail=str(error))
    return rejected(Reason.INVALID_REQUEST, detail=error.message, param=error.param)


def text_of(document: Mapping[str, Any], name: str) -> str:
    """A member that should be a text."""
    value = document.get(name)
    return value if isinstance(value, str) else ""
