"""A row as SQLite stores it: nothing that counts is lost on the way, whoever stored it last, and it stays short."""

import tracemalloc
from copy import deepcopy
from typing import Any

import pytest
from counters_kit import TODAY, row
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.counters import KEEP_DAYS, CountersLost, KeyRow, period_of_day
from shared.counters.window import Window
from shared.money import MAX_NANOS

AMOUNTS = st.integers(0, 1000) | st.integers(MAX_NANOS - 1000, MAX_NANOS)


@given(
    st.integers(0, 2**31),
    st.booleans(),
    AMOUNTS,
    st.dictionaries(st.integers(TODAY - 30, TODAY + 1), st.tuples(AMOUNTS, AMOUNTS), max_size=8),
    st.dictionaries(st.integers(0, 2**40), st.integers(1, 10**6), max_size=8)
    | st.dictionaries(st.integers(5_000, 5_070), st.integers(1, 300)),
    st.integers(0, 10**6),
)
def test_a_stored_row_is_the_same_row(
    version: int,
    seeded: bool,
    lifetime: int,
    days: dict[int, tuple[int, int]],
    window: dict[int, int],
    in_flight: int,
) -> None:
    sums, window = {day: list(entry) for day, entry in days.items()}, dict(sorted(window.items()))
    one = KeyRow(version, lifetime, sums, dict(window), seeded=seeded, in_flight=in_flight)
    other = KeyRow.decode(one.encode(TODAY))
    assert (other.version, other.seeded, other.lifetime, other.in_flight) == (version, seeded, lifetime, in_flight)
    assert (other.days, other.window.buckets) == (one.days, window)
    assert list(other.window.buckets) == list(window), "in the same order, which is that of time"


GAPS = st.sampled_from([0, 0, 1, 1, 2, 29, 30, 59, 60, 61, 70])
AGES = st.integers(-40, 1)  # of days
STEP = st.one_of(
    st.tuples(st.just("acquire"), GAPS, st.sampled_from([1, 2, 200, 255, 256, 300])),
    st.tuples(st.just("look"), GAPS, st.just(0)),
    st.tuples(st.just("add"), st.integers(-70, 0), st.sampled_from([-1, 1, 256])),
    st.tuples(st.just("tokens"), GAPS, st.integers(1, 500)),
    st.tuples(st.just("hold"), AGES | st.just(0), st.integers(1, 500)),
    st.tuples(st.just("end"), AGES | st.just(0), st.integers(0, 500)),
    st.tuples(st.just("sums"), st.sampled_from([0, 1, 2, 3]), st.just(0)),
    st.tuples(st.just("begin"), st.just(0), st.just(0)),
    st.tuples(st.just("tomorrow"), st.just(0), st.just(0)),
    st.tuples(st.just("clock of another boot"), st.integers(100, 10**6), st.just(0)),
)


HOLD = ("hold", 0, 1)


class Clocked:
    """Does steps to rows, at moments that go on."""

    def __init__(self) -> None:
        self.now, self.today = 5_000, TODAY

    def go_on(self, name: str, by: int) -> None:
        if name in ("acquire", "look", "tokens"):
            self.now += by
        elif name == "tomorrow":
            self.today += 1

    def do(self, one: KeyRow, name: str, by: int, amount: int) -> None:
        one.window.count(self.now)  # as each batch does, by which the second of another boot is this one's
        if name == "acquire":
            one.window.acquire(self.now, 10**9, amount=amount)
        elif name == "add":
            one.window.add(max(1, self.now + by), amount)
        elif name == "tokens":
            one.count_tokens(self.now, amount)
        elif name == "hold":
            one.hold(self.today + by, amount, 1)
        elif name == "end":
            one.end(self.today + by, amount, 2 * amount)
        elif name == "sums":
            one.sums(period_of_day(("never", "daily", "weekly", "monthly")[by], self.today))
        elif name == "begin":
            one.in_flight += 1
        elif name == "clock of another boot":
            one.window.add(self.now + by, 1)


def seen(one: KeyRow, clock: Clocked, *, with_tokens: bool) -> dict[str, Any]:
    """All that may matter, of a copy: what it keeps for the next time stays as it was."""
    one = deepcopy(one)
    requests = one.window.count(clock.now)
    oldest = clock.today - KEEP_DAYS
    return {
        "requests": (requests, list(one.window.buckets.items())),
        "days": {day: entry for day, entry in one.days.items() if day > oldest and entry != [0, 0]},
        "others": (one.lifetime, one.in_flight, one.version, one.seeded),
        "sums": [one.sums(period_of_day(reset, clock.today)) for reset in ("never", "daily", "monthly")],
        "tokens": (one.tokens or Window({})).count(clock.now) if with_tokens else 0,
    }


@settings(max_examples=300)
@example([(HOLD, False), (("sums", 1, 0), False), (HOLD, False), (HOLD, True), (HOLD, False)])
@given(st.lists(st.tuples(STEP, st.booleans()), max_size=25))
def test_two_workers_that_store_a_row_in_turn_have_it_as_one_that_never_stored_it(
    steps: list[tuple[tuple[str, int, int], bool]],
) -> None:
    """Each takes over what the other stored, and stores it mostly made of what it had stored itself."""
    clock, plain = Clocked(), KeyRow(3, 0, {}, {}, seeded=True)
    rows = [KeyRow(3, 0, {}, {}, seeded=True) for _ in range(2)]
    data, with_tokens, last = rows[0].encode(TODAY), True, False
    for (name, by, amount), second in steps:
        clock.go_on(name, by)
        # Those of the minute before it are dropped with it: they had ceased to weigh by that clock.
        with_tokens = with_tokens and name != "clock of another boot"
        if second != last and not rows[second].refresh(data):
            rows[second] = KeyRow.decode(data)
        last = second
        for one in (plain, rows[second]):
            clock.do(one, name, by, amount)
        data = rows[second].encode(clock.today)
        told = seen(plain, clock, with_tokens=with_tokens)
        assert seen(KeyRow.decode(data), clock, with_tokens=with_tokens) == told
        assert seen(rows[second], clock, with_tokens=with_tokens) == told


def test_the_money_of_a_day_is_stored_on_the_next_one_too() -> None:
    one = row(spent=7)
    one.days = {TODAY: [7, 0]}
    one.encode(TODAY)
    one.in_flight += 1  # of a request that costs nothing
    assert KeyRow.decode(one.encode(TODAY + 1)).days == {TODAY: [7, 0]}


def test_a_row_is_mostly_made_of_what_was_stored_before() -> None:
    one = row()
    one.days[TODAY - 3] = [5, 0]
    one.window.acquire(5_000, 10**9)
    one.encode(TODAY)
    kept = one._older  # made anew, it would be another object
    for second in range(5_007, 5_200, 7):
        one.window.acquire(second, 10**9)
        one.hold(TODAY, 5, 1)
        one.encode(TODAY)
        assert one._older is kept


def test_a_row_of_one_day_is_of_one_size_and_short() -> None:
    """Six of them lie on a page: of its 1,024 bytes a row takes 7 beside what it holds, which is the key's id as well."""
    one, sizes = row(), set()
    one.days = {TODAY: [10**12, 10**12]}
    for second in range(5_000, 5_200, 3):
        one.window.acquire(second, 10**9, amount=1 + second % 255)
        sizes.add(len(one.encode(TODAY)))
    assert len(sizes) == 1
    assert 6 * (max(sizes) + len("key_") + 26 + 7 + 2) <= 1024 - 8


WHOLE = row().encode(TODAY)
NO_ROWS = [
    b"",
    WHOLE[:-1],
    WHOLE[:50],
    b"\x02" + WHOLE[1:],
    WHOLE + b"[",
    WHOLE + b"null",
    WHOLE + b"[[1,2],[],[]]",
    WHOLE + b"[[],[5],[]]",
    WHOLE + b"[[],[],[5]]",
    WHOLE + b"[[],[]]",
    b"[[7,20000,1,0,4999,1,3,true,0],[[],[]]]".ljust(200),  # of an earlier release
]


@pytest.mark.parametrize("data", NO_ROWS)
def test_what_is_no_row_is_a_loss(data: bytes) -> None:
    with pytest.raises(CountersLost, match="a row cannot be read"):
        KeyRow.decode(data)


def test_a_row_stays_small() -> None:
    one = row(lifetime=MAX_NANOS)
    for ago in range(KEEP_DAYS):
        one.days[TODAY - ago] = [10**12, 10**12]
    one.window.buckets = {5_000 + at: 1_000 for at in range(61)}
    assert len(one.encode(TODAY)) < 2_500
    assert KeyRow.decode(one.encode(TODAY)).lifetime == MAX_NANOS


def test_a_row_that_is_kept_has_memory_for_what_it_holds_alone() -> None:
    row = KeyRow.decode(KeyRow(3, 5, {TODAY: [5, 7]}, {9: 2}, seeded=True).encode(TODAY))
    tracemalloc.start()
    try:
        for second in range(60):
            row.window.acquire(second, 1_000)
            row.encode(TODAY)
        assert tracemalloc.get_traced_memory()[0] < 6_000
    finally:
        tracemalloc.stop()
