"""What the ledger says that keys had cost when the counters' generation was cut.

Imports go on while counters are rebuilt. A key's total at the cut is its `base_nanos` if it was posted to since, else
its `total_nanos`; whatever came after the cut is in the counters themselves.
"""

from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import Connection, bindparam, select

from shared.counters import KEEP_DAYS, Seed
from shared.models import AccountingState, KeySpend
from shared.periods import FIRST_DAY

__all__ = ["Seed", "read_seeds"]

_SOME = 500

# Made once: a statement that is made anew for each key takes longer than to ask it.
_GENERATION = select(AccountingState.generation)
_SPENT = select(KeySpend.key_id, KeySpend.day, KeySpend.generation, KeySpend.base_nanos, KeySpend.total_nanos).where(
    KeySpend.key_id.in_(bindparam("key_ids", expanding=True)),
    (KeySpend.day > bindparam("oldest")) | (KeySpend.day == FIRST_DAY),
)


def read_seeds(connection: Connection, key_ids: Sequence[str], generation: int, today: int) -> dict[str, Seed] | None:
    """By key; None when that is not the present generation. `today` is an ordinal. Raises SQLAlchemyError."""
    oldest = date.fromordinal(today) - timedelta(days=KEEP_DAYS)
    lifetimes = dict.fromkeys(key_ids, 0)
    days: dict[str, dict[int, int]] = {key_id: {} for key_id in key_ids}
    if connection.scalar(_GENERATION) != generation:
        return None
    for first in range(0, len(key_ids), _SOME):
        wanted = {"key_ids": key_ids[first : first + _SOME], "oldest": oldest}
        for key_id, day, cut, base_nanos, total_nanos in connection.execute(_SPENT, wanted):
            nanos = base_nanos if cut == generation else total_nanos
            if day == FIRST_DAY:
                lifetimes[key_id] = nanos
            elif nanos:
                days[key_id][day.toordinal()] = nanos
    return {key_id: Seed(key_id, lifetimes[key_id], days[key_id]) for key_id in key_ids}
