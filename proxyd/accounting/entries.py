"""What the books are asked to do, as values: charge and begin, settle, and how an attempt of a dead worker ends."""

from collections.abc import Callable
from datetime import date

from proxyd.accounting.group_commit import Submission
from proxyd.accounting.journal import Attempt, Entry, Settlement
from proxyd.accounting.ledger import Line
from shared.counters import Admission, Admitted, Charge, Post


class Opening(Submission):
    """Charge a request, and if it is admitted write its BEGIN."""

    __slots__ = ("attempt_of", "charge", "result", "seq")

    def __init__(self, seq: int, charge: Charge, attempt_of: Callable[[Admitted], Attempt]) -> None:
        super().__init__()
        self.seq = seq
        self.charge = charge
        self.attempt_of = attempt_of
        self.result: Admission | None = None


class Ending(Submission):
    """Settle an attempt."""

    __slots__ = ("attempt", "seq", "settlement")

    def __init__(self, seq: int, attempt: Attempt, settlement: Settlement) -> None:
        super().__init__()
        self.seq = seq
        self.attempt = attempt
        self.settlement = settlement


def post_of(attempt: Attempt, cost_nanos: int | None) -> Post:
    return Post(attempt.id, attempt.key_id, date.fromisoformat(attempt.day), cost_nanos)


def settled(entry: Entry) -> Line:
    """How an attempt ends whose worker died: as it was settled, else at what is known of its cost.

    An attempt that was begun and not settled may have been answered in full to nobody. It is charged what was noted
    of its progress; without a note, its bound, so that the spend limit stays a maximum. Flagged `crash`.
    """
    if entry.settlement is not None:
        return entry.attempt, entry.settlement
    cost_nanos = entry.attempt.bound_nanos if entry.progress_nanos is None else entry.progress_nanos
    crash = Settlement(
        status=None,
        outcome="crash",
        flags=("crash", "estimated"),
        usage={},
        served_model=None,
        service_tier=None,
        price=None,
        cost_nanos=cost_nanos,
        duration_ms=0,
        provider_request_id=None,
    )
    return entry.attempt, crash
