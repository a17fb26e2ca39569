"""Other machines on the same counters: what ours holds is posted for them, and who is away is not waited for.

Each ledger writer posts to the database, every second, that its machine is there, and what its workers hold if that has
changed. New counters wait for the workers of all machines; but one that has not posted for 15 seconds is away, and what
it had posted last stands for its workers until they join or are closed. A machine that reaches the database and not
the counters is away too: it could not join.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.journal import lock_path
from proxyd.accounting.open_holds import OpenHolds
from shared.counters import Counters, Hold

log = logging.getLogger(__name__)

POST_SECONDS = 1.0
LOOK_SECONDS = 0.25  # between looks who is away
# Who could not post itself until now tells nothing by that of others: perhaps the database did not answer anybody.
POSTING_SECONDS = 3.0


class Machines:
    """As one machine sees the others. Nothing is done where counters are its own."""

    def __init__(
        self,
        directory: Path,
        machine: str,
        counters: Counters,
        database: AccountingDatabase,
        monotonic: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._machine = machine
        self._counters = counters
        self._database = database
        self._monotonic = monotonic
        self._open_holds = OpenHolds(directory)
        self._posted: dict[str, list[Hold]] = {}  # what the database has of each of our workers
        self._tried_at = float("-inf")
        self._posted_at = float("-inf")
        self._posting_since = float("-inf")
        self._looked_at = float("-inf")
        self._machine_of: dict[str, str] = {}  # of workers that are missing

    def post(self, workers: Sequence[str], generation: int | None) -> None:
        """Tell, once a second, that we are there and what our workers hold.

        `generation` is that of the counters we go by; None if we do not reach them. Raises SQLAlchemyError.
        """
        at = self._monotonic()
        if self._counters.shared is None or at - self._tried_at < POST_SECONDS:
            return
        self._tried_at = at
        holds = self._open_holds.of([worker for worker in workers if lock_path(self._directory, worker).exists()])
        changed = {worker: held for worker, held in holds.items() if held != self._posted.get(worker)}
        self._database.post(self._machine, generation, changed)
        self._posted = holds
        if at - self._posted_at > POSTING_SECONDS:
            self._posting_since = at
        self._posted_at = at

    def leave(self) -> None:
        """The last word of this machine: if all of them have ended so, the next one to start makes new counters."""
        if self._counters.shared:
            try:
                self._database.post(self._machine, 0, {})
            except SQLAlchemyError as error:
                log.warning("the other machines could not be told that this one ends: %s", type(error).__name__)

    def others_are_there(self) -> bool:
        """Whether any other machine goes by the counters now."""
        return any(at for machine, at in self._database.heard_of().items() if machine != self._machine)

    def elsewhere(self, missing: Sequence[str]) -> dict[str, str]:
        """Those workers that are of another machine, and of which."""
        if self._counters.shared is None:
            return {}
        known = {worker: self._machine_of[worker] for worker in missing if worker in self._machine_of}
        unknown = [worker for worker in missing if worker not in known]
        self._machine_of = known | (self._database.machines_of(unknown) if unknown else {})
        return {worker: machine for worker, machine in self._machine_of.items() if machine != self._machine}

    def fence(self, generation: int, elsewhere: dict[str, str]) -> None:
        """Of these workers, let those whose machine is away hold what it had posted last."""
        at, shared = self._monotonic(), self._counters.shared
        if shared is None or not elsewhere or at - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = at
        if at - self._posted_at > POSTING_SECONDS or at - self._posting_since < POSTING_SECONDS:
            return
        there = self._database.heard_of()
        away = [worker for worker, machine in elsewhere.items() if machine not in there]
        posted = self._database.posted(away) if away else {}
        for worker_id in away:
            holds = posted.get(worker_id, [])
            shared.fence(generation, worker_id, holds)
            log.error(
                "machine %s is away; its worker %s is taken to hold what was posted last (%d sums)",
                elsewhere[worker_id],
                worker_id,
                len(holds),
            )
