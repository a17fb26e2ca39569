"""Requests per minute of a key, by the moving window strategy of `limits` over our storage.

The counter belongs to the key alone. The library would put the limit's amount into its name, so that every edit would
forget what was used; `_PerMinute` leaves it out. Requests of a key without a limit are counted as well, for the limit
it may get in this minute.
"""

from functools import lru_cache

from limits.limits import RateLimitItemPerMinute

_NO_LIMIT = 2**53


class _PerMinute(RateLimitItemPerMinute):
    """So many requests a minute, counted under the key's id and nothing else."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return str(identifiers[0])

    def get_expiry(self) -> int:
        return 60


@lru_cache(maxsize=1000)
def per_minute(rpm: int | None) -> RateLimitItemPerMinute:
    """What the strategy hits for one request, with a key's id; None: it always fits."""
    return _PerMinute(_NO_LIMIT if rpm is None else rpm)
