from datetime import UTC, date, datetime

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
    epoch = counters.bump_epoch("org")
    assert counters.admit(charge(rate_limit_rpm=5)) == Stale(epoch)
    assert counters.admit(charge(rate_limit_rpm=5, expected_epoch=epoch + 1)) == Stale(epoch)
    assert counters.rate("key", 5).remaining == 5
    assert counters.spend("key", "daily").held_nanos == 0
    assert isinstance(counters.admit(charge(expected_epoch=epoch)), Admitted)


def test_epochs_rise_even_when_the_clock_does_not(counters, tmp_path):
    first, second = counters.bump_epoch("org"), counters.bump_epoch("org")
    assert counters.epoch("org") == second == first + 1
    lost = connect(f"sqlite:///{tmp_path / 'other.db'}", clock=lambda: NOON + 1)
    assert lost.bump_epoch("org") > second, "a number that no snapshot was loaded under"
    lost.close()


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
