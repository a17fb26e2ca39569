import pytest

from shared.counters import Admitted, Charge, RateLimited, RateState, connect

START = 1_800_000_000  # a multiple of 60


class Clock:
    def __init__(self):
        self.now = float(START)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counters(tmp_path, clock):
    counters = connect(f"sqlite:///{tmp_path}/counters.db", clock=clock)
    yield counters
    counters.close()


def ask(counters, rpm, key="key"):
    return counters.admit(Charge("r", "w", "org", key, 0, rpm, None, "never", 0))


def fill(counters, rpm, key="key"):
    """Send until refused; answer with how many were admitted."""
    admitted = 0
    while isinstance(ask(counters, rpm, key), Admitted):
        admitted += 1
    return admitted


def test_it_works(counters):
    assert ask(counters, 2).rate == RateState(2, 1, START + 60)
    assert ask(counters, 2).rate == RateState(2, 0, START + 90)
    refusal = ask(counters, 2)
    assert isinstance(refusal, RateLimited)
    assert refusal.rate == RateState(2, 0, START + 90)
    assert refusal.retry_after_seconds == pytest.approx(60, abs=0.01)
    assert counters.rate("key", 2) == refusal.rate


def test_r02_an_edited_limit_keeps_what_was_used(counters):
    assert fill(counters, 10) == 10
    assert fill(counters, 20) == 10
    assert fill(counters, 10) == 0
    assert counters.rate("key", 10).remaining == 0
    assert fill(counters, 25) == 5


def test_a_limit_set_later_finds_what_was_sent_without_one(counters):
    for _ in range(7):
        assert ask(counters, None).rate is None
    assert fill(counters, 10) == 3


def test_r03_the_smallest_and_the_largest_limits(counters):
    refusal = ask(counters, 0)
    assert isinstance(refusal, RateLimited)
    assert refusal.retry_after_seconds == 60
    assert refusal.rate == RateState(0, 0, START)
    assert fill(counters, 1) == 1
    assert ask(counters, 10**9, "other").rate.remaining == 10**9 - 1


def test_a_limit_lowered_to_none_at_all(counters):
    ask(counters, 5)
    assert ask(counters, 0).retry_after_seconds == 60


@pytest.mark.parametrize("rpm", [1, 2, 7, 60])
@pytest.mark.parametrize("start", [0, 0.4, 17, 59.5])
def test_r04_retry_after_is_true_within_a_second_and_refusals_cost_nothing(counters, clock, rpm, start):
    clock.now += start
    assert fill(counters, rpm) == rpm
    for _ in range(6):
        refused_at = clock.now
        wait = ask(counters, rpm).retry_after_seconds
        assert 0 < wait <= 120
        clock.now = refused_at + max(0, wait - 1)
        if wait > 1:
            assert isinstance(ask(counters, rpm), RateLimited)
        clock.now = refused_at + wait
        assert isinstance(ask(counters, rpm), Admitted)
        clock.now += 0.05
        fill(counters, rpm)


@pytest.mark.parametrize(("used", "rpm"), [(20, 10), (20, 1), (3, 2), (600, 7)])
def test_retry_after_is_true_when_the_limit_was_lowered(counters, clock, used, rpm):
    clock.now += 21
    assert fill(counters, used) == used
    wait = ask(counters, rpm).retry_after_seconds
    clock.now += wait - 1
    assert isinstance(ask(counters, rpm), RateLimited)
    clock.now += 1
    assert isinstance(ask(counters, rpm), Admitted)


@pytest.mark.parametrize("moments", [[0], [30, 59], [59, 61], [10, 70, 130]])
def test_the_reset_is_when_all_is_free_again(counters, clock, moments):
    for moment in moments:
        clock.now = START + moment
        ask(counters, 9)
        ask(counters, 9)
    resets_at = counters.rate("key", 9).resets_at
    clock.now = resets_at - 1.0
    assert counters.rate("key", 9).remaining < 9
    clock.now = resets_at + 0.001
    assert counters.rate("key", 9).remaining == 9


def test_r05_names_share_no_counters(counters):
    names = ["a", "a/1", "a/1/60", "a b", "a:b", "{a}", "*", "%", "a%", "rpm/a", "ключ", "a\u0000b", "A"]
    for name in names:
        assert fill(counters, 2, name) == 2
    for name in names:
        assert counters.rate(name, 3).remaining == 1


def test_r06_a_burst_around_the_edge_of_a_window(counters, clock):
    clock.now = START + 59
    assert fill(counters, 10) == 10
    clock.now = START + 61
    assert fill(counters, 10) <= 1
    clock.now = START + 90
    assert fill(counters, 10) <= 5
    clock.now = START + 300
    assert fill(counters, 10) == 10


def test_a_clock_that_steps_back_lets_no_more_through(counters, clock):
    clock.now = START + 60.5
    assert fill(counters, 5) == 5
    clock.now = START + 58.5
    assert fill(counters, 5) == 0
    assert ask(counters, 5).retry_after_seconds > 0


def test_old_windows_are_deleted(counters, clock):
    fill(counters, 3)
    clock.now = START + 119
    counters.lapse()
    assert counters._database.read("SELECT COUNT(*) FROM sliding") == [(1,)]
    clock.now = START + 121
    counters.lapse()
    assert counters._database.read("SELECT COUNT(*) FROM sliding") == [(0,)]
