"""What machines that share their counters tell each other in SQL, on SQLite and on PostgreSQL."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from ledger_kit import DAY, ended
from sqlalchemy import Engine, text, update

from proxyd.accounting.accounting_state import AccountingDatabase, CutJournal
from proxyd.accounting.journal_reader import Position
from proxyd.accounting.ledger import Ledger
from shared.counters import Hold
from shared.machines import AWAY_SECONDS, database_now
from shared.models import Machine


def test_it_works(database: AccountingDatabase) -> None:
    database.post_heartbeat("machine_1", 4, {"01W": [Hold("key_1", DAY, 5), Hold("key_1", DAY + 1, 2**52 - 1)]})
    database.post_heartbeat("machine_2", 3, {})
    assert database.live_machines() == {"machine_1": 4, "machine_2": 3}
    assert database.posted_holds(["01W", "01X"]) == {"01W": [Hold("key_1", DAY, 5), Hold("key_1", DAY + 1, 2**52 - 1)]}
    assert database.machines_of(["01W", "01X"]) == {"01W": "machine_1"}


def test_a_post_takes_the_place_of_the_one_before(database: AccountingDatabase) -> None:
    database.post_heartbeat("machine_1", 4, {"01W": [Hold("key_1", DAY, 5)]})
    database.post_heartbeat("machine_1", 5, {"01W": []})
    assert (database.live_machines(), database.posted_holds(["01W"])) == ({"machine_1": 5}, {"01W": []})


def test_who_does_not_reach_the_counters_tells_what_it_holds_and_not_that_it_is_there(
    database: AccountingDatabase,
) -> None:
    database.post_heartbeat("machine_1", None, {"01W": [Hold("key_1", DAY, 5)]})
    assert (database.live_machines(), database.posted_holds(["01W"])) == ({}, {"01W": [Hold("key_1", DAY, 5)]})


@pytest.mark.parametrize(("seconds", "heard"), [(AWAY_SECONDS - 2, True), (AWAY_SECONDS + 2, False)])
def test_who_has_not_posted_for_long_is_away(
    any_engine: Engine, database: AccountingDatabase, seconds: float, heard: bool
) -> None:
    database.post_heartbeat("machine_1", 4, {})
    with any_engine.connect().execution_options(writes=True) as connection, connection.begin():
        then = database_now(connection) - timedelta(seconds=seconds)
        connection.execute(update(Machine).values(posted_at=then))
    assert ("machine_1" in database.live_machines()) is heard


def test_what_a_worker_held_is_forgotten_when_it_is_closed(database: AccountingDatabase) -> None:
    database.post_heartbeat("machine_1", 4, {"01W": [Hold("key_1", DAY, 5)]})
    database.close("01W")
    assert database.posted_holds(["01W"]) == {}


def test_machines_that_are_long_gone_are_swept_away(any_engine: Engine, database: AccountingDatabase) -> None:
    database.post_heartbeat("machine_1", 4, {})
    database.post_heartbeat("machine_2", 4, {})
    with any_engine.connect().execution_options(writes=True) as connection, connection.begin():
        long_ago = database_now(connection) - timedelta(days=31)
        connection.execute(update(Machine).where(Machine.machine == "machine_1").values(posted_at=long_ago))
    database.sweep()
    with any_engine.connect() as connection:
        assert connection.scalars(text("select machine from machines")).all() == ["machine_2"]


@pytest.mark.parametrize(("known", "raised"), [(4, True), (3, False), (5, False), (0, False), (None, True)])
def test_only_who_knows_the_present_generation_raises_it(
    database: AccountingDatabase, known: int | None, raised: bool
) -> None:
    assert (database.raise_generation(9, known) is not None) is raised
    assert database.generation() == (10 if raised else 4)


def test_a_generation_is_raised_once_whoever_tries(database: AccountingDatabase) -> None:
    found: list[Any] = []
    tries = [threading.Thread(target=lambda: found.append(database.raise_generation(4, 4))) for _ in range(8)]
    for one in tries:
        one.start()
    for one in tries:
        one.join()
    assert sorted(cut is not None for cut in found) == [False] * 7 + [True]
    assert database.generation() == 5


def test_a_cut_tells_the_open_journals_of_all_machines(ledger: Ledger, database: AccountingDatabase) -> None:
    database.register("01A", "machine_2")
    database.register("01B", "machine_2")
    database.close("01B")
    ledger.post("01W", [ended(1), ended(2)], Position(), Position(1, 500, 2))
    cut = database.raise_generation(0, 4)
    assert cut is not None
    assert sorted(cut.journals) == [CutJournal("01A", "machine_2", 0), CutJournal("01W", "machine_1", 2)]
