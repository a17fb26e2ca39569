"""How a page of a list of keys is found: of few keys all are sorted, of many an index is walked, and not far.

A page costs the same wherever in a list it stands and however long that is. Where a filter leaves few keys and an index
knows which, those are looked up. Else the walk along the index of the list's order passes over what the filters do not
want; it ends behind SCANNED keys, and then the page is shorter than was asked for and the next one begins there. Only a
page without any key goes on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, func, literal, literal_column, null, or_, select, tuple_

from shared.models import KeySpend, ProxyKey, UnchargedKey
from shared.periods import FIRST_DAY
from webapp.db import db
from webapp.queries.key_candidates import Narrowing, few_of, has_id_of, is_one_of, narrowings
from webapp.queries.key_filters import Condition, filters_of
from webapp.schemas.lists import KeyQuery, cursor_of
from webapp.views.calendar import zone_of

SCANNED = 12_000
WALKS = 4  # of which all but the last may find nothing

# A literal, because the index of these rows alone is only used where a statement itself says that it wants no others.
_TOTAL: Condition = KeySpend.day == literal_column(f"'{FIRST_DAY.isoformat()}'")
_SPENT = and_(KeySpend.key_id == ProxyKey.id, _TOTAL)
_UNCHARGED = select(1).where(UnchargedKey.key_id == ProxyKey.id).exists()

Place = tuple[Any, str]  # the value that is sorted by, None for none, and the id


@dataclass(frozen=True, slots=True)
class Order:
    """What a list is sorted by. Keys without a value come first, or last, when it is read upwards; ties go by id."""

    column: ColumnElement[Any]
    without: ColumnElement[bool] | None = None  # how keys are told that have no value; None: all have one
    without_first: bool = False
    expression: bool = False  # of which SQLite takes no comparison of several values for a place in an index


ORDERS: dict[str, Order] = {
    "created_at": Order(ProxyKey.created_at.expression),
    "name": Order(func.lower(ProxyKey.name), expression=True),
    "last_used_at": Order(ProxyKey.last_used_at.expression, ProxyKey.last_used_at.is_(None), without_first=True),
    "expires_at": Order(ProxyKey.expires_at.expression, ProxyKey.expires_at.is_(None)),
    "spend": Order(KeySpend.total_nanos.expression, _UNCHARGED, without_first=True),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a list that is one walk along one index: keys with a value, or without, or with the same one."""

    rows: Select[Any]  # of each key, and its value
    steps: Select[Any]  # of `by` alone, from the index
    by: tuple[ColumnElement[Any], ...]  # the value and the id, or the id alone
    descending: bool
    after: tuple[Any, ...] = ()  # behind which it begins: of `by`, or the first of it alone
    value: Any = None  # of all its keys, where `by` is the id alone
    by_expression: bool = False

    def where(self, *conditions: Condition) -> "Part":
        return replace(self, rows=self.rows.where(*conditions), steps=self.steps.where(*conditions))

    def in_order(self, query: Select[Any]) -> Select[Any]:
        """From where it begins."""
        if self.after:
            query = query.where(self._beyond())
        return query.order_by(*(column.desc() if self.descending else column.asc() for column in self.by))

    def take(self, size: int) -> tuple[Sequence[Any], "Part | None"]:
        """So many steps from where it begins, fewer if it ends before; and what is behind them.

        Keys are read by another statement. In one, a database that expects few keys to be wanted would not walk at all
        but look for those first, among all there are.
        """
        steps = db.session.execute(self.in_order(self.steps).limit(size)).all()
        return steps, replace(self, after=tuple(steps[-1])) if len(steps) == size else None

    def place_of(self, step: Any) -> Place:
        return (step[0] if len(self.by) > 1 else self.value), step[-1]

    def _beyond(self) -> Condition:
        by = self.by[: len(self.after)]
        told = [literal(value, column.type) for value, column in zip(self.after, by, strict=True)]
        if len(by) > 1 and not self.by_expression:
            place, reached = tuple_(*by), tuple_(*told)
            condition: Condition = place < reached if self.descending else place > reached
            return condition
        further: Condition = by[0] < told[0] if self.descending else by[0] > told[0]
        if len(by) == 1:
            return further
        not_before: Condition = by[0] <= told[0] if self.descending else by[0] >= told[0]
        return and_(not_before, or_(further, by[1] < told[1] if self.descending else by[1] > told[1]))


@dataclass(frozen=True, slots=True)
class Found:
    """Keys with their values, one more than was asked for if there are as many; where the walk ended, if it did not."""

    rows: list[Any]
    ended_at: Place | None = None


def find_page(org_id: str, asked: KeyQuery, at: datetime) -> Found:
    """One more key than the page has, as of the moment `at`."""
    wanted, known = filters_of(asked, at, zone_of(org_id)), list(narrowings(org_id, asked, at))
    few = few_of(known)
    walked = None if few is not None else _walked(asked, known)
    for _ in range(WALKS):
        found = _page(org_id, asked, wanted, walked, few)
        if found.rows or found.ended_at is None:
            break
        asked = asked.model_copy(update={"cursor": cursor_of(asked.sort, *found.ended_at)})
    return found


def _page(
    org_id: str, asked: KeyQuery, wanted: Sequence[Condition], walked: Condition | None, few: Select[Any] | None
) -> Found:
    rows: list[Any] = []
    for part in _parts(org_id, asked, walked, few=few is not None):
        missing, ended_at = asked.limit + 1 - len(rows), None
        if few is not None:
            query = part.in_order(part.rows).where(*wanted, is_one_of(few))
            rows += db.session.execute(query.limit(missing)).all()
        elif wanted or asked.by == "spend":  # whose index has the keys of all organisations
            more, ended_at = _walk(part, org_id, wanted, missing)
            rows += more
        else:
            rows += db.session.execute(part.in_order(part.rows).limit(missing)).all()
        if len(rows) > asked.limit:
            break
        if ended_at is not None:
            return Found(rows, ended_at)
    return Found(rows)


def _walk(part: Part, org_id: str, wanted: Sequence[Condition], most: int) -> tuple[list[Any], Place | None]:
    """Up to so many keys that are wanted; and the place where the walk ended, if there may be more behind it."""
    rows: list[Any] = []
    rest, scanned, size = part, 0, min(4 * most, SCANNED)
    while True:
        steps, behind = rest.take(size)
        query = select(ProxyKey).where(has_id_of([step[-1] for step in steps]), _of(org_id), *wanted)
        keys = {key.id: key for key in db.session.scalars(query)}
        rows += [(keys[step[-1]], part.place_of(step)[0]) for step in steps if step[-1] in keys]
        scanned += size
        if len(rows) >= most or behind is None:
            return rows[:most], None
        if scanned >= SCANNED:
            return rows, part.place_of(steps[-1])
        rest, size = behind, _further(scanned, len(rows), most)


def _further(scanned: int, found: int, most: int) -> int:
    """How many steps are taken next: as many as what is missing takes if it stands as what was found, and half again.

    Too many are keys looked up for nothing, too few are statements more. Where nothing was found, as many as so far.
    """
    expected = (most - found) * scanned * 3 // (2 * found) + 1 if found else scanned
    return min(expected, 4 * scanned, SCANNED - scanned)


def count_up_to(org_id: str, asked: KeyQuery, at: datetime, most: int) -> int:
    """How many keys match; `most` also stands for more, and for a number that is not found within SCANNED keys."""
    newest = asked.model_copy(update={"sort": "-created_at", "cursor": None})
    wanted, known = filters_of(newest, at, zone_of(org_id)), list(narrowings(org_id, newest, at))
    few = few_of(known)
    (part,) = _parts(org_id, newest, None if few is not None else _walked(newest, known), few=few is not None)
    found = select(ProxyKey.id).where(*wanted)
    if few is not None:
        return _count(found.where(_of(org_id), is_one_of(few)).limit(most))
    if not wanted:
        return _count(part.steps.limit(most))
    if known and any(
        # Of those that an index has some may be enough: then nobody has to come upon them among all the others.
        _count(found.where(_of(org_id), is_one_of(piece.limit(2 * most))).limit(most)) == most
        for piece in known[0].pieces
    ):
        return most
    rest, scanned, count, size = part, 0, 0, min(2 * most, SCANNED)
    while True:
        steps, behind = rest.take(size)
        count += _count(found.where(has_id_of([step[-1] for step in steps]), _of(org_id)))
        scanned += size
        if count >= most or behind is None:
            return min(count, most)
        if scanned >= SCANNED:
            return most
        rest, size = behind, _further(scanned, count, most)


def _count(found: Select[Any]) -> int:
    return db.session.scalar(select(func.count()).select_from(found.subquery())) or 0


def _walked(asked: KeyQuery, known: Sequence[Narrowing]) -> Condition | None:
    """What makes the walk shorter: a filter whose index is in the order of the list."""
    if asked.by != "created_at":
        return None
    return next((narrowing.by_creation for narrowing in known if narrowing.by_creation is not None), None)


def _parts(org_id: str, asked: KeyQuery, walked: Condition | None, *, few: bool) -> Iterator[Part]:
    """The list from its cursor on: keys with a value and keys without, in their order.

    Each is one walk along an index, which `column < x or column is null` would not be. With `few` nothing is walked,
    and nothing is to look to a database as if it should be.
    """
    order, place = ORDERS[asked.by], asked.place()
    valued = [True]
    if order.without is not None:
        valued = [False, True] if order.without_first != asked.descending else [True, False]
    if place is not None:
        valued = valued[valued.index(place[0] is not None) :]
    for number, has_value in enumerate(valued):
        after = place if number == 0 else None
        if not has_value:
            part = _without_value(org_id, asked, order, few=few)
            yield part if after is None else replace(part, after=after[1:])
            continue
        part = _with_value(org_id, asked, order, few=few)
        if walked is not None:
            part = part.where(walked)
        if after is None:
            yield part
        elif order.expression:
            same = part.where(part.by[0] == literal(after[0], part.by[0].type))
            steps = same.steps.with_only_columns(part.by[1])
            yield replace(same, steps=steps, by=part.by[1:], after=after[1:], value=after[0], by_expression=False)
            yield replace(part, after=after[:1])
        else:
            yield replace(part, after=after)


def _with_value(org_id: str, asked: KeyQuery, order: Order, *, few: bool) -> Part:
    key_id: ColumnElement[Any] = ProxyKey.id.expression
    if asked.by == "spend":
        # As a sum no index has it.
        column, of_spend = (order.column + 0, key_id) if few else (order.column, KeySpend.key_id.expression)
        rows = select(ProxyKey, column).join(KeySpend, _SPENT).where(_of(org_id))
        return Part(rows, select(column, of_spend).where(_TOTAL), (column, of_spend), asked.descending)
    by = (order.column, key_id)
    part = Part(select(ProxyKey, order.column), select(*by), by, asked.descending, by_expression=order.expression)
    part = part.where(_of(org_id) if few else ProxyKey.org_id == org_id)
    return part if order.without is None else part.where(~order.without)


def _without_value(org_id: str, asked: KeyQuery, order: Order, *, few: bool) -> Part:
    no_value: ColumnElement[Any] = null()
    rows = select(ProxyKey, no_value)
    if asked.by == "spend" and not few:
        by = (UnchargedKey.key_id.expression,)
        rows = rows.join(UnchargedKey, UnchargedKey.key_id == ProxyKey.id)
        return Part(rows, select(*by), by, asked.descending).where(UnchargedKey.org_id == org_id)
    key_id: ColumnElement[Any] = ProxyKey.id.expression
    part = Part(rows, select(key_id), (key_id,), asked.descending)
    without: Condition = false() if order.without is None else order.without
    return part.where(_of(org_id) if few else ProxyKey.org_id == org_id, without)


def _of(org_id: str) -> Condition:
    """The organisation, as no index has it: so that no database begins with all keys of it, to sort them."""
    return ProxyKey.org_id.concat("") == org_id
