"""Days of a time zone through all that holds money: ENDs that are late, crashes, lost counters, an edit, the ledger."""

from datetime import UTC, date, datetime, timedelta

import pytest
from accounting_kit import Router, Worker, charge
from ledger_kit import NOON
from sqlalchemy import text

from shared.counters import Admitted, SpendExceeded
from shared.periods import FIRST_DAY

ZONE = "Asia/Kamchatka"  # +12: its midnight is noon in UTC
AFTER = datetime.fromtimestamp(NOON, UTC).date() + timedelta(days=1)
BEFORE = AFTER - timedelta(days=1)


def begin(worker: Worker, bound_nanos: int = 1_000) -> int:
    seq, answer = worker.admit(charge(zone=ZONE, bound_nanos=bound_nanos))
    assert isinstance(answer, Admitted), answer
    return seq


def counted(router: Router) -> dict[date, list[int]]:
    """What the counters have spent and held, by day."""
    router.renew_observer()
    days = router.observer.rows(["key_1"])["key_1"].days
    return {date.fromordinal(day): entry for day, entry in days.items() if any(entry)}


def posted(router: Router) -> tuple[dict[date, int], dict[date, int], dict[date, int]]:
    """What the ledger has by day: of its rows, of the sums by model and of the totals of keys."""
    told = []
    with router.engine.connect() as connection:
        for column, table in (
            ("cost_nanos", "usage_records"),
            ("cost_nanos", "usage_daily"),
            ("total_nanos", "key_spend"),
        ):
            rows = connection.execute(text(f"select day, sum({column}) from {table} group by day"))
            sums = {day if isinstance(day, date) else date.fromisoformat(day): int(nanos) for day, nanos in rows}
            told.append({day: nanos for day, nanos in sums.items() if day != FIRST_DAY})
    return told[0], told[1], told[2]


@pytest.fixture
def late(router: Router, worker: Worker) -> Worker:
    """A worker on the last second of a day."""
    router.clock.forward(-1)
    return worker


def test_an_end_that_is_late_is_of_the_day_of_its_admission(router: Router, late: Worker) -> None:
    seq = begin(late)
    router.clock.forward(2)
    other = begin(late, 10_000)  # the new day begins at nothing
    late.settle(seq, 300)
    late.settle(other, 40)
    router.rest(late)
    assert counted(router) == {BEFORE: [300, 0], AFTER: [40, 0]}
    assert posted(router) == ({BEFORE: 300, AFTER: 40},) * 3


def test_a_crash_is_charged_to_the_day_of_the_admission(router: Router, late: Worker) -> None:
    begin(late)
    router.clock.forward(2)
    begin(late, 70)
    late.kill()
    router.workers.clear()
    router.rounds(2)
    assert counted(router) == {BEFORE: [1_000, 0], AFTER: [70, 0]}
    assert posted(router) == ({BEFORE: 1_000, AFTER: 70},) * 3


def test_counters_that_are_lost_after_midnight_know_both_days_again(router: Router, late: Worker) -> None:
    late.settle(begin(late), 300)
    held = begin(late, 500)
    router.rest(late)
    router.clock.forward(2)
    late.settle(begin(late), 40)
    begin(late, 9_000)
    router.lose_counters()
    router.rest(late)
    _, full = late.admit(charge(zone=ZONE, bound_nanos=9_999))
    assert isinstance(full, SpendExceeded), "what was spent there today is known"
    assert full.spend[:4] == (10_000, 40, 9_000, 960)
    assert counted(router) == {BEFORE: [300, 500], AFTER: [40, 9_000]}
    late.settle(held, 100)
    router.rest(late)
    assert counted(router) == {BEFORE: [400, 0], AFTER: [40, 9_000]}
    assert posted(router)[2] == {BEFORE: 400, AFTER: 40}
