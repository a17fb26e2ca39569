"""What has been used, shared by all processes: requests by second, money by day, versions of policies, failed logins.

Law of this package: it alone imports `limits`. What a worker wants at one moment is one batch and one transaction; a
refused request consumes nothing. The ledger in SQL is the truth; what stands here enforces it, can be lost and is
rebuilt, and refuses whoever knows other counters than these (`CountersLost`).
"""

from shared.counters.clock import Clock, SystemClock, boot_id
from shared.counters.counters import Counters, SharedCounters, connect, login_throttle, spend_of, state_of
from shared.counters.page import WRITER_LOCK, Page, PageMissing, somebody_keeps
from shared.counters.rows import KEEP_DAYS, KeyRow, Moment, moment_of, period_of_day
from shared.counters.throttle import Guarded, LoginThrottle, Tried
from shared.counters.values import (
    Admitted,
    Answer,
    Batch,
    Charge,
    Condition,
    CountersForeign,
    CountersLost,
    CountersUnavailable,
    End,
    Held,
    Joining,
    KeySpend,
    LastAdmitted,
    Missing,
    RateLimited,
    RateState,
    Rebuilding,
    Seed,
    SpendExceeded,
    SpendHeld,
    SpendState,
    Stale,
    Unseeded,
    Used,
    WorkerState,
)
from shared.counters.window import WINDOW_SECONDS

__all__ = [
    "KEEP_DAYS",
    "WINDOW_SECONDS",
    "WRITER_LOCK",
    "Admitted",
    "Answer",
    "Batch",
    "Charge",
    "Clock",
    "Condition",
    "Counters",
    "CountersForeign",
    "CountersLost",
    "CountersUnavailable",
    "End",
    "Guarded",
    "Held",
    "Joining",
    "KeyRow",
    "KeySpend",
    "LastAdmitted",
    "LoginThrottle",
    "Missing",
    "Moment",
    "Page",
    "PageMissing",
    "RateLimited",
    "RateState",
    "Rebuilding",
    "Seed",
    "SharedCounters",
    "SpendExceeded",
    "SpendHeld",
    "SpendState",
    "Stale",
    "SystemClock",
    "Tried",
    "Unseeded",
    "Used",
    "WorkerState",
    "boot_id",
    "connect",
    "login_throttle",
    "moment_of",
    "period_of_day",
    "somebody_keeps",
    "spend_of",
    "state_of",
]
