"""The counters against the totals of the ledger.

Both move while the router works, the counters first: so a key is compared only when nothing of it is held, and what
differs is looked at again until it agrees, moves on, or has stood still for longer than a posting takes. While
something is held, as of a busy organisation always, one thing can be said: spent and held are no less than the ledger.

A key's counters hold what it has cost since they were made, and what the ledger said before that as soon as somebody
has told them. Where nobody has, it is added here, as the proxy would. An organisation that has limits has counters of
the same kind, for all its keys.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Engine, Select, func, or_, select

from shared.counters import Counters, CountersUnavailable, spend_of
from shared.counters import KeySpend as Counted
from shared.model_limits import key_and_pattern, model_limits_of
from shared.models import AccountingState, KeySpend, ModelSpend, Organization, OrganizationUsage, ProxyKey
from shared.money import MAX_NANOS
from shared.policy import matches_model
from shared.seeds import read_seeds
from shared.zones import of_stored
from webapp.verification.ledger import ALL_DAYS, OneKey, Range, Totals
from webapp.verification.values import KEPT, Difference, Report

_ZONE = Organization.time_zone
SETTLE_SECONDS = 3.0  # for which a difference must stand still; postings take fractions of a second
ROUND_SECONDS = 0.25

# Id of a key or an organisation, spend_reset, spend_limit_nanos, the zone in which its periods begin.
Limits = tuple[str, str, int | None, str | None]


class _NotComparable(CountersUnavailable):
    """They answer, but are not those that belong to the ledger as it stands."""


@dataclass(slots=True)
class _Open:
    """A key whose counters did not agree at first: what both said, and since when they have said so.

    `short_since`: since when the counters have been too low, whatever else has changed.
    """

    limits: Limits
    said: tuple[Counted, int, int]
    since: float
    short_since: float | None = None


class CounterCheck:
    """Takes one range after the other, and looks again at the end at what differed. Bounded: at most 1,000 keys."""

    def __init__(
        self,
        engine: Engine,
        counters: Counters,
        report: Report,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._counters = counters
        self._report = report
        self._clock = clock
        self._sleep = sleep
        self._open: list[_Open] = []
        self._organizations: set[str] = set()  # those that are looked at

    def look(self, within: Range | OneKey, totals: Totals) -> None:
        """Compare the keys of a range with what their rows add up to."""
        by_key: dict[str, dict[date, int]] = {}
        for (key_id, day), nanos in totals.items():
            by_key.setdefault(key_id, {})[day] = nanos
        wanted = self._limits(within)
        self._report.keys += len(wanted)
        self._compare(wanted, by_key)

    def look_together(self) -> None:
        """Compare organisations that have limits with what all their keys add up to."""
        limited = or_(Organization.spend_limit_nanos.is_not(None), Organization.rate_limit_rpm.is_not(None))
        wanted = self._found(
            select(Organization.id, Organization.spend_reset, Organization.spend_limit_nanos, _ZONE).where(limited)
        )
        self._organizations.update(one[0] for one in wanted)
        self._compare(wanted, {one[0]: self._days(one[0]) for one in wanted})

    def look_at_models(self, within: Range | OneKey) -> None:
        """Compare the limits for models of a range of keys with the sums by model of their keys.

        One that these counters do not know all of yet is left out.
        """
        query = select(ProxyKey.id, ProxyKey.model_limits, _ZONE).join(Organization, Organization.id == ProxyKey.org_id)
        query = query.where(within.holds(ProxyKey.id), ProxyKey.model_limits.is_not(None))
        with self._engine.connect() as connection:
            generation = connection.scalar(select(AccountingState.generation)) or 0
            found = [
                (limit, of_stored(zone))
                for key_id, told, zone in connection.execute(query)
                for limit in model_limits_of(key_id, told)
            ]
        wanted = [
            (limit.row_id, limit.spend_reset, limit.spend_limit_nanos, zone)
            for limit, zone in found
            if limit.since <= generation
        ]
        self._compare(wanted, {one[0]: self._days(one[0]) for one in wanted})

    def _compare(self, wanted: Sequence[Limits], by_id: Mapping[str, dict[date, int]]) -> None:
        if self._report.counters_problem is not None:
            return
        try:
            counted = self._counted(wanted)
        except CountersUnavailable as error:
            self._report.counters_problem = str(error) or "they do not answer"
            return
        for limits in wanted:
            id_ = limits[0]
            if id_ not in counted:
                self._report.counters_unknown += 1  # nobody has used or edited it since the counters were made
                continue
            said = (counted[id_], *_sums(by_id.get(id_, {}), counted[id_]))
            if self._settled(said):
                continue
            if len(self._open) < KEPT or id_ in self._organizations:
                self._open.append(_Open(limits, said, self._clock()))
            else:
                self._report.counters_busy += 1

    def finish(self) -> None:
        """Look again at what differed, until each has agreed, moved on or stood still."""
        ends = self._clock() + 2 * SETTLE_SECONDS
        try:
            while self._open and self._report.counters_problem is None:
                self._open = [found for found in self._open if not self._decided(found, ends)]
                if self._open:
                    self._sleep(ROUND_SECONDS)
        except CountersUnavailable as error:
            self._report.counters_problem = str(error) or "they do not answer"

    def _decided(self, found: _Open, ends: float) -> bool:
        said = self._ask(found.limits)
        now = self._clock()
        if said is None:
            self._report.counters_unknown += 1
            return True
        if self._settled(said):
            return True
        if said != found.said:
            found.said, found.since = said, now
        if not _falls_short(said):
            found.short_since = None
        elif found.short_since is None:
            found.short_since = now
        since = found.short_since if _is_busy(said) else found.since
        if since is not None and now - since >= SETTLE_SECONDS:
            self._differs(found)
            return True
        if now < ends:
            return False
        self._report.counters_busy += 1
        if found.limits[0] in self._organizations:
            self._report.organizations_busy.append(found.limits[0])
        return True

    def _settled(self, said: tuple[Counted, int, int]) -> bool:
        """Whether there is nothing more to find out about a key; if so it is counted."""
        counted, lifetime, period = said
        if _is_busy(said):
            return False
        if (counted.lifetime_nanos, counted.period.spent_nanos) == (min(lifetime, MAX_NANOS), min(period, MAX_NANOS)):
            self._report.counters_agree += 1
            return True
        return False

    def _ask(self, limits: Limits) -> tuple[Counted, int, int] | None:
        """What both say of a key now; None: new counters were made meanwhile, which do not know it yet."""
        days = self._days(limits[0])  # the ledger first: what it has by now, the counters have as well
        counted = self._counted([limits]).get(limits[0])
        return None if counted is None else (counted, *_sums(days, counted))

    def _days(self, id_: str) -> dict[date, int]:
        """What the ledger says that a key, or an organisation, has cost: by day, and in all."""
        key_id, pattern = key_and_pattern(id_)
        if pattern:
            return self._days_of_models(key_id, pattern)
        if id_ not in self._organizations:
            query = select(KeySpend.day, KeySpend.total_nanos).where(KeySpend.key_id == id_)
            with self._engine.connect() as connection:
                return {day: int(nanos) for day, nanos in connection.execute(query)}
        cost = func.sum(OrganizationUsage.cost_nanos)
        by_day = select(OrganizationUsage.day, cost).where(OrganizationUsage.org_id == id_)
        with self._engine.connect() as connection:
            days = {day: int(nanos) for day, nanos in connection.execute(by_day.group_by(OrganizationUsage.day))}
        return {**days, ALL_DAYS: sum(days.values())}

    def _days_of_models(self, key_id: str, pattern: str) -> dict[date, int]:
        days: dict[date, int] = {}
        query = select(ModelSpend.day, ModelSpend.provider, ModelSpend.model, ModelSpend.total_nanos)
        with self._engine.connect() as connection:
            for day, provider, model, nanos in connection.execute(query.where(ModelSpend.key_id == key_id)):
                if matches_model(pattern, provider, model):
                    days[day] = days.get(day, 0) + nanos
        return days

    def _counted(self, wanted: Sequence[Limits]) -> dict[str, Counted]:
        """What the counters say of those keys that they know. Raises CountersUnavailable."""
        status = self._counters.status()
        rows = self._counters.rows([one[0] for one in wanted])
        moment = self._counters.moment()
        untold = [key_id for key_id, row in rows.items() if not row.seeded]
        with self._engine.connect() as connection:
            state = select(AccountingState.generation, AccountingState.outdated, AccountingState.outdated_for_models)
            generation, *outdated = connection.execute(state).one_or_none() or (0, 0)
            seeds = read_seeds(connection, untold, status.generation, moment.day)
        if status.generation == 0:
            raise _NotComparable("there are none yet; the proxy makes them when it starts")
        if status.generation != generation or seeds is None:
            raise _NotComparable("they belong to another state of the database; the proxy makes new ones")
        if max(outdated) >= generation:
            raise _NotComparable("they lack something that was posted or decided meanwhile; the proxy makes new ones")
        if not status.live:
            raise _NotComparable("they are being made anew, and some workers have not told what they hold")
        for key_id, seed in seeds.items():
            rows[key_id].seed(seed)
        return {
            key_id: spend_of(rows[key_id], moment.in_zone(zone), reset, limit)
            for key_id, reset, limit, zone in wanted
            if key_id in rows
        }

    def _differs(self, found: _Open) -> None:
        counted, lifetime, period = found.said
        figures = [("spent_nanos", min(period, MAX_NANOS), counted.period.spent_nanos + counted.period.held_nanos)]
        if not _is_busy(found.said):
            figures.insert(0, ("lifetime_nanos", min(lifetime, MAX_NANOS), counted.lifetime_nanos))
        for field, expected, nanos in figures:
            if expected != nanos:
                self._report.add(Difference("counters", found.limits[0], field, expected, nanos))

    def _limits(self, within: Range | OneKey) -> list[Limits]:
        query = select(ProxyKey.id, ProxyKey.spend_reset, ProxyKey.spend_limit_nanos, _ZONE)
        query = query.join(Organization, Organization.id == ProxyKey.org_id)
        return self._found(query.where(within.holds(ProxyKey.id)))

    def _found(self, query: Select[str, str, int | None, str]) -> list[Limits]:
        with self._engine.connect() as connection:
            return [(id_, reset, limit, of_stored(zone)) for id_, reset, limit, zone in connection.execute(query)]


def _is_busy(said: tuple[Counted, int, int]) -> bool:
    return said[0].period.held_nanos > 0


def _falls_short(said: tuple[Counted, int, int]) -> bool:
    """Whether not even all that is held, if it was spent, would make it as much as the ledger has of the period."""
    period = said[0].period
    return period.spent_nanos + period.held_nanos < min(said[2], MAX_NANOS)


def _sums(days: dict[date, int], counted: Counted) -> tuple[int, int]:
    """What a key's days add up to: in all, and in the period that the counters speak of."""
    start, end = counted.period.period_start, counted.period.resets_on
    of_period = [day for day in days if day != ALL_DAYS and day >= start and (end is None or day < end)]
    return days.get(ALL_DAYS, 0), sum(days[day] for day in of_period)
