"""The inbound side: listeners, connections, and the drain at the end.

The law of this module: who accepts a connection closes it. A flood is left in the kernel's queue rather than in our
memory; running out of file descriptors is a pause, not a busy loop; who waits without a request makes room. Each
connection has its greenlet.
"""

import errno
import heapq
import logging
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from time import monotonic
from typing import Any

import gevent
from gevent import get_hub
from gevent.monkey import get_original

from proxyd.busy_poll import BusyPoll
from proxyd.channel import READ
from proxyd.messages import ClientGone, Request, RequestError, Response
from proxyd.outbox import Outbox
from proxyd.server.connection import Connection
from proxyd.server.limits import ServerLimits, connections_for, raise_descriptor_limit
from proxyd.server.listen import hear, refuse_new
from proxyd.watchdog import Watchdog, tick_for

__all__ = ["Server", "ServerLimits"]

Handler = Callable[[Request], Response]
OnError = Callable[[Exception, Request | None], Response]

ACCEPTS_AT_ONCE = 64
EVICTIONS_AT_ONCE = 16
BACKOFF_SECONDS = 0.2
RESOURCE_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
KILL_SECONDS = 2.0
# For a connection that the kernel has half taken to come up: a round trip to whoever is near enough to matter.
SETTLE_SECONDS = 0.05
FEW = 8  # more connections than these are not looked through for requests: that may be asked before each wait

# Ours, not gevent's: the channels do their own waiting.
_NativeSocket: type[socket.socket] = get_original("socket", "socket")

# What is said where even the words for an error fail.
UNSPEAKABLE = b'{"error":{"message":"The router failed here.","type":"server_error","code":"internal_error"}}'
UNSPEAKABLE_HEADERS = ((b"content-type", b"application/json"), (b"x-router-error", b"internal_error"))

logger = logging.getLogger(__name__)


class Server:
    """Serves `handler` on listening sockets, in the current hub.

    `handler` runs in the connection's greenlet and may wait. What it raises, and what is wrong with a request before
    there is one (`None`), is put into words by `on_error`, whose argument is a `RequestError` when it is the client's
    fault. The server owns the listeners from now on.
    """

    def __init__(
        self,
        handler: Handler,
        on_error: OnError,
        listeners: Sequence[socket.socket],
        limits: ServerLimits | None = None,
    ) -> None:
        self.limits = limits or ServerLimits(max_connections=connections_for(raise_descriptor_limit()))
        self.outbox = Outbox()
        self.answering = 0
        self.draining = False
        self.idle_seconds = self.limits.keep_alive_seconds
        self._handler = handler
        self._on_error = on_error
        self._listeners = [_NativeSocket(fileno=listener.detach()) for listener in listeners]
        self._connections: dict[Connection, gevent.Greenlet[[], None]] = {}
        self._watchers: list[Any] = []
        self._watchdog: Watchdog | None = None
        self._busy_poll: BusyPoll | None = None
        self._accepting = False
        self._closing = False
        self._shortage_logged = False

    @property
    def addresses(self) -> list[Any]:
        """What the listeners are bound to, as `getsockname` tells it."""
        return [listener.getsockname() for listener in self._listeners]

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def start(self) -> None:
        """Begin to accept. Returns at once."""
        limits = self.limits
        shortest = min(
            limits.header_timeout_seconds,
            limits.body_idle_seconds,
            limits.write_stall_seconds,
            limits.keep_alive_seconds,
            limits.linger_seconds,
        )
        self._watchdog = Watchdog(lambda: tuple(self._connections), tick_for(shortest))
        if len(os.sched_getaffinity(0)) > 1:  # else whoever is waited for could do nothing meanwhile
            self._busy_poll = BusyPoll(self._has_one_caller)
        for listener in self._listeners:
            listener.setblocking(False)
            self._watchers.append(get_hub().loop.io(listener.fileno(), READ))
        self._resume()

    def stop(
        self,
        grace_seconds: float,
        *,
        idle_seconds: float = 0.0,
        accept_seconds: float = 0.0,
        handed_over: bool = False,
    ) -> None:
        """Let running requests finish, for `grace_seconds` in all, then cut what is left.

        Each answer is now the last one of its connection. Who waits without a request has `idle_seconds` to send one or
        to close the connection. New connections are accepted for `accept_seconds`; what then waits in the kernel's
        queue is served. `handed_over`: the listening sockets are somebody else's too, who goes on with them.
        """
        ends = monotonic() + grace_seconds
        self.draining, self.idle_seconds = True, idle_seconds
        self._drain_idle()
        gevent.sleep(min(accept_seconds, grace_seconds))
        if not handed_over:
            for listener in self._listeners:
                refuse_new(listener)
            gevent.sleep(min(SETTLE_SECONDS, grace_seconds))
        self._closing = True
        self._pause()
        for listener in self._listeners:
            self._accept(listener, attempts=self.limits.max_connections)
        for watcher, listener in zip(self._watchers, self._listeners, strict=True):
            watcher.close()
            listener.close()
        self._watchers, self._listeners = [], []
        self._drain_idle()
        gevent.joinall(tuple(self._connections.values()), timeout=max(0.0, ends - monotonic()))
        left = tuple(self._connections.values())
        if left:
            logger.warning("Cutting %d connections that outlasted the drain", len(left))
            gevent.killall(left, block=True, timeout=KILL_SECONDS)
            for connection in tuple(self._connections):
                self._forget(connection, None)
        if self._watchdog is not None:
            self._watchdog.close()
            self._watchdog = None
        if self._busy_poll is not None:
            self._busy_poll.close()
            self._busy_poll = None

    def _drain_idle(self) -> None:
        for connection in tuple(self._connections):
            get_hub().loop.run_callback(connection.drain)

    def _has_one_caller(self) -> bool:
        """Whether there are few connections, and at most one of them has a request whose answer has not been told."""
        connections = self._connections
        return len(connections) <= FEW and sum(not connection.awaiting_head for connection in connections) <= 1

    def respond(self, request: Request) -> Response:
        """Answer a request for a connection."""
        self.answering += 1
        try:
            return self._handler(request)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - a process edge: one broken request must not end its connection unsaid
            if request.client.gone:
                raise ClientGone from None
            return self.refuse(error, request)
        finally:
            self.answering -= 1

    def refuse(self, error: Exception, request: Request | None) -> Response:
        """Put an error into words for a connection."""
        if not isinstance(error, RequestError):
            logger.error("A request failed", exc_info=error)
        try:
            return self._on_error(error, request)
        except Exception:  # The same edge, and there is nothing left to ask.
            logger.exception("An error could not be put into words")
            return Response(500, list(UNSPEAKABLE_HEADERS), UNSPEAKABLE, close=True)

    def _resume(self) -> None:
        if not self._accepting and not self._closing:
            self._accepting = True
            for watcher, listener in zip(self._watchers, self._listeners, strict=True):
                watcher.start(self._accept, listener, ACCEPTS_AT_ONCE)

    def _pause(self) -> None:
        self._accepting = False
        for watcher in self._watchers:
            watcher.stop()

    def _accept(self, listener: socket.socket, attempts: int) -> None:
        """Accept what waits at a listener. Called in the hub."""
        for _ in range(attempts):
            if len(self._connections) >= self.limits.max_connections and not self._evict_idle():
                self._back_off()
                return
            try:
                accepted, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in RESOURCE_EXHAUSTED:
                    if not self._shortage_logged:
                        self._shortage_logged = True
                        logger.error("Cannot accept connections: %s", error.strerror)
                    if self._evict_idle():
                        continue
                    self._back_off()
                    return
                continue  # The client left before we came: ECONNABORTED and its kin.
            # `accept` makes whatever class the socket module names now, which may be gevent's.
            sock = _NativeSocket(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
            sock.setblocking(False)
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.draining:
                hear(sock)
            connection = Connection(sock, address[0] if isinstance(address, tuple) else "", self)
            greenlet = gevent.spawn(connection.run)
            self._connections[connection] = greenlet
            greenlet.link(partial(self._forget, connection))

    def _evict_idle(self) -> int:
        """Close the connections that have waited longest for a request; how many. Called in the hub.

        Several at once, because looking for them takes a look at all.
        """
        now = monotonic()
        idle = [
            (since, connection) for connection in self._connections if (since := connection.idle_since(now)) is not None
        ]
        oldest = heapq.nsmallest(EVICTIONS_AT_ONCE, idle, key=itemgetter(0))
        closed = [connection for _, connection in oldest if connection.evict()]
        for connection in closed:
            del self._connections[connection]
        return len(closed)

    def _back_off(self) -> None:
        self._pause()
        timer = get_hub().loop.timer(BACKOFF_SECONDS)

        def again() -> None:
            timer.close()
            self._resume()

        timer.start(again)

    def _forget(self, connection: Connection, _: object) -> None:
        connection.close()
        self._connections.pop(connection, None)
        if not self._accepting:
            self._shortage_logged = False
            self._resume()
