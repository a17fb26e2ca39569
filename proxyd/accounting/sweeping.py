"""Deleting what nobody asks for any more."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, select

from proxyd.accounting.lapsed_hand_overs import forget_lapsed
from proxyd.accounting.provider_jobs import forget_old_jobs
from shared.models import IdempotentCreation, JournalState, Machine

_CHUNK = 500


def sweep(connection: Connection, at: datetime) -> int:
    """Delete some of it; answers with how much. `at`: now, by the database's clock. Raises SQLAlchemyError."""
    day = datetime.now(UTC) - timedelta(days=1)
    month = datetime.now(UTC) - timedelta(days=30)
    old = select(IdempotentCreation.org_id, IdempotentCreation.idempotency_key).where(
        IdempotentCreation.created_at < day
    )
    creations = connection.execute(old.limit(_CHUNK)).all()
    for org_id, key in creations:
        connection.execute(
            delete(IdempotentCreation).where(
                IdempotentCreation.org_id == org_id, IdempotentCreation.idempotency_key == key
            )
        )
    closed = select(JournalState.worker_id).where(JournalState.closed_at < month).limit(_CHUNK)
    journals = connection.scalars(closed).all()
    connection.execute(delete(JournalState).where(JournalState.worker_id.in_(journals)))
    booked = forget_old_jobs(connection, _CHUNK) + forget_lapsed(connection)
    connection.execute(delete(Machine).where(Machine.posted_at < at - timedelta(days=30)))
    return len(creations) + len(journals) + booked
