"""The keys that cost most in some days, in that order, without adding up every key.

Two indexes tell which keys cost most: one over all days together, one for each day by itself. They are walked from
above, some keys at a time, and of the keys that are met the sums of the wanted days are asked for. A key that was not
met yet cannot have cost more than where a walk stands: not more in some days than in all, and on no day more than where
that day's walk stands. Once as many keys as are wanted have cost at least that much, no other can be among them
(Fagin's threshold algorithm). Where that takes too long, and where there is little to add up, all keys are added up.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from sqlalchemy import func, literal, literal_column, select, tuple_

from shared.models import KeySpend, ProxyKey, UsageDaily
from shared.periods import FIRST_DAY
from webapp.db import db
from webapp.queries.usage import UsageLine, line_of, sums_of, usage_of_keys

Place = tuple[int, str]  # what a key cost in nano-dollars, and its id, by which those are ordered that cost the same

FEW_ROWS = 20_000  # daily sums that are added up at once
MOST_KEYS_MET = 20_000
DAYS_WALKED = 7  # a walk for each of more days would meet more keys than it saves
_FIRST_STEP = 64
# Where a walk begins. Told in every statement: without it a SQLite that has statistics takes a day for a range of days.
_HIGHEST: Place = (2**63 - 1, chr(0x10FFFF))
# Where a walk stands that has ended: which keys it did not meet cost nothing there, and any id is theirs.
_NOTHING: Place = (0, chr(0x10FFFF))
# As the indexes have them: each is only used where a statement itself says that it wants no other rows.
_ALL_DAYS = KeySpend.day == literal_column(f"'{FIRST_DAY.isoformat()}'")
_ONE_DAY = KeySpend.day > literal_column(f"'{FIRST_DAY.isoformat()}'")


@dataclass(frozen=True, slots=True)
class TopKeys:
    """Some keys by what they cost, from above; `next_place` is where the next ones begin, None if there are none."""

    lines: tuple[UsageLine, ...]
    next_place: Place | None


def top_keys(org_id: str, first: date, last: date, limit: int, below: Place | None = None) -> TopKeys:
    """The `limit` keys that cost most from `first` to `last`, of those that stand below a place."""
    found = None if _is_little(org_id, first, last) else _walked(org_id, first, last, limit + 1, below)
    if found is None:
        found = _added_up(org_id, first, last, limit + 1, below)
    lines = tuple(found[:limit])
    return TopKeys(lines, place_of(lines[-1]) if len(found) > limit else None)


def names_of(org_id: str, key_ids: Iterable[str]) -> dict[str, str]:
    """The names of keys by their ids."""
    query = select(ProxyKey.id, ProxyKey.name).where(ProxyKey.org_id == org_id, ProxyKey.id.in_(list(key_ids)))
    return {row.id: row.name for row in db.session.execute(query)}


def prefixes_of(org_id: str, key_ids: Iterable[str]) -> dict[str, str]:
    """What keys begin with, by their ids."""
    query = select(ProxyKey.id, ProxyKey.prefix).where(ProxyKey.org_id == org_id, ProxyKey.id.in_(list(key_ids)))
    return {row.id: row.prefix for row in db.session.execute(query)}


def place_of(line: UsageLine) -> Place:
    return line.cost_nanos, line.group


def _is_little(org_id: str, first: date, last: date) -> bool:
    """Whether adding up is no work; also where there are keys that cost nothing, which no walk meets."""
    some = (
        select(UsageDaily.day)
        .where(UsageDaily.org_id == org_id, UsageDaily.day >= first, UsageDaily.day <= last)
        .limit(FEW_ROWS + 1)
        .subquery()
    )
    return (db.session.scalar(select(func.count()).select_from(some)) or 0) <= FEW_ROWS


@dataclass(slots=True)
class _Walk:
    """Along an index, of one day or of all days together. No key that was not met stands above `reached`."""

    day: date | None  # None: all days together
    reached: Place = _HIGHEST
    ended: bool = field(default=False)

    def step(self, count: int) -> list[str]:
        """The ids of the next keys."""
        if self.ended:
            return []
        amount, key_id = KeySpend.total_nanos.expression, KeySpend.key_id.expression
        query = select(amount, key_id)
        query = query.where(_ALL_DAYS) if self.day is None else query.where(KeySpend.day == self.day, _ONE_DAY)
        nanos, last_id = self.reached
        query = query.where(tuple_(amount, key_id) < tuple_(literal(nanos, amount.type), literal(last_id)))
        rows = db.session.execute(query.order_by(amount.desc(), key_id.desc()).limit(count)).all()
        self.ended = len(rows) < count
        self.reached = _NOTHING if self.ended else (rows[-1][0], rows[-1][1])
        return [key_id for _, key_id in rows]


def _walked(org_id: str, first: date, last: date, count: int, below: Place | None) -> list[UsageLine] | None:
    """None when it takes too long, or when keys are among them that cost nothing."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    whole = _Walk(None)
    # Of one day alone, what a key cost on it is its place.
    start = below if below is not None and len(days) == 1 else _HIGHEST
    by_day = [_Walk(day, start) for day in days] if len(days) <= DAYS_WALKED else []
    met: set[str] = set()
    known: list[UsageLine] = []
    step = max(_FIRST_STEP, count)
    while len(met) < MOST_KEYS_MET:
        fresh = {key_id for walk in (whole, *by_day) for key_id in walk.step(step)} - met
        met |= fresh
        lines = usage_of_keys(org_id, sorted(fresh), first, last).values()
        known += [line for line in lines if below is None or place_of(line) < below]
        known = sorted(known, key=place_of)[-count:]
        if len(known) == count and place_of(known[0]) >= _bound(whole, by_day):
            return known[::-1]
        if whole.ended or (by_day and all(walk.ended for walk in by_day)):
            return None
        step *= 2
    return None


def _bound(whole: _Walk, by_day: list[_Walk]) -> Place:
    """The highest place at which a key can stand that was not met."""
    bounds = [whole.reached]
    if by_day:
        reached = [walk.reached for walk in by_day]
        bounds.append((sum(nanos for nanos, _ in reached), min(key_id for _, key_id in reached)))
    return min(bounds)


def _added_up(org_id: str, first: date, last: date, count: int, below: Place | None) -> list[UsageLine]:
    cost, key_id = func.sum(UsageDaily.cost_nanos), UsageDaily.key_id.expression
    days = (UsageDaily.org_id == org_id, UsageDaily.day >= first, UsageDaily.day <= last)
    query = select(UsageDaily.key_id, *sums_of(UsageDaily)).where(*days).group_by(UsageDaily.key_id)
    if below is not None:
        amount = UsageDaily.cost_nanos.type
        query = query.having(tuple_(cost, key_id) < tuple_(literal(below[0], amount), literal(below[1])))
    rows = db.session.execute(query.order_by(cost.desc(), key_id.desc()).limit(count))
    return [line_of(*row) for row in rows]
