"""Money in a key's row: what fits, periods and their days, and amounts near 2**53."""

from datetime import date, timedelta

import pytest
from counters_kit import DAY, NOON, TODAY, FakeClock, batch_context, charge, kind, row
from hypothesis import given
from hypothesis import strategies as st

from shared.counters import (
    KEEP_DAYS,
    KeyRow,
    Seed,
    SpendExceeded,
    SpendHeld,
    spend_of,
)
from shared.money import MAX_NANOS
from shared.periods import RESETS

AMOUNTS = st.integers(0, 1000) | st.integers(MAX_NANOS - 1000, MAX_NANOS)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 120))
def test_money_fits_or_waits_or_does_not(spent: int, held: int, bound: int, limit: int) -> None:
    one = row(spent=spent, held=held)
    answer = one.decide(charge(limit=limit, bound=bound), batch_context())
    if spent + held + bound <= limit:
        assert answer is None
    elif spent + bound <= limit:
        assert isinstance(answer, SpendHeld)
        assert 1 <= answer.retry_after_seconds <= 5
        assert answer.spend[:4] == (limit, spent, held, max(0, limit - spent - held))
    else:
        assert isinstance(answer, SpendExceeded)
        assert answer.spend[:4] == (limit, spent, held, max(0, limit - spent - held))
    assert one.days == row(spent=spent, held=held).days, "a refusal holds nothing"


def test_the_more_holds_have_to_end_the_longer_the_wait() -> None:
    waits = [
        answer.retry_after_seconds
        for bound in range(1, 101)
        if isinstance(answer := row(held=100).decide(charge(limit=100, bound=bound), batch_context()), SpendHeld)
    ]
    assert len(waits) == 100
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (1, 5)


@pytest.mark.parametrize("limit", [2**53 - 1, 2**53 - 2, 1, 0])
def test_m04_limits_are_exact_to_the_nano_dollar(limit: int) -> None:
    one = row()
    assert kind(one.decide(charge(limit=limit, bound=limit + 1), batch_context())) is SpendExceeded
    assert one.decide(charge(limit=limit, bound=limit), batch_context()) is None
    one.admitted(charge(limit=limit, bound=limit), batch_context())
    assert kind(one.decide(charge(limit=limit, bound=1), batch_context())) is (SpendHeld if limit else SpendExceeded)
    one.end(TODAY, limit, limit)
    assert one.days == ({TODAY: [limit, 0]})
    assert kind(one.decide(charge(limit=limit, bound=1), batch_context())) is SpendExceeded
    assert one.decide(charge(limit=limit, bound=0), batch_context()) is None, "what costs nothing fits"


def test_amounts_of_keys_without_a_limit_stay_below_2_to_the_53() -> None:
    one = row(held=MAX_NANOS - 1, spent=MAX_NANOS - 1)
    one.admitted(charge(bound=MAX_NANOS), batch_context())
    one.end(TODAY, 0, MAX_NANOS)
    assert one.days == {TODAY: [MAX_NANOS, MAX_NANOS]}
    assert one.lifetime == MAX_NANOS
    one.end(TODAY - 1, 0, 5)
    assert spend_of(one, FakeClock().moment, "monthly", None).period[:4] == (None, MAX_NANOS, MAX_NANOS, None)
    assert KeyRow.decode(one.encode(TODAY)).days == one.days


def test_a_hold_is_never_negative() -> None:
    one = row(held=10)
    one.hold(TODAY, -30)
    one.hold(TODAY - 1, -5)
    one.end(TODAY - 2, 7, 1)
    assert [entry[1] for entry in one.days.values()] == [0, 0, 0]


PERIODS = [
    # today, reset, first day of the period, of the next one
    (date(2027, 1, 15), "daily", date(2027, 1, 15), date(2027, 1, 16)),
    (date(2027, 1, 15), "weekly", date(2027, 1, 10), date(2027, 1, 17)),
    (date(2027, 1, 15), "monthly", date(2027, 1, 1), date(2027, 2, 1)),
    (date(2027, 12, 31), "monthly", date(2027, 12, 1), date(2028, 1, 1)),
    (date(2028, 2, 29), "monthly", date(2028, 2, 1), date(2028, 3, 1)),
    (date(2028, 1, 1), "weekly", date(2027, 12, 26), date(2028, 1, 2)),
]


@pytest.mark.parametrize(("today", "reset", "start", "end"), PERIODS)
def test_m16_a_period_holds_its_own_days(today: date, reset: str, start: date, end: date) -> None:
    one, clock = row(), FakeClock()
    clock.wall_now += (today.toordinal() - TODAY) * DAY
    for offset in range(-40, 40):
        one.days[today.toordinal() + offset] = [1_000 + offset, 10]
    days = [start + timedelta(days=at) for at in range((end - start).days)]
    spent = sum(1_000 + (day - today).days for day in days)
    state = spend_of(one, clock.moment, reset, 10**6).period
    assert state == (10**6, spent, 10 * len(days), 10**6 - spent - 10 * len(days), start, end)


def test_never_counts_the_lifetime_and_all_that_is_held() -> None:
    one = row(lifetime=500, spent=7, held=5)
    one.hold(TODAY - 100, 4)
    found = spend_of(one, FakeClock().moment, "never", 600)
    assert found.period[:4] == (600, 507, 9, 84)
    assert found.period.resets_on is None
    assert found.lifetime_nanos == 507
    assert kind(one.decide(charge(limit=515, bound=0), batch_context())) is SpendHeld
    assert one.decide(charge(limit=516, bound=0), batch_context()) is None


def test_m15_a_cost_is_posted_to_the_day_of_admission() -> None:
    clock, one, asked = FakeClock(wall_now=NOON + DAY / 2 - 0.001), row(), charge(limit=100, reset="daily", bound=100)
    yesterday = one.admitted(asked, batch_context(clock))
    clock.pass_by(0.002)
    assert one.decide(asked, batch_context(clock)) is None, "the new day starts at 0"
    today = one.admitted(asked, batch_context(clock))
    assert today.day == yesterday.day + 1
    assert today.spend is not None
    assert today.spend[:4] == (100, 0, 100, 0)
    one.end(yesterday.day, 100, 60)
    assert spend_of(one, clock.moment, "daily", 100).period[:4] == (100, 0, 100, 0)
    assert one.days == {yesterday.day: [60, 0], today.day: [0, 100]}


def test_m15_a_clock_that_steps_back_at_midnight_opens_no_second_period() -> None:
    clock, one, asked = FakeClock(wall_now=NOON + DAY / 2 - 1), row(), charge(limit=100, reset="daily", bound=100)
    for _ in range(3):  # before, after, and before midnight again
        if one.decide(asked, batch_context(clock)) is None:
            one.end(one.admitted(asked, batch_context(clock)).day, 100, 100)
        clock.wall_now += 2 if clock.wall_now < NOON + DAY / 2 else -2
    assert one.days == {TODAY: [100, 0], TODAY + 1: [100, 0]}
    assert one.lifetime == 200


@given(st.sampled_from(RESETS), st.sampled_from(RESETS), AMOUNTS, AMOUNTS)
def test_m17_another_period_or_limit_finds_what_was_used(first: str, second: str, cost: int, bound: int) -> None:
    one, moment = row(), FakeClock().moment
    one.admitted(charge(reset=first, limit=None, bound=bound), batch_context())
    one.end(TODAY, 0, cost)
    before = spend_of(one, moment, first, 5).period
    after = spend_of(one, moment, second, None).period
    assert (before.spent_nanos, before.held_nanos) == (after.spent_nanos, after.held_nanos) == (cost, bound)
    assert before.remaining_nanos == max(0, 5 - cost - bound)


def test_days_that_no_period_asks_for_are_folded_away_unless_something_is_held() -> None:
    one = row()
    for ago in range(60):
        one.end(TODAY - ago, 0, 1)
    one.hold(TODAY - 59, 8)
    stored = KeyRow.decode(one.encode(TODAY))
    assert sorted(stored.days) == [TODAY - 59, *range(TODAY - KEEP_DAYS + 1, TODAY + 1)]
    assert stored.lifetime == 60
    stored.end(TODAY - 59, 8, 3)
    last = KeyRow.decode(stored.encode(TODAY))
    assert TODAY - 59 not in last.days
    assert last.lifetime == 63


@given(st.integers(0, 2000), st.sampled_from(["daily", "weekly", "monthly"]))
def test_what_is_kept_covers_every_period_that_ends(later: int, reset: str) -> None:
    one, clock = row(), FakeClock()
    clock.wall_now += later * DAY
    today = clock.moment.day
    for ago in range(50):
        one.days[today - ago] = [1, 0]
    before = spend_of(one, clock.moment, reset, None)
    assert spend_of(KeyRow.decode(one.encode(today)), clock.moment, reset, None) == before


def test_a_clock_set_back_by_some_days_finds_the_whole_month_again() -> None:
    one, last_of_january = row(), date(2027, 1, 31).toordinal()
    for ago in range(31):
        one.days[last_of_january - ago] = [1, 0]
    stored = KeyRow.decode(one.encode(last_of_january + 6))
    clock = FakeClock()
    clock.wall_now += (last_of_january - TODAY) * DAY
    assert spend_of(stored, clock.moment, "monthly", None).period.spent_nanos == 31


def test_a_seed_is_added_once() -> None:
    one = row(seeded=False, spent=5, held=2)
    one.seed(Seed("key", 1_000, {TODAY: 10, TODAY - 1: 20}))
    one.seed(Seed("key", 1_000, {TODAY: 10, TODAY - 1: 20}))
    assert one.days == {TODAY: [15, 2], TODAY - 1: [20, 0]}
    assert one.lifetime == 1_005
    near = row(seeded=False, spent=MAX_NANOS - 1)
    near.seed(Seed("key", 5, {TODAY: 5}))
    assert (near.lifetime, near.days) == (MAX_NANOS, {TODAY: [MAX_NANOS, 0]})
