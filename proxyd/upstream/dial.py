"""How a connection to a provider comes about: name, address, TCP, TLS.

The law of this module: whatever goes wrong here happened before a byte of a request left, and its error says so.
Numeric addresses and names that were resolved lately never wait for the resolver's threads.
"""

import errno
import os
import select
import socket
import ssl
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from gevent.monkey import get_original
from msgspec import Struct, field

from proxyd.channel import Cancelled, Channel, Expired
from proxyd.messages import Origin, UpstreamAborted, UpstreamTimeout, UpstreamUnreachable
from proxyd.upstream.resolver import Address, Resolver
from proxyd.upstream.tls import TlsTransport
from proxyd.wire.http1 import ChunkLimits
from shared.addresses import may_be_reached, parse
from shared.policy import Network

KEEPALIVE_INTERVAL_SECONDS = 15
KEEPALIVE_PROBES = 4

_NativeSocket: type[socket.socket] = get_original("socket", "socket")
_native_poll: Callable[[], Any] = get_original("select", "poll")


class UpstreamLimits(Struct, frozen=True):
    """What a provider may take from us; tests shorten the times."""

    connect_seconds: float = 5.0  # for the name and all addresses together
    tls_seconds: float = 5.0
    first_byte_seconds: float = 600.0  # from the request's last byte to a complete head
    idle_seconds: float = 300.0  # between two pieces of a response
    send_stall_seconds: float = 60.0  # without the provider taking a byte
    head_bytes: int = 64 * 1024
    chunk: ChunkLimits = field(default_factory=ChunkLimits)
    pool_idle_seconds: float = 30.0  # below every provider's own
    pool_connections: int = 256  # idle ones kept for one origin
    resolve_seconds: float = 30.0  # a resolved name is believed for so long
    keepalive_seconds: int = 60
    private_networks: tuple[Network, ...] = ()  # where an origin that others chose may be although it is not public


class UpstreamConnection(Channel):
    """A connection to one origin; in the pool, `idle` is True and its end or a stray byte closes it."""

    __slots__ = ("_on_close", "_poll", "_socket", "idle", "key")

    def __init__(self, sock: socket.socket, key: Origin, on_close: "Callable[[UpstreamConnection], None]") -> None:
        super().__init__(sock)
        self._socket = sock
        self._on_close = on_close
        poll = _native_poll()
        poll.register(sock.fileno(), select.POLLIN)
        self._poll = poll.poll
        self.key = key
        self.idle = False

    def unread(self) -> None:
        if self.idle:
            if self.quiet():
                self.watch()
            else:
                self.close()

    def expire(self) -> None:
        if self.idle:
            self.close()
        else:
            super().expire()

    def quiet(self) -> bool:
        """True when there is nothing to read: neither the end nor bytes nobody asked for.

        This is asked before each request on a kept connection, and the kernel answers a poll at half the price of a
        receive that fails. Only TLS has to be read: bytes may be held in it, or be none of the application's.
        """
        if not self.eager:
            return not self._poll(0)
        try:
            self.transport.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def shut(self) -> None:
        """Make the connection useless to both sides at once. May be called from the hub."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # It is so already.

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._on_close(self)


def dial(
    origin: Origin,
    limits: UpstreamLimits,
    resolver: Resolver,
    context: Callable[[], ssl.SSLContext],
    on_close: Callable[[UpstreamConnection], None],
    register: Callable[[UpstreamConnection], None],
) -> UpstreamConnection:
    """Connect to `origin`.

    `register` is told of each attempt's connection before it waits, so that a watchdog or an abort can reach it. Raises
    `UpstreamUnreachable`, `UpstreamTimeout`, `UpstreamAborted`, all with `sent=False`.
    """
    end = monotonic() + limits.connect_seconds
    addresses = resolver.addresses(origin.host, origin.port, limits.connect_seconds, chosen=origin.chosen)
    if origin.chosen:  # judged here, on what is connected to, so that no name can mean another address meanwhile
        addresses = [one for one in addresses if _may_be_reached(one, limits.private_networks)]
        if not addresses:
            raise UpstreamUnreachable(
                f"{origin.host} has no public address, and none that ROUTER_PROVIDERS_PRIVATE_ADDRESSES allows",
                sent=False,
            )
    failure = 0
    for position, (family, address) in enumerate(addresses):
        sock = _open(family, limits)
        connection = UpstreamConnection(sock, origin, on_close)
        try:
            register(connection)
            connection.arm(max(0.0, end - monotonic()) / (len(addresses) - position))
            failure = _connect(connection, sock, address)
            if failure == 0:
                if origin.scheme == "https":
                    connection.arm(limits.tls_seconds)
                    _start_tls(connection, TlsTransport(sock, context(), origin.host), origin.host)
                connection.disarm()
                return connection
        except Expired:
            failure = errno.ETIMEDOUT
        except Cancelled:
            connection.close()
            raise UpstreamAborted("The call was ended while connecting", sent=False) from None
        except BaseException:
            connection.close()
            raise
        connection.close()
    if failure == errno.ETIMEDOUT:
        raise UpstreamTimeout(f"{origin.host} did not take the connection in time", sent=False)
    raise UpstreamUnreachable(f"{origin.host} cannot be reached: {os.strerror(failure)}", sent=False)


def _may_be_reached(address: Address, allowed: Sequence[Network]) -> bool:
    parsed = parse(str(address[1][0]))
    return parsed is not None and may_be_reached(parsed, allowed)


def _open(family: socket.AddressFamily, limits: UpstreamLimits) -> socket.socket:
    try:
        sock = _NativeSocket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise UpstreamUnreachable(f"No socket for a connection: {error.strerror}", sent=False) from None
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, limits.keepalive_seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    return sock


def _connect(connection: UpstreamConnection, sock: socket.socket, address: Any) -> int:
    """Connect and give the errno, 0 for success. Raises Expired, Cancelled."""
    failure = sock.connect_ex(address)
    if failure in (errno.EINPROGRESS, errno.EWOULDBLOCK):
        connection.wait_writable()
        failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return failure


def _start_tls(connection: UpstreamConnection, transport: TlsTransport, host: str) -> None:
    """Shake hands. Raises `UpstreamUnreachable`, `UpstreamTimeout`, Cancelled."""
    try:
        while True:
            try:
                if transport.handshake():
                    break
                connection.wait_readable()
                transport.fill()
            except BlockingIOError:
                connection.wait_writable()
    except ssl.SSLCertVerificationError as error:
        raise UpstreamUnreachable(f"The certificate of {host} is refused: {error.verify_message}", sent=False) from None
    except Expired:
        raise UpstreamTimeout(f"TLS with {host} was not established in time", sent=False) from None
    except (ssl.SSLError, OSError):
        raise UpstreamUnreachable(f"TLS with {host} could not be established", sent=False) from None
    connection.transport = transport
    connection.eager = True
