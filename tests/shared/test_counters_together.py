"""What all keys of an organisation may use together: judged after each key's own limits, all or none, and whole."""

import random
from pathlib import Path

import pytest
from counters_kit import DAY, TODAY, Home, Worker, charge, in_flight, kind, kinds, money, on_both, together, used
from redis_kit import RedisServer

from shared.counters import (
    Admitted,
    Charge,
    Counters,
    Decision,
    End,
    Hold,
    KeyRow,
    OrganizationRefused,
    RateBucket,
    RateLimited,
    Rebuilding,
    Seed,
    SpendExceeded,
    SpendHeld,
    Stale,
    Unseeded,
    WorkerReplay,
)

LIMITS = together(3, 100, "daily")


@pytest.fixture
def worker(home: Home) -> Worker:
    return Worker(home.live(1, "key", "other", tracked=["org"])).register()


def refusal(answer: Decision) -> RateLimited | SpendExceeded | SpendHeld:
    assert isinstance(answer, OrganizationRefused), answer
    return answer.refusal


def standing(counters: Counters, *ids: str) -> list[tuple[object, ...]]:
    """All that is kept of some rows."""
    found = counters.rows(ids)
    second = counters.moment().second
    return [
        (row.lifetime, {day: tuple(sums) for day, sums in row.days.items() if any(sums)}, row.window.count(second), row.in_flight)
        for row in (found.get(id_) or KeyRow.new() for id_ in ids)
    ]  # fmt: skip


def test_it_works(worker: Worker) -> None:
    answers = worker.send(
        charge(bound=40, together=LIMITS), charge("other", bound=40, together=LIMITS), charge(bound=40, together=LIMITS)
    )
    assert kinds(answers[:2]) == [Admitted, Admitted]
    assert isinstance(answers[1], Admitted)
    assert answers[1].organization_spend is not None
    assert answers[1].organization_spend[:4] == (100, 0, 80, 20)
    held = refusal(answers[2])
    assert isinstance(held, SpendHeld)
    assert (held.spend[:4], held.retry_after_seconds) == ((100, 0, 80, 20), 2)
    assert money(worker.counters) == (0, 40, 0), "a refused request holds nothing of its key's either"
    assert (used(worker.counters), used(worker.counters, "org"), in_flight(worker.counters, "org")) == (1, 2, 2)
    worker.send(ends=[worker.end(day=TODAY, held=40, cost=30), worker.end("other", day=TODAY, held=40, cost=40)])
    assert money(worker.counters, "org") == (70, 0, 70)
    exceeded = refusal(worker.ask(charge(bound=31, together=LIMITS)))
    assert isinstance(exceeded, SpendExceeded)
    assert exceeded.spend[:4] == (100, 70, 0, 30)
    assert isinstance(worker.ask(charge(bound=30, together=LIMITS)), Admitted)
    limited = refusal(worker.ask(charge("other", together=LIMITS)))
    assert isinstance(limited, RateLimited)
    assert (limited.rate.limit, limited.rate.remaining, limited.retry_after_seconds) == (3, 0, 61.0)


def test_the_key_is_told_of_its_own_limits_first_and_takes_nothing_of_the_organisations(worker: Worker) -> None:
    shared = together(2, 10)
    worker.send(charge(together=shared))
    assert kinds(worker.send(charge(rpm=1, together=shared))) == [RateLimited]
    assert kinds(worker.send(charge(limit=5, bound=6, together=shared))) == [SpendExceeded]
    assert kinds(worker.send(charge(rpm=1, limit=5, bound=6, together=together(1, 10)))) == [RateLimited]
    assert (used(worker.counters, "org"), money(worker.counters, "org")) == (1, (0, 0, 0))
    assert kind(refusal(worker.ask(charge("other", rpm=1, limit=50, bound=11, together=shared)))) is SpendExceeded
    assert kind(refusal(worker.ask(charge("other", bound=11, together=together(1, 10))))) is RateLimited


def test_a_generation_that_keeps_no_row_judges_nothing_by_it(home: Home) -> None:
    """What it had used before is not known: new counters are on their way."""
    counters = home.live(1, "key")
    worker = Worker(counters).register()
    assert worker.send(charge(), charge(together=LIMITS), charge(bound=5))[1] == Rebuilding()
    worker.send(ends=[worker.end(day=TODAY, cost=3)])
    assert counters.rows(["org"]) == {}
    counters.begin_generation(2, {"w1": 1}, ["org"])
    counters.publish(2, {"key": 1}, {"org": 1})
    counters.seed(2, [Seed("key", 3, {TODAY: 3}), Seed("org", 3, {TODAY: 3})])
    counters.join(WorkerReplay("w1", 2, 1, (), [Hold("key", TODAY, 5, 1, "org")], [RateBucket("key", 4_990, 2, "org")]))
    counters.go_live(2)
    assert money(counters, "org") == (3, 5, 3)
    worker.generation, worker.number = 2, 0
    (answer,) = worker.send(charge(bound=93, together=LIMITS))
    assert kind(refusal(answer)) is SpendHeld
    assert kinds(worker.send(charge(bound=92, together=LIMITS), charge(together=LIMITS))) == [
        Admitted,
        OrganizationRefused,
    ]


def test_its_row_is_whole_whatever_its_limits_were_meanwhile(worker: Worker) -> None:
    """They are taken away and set again: what was admitted in between counts."""
    worker.send(charge(bound=20, together=LIMITS))
    worker.counters.publish(1, {}, {"org": 2})
    assert worker.ask(charge(bound=30, together=LIMITS)) == Stale()
    worker.send(charge(bound=30, org_version=2), charge("other", bound=50, org_version=2))
    worker.counters.publish(1, {}, {"org": 3})
    (answer,) = worker.send(charge(bound=1, org_version=3, together=together(None, 100)))
    assert refusal(answer).spend[:4] == (100, 0, 100, 0)  # type: ignore[union-attr] # it is one of money


def test_what_it_had_spent_has_to_be_known_first(home: Home) -> None:
    counters = home.connect()
    counters.begin_generation(1, {}, ["org"])
    counters.go_live(1)
    counters.publish(1, {"key": 1}, {"org": 1})
    worker = Worker(counters).register()
    assert worker.ask(charge(bound=1, together=LIMITS)) == Unseeded(1, "org")
    assert isinstance(worker.ask(charge(bound=1, together=together(9))), Admitted), "a rate alone needs no seed"
    counters.seed(1, [Seed("org", 500, {TODAY: 98, TODAY - 1: 402})])
    assert kind(worker.ask(charge(bound=1, together=LIMITS))) is Admitted
    assert kind(refusal(worker.ask(charge(bound=1, together=LIMITS)))) is SpendHeld
    assert kind(refusal(worker.ask(charge(bound=3, together=LIMITS)))) is SpendExceeded


def test_a_day_of_its_own_period_begins_anew(home: Home, worker: Worker) -> None:
    worker.send(charge(bound=100, together=LIMITS))
    home.clock.pass_by(DAY)
    assert isinstance(worker.ask(charge(bound=100, together=LIMITS)), Admitted)
    assert kind(refusal(worker.ask(charge(bound=51, together=together(None, 250))))) is SpendHeld
    assert money(worker.counters, "org") == (0, 200, 0)


def test_a_batch_that_is_told_again_counts_once_and_a_lost_one_is_taken_back(worker: Worker) -> None:
    batch = worker.batch([charge(bound=7, seq=4, together=LIMITS)])
    worker.counters.apply_batch(batch)
    assert kinds(worker.counters.apply_batch(batch)) == [Admitted]
    assert money(worker.counters, "org") == (0, 7, 0)
    state = worker.counters.worker_state("w1")
    assert state is not None
    (last,) = state.last_admitted
    assert last.hold == Hold("key", TODAY, 7, 1, "org")
    worker.number += 1
    worker.send(ends=[End(0, "key", TODAY, 7, 0, 5_000, 1, "org")])
    assert standing(worker.counters, "org") == [(0, {}, 0, 0)]


def test_a_dead_worker_is_taken_out_of_it(worker: Worker) -> None:
    counters = worker.counters
    dying = Worker(counters, "w2").register()
    worker.send(charge(bound=5, together=LIMITS))
    dying.send(charge("other", bound=7, seq=1))
    dying.send(charge("other", bound=11, seq=2))
    state = counters.worker_state("w2")
    assert state is not None
    ends = [dying.end("other", day=TODAY, held=7, cost=6)]
    counters.close_worker(WorkerReplay("w2", 1, 1, ends, [last.hold for last in state.last_admitted]))
    assert (money(counters, "org"), in_flight(counters, "org")) == ((6, 5, 6), 1)
    assert not counters.close_worker(WorkerReplay("w2", 1, 1, ends, [last.hold for last in state.last_admitted]))


def test_requests_of_before_are_told(home: Home) -> None:
    counters = home.connect()
    counters.begin_generation(1, {"w1": 0}, ["org"])
    counters.restore_requests(1, [RateBucket("key", 4_950, 2, "org"), RateBucket("key", 4_950, 9, "elsewhere")])
    counters.close_worker(WorkerReplay("w1", 1, 0, (), (), [RateBucket("other", 4_999, 1, "org")]))
    assert used(counters, "org") == 3
    assert "elsewhere" not in counters.rows(["elsewhere"])


def test_an_organisation_that_keeps_no_row_leaves_none(home: Home) -> None:
    worker = Worker(home.live(1, "key")).register()
    worker.send(charge(bound=5, rpm=5, limit=50))
    worker.send(ends=[worker.end(day=TODAY, held=5, cost=1)])
    worker.counters.close_worker(WorkerReplay("w1", 1, 1, (), [Hold("key", TODAY, 0, 0, "org")]))
    assert worker.counters.rows(["org"]) == {}


def random_batches(seed: int) -> list[tuple[list[Charge], list[int]]]:
    """Charges, and which of those in flight end before them."""
    chance = random.Random(seed)
    batches = []
    for _ in range(12):
        charges = [
            charge(
                chance.choice(["key", "other"]),
                bound=chance.randrange(30),
                rpm=chance.choice([None, 4]),
                limit=chance.choice([None, 80]),
                reset=chance.choice(["never", "daily"]),
                most=chance.choice([None, 3]),
                together=chance.choice([None, together(6), together(None, 90, "monthly"), together(6, 90)]),
            )
            for _ in range(chance.randrange(5))
        ]
        batches.append((charges, [chance.randrange(99) for _ in range(chance.randrange(4))]))
    return batches


def told(home: Home, seed: int) -> list[Decision]:
    """What a worker is answered; after each of its batches the organisation's row is the sum of those of its keys."""
    worker = Worker(home.live(1, "key", "other", tracked=["org"])).register()
    open_: list[Charge] = []
    all_answers: list[Decision] = []
    for charges, ended in random_batches(seed):
        ends = []
        for which in ended[: len(open_)]:
            one = open_.pop(which % len(open_))
            ends.append(worker.end(one.key_id, day=TODAY, held=one.bound_nanos, cost=which % (one.bound_nanos + 1)))
        answers = worker.send(*charges, ends=ends)
        all_answers += answers
        open_ += [asked for asked, answer in zip(charges, answers, strict=True) if isinstance(answer, Admitted)]
        home.clock.pass_by(9)
        key, other, org = standing(worker.counters, "key", "other", "org")
        assert org[0] == key[0] + other[0]  # type: ignore[operator] # numbers
        assert org[2:] == (key[2] + other[2], key[3] + other[3])  # type: ignore[operator]
        assert money(worker.counters, "org")[:2] == tuple(
            sum(money(worker.counters, id_)[at] for id_ in ("key", "other")) for at in (0, 1)
        )
        assert org[3] == len(open_)
    return all_answers


@pytest.mark.parametrize("seed", range(12))
def test_both_storages_answer_alike(tmp_path: Path, redis_server: RedisServer, seed: int) -> None:
    """Each key's row and the organisation's stay whole meanwhile."""
    redis_server.empty()
    assert on_both(tmp_path, redis_server.url, told, seed) >= {Admitted, OrganizationRefused}
