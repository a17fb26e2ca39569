"""OpenAI Responses over a WebSocket: each `response.create` is a turn, with the body of a POST to the same path.

Turns of one lane (`stream_id`) are answered in their order, those of several lanes at the same time. What the provider
begins by itself (a response that was steered) is a turn as well, of a bound that nobody knows beforehand; so on keys
with a spend limit nothing is passed on that could lead to one.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import orjson

from proxyd.bodies.parser import BodyParser, ParserBusy
from proxyd.gateway.authenticate import names_a_secret_of_ours
from proxyd.gateway.body_reader import QUICK_BYTES, is_parsed_here
from proxyd.gateway.rejection import Rejection, key_for_model, rejected
from proxyd.providers import DIALECTS, BadBody, Parsed, SlowBody
from proxyd.providers.body import read_object
from proxyd.providers.openai_answer import ResponsesUsage
from proxyd.websocket.conversation import (
    MAX_TURNS,
    Ends,
    Verdict,
    ending,
    openai_error,
    read,
    refusal_of,
    text_of,
    too_many,
)
from proxyd.websocket.turns import Turn, Turns
from proxyd.wire.sse import Event
from shared.catalog import Endpoint, Kind, provider_of_model
from shared.custom_providers import may_be_name
from shared.policy import ERRORS, Reason
from shared.pricing import Size

OPENAI = DIALECTS["openai"]
_NAMED: tuple[str, ...] = ("type", "stream_id")
_BEGINNINGS = frozenset({"response.created", "response.queued", "response.in_progress"})


class ResponsesConversation:
    """Implements `Conversation`."""

    def __init__(self, turns: Turns, endpoint: Endpoint, parser: BodyParser) -> None:
        self._turns = turns
        self._endpoint = endpoint
        self._parser = parser
        self._lanes: dict[str, deque[Turn]] = {}
        self._model: str | None = None  # of the last turn

    @property
    def running(self) -> int:
        return sum(map(len, self._lanes.values()))

    def from_client(self, data: bytes) -> Verdict:
        lane = ""
        try:
            kind, lane, parsed = self._read(data)
            if parsed is not None:
                return self._create(lane, parsed)
            refused = self._turns.refuses(self._model, f"the event {kind[:80]}")
            if refused is None and (kind != "response.steer" and self._turns.is_restricted):
                refused = rejected(Reason.INVALID_REQUEST, detail=f"the event {kind[:80]} is not known here.")
        except (BadBody, ParserBusy) as error:
            return self._refused(lane, refusal_of(error))
        return Verdict(forward=data) if refused is None else self._refused(lane, refused)

    def _read(self, data: bytes) -> tuple[str, str, Parsed | None]:
        """The kind of an event, its lane, and the request in it. Raises BadBody and ParserBusy."""
        question = (self._endpoint, None, "")
        try:
            if len(data) > QUICK_BYTES and not is_parsed_here(data):
                raise SlowBody  # noqa: TRY301 - likewise, for its size alone
            document: Mapping[str, Any] = read_object(data)
            kind, lane = text_of(document, "type"), _lane_of(document)
            create = kind == "response.create"
            return kind, lane, OPENAI.read(self._endpoint, data, None, "") if create else None
        except SlowBody:
            key_id = self._turns.session.key.id if self._turns.session.key is not None else ""
            parsed = self._parser.parse(key_id, question, data)
            spans = self._parser.members(key_id, data)
            named = {name: orjson.loads(data[slice(*spans[name])]) for name in _NAMED if name in spans}
            if text_of(named, "type") != "response.create":
                raise BadBody("An event of this size must be a response.create.", "type") from None
            return "response.create", _lane_of(named), parsed

    def _create(self, lane: str, parsed: Parsed) -> Verdict:
        if self.running >= MAX_TURNS:
            return self._refused(lane, too_many())
        named = parsed.model or ""
        if names_a_secret_of_ours(named):
            return self._refused(lane, key_for_model())
        slug, model = provider_of_model(named) or ("openai", named)
        name, slash, _ = named.partition("/")
        if slash and model == named and may_be_name(name):
            # One of the organisation's own, or a slip in its name: where it has none, OpenAI says what it thinks of it.
            current = self._turns.current()
            if isinstance(current, Rejection):
                return self._refused(lane, current)
            slug = name if current.custom else slug
        if slug != "openai":
            detail = f"the model {model} is none of OpenAI's, and only OpenAI speaks this WebSocket."
            return self._refused(lane, rejected(Reason.INVALID_REQUEST, detail=detail, param="model"))
        new_model = None if model == named else model
        turn = self._turns.admit(parsed, model, ResponsesUsage(self._endpoint, parsed), new_model=new_model)
        if isinstance(turn, Rejection):
            return self._refused(lane, turn)
        self._model = model
        self._lanes.setdefault(lane, deque()).append(turn)
        return Verdict(OPENAI.rewrite(parsed, model=new_model, output_limit=turn.admission.output_limit), turn)

    def from_server(self, data: bytes) -> Ends | None:
        event = read(data)
        kind, lane = text_of(event, "type"), text_of(event, "stream_id")
        queue = self._lanes.setdefault(lane, deque())
        if kind in _BEGINNINGS:
            response = event.get("response")
            response = response if isinstance(response, dict) else {}
            if not queue and (refused := self._begun_unasked(lane, response)) is not None:
                return refused
            queue[0].begun(response.get("id"))
        if not queue:
            del self._lanes[lane]
            return None
        turn = queue[0]
        if not turn.sent:
            return None  # it is told of something else
        usage = turn.meter
        assert isinstance(usage, ResponsesUsage)  # noqa: S101 - it is made above
        usage.event(Event(b"", kind.encode(), data))
        if usage.complete or usage.failed:
            status = event.get("status")
            turn.sent = True
            unanswered = kind == "error" and not usage.wrote  # else it is an answer that broke off
            turn.status = status if unanswered and type(status) is int and 400 <= status < 600 else 200
            turn.end("provider_error" if usage.failed else "ok")
            queue.popleft()
            if not queue:
                del self._lanes[lane]
        else:
            turn.note_progress()
        return None

    def _begun_unasked(self, lane: str, response: Mapping[str, Any]) -> Ends | None:
        """The provider begins a response by itself: it costs something, whatever the key may spend."""
        model = text_of(response, "model")[:200] or self._model or "unknown"
        size = Size(0, context_inputs=True, countable=False)
        parsed = Parsed(Kind.RESPONSES, model, stream=True, size=size, wants_usage=True, document={}, raw=b"")
        turn = self._turns.admit(parsed, model, ResponsesUsage(self._endpoint, parsed))
        if isinstance(turn, Rejection):
            self._turns.post(parsed, model, None)
            return Ends(turn, at_once=True)
        self._lanes[lane].appendleft(turn)  # a client may have asked for the next one while this was admitted
        return None

    def _refused(self, lane: str, rejection: Rejection) -> Verdict:
        return Verdict(answer=self._error(rejection, lane), ends=ending(rejection))

    def error(self, rejection: Rejection) -> bytes:
        return self._error(rejection, "")

    def _error(self, rejection: Rejection, lane: str) -> bytes:
        status = ERRORS[rejection.deny.reason].status
        error = openai_error(rejection, self._turns.session.id)
        event: dict[str, Any] = {"type": "error", "status": status, "error": error, "sequence_number": 0}
        if lane:
            event["stream_id"] = lane
        return orjson.dumps(event)

    def end(self, outcome: str) -> None:
        for queue in self._lanes.values():
            for turn in queue:
                turn.finish(outcome)
        self._lanes.clear()


def _lane_of(document: Mapping[str, Any]) -> str:
    lane = document.get("stream_id")
    if lane is None or isinstance(lane, str):
        return lane or ""
    raise BadBody("stream_id must be a string.", "stream_id")
