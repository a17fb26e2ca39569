"""What the counters admitted and no journal tells of: it weighs for its request rate until its minute is over."""

from collections.abc import Sequence
from typing import NamedTuple

from accounting_kit import Worker
from accounting_oracle import WINDOW_SECONDS

from shared.counters import Admitted, Batch, Decision


class NeverBegun(NamedTuple):
    """A call that was admitted, and that died with its worker before a journal told of it."""

    key_id: str
    generation: int
    second: int  # steady
    tokens: int


class Unjournaled:
    """Those calls, and what a worker does not know that it was admitted, because the answer was lost."""

    def __init__(self) -> None:
        self.died: list[NeverBegun] = []
        self._lost: dict[str, NeverBegun] = {}  # by worker; it takes it back with a batch to come, if it lives so long

    def applied(self, worker: Worker, batch: Batch, answers: Sequence[Decision]) -> list[NeverBegun]:
        """A batch was applied; those that it admitted. One that takes back what was lost has an END without a number."""
        if any(end.number == 0 for end in batch.ends):
            self._lost.pop(worker.id, None)
        # A batch whose answer was lost is sent again without its charges, and tells of them all the same.
        return [
            NeverBegun(asked.key_id, batch.generation, answer.second, asked.bound_tokens)
            for asked, answer in zip(batch.charges, answers, strict=bool(batch.charges))
            if isinstance(answer, Admitted)
        ]

    def lost(self, worker: Worker, batch: Batch, answers: Sequence[Decision]) -> None:
        """The worker has not heard of these answers to a batch that was applied."""
        for one in self.applied(worker, batch, answers):
            self._lost[worker.id] = one

    def killed(self, worker: Worker) -> None:
        """Nobody takes back what it had still to."""
        accounting, lost = worker.accounting, self._lost.pop(worker.id, None)
        if lost is None:
            return
        waiting = [(end.key_id, end.uncount_second) for end in accounting._ends.pending]
        if accounting._in_doubt or (lost.key_id, lost.second) in waiting:
            self.died.append(lost)

    def weighing(self, key: str, second: int, generation: int) -> list[NeverBegun]:
        """Those that weigh in counters of a generation: new ones were told by journals, which know nothing of them."""
        return [
            one
            for one in self.died
            if one.key_id == key and one.generation == generation and one.second >= second - WINDOW_SECONDS
        ]
