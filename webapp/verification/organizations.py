"""The sums of organisations, which triggers keep, against the daily sums of their keys.

One organisation and one day at a time, each read at one moment: both are written by the same statement.
"""

from collections.abc import Iterator
from datetime import date

from sqlalchemy import Engine, func, literal, select, tuple_
from sqlalchemy.engine import Connection

from shared.models import USAGE_CLASSES, OrganizationUsage, UsageDaily
from webapp.verification.values import Difference, Report

SUMS = ("requests", "input_tokens", "output_tokens", "cost_nanos", *USAGE_CLASSES)

Table = type[OrganizationUsage] | type[UsageDaily]
Sums = dict[tuple[str, str], tuple[int, ...]]  # by provider and model


def verify_organizations(engine: Engine, report: Report) -> None:
    """Note in the report what differs."""
    snapshot = "SERIALIZABLE" if engine.dialect.name == "sqlite" else "REPEATABLE READ"
    with engine.connect() as connection:
        days = {place for table in (OrganizationUsage, UsageDaily) for place in _days(connection, table)}
    for org_id, day in sorted(days):
        with engine.connect().execution_options(isolation_level=snapshot) as connection:
            _compare(connection, org_id, day, report)


def _days(connection: Connection, table: Table) -> Iterator[tuple[str, date]]:
    """Each organisation and day that there is anything of: from one to the next along an index, not row by row."""
    place = tuple_(table.org_id, table.day)
    query = select(table.org_id, table.day).order_by(table.org_id, table.day).limit(1)
    found = connection.execute(query).one_or_none()
    while found is not None:
        org_id, day = found
        yield org_id, day
        behind = tuple_(literal(org_id), literal(day, table.day.type))
        found = connection.execute(query.where(place > behind)).one_or_none()


def _compare(connection: Connection, org_id: str, day: date, report: Report) -> None:
    report.organization_days += 1
    expected, found = (_sums(connection, table, org_id, day) for table in (UsageDaily, OrganizationUsage))
    for provider, model in sorted(expected.keys() | found.keys()):
        should, is_ = (sums.get((provider, model)) for sums in (expected, found))
        for position, field in enumerate(SUMS):
            right = 0 if should is None else should[position]
            told = None if is_ is None else is_[position]
            if told != right:
                of = {"org_id": org_id, "day": day.isoformat(), "provider": provider, "model": model}
                report.add(Difference("organization", None, field, right, told, **of))
            if told is None:
                break  # one line says that there is none at all


def _sums(connection: Connection, table: Table, org_id: str, day: date) -> Sums:
    sums = [func.sum(getattr(table, name)) for name in SUMS]
    query = select(table.provider, table.model, *sums).where(table.org_id == org_id, table.day == day)
    rows = connection.execute(query.group_by(table.provider, table.model))
    return {(provider, model): tuple(int(count) for count in counts) for provider, model, *counts in rows}
