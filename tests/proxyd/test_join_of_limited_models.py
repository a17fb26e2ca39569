"""A worker joins new counters with limits for models, for which it asks the database: attempts end meanwhile."""

from collections.abc import Callable
from typing import Any

import pytest
from accounting_edits import set_model_limits
from accounting_kit import Router, Worker, charge
from accounting_machine import fill_keys
from ledger_kit import attempt, settlement
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from proxyd.accounting.job_booker import JobBooker
from proxyd.accounting.ledger_rows import Line
from proxyd.accounting.provider_jobs import ProviderJobs
from proxyd.accounting.records import LedgerUnavailable
from shared.counters import CountersUnavailable, WorkerReplay
from shared.model_limits import ModelLimit, model_limits_of, row_id_of

ROW = row_id_of("key_1", "gpt-*")


@pytest.fixture(autouse=True)
def keys(router: Router) -> None:
    with router.engine.begin() as connection:
        fill_keys(connection)


def limit_models(router: Router, pattern: str = "gpt-*") -> tuple[ModelLimit, ...]:
    wanted = {"model": pattern, "spend_limit_nanos": 10_000, "spend_reset": "daily"}
    return model_limits_of("key_1", set_model_limits(router.engine, "key_1", [wanted]))


def money(router: Router, row_id: str = "key_1") -> tuple[int, int]:
    """Spent and held."""
    return router.spent(row_id)


def is_live(router: Router) -> bool:
    router.renew_observer()
    return router.observer.status().live


def rebuilt(router: Router) -> None:
    """New counters are there, which wait for the workers."""
    router.rounds()
    assert not is_live(router)


def test_it_works(router: Router, worker: Worker) -> None:
    worker.begin()
    limit_models(router)
    router.rest(worker)
    assert money(router) == money(router, ROW) == (0, 1_000)


@pytest.mark.parametrize("key_id", ["key_1", "key_2"])
def test_what_ends_while_limits_are_read_is_told_once(router: Router, worker: Worker, key_id: str) -> None:
    """Whether its own key has such limits or not."""
    _, first = worker.admit(charge(key_id=key_id))
    seq, _ = worker.admit(charge(key_id=key_id))
    worker.begin()
    limit_models(router)
    worker.meanwhile.append(lambda: worker.settle(seq, 300))
    router.rounds()
    router.rest(worker)
    assert first is not None
    assert worker.meanwhile == []
    held = 2_000 if key_id == "key_1" else 1_000
    assert money(router, key_id) == (300, held)
    assert money(router, ROW) == ((300, held) if key_id == "key_1" else (0, 1_000))


def test_a_key_that_turns_up_while_limits_are_read_is_asked_for(router: Router, worker: Worker) -> None:
    """What is begun without being asked for, as a result that is billed later is, may be of any key."""
    limit_models(router)
    router.rest(worker)
    worker.admit(charge(key_id="key_2"))

    def begin() -> None:
        worker.accounting.begin_unheld(90, attempt(90, held_nanos=0, second=-1))
        worker.settle(90, 70)

    router.lose_counters()
    rebuilt(router)
    worker.meanwhile.append(begin)
    router.rest(worker)
    worker.begin()
    worker.accounting.flush()
    assert money(router) == (70, 1_000)
    assert money(router, ROW)[0] in (0, 70), "a row nobody asked for has no base"
    assert router.observer.rows([ROW])[ROW].lifetime == 70


@pytest.mark.parametrize("lost", [False, True])
def test_what_ends_while_counters_are_told_counts_on_its_limits(router: Router, worker: Worker, lost: bool) -> None:
    """It was held there on its limits' rows, so that its END has to take it from those; be the answer lost or not."""
    seq = worker.begin()
    limit_models(router)
    rebuilt(router)
    real = worker.counters.join

    def join(replay: WorkerReplay) -> None:
        worker.counters.join = real  # type: ignore[method-assign]
        real(replay)
        worker.settle(seq, 300)
        if lost:
            raise CountersUnavailable("cut")

    worker.counters.join = join  # type: ignore[method-assign]
    if lost:
        with pytest.raises(CountersUnavailable):
            worker.keep()
    router.rest(worker)
    assert money(router) == money(router, ROW) == (300, 0)


def test_where_no_key_ever_had_one_the_database_is_not_asked(router: Router, worker: Worker) -> None:
    def unreachable(_: object) -> None:
        raise LedgerUnavailable("down")

    worker.begin()
    worker.membership._limits_of = unreachable  # type: ignore[assignment] # it raises
    router.lose_counters()
    rebuilt(router)
    worker.keep()
    router.rounds()
    assert is_live(router)
    assert money(router) == (0, 1_000)
    # A key that was made with one since then: what counts against it is known to have been.
    worker.accounting._ends.count_on(99, (ROW,))
    router.lose_counters()
    rebuilt(router)
    with pytest.raises(CountersUnavailable, match="cannot be read"):
        worker.keep()


def test_whoever_adopts_counters_knows_that_keys_have_them(router: Router, worker: Worker) -> None:
    limit_models(router)
    assert not router.writer.shared_state.model_limits
    router.rest(worker)
    assert router.writer.shared_state.model_limits
    assert router.new_writer()._database.has_model_limits()


def late(router: Router, rounds: int) -> list[int]:
    """Who was ended after so many rounds of a second each in which nobody joined."""
    for _ in range(rounds):
        router.rounds()
    return router.killed


def test_nobody_is_ended_for_a_database_that_does_not_answer(
    router: Router, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_models(router)
    router.rest(worker)
    router.lose_counters()
    rebuilt(router)

    def hang() -> int:
        raise OperationalError("select", {}, Exception("hang"))

    monkeypatch.setattr(router.database, "generation", hang)
    assert late(router, 10) == []
    monkeypatch.undo()
    assert late(router, 4) == [], "from its answer on there is time"
    assert late(router, 3) != []


def test_where_no_key_has_one_who_is_late_is_ended_all_the_same(router: Router, worker: Worker) -> None:
    worker.begin()
    router.lose_counters()
    rebuilt(router)
    assert late(router, 4) == []
    assert late(router, 3) != []


def test_limits_that_are_set_one_after_the_other_share_new_counters(router: Router, worker: Worker) -> None:
    """The first has some made within a second; then all others wait for those that are made some seconds later."""
    generation: Callable[[], int] = lambda: router.writer.shared_state.generation  # noqa: E731 - it changes
    first = generation()
    for number in range(8):
        limits = limit_models(router, f"gpt-{number}*")
        router.rest(worker)
        assert generation() == first + 1 if number == 0 else generation() <= first + 1 + number
    made = generation() - first
    assert 1 < made < 8
    assert limits[0].since <= generation() + 1
    router.clock.mono_at += 10
    router.rest(worker)
    assert limits[0].since <= generation()
    with router.engine.connect() as connection:
        lacking = connection.scalar(text("select outdated_for_models from accounting_state"))
    assert lacking < generation()


def test_a_single_limit_has_new_counters_made_within_a_second(router: Router, worker: Worker) -> None:
    for _ in range(2):
        (limit,) = limit_models(router)
        router.rounds(1)
        assert router.writer.shared_state.generation == limit.since
        router.rest(worker)
        router.clock.mono_at += 10
        set_model_limits(router.engine, "key_1", [])


def test_what_is_billed_later_counts_on_limits_as_they_stand(router: Router, worker: Worker) -> None:
    """Of a job that began before there were any; also where new counters are joined while they are looked up."""

    def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    worker.begin()
    limit_models(router)
    router.rest(worker)
    jobs = ProviderJobs(router.engine)
    booker = JobBooker(worker.accounting, worker.membership, jobs, at_once, limits_of=worker._limits_of)

    def result(number: int) -> Line:
        one = attempt(number, id=f"job_{number}", held_nanos=0, second=-1)
        return one, settlement(cost_nanos=number)

    assert booker.book([result(1)]) == 1
    worker.accounting.flush()
    assert router.observer.rows([ROW])[ROW].lifetime == 1
    router.lose_counters()
    rebuilt(router)
    worker.meanwhile.append(worker.keep)
    assert booker.book([result(20)]) == 1
    router.rest(worker)
    worker.begin()
    worker.accounting.flush()
    router.renew_observer()
    assert router.observer.rows([ROW])[ROW].lifetime == 21
    assert money(router)[0] == 21


def test_what_was_begun_before_a_worker_was_in_counts_on_limits_that_were_set_since(
    router: Router, worker: Worker
) -> None:
    (router.directory / "accounting.page").rename(router.directory / "aside")
    late = Worker(router)  # it does not come further than its journal
    late.accounting.begin_unheld(1, attempt(1, held_nanos=0, second=-1))
    (router.directory / "aside").rename(router.directory / "accounting.page")
    limit_models(router)
    router.rest(worker)
    router.rest(worker, late)
    late.settle(1, 70)
    router.rest(worker, late)
    assert router.observer.rows([ROW])[ROW].lifetime == 70
    late.kill()
