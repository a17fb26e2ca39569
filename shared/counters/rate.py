"""Requests per minute of a key, by the moving window strategy of `limits` over our storage.

The counter belongs to the key alone. The library would put the limit's amount into its name, so that every edit would
forget what was used; `_PerMinute` leaves it out. Requests of a key without a limit are counted as well, for the limit
it may get in this minute.
"""

from functools import lru_cache

from limits.limits import RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter

from shared.counters.storage import SqliteStorage

_NO_LIMIT = 2**53


class _PerMinute(RateLimitItemPerMinute):
    """So many requests a minute, counted under the key's id and nothing else."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return str(identifiers[0])

    def get_expiry(self) -> int:
        return 60


@lru_cache(maxsize=1000)
def _item(rpm: int) -> _PerMinute:
    return _PerMinute(rpm)


class RequestRate:
    """Charges one request at a time, while a batch is judged."""

    def __init__(self, storage: SqliteStorage) -> None:
        self._limiter = MovingWindowRateLimiter(storage)

    def hit(self, key_id: str, rpm: int | None) -> bool:
        """Count one request if it fits."""
        return self._limiter.hit(_item(_NO_LIMIT if rpm is None else rpm), key_id)
