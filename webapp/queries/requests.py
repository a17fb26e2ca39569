"""What a key asked for lately and what it was refused, newest first, page by page."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from shared.models import Refusal, UsageRecord
from webapp.db import db
from webapp.queries import cursor as cursors
from webapp.validation import FieldError, Invalid
from webapp.views.keys import row_of
from webapp.views.requests import RefusalView, RequestView, refusal_view, request_view

MAX_LIMIT = 200
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A piece of a list."""

    items: tuple[T, ...]
    next_cursor: str | None  # None: it is the last one


def requests_of_key(org_id: str, key_id: str, *, limit: int = 50, cursor: str | None = None) -> Page[RequestView]:
    """What of its requests was sent to a provider and has ended. Raises NotFound, and Invalid for limit and cursor."""
    row_of(org_id, key_id)
    of_key = UsageRecord.key_id == key_id
    return _page(of_key, UsageRecord.admitted_at, UsageRecord.id, request_view, "requests", limit, cursor)


def refusals_of_key(org_id: str, key_id: str, *, limit: int = 50, cursor: str | None = None) -> Page[RefusalView]:
    """Each reason for which it was refused. Raises NotFound, and Invalid for limit and cursor."""
    row_of(org_id, key_id)
    return _page(Refusal.key_id == key_id, Refusal.last_at, Refusal.reason, refusal_view, "refusals", limit, cursor)


def _page(
    of_key: Any,
    at: InstrumentedAttribute[datetime],
    row_id: InstrumentedAttribute[str],
    view: Callable[[Any], T],
    kind: str,
    limit: int,
    cursor: str | None,
) -> Page[T]:
    """By time and, within a moment, by id. Not by organisation too: databases would take its index for the key's."""
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid(FieldError("limit", f"must be from 1 to {MAX_LIMIT}"))
    query = select(at.class_).where(of_key)
    if cursor is not None:
        value, last_id = cursors.decode(kind, cursor)
        try:
            last_at = datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            raise cursors.foreign() from None
        # The first of these alone is what an index can go by.
        query = query.where(at <= last_at, or_(at < last_at, and_(at == last_at, row_id < last_id)))
    rows = db.session.scalars(query.order_by(at.desc(), row_id.desc()).limit(limit + 1)).all()
    shown, more = rows[:limit], len(rows) > limit
    next_cursor = None
    if more:
        last = shown[-1]
        next_cursor = cursors.encode(kind, getattr(last, at.key).isoformat(), getattr(last, row_id.key))
    return Page(tuple(view(row) for row in shown), next_cursor)
