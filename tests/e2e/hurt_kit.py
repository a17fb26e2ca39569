"""What tests share that hurt a router: waiting for agreement, and a ledger that cannot be written."""

import contextlib
import sqlite3
from collections.abc import Iterator

from harness import Json, Router, eventually
from raw_http import ledger_rows

from shared import money

RECOVERY_SECONDS = 15.0  # a second between looks, and the start of a worker on a busy machine


def settled(router: Router, key_id: str, rows: int) -> list[Json]:
    """The key's rows once there are so many, nothing is held, and the counters say the same as they."""
    found: list[Json] = []

    def agrees() -> bool:
        found[:] = ledger_rows(router, key_id)
        spend = router.key(key_id)["spend"]
        spent = sum(row["cost_nanos"] for row in found)
        return (len(found) >= rows, spend["held_usd"], spend["spent_usd"]) == (True, "0.00", money.to_usd(spent))

    eventually(agrees, RECOVERY_SECONDS, f"agreement on {rows} rows")
    return found


@contextlib.contextmanager
def ledger_locked(router: Router) -> Iterator[None]:
    """Nobody can write to the ledger meanwhile."""
    database = sqlite3.connect(router.data_dir / "router.db", isolation_level=None)
    try:
        database.execute("begin immediate")
        yield
    finally:
        database.close()
