"""Which workers of a data directory live, and ending those that keep all others from going on."""

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

from proxyd.accounting import journal_reader
from shared.counters import SharedState

log = logging.getLogger(__name__)

STUCK_SECONDS = 2.0  # inside a transaction on the counters; then the process is ended


class WorkerLiveness:
    """Told by the locks of their journals. `kill` sends a signal to a process."""

    def __init__(self, directory: Path, kill: Callable[[int, int], None], monotonic: Callable[[], float]) -> None:
        self._directory = directory
        self._kill = kill
        self._monotonic = monotonic
        self._stuck: tuple[int, float] = (0, 0.0)  # the process in a transaction, and since when
        self._terminated: set[str] = set()  # who was told to end

    def is_dead(self, worker_id: str) -> bool:
        lock = journal_reader.try_lock(self._directory, worker_id)
        if lock is None:
            return False
        os.close(lock)
        return True

    def alive(self) -> list[str]:
        """The ids of those that live."""
        return [worker for worker in journal_reader.workers(self._directory) if not self.is_dead(worker)]

    def kill_stuck(self, shared_state: SharedState) -> None:
        """End a worker that sits in a transaction, such as one that was stopped there. Asked when others cannot."""
        writer, at = shared_state.transaction_pid, self._monotonic()
        if not writer or self._stuck[0] != writer:
            self._stuck = (writer, at)
        elif at - self._stuck[1] >= STUCK_SECONDS:
            for worker_id in self.alive():
                if journal_reader.pid_of(self._directory, worker_id) == writer:
                    self.kill(worker_id, "it sits in a transaction on the counters")
            self._stuck = (0, 0.0)

    def terminate(self, worker_id: str, why: str) -> None:
        """Have a worker drain and end, said once. The supervisor starts another one in its place."""
        if worker_id not in self._terminated:
            self._terminated.add(worker_id)
            self._signal(worker_id, why, signal.SIGTERM)

    def kill(self, worker_id: str, why: str) -> None:
        """End a worker at once."""
        self._signal(worker_id, why, signal.SIGKILL)

    def _signal(self, worker_id: str, why: str, number: int) -> None:
        pid = journal_reader.pid_of(self._directory, worker_id)
        if pid is None:
            return
        log.error("ending worker process %d: %s", pid, why)
        try:
            self._kill(pid, number)
        except ProcessLookupError:
            pass
