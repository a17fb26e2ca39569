"""A session goes over one connection: its turns choose no credential, and it ends when its own is not used any more."""

from datetime import UTC, datetime
from typing import Any

import pytest
from accounting_kit import Router, Worker
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session
from talk_kit import MakeKey, Open, Talk, opener

from proxyd.known_key import KnownKey
from proxyd.websocket.turns import Turns
from proxyd.websocket.watch import SessionWatch
from shared.models import Organization, ProviderCredential, UsageRecord
from shared.sealing import Sealer

USAGE = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}


@pytest.fixture
def talk(router: Router, engine: Engine, sealer: Sealer, worker: Worker, make_key: MakeKey) -> Open:
    """Sessions of an organisation with two credentials of OpenAI's, of the same weight."""
    make_key()
    row = ProviderCredential(
        id="cred_~second", org_id="org_1", provider="openai", label="second", sealed=sealer.seal("sk-second"),
        last4="cond", created_at=datetime.now(UTC), created_by="test",
    )  # fmt: skip
    with Session(engine) as session:
        session.add(row)
        session.commit()
    return opener(router, engine, sealer, worker, make_key)


def turns_of(session: Talk) -> Turns:
    return session._turns


def current(turns: Turns) -> KnownKey:
    found = turns.current()
    assert isinstance(found, KnownKey)
    return found


def test_it_works(talk: Open, router: Router, worker: Worker, engine: Engine) -> None:
    """Its turns are none of the requests that weights are shared by, and tell with which credential they went."""
    session = talk("responses")
    opened = turns_of(session).opened
    assert (opened.credential.label, opened.several is not None) == ("default", True)
    assert opened.several is not None
    assert opened.several.choose(in_order=False).label == "default"
    for number in ("resp_1", "resp_2", "resp_3"):
        asks = {"type": "response.create", "model": "gpt-4o-mini", "input": "hello", "store": False}
        assert session.says(**asks).forward is not None
        session.hears(type="response.created", response={"id": number})
        session.hears(type="response.completed", response={"id": number, "model": "gpt-4o-mini", "usage": USAGE})
    assert opened.several.choose(in_order=False).label == "second", "whose turn it is"
    router.rest(worker)
    with Session(engine) as database:
        rows = database.scalars(select(UsageRecord)).all()
    assert [row.tried for row in rows] == [[{"label": "default", "last4": "real", "why": None}]] * 3


def test_only_sessions_with_nothing_to_go_back_to_are_spread(talk: Open) -> None:
    def labels(kind: str) -> list[str]:
        return [turns_of(talk(kind)).opened.credential.label for _ in range(4)]

    assert sorted(labels("realtime")) == ["default"] * 2 + ["second"] * 2
    assert labels("responses") == ["default"] * 4, "which may name a response that is stored"


def test_a_session_ends_when_its_credential_is_not_used_any_more(talk: Open, engine: Engine, worker: Worker) -> None:
    turns = turns_of(talk("responses"))

    def edit(**fields: Any) -> None:
        with Session(engine) as session:
            session.execute(update(ProviderCredential).where(ProviderCredential.label == "default").values(**fields))
            session.execute(update(Organization).values(policy_version=Organization.policy_version + 1))
            version = session.scalar(select(Organization.policy_version)) or 0
            session.commit()
        worker.counters.publish(worker.membership.generation, {}, {"org_1": version})

    class Watched:
        lost = 0

        def __init__(self) -> None:
            self.turns = turns

        def tick(self, now: float) -> None: ...
        def refuse(self, rejection: object) -> None: ...
        def lose_credential(self) -> None:
            self.lost += 1

    watch, watched = SessionWatch(), Watched()

    def look() -> int:
        watch._ask((turns.session.digest, None), [watched])
        return watched.lost

    assert look() == 0
    edit(weight=7, label="default")
    assert turns.is_open_to(current(turns))
    assert look() == 0
    edit(enabled=False)
    assert not turns.is_open_to(current(turns))
    assert look() == 1
    edit(enabled=True, created_at=datetime.now(UTC))
    assert look() == 2, "another secret may have taken its place"
