"""Tokens a minute of a key: their bound is counted on admission, the true figure once the request has ended."""

import random
from pathlib import Path

import pytest
from counters_kit import (
    DAY,
    TODAY,
    Home,
    Worker,
    charge,
    in_flight,
    kind,
    kinds,
    money,
    on_both,
    together,
    tokens_used,
    used,
)
from redis_kit import RedisServer

from shared.counters import (
    Admitted,
    Charge,
    Decision,
    End,
    Hold,
    OrganizationRefused,
    RateBucket,
    RateLimited,
    RateState,
    Rebuilding,
    SpendExceeded,
    Stale,
    TokenChange,
    TokenRateLimited,
    TooManyConcurrent,
    WorkerReplay,
)

NOW = 5_000  # steady, at which the clock begins
WALL = 1_800_014_400


@pytest.fixture
def worker(home: Home) -> Worker:
    return Worker(home.live(1, "key", "other")).register()


def refusal(answer: Decision) -> TokenRateLimited:
    assert isinstance(answer, TokenRateLimited), answer
    return answer


def test_it_works(home: Home, worker: Worker) -> None:
    first, second, third = worker.send(*[charge(tpm=100, tokens=40)] * 3)
    assert isinstance(first, Admitted)
    assert first.tokens == RateState(100, 60, WALL + 61)
    assert isinstance(second, Admitted)
    assert second.tokens == RateState(100, 20, WALL + 61)
    assert refusal(third) == TokenRateLimited(RateState(100, 20, WALL + 61), 40, 61.0)
    assert (tokens_used(worker.counters), used(worker.counters), in_flight(worker.counters)) == (80, 2, 2)

    home.clock.pass_by(7)
    worker.send(ends=[worker.end(day=TODAY, tokens=(NOW, -30))])
    assert tokens_used(worker.counters) == 50
    answer = worker.ask(charge(tpm=100, tokens=50))
    assert isinstance(answer, Admitted)
    assert answer.tokens == RateState(100, 0, WALL + 7 + 61)
    assert refusal(worker.ask(charge(tpm=100, tokens=50))).retry_after_seconds == 54.0
    assert refusal(worker.ask(charge(tpm=100, tokens=51))).retry_after_seconds == 61.0


def test_what_is_larger_than_the_limit_never_fits(home: Home, worker: Worker) -> None:
    assert refusal(worker.ask(charge(tpm=100, tokens=101))) == TokenRateLimited(RateState(100, 100, WALL), 101, None)
    worker.send(charge(tpm=100, tokens=100))
    assert refusal(worker.ask(charge(rpm=1, tpm=100, tokens=101))).retry_after_seconds is None
    home.clock.pass_by(61)
    assert isinstance(worker.ask(charge(tpm=100, tokens=100)), Admitted)


def test_a_minute_is_60_seconds_to_the_second(home: Home, worker: Worker) -> None:
    home.clock.pass_by(0.5)
    worker.send(charge(tpm=10, tokens=10))
    wait = refusal(worker.ask(charge(tpm=10, tokens=1))).retry_after_seconds
    assert wait == 60.5
    home.clock.pass_by(60.25)
    assert isinstance(worker.ask(charge(tpm=10, tokens=1)), TokenRateLimited)
    home.clock.pass_by(0.25)
    assert isinstance(worker.ask(charge(tpm=10, tokens=10)), Admitted)


def test_what_needs_no_tokens_is_admitted_and_told_what_is_left(worker: Worker) -> None:
    worker.send(charge(tpm=10, tokens=10))
    worker.send(ends=[worker.end(day=TODAY, tokens=(NOW, 5))])
    answer = worker.ask(charge(tpm=10))
    assert isinstance(answer, Admitted)
    assert answer.tokens == RateState(10, 0, WALL + 61)
    assert tokens_used(worker.counters) == 15


def test_more_than_was_counted_is_added_where_it_was_admitted(home: Home, worker: Worker) -> None:
    worker.send(charge(tpm=100, tokens=10))
    home.clock.pass_by(20)
    worker.send(ends=[worker.end(day=TODAY, tokens=(NOW, 95))])
    answer = refusal(worker.ask(charge(tpm=100, tokens=1)))
    assert (answer.rate.remaining, answer.retry_after_seconds) == (0, 41.0)
    home.clock.pass_by(41)
    assert isinstance(worker.ask(charge(tpm=100, tokens=100)), Admitted)


def test_what_ends_after_its_minute_changes_nothing_any_more(home: Home, worker: Worker) -> None:
    worker.send(charge(tpm=100, tokens=60))
    home.clock.pass_by(61)
    worker.send(charge(tpm=100, tokens=100), ends=[worker.end(day=TODAY, tokens=(NOW, -50))])
    worker.send(ends=[worker.end(day=TODAY, tokens=(NOW, 500))])
    assert tokens_used(worker.counters) == 100


def test_a_key_without_the_limit_counts_none(worker: Worker) -> None:
    worker.send(charge(rpm=9), charge(limit=10, bound=1), charge("other"))
    rows = worker.counters.rows(["key", "other"])
    assert [rows[key].tokens for key in ("key", "other")] == [None, None]


def test_an_edit_forgets_nothing_that_was_counted(home: Home, worker: Worker) -> None:
    worker.send(charge(tpm=100, tokens=60))
    assert refusal(worker.ask(charge(tpm=50, tokens=1))).rate.remaining == 0
    assert isinstance(worker.ask(charge()), Admitted)
    home.clock.pass_by(30)
    answer = worker.ask(charge(tpm=200, tokens=140))
    assert isinstance(answer, Admitted)
    assert answer.tokens is not None
    assert answer.tokens.remaining == 0


def test_all_or_none_with_the_other_limits(worker: Worker) -> None:
    """Whoever waits longer is told of that; what one of them refuses takes nothing of the others."""
    everything = charge(rpm=9, limit=10, most=9, bound=1, tpm=100, tokens=60)
    assert kinds(worker.send(everything, everything)) == [Admitted, TokenRateLimited]
    assert (used(worker.counters), in_flight(worker.counters), money(worker.counters)) == (1, 1, (0, 1, 0))
    assert kind(worker.ask(everything._replace(rate_limit_rpm=1))) is RateLimited
    assert kind(worker.ask(everything._replace(bound_nanos=99))) is TokenRateLimited
    assert kind(worker.ask(everything._replace(max_concurrent_requests=1))) is TokenRateLimited
    fits = everything._replace(bound_tokens=40)
    assert kind(worker.ask(fits._replace(bound_nanos=99))) is SpendExceeded
    assert kind(worker.ask(fits._replace(max_concurrent_requests=1))) is TooManyConcurrent
    assert tokens_used(worker.counters) == 60
    assert kind(worker.ask(fits)) is Admitted


def test_an_organisation_that_refuses_takes_no_tokens(home: Home) -> None:
    worker = Worker(home.live(1, "key", tracked=["org"])).register()
    shared = together(1, 100)
    answers = worker.send(*[charge(bound=1, together=shared, tpm=100, tokens=30)] * 2)
    assert kinds(answers) == [Admitted, OrganizationRefused]
    assert tokens_used(worker.counters) == 30
    assert kind(worker.ask(charge(bound=1, together=shared, tpm=100, tokens=71))) is TokenRateLimited
    worker.send(ends=[worker.end(day=TODAY, held=1, cost=1, tokens=(NOW, -30))])
    assert (money(worker.counters, "org"), in_flight(worker.counters, "org")) == ((1, 0, 1), 0)


def test_until_all_workers_are_in_nothing_with_the_limit_is_admitted(home: Home) -> None:
    counters = home.connect()
    counters.begin_generation(1, {"away": 0})
    counters.publish(1, {"key": 1}, {"org": 1})
    worker = Worker(counters).register()
    assert worker.ask(charge(tpm=10, tokens=1)) == Rebuilding()


def test_an_older_policy_takes_nothing(worker: Worker) -> None:
    worker.counters.publish(1, {"key": 2}, {})
    assert worker.ask(charge(tpm=10, tokens=5)) == Stale()
    assert tokens_used(worker.counters) == 0


def test_a_lost_answer_is_given_back(worker: Worker) -> None:
    batch = worker.batch([charge(tpm=100, tokens=70)], [])
    worker.counters.apply_batch(batch)
    assert kinds(worker.counters.apply_batch(batch)) == [Admitted]
    assert tokens_used(worker.counters) == 70
    worker.number += 1
    worker.send(ends=[End(0, "key", TODAY, 0, 0, NOW, 1, "org", TokenChange(NOW, -70))])
    assert (tokens_used(worker.counters), used(worker.counters), in_flight(worker.counters)) == (0, 0, 0)


def test_new_counters_are_told_what_weighs(home: Home, worker: Worker) -> None:
    """By who joins, and of who has died or was closed: what was used, or may be where it has not ended."""
    worker.send(charge(tpm=100, tokens=50))
    ended = worker.end(day=TODAY, tokens=(NOW, 20))
    counters = worker.counters
    counters.begin_generation(2, {"w1": 0, "dead": 0})
    counters.publish(2, {"key": 1}, {"org": 1})
    counters.restore_requests(2, [RateBucket("key", NOW - 9, 1, "org", 5), RateBucket("key", NOW - 61, 1, "org", 900)])
    counters.join(WorkerReplay("w1", 2, 1, [ended], (), [RateBucket("key", NOW, 1, "org", 70)]))
    dead = End(1, "key", TODAY, 0, 0, org_id="org", tokens=TokenChange(NOW - 1, 3))
    counters.close_worker(WorkerReplay("dead", 2, 1, [dead], (), [RateBucket("key", NOW - 1, 1, "org", 7)]))
    counters.go_live(2)
    assert tokens_used(counters) == 5 + 70 + 7
    worker.generation, worker.number = 2, 0
    answer = worker.send(charge(tpm=100, tokens=18), charge(tpm=100, tokens=1))
    assert kinds(answer) == [Admitted, TokenRateLimited]
    assert refusal(answer[1]).retry_after_seconds == 52.0


@pytest.mark.parametrize("tpm", [100, None])
def test_a_row_keeps_tokens_as_long_as_they_weigh(home: Home, worker: Worker, tpm: int | None) -> None:
    """Its limit may have been taken away meanwhile."""
    worker.send(charge(tpm=100, tokens=40))
    home.clock.pass_by(60)
    worker.send(charge(tpm=tpm))
    assert tokens_used(home.connect()) == 40
    home.clock.pass_by(1)
    worker.send(charge(tpm=tpm))
    assert home.connect().rows(["key"])["key"].tokens is None


def test_a_dead_worker_is_closed_at_what_its_journal_tells(worker: Worker) -> None:
    dying = Worker(worker.counters, "w2").register()
    dying.send(charge(tpm=100, tokens=40, seq=1), charge(tpm=100, tokens=50, seq=2))
    ends = [dying.end(day=TODAY, tokens=(NOW, -35)), dying.end(day=TODAY)]
    assert worker.counters.close_worker(WorkerReplay("w2", 1, 2, ends, [Hold("key", TODAY, 0)]))
    assert tokens_used(worker.counters) == 55


def test_the_wall_clock_gives_nothing_away(home: Home, worker: Worker) -> None:
    worker.send(charge(tpm=10, tokens=10))
    home.clock.wall_now += DAY
    assert kind(worker.ask(charge(tpm=10, tokens=1))) is TokenRateLimited


# Both storages, and what the brute force says


def told(home: Home, seed: int) -> list[Decision]:
    """What a worker is answered; the window is what a list of its requests says."""
    chance = random.Random(seed)
    worker = Worker(home.live(1, "key", "other")).register()
    open_: list[tuple[Charge, int]] = []
    counted: list[list[object]] = []  # key, second, tokens
    answers: list[Decision] = []
    for _ in range(25):
        ends = []
        for _ in range(chance.randrange(min(4, len(open_) + 1))):
            asked, second = open_.pop(chance.randrange(len(open_)))
            true = chance.randrange(asked.bound_tokens + 10)
            ends.append(worker.end(asked.key_id, day=TODAY, tokens=(second, true - asked.bound_tokens)))
            counted[counted.index([asked.key_id, second, asked.bound_tokens])][2] = true
        charges = [
            charge(
                chance.choice(["key", "other"]),
                tpm=chance.choice([None, 40, 100]),
                rpm=chance.choice([None, None, 6]),
                most=chance.choice([None, None, 4]),
                together=chance.choice([None, None, together(9)]),
            )
            for _ in range(chance.randrange(5))
        ]
        charges = [
            one if one.rate_limit_tpm is None else one._replace(bound_tokens=chance.randrange(60)) for one in charges
        ]
        found = worker.send(*charges, ends=ends)
        for asked, answer in zip(charges, found, strict=True):
            if isinstance(answer, Admitted):
                assert (answer.tokens is None) == (asked.rate_limit_tpm is None)
                if asked.rate_limit_tpm is not None:
                    open_.append((asked, answer.second))
                    counted.append([asked.key_id, answer.second, asked.bound_tokens])
        answers += found
        for key in ("key", "other"):
            weighing = [one[2] for one in counted if one[0] == key and one[1] >= home.clock.moment.second - 60]  # type: ignore[operator]
            assert tokens_used(worker.counters, key) == sum(weighing)  # type: ignore[arg-type] # numbers
        home.clock.pass_by(chance.choice([0.0, 0.25, 7.0, 31.0]))
    return answers


@pytest.mark.parametrize("seed", range(12))
def test_both_storages_answer_alike(tmp_path: Path, redis_server: RedisServer, seed: int) -> None:
    redis_server.empty()
    assert on_both(tmp_path, redis_server.url, told, seed) >= {Admitted, TokenRateLimited}
