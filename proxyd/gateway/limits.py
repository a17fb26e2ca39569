"""What is left of a key's limits: for pages, headers and output limits. Nothing is judged by it."""

from proxyd.accounting.accounting import Accounting, Seeds
from proxyd.accounting.journal import JournalUnavailable
from proxyd.accounting.records import LedgerUnavailable
from shared.counters import (
    Counters,
    CountersUnavailable,
    KeyRow,
    RateLimited,
    RateState,
    SpendExceeded,
    SpendHeld,
    SpendState,
    period_of_day,
    state_of,
)
from shared.policy import KeySnapshot

REMEMBERED_KEYS = 10_000

LimitsState = tuple[RateState | None, SpendState]


class Limits:
    """For one worker. `seeds` asks the database what a key had cost before the present counters were made."""

    def __init__(self, counters: Counters, accounting: Accounting, seeds: Seeds) -> None:
        self._counters = counters
        self._accounting = accounting
        self._seeds = seeds
        self._spend: dict[str, SpendState] = {}  # as the counters last told it, by key

    def of(self, key: KeySnapshot, *, exact: bool = True) -> LimitsState | None:
        """As they are now; None: nobody knows. Exact: all ends of this worker told, money read where it is not known.

        Whoever is refused is told what the counters say as they stand: a flood of refusals must not cost the others.
        """
        try:
            if exact:
                self._accounting.flush()
            row = self._row(key.id, with_money=exact or key.spend_limit_nanos is not None)
        except (CountersUnavailable, JournalUnavailable, LedgerUnavailable):
            return None
        if row is None:
            return None
        return state_of(
            row,
            self._counters.moment(),
            rpm=key.rate_limit_rpm,
            spend_reset=key.spend_reset,
            limit_nanos=key.spend_limit_nanos,
        )

    def lifetime_nanos(self, key: KeySnapshot) -> int | None:
        """What a key has spent since it was made, as the counters stand; None: nobody knows."""
        try:
            row = self._row(key.id, with_money=True)
        except (CountersUnavailable, LedgerUnavailable):
            return None
        return None if row is None else row.lifetime

    def exhausted(self, key: KeySnapshot) -> RateLimited | SpendExceeded | SpendHeld | None:
        """What refuses even a request that costs next to nothing, as the counters stand; None: nothing does."""
        limit_nanos = key.spend_limit_nanos
        try:
            row = self._row(key.id, with_money=limit_nanos is not None)
            moment = self._counters.moment()
        except (CountersUnavailable, LedgerUnavailable):
            return None
        if row is None:
            return None
        if (limited := row.rate_refusal(key.rate_limit_rpm, moment)) is not None:
            return limited
        if limit_nanos is None:
            return None
        spend = row.spend(period_of_day(key.spend_reset, moment.day), limit_nanos)
        if spend.spent_nanos >= limit_nanos:
            return SpendExceeded(spend)
        return None if spend.remaining_nanos else SpendHeld(spend, 1)

    def _row(self, key_id: str, *, with_money: bool) -> KeyRow | None:
        """With what the ledger said before it, where the counters have not been told yet; they are told then."""
        row = self._counters.rows([key_id]).get(key_id) or KeyRow.new()
        if row.seeded or not with_money:
            return row
        generation = self._counters.status().generation
        seeds = self._seeds([key_id], generation, self._counters.moment().day)
        if seeds is None:
            return None
        self._counters.seed(generation, seeds)
        return self._counters.rows([key_id]).get(key_id)

    def remember(self, key_id: str, spend: SpendState | None) -> None:
        """What the counters have just told of a key."""
        if spend is not None:
            if len(self._spend) >= REMEMBERED_KEYS and key_id not in self._spend:
                del self._spend[next(iter(self._spend))]
            self._spend[key_id] = spend

    def remaining_nanos(self, key: KeySnapshot) -> int | None:
        """Of its spend limit, as it was last told; None: nobody knows."""
        spend = self._spend.get(key.id)
        if spend is None or not self._tells_of(spend, key):
            limits = self.of(key)
            if limits is None:
                return None
            spend = limits[1]
        return spend.remaining_nanos or 0

    def _tells_of(self, spend: SpendState, key: KeySnapshot) -> bool:
        """Whether what was told is of the limit and the period that hold now."""
        period = period_of_day(key.spend_reset, self._counters.moment().day)
        same = (period.start_date, period.resets_on) == (spend.period_start, spend.resets_on)
        return same and spend.limit_nanos == key.spend_limit_nanos
