"""Listening sockets, one for each worker, on the same address.

The law of this module: the supervisor binds, and keeps the sockets open for as long as it lives. A worker that dies
leaves its queue to the one that replaces it, so that no connection the kernel has taken is refused by us. SO_REUSEPORT
spreads connections over the sockets; that a stranger (or a second router) holds the address is found out before.
"""

import os
import socket
from pathlib import Path

from gevent.monkey import get_original

BACKLOG = 2048

# What a packet must have left of its "time to live" to be taken: by kind of address, the level and the name of the
# option (IP_MINTTL and IPV6_MINHOPCOUNT of RFC 5082, which the socket module does not name). It takes no privilege;
# a packet filter does on newer kernels.
_LEAST_TTL = {socket.AF_INET: (socket.IPPROTO_IP, 21), socket.AF_INET6: (socket.IPPROTO_IPV6, 73)}
_MOST = 255  # hosts begin with 64 or 128, and each router on the way takes one off

_NativeSocket: type[socket.socket] = get_original("socket", "socket")
# gevent's own asks a thread of its hub, and a supervisor with a hub can neither fork nor start a child well.
_native_getaddrinfo = get_original("socket", "getaddrinfo")


def refuse_new(listener: socket.socket) -> None:
    """Let no connection begin any more at a listening socket that is about to be closed.

    A listener that is closed resets what has come into its queue since the last look, and such a client believed itself
    connected and may have sent its request. With this nothing more comes into the queue: who begins to connect is not
    answered, tries again after a second, and is refused then or finds whoever listens next. Any process that holds the
    socket is concerned. (A Unix socket has no such means, and peers whose packets come with all 255 are not kept out.)
    """
    if listener.family in _LEAST_TTL:
        listener.setsockopt(*_LEAST_TTL[listener.family], _MOST)


def hear(accepted: socket.socket) -> None:
    """Take what a connection sends that was beginning just when no more should: it has its listener's option."""
    if accepted.family in _LEAST_TTL:
        accepted.setsockopt(*_LEAST_TTL[accepted.family], 0)


class BindError(Exception):
    """The address cannot be listened on; the text is for the operator."""


def listen(bind: str, count: int) -> list[socket.socket]:
    """Listen `count` times on `bind`: "host:port", "[v6]:port" or "unix:/path" (then once). Raises `BindError`.

    Port 0 takes a free port, the same for all.
    """
    if bind.startswith("unix:"):
        return [_listen_unix(bind.removeprefix("unix:"))]
    family, address = _free_address(bind)
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(_bound(family, address, reuse_port=True))
            sockets[-1].listen(BACKLOG)
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise BindError(f"Cannot listen on {bind}: {error.strerror}") from None
    return sockets


def check_free(bind: str) -> None:
    """Raise `BindError` unless "host:port" or "[v6]:port" could be listened on now.

    Nothing listens for it: whoever connected meanwhile would be cut off.
    """
    _free_address(bind)


def _free_address(bind: str) -> tuple[int, object]:
    """The family and the address to bind, which nobody else has. Raises `BindError`."""
    host, _, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise BindError(f"{bind!r} is not an address to listen on; write host:port, e.g. 127.0.0.1:8080")
    try:
        found = _native_getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise BindError(f"{bind}: {error.strerror}") from None
    family, _, _, _, address = found[0]
    try:
        # Without SO_REUSEPORT the kernel refuses an address that anybody listens on already.
        probe = _bound(family, address, reuse_port=False)
        address = probe.getsockname()
        probe.close()
    except OSError as error:
        raise BindError(f"Cannot listen on {bind}: {error.strerror}") from None
    return family, address


def _bound(family: int, address: object, *, reuse_port: bool) -> socket.socket:
    sock = _NativeSocket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)  # type: ignore[arg-type] # as getaddrinfo gave it
    except OSError:
        sock.close()
        raise
    return sock


def _listen_unix(path: str) -> socket.socket:
    sock = _NativeSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_abandoned(path):
            os.unlink(path)  # noqa: PTH108 - a socket is no file to read or write
        sock.bind(path)
        os.chmod(path, 0o600)  # noqa: PTH101 - likewise
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise BindError(f"Cannot listen on unix:{path}: {error.strerror}") from None
    return sock


def _is_abandoned(path: str) -> bool:
    """Tell whether `path` is a socket that nobody listens on any more, as a killed supervisor leaves it."""
    if not Path(path).is_socket():
        return False  # Connecting to a plain file is refused too.
    with _NativeSocket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
