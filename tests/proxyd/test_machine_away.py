"""New counters while one of several machines is away: what it had posted last stands for it."""

from typing import Any

import pytest
from machines_kit import Machines, ask, held_by, refusal

from shared.counters import Admitted, CountersUnavailable, SpendHeld


def test_after_the_database_did_not_answer_nobody_is_away_at_once(machines: Machines) -> None:
    """Nobody could post meanwhile. B would be fenced with what it had posted before, while it is there."""
    held_by(machines.b, 500)
    for machine in machines.both:
        machine.clock.mono_at += 60
    machines.clock.steady_at += 60
    machines.server.empty()
    machines.a.rounds(2)
    assert machines.b.workers[0].id in machines.a.observer.status().missing
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
    assert machines.a.database.posted_holds([worker.id]) == {}


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
    real = machines.a.database.posted_holds

    def late(workers: Any) -> Any:
        found = real(workers)
        machines.b.come_back()
        machines.b.rounds()
        machines.b.workers[0].keep()
        return found

    monkeypatch.setattr(machines.a.database, "posted_holds", late)
    machines.wait_until_away()
    assert not machines.b.away, "A has fenced"
    machines.rest()
    ask(machines.a, 0)
    assert machines.a.spent() == (0, 500)


def test_segments_stay_while_they_have_still_to_be_brought(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are imported, and so old enough to go one day; but this machine has not joined with them."""
    swept: list[Any] = []
    monkeypatch.setattr("proxyd.accounting.segment_store.sweep", lambda directory, _: swept.append(directory))
    held_by(machines.b, 500)
    away_and_fenced(machines)
    machines.b.away = False
    for _ in range(3):
        machines.clock.mono_at += 61
        machines.rounds()
    assert set(swept) == {machines.a.directory / "journals"}
    machines.b.come_back()
    machines.rest()
    machines.clock.mono_at += 61
    machines.rounds()
    assert machines.b.directory / "journals" in swept


def test_holds_are_posted_only_when_they_change(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    posts: list[Any] = []
    real = machines.a.database.post_heartbeat

    def post(*words: Any) -> None:
        posts.append(words[2])
        real(*words)

    monkeypatch.setattr(machines.a.database, "post_heartbeat", post)
    held_by(machines.a, 500, 20)
    machines.a.rounds(3)
    worker_id = machines.a.workers[0].id
    assert [len(post) for post in posts] == [1, 0, 0]
    (held,) = machines.b.database.posted_holds([worker_id])[worker_id]
    assert (held.key_id, held.nanos) == ("key_1", 520)
