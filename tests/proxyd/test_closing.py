"""What is said to the counters of a dead worker's journal."""

import pytest
from accounting_kit import Router, Worker, charge
from ledger_kit import attempt

from shared.counters import Answer, Batch, CountersUnavailable


def test_a_hold_whose_answer_was_lost_is_given_back_though_its_request_was_let_through(router: Router) -> None:
    """Without a limit it begins all the same, with nothing held; then the worker dies before it has asked again."""
    worker = router.worker()
    worker.begin(0, limit_nanos=None)
    lose_the_next_answer(worker)
    seq, name = worker.accounting.new_id()
    with pytest.raises(CountersUnavailable):
        worker.accounting.admit(seq, charge(spend_limit_nanos=None)._replace(seq=seq), lambda _: attempt(id=name))
    assert router.spent() == (0, 1_000)
    worker.accounting.begin_unheld(seq, attempt(id=name, held_nanos=0))
    router.workers.remove(worker)
    worker.kill()
    router.rounds(2)
    assert router.spent() == (1_000, 0)


def lose_the_next_answer(worker: Worker) -> None:
    real = worker.counters.apply_batch

    def lose(batch: Batch) -> list[Answer]:
        worker.counters.apply_batch = real  # type: ignore[method-assign]
        real(batch)
        raise CountersUnavailable("cut", in_doubt=True)

    worker.counters.apply_batch = lose  # type: ignore[method-assign]
