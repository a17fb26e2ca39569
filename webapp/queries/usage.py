"""What was used, from the ledger's daily sums: of one key, or of an organisation."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute

from shared import money
from shared.models import USAGE_CLASSES, OrganizationUsage, UsageDaily
from webapp.db import db
from webapp.queries.keys import get_key

MOST_KEYS = 10_000
_COUNTS = ("requests", "input_tokens", "output_tokens", "cost_nanos")


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Sums of one group; `group` is its day, key id, provider or model."""

    group: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int
    classes: Mapping[str, int] = field(default_factory=dict)  # of those tokens, the ones that are priced by themselves

    @property
    def cost_usd(self) -> str:
        return money.to_usd(self.cost_nanos)


@dataclass(frozen=True, slots=True)
class UsageTable:
    """Usage from `first` to `last`, both included, in UTC days, and the sum of all of it."""

    first: date
    last: date
    group_by: str
    lines: tuple[UsageLine, ...]
    total: UsageLine


class Cell(NamedTuple):
    """What one group used on one day."""

    day: date
    line: UsageLine


Sums = type[UsageDaily] | type[OrganizationUsage]


def usage_of_key(org_id: str, key_id: str, first: date, last: date, group_by: str = "day") -> UsageTable:
    """What one key used. Raises NotFound, for another organisation's key as well."""
    get_key(org_id, key_id)
    return _table(UsageDaily, UsageDaily.key_id == key_id, first, last, group_by)


def usage_of_organization(org_id: str, first: date, last: date, group_by: str = "day") -> UsageTable:
    """What all keys of an organisation used; by key, the dearest 10,000 of them, ordered as `top_keys`."""
    if group_by != "key":
        return _table(OrganizationUsage, OrganizationUsage.org_id == org_id, first, last, group_by)
    whole = _table(OrganizationUsage, OrganizationUsage.org_id == org_id, first, last, "day")
    days = (UsageDaily.org_id == org_id, UsageDaily.day >= first, UsageDaily.day <= last)
    sums = sums_of(UsageDaily)
    dearest = select(UsageDaily.key_id, *sums).where(*days).group_by(UsageDaily.key_id)
    ordered = dearest.order_by(func.sum(UsageDaily.cost_nanos).desc(), UsageDaily.key_id.desc()).limit(MOST_KEYS)
    return UsageTable(first, last, "key", tuple(line_of(*row) for row in db.session.execute(ordered)), whole.total)


def usage_by_day(org_id: str, first: date, last: date, group_by: str) -> Iterator[Cell]:
    """What an organisation used on each day, by provider or by model."""
    group: InstrumentedAttribute[Any] = getattr(OrganizationUsage, group_by)
    days = (OrganizationUsage.day >= first, OrganizationUsage.day <= last)
    query = select(OrganizationUsage.day, group, *sums_of(OrganizationUsage))
    query = query.where(OrganizationUsage.org_id == org_id, *days).group_by(OrganizationUsage.day, group)
    return (Cell(day, line_of(*row)) for day, *row in db.session.execute(query))


def usage_of_keys_by_day(org_id: str, key_ids: Collection[str], first: date, last: date) -> Iterator[Cell]:
    """What each of these keys used on each day."""
    query = select(UsageDaily.day, UsageDaily.key_id, *sums_of(UsageDaily)).where(
        *of_keys(org_id, key_ids, first, last)
    )
    rows = db.session.execute(query.group_by(UsageDaily.key_id, UsageDaily.day)) if key_ids else ()
    return (Cell(day, line_of(*row)) for day, *row in rows)


def usage_of_keys(org_id: str, key_ids: Collection[str], first: date, last: date) -> dict[str, UsageLine]:
    """What each of these keys used in all these days, by its id; nothing of keys that used nothing."""
    query = select(UsageDaily.key_id, *sums_of(UsageDaily)).where(*of_keys(org_id, key_ids, first, last))
    rows = db.session.execute(query.group_by(UsageDaily.key_id)) if key_ids else ()
    return {row[0]: line_of(*row) for row in rows}


def of_keys(org_id: str, key_ids: Collection[str], first: date, last: date) -> tuple[ColumnElement[bool], ...]:
    """The daily sums of some keys, as conditions.

    No index has the organisation as it stands here, so that no database begins with the sums of all its keys.
    """
    mine = UsageDaily.org_id.concat("") == org_id
    return mine, UsageDaily.key_id.in_(key_ids), UsageDaily.day >= first, UsageDaily.day <= last


def _table(sums: Sums, wanted: ColumnElement[bool], first: date, last: date, group_by: str) -> UsageTable:
    group: InstrumentedAttribute[Any] = getattr(sums, "key_id" if group_by == "key" else group_by)
    query = select(group, *sums_of(sums)).where(wanted, sums.day >= first, sums.day <= last)
    lines = tuple(line_of(*row) for row in db.session.execute(query.group_by(group).order_by(group)))
    return UsageTable(first, last, group_by, lines, total_of(lines))


def total_of(lines: Collection[UsageLine], group: str = "total") -> UsageLine:
    """The sum of some lines."""
    counts = [sum(getattr(line, name) for line in lines) for name in _COUNTS]
    classes = [sum(line.classes.get(name, 0) for line in lines) for name in USAGE_CLASSES]
    return line_of(group, *counts, *classes)


def rest_of(total: UsageLine, shown: Collection[UsageLine]) -> UsageLine:
    """What `total` holds beside what is shown."""
    part = total_of(shown)
    counts = [getattr(total, name) - getattr(part, name) for name in _COUNTS]
    classes = [total.classes.get(name, 0) - part.classes.get(name, 0) for name in USAGE_CLASSES]
    return line_of("rest", *counts, *classes)


def sums_of(sums: Sums) -> list[ColumnElement[Any]]:
    """What is asked for of each group."""
    return [func.sum(getattr(sums, name)) for name in (*_COUNTS, *USAGE_CLASSES)]


def line_of(group: object, requests: int, read: int, written: int, nanos: int, *classes: int) -> UsageLine:
    """A row of a group and those sums."""
    known = {name: int(count) for name, count in zip(USAGE_CLASSES, classes, strict=True) if count}
    return UsageLine(str(group), int(requests), int(read), int(written), int(nanos), known)
