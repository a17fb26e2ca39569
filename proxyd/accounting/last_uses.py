"""When keys were used last, on the way into their rows.

Where few keys are used it is written with the ledger's rows. Where hundreds are, each with its two entries of indexes,
that is an eighth of all that posting costs; so there it waits for ten seconds, in which most of them are used again.
What waits when the ledger writer is killed is told by the ledger to the next one.
"""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import islice, takewhile

from sqlalchemy import Connection, func, select

from proxyd.accounting.ledger_rows import Row, moment_of
from shared.models import Organization, UsageRecord

WAIT_SECONDS = 10.0
FEW_KEYS = 200  # of a transaction
MOST_KEYS = 2_000  # of those that have waited, in one transaction


class LastUses:
    """Of the keys of one ledger writer, as rows of (moment, id) in the order of ids."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        # Key -> since when it waits, and its last use; the one that has waited for longest comes first.
        self._waiting: dict[str, tuple[float, str]] = {}

    def due(self, used: Sequence[Row] = ()) -> list[Row]:
        """Take some uses, and tell those that are to be written now."""
        waiting = self._waiting
        few = len(used) <= FEW_KEYS
        if few and not waiting:
            return list(used)
        now = self._monotonic()
        for moment, key_id in used:
            since, before = waiting.get(key_id, (now, moment))
            waiting[key_id] = since, max(moment, before)
        oldest = now - WAIT_SECONDS
        keys = {key_id for key_id, _ in islice(takewhile(lambda one: one[1][0] <= oldest, waiting.items()), MOST_KEYS)}
        if few:
            keys.update(key_id for _, key_id in used)
        return [(waiting[key_id][1], key_id) for key_id in sorted(keys)]

    def all(self) -> list[Row]:
        """What waits, however shortly."""
        return [(moment, key_id) for key_id, (_, moment) in sorted(self._waiting.items())]

    def written(self, rows: Sequence[Row]) -> None:
        """These are in the database: what was used again since goes on waiting."""
        for moment, key_id in rows:
            if self._waiting.get(key_id, (0.0, ""))[1] == moment:
                del self._waiting[key_id]


def latest_uses(connection: Connection) -> list[Row]:
    """The last uses that may have waited, as the ledger has them: of each organisation, those shortly before its last.

    Raises SQLAlchemyError.
    """
    found: list[Row] = []
    at = UsageRecord.admitted_at
    for org_id in connection.scalars(select(Organization.id)).all():
        here = UsageRecord.org_id == org_id
        last = connection.scalar(select(func.max(at)).where(here))
        if last is not None:
            since = last - timedelta(seconds=2 * WAIT_SECONDS)
            uses = select(func.max(at), UsageRecord.key_id).where(here, at >= since).group_by(UsageRecord.key_id)
            found += [(moment_of(used.timestamp()), key_id) for used, key_id in connection.execute(uses)]
    return sorted(found, key=lambda row: row[1])
