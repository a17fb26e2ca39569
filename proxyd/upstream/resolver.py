"""Names to addresses, remembered for a while.

The law of this module: a name that somebody chose holds up no built-in provider. Such names are looked up by threads of
their own, each by one at a time, and one that could not be resolved is not looked up again for some seconds. What was
known of a built-in provider's name is used on while it is looked up.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, NamedTuple

import gevent
from gevent import get_hub
from gevent.event import AsyncResult
from gevent.monkey import get_original
from gevent.threadpool import ThreadPool

from proxyd.messages import UpstreamTimeout, UpstreamUnreachable

Address = tuple[socket.AddressFamily, Any]

THREADS = 8  # for all names that were chosen; a lookup without an answer keeps one for as long as the system tries
FAILED_SECONDS = 5.0
STALE_SECONDS = 600.0  # for which a built-in provider's addresses are used on when they could not be looked up anew
MOST_KNOWN = 1_024

_native_getaddrinfo: Callable[..., list[Any]] = get_original("socket", "getaddrinfo")


class _Place(NamedTuple):
    host: str
    port: int
    chosen: bool  # by somebody in an organisation, and not by us or the operator


def look_up(host: str, port: int) -> Sequence[Any] | None:
    """What getaddrinfo finds; None for nothing, because gevent would print an error of a thread with its trace."""
    try:
        return _native_getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None


class Resolver:
    """Finds addresses, for one worker."""

    def __init__(
        self,
        believe_seconds: float,
        *,
        look_up: Callable[[str, int], Sequence[Any] | None] = look_up,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """`look_up` blocks, and runs in a thread."""
        self._believe_seconds = believe_seconds
        self._look_up = look_up
        self._now = now
        self._known: dict[_Place, tuple[float, list[Address]]] = {}  # until when; no address: it cannot be resolved
        self._running: dict[_Place, AsyncResult[list[Address]]] = {}
        self._threads: ThreadPool | None = None

    def addresses(self, host: str, port: int, timeout_seconds: float, *, chosen: bool = False) -> list[Address]:
        """Give the addresses of `host`, best first. Raises `UpstreamUnreachable`, `UpstreamTimeout`."""
        place, now = _Place(host, port, chosen), self._now()
        until, found = self._known.get(place, (0.0, []))
        if until <= now:
            try:
                ip = ipaddress.ip_address(host)
            except ValueError:
                pass
            else:
                return [(socket.AF_INET if ip.version == 4 else socket.AF_INET6, (host, port))]
            running = self._running.get(place) or self._start(place)
            if not found or chosen or now >= until + STALE_SECONDS:
                running.wait(timeout_seconds)
                if not running.ready():
                    raise UpstreamTimeout(f"The name {host} could not be resolved in time", sent=False)
                found = running.get() or []
        if not found:
            raise UpstreamUnreachable(f"The name {host} cannot be resolved", sent=False)
        return found

    def _start(self, place: _Place) -> "AsyncResult[list[Address]]":
        running = self._running[place] = AsyncResult()
        gevent.spawn(self._resolve, place, running)
        return running

    def _resolve(self, place: _Place, running: "AsyncResult[list[Address]]") -> None:
        found: list[Address] = []
        try:
            threads = self._own_threads() if place.chosen else get_hub().threadpool
            told = threads.apply(self._look_up, (place.host, place.port))
            found = [(family, address) for family, _, _, _, address in told or ()]
            if found or place.chosen:
                self._remember(place, found)
        finally:
            del self._running[place]
            running.set(found)

    def _own_threads(self) -> ThreadPool:
        """Made with the first lookup, because a pool of threads does not outlive a fork."""
        if self._threads is None:
            self._threads = ThreadPool(THREADS)
        return self._threads

    def _remember(self, place: _Place, found: list[Address]) -> None:
        self._known.pop(place, None)
        while len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]  # the one that was looked up longest ago
        self._known[place] = (self._now() + (self._believe_seconds if found else FAILED_SECONDS), found)
