"""CONTRACT 3 rule 7: no 60 seconds, wherever they begin, hold more admitted requests than the limit."""

import math
from bisect import bisect_left
from itertools import accumulate

import pytest
from counters_kit import TODAY, FakeClock
from hypothesis import given
from hypothesis import strategies as st

from shared.counters import WINDOW_SECONDS, KeyRow, moment_of
from shared.counters.window import Window

LIMITS = st.sampled_from([1, 2, 10, 60, 600])
# Steps that crowd, that come near a second's and the window's edge, and that let all lapse. Quarters are exact floats.
STEPS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 3.25, 14.75, 29.5, 58.75, 59.75, 60.0, 60.25, 61.0, 61.25, 130.0])
ARRIVALS = st.lists(st.tuples(STEPS, st.integers(1, 40)), min_size=1, max_size=60)


def within(times: list[float], start: float, end: float) -> int:
    """How many of sorted times lie in [start, end)."""
    return bisect_left(times, end) - bisect_left(times, start)


def run(arrivals: list[tuple[float, int]], limits: list[int], begin: float = 7.5) -> None:
    window, admitted = Window({}), list[float]()
    nows = accumulate((step for step, _ in arrivals), initial=begin)
    next(nows)
    for at, (now, (_, requests)) in enumerate(zip(nows, arrivals, strict=True)):
        limit = limits[at % len(limits)]
        for _ in range(requests):
            before = within(admitted, now - 60, math.inf)
            if window.acquire(int(now), limit):
                # Every span that ends now or earlier was judged when its last request came.
                assert before < limit
                admitted.append(now)
            else:
                assert within(admitted, now - 61, math.inf) >= limit
                wait = window.wait(now, limit)
                assert 0 < wait <= 61
                later = Window(dict(window.buckets))
                assert later.count(int(now + wait)) < limit
                # True within one second: a second earlier the window of 60 s would refuse as well.
                assert within(admitted, now + wait - 1 - 60, math.inf) >= limit


def test_it_works() -> None:
    window = Window({})
    assert [window.acquire(100, 2) for _ in range(3)] == [True, True, False]
    assert not window.acquire(160, 2)
    assert window.acquire(161, 2)
    assert window.buckets == {161: 1}


@given(ARRIVALS, LIMITS)
def test_no_60_seconds_hold_more_and_nothing_is_refused_that_61_would_admit(
    arrivals: list[tuple[float, int]], limit: int
) -> None:
    run(arrivals, [limit])


@given(ARRIVALS, st.lists(LIMITS, min_size=2, max_size=5))
def test_the_same_holds_while_the_limit_is_edited(arrivals: list[tuple[float, int]], limits: list[int]) -> None:
    run(arrivals, limits)


@given(st.floats(0, 10**7), st.lists(st.floats(0, 200), min_size=1, max_size=40), st.sampled_from([1, 2, 10]))
def test_real_valued_times(begin: float, steps: list[float], limit: int) -> None:
    window, admitted, now = Window({}), list[float](), begin
    for step in steps:
        now += step
        if window.acquire(int(now), limit):
            admitted.append(now)
    for first in admitted:
        assert within(admitted, first, first + 60) <= limit


@pytest.mark.parametrize("limit", [1, 60])
def test_m14_a_minute_after_a_used_up_one_is_whole_again(limit: int) -> None:
    window = Window({})
    assert sum(window.acquire(30, limit) for _ in range(2 * limit)) == limit
    assert sum(window.acquire(31, limit) for _ in range(2 * limit)) == 0
    assert sum(window.acquire(30 + 61, limit) for _ in range(2 * limit)) == limit


@given(st.dictionaries(st.integers(0, 400), st.integers(1, 5), max_size=8), st.integers(0, 300), st.integers(1, 50))
def test_seconds_later_than_now_count_as_now(buckets: dict[int, int], second: int, limit: int) -> None:
    window = Window(dict(sorted(buckets.items())))
    weighing = sum(count for at, count in buckets.items() if at >= second - WINDOW_SECONDS)
    assert window.count(second) == weighing
    assert list(window.buckets) == sorted(window.buckets)
    assert all(second - WINDOW_SECONDS <= at <= second for at in window.buckets)
    assert window.acquire(second, limit) == (weighing < limit)
    assert window.count(second + WINDOW_SECONDS + 1) == 0, "nobody is locked out for longer than a window"


def test_requests_that_were_admitted_elsewhere_stand_in_their_own_second() -> None:
    window = Window({})
    assert window.acquire(150, 10)
    window.add(120, 4)
    window.add(150, 2)
    window.add(95, 9)
    assert window.buckets == {95: 9, 120: 4, 150: 3}
    assert list(window.buckets) == [95, 120, 150]
    assert window.count(156) == 7
    assert window.wait(156.5, 7) == pytest.approx(120 + 61 - 156.5)
    assert window.wait(156.5, 3) == pytest.approx(150 + 61 - 156.5)


def test_an_amount_that_does_not_fit_leaves_nothing() -> None:
    window = Window({})
    assert window.acquire(10, 5, amount=3)
    assert not window.acquire(11, 5, amount=3)
    assert window.acquire(11, 5, amount=2)
    assert window.buckets == {10: 3, 11: 2}


def test_an_edit_finds_what_was_used() -> None:
    window = Window({})
    assert sum(window.acquire(10, 10) for _ in range(20)) == 10
    assert sum(window.acquire(20, 20) for _ in range(20)) == 10
    assert not window.acquire(20, 10)
    assert not window.acquire(71, 10), "of 20 the later ten weigh still"
    assert window.wait(71.0, 10) == 10.0
    assert window.acquire(71, 11)


@given(st.floats(0, 0.999), st.floats(0, 0.999), st.lists(st.integers(0, 70), max_size=10))
def test_resets_at_is_the_second_from_which_all_is_free(wall: float, steady: float, seconds: list[int]) -> None:
    clock, row = FakeClock(wall_now=1_800_000_000 + wall, steady_now=1_000 + steady), KeyRow.new()
    for passed in seconds:
        clock.pass_by(passed)
        row.window.acquire(clock.moment.second, 5)
    state = row.rate(clock.moment, 5)
    assert state.remaining == 5 - row.window.count(clock.moment.second)
    if state.remaining == 5:
        assert state.resets_at == math.ceil(clock.wall_now)
        return
    free_in = state.resets_at - clock.wall_now
    assert 0 < free_in <= 62
    day = clock.moment.day
    early, late = KeyRow.decode(row.encode(day)), KeyRow.decode(row.encode(day))
    # Microseconds stand for what a double of Unix seconds cannot tell.
    clock.pass_by(free_in - 1 - 1e-6)
    assert early.rate(clock.moment, 5).remaining < 5
    clock.pass_by(1 + 2e-6)
    assert late.rate(clock.moment, 5).remaining == 5


def test_a_step_of_the_wall_clock_gives_no_request_away() -> None:
    clock, row = FakeClock(), KeyRow.new()
    for step in (-130.0, 3600.0, -3600.0, 86_400.0):
        row.window.acquire(clock.moment.second, 1)
        clock.wall_now += step
        assert row.rate(clock.moment, 1).remaining == 0
        assert row.rate(clock.moment, 1).resets_at == clock.wall_now + 61


@given(ARRIVALS, st.sampled_from([60, 100, 1_000]))
def test_so_it_is_of_tokens_of_which_one_takes_more_than_another(arrivals: list[tuple[float, int]], limit: int) -> None:
    key, admitted, now = KeyRow.new(), list[tuple[float, int]](), 7.5

    def within(since: float) -> int:
        return sum(tokens for at, tokens in admitted if at >= since)

    for step, tokens in arrivals:
        now += step
        refused = key.token_refusal(limit, tokens, moment_of(now, now))
        if refused is None:
            assert within(now - 60) + tokens <= limit
            key.count_tokens(int(now), tokens)
            admitted.append((now, tokens))
        else:
            assert within(now - 61) + tokens > limit
            wait = refused.retry_after_seconds
            assert wait is not None
            assert 0 < wait <= 61
            later = KeyRow.decode(key.encode(TODAY))
            assert later.token_refusal(limit, tokens, moment_of(now + wait, now + wait)) is None
            # True within one second: a second earlier a window of 60 s would refuse as well.
            assert within(now + wait - 1 - 60) + tokens > limit
