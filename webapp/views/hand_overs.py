"""Links that show a key's secret once, without the secret and without what opens them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from shared.models import HandOver
from webapp.context import NotFound
from webapp.db import db


@dataclass(frozen=True, slots=True)
class HandOverView:
    """A link that nobody has opened yet; `prefix` is that of the secret behind it."""

    id: str
    key_id: str
    prefix: str
    created_at: datetime
    created_by: str
    expires_at: datetime


def row_of(org_id: str, key_id: str, hand_over_id: str) -> HandOver:
    """The locked row, for actions. Raises NotFound, for another organisation's as well."""
    query = select(HandOver).where(HandOver.id == hand_over_id, HandOver.key_id == key_id, HandOver.org_id == org_id)
    row = db.session.scalar(query.with_for_update())
    if row is None:
        raise NotFound
    return row


def view_of(row: HandOver) -> HandOverView:
    return HandOverView(row.id, row.key_id, row.prefix, row.created_at, row.created_by, row.expires_at)
