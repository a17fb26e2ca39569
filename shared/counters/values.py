"""What crosses the border of the counters, as values that nobody changes: batches in, decisions out.

Money is in nano-dollars. Days are ordinals (`date.toordinal`) in the zone of a charge; so are the dates of a period.
Steady seconds are of a clock that cannot step and that all processes of a storage share; they order requests and are
told to nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from msgspec import Struct

from shared.model_limits import ModelLimit, ModelLimits
from shared.organization_limits import OrganizationLimits


class CountersUnavailable(Exception):
    """The counters could not be read or written. Nothing was charged, unless a commit's own answer was lost.

    The text names the kind of failure and neither a path nor a value. `in_doubt`: a batch may have been applied.
    """

    def __init__(self, kind: str, *, in_doubt: bool = False) -> None:
        super().__init__(kind)
        self.in_doubt = in_doubt


class CountersLost(CountersUnavailable):
    """These are not the counters that this process knows, but of generation `found`; 0: none. Nothing was charged."""

    def __init__(self, kind: str, found: int = 0) -> None:
        super().__init__(kind)
        self.found = found


class CountersForeign(CountersUnavailable):
    """Another installation's counters stand there. Nothing was read or changed."""

    def __init__(self) -> None:
        super().__init__("another router's stand there; each needs a server, or a database number, of its own")


class Charge(NamedTuple):
    """One request that asks to be admitted: what it is charged with, all or none."""

    key_id: str
    org_id: str
    version: int  # of the key's policy, as it was judged
    org_version: int  # of what the organisation's keys share
    rate_limit_rpm: int | None  # None: unlimited
    spend_limit_nanos: int | None  # None: unlimited; 0: nothing may be spent
    spend_reset: str  # never, daily, weekly, monthly
    bound_nanos: int  # the most it can cost; held until it ends
    loaded_in: int = 0  # the generation of the counters that the worker was in when it began to load the policy
    seq: int = 0  # the worker's own number for it, told back by `worker_state`
    seed: "Seed | None" = None  # what the ledger says of the key, if it was read along, in that generation
    max_concurrent_requests: int | None = None  # None: unlimited
    organization: OrganizationLimits | None = None  # judged after the key's own; None: it has none
    rate_limit_tpm: int | None = None  # None: unlimited, and no tokens of it are counted
    bound_tokens: int = 0  # the most it can use; counted until it ends
    model_limits: ModelLimits = ()  # those that its model counts against, judged after the key's own
    zone: str | None = None  # in which its days, and so its periods, begin; None: UTC


class TokenChange(NamedTuple):
    """What the tokens that were counted for a request change by, once it is known how many it used."""

    second: int  # steady, of its admission
    tokens: int  # less than nothing is given back


class End(NamedTuple):
    """One attempt that has ended: its hold is taken back, its cost is spent."""

    number: int  # in the order in which the worker journaled them; 0: never journaled, as nothing was begun
    key_id: str
    day: int  # the day of its admission, an ordinal
    held_nanos: int
    cost_nanos: int
    uncount_second: int = -1  # of a request that is to count no more for its rate, because it was never begun
    requests: int = 1  # in flight that it takes back; 0: the counters were not asked about it
    org_id: str = ""  # whose row it is booked on as well, if the counters keep one
    tokens: TokenChange | None = None  # None: none were counted for it, or as many as it used
    rows: Sequence[str] = ()  # of the limits for models that it counts against


@dataclass(slots=True)  # not frozen: that would triple what making one costs, once a batch
class Batch:
    """What one worker wants done in one transaction. `number` is one more than that of its batch before."""

    worker_id: str
    generation: int
    number: int
    ends: Sequence[End] = ()
    charges: Sequence[Charge] = ()


class Hold(NamedTuple):
    """An amount that is reserved on a day, for a key, until the requests that it was reserved for have ended."""

    key_id: str
    day: int
    nanos: int
    requests: int = 1
    org_id: str = ""  # as of an `End`
    rows: tuple[str, ...] = ()  # likewise


class LastAdmitted(NamedTuple):
    """One admission of a worker's last batch."""

    seq: int
    hold: Hold


class RateBucket(NamedTuple):
    """How many requests of a key were admitted in one steady second."""

    key_id: str
    second: int
    requests: int
    org_id: str = ""  # as of an `End`
    tokens: int = 0  # of those requests: what they used, or may use where they have not ended


class WorkerReplay(Struct, frozen=True):
    """What is replayed of a worker in a new generation: all that the ledger's sums did not contain when it was cut."""

    worker_id: str
    generation: int
    end_number: int  # of its last END
    ends: Sequence[End] = ()  # those above the cut
    holds: Sequence[Hold] = ()  # attempts in flight
    buckets: Sequence[RateBucket] = ()  # of the last minute


class WorkerState(Struct, frozen=True):
    """What the counters know of a worker in a generation."""

    joined: bool
    end_number: int  # of the last END they have seen
    last_admitted: Sequence[LastAdmitted]  # in order


class Seed(NamedTuple):
    """What the ledger says that a key, or an organisation, had cost when a generation was cut."""

    key_id: str
    lifetime_nanos: int
    days: Mapping[int, int]  # ordinal -> nanos, of the days that a period can still ask for


class RateState(NamedTuple):
    """A key's rate, of requests or of tokens.

    `resets_at` is the second from which all of `limit` is free again if nothing is sent.
    """

    limit: int
    remaining: int
    resets_at: int  # Unix seconds


class SpendState(NamedTuple):
    """A key's money in the current period. Without a limit nothing remains to be told: `remaining_nanos` is None."""

    limit_nanos: int | None
    spent_nanos: int
    held_nanos: int
    remaining_nanos: int | None  # never negative
    period_start: date
    resets_on: date | None  # None: never


class KeySpend(Struct, frozen=True):
    """The current period, and what the key has spent since it was made."""

    period: SpendState
    lifetime_nanos: int


class Admitted(Struct, frozen=True):
    """Charged. `day` is that of the charge's zone, to which its cost belongs for ever; no limit, no state."""

    day: int  # an ordinal
    second: int  # steady, by which the request rate counts it
    rate: RateState | None = None
    spend: SpendState | None = None
    organization_spend: SpendState | None = None
    tokens: RateState | None = None


class Stale(Struct, frozen=True):
    """The key was judged by an older policy: load it again. Nothing was charged."""


class Missing(Struct, frozen=True):
    """The key has no row, and its policy was loaded before these counters were: load it. Nothing was charged."""

    generation: int


class Unseeded(Struct, frozen=True):
    """It is not known yet what the key has spent, so nothing is admitted that has a limit. Nothing was charged."""

    generation: int
    row_id: str = ""  # it is the organisation, or a limit for models, of which that is not known


class Rebuilding(Struct, frozen=True):
    """Some workers have not told yet what they hold, so nothing is admitted that has a limit. Nothing was charged.

    Or the organisation, or a model, has a limit, and had none when these counters were made: then new ones are on their
    way.
    """


class RateLimited(Struct, frozen=True):
    """No request is left in this minute. One more fits after `retry_after_seconds`, if no other takes the place."""

    rate: RateState
    retry_after_seconds: float


class SpendExceeded(Struct, frozen=True):
    """What was spent and this request's bound pass the limit, whatever becomes of the requests in flight."""

    spend: SpendState


class SpendHeld(Struct, frozen=True):
    """It would fit if the requests in flight cost nothing: worth another try in `retry_after_seconds` (1 to 5)."""

    spend: SpendState
    retry_after_seconds: int


class TooManyConcurrent(Struct, frozen=True):
    """As many requests of the key are in flight as may be at once. One more fits when one of them has ended."""

    limit: int
    in_flight: int


class TokenRateLimited(Struct, frozen=True):
    """Fewer tokens are left in this minute than the request may need.

    They fit after `retry_after_seconds`, if no other takes them. None: they are more than the limit, so that they never
    do.
    """

    rate: RateState
    needed: int
    retry_after_seconds: float | None


class ModelRefused(Struct, frozen=True):
    """The key's own limits admit it, and what the key may spend on its model does not."""

    limit: ModelLimit
    refusal: SpendExceeded | SpendHeld


class OrganizationRefused(Struct, frozen=True):
    """The key's own limits admit it, and what all keys of its organisation may use together does not."""

    refusal: RateLimited | SpendExceeded | SpendHeld


Refusal = (
    RateLimited | SpendExceeded | SpendHeld | TooManyConcurrent | TokenRateLimited | ModelRefused | OrganizationRefused
)
Decision = Admitted | Stale | Missing | Unseeded | Rebuilding | Refusal


class CountersStatus(Struct, frozen=True):
    """Which counters these are, and how far they have come: `sequence` rises with every transaction on them."""

    generation: int
    live: bool  # every worker has joined
    sequence: int
    missing: Sequence[str] = ()  # workers that have not joined
