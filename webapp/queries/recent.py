"""What happened lately, from the ledger's own rows: finer than its daily sums."""

from datetime import datetime

from sqlalchemy import func, select

from shared.models import UsageRecord
from webapp.db import db


def requests_since(org_id: str, key_id: str, since: datetime) -> int:
    """How many requests of a key were sent to a provider since a moment, as far as the ledger has them by now."""
    query = (
        select(func.count())
        .select_from(UsageRecord)
        .where(UsageRecord.org_id == org_id, UsageRecord.key_id == key_id, UsageRecord.admitted_at >= since)
    )
    return db.session.scalar(query) or 0
