"""What is known of one key: its policy version, its money by day, its requests of the last minute. No I/O.

A row is read once a batch, every charge and end of the key is judged on it in memory, and it is written once. It keeps
the money of all days and the requests of the last minute whatever the key's limits are, so that an edit finds what was
used. Amounts never reach 2**53 (see `shared.money`): an admission that would is refused, a cost that would is cut.
"""

from datetime import date
from functools import lru_cache
from typing import NamedTuple

import orjson

from shared.counters.values import (
    Admitted,
    Answer,
    Charge,
    CountersLost,
    End,
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
)
from shared.money import MAX_NANOS
from shared.periods import period_of

KEEP_DAYS = 37  # more than the longest period that ends
WINDOW_SECONDS = 60
DAY_SECONDS = 86400
UNIX_EPOCH_DAY = date(1970, 1, 1).toordinal()
NOT_LOADED = 0  # the version of a row that holds money of a key whose policy nobody has told yet


class Moment(NamedTuple):
    """One reading of both clocks, the same for a whole batch."""

    wall: float
    steady: float

    day: int  # UTC, an ordinal
    second: int  # steady


def moment_of(wall: float, steady: float) -> Moment:
    """From Unix seconds and seconds of the steady clock."""
    return Moment(wall, steady, int(wall // DAY_SECONDS) + UNIX_EPOCH_DAY, int(steady))


class Period(NamedTuple):
    """The period of one day: ordinals [start, end) for the rows, dates for people."""

    start: int
    end: int
    start_date: date
    resets_on: date | None


class Stand(NamedTuple):
    """How the counters stand while a batch is judged."""

    generation: int
    live: bool  # every worker has told what it holds
    moment: Moment


@lru_cache(maxsize=64)
def period_of_day(reset: str, day: int) -> Period:
    """The period that holds a day. Raises ValueError for an unknown reset."""
    start, end = period_of(reset, (day - UNIX_EPOCH_DAY) * DAY_SECONDS)
    return Period(start.toordinal(), date.max.toordinal() if end is None else end.toordinal(), start, end)


class Window:
    """Requests by steady second. One that the last `seconds` only partly cover counts whole.

    So no span of `seconds`, wherever it begins, holds more than is admitted by it, and what it refuses a window of one
    second more would refuse as well. A second later than now (another boot's, before rows are told) counts as now.
    """

    __slots__ = ("buckets",)

    def __init__(self, buckets: dict[int, int]) -> None:
        self.buckets = buckets

    def count(self, second: int, seconds: int = WINDOW_SECONDS) -> int:
        """Requests that weigh at a second; forgets the older ones."""
        buckets = self.buckets
        oldest = second - seconds
        if buckets:
            first, last = next(iter(buckets)), next(reversed(buckets))
            if first < oldest or last > second:
                late = sum(count for at, count in buckets.items() if at > second)
                buckets = self.buckets = {at: count for at, count in buckets.items() if oldest <= at <= second}
                if late:
                    buckets[second] = buckets.get(second, 0) + late
        return sum(buckets.values())

    def acquire(self, second: int, limit: int, seconds: int = WINDOW_SECONDS, amount: int = 1) -> bool:
        """Count `amount` requests if that many fit."""
        if self.count(second, seconds) + amount > limit:
            return False
        self.buckets[second] = self.buckets.get(second, 0) + amount
        return True

    def add(self, second: int, amount: int) -> None:
        """Count requests that were admitted elsewhere, at a second that may be past."""
        self.buckets[second] = self.buckets.get(second, 0) + amount
        self.buckets = dict(sorted(self.buckets.items()))

    def take_back(self, second: int) -> None:
        """Uncount a request that was admitted and never begun: a refused one consumes nothing."""
        count = self.buckets.get(second, 0)
        if count > 1:
            self.buckets[second] = count - 1
        elif count:
            del self.buckets[second]

    def wait(self, steady: float, limit: int, seconds: int = WINDOW_SECONDS) -> float:
        """Seconds until one request more fits, if none is sent meanwhile; `count` was asked before."""
        left = sum(self.buckets.values())
        for at, count in self.buckets.items():
            left -= count
            if left < limit:
                return at + seconds + 1 - steady
        return 0.0

    def empty_in(self, steady: float, seconds: int = WINDOW_SECONDS) -> float:
        """Seconds until nothing weighs any more."""
        return max(0.0, next(reversed(self.buckets)) + seconds + 1 - steady) if self.buckets else 0.0


class KeyRow:
    """One key. `days` maps an ordinal to [spent, held]; `seeded` says whether the ledger's sums are in.

    `stored` is for the storage: whether there is a row of it already.
    """

    __slots__ = ("days", "lifetime", "seeded", "stored", "version", "window")

    def __init__(
        self, version: int, lifetime: int, days: dict[int, list[int]], window: dict[int, int], *, seeded: bool
    ) -> None:
        self.version = version
        self.seeded = seeded
        self.lifetime = lifetime
        self.days = days
        self.window = Window(window)
        self.stored = False

    @classmethod
    def new(cls) -> "KeyRow":
        return cls(NOT_LOADED, 0, {}, {}, seeded=False)

    @classmethod
    def decode(cls, data: bytes) -> "KeyRow":
        """Raises CountersLost when it is not a row."""
        try:
            version, seeded, lifetime, days, window = orjson.loads(data)
            return cls(
                version,
                lifetime,
                {days[i]: [days[i + 1], days[i + 2]] for i in range(0, len(days), 3)},
                dict(zip(window[::2], window[1::2], strict=True)),
                seeded=seeded,
            )
        except (ValueError, TypeError, IndexError) as error:
            raise CountersLost("a row cannot be read") from error

    def encode(self, today: int) -> bytes:
        """As it is stored; days that no period can ask for any more are left out."""
        days: list[int] = []
        oldest = today - KEEP_DAYS
        for day, (spent, held) in self.days.items():
            if day > oldest or held:
                days += (day, spent, held)
        window: list[int] = []
        for bucket in self.window.buckets.items():
            window += bucket
        return orjson.dumps((self.version, self.seeded, self.lifetime, days, window))

    def sums(self, period: Period) -> tuple[int, int]:
        """Nanos spent and held in a period."""
        if period.resets_on is None:
            return self.lifetime, sum([entry[1] for entry in self.days.values()])
        spent = held = 0
        for day, entry in self.days.items():
            if period.start <= day < period.end:
                spent += entry[0]
                held += entry[1]
        return spent, held

    def spend(self, period: Period, limit_nanos: int | None) -> SpendState:
        spent, held = self.sums(period)
        return spend_state(period, limit_nanos, spent, held)

    def hold(self, day: int, nanos: int) -> None:
        entry = self.days.get(day)
        if entry is None:
            entry = self.days[day] = [0, 0]
        entry[1] = min(max(0, entry[1] + nanos), MAX_NANOS)

    def end(self, end: End) -> None:
        """Take a hold back and spend the true cost, on the day of admission."""
        entry = self.days.get(end.day)
        if entry is None:
            entry = self.days[end.day] = [0, 0]
        entry[0] = min(entry[0] + end.cost_nanos, MAX_NANOS)
        entry[1] = max(0, entry[1] - end.held_nanos)
        self.lifetime = min(self.lifetime + end.cost_nanos, MAX_NANOS)
        if end.uncount_second >= 0:
            self.window.take_back(end.uncount_second)

    def seed(self, seed: Seed) -> None:
        """Add what the ledger says, once."""
        if self.seeded:
            return
        self.seeded = True
        self.lifetime = min(self.lifetime + seed.lifetime_nanos, MAX_NANOS)
        for day, nanos in seed.days.items():
            entry = self.days.setdefault(day, [0, 0])
            entry[0] = min(entry[0] + nanos, MAX_NANOS)

    def rate(self, moment: Moment, rpm: int) -> RateState:
        used = self.window.count(moment.second)
        # Rounded up, so that the second it names is never too early.
        resets_at = -int(-(moment.wall + self.window.empty_in(moment.steady)) // 1)
        return RateState(rpm, max(0, rpm - used), resets_at)

    def judge(self, charge: Charge, stand: Stand) -> Answer | None:
        """What refuses a charge before its request is counted; None: nothing does."""
        if charge.version != self.version:
            # A row is never dropped within a generation. So if there is none now, there was none when the policy was
            # loaded in this generation either, and no edit was answered since.
            if self.version == NOT_LOADED and charge.loaded_in != stand.generation:
                return Missing(stand.generation)
            if charge.version < self.version:
                return Stale()
            # The database is ahead: whoever edited has committed, and is about to tell.
            self.version = charge.version
        limit = charge.spend_limit_nanos
        if limit is None:
            return None if stand.live or charge.rate_limit_rpm is None else Rebuilding()
        if not stand.live:
            return Rebuilding()
        if not self.seeded:
            if charge.seed is None or charge.loaded_in != stand.generation:
                return Unseeded(stand.generation)
            self.seed(charge.seed)
        period = period_of_day(charge.spend_reset, stand.moment.day)
        spent, held = self.sums(period)
        bound = charge.bound_nanos
        if spent + held + bound <= limit:
            return None
        # A request rate that refuses as well is told first.
        if (limited := self.rate_refusal(charge.rate_limit_rpm, stand.moment)) is not None:
            return limited
        state = spend_state(period, limit, spent, held)
        if spent + bound > limit:
            return SpendExceeded(state)
        # The larger the part of the holds that must end before this fits, the longer it is likely to take.
        return SpendHeld(state, 1 + min(4, 4 * (spent + held + bound - limit) // held))

    def rate_refusal(self, rpm: int | None, moment: Moment) -> RateLimited | None:
        """The refusal that the request rate answers with now; nothing is counted."""
        if rpm is None or self.window.count(moment.second) < rpm:
            return None
        return RateLimited(self.rate(moment, rpm), max(0.0, self.window.wait(moment.steady, rpm)))

    def admitted(self, charge: Charge, stand: Stand) -> Admitted:
        """Hold the bound of a charge whose request has been counted."""
        moment = stand.moment
        day = moment.day
        if charge.bound_nanos:
            self.hold(day, charge.bound_nanos)
        rate = None if charge.rate_limit_rpm is None else self.rate(moment, charge.rate_limit_rpm)
        spend = None
        if charge.spend_limit_nanos is not None:
            spend = self.spend(period_of_day(charge.spend_reset, day), charge.spend_limit_nanos)
        return Admitted(day, moment.second, rate, spend)


def spend_state(period: Period, limit_nanos: int | None, spent: int, held: int) -> SpendState:
    remaining = None if limit_nanos is None else max(0, limit_nanos - spent - held)
    return SpendState(
        limit_nanos, min(spent, MAX_NANOS), min(held, MAX_NANOS), remaining, period.start_date, period.resets_on
    )
