"""A server that ends while clients keep their connections: none of them loses a request for it."""

import socket as native
import time
from collections.abc import Iterator

import gevent
import pytest
from socket_kit import Seen, connect, read_all, read_until, running, statuses, toy, write

from proxyd.messages import Request, Response
from proxyd.server.listen import hear, listen, refuse_new
from proxyd.server.server import Server

ASK = b"GET / HTTP/1.1\r\nHost: router.test\r\n\r\n"
LONG = 5.0


def leaving(server: Server, idle_seconds: float = 0.0, accept_seconds: float = 0.0) -> "gevent.Greenlet[..., None]":
    """It ends from now on."""
    stopping = gevent.spawn(server.stop, LONG, idle_seconds=idle_seconds, accept_seconds=accept_seconds)
    gevent.sleep(0)
    assert server.draining
    return stopping


def test_it_works() -> None:
    with running(toy(Seen())) as server, connect(server) as kept:
        write(kept, ASK)
        read_until(kept, b"GET / ")
        stopping = leaving(server, idle_seconds=LONG)
        write(kept, ASK)
        answer = read_all(kept)
        assert statuses(answer) == [200]
        assert b"connection: close" in answer
        stopping.join(1.0)
        assert stopping.successful()


def test_who_asks_nothing_more_is_waited_for_and_then_closed() -> None:
    with running(toy(Seen())) as server, connect(server) as kept:
        write(kept, ASK)
        read_until(kept, b"GET / ")
        began = time.monotonic()
        leaving(server, idle_seconds=0.3)
        assert read_all(kept) == b""
        assert 0.3 <= time.monotonic() - began < LONG


def test_a_client_that_leaves_is_not_waited_for() -> None:
    with running(toy(Seen())) as server, connect(server) as kept:
        write(kept, ASK)
        read_until(kept, b"GET / ")
        stopping = leaving(server, idle_seconds=LONG)
        kept.close()
        stopping.join(1.0)
        assert stopping.successful()


def test_a_stream_that_began_before_leaves_its_connection_for_one_more_request() -> None:
    """Its head was sent before anybody knew, so it cannot have said that it is the last."""
    release = gevent.event.Event()

    def body() -> Iterator[bytes]:
        yield b"first"
        release.wait()

    def handler(request: Request) -> Response:
        return Response(200, [], body() if request.path == "/stream" else b"whole")

    with running(handler) as server, connect(server) as kept:
        write(kept, ASK.replace(b"/ ", b"/stream ", 1))
        read_until(kept, b"first\r\n")
        leaving(server, idle_seconds=LONG)
        release.set()
        read_until(kept, b"0\r\n\r\n")
        write(kept, ASK)
        answer = read_all(kept)
        assert answer.endswith(b"whole")
        assert b"connection: close" in answer


def test_new_connections_are_taken_as_long_as_is_said() -> None:
    with running(toy(Seen())) as server:
        stopping = leaving(server, accept_seconds=0.5)
        with connect(server) as new:
            write(new, ASK)
            answer = read_all(new)
        assert statuses(answer) == [200]
        assert b"connection: close" in answer
        address = server.addresses[0]
        stopping.join(LONG)
        with pytest.raises(ConnectionRefusedError):
            native.create_connection(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_no_connection_comes_up_that_nobody_would_accept(host: str) -> None:
    """Those that came before are there, and what they send is."""
    (listener,) = listen(f"{host}:0", 1)
    with listener, native.create_connection(listener.getsockname()[:2]) as before:
        refuse_new(listener)
        with pytest.raises(TimeoutError):
            native.create_connection(listener.getsockname()[:2], timeout=0.2)
        before.sendall(b"still")
        listener.settimeout(LONG)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(5) == b"still"
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize(
    ("host", "level", "ttl"),
    [("127.0.0.1", native.IPPROTO_IP, native.IP_TTL), ("[::1]", native.IPPROTO_IPV6, native.IPV6_UNICAST_HOPS)],
)
def test_what_was_just_beginning_is_heard(host: str, level: int, ttl: int) -> None:
    (listener,) = listen(f"{host}:0", 1)
    with listener, native.socket(listener.family) as late:
        refuse_new(listener)
        late.setsockopt(level, ttl, 255)  # so that its first packet is taken, as if it had come a moment ago
        late.settimeout(LONG)
        late.connect(listener.getsockname()[:2])
        late.setsockopt(level, ttl, 64)
        late.sendall(b"heard")
        listener.settimeout(LONG)
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(0.1)
            with pytest.raises(TimeoutError):
                accepted.recv(5)
            hear(accepted)
            accepted.settimeout(LONG)
            assert accepted.recv(5) == b"heard"


def test_a_listener_of_somebody_else_too_goes_on() -> None:
    (listener,) = listen("127.0.0.1:0", 1)
    with listener:
        server = Server(toy(Seen()), lambda *_: Response(500, [], b""), [listener.dup()])
        server.start()
        server.stop(LONG, handed_over=True)
        with native.create_connection(listener.getsockname()):
            listener.accept()[0].close()


def test_a_unix_socket_is_left_as_it_is() -> None:
    with native.socket(native.AF_UNIX) as listener:
        refuse_new(listener)
