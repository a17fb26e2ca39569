"""Estimates and what corrects them, on SQLite and on PostgreSQL."""

from typing import Any

import pytest
from ledger_kit import attempt, ended, raised, settlement
from sqlalchemy import Engine, select

from proxyd.accounting.accounting_state import AccountingDatabase, JournalImported
from proxyd.accounting.adjustments import corrections
from proxyd.accounting.journal_reader import Position
from proxyd.accounting.ledger import Ledger, ReadCopy
from proxyd.accounting.records import LedgerUnavailable, crashed
from shared.counters import Hold
from shared.models import KeySpend, UsageDaily, UsageRecord
from shared.periods import FIRST_DAY

START, COPIED, BEYOND = Position(), Position(1, 500, 1), Position(1, 900, 3)
OPEN = tuple((attempt(number, requested_model=f"asked-{number}"), crashed(attempt(number), None)) for number in (2, 3))


@pytest.fixture
def copied(ledger: Ledger, database: AccountingDatabase) -> Ledger:
    """A ledger that has what ended in a copy, 700, and two estimates of 1,000."""
    database.post_heartbeat("machine_1", 4, {"01W": [Hold("key_1", 1, 5)]})
    ledger.post("01W", [ended(1)], START, COPIED)
    assert ledger.import_copies([ReadCopy("01W", COPIED, COPIED, OPEN)]) == 2
    return ledger


def rows(engine: Engine, what: Any = UsageRecord.__table__) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(what).order_by(*what.primary_key)))


def spent(engine: Engine) -> tuple[int, int, int]:
    (row,) = [row for row in rows(engine, KeySpend.__table__) if row.day == FIRST_DAY]
    return row.generation, row.base_nanos, row.total_nanos


def test_it_works(any_engine: Engine, copied: Ledger, database: AccountingDatabase) -> None:
    assert copied.correct("01W", [ended(2, cost_nanos=300), ended(3, cost_nanos=None)], COPIED, BEYOND) == 2
    _, estimate, adjustment, *_, unsent = rows(any_engine)
    assert (estimate.id, estimate.outcome, estimate.cost_nanos, estimate.adjusts) == (
        "req_00000002",
        "crash",
        1_000,
        None,
    )
    assert (adjustment.id, adjustment.adjusts) == ("req_00000002+1", "req_00000002")
    assert (adjustment.outcome, adjustment.cost_nanos, adjustment.flags) == ("ok", -700, ["adjustment"])
    assert (adjustment.usage, adjustment.price) == (settlement().usage, settlement().price)
    assert (adjustment.day, adjustment.admitted_at) == (estimate.day, estimate.admitted_at)
    assert (unsent.adjusts, unsent.outcome, unsent.cost_nanos) == ("req_00000003", "unsent", -1_000)
    assert spent(any_engine)[2] == 1_000
    (journal,) = database.open_journals("machine_1")
    assert (journal.imported, journal.from_copy) == (BEYOND, True)


def test_an_adjustment_is_no_request_and_stands_where_the_estimate_does(any_engine: Engine, copied: Ledger) -> None:
    copied.correct("01W", [ended(2, cost_nanos=300, requested_model="asked-2")], COPIED, BEYOND)
    sums = {
        row.model: (row.requests, row.input_tokens, row.cost_nanos) for row in rows(any_engine, UsageDaily.__table__)
    }
    assert sums == {"gpt-4o-2024-08-06": (1, 3, 700), "asked-2": (1, 3, 300), "asked-3": (1, 0, 1_000)}


def test_what_no_counters_know_outdates_them(any_engine: Engine, copied: Ledger, database: AccountingDatabase) -> None:
    """Sums at the cut of the present generation do not change; the next one begins with all of it."""
    assert database.generations() == (4, 4, 0)
    assert raised(database) == 5
    assert spent(any_engine) == (4, 0, 2_700)
    copied.correct("01W", [ended(2, cost_nanos=300)], COPIED, BEYOND)
    assert database.generations() == (5, 5, 0)
    assert spent(any_engine) == (5, 2_700, 2_000)


def test_nothing_new_outdates_nothing(copied: Ledger, database: AccountingDatabase) -> None:
    raised(database)
    assert copied.import_copies([ReadCopy("01W", COPIED, COPIED, OPEN)]) == 0
    assert copied.correct("01W", [ended(1)], COPIED, BEYOND) == 0
    assert database.generations() == (5, 4, 0)


@pytest.mark.parametrize("again", ["ok", "crash"])
def test_the_last_word_is_not_adjusted(any_engine: Engine, copied: Ledger, again: str) -> None:
    copied.correct("01W", [ended(2, cost_nanos=1_000)], COPIED, BEYOND)
    late = settlement(cost_nanos=5) if again == "ok" else crashed(attempt(2), 5)
    with any_engine.connect() as connection:
        found = corrections(connection, [(attempt(2), late), (attempt(1), late), (attempt(9), None)])
    assert found == ([], [])
    assert [row.cost_nanos for row in rows(any_engine) if row.adjusts] == [0], "it says what was used"


def test_who_was_imported_from_a_copy_is_waited_for_no_more(copied: Ledger, database: AccountingDatabase) -> None:
    database.register("01X", "machine_1")
    cut = database.raise_generation(0)
    assert cut is not None
    assert [journal.worker_id for journal in cut.journals] == ["01X"]
    assert database.posted_holds(["01W"]) == {}
    with pytest.raises(JournalImported):
        database.enter("01W", "machine_1")
    assert database.enter("01X", "machine_1") == 5
    assert copied.correct("01W", [], COPIED, BEYOND) == 0


def test_only_corrections_go_on_from_a_copy(copied: Ledger) -> None:
    with pytest.raises(LedgerUnavailable):
        copied.post("01W", [ended(4)], COPIED, BEYOND)
    with pytest.raises(LedgerUnavailable):
        copied.correct("01W", [ended(4)], START, BEYOND)


def test_all_copies_or_none(any_engine: Engine, ledger: Ledger, database: AccountingDatabase) -> None:
    database.register("01X", "machine_1")
    database.close("01X")
    for other in (ReadCopy("01X", START, COPIED, ()), ReadCopy("01NOBODY", START, COPIED, ())):
        with pytest.raises(LedgerUnavailable):
            ledger.import_copies([ReadCopy("01W", START, COPIED, OPEN), other])
    assert rows(any_engine) == []
    assert database.generations() == (4, 0, 0)
    assert [journal.from_copy for journal in database.open_journals("machine_1")] == [False]
