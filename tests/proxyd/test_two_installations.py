"""Two routers, each with its own database, that were given one Redis by mistake."""

from pathlib import Path

import pytest
from accounting_kit import HandClock
from machines_kit import Machine, ask, refusal
from redis_kit import RedisServer
from sqlalchemy import text

from shared import db, models
from shared.counters import Admitted, CountersForeign, CountersUnavailable


def installation(home: Path, number: int, server: RedisServer, clock: HandClock) -> Machine:
    """Its data directory and database, its ledger writer having started."""
    engine = db.create(f"sqlite:///{home / f'router-{number}.db'}")
    models.metadata().create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            text(f"insert into accounting_state (id, generation, outdated, installation) values (1, 0, 0, {number})")
        )
    return Machine(home, str(number), engine, server, clock)


def test_it_works(redis_server: RedisServer, tmp_path: Path) -> None:
    """The second one does not start, and the first one notices nothing."""
    redis_server.empty()
    clock = HandClock()
    ours = installation(tmp_path, 1, redis_server, clock)
    ours.worker()
    ours.rounds()
    with pytest.raises(CountersForeign):
        installation(tmp_path, 2, redis_server, clock)
    ours.rounds()
    assert isinstance(ask(ours, 100), Admitted)
    assert ours.database.generation() == 1


def test_counters_that_are_taken_over_while_we_run_are_refused_until_they_are_ours(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    redis_server.empty()
    clock = HandClock()
    ours = installation(tmp_path, 1, redis_server, clock)
    worker = ours.worker()
    ours.rounds()
    worker.begin(100)
    redis_server.empty()
    theirs = installation(tmp_path, 2, redis_server, clock)
    theirs.worker()
    theirs.rounds()
    ours.rounds(3)
    assert isinstance(refusal(ours), CountersUnavailable)
    ours.rounds(3)
    assert ours.database.generation() == 1, "no counters are made in the place of theirs, again and again"
    assert isinstance(ask(theirs, 100), Admitted)
    redis_server.empty()
    ours.rest(worker)
    assert isinstance(ask(ours, 100), Admitted)
    assert ours.spent() == (0, 200)
