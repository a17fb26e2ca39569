"""What happens to holds and sums over time: leases, losses and seeds, old days and old ends."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from shared.counters import (
    Admitted,
    Charge,
    SpendHeld,
    Unseeded,
    connect,
)

TODAY = date(2027, 3, 17)  # a Wednesday
NOON = datetime(2027, 3, 17, 12, tzinfo=UTC).timestamp()


class Clock:
    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/counters.db"


@pytest.fixture
def counters(url, clock):
    counters = connect(url, clock=clock)
    assert counters.seed(counters.generation(), [])
    yield counters
    counters.close()


def charge(reservation="r1", **changes):
    fields = {
        "reservation_id": reservation,
        "worker_id": "w1",
        "org_id": "org",
        "key_id": "key",
        "expected_epoch": 0,
        "rate_limit_rpm": None,
        "spend_limit_nanos": 1000,
        "spend_reset": "daily",
        "bound_nanos": 100,
    }
    return Charge(**{**fields, **changes})


def test_it_works(counters):
    counters.admit(charge())
    assert counters.lapse() == 0
    assert counters.spend("key", "daily").held_nanos == 100


def test_holds_lapse_with_the_lease_of_their_worker(counters, clock):
    counters.renew("w1", 100)
    counters.admit(charge())
    counters.admit(charge("r2", worker_id="w2"))
    clock.now += 101
    assert counters.lapse() == 1, "w2 got its lease with the admission, and that is longer"
    assert counters.spend("key", "daily").held_nanos == 100
    assert counters.lapse() == 0
    assert counters.settle("r1", "key", TODAY, 30), "the journal of a dead worker may still tell the cost"
    assert counters.spend("key", "daily").spent_nanos == 30


def test_a_renewed_lease_keeps_the_holds(counters, clock):
    counters.admit(charge())
    for _ in range(5):
        clock.now += 200
        counters.renew("w1")
        assert counters.lapse() == 0
    assert counters.spend("key", "daily").held_nanos == 100


def test_holds_of_the_dead_lapse_before_a_request_is_refused_for_them(counters, clock):
    counters.renew("w1", 10)
    counters.admit(charge(bound_nanos=1000))
    assert isinstance(counters.admit(charge("r2", worker_id="w2")), SpendHeld)
    clock.now += 11
    admitted = counters.admit(charge("r2", worker_id="w2"))
    assert isinstance(admitted, Admitted)
    assert counters.spend("key", "daily").held_nanos == 100


def test_new_counters_admit_nothing_limited_before_they_are_seeded(url, clock):
    counters = connect(url, clock=clock)
    generation = counters.generation()
    assert not counters.is_seeded()
    assert counters.admit(charge(rate_limit_rpm=3)) == Unseeded(generation)
    assert counters.rate("key", 3).remaining == 3
    assert counters.admit(charge(spend_limit_nanos=None)) == Admitted(TODAY, None, None)
    assert counters.seed(generation, [("key", TODAY, 500), ("key", date(2020, 1, 1), 70), ("key", TODAY, 1)])
    assert counters.is_seeded()
    assert not counters.seed(generation, [("key", TODAY, 9)])
    assert not counters.seed("another", [])
    assert counters.spend("key", "daily").spent_nanos == 501
    assert counters.spend("key", "daily").held_nanos == 100
    assert counters.spend("key", "never").spent_nanos == 571


def test_a_seed_counts_what_was_settled_meanwhile_once(url, clock):
    counters = connect(url, clock=clock)
    for reservation in ("in the ledger", "not yet"):
        counters.admit(charge(reservation, spend_limit_nanos=None))
        counters.settle(reservation, "key", TODAY, 10)
    assert sorted(counters.posted_unseeded()) == ["in the ledger", "not yet"]
    assert counters.seed(counters.generation(), [("key", TODAY, 210)], ledgered={"in the ledger"})
    assert counters.spend("key", "daily").spent_nanos == 220
    assert counters.posted_unseeded() == []


def test_a_seed_that_fails_changes_nothing(url, clock):
    counters = connect(url, clock=clock)
    counters.settle("r1", "key", TODAY, 10)
    wrong: Any = "no date"
    with pytest.raises(AttributeError):
        counters.seed(counters.generation(), [("key", TODAY, 1), ("key", wrong, 1)])
    assert not counters.is_seeded()
    assert counters.spend("key", "daily").spent_nanos == 10


def test_holds_are_put_back_after_a_loss_once(counters, clock):
    for _ in range(2):
        counters.hold_again("r1", "w1", "key", TODAY, 100)
    assert counters.spend("key", "daily").held_nanos == 100
    counters.settle("r1", "key", TODAY, 5)
    counters.hold_again("r1", "w1", "key", TODAY, 100)
    counters.hold_again("free", "w1", "key", TODAY, 0)
    assert counters.spend("key", "daily").held_nanos == 0
    counters.hold_again("r2", "w9", "key", TODAY, 100)
    clock.now += 301
    assert counters.lapse() == 1


def test_old_days_are_folded_and_none_is_lost(counters, clock):
    counters.settle("old 1", "key", date(2026, 12, 1), 1000)
    counters.settle("old 2", "key", date(2026, 12, 2), 200)
    counters.settle("new", "key", date(2027, 2, 28), 30)
    counters.hold_again("open", "w1", "key", date(2026, 12, 3), 4)
    counters.lapse()
    rows = counters._database.read("SELECT day, spent, held FROM spend ORDER BY day")
    assert [row[1:] for row in rows] == [(1200, 0), (0, 4), (30, 0)]
    counters.settle("open", "key", TODAY, 4)
    counters.lapse()
    assert counters.spend("key", "never").spent_nanos == 1234
    assert counters.lifetime("key", "daily").lifetime_nanos == 1234


def test_ends_are_remembered_for_two_days(counters, clock):
    for at in range(30):
        counters.settle(f"r{at:02}", "key", TODAY, 1)
    clock.now += 48 * 3600 - 1
    counters.lapse()
    assert not counters.settle("r07", "key", TODAY, 1)
    clock.now += 2
    counters.lapse()
    assert counters._database.read("SELECT COUNT(*) FROM done") == [(0,)]
    assert counters.spend("key", "never").spent_nanos == 30
