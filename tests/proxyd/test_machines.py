"""Several machines on the same counters: starting, and new counters."""

from pathlib import Path
from typing import Any

import pytest
from accounting_kit import charge
from machines_kit import Machines, ask, held_by

from proxyd.accounting.generations import ADOPT_TIMEOUT_SECONDS
from shared.counters import Admitted, CountersUnavailable, RateLimited, SpendHeld, connect


def test_it_works(machines: Machines) -> None:
    held_by(machines.a, 400)
    held_by(machines.b, 500)
    assert machines.generations() == [1, 1, 1]
    assert machines.a.spent() == machines.b.spent() == (0, 900)
    assert isinstance(ask(machines.b, 9_101), SpendHeld)


# Starting


def test_one_that_starts_while_new_counters_are_made_waits_for_them(machines: Machines) -> None:
    machines.a.database.raise_generation(1, 1)
    machines.b.restart()
    assert machines.generations() == [2, 1, 0]
    machines.a.writer._counters.begin_generation(2, {machines.a.workers[0].id: 0})
    machines.b.rounds()
    assert machines.generations() == [2, 2, 2]


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


def test_counters_whose_making_was_not_answered_are_gone_by(machines: Machines) -> None:
    machines.server.empty()
    counters = machines.a.writer._counters
    real = counters.begin_generation

    def lose(*words: Any) -> None:
        machines.a.writer._counters.begin_generation = real  # type: ignore[method-assign]
        shared_state, sequence = machines.a.writer.shared_state, machines.a.writer.shared_state.sequence
        real(*words)
        shared_state.begin_generation(1, sequence, 0, 0)
        raise CountersUnavailable("cut", in_doubt=True)

    counters.begin_generation = lose  # type: ignore[method-assign, assignment]
    machines.rest()
    assert machines.generations() == [2, 2, 2]


def test_a_generation_whose_maker_died_is_waited_for_and_then_made_by_another(machines: Machines) -> None:
    held_by(machines.b, 500)
    machines.server.empty()
    machines.a.database.raise_generation(1, 1)
    machines.b.rounds()
    assert machines.generations() == [2, 1, 1]
    for _ in range(int(ADOPT_TIMEOUT_SECONDS) + 1):
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

    name = machines.server.tell("HGET", script.META, script.OURS.field)
    assert isinstance(name, bytes)
    machines.server.tell("SCRIPT", "LOAD", script.OURS.script_of(name.decode()))


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
    """Each shared state knows how far all machines have come, not its own alone."""
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
    machines.b.writer.shared_state.request_rebuild(1)
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


def test_counters_on_a_file_are_shared_with_nobody(tmp_path: Path) -> None:
    assert connect(f"sqlite:///{tmp_path / 'counters.db'}").shared is None
