"""`ledger import`: journals of a machine that is given up come home from a copy, and what happens when it is back."""

import os
from pathlib import Path
from typing import Any

import pytest
from accounting_kit import charge
from dying_kit import die_between_calls
from ledger_kit import attempt
from machines_kit import Machine, Machines, ask, copy_of, go_away, import_copy, refusal, told
from sqlalchemy import text

from proxyd.accounting.journal_reader import workers
from proxyd.accounting.records import LedgerUnavailable
from shared.counters import Admitted, CountersUnavailable, RateLimited, SpendHeld, TokenRateLimited
from shared.counters.redis.counters import RedisCounters
from shared.counters.rows import KeyRow


def come_home(machines: Machines) -> None:
    """B is back; its worker, which may not admit any more, has ended."""
    machines.b.come_back()
    machines.b.workers.pop().kill()
    machines.b.worker()
    machines.rest()
    ask(machines.a, 0)
    machines.rest()


def booked(machine: Machine) -> list[tuple[Any, ...]]:
    """What each row adjusts, how it ended, and what it costs; estimates first."""
    sql = "select adjusts is not null, outcome, cost_nanos, flags from usage_records order by length(id), id"
    with machine.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def daily(machine: Machine) -> list[tuple[Any, ...]]:
    sql = "select model, requests, input_tokens, output_tokens, cost_nanos from usage_daily order by model"
    with machine.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def test_it_works(machines: Machines, given_up: Path) -> None:
    """What ended is booked as it ended, what was in flight as after a crash, and nothing is held any more."""
    assert machines.a.spent() == (0, 1_400), "its last END reached nobody"
    found = import_copy(machines.a, given_up)
    assert (found.machine, found.journals, told(found)) == ("machine_b", 1, (1, 70, 2, 1_100))
    assert booked(machines.a) == [
        (0, "ok", 70, "[]"),
        (0, "crash", 500, '["crash","estimated"]'),
        (0, "crash", 600, '["crash","estimated"]'),
    ]
    machines.a.rest(*machines.a.workers)
    assert isinstance(ask(machines.a, 0), Admitted)
    assert machines.a.spent() == (1_170, 0)
    assert machines.generations()[:2] == [2, 2]
    assert machines.a.observer.status().missing == ()


def test_a_dry_run_says_the_same_and_changes_nothing(machines: Machines, given_up: Path) -> None:
    assert told(import_copy(machines.a, given_up, dry_run=True)) == (1, 70, 2, 1_100)
    assert booked(machines.a) == []
    assert machines.a.database.generations() == (1, 0, 0)
    assert told(import_copy(machines.a, given_up)) == (1, 70, 2, 1_100)


def test_the_same_copy_again_imports_nothing(machines: Machines, given_up: Path) -> None:
    import_copy(machines.a, given_up)
    machines.a.rest(*machines.a.workers)
    before = booked(machines.a)
    again = import_copy(machines.a, given_up)
    assert (told(again), again.adjustments) == ((0, 0, 0, 0), 0)
    machines.a.rest(*machines.a.workers)
    assert booked(machines.a) == before
    assert machines.generations()[:2] == [2, 2], "no new counters for it"


def test_its_journal_folder_alone_is_enough_if_the_database_knows_its_workers(
    machines: Machines, given_up: Path
) -> None:
    (given_up / "machine_id").unlink()
    folder = (given_up / "journals").rename(given_up.parent / "saved")
    assert told(import_copy(machines.a, folder)) == (1, 70, 2, 1_100)


def test_an_import_that_breaks_off_is_done_again_to_the_end(
    machines: Machines, given_up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(machines.a.ledger, "import_copies", killed)
        with pytest.raises(KeyboardInterrupt):
            import_copy(machines.a, given_up)
    assert [row[2] for row in booked(machines.a)] == [70]
    machines.a.rest(*machines.a.workers)
    assert told(import_copy(machines.a, given_up)) == (0, 0, 2, 1_100)
    machines.a.rest(*machines.a.workers)
    ask(machines.a, 0)
    assert machines.a.spent() == (1_170, 0)


# It comes back


def test_one_that_comes_back_unchanged_adds_nothing(machines: Machines, given_up: Path) -> None:
    """Its own ledger writer ends what was in flight in the same way."""
    import_copy(machines.a, given_up)
    before = booked(machines.a)
    come_home(machines)
    assert booked(machines.a) == before
    assert machines.a.spent() == (1_170, 0)
    assert isinstance(ask(machines.b, 8_830), Admitted), "its new worker serves"
    assert isinstance(ask(machines.a, 1), SpendHeld)
    assert machines.generations() == [2, 2, 2]


def weighing(machines: Machines) -> tuple[int, int]:
    """Requests and tokens of the last minute, as the counters say now."""
    row, second = machines.a.observer.rows(["key_1"]).get("key_1", KeyRow.new()), machines.a.observer.moment().second
    return row.window.count(second), 0 if row.tokens is None else row.tokens.count(second)


@pytest.fixture
def of_tokens(machines: Machines, tmp_path: Path) -> Path:
    """As `given_up`, with two calls of a key with a limit of tokens: one has used 8 of 300, the other may use 400."""
    ended, _ = (
        machines.b.workers[0].admit(charge(rate_limit_tpm=1_000, bound_tokens=tokens), held_tokens=tokens)[0]
        for tokens in (300, 400)
    )
    machines.b.rounds()
    machines.b.workers[0].settle(ended, 70)
    go_away(machines)
    return copy_of(machines.b, tmp_path / "copy")


def test_its_last_minute_weighs_again_once_it_is_back(machines: Machines, of_tokens: Path) -> None:
    import_copy(machines.a, of_tokens)
    machines.a.rest(*machines.a.workers)
    assert weighing(machines) == (0, 0), "no journal here tells of it"
    come_home(machines)
    assert weighing(machines) == (2 + 1, 8 + 400), "and the one that was asked for since"
    assert machines.generations() == [2, 2, 2], "without new counters"
    assert isinstance(ask(machines.a, 0, rate_limit_tpm=1_000, bound_tokens=593), TokenRateLimited)
    assert isinstance(ask(machines.a, 0, rate_limit_rpm=3), RateLimited)
    machines.clock.forward(61)
    machines.rest()
    assert weighing(machines) == (0, 0)


def test_so_it_does_if_it_is_back_before_there_are_new_counters(
    machines: Machines, of_tokens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_copy(machines.a, of_tokens)
    machines.b.come_back()
    machines.b.workers.pop().kill()
    with monkeypatch.context() as patch:
        patch.setattr(machines.b.writer, "_housekeep", lambda: None)
        machines.b.rounds(2)
    assert machines.b.database.open_journals("machine_b") == []
    assert weighing(machines) == (2, 300 + 400), "those before know it, all but the last END"
    machines.rest()
    assert machines.generations() == [2, 2, 2]
    assert weighing(machines) == (2, 8 + 400)


def test_and_once_whenever_its_ledger_writer_dies(machines: Machines, of_tokens: Path) -> None:
    """Each goes one step further than the one before, until one has done all."""
    import_copy(machines.a, of_tokens)
    machines.a.rest(*machines.a.workers)
    machines.b.come_back()
    machines.b.workers.pop().kill()
    journals, after = machines.b.directory / "journals", 0
    while workers(journals):
        assert after < 60
        die_between_calls(machines.b.new_writer(), machines.clock, after)
        after += 1
    machines.b.restart()
    machines.rest()
    assert weighing(machines) == (2, 8 + 400)


def test_ends_that_came_after_the_copy_are_booked_as_adjustments(machines: Machines, given_up: Path) -> None:
    import_copy(machines.a, given_up)
    before = booked(machines.a)
    machines.a.rest(*machines.a.workers)
    machines.b.workers[0].settle(2, 90)
    machines.b.workers[0].accounting.void(3)
    come_home(machines)
    assert booked(machines.a) == [
        *before,
        (1, "ok", 90 - 500, '["adjustment"]'),
        (1, "unsent", -600, '["adjustment"]'),
    ]
    assert machines.a.spent() == (160, 0)
    assert daily(machines.a) == [("gpt-4o", 2, 3, 5, 90), ("gpt-4o-2024-08-06", 1, 3, 5, 70)]
    assert machines.b.database.open_journals("machine_b")[0].worker_id == machines.b.workers[0].id
    come_home(machines)
    assert machines.a.spent() == (160, 0)
    assert len(booked(machines.a)) == 5


def test_it_learns_of_the_import_although_it_never_stopped(machines: Machines, given_up: Path) -> None:
    """Cut off it knew nothing of it. Its worker is told to end, may admit nothing, and is counted once."""
    import_copy(machines.a, given_up)
    machines.a.rest(*machines.a.workers)
    worker = machines.b.workers[0]
    worker.given_up = True
    worker.settle(2, 90)
    machines.b.come_back()
    assert isinstance(refusal(machines.b), CountersUnavailable)
    machines.b.rounds(3)
    with pytest.raises(CountersUnavailable):
        worker.keep()
    assert worker.left, "it is in no counters"
    assert machines.b.killed == [os.getpid()], "told once to end"
    assert isinstance(refusal(machines.b), CountersUnavailable)
    worker.settle(3, 80)
    assert len(booked(machines.a)) == 3, "not before it has ended"
    come_home(machines)
    assert machines.a.spent() == (240, 0)
    assert [row[2] for row in booked(machines.a)[3:]] == [90 - 500, 80 - 600]


def test_a_worker_that_was_in_no_counters_yet_does_not_enter_them(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reached the database when it started, and not the counters."""
    machines.b.rounds()
    go_away(machines)

    def away(*_: object) -> None:
        raise CountersUnavailable("cut")

    with monkeypatch.context() as patch:
        patch.setattr(RedisCounters, "register", away)
        late = machines.b.worker()
    assert late.membership.generation == 0
    import_copy(machines.a, copy_of(machines.b, tmp_path / "copy"))
    late.given_up = True
    machines.b.come_back()
    late.membership.enter()
    assert late.left
    assert late.membership.generation == 0


def test_what_it_began_after_the_copy_is_booked_as_any_other(machines: Machines, given_up: Path) -> None:
    import_copy(machines.a, given_up)
    machines.a.rest(*machines.a.workers)
    worker = machines.b.workers[0]
    seq, name = worker.accounting.new_id()
    worker.accounting.begin_unheld(seq, attempt(id=name, bound_nanos=40, held_nanos=0, second=-1))
    worker.settle(seq, 30)
    come_home(machines)
    assert ("ok", 30) in machines.a.ledger_rows()
    assert machines.a.spent() == (1_200, 0)


def test_a_newer_copy_corrects_what_the_first_had_to_estimate(machines: Machines, given_up: Path) -> None:
    import_copy(machines.a, given_up)
    machines.b.workers[0].settle(2, 90)
    machines.b.workers[0].accounting.note_progress(3, 250)
    newer = import_copy(machines.a, copy_of(machines.b, given_up.parent / "newer"))
    assert (told(newer), newer.adjustments, newer.adjusted_nanos) == ((0, 0, 0, 0), 2, 90 - 500 + 250 - 600)
    assert booked(machines.a)[3:] == [
        (1, "ok", 90 - 500, '["adjustment"]'),
        (1, "crash", 250 - 600, '["adjustment","crash","estimated"]'),
    ]
    older = import_copy(machines.a, given_up)
    assert list(older.unusable.values()) == ["it is older than what the ledger has of this journal already"]
    machines.b.workers[0].settle(3, 240)
    come_home(machines)
    assert machines.a.spent() == (70 + 90 + 240, 0)


def test_a_ledger_writer_that_does_not_know_of_the_import_passes_over_nothing(
    machines: Machines, given_up: Path
) -> None:
    """It has read as far as the copy goes, so its place in the journal is right; and yet it must not post."""
    machines.b.away = False
    machines.b.rounds(2)
    machines.b.away = True
    machines.wait_until_away()
    import_copy(machines.a, given_up)
    machines.b.workers[0].settle(2, 90)
    with pytest.raises(LedgerUnavailable):
        machines.b.writer._importer.import_all()
    come_home(machines)
    assert machines.a.spent() == (70 + 90 + 600, 0)
