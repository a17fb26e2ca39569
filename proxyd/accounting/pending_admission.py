"""What a request submits to a batch."""

from collections.abc import Callable

from proxyd.accounting.group_commit import Submission
from proxyd.accounting.records import Attempt
from shared.counters import Admitted, Charge, Decision, TokenRateLimited, TooManyConcurrent


class PendingAdmission(Submission):
    """A request that wants to be admitted. Without a charge, only ends are told."""

    seq: int
    charge: Charge | None
    attempt_of: Callable[[Admitted], Attempt] | None
    decision: Decision | None = None
    abandoned: bool = False

    @property
    def admitted(self) -> bool:
        """Whether it was charged and has begun. What was cut off while it waited ends without having been sent."""
        return isinstance(self.decision, Admitted) and self.failure is None and not self.abandoned


def may_fit_soon(decision: Decision | None) -> bool:
    """Whether what refuses a request may have ended just now. What is larger than its whole limit never fits."""
    if isinstance(decision, TokenRateLimited):
        return decision.retry_after_seconds is not None
    return isinstance(decision, TooManyConcurrent)
