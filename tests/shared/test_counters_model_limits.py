"""Limits for models in the counters: judged after the key's own, all or none, and held on rows of their own."""

import random
from pathlib import Path

import pytest
from counters_kit import DAY, TODAY, Home, Worker, charge, kinds, money, on_both, together
from redis_kit import RedisServer

from shared.counters import (
    Admitted,
    Charge,
    Decision,
    End,
    Hold,
    ModelRefused,
    OrganizationRefused,
    RateLimited,
    Rebuilding,
    Seed,
    SpendExceeded,
    SpendHeld,
    Unseeded,
    WorkerReplay,
)
from shared.model_limits import ModelLimit, row_id_of, rows_of

GPT, MINI = row_id_of("key", "gpt-*"), row_id_of("key", "gpt-4o-mini")


def limit(row_id: str = GPT, nanos: int = 100, reset: str = "daily", since: int = 0) -> ModelLimit:
    return ModelLimit(row_id, row_id.partition("/")[2], nanos, reset, since)


def limited(*limits: ModelLimit, bound: int = 40, **more: object) -> Charge:
    return charge(bound=bound, **more)._replace(model_limits=limits)  # type: ignore[arg-type] # as `charge` takes them


def refused(answer: Decision) -> ModelRefused:
    assert isinstance(answer, ModelRefused), answer
    return answer


def ended(worker: Worker, held: int, cost: int, *rows: str) -> End:
    return worker.end(day=TODAY, held=held, cost=cost)._replace(rows=rows)


@pytest.fixture
def worker(home: Home) -> Worker:
    return Worker(home.live(1, "key", GPT, MINI)).register()


def test_it_works(worker: Worker) -> None:
    answers = worker.send(*[limited(limit())] * 3, charge(bound=40))
    assert kinds(answers) == [Admitted, Admitted, ModelRefused, Admitted]
    told = refused(answers[2])
    assert told.limit == limit()
    assert isinstance(told.refusal, SpendHeld)
    assert told.refusal.spend[:4] == (100, 0, 80, 20)
    counters = worker.counters
    assert (money(counters), money(counters, GPT)) == ((0, 120, 0), (0, 80, 0))
    worker.send(ends=[ended(worker, 40, 40, GPT), ended(worker, 40, 30, GPT), ended(worker, 40, 7)])
    assert (money(counters), money(counters, GPT)) == ((77, 0, 77), (70, 0, 70))
    assert isinstance(refused(worker.ask(limited(limit()))).refusal, SpendExceeded)
    assert isinstance(worker.ask(limited(limit(), bound=30)), Admitted)


def test_it_must_fit_in_each_and_holds_on_all_or_none(worker: Worker) -> None:
    small = limit(MINI, 50)
    assert kinds(worker.send(limited(limit(), small), limited(limit(), small))) == [Admitted, ModelRefused]
    assert (money(worker.counters, GPT), money(worker.counters, MINI)) == ((0, 40, 0), (0, 40, 0))
    own = limited(limit(), limit=60)
    assert kinds([worker.ask(own)]) == [SpendHeld], "the key's own comes first"
    assert refused(worker.ask(limited(small, limit(nanos=0)))).limit == small, "then the limits in their order"


def test_a_rate_that_refuses_as_well_is_told_first(worker: Worker) -> None:
    assert isinstance(worker.ask(limited(limit(), rpm=1)), Admitted)
    assert isinstance(worker.ask(limited(limit(nanos=0), rpm=1)), RateLimited)


def test_an_organisation_comes_after_it(home: Home) -> None:
    worker = Worker(home.live(1, "key", GPT, tracked=["org"])).register()
    shared = together(limit=100)
    answers = worker.send(*[limited(limit(), together=shared)] * 2, limited(limit(), bound=90, together=shared))
    assert kinds(answers) == [Admitted, Admitted, ModelRefused]
    assert kinds([worker.ask(limited(limit(nanos=1000), together=shared))]) == [OrganizationRefused]
    assert (money(worker.counters, "org"), money(worker.counters, GPT)) == ((0, 80, 0), (0, 80, 0))


def test_another_amount_or_period_finds_what_was_used(home: Home, worker: Worker) -> None:
    worker.send(limited(limit(), bound=60))
    worker.send(ends=[ended(worker, 60, 60, GPT)])
    home.clock.pass_by(DAY)
    assert isinstance(worker.ask(limited(limit())), Admitted)
    assert isinstance(refused(worker.ask(limited(limit(reset="never")))).refusal, SpendHeld)
    assert isinstance(refused(worker.ask(limited(limit(nanos=50, reset="monthly")))).refusal, SpendExceeded)


def test_one_that_these_counters_do_not_know_all_of_waits(worker: Worker) -> None:
    assert isinstance(worker.ask(limited(limit(since=1))), Admitted)
    assert isinstance(worker.ask(limited(limit(since=2))), Rebuilding)


def test_what_it_has_spent_is_asked_for_once(home: Home) -> None:
    worker = Worker(home.live(1, "key")).register()
    assert worker.ask(limited(limit())) == Unseeded(1, GPT)
    worker.counters.seed(1, [Seed(GPT, 70, {TODAY: 70})])
    assert isinstance(refused(worker.ask(limited(limit()))).refusal, SpendExceeded)
    assert isinstance(worker.ask(limited(limit(), bound=30)), Admitted)


def test_a_lost_answer_and_a_dead_worker_leave_nothing_behind(worker: Worker) -> None:
    counters = worker.counters
    batch = worker.batch([limited(limit(), seq=5)])
    counters.apply_batch(batch)
    assert kinds(counters.apply_batch(batch)) == [Admitted]
    state = counters.worker_state("w1")
    assert state is not None
    assert [one.hold for one in state.last_admitted] == [Hold("key", TODAY, 40, 1, "", (GPT,))]
    counters.close_worker(WorkerReplay("w1", 1, 0, holds=[one.hold for one in state.last_admitted]))
    assert (money(counters), money(counters, GPT)) == ((0, 0, 0), (0, 0, 0))


def test_new_counters_are_told_what_counts_on_which_row(home: Home) -> None:
    """A worker that joins brings what ended above the cut and what is in flight."""
    counters = home.connect()
    counters.begin_generation(2, {"w1": 0}, [])
    end = End(1, "key", TODAY, 40, 30, org_id="org", rows=(GPT, MINI))
    counters.join(WorkerReplay("w1", 2, 1, [end], [Hold("key", TODAY, 25, 1, "org", (GPT,))]))
    assert (money(counters, GPT), money(counters, MINI), money(counters)) == ((30, 25, 30), (30, 0, 30), (30, 25, 30))
    worker = Worker(counters, generation=2, end_number=1)
    worker.send(ends=[worker.end(day=TODAY, held=25, cost=20)._replace(rows=(GPT,))])
    assert (money(counters, GPT), money(counters)) == ((50, 0, 50), (50, 0, 50))


def told(home: Home, seed: int) -> list[Decision]:
    """A story of a key with two limits whose patterns overlap."""
    chance = random.Random(seed)
    worker, answers = Worker(home.live(1, "key", GPT, MINI, tracked=["org"])).register(), list[Decision]()
    held: list[tuple[int, int, tuple[str, ...]]] = []
    for _ in range(60):
        home.clock.pass_by(chance.choice((0.5, 20.0, DAY)))
        limits = [
            limit(row_id, chance.randrange(200), chance.choice(("daily", "weekly", "never")), chance.randrange(3))
            for row_id in (GPT, MINI)
            if chance.random() < 0.7
        ]
        asked = limited(
            *limits,
            bound=chance.randrange(80),
            rpm=chance.choice((None, 3)),
            limit=chance.choice((None, 150)),
            together=chance.choice((None, together(limit=180))),
        )
        ends = []
        if held and chance.random() < 0.6:
            day, bound, rows = held.pop()
            ends.append(worker.end(day=day, held=bound, cost=bound // 2)._replace(rows=rows))
        (answer,) = worker.send(asked, ends=ends)
        if isinstance(answer, Admitted):
            held.append((answer.day, asked.bound_nanos, rows_of(asked.model_limits)))
        answers.append(answer)
    return answers


@pytest.mark.parametrize("seed", range(12))
def test_both_storages_answer_alike(tmp_path: Path, redis_server: RedisServer, seed: int) -> None:
    redis_server.empty()
    assert on_both(tmp_path, redis_server.url, told, seed) >= {Admitted, ModelRefused, Rebuilding}
