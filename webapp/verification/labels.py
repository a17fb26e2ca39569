"""The sums by label against the rows of the ledger that have one."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.engine import Connection

from shared.models import LabelUsage
from webapp.verification.values import Difference, Report

_SUMS = ("requests", "input_tokens", "output_tokens", "cost_nanos")
_Group = tuple[str, date, str]  # key id, day, label


@dataclass(slots=True)
class LabelSums:
    """What the sums of some keys should be, by the rows that were seen so far."""

    expected: dict[_Group, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0, 0]))

    def add(self, row: Row[Any], counts: tuple[int, ...]) -> None:
        """Count a row of the ledger, in the order of the sums."""
        if row.label is not None:
            group = self.expected[row.key_id, row.day, row.label]
            for position, count in enumerate(counts):
                group[position] += count

    def compare(self, connection: Connection, wanted: ColumnElement[bool], report: Report) -> None:
        """Note in the report what differs; `wanted` is of the keys whose rows were seen."""
        missing = dict(self.expected)
        for found in connection.execute(select(LabelUsage.__table__).where(wanted)):
            group = (found.key_id, found.day, found.label)
            for name, count in zip(_SUMS, missing.pop(group, [0, 0, 0, 0]), strict=True):
                if getattr(found, name) != count:
                    report.add(_difference(group, name, count, getattr(found, name)))
        for group, counts in missing.items():
            report.add(_difference(group, "requests", counts[0], None))


def _difference(group: _Group, name: str, expected: int, found: int | None) -> Difference:
    key_id, day, label = group
    return Difference("label", key_id, name, expected, found, day=day.isoformat(), label=label)
