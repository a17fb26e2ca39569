"""What happened lately, from the ledger's own rows: finer than its daily sums."""

from datetime import datetime

from sqlalchemy import func, select

from shared.models import UsageRecord
from webapp.db import db
from webapp.views.keys import row_of


def requests_since(org_id: str, key_id: str, since: datetime) -> int:
    """How many requests of a key were sent to a provider since a moment, as far as the ledger has them by now.

    Raises NotFound, for another organisation's key as well.
    """
    row_of(org_id, key_id)
    # Not by org_id too: databases would then take the organisation's index and read the traffic of all its keys.
    query = (
        select(func.count())
        .select_from(UsageRecord)
        .where(UsageRecord.key_id == key_id, UsageRecord.admitted_at >= since, UsageRecord.adjusts.is_(None))
    )
    return db.session.scalar(query) or 0
