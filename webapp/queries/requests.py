"""What a key asked for lately and what it was refused, newest first, page by page."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from shared.models import Refusal, UsageRecord
from webapp.db import db
from webapp.schemas.explain import RefusalQuery, RequestQuery
from webapp.views.keys import row_of
from webapp.views.requests import RefusalView, RequestView, refusal_view, request_view

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A piece of a list."""

    items: tuple[T, ...]
    next_cursor: str | None  # None: it is the last one


def requests_of_key(org_id: str, key_id: str, asked: RequestQuery) -> Page[RequestView]:
    """What of its requests was sent to a provider and has ended. Raises NotFound."""
    row_of(org_id, key_id)
    return _page(UsageRecord.key_id == key_id, UsageRecord.admitted_at, UsageRecord.id, request_view, asked)


def refusals_of_key(org_id: str, key_id: str, asked: RefusalQuery) -> Page[RefusalView]:
    """Each reason for which it was refused. Raises NotFound."""
    row_of(org_id, key_id)
    return _page(Refusal.key_id == key_id, Refusal.last_at, Refusal.reason, refusal_view, asked)


def _page(
    of_key: Any,
    at: InstrumentedAttribute[datetime],
    row_id: InstrumentedAttribute[str],
    view: Callable[[Any], T],
    asked: RequestQuery | RefusalQuery,
) -> Page[T]:
    """By time and, within a moment, by id. Not by organisation too: databases would take its index for the key's."""
    query = select(at.class_).where(of_key)
    if (place := asked.place()) is not None:
        last_at, last_id = place
        # The first of these alone is what an index can go by.
        query = query.where(at <= last_at, or_(at < last_at, and_(at == last_at, row_id < last_id)))
    rows = db.session.scalars(query.order_by(at.desc(), row_id.desc()).limit(asked.limit + 1)).all()
    shown = rows[: asked.limit]
    next_cursor = None
    if len(rows) > len(shown):
        last = shown[-1]
        next_cursor = asked.cursor_behind(getattr(last, at.key), getattr(last, row_id.key))
    return Page(tuple(view(row) for row in shown), next_cursor)
