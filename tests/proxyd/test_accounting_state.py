"""What workers and ledger writers agree on in SQL, on SQLite and on PostgreSQL."""

import threading
from typing import Any

import pytest
from ledger_kit import DAY, ended, raised
from sqlalchemy import Engine, text

from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.journal_reader import Position
from proxyd.accounting.ledger import Ledger


def scalar(any_engine: Engine, sql: str) -> Any:
    with any_engine.connect() as connection:
        return connection.execute(text(sql)).scalar()


def test_it_works(any_engine: Engine, database: AccountingDatabase) -> None:
    assert database.generation() == 4
    assert database.register("01A", "machine_1") == 4
    assert {journal.worker_id for journal in database.open_journals("machine_1")} == {"01W", "01A"}
    database.close("01A")
    assert [journal.worker_id for journal in database.open_journals("machine_1")] == ["01W"]
    assert database.open_journals("machine_2") == []
    assert scalar(any_engine, "select closed_at from journals where worker_id = '01A'") is not None


def test_to_register_again_changes_nothing(ledger: Ledger, database: AccountingDatabase) -> None:
    ledger.post("01W", [ended(1)], Position(), Position(1, 500, 1))
    before = database.open_journals("machine_1")
    assert database.register("01W", "machine_2") == 4
    assert database.open_journals("machine_1") == before
    database.close("01W")
    database.register("01W", "machine_1")
    assert database.open_journals("machine_1") == []


@pytest.mark.parametrize(("above", "expected"), [(0, 5), (4, 5), (9, 10)])
def test_a_generation_is_above_all_there_were(database: AccountingDatabase, above: int, expected: int) -> None:
    assert raised(database, above) == expected
    assert database.generation() == expected


def test_a_generation_is_cut_where_each_journal_had_been_read_to(
    ledger: Ledger,
    database: AccountingDatabase,
) -> None:
    database.register("01A", "machine_1")
    ledger.post("01W", [ended(1), ended(2)], Position(), Position(1, 500, 2))
    database.raise_generation(0)
    ledger.post("01W", [ended(3)], Position(1, 500, 2), Position(1, 600, 3))
    cuts = {
        journal.worker_id: (journal.cut_end_number, journal.imported.end_number)
        for journal in database.open_journals("machine_1")
    }
    assert cuts == {"01W": (2, 3), "01A": (0, 0)}


def test_another_generation_than_the_present_one_is_not_seeded(database: AccountingDatabase) -> None:
    assert database.seeds(["key_1"], 3, DAY) is None
    assert database.seeds(["key_1"], 5, DAY) is None
    assert [seed.key_id for seed in database.seeds(["key_1", "key_2"], 4, DAY) or []] == ["key_1", "key_2"]


def test_days_that_no_period_asks_for_are_not_told(ledger: Ledger, database: AccountingDatabase) -> None:
    ends = [ended(number, cost_nanos=number, day=DAY - age) for number, age in ((1, 0), (2, 36), (3, 37), (4, 400))]
    ledger.post("01W", ends, Position(), Position(1, 500, 4))
    generation = raised(database)
    (seed,) = database.seeds(["key_1"], generation, DAY) or []
    assert (seed.lifetime_nanos, seed.days) == (10, {DAY: 1, DAY - 36: 2})


def test_many_keys_are_seeded_at_once(ledger: Ledger, database: AccountingDatabase) -> None:
    ends = [ended(number, cost_nanos=number, key_id=f"key_{number}") for number in range(1, 1_201)]
    ledger.post("01W", ends, Position(), Position(1, 500, 1_200))
    generation = raised(database)
    wanted = [f"key_{number}" for number in range(1, 1_301)]
    seeds = database.seeds(wanted, generation, DAY) or []
    assert [seed.lifetime_nanos for seed in seeds] == [*range(1, 1_201), *[0] * 100]


def test_the_outbox_tells_present_versions_and_is_cleared_of_what_was_told(
    any_engine: Engine,
    database: AccountingDatabase,
) -> None:
    assert database.outbox() == ([], {}, {})
    with any_engine.begin() as connection:
        for subject in ("key_1", "org_1", "key_1", "key_deleted"):
            connection.execute(text("insert into policy_outbox (subject) values (:subject)"), {"subject": subject})
        connection.execute(text("update proxy_keys set version = 7"))
    numbers, keys, orgs = database.outbox()
    assert (len(numbers), keys, orgs) == (4, {"key_1": 7}, {"org_1": 1})
    with any_engine.begin() as connection:
        connection.execute(text("insert into policy_outbox (subject) values ('org_1')"))
    database.clear_outbox(numbers)
    assert len(database.outbox()[0]) == 1


@pytest.mark.timeout(60)
def test_every_cut_is_exact_while_postings_go_on(
    any_engine: Engine,
    ledger: Ledger,
    database: AccountingDatabase,
) -> None:
    """Seeds at a cut plus the ENDs above it are all there is, whoever was posting meanwhile (1 nano each)."""
    total = 60
    failures: list[Exception] = []

    def post() -> None:
        position = Position()
        try:
            for number in range(1, total + 1):
                following = Position(1, number * 100, number)
                ledger.post("01W", [ended(number, cost_nanos=1)], position, following)
                position = following
        except Exception as error:  # noqa: BLE001 - told by the test below
            failures.append(error)

    thread = threading.Thread(target=post)
    thread.start()
    seen: list[tuple[int, int]] = []
    while thread.is_alive():
        generation = raised(database)
        (seed,) = database.seeds(["key_1"], generation, DAY) or []
        (journal,) = database.open_journals("machine_1")
        seen.append((seed.lifetime_nanos, journal.cut_end_number))
    thread.join()
    assert failures == []
    assert seen
    assert [spent for spent, _ in seen] == [cut for _, cut in seen]
    assert scalar(any_engine, "select total_nanos from key_spend where day = '1970-01-01'") == total


def test_on_postgresql_a_generation_waits_for_a_posting_that_has_begun(
    any_engine: Engine,
    ledger: Ledger,
    database: AccountingDatabase,
) -> None:
    if any_engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    with any_engine.connect() as posting:
        posting.execute(text("select generation from accounting_state for share"))
        raising = threading.Thread(target=database.raise_generation, args=(0,))
        raising.start()
        raising.join(0.3)
        assert raising.is_alive()
        posting.rollback()
    raising.join(10)
    assert database.generation() == 5
