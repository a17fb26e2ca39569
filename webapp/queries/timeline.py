"""Lists by time, the newest first, of tables that are too long to be read.

They come page by page, and no page looks through more than a bounded number of rows. Where no index has what is asked
for, a page may end before it is full: then it tells from where to look on. So the longest list costs what a short one
does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, func, literal, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from webapp.db import db

MOST_LOOKED_AT = 10_000  # rows for one page
COUNTED = 1_000
_LEAST = " "
Row_co = TypeVar("Row_co", covariant=True)
Place = tuple[datetime, *tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Stretch(Generic[Row_co]):
    """A piece of a list. `place` is where the next one begins; None: this is the last.

    `cut_short` says that it ended because it had looked through enough: there may be more, or nothing, behind it.
    `total` counts all of the list, where an index tells it and somebody asked; beyond COUNTED it says COUNTED + 1.
    """

    rows: tuple[Row_co, ...]
    place: Place | None
    cut_short: bool = False
    total: int | None = None


def stretch(
    order: Sequence[InstrumentedAttribute[Any]],
    indexed: Sequence[ColumnElement[bool]],
    wanted: Sequence[ColumnElement[bool]],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    behind: Place | None = None,
    limit: int,
    count: bool = False,
) -> Stretch[Any]:
    """Rows from `since` to before `until`, after the place `behind`.

    `order` is a moment, and what tells rows of one moment apart. Some index begins with the columns that `indexed`
    compares, and goes on with the moment; each row that it leads to is looked at for what is `wanted` besides.
    """
    at = order[0]
    within = list(indexed) if until is None else [*indexed, at < until]
    lowest = [] if since is None else [at >= since]
    total = _count(at, within + lowest) if count and not wanted else None
    found = select(at.class_).where(*within, *wanted)
    if behind is not None:
        told = [literal(value, column.type) for value, column in zip(behind, order, strict=True)]
        found = found.where(tuple_(*order) < tuple_(*told))
        # Where a page was cut short, all of that moment were looked at: else many of one moment would end every page.
        within.append(at < behind[0] if _LEAST in behind[1:] else at <= behind[0])
    floor = _floor(at, within + lowest) if wanted else None
    # One or the other: of two SQLite would take the first to the index, and read all that the second leaves out.
    found = found.where(*lowest) if floor is None else found.where(at >= floor)
    rows = db.session.scalars(found.order_by(*(column.desc() for column in order)).limit(limit + 1)).all()
    if len(rows) > limit:
        last = rows[limit - 1]
        place: Place = (getattr(last, at.key), *(getattr(last, column.key) for column in order[1:]))
        return Stretch(tuple(rows[:limit]), place, total=total)
    if floor is not None:
        # No row has so little for an id.
        return Stretch(tuple(rows), (floor, *(_LEAST for _ in order[1:])), cut_short=True)
    return Stretch(tuple(rows), None, total=total)


def _floor(at: InstrumentedAttribute[datetime], within: Sequence[ColumnElement[bool]]) -> datetime | None:
    """How far back as many rows reach as may be looked at, by the index alone; None: there are not so many."""
    deep = select(at).where(*within).order_by(at.desc()).offset(MOST_LOOKED_AT).limit(1)
    return db.session.scalar(deep)


def _count(at: InstrumentedAttribute[datetime], within: Sequence[ColumnElement[bool]]) -> int:
    some = select(at).where(*within).limit(COUNTED + 1).subquery()
    return db.session.scalar(select(func.count()).select_from(some)) or 0
