"""Forgets what nobody asks for any more, some rows in a transaction, so that nobody waits for one.

A message is kept while it is on its way, and then for a month. What happened is kept for three months at least, for as
long as its period lasts, in which its row is what keeps it from being news again, and while a message about it waits.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select

from shared.models import Alert, AlertDelivery, RefusalSample
from webapp.context import now
from webapp.db import db, writing
from webapp.views.alerts import PENDING

MESSAGES_KEPT = timedelta(days=30)
ROWS_AT_ONCE, TIMES = 1000, 20  # the rest waits for the next time


def forget_old() -> None:
    """What has ended long ago: messages, alerts, and counts that no window reaches. Raises SQLAlchemyError."""
    at = now()
    for _ in range(TIMES):
        if not (_forget_messages(at) | _forget_alerts(at)):
            break
    with writing() as session:
        session.execute(delete(RefusalSample).where(RefusalSample.at < at - timedelta(hours=1)))


def _forget_messages(at: datetime) -> bool:
    """Whether there may be more."""
    old = select(AlertDelivery.id).where(AlertDelivery.ended_at < at - MESSAGES_KEPT, AlertDelivery.status != "pending")
    ids = db.session.scalars(old.order_by(AlertDelivery.ended_at).limit(ROWS_AT_ONCE)).all()
    if ids:
        with writing() as session:
            # One that was tried again by hand in between is on its way.
            session.execute(delete(AlertDelivery).where(AlertDelivery.id.in_(ids), AlertDelivery.status != "pending"))
    return len(ids) == ROWS_AT_ONCE


def _forget_alerts(at: datetime) -> bool:
    """Likewise."""
    over = select(Alert.id).where(Alert.kept_until < at)
    # Mail waits for as long as there is no server. What a message tells did not happen before it was made.
    waits_since = db.session.scalar(select(func.min(AlertDelivery.created_at)).where(PENDING))
    if waits_since is not None:
        over = over.where(Alert.at < waits_since)
    ids: Sequence[str] = db.session.scalars(over.order_by(Alert.kept_until).limit(ROWS_AT_ONCE)).all()
    if ids:
        with writing() as session:
            session.execute(delete(Alert).where(Alert.id.in_(ids)))
    return len(ids) == ROWS_AT_ONCE
