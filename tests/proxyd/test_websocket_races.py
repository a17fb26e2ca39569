"""Both sides of a session at the same moment: one greenlet admits while the other one does."""

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from accounting_kit import Router, Worker
from sqlalchemy import Engine
from talk_kit import MakeKey, Open, opener

from proxyd.websocket.turns import Turns
from shared.sealing import Sealer


@pytest.fixture
def talk(router: Router, engine: Engine, sealer: Sealer, worker: Worker, make_key: MakeKey) -> Open:
    return opener(router, engine, sealer, worker, make_key)


def test_a_live_turn_that_both_sides_begin_is_one(talk: Open, router: Router, worker: Worker) -> None:
    session = talk("live")
    session.says(setup={"model": "models/gemini-2.5-flash"})
    asks = gevent.spawn(session.says, clientContent={"turns": [], "turnComplete": True})
    goes_on = gevent.spawn(session.hears, serverContent={"modelTurn": {"parts": [{"text": "Hello"}]}})
    gevent.joinall([asks, goes_on], raise_error=True, timeout=10)
    assert session.running == 1
    session.hears(usageMetadata={"promptTokenCount": 8, "responseTokenCount": 2, "totalTokenCount": 10})
    session.ends()
    assert session.running == 0
    worker.kill()  # whatever has not ended would be charged as a crash now
    router.rounds(3)
    rows = router.ledger_rows()
    assert len(rows) == 2, rows  # this turn, and the session, which nobody has closed here


class Between:
    """Turns, of which the first is admitted only when something else has happened meanwhile."""

    def __init__(self, turns: Turns, meanwhile: Callable[[], object]) -> None:
        self._turns = turns
        self._meanwhile: Callable[[], object] | None = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._turns, name)

    def admit(self, *arguments: Any, **more: Any) -> Any:
        turn = self._turns.admit(*arguments, **more)
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return turn


def test_a_response_that_nobody_asked_for_comes_before_one_that_is_asked_for_meanwhile(talk: Open) -> None:
    session = talk("responses")
    conversation: Any = session._conversation
    conversation._turns = Between(
        conversation._turns, lambda: session.says(type="response.create", model="gpt-4o-mini", input="hello")
    )
    session.hears(type="response.created", response={"id": "resp_1", "model": "gpt-4o"})
    told = [(turn.context.model, turn.provider_request_id) for turn in conversation._lanes[""]]
    assert told == [("gpt-4o", "resp_1"), ("gpt-4o-mini", None)]
    session.ends()
