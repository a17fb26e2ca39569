"""What has been used, shared by all processes: request rates, spend, the policy epoch, failed logins.

Law of this package: it alone imports `limits`. One admission is one transaction, all or none; a refused one consumes
nothing. Money that was held ends exactly once, settled or released. The ledger in SQL is the truth; what stands here
enforces it, and says so (`Unseeded`) when it was lost and does not know it yet.
"""

from shared.counters.counters import Counters, connect
from shared.counters.throttle import LoginThrottle
from shared.counters.values import (
    Admission,
    Admitted,
    Charge,
    CountersUnavailable,
    KeySpend,
    Post,
    RateLimited,
    RateState,
    SpendExceeded,
    SpendHeld,
    SpendState,
    Stale,
    Unseeded,
)

__all__ = [
    "Admission",
    "Admitted",
    "Charge",
    "Counters",
    "CountersUnavailable",
    "KeySpend",
    "LoginThrottle",
    "Post",
    "RateLimited",
    "RateState",
    "SpendExceeded",
    "SpendHeld",
    "SpendState",
    "Stale",
    "Unseeded",
    "connect",
]
