"""Where somebody is logged in."""

from datetime import datetime

from sqlalchemy import select

from shared.models import UserSession
from webapp.db import db
from webapp.views.sessions import SessionView, view_of


def list_sessions(user_id: str, current_digest: str, *, seen_since: datetime) -> tuple[SessionView, ...]:
    """Somebody's sessions that are still good, the one used last first."""
    query = select(UserSession).where(UserSession.user_id == user_id, UserSession.seen_at >= seen_since)
    rows = db.session.scalars(query.order_by(UserSession.seen_at.desc(), UserSession.digest))
    return tuple(view_of(row, current_digest) for row in rows)
