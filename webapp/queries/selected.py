"""The keys that somebody has picked from a list."""

from collections.abc import Sequence

from sqlalchemy import select

from shared.models import ProxyKey
from webapp.context import now
from webapp.db import db
from webapp.views.keys import KeyView, views_of


def keys_of(org_id: str, key_ids: Sequence[str]) -> tuple[KeyView, ...]:
    """Those of them that the organisation has, in the order in which they are named."""
    place = {key_id: number for number, key_id in enumerate(key_ids)}
    named = [key_id for key_id in place if key_id.isascii() and key_id.isprintable()]
    rows = db.session.scalars(select(ProxyKey).where(ProxyKey.org_id == org_id, ProxyKey.id.in_(named))).all()
    return views_of(sorted(rows, key=lambda row: place[row.id]), now())
