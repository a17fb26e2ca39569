"""Which machines that share counters are live: told by the heartbeat that their ledger writers post each second.

All of it goes by the database's clock, the only one that all machines have.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, type_coerce

from shared.db import UtcDateTime
from shared.models import Machine

AWAY_SECONDS = 15.0  # not heard of for so long, a machine is not waited for any more

# Made once, as they are asked again and again.
_NOW = select(type_coerce(func.now(), UtcDateTime()))
_MACHINES = select(Machine.machine, Machine.generation, Machine.posted_at)


def database_now(connection: Connection) -> datetime:
    """The time of the transaction, in UTC; on SQLite in whole seconds."""
    found = connection.scalar(_NOW)
    assert found is not None  # noqa: S101 - every database has a clock
    return found


def live_machines(connection: Connection, now: datetime) -> dict[str, int]:
    """The machines that posted within the last 15 seconds, each with the generation of the counters it goes by.

    That is 0 for one that has ended in good order since. Raises SQLAlchemyError.
    """
    oldest = now - timedelta(seconds=AWAY_SECONDS)
    return {
        machine: generation for machine, generation, posted_at in connection.execute(_MACHINES) if posted_at >= oldest
    }
