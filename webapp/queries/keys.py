"""Proxy keys, one or a page of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, func, literal, literal_column, null, select, tuple_

from shared.models import KeySpend, ProxyKey
from shared.periods import FIRST_DAY
from webapp.context import now
from webapp.db import db
from webapp.queries.key_filters import filters_of
from webapp.schemas.lists import KeyQuery, cursor_of
from webapp.views.keys import KeyView, row_of, view_of, views_of

COUNTED = 1_000  # beyond which a list says "more than" unless all are asked for

# A literal, because the index of these rows alone is only used where a statement itself says that it wants no others.
_SPENT = and_(KeySpend.key_id == ProxyKey.id, KeySpend.day == literal_column(f"'{FIRST_DAY.isoformat()}'"))


@dataclass(frozen=True, slots=True)
class Order:
    """What a list is sorted by. Keys without a value come first, or last, when it is read upwards; ties go by id."""

    column: ColumnElement[Any]
    without: ColumnElement[bool] | None = None  # how keys are told that have no value; None: all have one
    without_first: bool = False


ORDERS: dict[str, Order] = {
    "created_at": Order(ProxyKey.created_at.expression),
    "name": Order(func.lower(ProxyKey.name)),
    "last_used_at": Order(ProxyKey.last_used_at.expression, ProxyKey.last_used_at.is_(None), without_first=True),
    "expires_at": Order(ProxyKey.expires_at.expression, ProxyKey.expires_at.is_(None)),
    "spend": Order(KeySpend.total_nanos.expression, ~select(1).where(_SPENT).exists(), without_first=True),
}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `total` counts all that match, on every page; None when nobody asked."""

    keys: tuple[KeyView, ...]
    has_more: bool
    next_cursor: str | None
    total: int | None


def list_keys(org_id: str, asked: KeyQuery) -> Page:
    """A page of the organisation's keys.

    It begins at a place in an index and reads no further than it has to: as far as the order goes, a page of a
    million keys costs what one of a hundred does.
    """
    at = now()
    wanted = filters_of(asked, at)
    rows: list[Any] = []
    for query in _parts(org_id, asked):
        rows += db.session.execute(query.where(*wanted).limit(asked.limit + 1 - len(rows))).all()
        if len(rows) > asked.limit:
            break
    has_more = len(rows) > asked.limit
    rows = rows[: asked.limit]
    next_cursor = cursor_of(asked.sort, rows[-1][1], rows[-1][0].id) if has_more else None
    total = _count([ProxyKey.org_id == org_id, *wanted]) if asked.total else None
    return Page(views_of([row[0] for row in rows], at), has_more, next_cursor, total)


def count_keys(org_id: str, asked: KeyQuery) -> int:
    """How many match; one more than COUNTED stands for any number above it."""
    found = select(ProxyKey.id).where(ProxyKey.org_id == org_id, *filters_of(asked, now()))
    some = found.limit(COUNTED + 1).subquery()
    return db.session.scalar(select(func.count()).select_from(some)) or 0


def get_key(org_id: str, key_id: str) -> KeyView:
    """One key. Raises NotFound, for another organisation's key as well."""
    return view_of(row_of(org_id, key_id))


def _parts(org_id: str, asked: KeyQuery) -> Iterator[Select[Any]]:
    """The list from its cursor on, in one piece or in two: keys with a value, and keys without.

    Each is one walk along an index, which `column < x or column is null` would not be.
    """
    order, place = ORDERS[asked.by], asked.place()
    valued = [True]
    if order.without is not None:
        valued = [False, True] if order.without_first != asked.descending else [True, False]
    if place is not None:
        valued = valued[valued.index(place[0] is not None) :]
    for number, has_value in enumerate(valued):
        yield _part(org_id, asked, order, has_value=has_value, after=place if number == 0 else None)


def _part(org_id: str, asked: KeyQuery, order: Order, *, has_value: bool, after: tuple[Any, str] | None) -> Select[Any]:
    """Keys with a value, or without, behind a place."""
    organization: ColumnElement[str] = ProxyKey.org_id.expression
    if has_value:
        query = select(ProxyKey, order.column)
        by: tuple[ColumnElement[Any], ...] = (order.column, ProxyKey.id.expression)
        if asked.by == "spend":
            query, by = query.join(KeySpend, _SPENT), (order.column, KeySpend.key_id.expression)
            # No index has this, so that no database begins with the organisation's keys, to sort all of them.
            organization = ProxyKey.org_id.concat("")
        elif order.without is not None:
            query = query.where(~order.without)
    else:
        without = false() if order.without is None else order.without
        query, by = select(ProxyKey, null()).where(without), (ProxyKey.id.expression,)
    if after is not None:
        told = [literal(value, column.type) for value, column in zip(after[-len(by) :], by, strict=True)]
        place, reached = (tuple_(*by), tuple_(*told)) if len(by) > 1 else (by[0], told[0])
        query = query.where(place < reached if asked.descending else place > reached)
    return query.where(organization == org_id).order_by(
        *(column.desc() if asked.descending else column.asc() for column in by)
    )


def _count(wanted: Sequence[ColumnElement[bool]]) -> int:
    return db.session.scalar(select(func.count()).select_from(ProxyKey).where(*wanted)) or 0
