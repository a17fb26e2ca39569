"""Proxy keys as people and automation see them: with their state, and what they have spent."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, literal, or_, select

from shared import money
from shared.db import UtcDateTime
from shared.models import ProxyKey
from webapp.actions import NotFound, now
from webapp.db import db
from webapp.queries.spend import SpendView, spend_of
from webapp.validation import FieldError, Invalid, to_json_moment

STATUSES = ("active", "expired", "revoked")
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
class KeyView:
    """A proxy key. Moments are in UTC, `spend_limit_usd` is a decimal string."""

    id: str
    name: str
    prefix: str
    status: str
    allowed_providers: tuple[str, ...]
    allowed_models: tuple[str, ...]
    allowed_ips: tuple[str, ...]
    rate_limit_rpm: int | None
    spend_limit_usd: str | None
    spend_limit_nanos: int | None
    spend_reset: str
    expires_at: datetime | None
    created_at: datetime
    created_by: str
    last_used_at: datetime | None
    revoked_at: datetime | None
    version: int
    spend: SpendView

    @property
    def etag(self) -> str:
        """The value of ETag and If-Match, without quotes."""
        return f"v{self.version}"

    def as_json(self) -> dict[str, Any]:
        """The key object of the management API."""
        return {
            "id": self.id,
            "name": self.name,
            "prefix": self.prefix,
            "status": self.status,
            "allowed_providers": list(self.allowed_providers),
            "allowed_models": list(self.allowed_models),
            "allowed_ips": list(self.allowed_ips),
            "rate_limit_rpm": self.rate_limit_rpm,
            "spend_limit_usd": self.spend_limit_usd,
            "spend_reset": self.spend_reset,
            "expires_at": to_json_moment(self.expires_at),
            "created_at": to_json_moment(self.created_at),
            "created_by": self.created_by,
            "last_used_at": to_json_moment(self.last_used_at),
            "revoked_at": to_json_moment(self.revoked_at),
            "spend": {
                "spent_usd": self.spend.spent_usd,
                "held_usd": self.spend.held_usd,
                "remaining_usd": self.spend.remaining_usd,
                "period_start": to_json_moment(self.spend.period_start),
                "resets_at": to_json_moment(self.spend.resets_at),
                "lifetime_usd": self.spend.lifetime_usd,
            },
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


def row_of(org_id: str, key_id: str, *, lock: bool = False) -> ProxyKey:
    """The row, for actions and queries; `lock` keeps other writers off until the transaction ends."""
    query = select(ProxyKey).where(ProxyKey.id == key_id, ProxyKey.org_id == org_id)
    row = db.session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound
    return row


def view_of(row: ProxyKey) -> KeyView:
    """The view of one row, with its spend."""
    return views_of([row], now())[0]


def views_of(rows: Sequence[ProxyKey], at: datetime) -> tuple[KeyView, ...]:
    """Views of rows, in their order, with their spend as of `at`."""
    spend = spend_of(rows, at)
    return tuple(
        KeyView(
            id=row.id,
            name=row.name,
            prefix=row.prefix,
            status=row.status(at),
            allowed_providers=tuple(row.allowed_providers),
            allowed_models=tuple(row.allowed_models),
            allowed_ips=tuple(row.allowed_ips),
            rate_limit_rpm=row.rate_limit_rpm,
            spend_limit_usd=None if row.spend_limit_nanos is None else money.to_usd(row.spend_limit_nanos),
            spend_limit_nanos=row.spend_limit_nanos,
            spend_reset=row.spend_reset,
            expires_at=row.expires_at,
            created_at=row.created_at,
            created_by=row.created_by,
            last_used_at=row.last_used_at,
            revoked_at=row.revoked_at,
            version=row.version,
            spend=spend[row.id],
        )
        for row in rows
    )


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
    elif status == "active":
        wanted.append(ProxyKey.revoked_at.is_(None))
        wanted.append(or_(ProxyKey.expires_at.is_(None), ProxyKey.expires_at > at))
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
        return (value if sort.removeprefix("-") == "name" else datetime.fromisoformat(value).astimezone(UTC)), key_id
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise refusal from None
