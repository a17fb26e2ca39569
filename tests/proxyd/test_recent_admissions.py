"""What a worker remembers of the last minute: all of it, in little memory."""

import tracemalloc
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from ledger_kit import attempt

from proxyd.accounting.recent_admissions import RecentAdmissions
from shared.counters import End, RateBucket, TokenChange

SECOND = st.integers(-1, 200)
WHOSE = st.sampled_from([("key1", "org1"), ("key2", "org1"), ("key3", "org2")])
ADMITTED = st.tuples(st.just("admitted"), SECOND, WHOSE, st.integers(0, 3), st.integers(1, 30))
ENDED = st.tuples(st.just("ended"), SECOND, WHOSE, st.integers(-3, 3), st.just(1))
CLEANED = st.tuples(st.just("cleaned"), st.integers(0, 260), WHOSE, st.just(0), st.just(1))


@given(st.lists(ADMITTED | ENDED | CLEANED, max_size=40))
def test_it_remembers_what_a_plain_sum_would(steps: list[tuple[str, int, tuple[str, str], int, int]]) -> None:
    recent = RecentAdmissions()
    requests: Counter[tuple[str, int, str]] = Counter()
    tokens: Counter[tuple[str, int]] = Counter()
    for kind, second, (key, org), held, times in steps:
        if kind == "admitted":
            for _ in range(times):
                recent.record(attempt(second=second, key_id=key, org_id=org, held_tokens=held))
            if second >= 0:
                requests[key, second, org] += times
                tokens[key, second] += held * times
        elif kind == "ended":
            recent.record_end(End(1, key, 1, 0, 0, tokens=TokenChange(second, held)))
            if tokens[key, second]:
                tokens[key, second] += held
        else:
            recent.clean_up(second)
            for kept in (requests, tokens):
                for one in [one for one in kept if one[1] < second - 60]:
                    del kept[one]
    expected = {
        RateBucket(key, second, count, org, tokens[key, second]) for (key, second, org), count in requests.items()
    }
    found = recent.buckets()
    assert set(found) == expected
    assert len(found) == len(expected)


def test_a_minute_of_many_keys_takes_as_little_memory_as_one_of_few() -> None:
    def cost(keys: int) -> float:
        made = [attempt(second=0, key_id=f"key{number}") for number in range(keys)]
        tracemalloc.start()
        try:
            recent = RecentAdmissions()
            for second in range(60):
                for number in range(1_000):
                    recent.record(made[number % keys]._replace(second=second))
                recent.clean_up(second)
            return tracemalloc.get_traced_memory()[0] / 60_000
        finally:
            tracemalloc.stop()

    assert cost(1_000) < 20  # bytes a request
    assert cost(10) < 2


def test_a_second_is_looked_at_once() -> None:
    """Sixty of them, with thousands of keys each, would be a pause in every second."""
    recent = RecentAdmissions()
    looked: list[int] = []
    count = recent._count

    def noted(second: int, organizations: dict[str, list[str]]) -> None:
        looked.append(second)
        count(second, organizations)

    recent._count = noted  # type: ignore[method-assign]
    for second in range(100, 110):
        recent.record(attempt(second=second))
        recent.clean_up(second)
    recent.clean_up(112)
    assert looked == list(range(100, 110))
