"""Proxy keys, one or a page of them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, literal, or_, select

from shared.db import UtcDateTime
from shared.keys import PROXY_TAG, digest, looks_like_ours
from shared.models import KeySecret, ProxyKey
from webapp.context import now
from webapp.db import db
from webapp.schemas.lists import KeyQuery, cursor_of
from webapp.views.keys import KeyView, row_of, view_of, views_of

_NEVER_USED = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER_EXPIRES = datetime(9999, 12, 31, tzinfo=UTC)
_PREFIX_LENGTH = len("sk-proxy-") + 4

# What a list may be sorted by; a minus before the name turns it round. Ties are broken by id.
SORT_COLUMNS: dict[str, ColumnElement[Any]] = {
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


def list_keys(org_id: str, asked: KeyQuery) -> Page:
    """A page of the organisation's keys."""
    column, descending = SORT_COLUMNS[asked.sort.removeprefix("-")], asked.sort.startswith("-")
    at = now()
    wanted = _wanted(org_id, asked, at)
    query = select(ProxyKey, column).where(*wanted)
    if (place := asked.place()) is not None:
        value, last_id = place
        tied = and_(column == value, ProxyKey.id < last_id if descending else ProxyKey.id > last_id)
        query = query.where(or_(column < value if descending else column > value, tied))
    order = (column.desc(), ProxyKey.id.desc()) if descending else (column.asc(), ProxyKey.id.asc())
    rows = db.session.execute(query.order_by(*order).limit(asked.limit + 1)).all()
    has_more = len(rows) > asked.limit
    rows = rows[: asked.limit]
    total = db.session.scalar(select(func.count()).select_from(ProxyKey).where(*wanted)) or 0
    next_cursor = cursor_of(asked.sort, rows[-1][1], rows[-1][0].id) if has_more else None
    return Page(views_of([row[0] for row in rows], at), has_more, next_cursor, total)


def get_key(org_id: str, key_id: str) -> KeyView:
    """One key. Raises NotFound, for another organisation's key as well."""
    return view_of(row_of(org_id, key_id))


def _wanted(org_id: str, asked: KeyQuery, at: datetime) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [ProxyKey.org_id == org_id]
    status = asked.status
    if status == "revoked":
        wanted.append(ProxyKey.revoked_at.is_not(None))
    elif status == "expired":
        wanted.append(and_(ProxyKey.revoked_at.is_(None), ProxyKey.expires_at <= at))
    elif status is not None:
        wanted.append(ProxyKey.revoked_at.is_(None))
        wanted.append(or_(ProxyKey.expires_at.is_(None), ProxyKey.expires_at > at))
        wanted.append(ProxyKey.paused.is_(status == "paused"))
    if asked.q and (text := asked.q.strip()):
        if looks_like_ours(text.encode("utf-8", "surrogatepass"), PROXY_TAG):
            opened = select(KeySecret.key_id).where(KeySecret.digest == digest(text.encode()))
            return [*wanted, ProxyKey.id.in_(opened)]
        start = text[:_PREFIX_LENGTH] if text.startswith("sk-proxy-") else text
        wanted.append(
            or_(ProxyKey.name.icontains(text, autoescape=True), ProxyKey.prefix.startswith(start, autoescape=True))
        )
    return wanted
