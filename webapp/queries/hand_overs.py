"""Which links to secrets wait, and what the link is about that somebody holds."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from shared.keys import digest
from shared.models import HandOver, ProxyKey
from webapp.context import now
from webapp.db import db
from webapp.views.hand_overs import HandOverView, view_of
from webapp.views.keys import row_of


@dataclass(frozen=True, slots=True)
class Offer:
    """What whoever holds a link is told before they ask for the secret."""

    org_id: str
    key_name: str
    prefix: str
    expires_at: datetime


def list_hand_overs(org_id: str, key_id: str) -> tuple[HandOverView, ...]:
    """Those of a key that can still be opened. Raises NotFound."""
    row_of(org_id, key_id)
    query = select(HandOver).where(HandOver.key_id == key_id, HandOver.expires_at > now())
    return tuple(view_of(row) for row in db.session.scalars(query.order_by(HandOver.created_at)))


def find_offer(token: str) -> Offer | None:
    """What a link leads to; None when it was opened or ended, has lapsed, or never was."""
    query = (
        select(HandOver.org_id, ProxyKey.name, HandOver.prefix, HandOver.expires_at)
        .join(ProxyKey, ProxyKey.id == HandOver.key_id)
        .where(HandOver.digest == digest(token.encode("utf-8", "surrogatepass")), HandOver.expires_at > now())
    )
    row = db.session.execute(query).one_or_none()
    return None if row is None else Offer(*row)
