"""What a key has cost by model as it was asked for, added up from the ledger when it gets a limit for models.

All its rows are read, which may be millions, and nobody may post while they are compared with what is posted. So they
are added up beforehand, some at a time, with a note of what was posted for each day by then; and once more, while
nobody posts, those of the days for which something was posted meanwhile. That tell the daily sums, which are written
with the rows. They cannot tell more, as they go by the model that answered.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from flask_sqlalchemy.session import Session
from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import scoped_session

from shared.models import ModelSpend, UsageDaily, UsageRecord
from shared.periods import FIRST_DAY

ROWS_AT_ONCE = 200_000  # of the ledger, in one statement: far less than it may take

Sums = dict[tuple[str, str], int]  # provider, model -> nano-dollars
_Seen = dict[date, list[tuple[Any, ...]]]  # the daily sums of a key

_AMOUNTS = (UsageDaily.requests, UsageDaily.input_tokens, UsageDaily.output_tokens, UsageDaily.cost_nanos)
_LONGEST = timedelta(days=366)
_MARGIN = timedelta(days=1)  # a day of any zone lies within those of UTC before and behind it


@dataclass(frozen=True, slots=True)
class Noted:
    """What the ledger had of a key, by day, and the daily sums by which it is known whether it has it still."""

    key_id: str
    seen: _Seen
    sums: Mapping[date, Sums]


def note_sums(session: scoped_session[Session], key_id: str) -> Noted:
    """What the ledger has of a key by now. Nobody is kept from posting."""
    seen = _seen(session, key_id)  # before its rows: what is posted in between is taken for posted later
    return Noted(key_id, seen, _added_up(session, key_id, seen, seen))


def write_sums(session: scoped_session[Session], noted: Noted) -> None:
    """Put what the ledger has of a key in the place of its sums; the generation is locked, so that nobody posts.

    What stood there at the cut of the present generation stays: its counters began with it.
    """
    key_id, seen = noted.key_id, _seen(session, noted.key_id)
    changed = [day for day in seen if seen[day] != noted.seen.get(day)]
    by_day = {**noted.sums, **_added_up(session, key_id, changed, seen)}
    total: Sums = defaultdict(int)
    for sums in by_day.values():
        for group, nanos in sums.items():
            total[group] += nanos
    wanted = {
        (day, *group): nanos
        for day, sums in ((FIRST_DAY, total), *by_day.items())
        for group, nanos in sums.items()
        if nanos
    }
    columns = (ModelSpend.day, ModelSpend.provider, ModelSpend.model, ModelSpend.generation, ModelSpend.base_nanos)
    here = ModelSpend.key_id == key_id
    bases: dict[tuple[date, str, str], tuple[int, int]] = {
        (row[0], row[1], row[2]): (row[3], row[4]) for row in session.execute(select(*columns).where(here))
    }
    session.execute(delete(ModelSpend).where(here).execution_options(synchronize_session=False))
    rows = []
    for day, provider, model in {**wanted, **bases}:
        generation, base_nanos = bases.get((day, provider, model), (0, 0))
        rows.append(
            {
                "key_id": key_id, "day": day, "provider": provider, "model": model, "generation": generation,
                "base_nanos": base_nanos, "total_nanos": wanted.get((day, provider, model), 0),
            }
        )  # fmt: skip
    if rows:
        session.execute(insert(ModelSpend), rows)


def _seen(session: scoped_session[Session], key_id: str) -> _Seen:
    query = select(UsageDaily.day, UsageDaily.provider, UsageDaily.model, *_AMOUNTS).where(UsageDaily.key_id == key_id)
    seen: _Seen = defaultdict(list)
    for day, *rest in session.execute(query.order_by(UsageDaily.day, UsageDaily.provider, UsageDaily.model)):
        seen[day].append(tuple(rest))
    return dict(seen)


def _added_up(
    session: scoped_session[Session], key_id: str, days: Sequence[date] | _Seen, seen: _Seen
) -> dict[date, Sums]:
    """By day. `seen` tells how many rows there are of each."""
    found: dict[date, Sums] = {day: defaultdict(int) for day in days}
    for some in _portions(sorted(days), seen):
        since, until = _midnight(some[0] - _MARGIN), _midnight(some[-1] + 2 * _MARGIN)
        groups = (UsageRecord.day, UsageRecord.provider, UsageRecord.requested_model)
        query = select(*groups, func.sum(UsageRecord.cost_nanos)).where(
            UsageRecord.key_id == key_id,
            UsageRecord.admitted_at >= since,
            UsageRecord.admitted_at < until,
            UsageRecord.day.in_(some),
            UsageRecord.requested_model.is_not(None),
        )
        for day, provider, model, nanos in session.execute(query.group_by(*groups)):
            found[day][provider, model or ""] += int(nanos)
    return found


def _portions(days: Sequence[date], seen: _Seen) -> Iterator[list[date]]:
    """Days that follow each other, so many that one statement has not too many rows to read."""
    some: list[date] = []
    count = 0
    for day in days:
        requests = sum(row[2] for row in seen.get(day, ()))
        if some and (count + requests > ROWS_AT_ONCE or day - some[0] > _LONGEST):
            yield some
            some, count = [], 0
        some.append(day)
        count += requests
    if some:
        yield some


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
