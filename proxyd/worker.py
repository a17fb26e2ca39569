"""One worker process: a hub, a server on the socket of its slot, a heartbeat; and how it leaves.

Signals to a worker: HUP, another one takes over its socket; USR2, the pool ends and its address with it; TERM, it ends
by itself or by somebody's hand, and is replaced once it is gone. In each case requests are finished. INT and QUIT end
it at once.

Who keeps a connection open may send a request on it at the moment in which we close it, and may not send it again. So
a worker that leaves closes no connection that waits: its next answer says that it is the last one, and who asks nothing
more gets time to close it. Only TERM leaves no time for that, because the socket's queue has nobody meanwhile.
"""

import faulthandler
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import gevent
from gunicorn.workers.base import Worker
from msgspec import Struct

from proxyd.messages import Request, Response
from proxyd.server.server import Server, ServerLimits

HEARTBEAT_SECONDS = 1.0
POLL_SECONDS = 0.1
COLLECT_AFTER = (10_000, 10, 10)  # objects, and collections of the generation before
QUICK_SECONDS = 0.5
STOP_SECONDS = 5  # for `on_stop`, after the drain

HANDED_OVER, POOL_ENDS = signal.SIGHUP, signal.SIGUSR2


def nothing() -> None:
    return None


def _not_at_all() -> float:
    return 0.0


def _whichever(_: int) -> None:
    return None


class WorkerParts(Struct, frozen=True):
    """What makes a worker; all of it belongs to that process alone."""

    handler: Callable[[Request], Response]
    on_error: Callable[[Exception, Request | None], Response]
    on_start: Callable[[], None] = nothing  # in the main greenlet, before the first connection
    on_stop: Callable[[], None] = nothing  # after the last connection; a few seconds at most
    on_leave: Callable[[], float] = _not_at_all  # the pool ends; for how many seconds new connections are still taken
    limits: ServerLimits | None = None
    on_slot: Callable[[int], None] = _whichever  # before `on_start`: which of the pool's places it has, from 0


class Place(Struct, frozen=True):
    """What a worker must know before its fork."""

    slot: int
    sleep: Callable[[float], None]
    serving: bool  # others serve already, so that this one's failure to start is no reason to end everything


class PoolWorker(Worker):  # type: ignore[misc] # gunicorn publishes no types
    """gunicorn's idea of a worker: `app` builds the parts."""

    next_place: Place  # set just before each fork; gunicorn's constructor has no place for it

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sockets: list[Any]
        self._place = self.next_place
        self._quick = False
        self._why = 0  # the signal that ends it, when one does

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
            self.wsgi.on_slot(self.slot)
            self.wsgi.on_start()
        except Exception:
            if not self._place.serving:
                raise  # gunicorn ends the supervisor: a service that never was is not to be retried for ever.
            self.log.exception("The worker could not be built")
            sys.exit(1)

    def init_signals(self) -> None:
        super().init_signals()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, HANDED_OVER, POOL_ENDS):
            signal.signal(number, self._end)
        signal.signal(signal.SIGABRT, self._wedged)

    def run(self) -> None:
        parts: WorkerParts = self.wsgi
        listener = self.sockets[0].sock
        server = Server(parts.handler, parts.on_error, [listener], parts.limits)
        # What was loaded until now stays, in pages that workers share until somebody looks through them; and hardly
        # anything that a request makes holds itself. To look for it after every 700 values took 4 % of a worker's time
        # where each request was of another key.
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        server.start()
        heartbeat = gevent.spawn(self._beat)
        try:
            while self.alive:
                gevent.sleep(POLL_SECONDS)
            drain = gevent.spawn(self._leave, server, parts)
            while not drain.ready() and not self._quick:
                drain.join(timeout=POLL_SECONDS)
            if not drain.ready():
                drain.join(timeout=QUICK_SECONDS)
        finally:
            parts.on_stop()
            heartbeat.kill()

    def _leave(self, server: Server, parts: WorkerParts) -> None:
        if self._quick:
            server.stop(QUICK_SECONDS)
            return
        idle_seconds = server.limits.leave_seconds if self._why in (HANDED_OVER, POOL_ENDS) else 0.0
        accept_seconds = parts.on_leave() if self._why == POOL_ENDS else 0.0
        # Without a supervisor nobody else holds the listener.
        handed_over = self._why not in (0, POOL_ENDS)
        server.stop(
            self.app.grace_seconds, idle_seconds=idle_seconds, accept_seconds=accept_seconds, handed_over=handed_over
        )

    def _beat(self) -> None:
        """Tell the supervisor that the event loop turns, and end when there is no supervisor any more."""
        while True:
            self.notify()
            if self.ppid != os.getppid():
                self.log.warning("The supervisor is gone, so the worker ends: %s", self.pid)
                self.alive = False
            gevent.sleep(HEARTBEAT_SECONDS)

    def _end(self, number: int, _: FrameType | None) -> None:
        self._quick = self._quick or number in (signal.SIGINT, signal.SIGQUIT)
        self._why = self._why or number
        self.alive = False

    def _wedged(self, _: int, __: FrameType | None) -> None:
        """Say where the worker hangs, and end it."""
        faulthandler.dump_traceback(sys.stderr)
        os._exit(1)
