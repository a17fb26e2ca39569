"""Raw peers for the socket tests: a client that writes bytes, a server with a toy handler, a scripted upstream."""

import re
import socket as native
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent import socket

from proxyd.messages import Headers, Origin, Outgoing, Request, Response
from proxyd.server.server import Server, ServerLimits
from proxyd.upstream.pool import UpstreamPool

WAIT_SECONDS = 5.0


@dataclass
class Seen:
    """What a toy handler was asked."""

    requests: list[Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    @property
    def headers(self) -> Headers:
        return self.requests[-1].headers


def on_error(error: Exception, _: Request | None) -> Response:
    return Response(getattr(error, "status", 500), [(b"content-type", b"text/plain")], str(error).encode())


def toy(seen: Seen, *, limit_bytes: int = 1 << 20) -> Callable[[Request], Response]:
    """A handler that reads the body and answers with method, path and body."""

    def handler(request: Request) -> Response:
        seen.requests.append(request)
        body = request.body.read(limit_bytes)
        seen.bodies.append(body)
        return Response(200, [(b"content-type", b"text/plain")], f"{request.method} {request.path} ".encode() + body)

    return handler


@contextmanager
def running(
    handler: Callable[[Request], Response],
    limits: ServerLimits | None = None,
    refuse: Callable[[Exception, Request | None], Response] = on_error,
) -> Iterator[Server]:
    server = Server(handler, refuse, [native.create_server(("127.0.0.1", 0))], limits)
    server.start()
    try:
        yield server
    finally:
        server.stop(0.0)


def connect(server: Server) -> "socket.socket":
    sock = socket.create_connection(server.addresses[0], timeout=WAIT_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def write(sock: "socket.socket", data: bytes, *, bytewise: bool = False) -> None:
    """Send whole, or one byte a segment."""
    try:
        if not bytewise:
            sock.sendall(data)
            return
        for position in range(len(data)):
            sock.sendall(data[position : position + 1])
            gevent.sleep(0)
    except (BrokenPipeError, ConnectionResetError):
        pass  # It was answered and closed before the end.


def read_all(sock: "socket.socket") -> bytes:
    """Read until the other side closes."""
    data = b""
    while True:
        try:
            piece = sock.recv(65536)
        except ConnectionResetError:
            return data
        if not piece:
            return data
        data += piece


def read_until(sock: "socket.socket", end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        piece = sock.recv(65536)
        if not piece:
            raise AssertionError(f"the connection ended after {data!r}")
        data += piece
    return data


def exchange(server: Server, data: bytes, *, bytewise: bool = False) -> bytes:
    """Send, and read until the server closes; the client's side stays open meanwhile."""
    with connect(server) as sock:
        write(sock, data, bytewise=bytewise)
        return read_all(sock)


def statuses(data: bytes) -> list[int]:
    """The status codes of all responses in `data`."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def until(condition: Callable[[], bool]) -> None:
    """Let the others run until `condition` holds."""
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        gevent.sleep(0.005)


Script = Callable[["Peer"], None]


class Peer:
    """One connection to the scripted upstream."""

    def __init__(self, sock: "socket.socket") -> None:
        self.sock = sock
        self.received = b""

    def read_head(self) -> bytes:
        return self.read_to(b"\r\n\r\n")

    def read_to(self, end: bytes) -> bytes:
        while end not in self.received:
            piece = self.sock.recv(65536)
            if not piece:
                raise EOFError
            self.received += piece
        taken, _, self.received = self.received.partition(end)
        return taken + end

    def read_request(self) -> bytes:
        """Read a request with Content-Length; give its body."""
        head = self.read_head().lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]) if b"content-length:" in head else 0
        while len(self.received) < length:
            piece = self.sock.recv(65536)
            if not piece:
                raise EOFError
            self.received += piece
        body, self.received = self.received[:length], self.received[length:]
        return body

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


class Upstream:
    """Runs `script` for each connection, and counts them."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.socket(fileno=native.create_server(("127.0.0.1", 0)).detach())
        self.connections = 0
        self.ended = 0
        self._greenlets: list[Any] = [gevent.spawn(self._accept)]

    @property
    def origin(self) -> Origin:
        port = self._listener.getsockname()[1]
        return Origin("http", "127.0.0.1", port, f"127.0.0.1:{port}")

    def close(self) -> None:
        self._listener.close()
        gevent.killall(self._greenlets)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._greenlets.append(gevent.spawn(self._run, sock))

    def _run(self, sock: "socket.socket") -> None:
        with sock:
            try:
                self._script(Peer(sock))
            except (EOFError, OSError):
                pass
            finally:
                self.ended += 1


@contextmanager
def scripted(script: Script) -> Iterator[Upstream]:
    upstream = Upstream(script)
    try:
        yield upstream
    finally:
        upstream.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def post(
    origin: Origin, body: bytes | Iterator[bytes] = b"ping", *, method: str = "POST", length: int | None = None
) -> Outgoing:
    return Outgoing(origin, method, "/v1/x?y=z", [(b"authorization", b"Bearer provider")], body, length)


def ask(pool: UpstreamPool, outgoing: Outgoing) -> tuple[int, bytes]:
    call = pool.call(outgoing)
    try:
        return call.start().status, b"".join(call.chunks())
    finally:
        call.close()


def replies(*answers: bytes) -> Script:
    """A script that answers each request on a connection with the next of `answers`."""

    def script(peer: Peer) -> None:
        for answer in answers:
            peer.read_request()
            peer.send(answer)
        peer.read_to(b"never")

    return script
