"""What is known of one key, or of an organisation: money by day, requests of the last minute and in flight. No I/O.

A row is read once a batch, every charge and end of the key is decided on it in memory, and it is written once. It keeps
the money of all days and the requests of the last minute whatever the key's limits are, so that an edit finds what was
used; tokens of the last minute only of what was admitted under a limit of them. Amounts never reach 2**53 (see
`shared.money`): an admission that would is refused, a cost that would is cut.

An organisation has such a row for all that its keys do, if it had limits when the counters were made.
"""

from shared.counters import stored_row
from shared.counters.day_sums import DaySums
from shared.counters.moments import BatchContext, Moment, period_of_day
from shared.counters.states import counted_rate, rate_state, spend_state
from shared.counters.stored_row import FORMAT, MOST_IN_A_BYTE, NO_EARLIER, RECENT, earlier_seconds, rest
from shared.counters.values import (
    Admitted,
    Charge,
    Decision,
    Missing,
    OrganizationRefused,
    RateLimited,
    RateState,
    Rebuilding,
    Seed,
    SpendExceeded,
    SpendHeld,
    SpendState,
    Stale,
    TokenRateLimited,
    TooManyConcurrent,
    Unseeded,
)
from shared.counters.window import WINDOW_SECONDS, Window
from shared.money import MAX_NANOS
from shared.organization_limits import OrganizationLimits

_NO_ENTRY = (-1, 0)
_EMPTY = Window({})  # nothing is ever counted in it
NOT_LOADED = 0  # the version of a row that holds money of a key whose policy nobody has told yet


class KeyRow(DaySums):
    """One key. `days` maps an ordinal to [spent, held]; `seeded` says whether the ledger's sums are in.

    `in_flight` is how many requests were admitted and have not ended; `tokens`, by steady second, what those that had a
    limit of them used, or may use until they have ended. `place` and `reading` are for the storage: where the row
    stands, 0 if nowhere, and which of its readings this is of.
    """

    __slots__ = ("_earlier", "in_flight", "place", "reading", "seeded", "tokens", "version", "window")

    def __init__(
        self,
        version: int,
        lifetime: int,
        days: dict[int, list[int]],
        window: dict[int, int],
        *,
        seeded: bool,
        in_flight: int = 0,
        tokens: dict[int, int] | None = None,
    ) -> None:
        super().__init__(lifetime, days)
        self.version = version
        self.seeded = seeded
        self.window = Window(window)
        self.in_flight = in_flight
        self.tokens = None if tokens is None else Window(tokens)
        self.place = 0
        self._earlier = NO_EARLIER  # what it has, when it is stored, of the seconds before the last one
        self.reading = 0

    @classmethod
    def new(cls) -> "KeyRow":
        return cls(NOT_LOADED, 0, {}, {}, seeded=False)

    @classmethod
    def decode(cls, data: bytes) -> "KeyRow":
        """Raises CountersLost when it is not a row."""
        version, lifetime, days, window, seeded, in_flight, tokens = stored_row.read(data)
        return cls(version, lifetime, days, window, seeded=seeded, in_flight=in_flight, tokens=tokens)

    def refresh(self, data: bytes) -> bool:
        """Take over what others have written since this row was stored, if they changed no more than its first part."""
        older = self._older
        if older is None or not isinstance(data, bytes) or len(data) != RECENT.size + len(self._earlier) + len(older):
            return False
        form, lifetime, day, spent, held, second, requests, version, in_flight, seeded = RECENT.unpack_from(data)
        if (day, second) != self._older_of[:2] or form != FORMAT or not data.endswith(self._earlier + older):
            return False
        if not requests and self.window.buckets:
            return False  # the only one that stood there was taken back
        self.version, self.seeded, self.lifetime, self.in_flight = version, bool(seeded), lifetime, in_flight
        self.days.pop(day, None)
        if spent >= 0:
            self.days[day] = [spent, held]
        if requests:
            self.window.set_last(requests)
        self._period = None
        self._hot_day = -1
        return True

    def encode(self, today: int) -> bytes:
        """As it is stored; days that no period can ask for any more are left out.

        What nearly no batch changes is made anew only when it is another one.
        """
        window = self.window
        second, requests = window.last
        # In a zone where it is another day, that is the one that batches change.
        first = self._booked if today - 1 <= self._booked <= today + 1 else today
        older, of = self._older, self._older_of
        if older is None or of[0] != first or of[2] != window.changes or (of[1] != second and not self._moved(second)):
            self._earlier, large = earlier_seconds(window, second)
            older = self._older = rest(self.days, first, today, large, second, self.tokens)
            self._hot_day = -1
        self._older_of = (first, second, window.changes)
        spent, held = self.days.get(first, _NO_ENTRY)
        recent = RECENT.pack(
            FORMAT, self.lifetime, first, spent, held, second, requests, self.version, self.in_flight, self.seeded
        )
        return recent + self._earlier + older

    def _moved(self, second: int) -> bool:
        """Whether the last second is a later one, and what was the last one before has become one of the earlier.

        Between two times that a row is stored, its requests are of one second: a batch has one moment.
        """
        before = self._older_of[1]
        gap, count = second - before, self.window.buckets.get(before, 0)
        if not 0 < gap <= WINDOW_SECONDS or count > MOST_IN_A_BYTE or self.tokens is not None:
            return False
        self._earlier = (NO_EARLIER[1:gap] + bytes((count,)) + self._earlier)[:WINDOW_SECONDS]
        return True

    def hold(self, day: int, nanos: int, requests: int = 0) -> None:
        """For so many requests in flight; less than nothing takes back."""
        if day == self._hot_day and nanos >= 0 and (held := self._hot[1] + nanos) <= MAX_NANOS:
            self._hot[1] = held  # as `_book` does it
            self._held += nanos
        else:
            self._book(day, 0, nanos)
        if requests:
            self.in_flight = max(0, self.in_flight + requests)

    def end(self, day: int, held: int, cost: int, requests: int = 1) -> None:
        """Take back what was held for so many requests, and spend the true cost, on the day of admission."""
        self.end_money(day, held, cost)
        self.in_flight = max(0, self.in_flight - requests)

    def end_money(self, day: int, held: int, cost: int) -> None:
        """The money alone."""
        self._book(day, cost, -held)
        if cost:
            self.lifetime = min(self.lifetime + cost, MAX_NANOS)

    def count_tokens(self, second: int, tokens: int) -> None:
        """Of a request that was admitted in a steady second; less than nothing gives back."""
        if (window := self.tokens) is None:
            window = self.tokens = Window({})
        window.add(second, tokens)
        self._older = None

    def seed(self, seed: Seed) -> None:
        """Add what the ledger says, once."""
        if self.seeded:
            return
        self.seeded = True
        self.lifetime = min(self.lifetime + seed.lifetime_nanos, MAX_NANOS)
        for day, nanos in seed.days.items():
            self._book(day, nanos, 0)

    def rate(self, moment: Moment, rpm: int) -> RateState:
        return rate_state(self.window, moment, rpm)

    def token_rate(self, moment: Moment, tpm: int) -> RateState:
        return rate_state(self.tokens or _EMPTY, moment, tpm)

    def decide(self, charge: Charge, context: BatchContext) -> Decision | None:
        """What refuses a charge before its request is counted; None: nothing does."""
        if charge.version != self.version:
            # A row is never dropped within a generation. So if there is none now, there was none when the policy was
            # loaded in this generation either, and no edit was answered since.
            if self.version == NOT_LOADED and charge.loaded_in != context.generation:
                return Missing(context.generation)
            if charge.version < self.version:
                return Stale()
            # The database is ahead: whoever edited has committed, and is about to tell.
            self.version = charge.version
        limit, most, tpm = charge.spend_limit_nanos, charge.max_concurrent_requests, charge.rate_limit_tpm
        if limit is None and most is None and tpm is None:
            return None if context.live or charge.rate_limit_rpm is None else Rebuilding()
        if not context.live:
            return Rebuilding()
        if tpm is not None and (full := self.token_refusal(tpm, charge.bound_tokens, context.moment)) is not None:
            # A request rate that refuses as well is told first, unless waiting is no use.
            if full.retry_after_seconds is None:
                return full
            return self.rate_refusal(charge.rate_limit_rpm, context.moment) or full
        if most is not None and self.in_flight >= most:
            # As above.
            limited = self.rate_refusal(charge.rate_limit_rpm, context.moment)
            return TooManyConcurrent(most, self.in_flight) if limited is None else limited
        if limit is None:
            return None
        if not self.seeded:
            if charge.seed is None or charge.loaded_in != context.generation:
                return Unseeded(context.generation)
            self.seed(charge.seed)
        return self.money_refusal(limit, charge.spend_reset, charge.bound_nanos, charge.rate_limit_rpm, context.moment)

    def decide_shared(self, limits: OrganizationLimits, charge: Charge, context: BatchContext) -> Decision | None:
        """The same of an organisation's row, for a charge that its key's own limits admit."""
        if not context.live:
            return Rebuilding()
        limit, rpm, moment = limits.spend_limit_nanos, limits.rate_limit_rpm, context.moment
        refusal: RateLimited | SpendExceeded | SpendHeld | None = None
        if limit is not None:
            if not self.seeded:
                return Unseeded(context.generation, charge.org_id)
            refusal = self.money_refusal(limit, limits.spend_reset, charge.bound_nanos, rpm, moment)
        refusal = refusal or self.rate_refusal(rpm, moment)
        return None if refusal is None else OrganizationRefused(refusal)

    def money_refusal(
        self, limit: int, reset: str, bound: int, rpm: int | None, moment: Moment
    ) -> RateLimited | SpendExceeded | SpendHeld | None:
        """What refuses a request of this bound by a limit of money; by a request rate, if that does as well."""
        period = period_of_day(reset, moment.day)
        spent, held = self.sums(period)
        if spent + held + bound <= limit:
            return None
        # As above.
        if (limited := self.rate_refusal(rpm, moment)) is not None:
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

    def token_refusal(self, tpm: int, needed: int, moment: Moment) -> TokenRateLimited | None:
        """The same of tokens, for a request that may need so many. One that needs none is never refused."""
        window = self.tokens or _EMPTY
        if not needed or window.count(moment.second) + needed <= tpm:
            return None
        wait = None if needed > tpm else max(0.0, window.wait(moment.steady, tpm, amount=needed))
        return TokenRateLimited(rate_state(window, moment, tpm), needed, wait)

    def admitted(self, charge: Charge, context: BatchContext) -> Admitted:
        """Hold the bound of a charge whose request has been counted."""
        moment = context.moment
        day = moment.day
        if charge.bound_nanos:
            self.hold(day, charge.bound_nanos)
        self.in_flight += 1
        rate = None if charge.rate_limit_rpm is None else counted_rate(self.window, moment, charge.rate_limit_rpm)
        spend, limit = None, charge.spend_limit_nanos
        if limit is not None:
            period = period_of_day(charge.spend_reset, day)
            spend = spend_state(period, limit, *self.sums(period))
        if charge.rate_limit_tpm is None:
            return Admitted(day, moment.second, rate, spend)
        self.count_tokens(moment.second, charge.bound_tokens)
        return Admitted(day, moment.second, rate, spend, None, self.token_rate(moment, charge.rate_limit_tpm))

    def admitted_shared(self, charge: Charge, context: BatchContext) -> SpendState | None:
        """The same of an organisation's row; answers with its money if there is a limit of it."""
        day, limits = context.moment.day, charge.organization
        self.hold(day, charge.bound_nanos, 1)
        if limits is None or limits.spend_limit_nanos is None:
            return None
        return self.spend(period_of_day(limits.spend_reset, day), limits.spend_limit_nanos)
