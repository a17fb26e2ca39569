"""Proxy keys, one or a page of them."""

from dataclasses import dataclass

from sqlalchemy import func, select

from shared.models import ProxyKey
from webapp.context import now
from webapp.db import db
from webapp.queries.key_filters import filters_of
from webapp.queries.key_pages import count_up_to, find_page
from webapp.schemas.lists import KeyQuery, cursor_of
from webapp.views.calendar import zone_of
from webapp.views.keys import KeyView, row_of, view_of, views_of

COUNTED = 1_000  # beyond which a list says "more than" unless all are asked for


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `total` counts all that match, on every page; None when nobody asked."""

    keys: tuple[KeyView, ...]
    has_more: bool
    next_cursor: str | None
    total: int | None


def list_keys(org_id: str, asked: KeyQuery) -> Page:
    """A page of the organisation's keys.

    Filters that leave a few keys here and there among very many may make it shorter than it was asked to be, although
    more follow (see `key_pages`).
    """
    at = now()
    found = find_page(org_id, asked, at)
    rows, place = found.rows[: asked.limit], found.ended_at
    if len(found.rows) > asked.limit:
        place = (rows[-1][1], rows[-1][0].id)
    total = _count(org_id, asked) if asked.total else None
    next_cursor = None if place is None else cursor_of(asked.sort, *place)
    return Page(views_of([row[0] for row in rows], at), place is not None, next_cursor, total)


def count_keys(org_id: str, asked: KeyQuery) -> int:
    """How many match; one more than COUNTED stands for any number above it.

    So it does where filters leave a few keys here and there among very many, and counting them would take long.
    """
    return count_up_to(org_id, asked, now(), COUNTED + 1)


def get_key(org_id: str, key_id: str) -> KeyView:
    """One key. Raises NotFound, for another organisation's key as well."""
    return view_of(row_of(org_id, key_id))


def _count(org_id: str, asked: KeyQuery) -> int:
    wanted = (ProxyKey.org_id == org_id, *filters_of(asked, now(), zone_of(org_id)))
    return db.session.scalar(select(func.count()).select_from(ProxyKey).where(*wanted)) or 0
