"""Proxy keys, one or a page of them."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, literal, or_, select

from shared.db import UtcDateTime
from shared.models import ProxyKey
from webapp.context import now
from webapp.db import db
from webapp.validation import FieldError, Invalid
from webapp.views.keys import KeyView, row_of, view_of, views_of

STATUSES = ("active", "paused", "expired", "revoked")
MAX_LIMIT = 200
_NEVER_USED = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER_EXPIRES = datetime(9999, 12, 31, tzinfo=UTC)
_LONGEST_SEARCH = 80
_PREFIX_LENGTH = len("sk-proxy-") + 4

# What a list may be sorted by; a minus before the name turns it round. Ties are broken by id.
SORTS: dict[str, ColumnElement[Any]] = {
    "created_at": ProxyKey.created_at.expression,
    "name": func.lower(ProxyKey.name),
    "last_used_at": func.coalesce(ProxyKey.last_used_at, literal(_NEVER_USED, UtcDateTime())),
    "expires_at": func.coalesce(ProxyKey.expires_at, literal(_NEVER_EXPIRES, UtcDateTime())),
}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; `total` counts all that match, on every page."""

    keys: tuple[KeyView, ...]
    has_more: bool
    next_cursor: str | None
    total: int


def list_keys(
    org_id: str,
    *,
    limit: int = 50,
    cursor: str | None = None,
    status: str | None = None,
    q: str | None = None,
    sort: str = "-created_at",
) -> Page:
    """The organisation's keys. Raises Invalid for values out of bounds and for a cursor of another sort."""
    column, descending = _sorting(limit, status, q, sort)
    at = now()
    wanted = _wanted(org_id, status, q, at)
    query = select(ProxyKey, column).where(*wanted)
    if cursor:
        value, last_id = _read_cursor(cursor, sort)
        tied = and_(column == value, ProxyKey.id < last_id if descending else ProxyKey.id > last_id)
        query = query.where(or_(column < value if descending else column > value, tied))
    order = (column.desc(), ProxyKey.id.desc()) if descending else (column.asc(), ProxyKey.id.asc())
    rows = db.session.execute(query.order_by(*order).limit(limit + 1)).all()
    has_more = len(rows) > limit
    rows = rows[:limit]
    total = db.session.scalar(select(func.count()).select_from(ProxyKey).where(*wanted)) or 0
    next_cursor = _cursor(sort, rows[-1][1], rows[-1][0].id) if has_more else None
    return Page(views_of([row[0] for row in rows], at), has_more, next_cursor, total)


def get_key(org_id: str, key_id: str) -> KeyView:
    """One key. Raises NotFound, for another organisation's key as well."""
    return view_of(row_of(org_id, key_id))


def _sorting(limit: int, status: str | None, q: str | None, sort: str) -> tuple[ColumnElement[Any], bool]:
    errors = []
    if not 1 <= limit <= MAX_LIMIT:
        errors.append(FieldError("limit", f"must be from 1 to {MAX_LIMIT}"))
    if status is not None and status not in STATUSES:
        errors.append(FieldError("status", f"must be one of {', '.join(STATUSES)}"))
    if q is not None and (len(q) > _LONGEST_SEARCH or not q.isprintable()):
        errors.append(FieldError("q", f"must be at most {_LONGEST_SEARCH} printable characters"))
    column = SORTS.get(sort.removeprefix("-"))
    if column is None:
        names = ", ".join(SORTS)
        errors.append(FieldError("sort", f"must be one of {names}, with a minus before it to turn it round"))
    if errors or column is None:
        raise Invalid(*errors)
    return column, sort.startswith("-")


def _wanted(org_id: str, status: str | None, q: str | None, at: datetime) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [ProxyKey.org_id == org_id]
    if status == "revoked":
        wanted.append(ProxyKey.revoked_at.is_not(None))
    elif status == "expired":
        wanted.append(and_(ProxyKey.revoked_at.is_(None), ProxyKey.expires_at <= at))
    elif status is not None:
        wanted.append(ProxyKey.revoked_at.is_(None))
        wanted.append(or_(ProxyKey.expires_at.is_(None), ProxyKey.expires_at > at))
        wanted.append(ProxyKey.paused.is_(status == "paused"))
    if q and (text := q.strip()):
        start = text[:_PREFIX_LENGTH] if text.startswith("sk-proxy-") else text
        wanted.append(
            or_(ProxyKey.name.icontains(text, autoescape=True), ProxyKey.prefix.startswith(start, autoescape=True))
        )
    return wanted


def _cursor(sort: str, value: Any, key_id: str) -> str:
    shown = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([sort, shown, key_id]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str, sort: str) -> tuple[Any, str]:
    refusal = Invalid(FieldError("cursor", "is not one that this list gave; start without it"))
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        kind, value, key_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if kind != sort or not isinstance(key_id, str) or not isinstance(value, str):
            raise refusal
        if "\0" in key_id + value:
            raise refusal
        (key_id + value).encode()  # raises at a half of a surrogate pair, which no database takes
        return (value if sort.removeprefix("-") == "name" else datetime.fromisoformat(value).astimezone(UTC)), key_id
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise refusal from None
