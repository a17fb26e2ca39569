"""What crosses the border of the counters: the question of an admission and the closed list of its answers.

Money is in nano-dollars, times are Unix seconds, days and period starts are UTC dates.
"""

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple


class CountersUnavailable(Exception):
    """The counters could not be read or written. Nothing was charged, unless a commit's own answer was lost.

    The text names the kind of failure and neither a path nor a value.
    """


@dataclass(frozen=True, slots=True)
class Charge:
    """What one admission asks of the counters, all or none."""

    reservation_id: str  # the attempt's id: unique, makes every step idempotent
    worker_id: str  # the worker whose lease keeps the hold alive
    org_id: str
    key_id: str
    expected_epoch: int  # the policy epoch of the snapshot that was judged
    rate_limit_rpm: int | None  # None: unlimited; 0: none allowed
    spend_limit_nanos: int | None  # None: unlimited; 0: nothing may be spent
    spend_reset: str  # never, daily, weekly, monthly
    bound_nanos: int  # what is held; 0: nothing, and no hold is kept
    now: float | None = None  # in the place of the storage's clock, for tests


class Post(NamedTuple):
    """The end of a reservation: what it cost, or None when it was void."""

    reservation_id: str
    key_id: str  # with `day`, where to post if no hold is known
    day: date
    cost_nanos: int | None


@dataclass(frozen=True, slots=True)
class RateState:
    """A key's request rate. `resets_at` is the second from which all of `limit` is free again if none is sent."""

    limit: int
    remaining: int
    resets_at: int


@dataclass(frozen=True, slots=True)
class SpendState:
    """A key's money in the current period. Without a limit nothing remains to be told: `remaining_nanos` is None."""

    limit_nanos: int | None
    spent_nanos: int
    held_nanos: int
    remaining_nanos: int | None  # never negative
    period_start: date
    resets_on: date | None  # None: never


@dataclass(frozen=True, slots=True)
class KeySpend:
    """The current period, and what the key has spent since it was made."""

    period: SpendState
    lifetime_nanos: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """Charged. `day` is the UTC day to which the cost belongs for ever; states are None where there is no limit."""

    day: date
    rate: RateState | None
    spend: SpendState | None


@dataclass(frozen=True, slots=True)
class Stale:
    """The key was judged by an older (or newer) policy than `epoch`: load it again. Nothing was charged."""

    epoch: int


@dataclass(frozen=True, slots=True)
class RateLimited:
    """No request is left in this minute. One more fits after `retry_after_seconds`, if no other takes the place."""

    rate: RateState
    retry_after_seconds: float


@dataclass(frozen=True, slots=True)
class SpendExceeded:
    """What was spent and this request's bound pass the limit, whatever becomes of the requests in flight."""

    spend: SpendState


@dataclass(frozen=True, slots=True)
class SpendHeld:
    """It would fit if the requests in flight cost nothing: worth another try in `retry_after_seconds` (1 to 5)."""

    spend: SpendState
    retry_after_seconds: int


@dataclass(frozen=True, slots=True)
class Unseeded:
    """The counters of this generation do not know yet what was spent, so they admit nothing that has a limit."""

    generation: str


Admission = Admitted | Stale | RateLimited | SpendExceeded | SpendHeld | Unseeded
