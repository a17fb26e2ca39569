"""What is said to the counters of a dead worker's journal."""

from pathlib import Path

import pytest
from accounting_kit import Router, Worker, charge
from ledger_kit import attempt, settlement

from proxyd.accounting.journal import Journal
from proxyd.accounting.journal_reader import read_tail
from proxyd.accounting.recovery import replay_of_dead
from shared.counters import Batch, CountersUnavailable, Decision, Hold, LastAdmitted, WorkerState


def test_a_hold_whose_answer_was_lost_is_given_back_though_its_request_was_let_through(router: Router) -> None:
    """Without a limit it begins all the same, with nothing held; then the worker dies before it has asked again."""
    worker = router.worker()
    worker.begin(0, limit_nanos=None)
    lose_the_next_answer(worker)
    seq, name = worker.accounting.new_id()
    with pytest.raises(CountersUnavailable):
        worker.accounting.admit(seq, charge(spend_limit_nanos=None)._replace(seq=seq), lambda _: attempt(id=name))
    assert router.spent() == (0, 1_000)
    worker.accounting.begin_unheld(seq, attempt(id=name, held_nanos=0, second=-1))
    router.workers.remove(worker)
    worker.kill()
    router.rounds(2)
    assert router.spent() == (1_000, 0)


def test_a_hold_is_given_back_once_though_its_begin_lies_before_what_is_read(tmp_path: Path) -> None:
    """The last batch began at the end of a segment and ended in the next, of which the counters never heard."""
    journal = Journal(tmp_path, sync=False)
    journal.begin([(1, attempt(id="one", held_nanos=100))])
    journal._next_segment()
    journal.end(1, settlement(cost_nanos=40))
    for seq in range(2, 8):
        journal._next_segment()
        journal.begin([(seq, attempt(id=f"free {seq}", held_nanos=0))])
        journal.end(seq, settlement(cost_nanos=0))
    state = WorkerState(joined=True, end_number=0, last_admitted=[LastAdmitted(1, Hold("key_1", 1, 100))])
    tail = read_tail(tmp_path, journal.worker_id, state.end_number)
    replay = replay_of_dead(journal.worker_id, 1, state, tail, 0)
    journal.close()
    assert sum(end.held_nanos for end in replay.ends) + sum(hold.nanos for hold in replay.holds) == 100


def lose_the_next_answer(worker: Worker) -> None:
    real = worker.counters.apply_batch

    def lose(batch: Batch) -> list[Decision]:
        worker.counters.apply_batch = real  # type: ignore[method-assign]
        real(batch)
        raise CountersUnavailable("cut", in_doubt=True)

    worker.counters.apply_batch = lose  # type: ignore[method-assign]
