"""What the ledger says that keys and organisations had cost when the counters' generation was cut.

Imports go on while counters are rebuilt. A key's total at the cut is its `base_nanos` if it was posted to since, else
its `total_nanos`; whatever came after the cut is in the counters themselves. Of an organisation with limits the sums
are written down at the cut: there are few of those, and each has few days.
"""

from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import BindParameter, Connection, bindparam, delete, func, insert, or_, select, union_all

from shared.counters import KEEP_DAYS, Seed
from shared.model_limits import key_and_pattern
from shared.models import AccountingState, KeySpend, ModelSpend, Organization, OrganizationSeed, OrganizationUsage
from shared.periods import FIRST_DAY
from shared.policy import matches_model

__all__ = ["Seed", "cut_organizations", "keep_row_of", "read_seeds"]

_SOME = 500

# Made once: a statement that is made anew for each key takes longer than to ask it.
_GENERATION = select(AccountingState.generation)
_IDS: BindParameter[str] = bindparam("ids", expanding=True)
_OLDEST: BindParameter[date] = bindparam("oldest")
_SPENT = union_all(
    select(KeySpend.key_id, KeySpend.day, KeySpend.generation, KeySpend.base_nanos, KeySpend.total_nanos).where(
        KeySpend.key_id.in_(_IDS), (KeySpend.day > _OLDEST) | (KeySpend.day == FIRST_DAY)
    ),
    select(
        OrganizationSeed.org_id,
        OrganizationSeed.day,
        OrganizationSeed.generation,
        OrganizationSeed.nanos,
        OrganizationSeed.nanos,
    ).where(OrganizationSeed.org_id.in_(_IDS), (OrganizationSeed.day > _OLDEST) | (OrganizationSeed.day == FIRST_DAY)),
)
_BY_MODEL = select(
    ModelSpend.key_id,
    ModelSpend.day,
    ModelSpend.provider,
    ModelSpend.model,
    ModelSpend.generation,
    ModelSpend.base_nanos,
    ModelSpend.total_nanos,
).where(ModelSpend.key_id.in_(_IDS), (ModelSpend.day > _OLDEST) | (ModelSpend.day == FIRST_DAY))
_LIMITED = (
    select(Organization.id)
    .where(or_(Organization.spend_limit_nanos.is_not(None), Organization.rate_limit_rpm.is_not(None)))
    .order_by(Organization.id)
)
_BY_DAY = (
    select(OrganizationUsage.day, func.sum(OrganizationUsage.cost_nanos))
    .where(OrganizationUsage.org_id == bindparam("org_id"))
    .group_by(OrganizationUsage.day)
)


def read_seeds(connection: Connection, ids: Sequence[str], generation: int, today: int) -> dict[str, Seed] | None:
    """By key, organisation or row of a limit for models; None when that is not the present generation.

    `today` is an ordinal.

    Raises SQLAlchemyError.
    """
    oldest = date.fromordinal(today) - timedelta(days=KEEP_DAYS)
    lifetimes = dict.fromkeys(ids, 0)
    days: dict[str, dict[int, int]] = {id_: {} for id_ in ids}
    if connection.scalar(_GENERATION) != generation:
        return None
    of_models = [id_ for id_ in ids if key_and_pattern(id_)[1]]
    if of_models:
        _add_models(connection, of_models, generation, oldest, lifetimes, days)
    others = [id_ for id_ in ids if not key_and_pattern(id_)[1]]
    for first in range(0, len(others), _SOME):
        wanted = {"ids": others[first : first + _SOME], "oldest": oldest}
        for id_, day, cut, base_nanos, total_nanos in connection.execute(_SPENT, wanted):
            nanos = base_nanos if cut == generation else total_nanos
            if day == FIRST_DAY:
                lifetimes[id_] = nanos
            elif nanos:
                days[id_][day.toordinal()] = nanos
    return {id_: Seed(id_, lifetimes[id_], days[id_]) for id_ in ids}


def _add_models(
    connection: Connection,
    row_ids: Sequence[str],
    generation: int,
    oldest: date,
    lifetimes: dict[str, int],
    days: dict[str, dict[int, int]],
) -> None:
    """Sum up, by row, what its key had cost on the models that its pattern matches."""
    patterns: dict[str, list[tuple[str, str]]] = {}
    for row_id in row_ids:
        key_id, pattern = key_and_pattern(row_id)
        patterns.setdefault(key_id, []).append((row_id, pattern))
    keys = list(patterns)
    for first in range(0, len(keys), _SOME):
        wanted = {"ids": keys[first : first + _SOME], "oldest": oldest}
        for key_id, day, provider, model, cut, base_nanos, total_nanos in connection.execute(_BY_MODEL, wanted):
            nanos = base_nanos if cut == generation else total_nanos
            for row_id, pattern in patterns[key_id]:
                if not nanos or not matches_model(pattern, provider, model):
                    continue
                if day == FIRST_DAY:
                    lifetimes[row_id] += nanos
                else:
                    of_day = days[row_id]
                    of_day[day.toordinal()] = of_day.get(day.toordinal(), 0) + nanos


def keep_row_of(connection: Connection, org_id: str, generation: int) -> bool:
    """Whether counters of this generation keep a row of an organisation: it had limits when they were made.

    Raises SQLAlchemyError.
    """
    row = select(OrganizationSeed.day).where(
        OrganizationSeed.org_id == org_id, OrganizationSeed.generation == generation, OrganizationSeed.day == FIRST_DAY
    )
    return connection.scalar(row) is not None


def cut_organizations(connection: Connection, generation: int) -> list[str]:
    """Write down what each organisation with limits has cost so far; answers with which they are.

    In the transaction that cuts the generation, so that nobody posts meanwhile. Raises SQLAlchemyError.
    """
    connection.execute(delete(OrganizationSeed))
    organizations = list(connection.scalars(_LIMITED))
    for org_id in organizations:
        spent = {day: int(nanos) for day, nanos in connection.execute(_BY_DAY, {"org_id": org_id})}
        rows = [
            {"org_id": org_id, "day": day, "generation": generation, "nanos": nanos}
            for day, nanos in ((FIRST_DAY, sum(spent.values())), *spent.items())
        ]
        connection.execute(insert(OrganizationSeed), rows)
    return organizations
