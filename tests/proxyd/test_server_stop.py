"""The server as a whole: floods, its drain, and failures of ours."""

import resource
import socket as native
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import gevent
import pytest
from socket_kit import (
    Seen,
    connect,
    exchange,
    on_error,
    read_all,
    read_until,
    running,
    statuses,
    toy,
    until,
    write,
)

from proxyd.messages import Request, Response
from proxyd.server.server import Server, ServerLimits
from proxyd.wire.http1 import HeadLimits

HOST = b"Host: router.test\r\n"
CLOSE = b"Connection: close"


def get(path: bytes = b"/", *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return method + b" " + path + b" HTTP/" + version + b"\r\n" + HOST + lines + b"\r\n"


def test_it_works() -> None:
    server = Server(toy(Seen()), on_error, [native.create_server(("127.0.0.1", 0))])
    server.start()
    assert statuses(exchange(server, get(b"/", CLOSE))) == [200]
    address = server.addresses[0]
    server.stop(1.0)
    assert server.addresses == []
    with pytest.raises(ConnectionRefusedError):
        gevent.socket.create_connection(address)


def test_a_failing_handler_is_put_into_words(caplog: pytest.LogCaptureFixture) -> None:
    def handler(_: Request) -> Response:
        raise KeyError("a bug")

    with running(handler) as server:
        assert statuses(exchange(server, get() + get(b"/", CLOSE))) == [500, 500]
    assert "A request failed" in caplog.text


def test_failing_words_are_a_plain_500(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> NoReturn:
        raise KeyError("a bug")

    server = Server(broken, broken, [native.create_server(("127.0.0.1", 0))])
    server.start()
    assert statuses(exchange(server, get())) == [500]
    server.stop(0)
    assert "could not be put into words" in caplog.text


def test_drain_lets_running_requests_finish_and_closes_idle_connections() -> None:
    entered = gevent.event.Event()
    release = gevent.event.Event()

    def handler(request: Request) -> Response:
        if request.path == "/slow":
            entered.set()
            release.wait()
        return Response(200, [], b"done")

    with running(handler) as server:
        idle, busy = connect(server), connect(server)
        write(idle, get())
        read_until(idle, b"done")
        write(busy, get(b"/slow"))
        entered.wait()
        address = server.addresses[0]
        stopping = gevent.spawn(server.stop, 5.0)
        assert read_all(idle) == b""
        with pytest.raises(ConnectionRefusedError):
            gevent.socket.create_connection(address)
        assert not stopping.ready()
        release.set()
        answer = read_all(busy)
        assert b"connection: close" in answer
        assert answer.endswith(b"done")
        stopping.join(1.0)
        assert stopping.successful()
        idle.close()
        busy.close()


def test_drain_cuts_what_outlasts_its_grace(caplog: pytest.LogCaptureFixture) -> None:
    closed = []

    def body() -> Iterator[bytes]:
        try:
            yield b"first"
            gevent.sleep(60)
        finally:
            closed.append(True)

    with running(lambda _: Response(200, [], body())) as server, connect(server) as sock:
        write(sock, get())
        read_until(sock, b"first\r\n")
        server.stop(0.05)
        assert read_all(sock) == b""
        assert server.connections == 0
    assert closed == [True]
    assert "outlasted" in caplog.text


def test_l07_connections_over_the_limit_wait_in_the_kernel() -> None:
    with running(toy(Seen()), ServerLimits(max_connections=1)) as server:
        first, second = connect(server), connect(server)
        write(second, get(b"/2", CLOSE))
        write(first, get(b"/1"))
        read_until(first, b"/1 ")
        assert server.connections == 1
        first.close()
        assert statuses(read_all(second)) == [200]
        second.close()


def test_who_waits_without_a_request_makes_room() -> None:
    with running(toy(Seen()), ServerLimits(max_connections=2, silent_seconds=0.0)) as server:
        old, busy = connect(server), connect(server)
        for sock, path in ((old, b"/old"), (busy, b"/busy")):
            write(sock, get(path))
            read_until(sock, path + b" ")
        write(busy, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
        with connect(server) as new:
            write(new, get(b"/new", CLOSE))
            assert statuses(read_all(new)) == [200]
        assert read_all(old) == b""
        write(busy, b"x")
        read_until(busy, b"POST / x")
        old.close()
        busy.close()


def test_silent_connections_do_not_shut_the_router() -> None:
    with running(toy(Seen()), ServerLimits(max_connections=4, silent_seconds=0.05)) as server:
        silent = [connect(server) for _ in range(8)]
        with connect(server) as new:
            write(new, get(b"/", CLOSE))
            assert statuses(read_all(new)) == [200]
        for sock in silent:
            sock.close()


def test_a_request_that_has_just_arrived_is_not_closed_for_room() -> None:
    with running(toy(Seen())) as server, connect(server) as sock:
        write(sock, get(b"/1"))
        read_until(sock, b"/1 ")
        (connection,) = server._connections
        write(sock, get(b"/2", CLOSE))  # no other greenlet runs before the next line
        assert connection.idle_since(time.monotonic()) is not None
        assert not connection.evict()
        assert statuses(read_all(sock)) == [200]


def test_l07_out_of_descriptors_is_a_pause_not_a_busy_loop(caplog: pytest.LogCaptureFixture) -> None:
    with running(toy(Seen())) as server:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        sock = connect(server)
        write(sock, get())
        read_until(sock, b"GET / ")
        waiting = connect(server)
        used = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
        fillers = []
        try:
            while True:
                fillers.append(native.socket())
        except OSError:
            pass
        try:
            began = time.process_time()
            gevent.sleep(0.3)
            assert time.process_time() - began < 0.1
        finally:
            for filler in fillers:
                filler.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert caplog.text.count("Cannot accept connections") == 1
        write(waiting, get(b"/", CLOSE))
        assert statuses(read_all(waiting)) == [200]
        waiting.close()
        sock.close()


def test_a_unix_socket_has_no_peer_address(tmp_path: Path) -> None:
    listener = native.socket(native.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    server = Server(lambda request: Response(200, [], request.client.peer.encode()), on_error, [listener])
    server.start()
    with gevent.socket.socket(native.AF_UNIX) as sock:
        sock.connect(str(tmp_path / "s"))
        write(sock, get(b"/", CLOSE))
        assert read_all(sock).endswith(b"content-length: 0\r\n\r\n")
    server.stop(0)


def test_peer_is_the_kernels_word() -> None:
    with running(lambda request: Response(200, [], request.client.peer.encode())) as server:
        assert exchange(server, get(b"/", CLOSE)).endswith(b"\r\n\r\n127.0.0.1")


def test_a_thousand_requests_leave_nothing_behind() -> None:
    threads = threading.active_count()
    with running(toy(Seen()), ServerLimits(head=HeadLimits())) as server:
        for _ in range(20):
            exchange(server, get() * 50 + get(b"/", CLOSE))
        until(lambda: server.connections == 0)
    assert threading.active_count() == threads
