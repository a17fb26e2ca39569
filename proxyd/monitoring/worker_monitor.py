"""What a worker tells of its state, once a second: how much is under way, and what it has used."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent

from proxyd.accounting.membership import Membership
from proxyd.gateway.admission import AdmissionController
from proxyd.monitoring.page import WorkerPage
from proxyd.upstream.pool import UpstreamPool

FOLDER = "metrics"  # in the data directory
LOOK_SECONDS = 1.0


class WorkerMonitor:
    """Of one worker that is watched. What each request adds is counted in `page` as it comes."""

    def __init__(self, data_dir: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.page = WorkerPage(data_dir / FOLDER)
        self._monotonic = monotonic
        self._membership: Membership
        self._pool: UpstreamPool
        self._admission: AdmissionController
        self._greenlet: Any = None

    def watch(self, membership: Membership, pool: UpstreamPool, admission: AdmissionController) -> None:
        """Know the parts of the worker whose state is told."""
        self._membership, self._pool, self._admission = membership, pool, admission

    def start(self) -> None:
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Tell for the last time. The page stays locked until this process ends."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        self.look(0.0)

    def look(self, late_seconds: float) -> None:
        """Write down how things are."""
        membership, pool = self._membership, self._pool
        journal = membership.journal
        begun = () if journal is None else tuple(journal.open.values())
        if journal is not None:
            self.page.name_journal(journal.worker_id)
        self.page.write(
            in_flight=len(begun),
            streams=sum(attempt.streamed for _, attempt in begun),
            upstream_connections=pool.connections,
            upstream_idle=pool.idle_connections,
            upstream_dials=pool.dials,
            journal_ends=0 if journal is None else journal.end_number,
            joined=int(membership.complete and membership.current_generation == membership.generation),
            rate_limits_skipped=self._admission.rate_limits_skipped,
            cpu_us=time.process_time_ns() // 1000,
            late_us=max(0, int(late_seconds * 1e6)),
        )

    def _run(self) -> None:
        due = self._monotonic()
        while True:
            self.look(self._monotonic() - due)
            due = self._monotonic() + LOOK_SECONDS
            gevent.sleep(LOOK_SECONDS)
