"""Requests per minute of a key: `limits`' sliding window counter, and when the next request fits.

The counter belongs to the key alone. The library would put the limit's amount into its name, so that every edit would
forget what was used; `_PerMinute` leaves it out. Requests of a key without a limit are counted as well, for the limit
it may get in this minute.
"""

from functools import lru_cache
from math import ceil, floor

from limits.limits import RateLimitItemPerMinute, safe_string
from limits.strategies import SlidingWindowCounterRateLimiter

from shared.counters.database import Session, Window
from shared.counters.sqlite import SqliteStorage
from shared.counters.values import RateLimited, RateState

_SECONDS = 60
_NO_LIMIT = 2**53
# A hit exactly at the computed moment may still be refused by the last bit of a float.
_MARGIN_SECONDS = 0.001


class _PerMinute(RateLimitItemPerMinute):
    """So many requests a minute, counted under the key's id and nothing else."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        (key_id,) = identifiers
        return f"rpm/{safe_string(key_id)}"


@lru_cache(maxsize=1000)
def _item(rpm: int) -> _PerMinute:
    return _PerMinute(rpm)


class RequestRate:
    """Charges one request at a time, inside the transaction of an admission."""

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    def charge(self, session: Session, key_id: str, rpm: int | None) -> RateState | RateLimited | None:
        """Count one request if it fits; None: there is no limit and it is counted."""
        if rpm is None:
            self._limiter.hit(_item(_NO_LIMIT), key_id)
            return None
        if self._limiter.hit(_item(rpm), key_id):
            return _state(rpm, session.window, session.now)
        return _refusal(rpm, session.window, session.now)

    def test(self, session: Session, key_id: str, rpm: int | None) -> RateLimited | None:
        """The refusal that `charge` would answer with, and nothing is counted."""
        if rpm is None or self._limiter.test(_item(rpm), key_id):
            return None
        return _refusal(rpm, self._window(key_id), session.now)

    def state(self, key_id: str, rpm: int) -> RateState:
        """What is left of the limit now."""
        return _state(rpm, self._window(key_id), self._storage.database.now())

    def _window(self, key_id: str) -> Window:
        return self._storage.window(_item(_NO_LIMIT).key_for(key_id), _SECONDS)


def _state(rpm: int, window: Window, now: float) -> RateState:
    remaining = max(0, rpm - floor(window.weight(_SECONDS)))
    left_seconds = _SECONDS - window.elapsed
    # A past count n weighs less than one request when less than 1/n of its window is left.
    if window.current:
        full_in = left_seconds + _SECONDS * (1 - 1 / window.current)
    elif window.previous:
        full_in = max(0.0, left_seconds - _SECONDS / window.previous)
    else:
        full_in = 0.0
    return RateState(rpm, remaining, ceil(now + full_in))


def _refusal(rpm: int, window: Window, now: float) -> RateLimited:
    """With the seconds until there is room for one request more, if none is sent meanwhile.

    The weight is previous * left / 60 + current and must fall below `rpm`: in this window by the shrinking first
    term, or in the next one, where what is current now is the previous count.
    """
    left_seconds = _SECONDS - window.elapsed
    if rpm <= 0:
        wait = float(_SECONDS)
    elif window.current < rpm:
        shrink_seconds = _SECONDS * (rpm - window.current) / window.previous if window.previous else left_seconds
        wait = max(0.0, left_seconds - shrink_seconds) + _MARGIN_SECONDS
    else:
        wait = left_seconds + _SECONDS * (1 - rpm / window.current) + _MARGIN_SECONDS
    return RateLimited(_state(rpm, window, now), wait)
