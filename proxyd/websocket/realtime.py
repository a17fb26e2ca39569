"""OpenAI Realtime: a turn is a response, whoever begins it.

A client asks for one by `response.create`; the provider begins others by itself, when it hears in the sound that was
sent to it that somebody has spoken. So a session holds the bound of its next turn before it passes on anything that
could begin it: with each `response.create` one, and one as soon as sound goes out while the provider listens for turns.
`response.created` takes the first of those that are held, and the next one is admitted at once; where it may fit only
once others have ended, the client is not read on until then. As the conversation grows, so does what its next turn may
cost: when that has outgrown what is held, a larger hold takes its place.
"""

from collections.abc import Mapping
from time import monotonic
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
from gevent.event import Event
from gevent.lock import RLock

from proxyd.bodies.parser import BodyParser, ParserBusy
from proxyd.gateway.rejection import Rejection, rejected
from proxyd.providers import BadBody, Parsed
from proxyd.providers.realtime import ROOM_TOKENS, RealtimeUsage, SessionInput, flattened, output_limit_of, parsed_of
from proxyd.providers.realtime_config import TRANSCRIPTION, SessionConfig, part_of, unpriced_in
from proxyd.websocket.conversation import (
    MAX_TURNS,
    Ends,
    Verdict,
    ending,
    openai_error,
    read,
    read_client,
    refusal_of,
    text_of,
    too_many,
)
from proxyd.websocket.turns import Turn, Turns
from shared.catalog import UNKNOWN_MODEL, Endpoint, output_maximum
from shared.policy import Reason
from shared.pricing import Usage, read_usage
from shared.pricing.table import find_model

ROOM_SECONDS = 15.0  # that a client's message waits for its next turn to fit
LOOK_SECONDS = 1.0
_DECIDING = ("max_output_tokens", "max_response_output_tokens", "tools", "transcription", "turn_detection")
_NESTED = dict.fromkeys(("session", "response"), tuple(f'"{name}"'.encode() for name in _DECIDING))
_UNNAMED = "unnamed"
_BUSY = "conversation_already_has_active_response"
_TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
_SOUND = frozenset({"input_audio_buffer.append", "input_audio_buffer.commit"})
_HARMLESS = frozenset({"response.cancel", "output_audio_buffer.clear", "input_audio_buffer.clear"})
# What can begin no turn and brings none nearer.
_KNOWN = frozenset(
    {
        "session.update", "response.create", "conversation.item.create", "conversation.item.delete",
        "conversation.item.retrieve", "conversation.item.truncate", *_SOUND, *_HARMLESS,
    }
)  # fmt: skip


class Held(NamedTuple):
    """A turn that was admitted and has not begun."""

    turn: Turn
    parsed: Parsed
    asked: str  # the id of the event that asks for it; empty: the provider may begin it by itself
    covers_tokens: int
    output_limit: int


class RealtimeConversation:
    """Implements `Conversation`."""

    def __init__(self, turns: Turns, endpoint: Endpoint, parser: BodyParser, model: str) -> None:
        self._turns = turns
        self._parser = parser
        self._endpoint = endpoint
        self._model = model
        self._config = SessionConfig(model)
        self._input = SessionInput()
        self._held: list[Held] = []
        self._by_response: dict[str, Turn] = {}
        self._heard = False  # sound went out, so that the provider may begin a turn
        found = find_model("openai", model)
        self._context = None if found is None else found.context_tokens
        maximum = output_maximum("openai", model)
        self._maximum = UNKNOWN_MODEL if maximum is None else maximum
        self._ending: Rejection | None = None  # the next turn does not fit
        self._covering = RLock()
        self._turn_ended = Event()

    @property
    def running(self) -> int:
        return len(self._by_response)

    # From the client

    def from_client(self, data: bytes) -> Verdict:
        event_id = ""
        try:
            message = read_client(data, self._parser, self._turns, _NESTED)
            kind, event_id = text_of(message, "type"), text_of(message, "event_id")
            if self._ending is not None:
                return Verdict(forward=data) if kind in _HARMLESS else Verdict(ends=Ends(self._ending))
            refused = self._refusal(kind, message)
            if refused is not None:
                return self._refused(refused, event_id)
            return self._taken(kind, message, data, event_id)
        except (BadBody, ParserBusy) as error:
            return self._refused(refusal_of(error), event_id)

    def _refusal(self, kind: str, message: Mapping[str, Any]) -> Rejection | None:
        """Why an event is not passed on: its cost has no bound, or it asks for another model."""
        used = unpriced_in(message, self._model) if kind in _KNOWN else [(self._model, f"the event {kind[:80]}")]
        for model_of_it, what in used:
            if (refused := self._turns.refuses(model_of_it, what)) is not None:
                return refused
        model = part_of(message, "session").get("model")
        if model is not None and model not in (self._model, self._config.model):
            return rejected(Reason.INVALID_REQUEST, detail="a session keeps its model.", param="session.model")
        return None

    def _taken(self, kind: str, message: Mapping[str, Any], data: bytes, event_id: str) -> Verdict:
        self._input.took(message, len(data))
        if kind == "session.update":
            self._config.asked(part_of(message, "session"))
        turn: Turn | None = None
        if kind == "response.create":
            if len(self._held) + self.running >= MAX_TURNS:
                return self._refused(too_many(), event_id)
            limit = output_limit_of(message, self._config, self._maximum)
            admitted = self._admit(limit, 0, event_id or _UNNAMED)
            if isinstance(admitted, Rejection):
                return self._refused(admitted, event_id)
            turn = admitted
        self._heard = self._heard or kind in _SOUND
        refused = self._covered()
        return Verdict(data, turn) if refused is None else Verdict(ends=Ends(refused))

    def _admit(self, limit: int, room_tokens: int, asked: str) -> Turn | Rejection:
        size = self._input.size(self._config, self._context, limit, room_tokens)
        parsed = parsed_of(self._model, size)
        usage = RealtimeUsage(self._endpoint, parsed, self._input, self._config)
        turn = self._turns.admit(parsed, self._model, usage)
        if isinstance(turn, Turn):
            if not asked:
                turn.note()  # should this process die before the provider begins it, it has cost nothing
            self._held.append(Held(turn, parsed, asked, self._weight() + room_tokens, limit))
        return turn

    def _weight(self) -> int:
        """How much a turn may read now, in tokens."""
        weight = self._input.tokens(self._config.heard)
        return weight if self._context is None else min(weight, self._context)

    @property
    def _limit(self) -> int:
        return self._maximum if self._config.output_limit is None else self._config.output_limit

    def _covered(self) -> Rejection | None:
        """Hold what must be held before more goes out; while it may yet fit, the client is not read on."""
        until = monotonic() + ROOM_SECONDS
        while (refused := self._cover()) is not None and refused.deny.retry:
            left = until - monotonic()
            if left <= 0:
                break
            self._turn_ended.clear()
            self._turn_ended.wait(min(left, LOOK_SECONDS))
        self._ending = self._ending or refused
        return refused

    def _cover(self) -> Rejection | None:
        """Hold the bound of the turn that the provider may begin by itself now. A rejection: it does not fit."""
        with self._covering:
            begins = self._config.spontaneous and (self._heard or self._config.prompts)
            if self._ending is not None or not begins:
                return self._ending
            held = next((held for held in self._held if not held.asked), None)
            if held is not None and held.covers_tokens >= self._weight() and held.output_limit >= self._limit:
                return None
            admitted = self._admit(self._limit, ROOM_TOKENS, "")
            if isinstance(admitted, Rejection):
                return admitted
            if held is not None:
                self._void(held)
            return None

    def _void(self, held: Held) -> None:
        if held in self._held:  # else the provider has begun it meanwhile
            self._held.remove(held)
            held.turn.void()

    # From the provider

    def from_server(self, data: bytes) -> Ends | None:
        event = read(data)
        kind = text_of(event, "type")
        if kind.endswith(".delta") or kind == "response.done":
            self._passing(kind, event)
        elif kind == "response.created":
            return self._begun(event)
        elif kind in ("session.created", "session.updated"):
            return self._configured(event, len(data))
        elif kind == "error":
            self._failed(event)
        elif kind == _TRANSCRIBED:
            self._transcribed(event)
        return None

    def _begun(self, event: Mapping[str, Any]) -> Ends | None:
        number = text_of(part_of(event, "response"), "id")
        if not self._held:
            admitted = self._admit(self._limit, 0, "unasked")
            if isinstance(admitted, Rejection):
                self._unheld()
                return Ends(admitted, at_once=True)
        held = next((held for held in self._held if held.asked), self._held[0])
        self._held.remove(held)
        if (earlier := self._by_response.pop(number, None)) is not None:
            earlier.end("provider_error")  # two of one name: only one of them can be told how it ends
        held.turn.meter = RealtimeUsage(self._endpoint, held.parsed, self._input, self._config)  # of all it reads now
        held.turn.begun(number)
        held.turn.note()
        self._by_response[number] = held.turn
        refused = self._cover()
        if refused is None or refused.deny.retry:
            return None  # what cannot be held yet keeps the client's next message waiting
        self._ending = refused
        return Ends(refused)

    def _unheld(self) -> None:
        """A turn has begun that nothing is held for: the session ends, and what it reads is charged as far as known."""
        parsed = parsed_of(self._model, self._input.size(self._config, self._context, self._limit, 0))
        usage = RealtimeUsage(self._endpoint, parsed, self._input, self._config)
        self._turns.post(parsed, self._model, usage.delivered())

    def _passing(self, kind: str, event: Mapping[str, Any]) -> None:
        response = part_of(event, "response")
        oldest = next(iter(self._by_response), "") if kind == "response.done" else ""  # of an end too long to be read
        number = text_of(response, "id") or text_of(event, "response_id") or oldest
        turn = self._by_response.get(number)
        if turn is None:
            return
        usage = turn.meter
        assert isinstance(usage, RealtimeUsage)  # noqa: S101 - it is made above
        if kind == "response.done":
            usage.done(response)
            turn.end("provider_error" if usage.failed else "ok")
            self._input.written_tokens += usage.written_tokens
            del self._by_response[number]
            self._turn_ended.set()
        else:
            usage.told(kind, event)
            turn.note_progress()

    def _configured(self, event: Mapping[str, Any], size: int) -> Ends | None:
        """The provider has told all of the session's settings, those it took from elsewhere too."""
        session = event.get("session")
        if not isinstance(session, dict):
            return None
        self._config.told(session)
        self._input.settings_bytes = size
        used = ((self._model, self._config.unpriced), (self._config.transcribes, TRANSCRIPTION))
        refused = self._turns.stand([(model, what) for model, what in used if model is not None and what is not None])
        return None if refused is None else Ends(refused, at_once=True)

    def _failed(self, event: Mapping[str, Any]) -> None:
        """An event of the client's was refused, perhaps one that asked for a turn."""
        error = part_of(event, "error")
        event_id = text_of(error, "event_id")
        if not event_id and text_of(error, "code") == _BUSY:
            event_id = _UNNAMED
        if (held := next((held for held in self._held if event_id and held.asked == event_id), None)) is not None:
            self._void(held)

    def _transcribed(self, event: Mapping[str, Any]) -> None:
        """What was heard was written down by another model, which has a bill of its own."""
        model = self._config.transcribes or "unknown"
        reading = read_usage("openai", "realtime", flattened(event.get("usage")))
        usage = None if reading is None else Usage(reading.counts, model, unknown=reading.unknown)
        size = self._input.size(self._config, self._context, 0, 0)
        self._turns.post(parsed_of(model, size), model, usage)

    # Both

    def _refused(self, rejection: Rejection, event_id: str) -> Verdict:
        return Verdict(answer=self._error(rejection, event_id), ends=ending(rejection))

    def error(self, rejection: Rejection) -> bytes:
        return self._error(rejection, "")

    def _error(self, rejection: Rejection, event_id: str) -> bytes:
        error = {**openai_error(rejection, self._turns.session.id), "event_id": event_id or None}
        return orjson.dumps({"type": "error", "event_id": f"event_{uuid4().hex}", "error": error})

    def end(self, outcome: str) -> None:
        for turn in [*self._by_response.values(), *(held.turn for held in self._held)]:
            turn.finish(outcome)
        self._by_response.clear()
        self._held.clear()
