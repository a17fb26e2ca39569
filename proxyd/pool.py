"""The worker processes: started, watched, replaced, reloaded and drained by gunicorn's arbiter.

The law of this module: the supervisor only supervises. It never runs an event loop, opens no database and serves no
request; everything of a worker is built after the fork, by `build`. What gunicorn does well is left to it: signals,
heartbeats, killing what hangs, exit codes. Ours is the worker that serves, that each has a listening socket of its own
which outlives it, and that whoever leaves is no more counted among those who serve.

Signals to the supervisor: TERM drains and ends (a second one hurries), INT and QUIT end at once, HUP replaces the
workers by new ones, TTIN and TTOU change their number.
"""

import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from gevent.monkey import get_original
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from proxyd.server.listen import BindError, listen
from proxyd.worker import HANDED_OVER, POLL_SECONDS, POOL_ENDS, STOP_SECONDS, Place, PoolWorker, WorkerParts, nothing
from proxyd.writer_process import WriterProcess

WEDGED_AFTER_SECONDS = 8  # without a heartbeat; the kill follows within two seconds
SHORT_LIFE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 10.0


def serve(
    bind: str,
    workers: int,
    build: Callable[[], WorkerParts],
    *,
    grace_seconds: int = 30,
    check: Callable[[], object] = nothing,
    on_listening: Callable[[str], None] | None = None,
    writer: WriterProcess | None = None,
    log_level: str = "info",
) -> int:
    """Serve on `bind` ("host:port" or "unix:/path") with `workers` processes; return the exit code at the end.

    `build` runs in each worker. `check` runs in the supervisor before a reload, and is where settings are read anew;
    when it raises, the old workers stay. `on_listening` is told the address once, e.g. for port 0. `writer` is started
    before the first worker and ended after the last one.
    The exit code is 1 when the address is not free, 3 when the first workers cannot be built.
    """
    try:
        sockets = listen(bind, workers)
    except BindError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if on_listening is not None:
        name = sockets[0].getsockname()
        on_listening(name if isinstance(name, str) else f"{name[0]}:{name[1]}")
    supervisor_pid = os.getpid()
    application = _Application([sock.detach() for sock in sockets], workers, build, grace_seconds, log_level)
    patched_sleep = _unpatch_supervisor()
    if writer is not None and (status := writer.start()):
        return status
    # What was loaded until now is looked through once, here, and never again: that would write to the pages in which it
    # lies, and each process would have them for itself.
    gc.collect()
    gc.freeze()
    try:
        _Arbiter(application, check, patched_sleep, writer).run()
    except SystemExit as end:
        if os.getpid() != supervisor_pid:
            # A worker has ended, and closed all that it had. To take the interpreter apart would tell nobody anything,
            # and takes so long on a busy machine that the supervisor believes it stuck.
            sys.stdout.flush()
            os._exit(_status(end))
        if writer is not None:
            writer.stop()
        return _status(end)
    return 0


def _status(end: SystemExit) -> int:
    return end.code if isinstance(end.code, int) else int(end.code is not None)


def _unpatch_supervisor() -> Callable[[float], None]:
    """Give the supervisor the system's own calls; return the sleep that workers shall have.

    gevent's fork and waitpid take SIGCHLD for themselves, and gunicorn would never hear of a dead worker; its sleep
    starts an event loop, which every worker inherits; its close waits for one, so that starting a child never returns.
    """
    patched = time.sleep
    for name in ("fork", "waitpid", "close"):
        setattr(os, name, get_original("os", name))
    time.sleep = get_original("time", "sleep")
    return patched


class _Application(BaseApplication):  # type: ignore[misc] # gunicorn publishes no types
    """gunicorn's idea of what is served: our settings, and `build` in the place of a WSGI application."""

    def __init__(
        self, descriptors: list[int], workers: int, build: Callable[[], WorkerParts], grace_seconds: int, log_level: str
    ) -> None:
        self._build = build
        shared_memory = Path("/dev/shm")  # noqa: S108 - the heartbeat's file is made by mkstemp and unlinked at once
        self._settings = {
            "bind": [f"fd://{descriptor}" for descriptor in descriptors],
            "workers": workers,
            "worker_class": PoolWorker,
            "timeout": WEDGED_AFTER_SECONDS,
            "graceful_timeout": grace_seconds + STOP_SECONDS,
            "control_socket_disable": True,
            "worker_tmp_dir": str(shared_memory) if os.access(shared_memory, os.W_OK) else None,
            "accesslog": None,
            "errorlog": "-",
            "loglevel": log_level,
            "proc_name": "proxyd",
        }
        self.grace_seconds = grace_seconds
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> WorkerParts:
        return self._build()


class _Arbiter(Arbiter):  # type: ignore[misc] # gunicorn publishes no types
    """gunicorn's supervisor, with a slot (a listening socket) for each worker and patience with crash loops."""

    def __init__(
        self,
        application: _Application,
        check: Callable[[], object],
        worker_sleep: Callable[[float], None],
        writer: WriterProcess | None,
    ) -> None:
        self._check = check
        self._writer = writer
        self._worker_sleep = worker_sleep
        self._ending = False
        self._leaving: set[int] = set()  # workers that are to, and have not ended yet
        self._told: set[int] = set()  # those of them that were told
        self._replaced = 0  # workers up to this age are to be, as soon as others serve
        self._born_with: dict[int, float] = {}  # the heartbeat that a worker's file had when it was made
        self._spawned_at: dict[int, float] = {}
        self._pause_seconds = 0.0
        self._not_before = 0.0
        super().__init__(application)

    def signal(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM:
            if self._ending:
                sig = signal.SIGQUIT
            self._ending = True
        super().signal(sig, frame)

    def handle_hup(self) -> None:
        try:
            self._check()
        except Exception as error:  # noqa: BLE001 - a process edge: a bad setting must not end what runs
            self.log.error("Not reloading, the old workers stay: %s", error)
        else:
            self.log.info("New workers take over")
            self.reload()
            if self._writer is not None:
                self._writer.renew()

    def handle_usr2(self) -> None:
        self.log.warning("USR2 is not supported; HUP replaces the workers")

    def reload(self) -> None:
        """Put new workers in the place of all there are, which go on until the new ones serve.

        gunicorn's own way tells the old ones at once and then waits for them, for half a minute if one of them has a
        long answer to finish, and looks after nobody meanwhile.
        """
        self._replaced = self.worker_age
        self.manage_workers()

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        self._ending = True
        super().stop(graceful)

    def kill_worker(self, pid: int, sig: int) -> None:
        if sig != signal.SIGTERM:
            super().kill_worker(pid, sig)
            return
        self._leaving.add(pid)
        # One that was just forked hears nothing yet: it is told when it has begun.
        if self._ending or (pid not in self._told and self._has_begun(self.WORKERS[pid])):
            self._told.add(pid)
            super().kill_worker(pid, POOL_ENDS if self._ending else HANDED_OVER)

    def manage_workers(self) -> None:
        if self._writer is not None and not self._ending:
            self._writer.keep()
        self._leaving.intersection_update(self.WORKERS)
        self._told.intersection_update(self.WORKERS)
        for pid in self._leaving - self._told:
            self.kill_worker(pid, signal.SIGTERM)
        missing = self.num_workers - len(self._staying())
        # No worker comes to life while nobody could tell it which counters are the right ones.
        if missing > 0 and time.monotonic() >= self._not_before and (self._writer is None or self._writer.ready):
            for _ in range(missing):
                self.spawn_worker()
        staying = self._staying()
        surplus = staying[: max(0, len(staying) - self.num_workers)]
        if len(staying) >= self.num_workers and all(self._has_begun(worker) for worker in staying):
            surplus += [worker for worker in self.WORKERS.values() if worker.age <= self._replaced]
        for worker in surplus:
            if worker.pid not in self._leaving:
                self.kill_worker(worker.pid, signal.SIGTERM)

    def _staying(self) -> list[PoolWorker]:
        """Workers that neither were told to leave nor are to be replaced, the oldest first."""
        staying = (
            worker for pid, worker in self.WORKERS.items() if pid not in self._leaving and worker.age > self._replaced
        )
        return sorted(staying, key=lambda worker: worker.age)

    def _has_begun(self, worker: PoolWorker) -> bool:
        """Whether it serves: its heartbeat has changed since it was forked."""
        return bool(worker.tmp.last_update() != self._born_with[worker.pid])

    def spawn_worker(self) -> Any:
        taken = [worker.slot for worker in self._staying()]
        slot = min(range(len(self.LISTENERS)), key=lambda slot: (taken.count(slot), slot))
        old = any(time.monotonic() - born > SHORT_LIFE_SECONDS for born in self._spawned_at.values())
        PoolWorker.next_place = Place(slot, self._worker_sleep, serving=old)
        pid = super().spawn_worker()
        self._spawned_at[pid] = time.monotonic()
        self._born_with[pid] = self.WORKERS[pid].tmp.last_update()
        return pid

    def reap_workers(self) -> None:
        super().reap_workers()
        now = time.monotonic()
        for pid in [pid for pid in self._spawned_at if pid not in self.WORKERS]:
            del self._born_with[pid]
            if now - self._spawned_at.pop(pid) < SHORT_LIFE_SECONDS and not self._ending:
                # Not at once again: a worker that dies young will most likely do so again.
                self._pause_seconds = min(LONGEST_PAUSE_SECONDS, self._pause_seconds * 2 or POLL_SECONDS)
            else:
                self._pause_seconds = 0.0
            self._not_before = now + self._pause_seconds
