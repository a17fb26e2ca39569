"""Other machines on the same counters: what ours holds is posted for them, and who is away is not waited for.

Each ledger writer posts a heartbeat to the database, every second, and what its machine's workers hold if that has
changed. New counters wait for the workers of all machines; but one without a heartbeat for 15 seconds is away, and what
it had posted last stands for its workers until they join or are closed: its money, and not its requests in flight,
which would take their places from others for ever if it never came back. A machine that reaches the database and not
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

HEARTBEAT_SECONDS = 1.0
FENCE_CHECK_SECONDS = 0.25  # between looks who is away
# Who had no heartbeat of its own until now may not judge others: perhaps the database did not answer anybody.
HEARTBEAT_GRACE_SECONDS = 3.0
LOST_CHECK_SECONDS = 10.0  # between looks who is away for so long that its requests in flight are given up:
LOST_SECONDS = 300


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
        self._open_holds = OpenHolds(directory, database.model_limits)
        self._posted_holds: dict[str, list[Hold]] = {}  # what the database has of each of our workers
        self._attempted_at = float("-inf")
        self._heartbeat_at = float("-inf")
        self._heartbeats_since = float("-inf")
        self._fence_checked_at = float("-inf")
        self._machine_of: dict[str, str] = {}  # of workers that are missing
        self._lost_checked_at = float("-inf")
        self._quiet: dict[str, tuple[int, int]] = {}  # of workers that are away: their last END, known since when

    def heartbeat(self, workers: Sequence[str], generation: int | None) -> None:
        """Post, once a second, that we are there and what our workers hold.

        `generation` is that of the counters we go by; None if we do not reach them. Raises SQLAlchemyError.
        """
        at = self._monotonic()
        if self._counters.shared is None or at - self._attempted_at < HEARTBEAT_SECONDS:
            return
        self._attempted_at = at
        holds = self._open_holds.of([worker for worker in workers if lock_path(self._directory, worker).exists()])
        changed = {worker: held for worker, held in holds.items() if held != self._posted_holds.get(worker)}
        self._database.post_heartbeat(self._machine, generation, changed)
        self._posted_holds = holds
        if at - self._heartbeat_at > HEARTBEAT_GRACE_SECONDS:
            self._heartbeats_since = at
        self._heartbeat_at = at

    def leave(self) -> None:
        """The last word of this machine: if all of them have ended so, the next one to start makes new counters."""
        if self._counters.shared:
            try:
                self._database.post_heartbeat(self._machine, 0, {})
            except SQLAlchemyError as error:
                log.warning("the other machines could not be told that this one ends: %s", type(error).__name__)

    def has_live_peers(self) -> bool:
        """Whether any other machine goes by the counters now."""
        return any(at for machine, at in self._database.live_machines().items() if machine != self._machine)

    def remote_workers(self, missing: Sequence[str]) -> dict[str, str]:
        """Those workers that are of another machine, and of which."""
        if self._counters.shared is None:
            return {}
        known = {worker: self._machine_of[worker] for worker in missing if worker in self._machine_of}
        unknown = [worker for worker in missing if worker not in known]
        self._machine_of = known | (self._database.machines_of(unknown) if unknown else {})
        return {worker: machine for worker, machine in self._machine_of.items() if machine != self._machine}

    def fence(self, generation: int, remote_workers: dict[str, str]) -> None:
        """Of these workers, let those whose machine is away hold the money that it had posted last."""
        at, shared = self._monotonic(), self._counters.shared
        if shared is None or not remote_workers or at - self._fence_checked_at < FENCE_CHECK_SECONDS:
            return
        self._fence_checked_at = at
        if not self._may_judge(at):
            return
        there = self._database.live_machines()
        away = [worker for worker, machine in remote_workers.items() if machine not in there]
        posted = self._database.posted_holds(away) if away else {}
        for worker_id in away:
            holds = posted.get(worker_id, [])
            shared.fence(generation, worker_id, [one._replace(requests=0) for one in holds])
            log.error(
                "machine %s is away; its worker %s is taken to hold what was posted last (%d sums)",
                remote_workers[worker_id],
                worker_id,
                len(holds),
            )

    def lost(self) -> str | None:
        """A machine that is away for so long, with requests in flight, that new counters have to be made without them.

        Only where a key limits its requests at once. One that still ends requests in the counters is there, whatever
        keeps it from the database.
        """
        at = self._monotonic()
        if self._counters.shared is None or at - self._lost_checked_at < LOST_CHECK_SECONDS or not self._may_judge(at):
            return None
        self._lost_checked_at = at
        there, elsewhere = self._database.live_machines(), self._database.workers_elsewhere(self._machine)
        away = {worker: machine for worker, machine in elsewhere.items() if machine not in there}
        posted = self._database.posted_holds(list(away)) if away else {}
        quiet: dict[str, tuple[int, int]] = {}
        second = self._counters.moment().second
        for worker_id in away:
            state = self._counters.worker_state(worker_id)
            if state is None or not state.joined:
                continue  # these counters know of none of its requests
            if state.last_admitted or any(one.requests for one in posted.get(worker_id, ())):
                before = self._quiet.get(worker_id, (-1, 0))
                quiet[worker_id] = before if before[0] == state.end_number else (state.end_number, second)
        self._quiet = quiet
        late = [worker for worker, (_, since) in quiet.items() if second - since >= LOST_SECONDS]
        return away[late[0]] if late and self._database.limits_requests_at_once() else None

    def _may_judge(self, at: float) -> bool:
        """Not without a heartbeat of our own until now."""
        grace = HEARTBEAT_GRACE_SECONDS
        return at - self._heartbeat_at <= grace and at - self._heartbeats_since >= grace
