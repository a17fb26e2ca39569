"""Workers that the ledger writer ends: one that sits in a transaction, one that does not join."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from accounting_kit import Router, Worker

from proxyd.accounting.generations import JOIN_TIMEOUT_SECONDS
from proxyd.accounting.worker_liveness import STUCK_SECONDS

ROOT = Path(__file__).parents[2]

# A worker that enters as any other does, and stops inside its first transaction on the counters.
STOPPED = """
import os, signal, sys
from pathlib import Path
from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.membership import Membership
from shared import db
from shared.counters import connect
directory = Path(sys.argv[1])
counters = connect(f"sqlite:///{directory / 'counters.db'}")
database = AccountingDatabase(db.create(f"sqlite:///{directory / 'router.db'}"))
membership = Membership(directory, counters, lambda worker: database.register(worker, "machine_1"), sync=False)
membership.enter()
print(membership.journal.worker_id, flush=True)
with counters._transaction(membership.journal.worker_id, membership.generation):
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_process_that_was_stopped_inside_a_transaction_is_ended(router: Router) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, router.directory], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        worker_id = process.stdout.readline().strip()
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        router.writer._liveness._kill = os.kill
        router.writer.shared_state.request_rebuild(router.writer.shared_state.generation - 1)
        with router.engine.begin() as connection:
            connection.exec_driver_sql("insert into policy_outbox (subject) values ('key_1')")  # something to tell
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            router.rounds()
            router.clock.mono_at += STUCK_SECONDS
        assert process.returncode == -signal.SIGKILL
    router.rounds(3)
    assert worker_id not in [journal.worker_id for journal in router.database.open_journals("machine_1")]
    worker = router.worker()
    worker.begin()


def test_a_living_worker_that_does_not_join_in_time_is_ended(router: Router, worker: Worker) -> None:
    other = router.worker()
    other.begin()
    router.lose_counters()
    router.rounds()
    worker.keep()
    router.clock.mono_at += JOIN_TIMEOUT_SECONDS - 2
    router.writer.round()
    assert router.killed == []
    router.clock.mono_at += 2
    router.writer.round()
    assert router.killed == [os.getpid()]
    assert not router.observer.status().live
    router.workers.remove(other)
    other.kill()  # as the signal would have done
    router.rest(worker)
    assert router.observer.status().live
    worker.begin()
    worker.accounting.flush()
    assert router.spent() == (1_000, 1_000)


def test_whoever_joins_in_time_is_left_alone(router: Router, worker: Worker) -> None:
    worker.begin()
    router.lose_counters()
    router.rounds()
    assert router.writer.rebuild_pending
    worker.keep()
    router.rounds()
    assert not router.writer.rebuild_pending
    router.clock.mono_at += 10 * JOIN_TIMEOUT_SECONDS
    router.rounds(2)
    assert router.killed == []


def test_a_stranger_in_a_transaction_is_not_ended(router: Router, worker: Worker) -> None:
    """Only workers of this data directory are: the shared state may name a process that is gone, or somebody else."""
    router.writer.shared_state.enter_transaction(1)
    for _ in range(3):
        router.clock.mono_at += STUCK_SECONDS
        router.writer._liveness.kill_stuck(router.writer.shared_state)
    assert router.killed == []
    router.writer.shared_state.enter_transaction(os.getpid())
    for _ in range(2):
        router.clock.mono_at += STUCK_SECONDS
        router.writer._liveness.kill_stuck(router.writer.shared_state)
    assert router.killed == [os.getpid()]
    router.writer.shared_state.leave_transaction(os.getpid())
