"""Gemini Live: a turn goes from what a client sends to the next figures that the provider tells.

Nobody can tell beforehand what the next figures will be (see `providers.gemini_live`), so that keys with a spend limit
are refused at the handshake.
"""

from collections.abc import Mapping
from typing import Any

from proxyd.bodies.parser import BodyParser, ParserBusy
from proxyd.gateway.rejection import Rejection, rejected
from proxyd.providers import DIALECTS, BadBody
from proxyd.providers.gemini_live import UNPRICED, LiveUsage, begins, parsed_of, setup_of
from proxyd.websocket.conversation import Ends, Verdict, ending, read, read_client, refusal_of
from proxyd.websocket.turns import Turn, Turns
from shared.catalog import Endpoint
from shared.policy import ERRORS, Reason


class LiveConversation:
    """Implements `Conversation`."""

    def __init__(self, turns: Turns, endpoint: Endpoint, parser: BodyParser) -> None:
        self._turns = turns
        self._parser = parser
        self._endpoint = endpoint
        self._model: str | None = None
        self._setup: Mapping[str, Any] = {}
        self._turn: Turn | None = None

    @property
    def running(self) -> int:
        return 0 if self._turn is None else 1

    def from_client(self, data: bytes) -> Verdict:
        try:
            message = read_client(data, self._parser, self._turns)
            setup = setup_of(message)
        except (BadBody, ParserBusy) as error:
            return self._refused(refusal_of(error))
        if (setup is None) == (self._model is None):
            detail = "a session begins with its setup, and has one."
            return self._refused(rejected(Reason.INVALID_REQUEST, detail=detail, param="setup"))
        if setup is not None:
            model, settings = setup
            refused = self._turns.refuses(model, UNPRICED)
            if refused is not None:
                return Verdict(answer=self.error(refused), ends=Ends(refused))
            self._model, self._setup = model, settings
            return Verdict(forward=data)
        if not begins(message):
            return Verdict(forward=data)
        if self._turn is None and (refused := self._admit()) is not None:
            return self._refused(refused)
        turn = self._turn
        if turn is not None:
            usage = turn.meter
            assert isinstance(usage, LiveUsage)  # noqa: S101 - it is made below
            usage.sent(len(data), sound="realtimeInput" in message or "realtime_input" in message)
        return Verdict(data, turn)

    def _admit(self) -> Rejection | None:
        model = self._model or "unknown"
        parsed = parsed_of(model, self._setup)
        turn = self._turns.admit(parsed, model, LiveUsage(self._endpoint, parsed))
        if isinstance(turn, Rejection):
            return turn
        if self._turn is None:
            self._turn = turn
        else:
            turn.void()  # the other greenlet has admitted one meanwhile, and figures end one only
        return None

    def from_server(self, data: bytes) -> Ends | None:
        message = read(data)
        if not message or "setupComplete" in message:
            return None
        if self._turn is None:
            if "usageMetadata" not in message and "serverContent" not in message:
                return None
            refused = self._admit()  # the provider goes on by itself
            if refused is not None:
                return Ends(refused, at_once=True)
        turn = self._turn
        if turn is None:
            return None
        usage = turn.meter
        assert isinstance(usage, LiveUsage)  # noqa: S101 - it is made above
        turn.begun()
        if usage.told(message):
            turn.end("ok")
            self._turn = None
        else:
            turn.note_progress()
        return None

    def _refused(self, rejection: Rejection) -> Verdict:
        return Verdict(answer=self.error(rejection), ends=ending(rejection))

    def error(self, rejection: Rejection) -> bytes:
        """The protocol has none, so it is what the SDK takes for one: a message that is nothing else."""
        deny = rejection.deny
        status = ERRORS[deny.reason].status
        text = deny.sentence()
        return DIALECTS["gemini"].refusal(status, deny.reason.value, text, self._turns.session.id, deny.fields)

    def end(self, outcome: str) -> None:
        if self._turn is not None:
            self._turn.finish(outcome)
            self._turn = None
