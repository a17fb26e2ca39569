"""The outbound side: calls to providers, over connections that are kept for the next call.

The law of this module: a connection serves one call at a time and belongs to whoever holds it. In the pool it is
watched: its end, a byte nobody asked for, or too long a rest closes it, and it is looked at once more before it serves
again.
"""

import ssl
from typing import Any

from proxyd.messages import Origin, Outgoing
from proxyd.upstream.call import Call
from proxyd.upstream.dial import UpstreamConnection, UpstreamLimits, dial
from proxyd.upstream.resolver import Resolver
from proxyd.upstream.tls import default_context
from proxyd.watchdog import Watchdog, tick_for

__all__ = ["Call", "UpstreamLimits", "UpstreamPool"]


class UpstreamPool:
    """Connections to all providers, of one worker. To be made and used in the same hub.

    `ssl_context` replaces the default one (system and certifi roots, host names checked, TLS >= 1.2).
    """

    def __init__(self, limits: UpstreamLimits | None = None, ssl_context: ssl.SSLContext | None = None) -> None:
        self.limits = limits or UpstreamLimits()
        self._context = ssl_context
        self._resolver = Resolver(self.limits.resolve_seconds)
        self._idle: dict[Origin, list[UpstreamConnection]] = {}  # each with the latest used last
        self._connections: set[UpstreamConnection] = set()  # idle or in use
        self._watchdog: Any = None
        self.dials = 0  # how often a connection was begun

    @property
    def idle_connections(self) -> int:
        """How many connections wait for a call."""
        return sum(len(connections) for connections in self._idle.values())

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def prepare(self) -> None:
        """Do now what the first call would wait for: read the roots of trust, load the codec of host names."""
        self._tls_context()
        b"localhost".decode("idna")

    def call(self, outgoing: Outgoing) -> Call:
        """Prepare a call; nothing happens before its `start`."""
        return Call(self, outgoing, self.limits.first_byte_seconds)

    def close(self) -> None:
        """Close all connections, those in use as well."""
        for connection in tuple(self._connections):
            connection.close()
        if self._watchdog is not None:
            self._watchdog.close()
            self._watchdog = None

    def acquire(self, origin: Origin) -> UpstreamConnection | None:
        """Give the idle connection used last, if it is still quiet."""
        connections = self._idle.get(origin)
        while connections:
            connection = connections.pop()
            connection.idle = False
            if not connection.closed and connection.quiet():
                return connection
            connection.close()
        return None

    def connect(self, call: Call, origin: Origin) -> UpstreamConnection:
        """Make a connection for `call`. Raises what `dial` raises."""
        if self._watchdog is None:
            limits = self.limits
            shortest = min(
                limits.connect_seconds,
                limits.tls_seconds,
                limits.first_byte_seconds,
                limits.idle_seconds,
                limits.send_stall_seconds,
                limits.pool_idle_seconds,
            )
            self._watchdog = Watchdog(lambda: tuple(self._connections), tick_for(shortest))

        self.dials += 1

        def register(connection: UpstreamConnection) -> None:
            self._connections.add(connection)
            call.adopt(connection)

        return dial(origin, self.limits, self._resolver, self._tls_context, self._forget, register)

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back that can serve again."""
        connections = self._idle.setdefault(connection.key, [])
        if len(connections) >= self.limits.pool_connections or connection.closed:
            connection.close()
            return
        connections.append(connection)
        connection.idle = True
        connection.arm(self.limits.pool_idle_seconds)
        connection.watch()

    def _forget(self, connection: UpstreamConnection) -> None:
        """Hear that a connection was closed."""
        self._connections.discard(connection)
        if connection.idle:
            connection.idle = False
            connections = self._idle.get(connection.key, [])
            if connection in connections:
                connections.remove(connection)

    def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = default_context()
        return self._context
