"""The worker processes: started, watched, replaced, reloaded and drained by gunicorn's arbiter.

The law of this module: the supervisor only supervises. It never runs an event loop, opens no database and serves no
request; everything of a worker is built after the fork, by `build`. What gunicorn does well is left to it: signals,
heartbeats, killing what hangs, exit codes. Ours is the worker that serves, and that each has a listening socket of its
own which outlives it.

Signals to the supervisor: TERM drains and ends (a second one hurries), INT and QUIT end at once, HUP replaces the
workers by new ones, TTIN and TTOU change their number.
"""

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import gevent
from gevent.monkey import get_original
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from proxyd.messages import Request, Response
from proxyd.server.listen import BindError, listen
from proxyd.server.server import Server, ServerLimits
from proxyd.writer_process import WriterProcess

HEARTBEAT_SECONDS = 1.0
WEDGED_AFTER_SECONDS = 8  # without a heartbeat; the kill follows within two seconds
POLL_SECONDS = 0.1
QUICK_SECONDS = 0.5
STOP_SECONDS = 5  # for `on_stop`, after the drain
SHORT_LIFE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 10.0


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What makes a worker; all of it belongs to that process alone."""

    handler: Callable[[Request], Response]
    on_error: Callable[[Exception, Request | None], Response]
    on_start: Callable[[], None] = _nothing  # in the main greenlet, before the first connection
    on_stop: Callable[[], None] = _nothing  # after the last one; a few seconds at most
    limits: ServerLimits | None = None


def serve(
    bind: str,
    workers: int,
    build: Callable[[], WorkerParts],
    *,
    grace_seconds: int = 30,
    check: Callable[[], object] = _nothing,
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
    try:
        _Arbiter(application, check, patched_sleep, writer).run()
    except SystemExit as end:
        if os.getpid() != supervisor_pid:
            raise  # A worker ends: nothing that follows `serve` is its business.
        if writer is not None:
            writer.stop()
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


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
            "worker_class": _PoolWorker,
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
            super().handle_hup()
            if self._writer is not None:
                self._writer.renew()

    def handle_usr2(self) -> None:
        self.log.warning("USR2 is not supported; HUP replaces the workers")

    def spawn_workers(self) -> None:
        # No worker comes to life while nobody could tell it which counters are the right ones.
        if time.monotonic() >= self._not_before and (self._writer is None or self._writer.ready):
            super().spawn_workers()

    def manage_workers(self) -> None:
        if self._writer is not None and not self._ending:
            self._writer.keep()
        super().manage_workers()

    def spawn_worker(self) -> Any:
        taken = [worker.slot for worker in self.WORKERS.values()]
        slot = min(range(len(self.LISTENERS)), key=lambda slot: (taken.count(slot), slot))
        old = any(time.monotonic() - born > SHORT_LIFE_SECONDS for born in self._spawned_at.values())
        _PoolWorker.next_place = _Place(slot, self._worker_sleep, serving=old)
        pid = super().spawn_worker()
        self._spawned_at[pid] = time.monotonic()
        return pid

    def reap_workers(self) -> None:
        super().reap_workers()
        now = time.monotonic()
        for pid in [pid for pid in self._spawned_at if pid not in self.WORKERS]:
            if now - self._spawned_at.pop(pid) < SHORT_LIFE_SECONDS and not self._ending:
                # Not at once again: a worker that dies young will most likely do so again.
                self._pause_seconds = min(LONGEST_PAUSE_SECONDS, self._pause_seconds * 2 or POLL_SECONDS)
            else:
                self._pause_seconds = 0.0
            self._not_before = now + self._pause_seconds


@dataclass(frozen=True, slots=True)
class _Place:
    """What a worker must know before its fork."""

    slot: int
    sleep: Callable[[float], None]
    serving: bool  # others serve already, so that this one's failure to start is no reason to end everything


class _PoolWorker(Worker):  # type: ignore[misc] # gunicorn publishes no types
    """One worker process: a hub, a server on the socket of its slot, a heartbeat."""

    next_place: _Place  # set just before each fork; gunicorn's constructor has no place for it

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sockets: list[Any]
        self._place = self.next_place
        self._quick = False

    @property
    def slot(self) -> int:
        return self._place.slot

    def init_process(self) -> None:
        time.sleep = self._place.sleep  # type: ignore[assignment] # gevent's, if the process was patched
        gevent.reinit()
        listeners: list[Any] = self.sockets
        for slot, listener in enumerate(listeners):
            if slot != self.slot:
                # Whoever holds a listener must accept from it; the others have their own workers.
                listener.close()
        self.sockets = [listeners[self.slot]]
        super().init_process()

    def load_wsgi(self) -> None:
        try:
            super().load_wsgi()
            self.wsgi.on_start()
        except Exception:
            if not self._place.serving:
                raise  # gunicorn ends the supervisor: a service that never was is not to be retried for ever.
            self.log.exception("The worker could not be built")
            sys.exit(1)

    def init_signals(self) -> None:
        super().init_signals()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGABRT, self._wedged)

    def run(self) -> None:
        parts: WorkerParts = self.wsgi
        listener = self.sockets[0].sock
        server = Server(parts.handler, parts.on_error, [listener], parts.limits)
        server.start()
        heartbeat = gevent.spawn(self._beat)
        try:
            while self.alive:
                gevent.sleep(POLL_SECONDS)
            drain = gevent.spawn(server.stop, QUICK_SECONDS if self._quick else self.app.grace_seconds)
            while not drain.ready() and not self._quick:
                drain.join(timeout=POLL_SECONDS)
            if not drain.ready():
                drain.join(timeout=QUICK_SECONDS)
        finally:
            parts.on_stop()
            heartbeat.kill()

    def _beat(self) -> None:
        """Tell the supervisor that the event loop turns, and end when there is no supervisor any more."""
        while True:
            self.notify()
            if self.ppid != os.getppid():
                self.log.warning("The supervisor is gone, so the worker ends: %s", self.pid)
                self.alive = False
            gevent.sleep(HEARTBEAT_SECONDS)

    def _end(self, number: int, _: FrameType | None) -> None:
        self._quick = self._quick or number != signal.SIGTERM
        self.alive = False

    def _wedged(self, _: int, __: FrameType | None) -> None:
        """Say where the worker hangs, and end it."""
        faulthandler.dump_traceback(sys.stderr)
        os._exit(1)
