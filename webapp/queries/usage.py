"""What was used, from the ledger's daily sums."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute

from shared import money
from shared.models import UsageDaily
from webapp.db import db
from webapp.queries.keys import get_key

GROUP_COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "day": UsageDaily.day,
    "key": UsageDaily.key_id,
    "provider": UsageDaily.provider,
    "model": UsageDaily.model,
}


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Sums of one group; `group` is its day, key id, provider or model."""

    group: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int

    @property
    def cost_usd(self) -> str:
        return money.to_usd(self.cost_nanos)


@dataclass(frozen=True, slots=True)
class UsageTable:
    """Usage from `first` to `last`, both included, in UTC days, and the sum of its lines."""

    first: date
    last: date
    group_by: str
    lines: tuple[UsageLine, ...]
    total: UsageLine


def usage_of_key(org_id: str, key_id: str, from_: date, to: date, group_by: str = "day") -> UsageTable:
    """What one key used. Raises NotFound, for another organisation's key as well."""
    get_key(org_id, key_id)
    group = GROUP_COLUMNS[group_by]
    sums = [
        func.sum(column)
        for column in (UsageDaily.requests, UsageDaily.input_tokens, UsageDaily.output_tokens, UsageDaily.cost_nanos)
    ]
    query = (
        select(group, *sums)
        .where(UsageDaily.key_id == key_id, UsageDaily.day >= from_, UsageDaily.day <= to)
        .group_by(group)
        .order_by(group)
    )
    lines = tuple(
        UsageLine(str(name), int(requests), int(read), int(written), int(nanos))
        for name, requests, read, written, nanos in db.session.execute(query)
    )
    total = UsageLine(
        "total",
        sum(line.requests for line in lines),
        sum(line.input_tokens for line in lines),
        sum(line.output_tokens for line in lines),
        sum(line.cost_nanos for line in lines),
    )
    return UsageTable(from_, to, group_by, lines, total)
