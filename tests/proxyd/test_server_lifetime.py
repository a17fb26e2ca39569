"""Inbound connections over time: deadlines, and clients that leave."""

import socket as native
import time
from collections.abc import Iterator

import gevent
import pytest
from socket_kit import (
    Seen,
    connect,
    exchange,
    read_all,
    read_until,
    running,
    statuses,
    toy,
    until,
    write,
)

from proxyd.messages import ClientGone, Request, Response
from proxyd.server.server import ServerLimits

HOST = b"Host: router.test\r\n"
CLOSE = b"Connection: close"


def get(path: bytes = b"/", *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return method + b" " + path + b" HTTP/" + version + b"\r\n" + HOST + lines + b"\r\n"


def test_it_works() -> None:
    with running(toy(Seen())) as server, connect(server) as sock:
        for _ in range(2):
            write(sock, get())
            read_until(sock, b"GET / ")
        assert server.connections == 1


def test_h26_a_promised_body_that_never_comes() -> None:
    with running(toy(Seen()), ServerLimits(body_idle_seconds=0.05, linger_seconds=0.1)) as server:
        answer = exchange(server, get(b"/", b"Expect: 100-continue", b"Content-Length: 3", method=b"POST"))
    assert statuses(answer) == [100, 408]


@pytest.mark.parametrize("rest", [b"12345", b""], ids=["a body", "nothing"])
def test_what_has_arrived_while_we_were_busy_is_not_late(rest: bytes) -> None:
    limits = ServerLimits(body_idle_seconds=0.1, linger_seconds=0.1)
    with running(toy(Seen()), limits) as server, connect(server) as sock:
        write(sock, get(b"/", b"Content-Length: 5", CLOSE, method=b"POST"))
        until(lambda: any(connection.served and connection._reader for connection in server._connections))
        write(sock, rest)
        busy_until = time.monotonic() + 0.3
        while time.monotonic() < busy_until:
            pass
        assert statuses(read_all(sock)) == [200 if rest else 408]


def test_l01_slow_heads_are_cut_and_silent_ones_too() -> None:
    with running(toy(Seen()), ServerLimits(header_timeout_seconds=0.1, linger_seconds=0.1)) as server:
        assert statuses(exchange(server, b"GET / HT")) == [408]
        assert exchange(server, b"") == b""


def test_l02_a_trickling_body_is_cut() -> None:
    limits = ServerLimits(body_grace_seconds=0.05, body_rate_bytes=100_000, linger_seconds=0.1)
    with running(toy(Seen()), limits) as server, connect(server) as sock:
        write(sock, get(b"/", b"Content-Length: 100000", method=b"POST"))

        def trickle() -> None:
            try:
                while True:
                    sock.sendall(b"x")
                    gevent.sleep(0.01)
            except OSError:
                pass

        trickling = gevent.spawn(trickle)
        assert statuses(read_all(sock)) == [408]
        trickling.kill()


def test_l03_a_client_that_does_not_read_is_cut() -> None:
    closed: list[bool] = []

    def body() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed.append(True)

    with running(lambda _: Response(200, [], body()), ServerLimits(write_stall_seconds=0.1)) as server:
        sock = connect(server)
        write(sock, get())
        until(lambda: closed != [])
        until(lambda: server.connections == 0)
        sock.close()


def test_l04_idle_connections_are_closed() -> None:
    with running(toy(Seen()), ServerLimits(keep_alive_seconds=0.1)) as server, connect(server) as sock:
        write(sock, get())
        assert statuses(read_all(sock)) == [200]


def test_streams_are_chunked_and_each_piece_leaves_at_once() -> None:
    gate = [gevent.event.Event() for _ in range(3)]
    end = gevent.event.Event()

    def body() -> Iterator[bytes]:
        for number, event in enumerate(gate):
            event.wait()
            yield b"data: %d\n\n" % number
        end.wait()

    with running(lambda _: Response(200, [], body())) as server, connect(server) as sock:
        write(sock, get(b"/", CLOSE))
        assert b"transfer-encoding: chunked\r\n" in read_until(sock, b"\r\n\r\n")
        for number, event in enumerate(gate):
            event.set()
            assert read_until(sock, b"\n\n\r\n") == b"9\r\ndata: %d\n\n\r\n" % number
        end.set()
        assert read_all(sock) == b"0\r\n\r\n"


@pytest.mark.parametrize("leave", ["fin", "reset"])
def test_s08_a_client_that_leaves_is_noticed_while_nothing_is_written(leave: str) -> None:
    gone_at: list[float] = []
    told_late: list[bool] = []
    release = gevent.event.Event()

    def handler(request: Request) -> Response:
        def on_gone() -> None:
            gone_at.append(time.monotonic())
            release.set()

        request.client.on_gone(on_gone)
        assert not request.client.gone
        release.wait()
        assert request.client.gone
        request.client.on_gone(lambda: told_late.append(True))
        return Response(200, [], b"nobody reads this")

    with running(handler) as server:
        sock = connect(server)
        write(sock, get())
        gevent.sleep(0.02)
        assert gone_at == []
        if leave == "reset":
            sock.setsockopt(native.SOL_SOCKET, native.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        left = time.monotonic()
        sock.close()
        until(lambda: server.connections == 0)
    assert gone_at[0] - left < 0.5
    assert told_late == [True]  # at once, as it had left already


def test_s08_a_client_that_leaves_mid_stream_closes_the_iterator() -> None:
    closed = gevent.event.Event()
    release = gevent.event.Event()

    def handler(request: Request) -> Response:
        request.client.on_gone(release.set)

        def body() -> Iterator[bytes]:
            try:
                yield b"first"
                release.wait()
                yield b"second"
            finally:
                closed.set()

        return Response(200, [], body())

    with running(handler) as server:
        sock = connect(server)
        write(sock, get())
        read_until(sock, b"first\r\n")
        sock.close()
        assert closed.wait(1.0)


def test_a_pipelined_request_is_not_taken_for_a_client_that_left() -> None:
    released = gevent.event.Event()
    gone: list[bool] = []

    def handler(request: Request) -> Response:
        request.client.on_gone(lambda: gone.append(True))
        if request.path == "/1":
            released.wait()
        return Response(200, [], request.path.encode())

    with running(handler) as server, connect(server) as sock:
        write(sock, get(b"/1"))
        gevent.sleep(0.01)
        write(sock, get(b"/2", CLOSE))
        gevent.sleep(0.01)
        released.set()
        assert statuses(read_all(sock)) == [200, 200]
    assert gone == []


def test_a_client_that_leaves_after_its_late_body_is_noticed() -> None:
    noticed = gevent.event.Event()

    def handler(request: Request) -> Response:
        request.client.on_gone(noticed.set)
        assert request.body.read(100) == b"abc"
        assert noticed.wait(2.0)
        raise ClientGone

    with running(handler) as server:
        sock = connect(server)
        write(sock, get(b"/", b"Content-Length: 3", method=b"POST"))
        gevent.sleep(0.01)
        write(sock, b"a")
        gevent.sleep(0.01)
        write(sock, b"bc")
        gevent.sleep(0.01)
        sock.close()
        assert noticed.wait(1.0)


@pytest.mark.parametrize("leave", ["fin", "reset"])
@pytest.mark.parametrize(
    "late", [b"x", b"\r\n", get(b"/2") * 3, b"y" * 30_000], ids=["byte", "line", "requests", "flood"]
)
def test_w4_a_client_that_leaves_behind_late_bytes_is_noticed(leave: str, late: bytes) -> None:
    noticed = gevent.event.Event()
    closed: list[str] = []

    def handler(request: Request) -> Response:
        request.client.on_gone(noticed.set)
        assert noticed.wait(5.0)
        closed.append(request.path)
        raise ClientGone

    with running(handler) as server:
        sock = connect(server)
        write(sock, get(b"/1"))
        gevent.sleep(0.01)
        write(sock, late)
        gevent.sleep(0.01)
        if leave == "reset":
            sock.setsockopt(native.SOL_SOCKET, native.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        left = time.monotonic()
        sock.close()
        assert noticed.wait(5.0)
        assert time.monotonic() - left < 1.0
        until(lambda: server.connections == 0)
    assert closed == ["/1"]
