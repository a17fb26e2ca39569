"""Several machines on the same counters: starting, new counters, and one of them that is away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accounting_kit import charge
from machines_kit import Machine, Machines
from redis_kit import RedisServer
from sqlalchemy import Engine

from proxyd.accounting import accounting
from proxyd.accounting.generations import THEIRS_SECONDS
from shared.counters import Admitted, Answer, CountersUnavailable, RateLimited, SpendHeld, connect


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def machines(
    tmp_path: Path, engine: Engine, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machines]:
    """Both with one worker, at rest."""
    monkeypatch.setattr(accounting, "STEP_SECONDS", 0.0)
    machines = Machines(tmp_path, engine, server)
    for machine in machines.both:
        machine.worker()
    machines.rounds(2)
    yield machines
    machines.close()


def held_by(machine: Machine, *bounds: int) -> list[int]:
    return [machine.workers[0].begin(bound) for bound in bounds]


def ask(machine: Machine, bound: int, limit: int = 10_000, **fields: Any) -> Answer:
    return machine.workers[0].admit(charge(bound_nanos=bound, spend_limit_nanos=limit, **fields))[1]


def test_it_works(machines: Machines) -> None:
    held_by(machines.a, 400)
    held_by(machines.b, 500)
    assert machines.generations() == [1, 1, 1]
    assert machines.a.spent() == machines.b.spent() == (0, 900)
    assert isinstance(ask(machines.b, 9_101), SpendHeld)


# Starting


def test_a_machine_that_is_started_again_goes_by_the_counters_of_the_other(machines: Machines) -> None:
    held_by(machines.a, 400)
    held_by(machines.b, 500)
    machines.b.restart()
    machines.b.worker()
    machines.rest()
    assert machines.generations() == [1, 1, 1]
    assert machines.a.spent() == (500, 400)  # what had begun on it is charged its bound
    held_by(machines.b, 100)
    assert machines.a.spent() == (500, 500)


def test_one_that_ended_in_good_order_makes_no_new_counters_either(machines: Machines) -> None:
    machines.b.writer.leave()
    machines.b.restart()
    assert machines.generations() == [1, 1, 1]


def test_when_all_have_ended_the_first_to_start_makes_new_counters(machines: Machines) -> None:
    held_by(machines.a, 400)
    for machine in machines.both:
        machine.writer.leave()
    for machine in machines.both:
        machine.restart()
        machine.worker()
        machine.rounds()
    machines.rest()
    assert machines.generations() == [2, 2, 2]
    held_by(machines.b, 100)
    assert machines.a.spent() == (400, 100)


def test_when_all_were_killed_long_ago_the_first_to_start_makes_new_counters(machines: Machines) -> None:
    machines.clock.forward(16)
    machines.b.restart()
    assert machines.generations() == [2, 1, 2]


# New counters


def test_one_makes_new_counters_and_the_other_follows(machines: Machines) -> None:
    (first,) = held_by(machines.a, 400)
    held_by(machines.b, 500)
    machines.server.empty()
    machines.a.rounds()
    assert machines.generations() == [2, 2, 1]
    machines.b.rounds()
    assert machines.generations() == [2, 2, 2]
    machines.rest()
    assert machines.a.spent() == (0, 900)
    machines.a.workers[0].settle(first, 150)
    machines.rest()
    assert machines.b.spent()[1] == 500
    assert isinstance(ask(machines.b, 9_351), SpendHeld)
    assert machines.b.spent() == (150, 500)
    assert machines.generations() == [2, 2, 2]


def test_who_was_slower_makes_none(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find the counters lost; B has read the generation, and then A is quicker."""
    machines.server.empty()
    real = machines.b.database.raise_generation

    def late(*words: Any) -> Any:
        machines.a.rounds()
        return real(*words)

    monkeypatch.setattr(machines.b.database, "raise_generation", late)
    machines.b.rounds()
    assert machines.generations() == [2, 2, 2]
    machines.rest()
    assert machines.generations() == [2, 2, 2]


def test_a_generation_whose_maker_died_is_waited_for_and_then_made_by_another(machines: Machines) -> None:
    held_by(machines.b, 500)
    machines.server.empty()
    machines.a.database.raise_generation(1, 1)
    machines.b.rounds()
    assert machines.generations() == [2, 1, 1]
    for _ in range(int(THEIRS_SECONDS) + 1):
        machines.b.rounds()
    assert machines.generations() == [3, 1, 3]
    machines.rest()
    assert machines.generations() == [3, 3, 3]
    assert machines.a.spent() == (0, 500)


def test_a_journal_that_is_closed_after_the_cut_is_closed_in_the_new_counters_too(machines: Machines) -> None:
    """A has raised the generation; B still closes a dead worker in the old counters; then A makes the new ones."""
    dead = machines.b.worker()
    dead.settle(dead.begin(300), 200)
    machines.b.workers.remove(dead)
    dead.kill()
    machines.server.tell("SCRIPT", "FLUSH")  # A finds it out; B's connection must not
    machines.server.tell("SCRIPT", "LOAD", "return 0")
    real = machines.a.writer._counters.begin_generation

    def late(*words: Any) -> None:
        reload_script(machines)
        machines.b.rounds(2)
        real(*words)

    machines.a.writer._counters.begin_generation = late  # type: ignore[method-assign, assignment]
    machines.a.rounds()
    machines.rest()
    held_by(machines.a, 10)
    assert machines.b.database.open_journals("machine_b") != []
    assert machines.a.spent() == (200, 10)


def reload_script(machines: Machines) -> None:
    from shared.counters.redis import script

    name = machines.server.tell("HGET", script.META, "name")
    assert isinstance(name, bytes)
    machines.server.tell("SCRIPT", "LOAD", script.script_of(name.decode()))


def test_requests_of_workers_that_were_closed_lately_still_weigh(machines: Machines) -> None:
    b = machines.b
    worker = b.worker()
    for _ in range(3):
        worker.admit(charge(rate_limit_rpm=5))
    b.workers.remove(worker)
    worker.kill()
    b.rounds(2)
    machines.server.empty()
    machines.a.rounds()
    machines.rest()
    answers = [ask(machines.a, 1, rate_limit_rpm=5) for _ in range(3)]
    assert [type(answer) for answer in answers] == [Admitted, Admitted, RateLimited]


def test_an_older_copy_is_noticed_by_a_machine_that_wrote_nothing(machines: Machines) -> None:
    """Each page knows how far all machines have come, not its own alone."""
    client = machines.server.client()
    copy = {key: client.dump(key) for key in client.scan_iter()}
    held_by(machines.a, 400)
    machines.b.rounds()
    client.flushdb()
    for key, value in copy.items():
        assert value is not None
        client.restore(key, 0, value)
    client.close()
    machines.b.rounds()
    assert machines.generations()[0] == 2
    machines.rest()
    assert machines.b.spent() == (0, 400)


def test_who_cannot_reach_the_counters_raises_no_generation(machines: Machines) -> None:
    machines.b.writer.page.ask(1)
    machines.b.go_away()
    machines.b.away = False  # its ledger writer reaches the database still
    machines.b.rounds(5)
    assert machines.generations() == [1, 1, 1]
    machines.b.come_back()
    machines.b.rounds()
    assert machines.generations() == [2, 1, 2]


def test_counters_that_are_lost_again_before_a_worker_has_joined_do_not_end_it(machines: Machines) -> None:
    """It finds no row of its own in them; but then there is no row at all."""
    machines.server.empty()
    machines.a.rounds()
    machines.server.empty()
    with pytest.raises(CountersUnavailable):
        machines.a.workers[0].keep()
    machines.rest()
    held_by(machines.a, 400)
    assert machines.a.spent() == (0, 400)


# A machine that is away


def test_after_the_database_did_not_answer_nobody_is_away_at_once(machines: Machines) -> None:
    """Nobody could post meanwhile. B would be fenced with what it had posted before, while it is there."""
    held_by(machines.b, 500)
    for machine in machines.both:
        machine.clock.mono_at += 60
    machines.clock.steady_at += 60
    machines.server.empty()
    machines.a.rounds(2)
    assert machines.b.workers[0].id in machines.a.eyes.condition().missing
    machines.rest()
    ask(machines.a, 0)
    assert machines.a.spent() == (0, 500)


def away_and_fenced(machines: Machines) -> None:
    machines.b.rounds()
    machines.b.go_away()
    machines.server.empty()
    machines.rounds()
    machines.a.rest(*machines.a.workers)
    assert isinstance(refusal(machines.a), CountersUnavailable), "B holds what nobody here can know"
    machines.wait_until_away()
    machines.a.rest(*machines.a.workers)


def refusal(machine: Machine) -> Exception | None:
    try:
        ask(machine, 1)
    except CountersUnavailable as error:
        return error
    return None


def test_what_a_machine_posted_last_stands_for_it_while_it_is_away(machines: Machines) -> None:
    held_by(machines.a, 400)
    first, _ = held_by(machines.b, 500, 600)
    away_and_fenced(machines)
    assert isinstance(ask(machines.a, 8_501), SpendHeld)
    assert machines.a.spent() == (0, 1_500)
    machines.b.workers[0].settle(first, 50)
    with pytest.raises(CountersUnavailable):
        ask(machines.b, 1)
    machines.b.come_back()
    machines.rest()
    assert machines.a.spent() == (50, 1_000)
    assert isinstance(ask(machines.b, 8_950), Admitted)
    assert machines.generations() == [2, 2, 2]


def test_one_that_is_back_admits_nothing_before_it_has_joined(machines: Machines) -> None:
    held_by(machines.b, 500)
    away_and_fenced(machines)
    assert isinstance(ask(machines.a, 9_500), Admitted)
    machines.b.come_back()
    assert isinstance(refusal(machines.b), CountersUnavailable)
    machines.rest()
    assert isinstance(ask(machines.b, 1), SpendHeld)


def test_its_ends_are_counted_once_though_they_are_imported_while_it_is_fenced(machines: Machines) -> None:
    """It reaches the database and not the counters, and so is as far away as if it reached neither."""
    first, second = held_by(machines.b, 500, 600)
    away_and_fenced(machines)
    machines.b.away = False
    machines.b.workers[0].settle(first, 70)
    machines.b.rounds(3)
    assert ("ok", 70) in machines.a.ledger_rows()
    ask(machines.a, 0)
    assert machines.a.spent() == (0, 1_100)
    machines.b.come_back()
    machines.b.workers[0].settle(second, 5)
    machines.rest()
    ask(machines.a, 0)
    assert machines.a.spent() == (75, 0)


def test_a_worker_that_died_while_its_machine_was_away(machines: Machines) -> None:
    first, _ = held_by(machines.b, 500, 600)
    away_and_fenced(machines)
    worker = machines.b.workers.pop()
    worker.settle(first, 70)
    worker.kill()
    machines.b.come_back()
    machines.rest()
    ask(machines.a, 0)
    assert machines.a.spent() == (670, 0)
    assert machines.a.database.posted([worker.id]) == {}


def test_a_machine_that_was_started_again_while_it_was_fenced(machines: Machines) -> None:
    held_by(machines.b, 500)
    away_and_fenced(machines)
    machines.b.away = False
    machines.b.restart()
    machines.b.worker()
    machines.rest()
    ask(machines.a, 0)
    assert machines.a.spent() == (500, 0)
    assert machines.generations() == [2, 2, 2]


def test_new_counters_once_more_while_it_is_away(machines: Machines) -> None:
    held_by(machines.b, 500)
    away_and_fenced(machines)
    held_by(machines.a, 30)
    machines.server.empty()
    machines.a.rest(*machines.a.workers)
    ask(machines.a, 0)
    assert machines.a.spent() == (0, 530), "at once: it has been away for long"
    machines.b.come_back()
    machines.rest()
    assert machines.a.spent() == (0, 530)
    assert machines.generations() == [3, 3, 3]


def test_it_comes_back_while_the_fence_is_written(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has joined before the fence: that has no effect any more."""
    held_by(machines.b, 500)
    machines.b.rounds()
    machines.b.go_away()
    machines.server.empty()
    machines.a.rounds()
    real = machines.a.database.posted

    def late(workers: Any) -> Any:
        found = real(workers)
        machines.b.come_back()
        machines.b.rounds()
        machines.b.workers[0].keep()
        return found

    monkeypatch.setattr(machines.a.database, "posted", late)
    machines.wait_until_away()
    assert not machines.b.away, "A has fenced"
    machines.rest()
    ask(machines.a, 0)
    assert machines.a.spent() == (0, 500)


def test_holds_are_posted_only_when_they_change(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    posts: list[Any] = []
    real = machines.a.database.post

    def post(*words: Any) -> None:
        posts.append(words[2])
        real(*words)

    monkeypatch.setattr(machines.a.database, "post", post)
    held_by(machines.a, 500, 20)
    machines.a.rounds(3)
    worker_id = machines.a.workers[0].id
    assert [len(post) for post in posts] == [1, 0, 0]
    (held,) = machines.b.database.posted([worker_id])[worker_id]
    assert (held.key_id, held.nanos) == ("key_1", 520)


def test_counters_on_a_file_are_shared_with_nobody(tmp_path: Path) -> None:
    assert connect(f"sqlite:///{tmp_path / 'counters.db'}").shared is None
