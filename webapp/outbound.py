"""Connections to addresses that people chose, judged when they are made.

A name is looked up first, and what it has is judged on the very addresses that are connected to, so that no name can be
changed in between. Whoever uses this follows no redirect and asks no proxy of the environment.
"""

import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import Any, Self

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from shared.addresses import may_be_reached, parse
from shared.policy.values import Network


class NotAllowed(Exception):
    """The address is not public, and not among those that are allowed besides."""


class UnknownName(Exception):
    """The name is not known to the resolver."""


class Line:
    """Connects to addresses that are allowed, and cuts the connection at the end of its time."""

    def __init__(self, allowed: Sequence[Network], wait_seconds: float, whole_seconds: float) -> None:
        self._allowed = allowed
        self._wait_seconds = wait_seconds
        self._twins: list[socket.socket] = []
        self._timer = threading.Timer(whole_seconds, self._cut)
        self._timer.daemon = True
        self.was_cut = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for twin in self._twins:
            twin.close()

    def connect(self, host: str, port: int) -> socket.socket:
        """Raises NotAllowed, UnknownName, OSError."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError):
            raise UnknownName from None
        usable = [entry for entry in found if self._is_allowed(str(entry[4][0]))]
        if not usable:
            raise NotAllowed
        error: OSError = OSError("no address")
        for family, kind, protocol, _, address in usable:
            if self.was_cut:
                break
            connection = socket.socket(family, kind, protocol)
            # TLS takes the descriptor of the socket that it is laid over; a second one of the same connection stays
            # ours, and what is shut down through it ends both.
            try:
                connection.settimeout(self._wait_seconds)
                self._twins.append(connection.dup())
                connection.connect(address)
            except OSError as failure:
                connection.close()
                error = failure
            else:
                return connection
        raise error

    def _is_allowed(self, text: str) -> bool:
        address = parse(text)
        return address is not None and may_be_reached(address, self._allowed)

    def _cut(self) -> None:
        self.was_cut = True
        for twin in self._twins:
            with contextlib.suppress(OSError):
                twin.shutdown(socket.SHUT_RDWR)


class LineAdapter(HTTPAdapter):
    """Makes each connection through a line; trusts the system's roots beside certifi's."""

    def __init__(self, line: Line) -> None:
        self._line = line
        super().__init__(max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        context = create_urllib3_context()
        context.load_default_certs()
        super().init_poolmanager(*arguments, ssl_context=context, **options)
        line = self._line

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return line.connect(self._dns_host, self.port)

        class Safe(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return line.connect(self._dns_host, self.port)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SafePool(HTTPSConnectionPool):
            ConnectionCls = Safe

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SafePool}


def reason_of(error: Exception) -> str | None:
    """Why no connection came about, in the system's words; None where they say nothing."""
    inner = error.args[0] if error.args else None
    cause = getattr(inner, "reason", None) or inner
    for one in (cause, *getattr(cause, "args", ())):
        if isinstance(one, OSError) and one.strerror:
            return one.strerror.lower()
    return None
