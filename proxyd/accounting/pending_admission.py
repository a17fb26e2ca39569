"""What a request submits to a batch."""

from collections.abc import Callable

from proxyd.accounting.group_commit import Submission
from proxyd.accounting.records import Attempt
from shared.counters import Admitted, Answer, Charge


class PendingAdmission(Submission):
    """A request that wants to be admitted. Without a charge, only ends are told."""

    __slots__ = ("abandoned", "answer", "attempt_of", "charge", "seq")

    def __init__(self, seq: int, charge: Charge | None, attempt_of: Callable[[Admitted], Attempt] | None) -> None:
        self.seq = seq
        self.charge = charge
        self.attempt_of = attempt_of
        self.answer: Answer | None = None
        self.abandoned = False
