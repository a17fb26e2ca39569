from datetime import UTC, date, datetime
from typing import Any

import pytest

from shared.counters import (
    Admitted,
    Charge,
    KeySpend,
    RateLimited,
    SpendExceeded,
    SpendHeld,
    SpendState,
    Stale,
    Unseeded,
    connect,
)
from shared.money import MAX_NANOS

TODAY = date(2027, 3, 17)  # a Wednesday
NOON = datetime(2027, 3, 17, 12, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2027, 3, 18, tzinfo=UTC).timestamp()


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
    admitted = counters.admit(charge(rate_limit_rpm=10))
    spend = SpendState(1000, 0, 100, 900, TODAY, date(2027, 3, 18))
    assert admitted == Admitted(TODAY, admitted.rate, spend)
    assert (admitted.rate.limit, admitted.rate.remaining) == (10, 9)
    assert counters.settle("r1", "key", admitted.day, 60)
    assert counters.spend("key", "daily", 1000) == SpendState(1000, 60, 0, 940, TODAY, date(2027, 3, 18))
    assert counters.lifetime("key", "daily") == KeySpend(counters.spend("key", "daily"), 60)


def test_a_key_without_limits_is_told_of_none_and_still_counted(counters):
    assert counters.admit(charge(spend_limit_nanos=None)) == Admitted(TODAY, None, None)
    assert counters.spend("key", "daily") == SpendState(None, 0, 100, None, TODAY, date(2027, 3, 18))
    assert counters.rate("key", 10).remaining == 9


def test_spend_of_many_keys(counters):
    counters.admit(charge())
    counters.admit(charge("r2", key_id="other", spend_limit_nanos=None, bound_nanos=7))
    asked = [("key", "daily", 1000), ("other", "never", None), ("new", "weekly", 5)]
    states = counters.spend_many(asked)
    assert [(s.held_nanos, s.remaining_nanos) for s in states.values()] == [(100, 900), (7, None), (0, 5)]
    assert counters.lifetime_many(asked)["other"].period == states["other"]


def test_another_epoch_is_stale_and_charges_nothing(counters):
    assert counters.bump_epoch("org") == 1
    assert counters.admit(charge(rate_limit_rpm=5)) == Stale(1)
    assert counters.admit(charge(rate_limit_rpm=5, expected_epoch=2)) == Stale(1)
    assert counters.rate("key", 5).remaining == 5
    assert counters.spend("key", "daily").held_nanos == 0
    assert isinstance(counters.admit(charge(expected_epoch=1)), Admitted)


def test_exceeded_when_the_bound_does_not_fit_into_what_is_not_spent(counters):
    counters.settle("r0", "key", TODAY, 950)
    refusal = counters.admit(charge(rate_limit_rpm=5))
    assert refusal == SpendExceeded(SpendState(1000, 950, 0, 50, TODAY, date(2027, 3, 18)))
    assert counters.rate("key", 5).remaining == 5, "a refused request consumes no rate"
    assert isinstance(counters.admit(charge(bound_nanos=50)), Admitted), "the limit itself may be reached"


def test_held_when_it_would_fit_without_the_requests_in_flight(counters):
    counters.admit(charge("r0", bound_nanos=950))
    refusal = counters.admit(charge())
    assert isinstance(refusal, SpendHeld)
    assert refusal.spend.held_nanos == 950
    assert 1 <= refusal.retry_after_seconds <= 5
    assert isinstance(counters.admit(charge(bound_nanos=1000)), SpendHeld)
    assert isinstance(counters.admit(charge(bound_nanos=1001)), SpendExceeded)
    counters.settle("r0", "key", TODAY, 1)
    assert isinstance(counters.admit(charge()), Admitted)


def test_the_rate_is_told_before_the_spend_and_nothing_is_held_for_it(counters):
    counters.admit(charge("r0", rate_limit_rpm=1))
    assert isinstance(counters.admit(charge(rate_limit_rpm=1, bound_nanos=5000)), RateLimited)
    assert isinstance(counters.admit(charge(rate_limit_rpm=1)), RateLimited)
    assert counters.spend("key", "daily").held_nanos == 100


@pytest.mark.parametrize(
    ("limit", "bound", "kind"),
    [
        (0, 1, SpendExceeded),
        (0, 0, Admitted),
        (None, MAX_NANOS, Admitted),
        (1, 1, Admitted),
        (1, 2, SpendExceeded),
        (MAX_NANOS, MAX_NANOS, Admitted),
        (MAX_NANOS, MAX_NANOS + 1, SpendExceeded),
        (None, MAX_NANOS + 1, SpendExceeded),
    ],
)
def test_m04_the_smallest_and_the_largest_limits(counters, limit, bound, kind):
    assert isinstance(counters.admit(charge(spend_limit_nanos=limit, bound_nanos=bound)), kind)


def test_amounts_never_reach_2_to_the_53(counters):
    assert counters.settle("r1", "key", TODAY, 2**60)
    assert counters.spend("key", "never").spent_nanos == MAX_NANOS
    assert counters.settle("r2", "key", TODAY, MAX_NANOS)
    assert counters.settle("r3", "key", date(2027, 3, 16), MAX_NANOS)
    assert counters.lifetime("key", "daily").lifetime_nanos == MAX_NANOS
    assert isinstance(counters.admit(charge("r4", spend_limit_nanos=None, bound_nanos=1)), SpendExceeded)
    assert counters.spend("key", "monthly").spent_nanos == MAX_NANOS


def test_a_cost_above_its_hold_is_posted_in_full(counters):
    counters.admit(charge())
    counters.settle("r1", "key", TODAY, 1500)
    state = counters.spend("key", "daily", 1000)
    assert (state.spent_nanos, state.held_nanos, state.remaining_nanos) == (1500, 0, 0)


@pytest.mark.parametrize("cost", [-1, -(2**60)])
def test_negative_money_is_refused(counters, cost):
    with pytest.raises(ValueError, match="negative"):
        counters.settle("r1", "key", TODAY, cost)
    with pytest.raises(ValueError, match="negative"):
        counters.admit(charge(bound_nanos=cost))


def test_m06_a_reservation_ends_once(counters):
    counters.admit(charge("twice"))
    assert counters.settle("twice", "key", TODAY, 10)
    assert not counters.settle("twice", "key", TODAY, 10)
    assert not counters.release("twice")

    counters.admit(charge("void"))
    assert counters.release("void")
    assert not counters.settle("void", "key", TODAY, 10)
    assert not counters.release("void")

    assert counters.settle("unknown", "key", TODAY, 5)
    assert not counters.settle("unknown", "key", TODAY, 5)
    assert counters.release("never seen")
    assert not counters.settle("never seen", "key", TODAY, 5)

    state = counters.spend("key", "daily")
    assert (state.spent_nanos, state.held_nanos) == (15, 0)
    with pytest.raises(ValueError, match="has ended"):
        counters.admit(charge("void"))


def test_admitted_twice_is_charged_once(counters, clock):
    first = counters.admit(charge(rate_limit_rpm=10))
    assert counters.admit(charge(rate_limit_rpm=10)) == first
    clock.now = MIDNIGHT + 5
    again = counters.admit(charge(rate_limit_rpm=10))
    assert again.day == TODAY
    assert counters.lifetime("key", "never").period.held_nanos == 100


def test_the_hold_decides_where_the_cost_is_posted(counters):
    counters.admit(charge())
    counters.settle("r1", "another", date(2027, 1, 1), 7)
    assert counters.spend("key", "daily").spent_nanos == 7
    assert counters.spend("another", "never").spent_nanos == 0


@pytest.mark.parametrize(
    ("reset", "start", "resets_on", "spent"),
    [
        ("daily", TODAY, date(2027, 3, 18), 1),
        ("weekly", date(2027, 3, 14), date(2027, 3, 21), 11),
        ("monthly", date(2027, 3, 1), date(2027, 4, 1), 111),
        ("never", date(1970, 1, 1), None, 1111),
    ],
)
def test_a_period_is_a_run_of_days(counters, reset, start, resets_on, spent):
    for at, day in enumerate([TODAY, date(2027, 3, 14), date(2027, 3, 13), date(2027, 2, 28)]):
        counters.settle(f"r{at}", "key", day, 10**at)
    assert counters.spend("key", reset) == SpendState(None, spent, 0, None, start, resets_on)


def test_m15_a_hold_belongs_to_the_day_of_its_admission(counters, clock):
    clock.now = MIDNIGHT - 0.001
    admitted = counters.admit(charge())
    clock.now = MIDNIGHT + 0.001
    assert counters.spend("key", "daily") == SpendState(None, 0, 0, None, date(2027, 3, 18), date(2027, 3, 19))
    counters.settle("r1", "key", admitted.day, 90)
    fresh = counters.spend("key", "daily", 1000)
    assert (fresh.spent_nanos, fresh.held_nanos, fresh.remaining_nanos) == (0, 0, 1000)
    clock.now = MIDNIGHT - 2  # the clock steps back: it is the old day again, with what was used of it
    assert counters.spend("key", "daily").spent_nanos == 90
    assert isinstance(counters.admit(charge("r2", bound_nanos=911)), SpendExceeded)
    clock.now = MIDNIGHT + 1
    assert isinstance(counters.admit(charge("r2", bound_nanos=1000)), Admitted)


def test_limits_and_resets_that_are_edited_find_what_was_used(counters):
    counters.admit(charge("r1", spend_limit_nanos=None))
    counters.settle("r1", "key", TODAY, 400)
    for reset in ("daily", "weekly", "monthly", "never"):
        assert isinstance(
            counters.admit(charge(f"low {reset}", spend_limit_nanos=399, spend_reset=reset)), SpendExceeded
        )
        assert isinstance(counters.admit(charge(f"high {reset}", spend_limit_nanos=500, spend_reset=reset)), Admitted)
        counters.release(f"high {reset}")
    assert counters.spend("key", "daily", 300).remaining_nanos == 0


def test_the_moment_can_be_given(counters):
    assert counters.admit(charge(now=MIDNIGHT)).day == date(2027, 3, 18)
    assert counters.admit(charge("r2")).day == TODAY


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


def test_counters_outlive_their_process(url, counters, clock):
    counters.admit(charge())
    counters.settle("r1", "key", TODAY, 40)
    counters.close()
    later = connect(url, clock=clock)
    assert later.spend("key", "daily").spent_nanos == 40
    assert later.is_seeded()
    later.close()


def test_an_unknown_reset_is_a_mistake(counters):
    with pytest.raises(ValueError, match="unknown spend reset"):
        counters.admit(charge(spend_reset="yearly"))


@pytest.mark.parametrize("url", ["redis://:secret@host/0", "memory://", "postgresql://u:secret@h/d", "nothing"])
def test_only_sqlite_is_supported_and_the_refusal_repeats_no_secret(url):
    with pytest.raises(ValueError, match="is not supported in this release") as caught:
        connect(url)
    assert "secret" not in str(caught.value)
