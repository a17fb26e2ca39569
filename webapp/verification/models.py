"""The sums by model of keys that have, or had, limits for models: against the rows of the ledger."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.engine import Connection

from shared.models import ModelSpend, ProxyKey
from shared.periods import FIRST_DAY
from webapp.verification.values import Difference, Report

_Group = tuple[str, date, str, str]  # key id, day or all days, provider, model


@dataclass(slots=True)
class ModelSums:
    """What the sums of some keys should be, by the rows that were seen so far. A sum of nothing need not be there."""

    keys: set[str]
    expected: dict[_Group, int] = field(default_factory=lambda: defaultdict(int))

    @classmethod
    def of(cls, connection: Connection, wanted: ColumnElement[bool]) -> "ModelSums":
        """Of those of the wanted keys that have such sums."""
        query = select(ProxyKey.id).where(wanted, ProxyKey.model_limits.is_not(None))
        return cls(set(connection.scalars(query)))

    def add(self, row: Row[Any]) -> None:
        """Count a row of the ledger."""
        if row.key_id in self.keys and row.requested_model is not None:
            for day in (row.day, FIRST_DAY):
                self.expected[row.key_id, day, row.provider, row.requested_model] += row.cost_nanos

    def compare(self, connection: Connection, wanted: ColumnElement[bool], report: Report) -> None:
        """Note in the report what differs; `wanted` is of the keys whose rows were seen."""
        missing = {group: nanos for group, nanos in self.expected.items() if nanos}
        for found in connection.execute(select(ModelSpend.__table__).where(wanted)) if self.keys else ():
            group = (found.key_id, found.day, found.provider, found.model)
            missing.pop(group, None)
            if found.total_nanos != (expected := self.expected.get(group, 0)):
                report.add(_difference(group, expected, found.total_nanos))
        for group, nanos in missing.items():
            report.add(_difference(group, nanos, None))


def _difference(group: _Group, expected: int, found: int | None) -> Difference:
    key_id, day, provider, model = group
    told = None if day == FIRST_DAY else day.isoformat()
    return Difference("model", key_id, "total_nanos", expected, found, day=told, provider=provider, model=model)
