"""The sums of organisations, which triggers keep, against the sums of their keys: by model, by label, and by tag.

One organisation and one day at a time, each read at one moment: both are written by the same transaction.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, Select, func, literal, select, tuple_
from sqlalchemy.engine import Connection

from shared.models import (
    USAGE_CLASSES,
    KeyTag,
    LabelUsage,
    OrganizationLabels,
    OrganizationUsage,
    TagUsage,
    UsageDaily,
)
from webapp.verification.values import Difference, Kind, Report

SUMS = ("requests", "input_tokens", "output_tokens", "cost_nanos", *USAGE_CLASSES)

Kept = type[OrganizationUsage | OrganizationLabels | TagUsage]
Source = type[UsageDaily | LabelUsage]
Sums = dict[tuple[str, ...], tuple[int, ...]]  # by what they are of


class Comparison(NamedTuple):
    """Of a table that triggers keep with what it is made of."""

    kind: Kind
    kept: Kept
    source: Source
    words: tuple[str, ...]  # columns that tell sums of a day apart

    def expected(self, connection: Connection, org_id: str, day: date) -> Sums:
        """What the sums of keys add up to."""
        within = (self.source.org_id == org_id, self.source.day == day)
        if self.kept is not TagUsage:
            words = [getattr(self.source, word) for word in self.words]
            return _read(connection, _summed(self.source, words).where(*within))
        by_tag = _summed(self.source, [KeyTag.tag]).join(KeyTag, KeyTag.key_id == UsageDaily.key_id)
        tagged = select(KeyTag.key_id).where(KeyTag.key_id == UsageDaily.key_id).exists()
        of_all = _summed(self.source, [literal("")]).where(tagged)
        return _read(connection, by_tag.where(*within)) | _read(connection, of_all.where(*within))

    def found(self, connection: Connection, org_id: str, day: date) -> Sums:
        """What stands there."""
        query = _summed(self.kept, [getattr(self.kept, word) for word in self.words])
        return _read(connection, query.where(self.kept.org_id == org_id, self.kept.day == day))


COMPARISONS = (
    Comparison("organization", OrganizationUsage, UsageDaily, ("provider", "model")),
    Comparison("organization_label", OrganizationLabels, LabelUsage, ("label",)),
    Comparison("tag", TagUsage, UsageDaily, ("tag",)),
)


def verify_organizations(engine: Engine, report: Report) -> None:
    """Note in the report what differs."""
    snapshot = "SERIALIZABLE" if engine.dialect.name == "sqlite" else "REPEATABLE READ"
    tables = {table for one in COMPARISONS for table in (one.kept, one.source)}
    with engine.connect() as connection:
        days = {place for table in tables for place in _days(connection, table)}
    for org_id, day in sorted(days):
        report.organization_days += 1
        with engine.connect().execution_options(isolation_level=snapshot) as connection:
            for one in COMPARISONS:
                _compare(connection, one, org_id, day, report)


def _days(connection: Connection, table: Kept | Source) -> Iterator[tuple[str, date]]:
    """Each organisation and day that there is anything of: from one to the next along an index, not row by row."""
    place = tuple_(table.org_id, table.day)
    query = select(table.org_id, table.day).order_by(table.org_id, table.day).limit(1)
    found = connection.execute(query).one_or_none()
    while found is not None:
        org_id, day = found
        yield org_id, day
        behind = tuple_(literal(org_id), literal(day, table.day.type))
        found = connection.execute(query.where(place > behind)).one_or_none()


def _compare(connection: Connection, one: Comparison, org_id: str, day: date, report: Report) -> None:
    expected, found = one.expected(connection, org_id, day), one.found(connection, org_id, day)
    for words in sorted(expected.keys() | found.keys()):
        should, is_ = expected.get(words), found.get(words)
        if should is None and one.kept is TagUsage and not any(is_ or ()):
            continue  # what is left of a tag that no key has any more
        for position, field in enumerate(SUMS):
            right = 0 if should is None else should[position]
            told = None if is_ is None else is_[position]
            if told != right:
                of = {"org_id": org_id, "day": day.isoformat(), **dict(zip(one.words, words, strict=True))}
                report.add(Difference(one.kind, None, field, right, told, **of))
            if told is None:
                break  # one line says that there is none at all


def _summed(table: Kept | Source, words: Sequence[ColumnElement[Any] | Any]) -> Select[Any]:
    return select(*words, *(func.sum(getattr(table, name)) for name in SUMS)).group_by(*words)


def _read(connection: Connection, query: Select[Any]) -> Sums:
    rows = connection.execute(query).all()
    return {tuple(row[: -len(SUMS)]): tuple(int(count) for count in row[-len(SUMS) :]) for row in rows}
