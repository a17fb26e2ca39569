"""What is left of a key's limits: for pages, headers and output limits. Nothing is judged by it."""

import time
from collections.abc import Callable

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.journal import JournalUnavailable
from proxyd.accounting.records import LedgerUnavailable
from proxyd.accounting.seeding import Seeds
from shared.counters import (
    Counters,
    CountersUnavailable,
    KeyRow,
    Moment,
    OrganizationRefused,
    RateLimited,
    RateState,
    Refusal,
    SpendExceeded,
    SpendHeld,
    SpendState,
    period_of_day,
    spend_of,
    state_of,
)
from shared.model_limits import ModelLimit, ModelLimits
from shared.policy import KeySnapshot

REMEMBERED_KEYS = 2_000  # of those that were told of since some others were set aside, as many again
REMEMBERED_SECONDS = 1.0  # other workers charge the same limit, and what was held a moment ago may be free again

LimitsState = tuple[RateState | None, SpendState, RateState | None]  # of requests, of money, of tokens


class Limits:
    """For one worker. `seeds` asks the database what a key had cost before the present counters were made."""

    def __init__(
        self,
        counters: Counters,
        accounting: Accounting,
        seeds: Seeds,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters = counters
        self._accounting = accounting
        self._seeds = seeds
        self._monotonic = monotonic
        # As the counters last told it, by key, organisation or row of a limit for models, and when that was.
        self._spend: dict[str, tuple[float, SpendState]] = {}
        self._spend_before: dict[str, tuple[float, SpendState]] = {}

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
            self._counters.moment().in_zone(key.zone),
            rpm=key.rate_limit_rpm,
            spend_reset=key.spend_reset,
            limit_nanos=key.spend_limit_nanos,
            tpm=key.rate_limit_tpm,
        )

    def of_models(self, key: KeySnapshot) -> list[tuple[ModelLimit, SpendState]] | None:
        """What is left of its limits for models, as the counters stand; None: nobody knows."""
        found = []
        try:
            for limit in key.model_limits:
                row = self._row(limit.row_id, with_money=True)
                if row is None or limit.since > self._counters.status().generation:
                    return None
                period = period_of_day(limit.spend_reset, self._counters.moment().in_zone(key.zone).day)
                found.append((limit, row.spend(period, limit.spend_limit_nanos)))
        except (CountersUnavailable, LedgerUnavailable):
            return None
        return found

    def lifetime_nanos(self, key: KeySnapshot) -> int | None:
        """What a key has spent since it was made, as the counters stand; None: nobody knows."""
        try:
            row = self._row(key.id, with_money=True)
        except (CountersUnavailable, LedgerUnavailable):
            return None
        return None if row is None else row.lifetime

    def exhausted(self, key: KeySnapshot) -> Refusal | None:
        """What refuses even a request that costs next to nothing, as the counters stand; None: nothing does.

        Requests at once are left to the admission: only with the ENDs of this worker is it known how many there are. So
        are tokens: only what was read tells how many it needs, which may be none.
        """
        limit_nanos, shared = key.spend_limit_nanos, key.organization
        try:
            row = self._row(key.id, with_money=limit_nanos is not None)
            moment = self._counters.moment().in_zone(key.zone)
            # One that these counters keep no row of has limits of a moment ago: what it used is told by the next ones.
            of_organization = None if shared is None else self._counters.rows([key.org_id]).get(key.org_id)
        except (CountersUnavailable, LedgerUnavailable):
            return None
        if row is None:
            return None
        if (limited := row.rate_refusal(key.rate_limit_rpm, moment)) is not None:
            return limited
        if limit_nanos is not None and (refusal := _used_up(row, key.spend_reset, limit_nanos, moment)) is not None:
            return refusal
        if shared is None or of_organization is None:
            return None
        found: RateLimited | SpendExceeded | SpendHeld | None
        found = of_organization.rate_refusal(shared.rate_limit_rpm, moment)
        if found is None and shared.spend_limit_nanos is not None and of_organization.seeded:
            found = _used_up(of_organization, shared.spend_reset, shared.spend_limit_nanos, moment)
        return None if found is None else OrganizationRefused(found)

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

    def remember(self, id_: str, spend: SpendState | None) -> None:
        """What the counters have just told of a key, an organisation or a limit for models."""
        if spend is not None:
            if len(self._spend) >= REMEMBERED_KEYS and id_ not in self._spend:
                self._spend_before, self._spend = self._spend, {}
            self._spend[id_] = self._monotonic(), spend

    def remaining_nanos(self, key: KeySnapshot, models: ModelLimits = (), /, *, lately: bool = True) -> int | None:
        """Of its spend limit, its organisation's or these for models, whichever leaves least; None: nobody knows.

        As it was told within a second, or else is now; where that need not be `lately`, as it was told last.
        """
        counted = [(limit.row_id, limit.spend_reset, limit.spend_limit_nanos, True) for limit in models]
        if key.spend_limit_nanos is not None:
            counted.append((key.id, key.spend_reset, key.spend_limit_nanos, True))
        shared = key.organization
        if shared is not None and shared.spend_limit_nanos is not None:
            counted.append((key.org_id, shared.spend_reset, shared.spend_limit_nanos, False))
        least = None
        for id_, reset, limit_nanos, may_begin in counted:
            left = self._left(id_, reset, limit_nanos, key.zone, lately=lately, may_begin=may_begin)
            if left is None:
                return None
            least = left if least is None else min(least, left)
        return least

    def _left(
        self, id_: str, reset: str, limit_nanos: int, zone: str | None, *, lately: bool, may_begin: bool
    ) -> int | None:
        told_at, spend = self._spend.get(id_) or self._spend_before.get(id_) or (0.0, None)
        if (
            spend is None
            or (lately and self._monotonic() - told_at >= REMEMBERED_SECONDS)
            or not self._tells_of(spend, reset, limit_nanos, zone)
        ):
            try:
                self._accounting.flush()
                # The row of an organisation is begun by a request that is charged to it, and by nobody else.
                row = self._row(id_, with_money=True) if may_begin else self._counters.rows([id_]).get(id_)
            except (CountersUnavailable, JournalUnavailable, LedgerUnavailable):
                return None
            if row is None or not row.seeded:
                return None
            spend = spend_of(row, self._counters.moment().in_zone(zone), reset, limit_nanos).period
            self.remember(id_, spend)
        return spend.remaining_nanos or 0

    def _tells_of(self, spend: SpendState, reset: str, limit_nanos: int, zone: str | None) -> bool:
        """Whether what was told is of the limit and the period that hold now."""
        period = period_of_day(reset, self._counters.moment().in_zone(zone).day)
        same = (period.start_date, period.resets_on) == (spend.period_start, spend.resets_on)
        return same and spend.limit_nanos == limit_nanos


def _used_up(row: KeyRow, reset: str, limit_nanos: int, moment: Moment) -> SpendExceeded | SpendHeld | None:
    spend = row.spend(period_of_day(reset, moment.day), limit_nanos)
    if spend.spent_nanos >= limit_nanos:
        return SpendExceeded(spend)
    return None if spend.remaining_nanos else SpendHeld(spend, 1)
