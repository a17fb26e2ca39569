"""A session over a WebSocket without its two connections: messages in, and what becomes of the money."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from accounting_kit import Router, Worker
from request_kit import Untouched
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from proxyd.bodies.parser import BodyParser
from proxyd.gateway.admission import AdmissionController
from proxyd.gateway.context import Admission, RequestContext
from proxyd.gateway.destinations import SessionRoute
from proxyd.gateway.head import head_info
from proxyd.gateway.limits import Limits
from proxyd.gateway.session_admission import SessionAdmission
from proxyd.key_cache import KeyCache
from proxyd.messages import Request
from proxyd.websocket.conversation import Conversation, Verdict
from proxyd.websocket.live import LiveConversation
from proxyd.websocket.realtime import RealtimeConversation
from proxyd.websocket.responses import ResponsesConversation
from proxyd.websocket.turns import Turns
from shared import ids
from shared.catalog import LIVE_PATH
from shared.keys import NewKey
from shared.models import ProviderCredential
from shared.sealing import Sealer

MakeKey = Callable[..., tuple[str, NewKey]]
Open = Callable[..., "Talk"]
MODEL = "gpt-realtime"


class Talk:
    """A session without its two connections."""

    def __init__(self, conversation: Conversation, limits: Limits, turns: Turns) -> None:
        self._conversation = conversation
        self._limits = limits
        self._turns = turns

    def passes(self, data: bytes, *, by_client: bool) -> None:
        """One of both sends something."""
        if by_client:
            self._said(data)
        else:
            self._conversation.from_server(data)

    def says(self, **event: Any) -> Verdict:
        """The client sends an event, and what is let through goes out."""
        return self._said(json.dumps(event).encode())

    def _said(self, data: bytes) -> Verdict:
        verdict = self._conversation.from_client(data)
        if verdict.turn is not None:
            verdict.turn.sent = True
        return verdict

    def hears(self, **event: Any) -> Any:
        """The provider sends one."""
        return self._conversation.from_server(json.dumps(event).encode())

    def ends(self, outcome: str = "client_gone") -> None:
        self._conversation.end(outcome)

    @property
    def running(self) -> int:
        return self._conversation.running

    @property
    def money(self) -> tuple[int, int]:
        """What the key has spent and holds, in nano-dollars."""
        key = self._turns.session.key
        assert key is not None
        found = self._limits.of(key)
        assert found is not None
        return found[1].spent_nanos, found[1].held_nanos


def opener(router: Router, engine: Engine, sealer: Sealer, worker: Worker, make_key: MakeKey, **more: Any) -> Open:
    """What opens a session of a new key. `more` is for its admission."""
    cache = KeyCache(
        engine,
        sealer,
        lambda function, *arguments: function(*arguments),
        generation=lambda: worker.membership.generation,
    )
    limits = Limits(worker.counters, worker.accounting, router.database.seeds)
    admission = AdmissionController(cache, worker.counters, worker.accounting, limits, **more)
    sessions = SessionAdmission(
        admission, worker.accounting, worker.counters, worker.rows_of_told, lambda: worker.membership.may_be_limited
    )

    def opened(kind: str = "realtime", **fields: Any) -> Talk:
        _, secret = make_key(**fields)
        if kind == "live":
            _have_gemini(engine, sealer)
        untouched = Untouched()
        headers = ((b"upgrade", b"websocket"), (b"connection", b"upgrade"))
        path = f"{LIVE_PATH}v1beta.GenerativeService.BidiGenerateContent" if kind == "live" else f"/v1/{kind}"
        request = Request("GET", path, "", headers, untouched, untouched)
        seq, number = worker.accounting.new_id()
        head = head_info(request, ())
        route = head.match.route
        assert isinstance(route, SessionRoute)
        context = RequestContext(request, seq, number, head, ip_address("10.0.0.1"), "openai", 0.0, secret.digest)
        context.target, context.free = route.target, True
        known = cache.find(secret.digest)
        assert known is not None
        context.key = known.key
        began = sessions.begin(known, context, lambda _: (0, None))
        assert isinstance(began, Admission)
        turns = Turns(worker.accounting, admission, sessions, context, began)
        conversation: Conversation
        if kind == "realtime":
            conversation = RealtimeConversation(turns, route.endpoint, BodyParser(), MODEL)
        elif kind == "live":
            conversation = LiveConversation(turns, route.endpoint, BodyParser())
        else:
            conversation = ResponsesConversation(turns, route.endpoint, BodyParser())
        return Talk(conversation, limits, turns)

    return opened


def _have_gemini(engine: Engine, sealer: Sealer) -> None:
    """The organisation of `make_key` has a credential of OpenAI's alone."""
    row = ProviderCredential(
        id=ids.new_id("cred"), org_id="org_1", provider="gemini", sealed=sealer.seal("real"),
        last4="real", created_at=datetime.now(UTC), created_by="test",
    )  # fmt: skip
    with Session(engine) as session:
        session.add(row)
        session.commit()


def code(verdict: Verdict) -> str:
    """Why OpenAI's clients are told that a message went nowhere."""
    assert verdict.answer is not None
    found: str = json.loads(verdict.answer)["error"]["code"]
    return found


# What a session of Realtime is told of an answer, and what that costs.
USAGE = {
    "input_tokens": 10, "output_tokens": 5, "total_tokens": 15,
    "input_token_details": {"text_tokens": 10, "audio_tokens": 0, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 0, "audio_tokens": 5},
}  # fmt: skip
COST = 10 * 4_000 + 5 * 64_000  # of that, in nano-dollars


def created(number: str) -> dict[str, Any]:
    return {"type": "response.created", "response": {"id": number}}


def done(number: str, usage: Any = USAGE, status: str = "completed") -> dict[str, Any]:
    return {"type": "response.done", "response": {"id": number, "status": status, "usage": usage}}
