"""What was used, from the ledger's daily sums: of one key, or of an organisation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

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


Sums = type[UsageDaily] | type[OrganizationUsage]


def usage_of_key(org_id: str, key_id: str, first: date, last: date, group_by: str = "day") -> UsageTable:
    """What one key used. Raises NotFound, for another organisation's key as well."""
    get_key(org_id, key_id)
    return _table(UsageDaily, UsageDaily.key_id == key_id, first, last, group_by)


def usage_of_organization(org_id: str, first: date, last: date, group_by: str = "day") -> UsageTable:
    """What all keys of an organisation used; by key, the dearest 10,000 of them, in that order."""
    if group_by != "key":
        return _table(OrganizationUsage, OrganizationUsage.org_id == org_id, first, last, group_by)
    whole = _table(OrganizationUsage, OrganizationUsage.org_id == org_id, first, last, "day")
    days = (UsageDaily.org_id == org_id, UsageDaily.day >= first, UsageDaily.day <= last)
    sums = _sums(UsageDaily)
    dearest = select(UsageDaily.key_id, *sums).where(*days).group_by(UsageDaily.key_id)
    ordered = dearest.order_by(func.sum(UsageDaily.cost_nanos).desc(), UsageDaily.key_id).limit(MOST_KEYS)
    return UsageTable(first, last, "key", tuple(_line(*row) for row in db.session.execute(ordered)), whole.total)


def _table(sums: Sums, wanted: ColumnElement[bool], first: date, last: date, group_by: str) -> UsageTable:
    group: InstrumentedAttribute[Any] = getattr(sums, "key_id" if group_by == "key" else group_by)
    query = select(group, *_sums(sums)).where(wanted, sums.day >= first, sums.day <= last)
    lines = tuple(_line(*row) for row in db.session.execute(query.group_by(group).order_by(group)))
    counts = [sum(getattr(line, name) for line in lines) for name in _COUNTS]
    classes = [sum(line.classes.get(name, 0) for line in lines) for name in USAGE_CLASSES]
    return UsageTable(first, last, group_by, lines, _line("total", *counts, *classes))


def _sums(sums: Sums) -> list[ColumnElement[Any]]:
    return [func.sum(getattr(sums, name)) for name in (*_COUNTS, *USAGE_CLASSES)]


def _line(group: object, requests: int, read: int, written: int, nanos: int, *classes: int) -> UsageLine:
    known = {name: int(count) for name, count in zip(USAGE_CLASSES, classes, strict=True) if count}
    return UsageLine(str(group), int(requests), int(read), int(written), int(nanos), known)
