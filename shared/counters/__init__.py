"""What has been used, shared by all processes: requests by second, money by day, versions of policies, failed logins.

Law of this package: it alone imports `limits`. What a worker wants at one moment is one batch and one transaction; a
refused request consumes nothing. The ledger in SQL is the truth; what stands here enforces it, can be lost and is
rebuilt, and refuses whoever knows other counters than these (`CountersLost`).
"""

from shared.counters.clock import Clock, SystemClock, boot_id
from shared.counters.counters import Counters, SharedCounters, connect, login_throttle, spend_of, state_of
from shared.counters.moments import KEEP_DAYS, BatchContext, Moment, moment_of, period_of_day
from shared.counters.rows import KeyRow
from shared.counters.shared_state import WRITER_LOCK, SharedState, SharedStateMissing, is_in_use
from shared.counters.throttle import Guarded, LoginThrottle, Tried
from shared.counters.values import (
    Admitted,
    Batch,
    Charge,
    CountersForeign,
    CountersLost,
    CountersStatus,
    CountersUnavailable,
    Decision,
    End,
    Hold,
    KeySpend,
    LastAdmitted,
    Missing,
    OrganizationRefused,
    RateBucket,
    RateLimited,
    RateState,
    Rebuilding,
    Refusal,
    Seed,
    SpendExceeded,
    SpendHeld,
    SpendState,
    Stale,
    TooManyConcurrent,
    Unseeded,
    WorkerReplay,
    WorkerState,
)
from shared.counters.window import WINDOW_SECONDS

__all__ = [
    "KEEP_DAYS",
    "WINDOW_SECONDS",
    "WRITER_LOCK",
    "Admitted",
    "Batch",
    "BatchContext",
    "Charge",
    "Clock",
    "Counters",
    "CountersForeign",
    "CountersLost",
    "CountersStatus",
    "CountersUnavailable",
    "Decision",
    "End",
    "Guarded",
    "Hold",
    "KeyRow",
    "KeySpend",
    "LastAdmitted",
    "LoginThrottle",
    "Missing",
    "Moment",
    "OrganizationRefused",
    "RateBucket",
    "RateLimited",
    "RateState",
    "Rebuilding",
    "Refusal",
    "Seed",
    "SharedCounters",
    "SharedState",
    "SharedStateMissing",
    "SpendExceeded",
    "SpendHeld",
    "SpendState",
    "Stale",
    "SystemClock",
    "TooManyConcurrent",
    "Tried",
    "Unseeded",
    "WorkerReplay",
    "WorkerState",
    "boot_id",
    "connect",
    "is_in_use",
    "login_throttle",
    "moment_of",
    "period_of_day",
    "spend_of",
    "state_of",
]
