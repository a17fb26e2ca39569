"""Limits for models in sessions over WebSockets: of turns, and of what is billed beside them, also when set meanwhile."""

import json
from typing import Any

import pytest
from accounting_edits import set_model_limits
from accounting_kit import Router, Worker
from sqlalchemy import Engine, text
from talk_kit import COST, MODEL, MakeKey, Open, Talk, created, done, opener

from proxyd.accounting.records import LedgerUnavailable
from proxyd.gateway.rejection import Rejection
from proxyd.websocket.watch import SessionWatch
from shared.model_limits import row_id_of
from shared.sealing import Sealer

WRITTEN_DOWN = {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
TRANSCRIBED = {
    "type": "conversation.item.input_audio_transcription.completed",
    "usage": {"type": "tokens", "input_tokens": 100, "output_tokens": 10, "total_tokens": 110,
              "input_token_details": {"audio_tokens": 100, "text_tokens": 0}},
}  # fmt: skip
TRANSCRIPTION_COST = 100 * 6_000 + 10 * 10_000


def limit(model: str, nanos: int = 10**10) -> dict[str, Any]:
    return {"model": model, "spend_limit_nanos": nanos, "spend_reset": "never"}


def own(model: str, nanos: int = 10**10) -> dict[str, Any]:
    """Of a key that is made with it."""
    return {**limit(model, nanos), "since": 0}


@pytest.fixture
def talk(router: Router, engine: Engine, sealer: Sealer, worker: Worker, make_key: MakeKey) -> Open:
    with engine.begin() as connection:
        connection.execute(text("update accounting_state set model_limits = true"))
    return opener(router, engine, sealer, worker, make_key)


def key_id(session: Talk) -> str:
    key = session._turns.session.key
    assert key is not None
    return key.id


def counted(worker: Worker, session: Talk, pattern: str) -> tuple[int, int]:
    """Spent and held against a limit."""
    worker.accounting.flush()
    row_id = row_id_of(key_id(session), pattern)
    row = worker.counters.rows([row_id]).get(row_id)
    return (0, 0) if row is None else (row.lifetime, sum(held for _, held in row.days.values()))


def test_it_works(talk: Open, worker: Worker) -> None:
    """A turn is held on the limits that its model matches, charged to them, and refused when one is reached."""
    session = talk(model_limits=[own("gpt-realtime*"), own("gpt-4o*")])
    verdict = session.says(type="response.create")
    assert verdict.turn is not None
    assert counted(worker, session, "gpt-realtime*") == (0, verdict.turn.admission.bound_nanos)
    session.hears(**created("resp_1"))
    session.hears(**done("resp_1"))
    assert counted(worker, session, "gpt-realtime*") == (COST, 0)
    assert counted(worker, session, "gpt-4o*") == (0, 0)
    small = talk(model_limits=[own("gpt-*", 1_000)])
    refused = small.says(type="response.create")
    assert refused.answer is not None
    assert json.loads(refused.answer)["error"]["code"] == "model_spend_exceeded"


def test_what_begins_without_being_admitted_counts_all_the_same(talk: Open, worker: Worker) -> None:
    session = talk(model_limits=[own("gpt-*", 1_000)])
    ends = session.hears(**created("resp_1"))
    assert ends is not None
    assert ends.why.deny.reason.value == "model_spend_exceeded"
    assert counted(worker, session, "gpt-*")[1] == 0


def edited(router: Router, worker: Worker, session: Talk, pattern: str) -> None:
    """The key of a session gets a limit; new counters that know it are there."""
    set_model_limits(router.engine, key_id(session), [limit(pattern)])
    router.rest(worker)


def test_what_is_billed_beside_turns_counts_on_limits_that_are_set_meanwhile(
    talk: Open, router: Router, worker: Worker
) -> None:
    session = talk()
    assert session.hears(type="session.updated", session=WRITTEN_DOWN) is None
    session.hears(**TRANSCRIBED)
    edited(router, worker, session, "gpt-4o-*")
    key = session._turns.session.key
    assert key is not None
    assert key.model_limits == (), "it has not heard of it"
    before = counted(worker, session, "gpt-4o-*")[0]
    session.hears(**TRANSCRIBED)
    assert counted(worker, session, "gpt-4o-*")[0] - before == TRANSCRIPTION_COST
    assert session.money[0] == 2 * TRANSCRIPTION_COST


def test_it_is_in_the_ledger_although_the_database_tells_no_limits(
    talk: Open, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """Then on those that the key had when it was looked up last."""
    session = talk(model_limits=[own("gpt-*")])
    turns = session._turns
    session.hears(type="session.updated", session=WRITTEN_DOWN)

    def hang(_: object) -> None:
        raise LedgerUnavailable("down")

    turns.sessions.rows._limits_of = hang  # type: ignore[assignment] # it raises
    session.hears(**TRANSCRIBED)
    assert "are taken as they were" in caplog.text
    assert session.money[0] > 0
    assert counted(worker, session, "gpt-*")[0] == session.money[0]


def test_where_no_key_has_one_the_database_is_not_asked(talk: Open, worker: Worker) -> None:
    session = talk()
    asked: list[object] = []
    session._turns.sessions.rows._limits_of = lambda keys: asked.append(keys) or {}  # type: ignore[func-returns-value]
    session.hears(**TRANSCRIBED)
    assert asked == []
    assert not worker.membership.may_be_limited


class Watched:
    """A session as the watch sees it."""

    def __init__(self, session: Talk) -> None:
        self.turns = session._turns
        self.refused: list[Rejection] = []

    def tick(self, now: float) -> None: ...
    def lose_credential(self) -> None:
        raise AssertionError

    def refuse(self, rejection: Rejection) -> None:
        self.refused.append(rejection)


def test_the_watch_renews_the_key_of_each_session_and_judges_what_is_in_use(
    talk: Open, router: Router, worker: Worker
) -> None:
    """One that transcribes may do so no more; another one of the same key goes on, by the key as it is now."""
    session = talk()
    first, other = Watched(session), Watched(session)
    session.hears(type="session.updated", session=WRITTEN_DOWN)
    turns = other.turns
    other.turns = type(turns)(
        turns.accounting, turns.admission, turns.sessions, turns._context(MODEL, None), turns.opened
    )
    watch, place = SessionWatch(), (turns.session.digest, None)
    watch._ask(place, [other, first])
    assert (first.refused, other.refused) == ([], [])
    edited(router, worker, session, "gpt-4o-transcribe")
    with router.engine.begin() as connection:
        connection.execute(text("update proxy_keys set version = 9"))
    router.renew_observer()
    router.observer.publish(router.database.generation(), {key_id(session): 9}, {})
    watch._ask(place, [other, first])
    assert [one.deny.reason.value for one in first.refused] == ["model_not_priced"]
    assert other.refused == []
    for turns in (first.turns, other.turns):
        assert turns.session.key is not None
        assert turns.is_restricted


def test_a_feature_of_the_session_is_judged_by_its_own_model(talk: Open) -> None:
    """Where the same event asks for a transcription, by another model that no limit is for."""
    session = talk(model_limits=[own("gpt-realtime")])
    settings = {**WRITTEN_DOWN, "prompt": {"id": "p"}}
    assert session.says(type="session.update", session=WRITTEN_DOWN).forward is not None
    refused = session.says(type="session.update", session=settings)
    assert refused.answer is not None
    assert json.loads(refused.answer)["error"]["code"] == "model_not_priced"
    ends = session.hears(type="session.updated", session=settings)
    assert ends is not None
    assert ends.why.deny.reason.value == "model_not_priced"
