"""Answers that are known in the same turn of the loop leave together, and none is lost, torn or held up by that."""

import socket as native
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest
from gevent import socket
from gevent.event import Event
from gevent.monkey import get_original
from greenlet import greenlet
from socket_kit import connect, on_error, read_all, read_until, running, until, write

from proxyd.channel import Cancelled, Channel
from proxyd.messages import Request, Response
from proxyd.outbox import Outbox
from proxyd.server.answer import TOGETHER_BYTES
from proxyd.server.lookout import AHEAD_BYTES, SECONDS
from proxyd.server.server import Server, ServerLimits

STALL_SECONDS = 0.3
KEPT_SECONDS = 0.5
BODY = bytes(range(256)) * (TOGETHER_BYTES // 256)


def get(path: str) -> bytes:
    return b"GET %s HTTP/1.1\r\nhost: router\r\n\r\n" % path.encode()


def has_bytes(sock: "socket.socket") -> bool:
    return bool(get_original("select", "select")([sock.fileno()], [], [], 0)[0])


class Office:
    """A handler: `/held` waits for `release`, `/together` for `go`, the others are answered after a turn."""

    def __init__(self) -> None:
        self.release = Event()
        self.go = Event()
        self.waiting = 0
        self.paths: list[str] = []
        self.clients: list[socket.socket] = []
        self.early: list[bool] = []  # at each answer to `/together`: whether one had left already

    def __call__(self, request: Request) -> Response:
        self.paths.append(request.path)
        if request.path == "/held":
            self.waiting += 1
            self.release.wait()
        elif request.path == "/together":
            self.waiting += 1
            self.go.wait()
            self.early.append(any(has_bytes(client) for client in self.clients))
        else:
            gevent.sleep(0)
        return Response(200, [], BODY)


@contextmanager
def narrow(office: Office) -> Iterator[Server]:
    """A server whose connections take less than one answer before their client reads, with one request in hand."""
    listener = native.create_server(("127.0.0.1", 0))
    listener.setsockopt(native.SOL_SOCKET, native.SO_SNDBUF, 4096)
    limits = ServerLimits(max_connections=8, write_stall_seconds=STALL_SECONDS, keep_alive_seconds=KEPT_SECONDS)
    server = Server(office, on_error, [listener], limits)
    server.start()
    try:
        with connect(server) as held:
            write(held, get("/held"))
            until(lambda: office.waiting == 1)
            yield server
            office.release.set()
            assert read_until(held, BODY)
    finally:
        server.stop(0.0)


def narrow_client(server: Server) -> "socket.socket":
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sock.settimeout(5.0)
    sock.connect(server.addresses[0])
    return sock


def read_slowly(sock: "socket.socket", answers: int) -> bytes:
    """Read some answers, a little at a time."""
    data = b""
    while data.count(BODY) < answers:
        gevent.sleep(0.001)
        piece = sock.recv(1500)
        assert piece, f"the connection ended after {len(data)} bytes"
        data += piece
    return data


def test_answers_of_one_turn_leave_at_its_end() -> None:
    office = Office()
    with running(office) as server, connect(server) as held, connect(server) as one, connect(server) as two:
        office.clients = [one, two]
        write(held, get("/held"))
        for client in office.clients:
            write(client, get("/together"))
        until(lambda: office.waiting == 3)

        office.go.set()

        for client in office.clients:
            assert read_until(client, BODY).startswith(b"HTTP/1.1 200 ")
        assert office.early == [False, False]
        office.release.set()
        assert read_until(held, BODY)


def test_an_answer_that_is_alone_waits_for_nobody() -> None:
    left: list[bool] = []

    def handler(_: Request) -> Response:
        gevent.get_hub().loop.run_callback(lambda: left.append(has_bytes(client)))
        return Response(200, [], BODY)

    with running(handler) as server, connect(server) as client:
        write(client, get("/"))
        assert read_until(client, BODY)
        assert left == [True]


def test_answers_that_find_no_room_arrive_whole_and_in_order() -> None:
    office = Office()
    with narrow(office) as server, narrow_client(server) as client:
        write(client, b"".join(get(f"/{number}") for number in range(5)))
        gevent.sleep(STALL_SECONDS / 3)  # so that they are stuck, and not for too long
        data = read_slowly(client, 5)
        parts = data.split(BODY)
        assert len(parts) == 6
        assert parts[5] == b""
        assert all(part.startswith(b"HTTP/1.1 200 ") and part.endswith(b"\r\n\r\n") for part in parts[:5])


def test_a_connection_goes_on_after_an_answer_that_found_no_room_and_is_not_kept_for_ever() -> None:
    office = Office()
    with narrow(office) as server, narrow_client(server) as client:
        for _ in range(2):
            write(client, get("/"))
            gevent.sleep(STALL_SECONDS / 3)
            read_slowly(client, 1)
        began = time.monotonic()
        assert client.recv(1) == b""
        assert time.monotonic() - began > KEPT_SECONDS / 2
        until(lambda: server.connections == 1)


def test_who_never_reads_an_answer_is_cut_off() -> None:
    office = Office()
    with narrow(office) as server, narrow_client(server) as client:
        write(client, get("/"))
        until(lambda: server.connections == 2)
        until(lambda: server.connections == 1)


def test_nothing_follows_an_answer_that_left_by_half() -> None:
    office = Office()
    with narrow(office) as server, narrow_client(server) as client:
        write(client, get("/torn"))
        until(lambda: any(one.sending for one in server._connections))
        write(client, get("/next"))
        until(lambda: server.connections == 1)
        assert office.paths == ["/held", "/torn"]


def test_an_answer_that_found_no_room_does_not_wait_for_the_next_request() -> None:
    office = Office()
    with narrow(office) as server, narrow_client(server) as client:
        write(client, get("/") + get("/held"))
        assert read_slowly(client, 1)  # while the next one is held
        assert office.waiting == 2


def test_a_client_that_is_gone_when_its_answer_leaves_ends_its_connection_alone() -> None:
    office = Office()
    with running(office) as server, connect(server) as held, connect(server) as gone, connect(server) as stays:
        write(held, get("/held"))
        office.clients = [stays]
        for client in (gone, stays):
            write(client, get("/together"))
        until(lambda: office.waiting == 3)
        office.go.set()
        # In this turn, before anything has left and before the loop could hear of it.
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
        assert read_until(stays, BODY)
        until(lambda: server.connections == 2)


def test_an_answer_leaves_before_its_connection_is_ended_because_too_much_came_ahead() -> None:
    office = Office()
    with running(office) as server, connect(server) as held, connect(server) as eager:
        write(held, get("/held"))
        write(eager, get("/together"))
        until(lambda: office.waiting == 2)
        write(eager, b"x" * (2 * AHEAD_BYTES))
        gevent.sleep(2.5 * SECONDS)  # so that it was thrown away
        office.go.set()
        assert read_all(eager).endswith(BODY)
        office.release.set()
        assert read_until(held, BODY)


def test_an_answer_that_found_no_room_is_not_cut_when_its_worker_leaves() -> None:
    office = Office()
    with narrow(office) as server, narrow_client(server) as client:
        write(client, get("/"))
        gevent.sleep(STALL_SECONDS / 3)
        (stuck,) = [one for one in server._connections if one.sending]
        assert stuck.idle
        assert stuck.idle_since(time.monotonic()) is None  # nor when others need its place
        office.release.set()
        leaving = gevent.spawn(server.stop, 5.0)
        gevent.sleep(STALL_SECONDS / 3)
        assert read_slowly(client, 1).endswith(BODY)
        assert client.recv(1) == b""
        leaving.get(timeout=5.0)


@pytest.fixture
def pair() -> Iterator[tuple[Channel, native.socket]]:
    ours, theirs = get_original("socket", "socketpair")()
    ours.setblocking(False)
    channel = Channel(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


def test_what_was_to_leave_soon_leaves_before_the_connection_is_closed(pair: tuple[Channel, native.socket]) -> None:
    channel, peer = pair
    Outbox().add(channel, b"the answer", STALL_SECONDS)
    channel.close()
    assert peer.recv(100) == b"the answer"
    assert peer.recv(100) == b""


def test_what_was_to_leave_soon_leaves_before_what_is_sent_next(pair: tuple[Channel, native.socket]) -> None:
    channel, peer = pair
    outbox = Outbox()
    outbox.add(channel, b"one,", STALL_SECONDS)
    outbox.add(channel, b"two,", STALL_SECONDS)
    outbox.add(channel, b"three,", STALL_SECONDS)
    channel.send_all(b"four", STALL_SECONDS)
    gevent.sleep(0)
    assert peer.recv(100) == b"one,two,three,four"


class Unwilling(native.socket):
    """A connection that takes nothing, though nothing is heard of its end."""

    def send(self, *_: object) -> int:
        raise ConnectionResetError


def test_a_send_that_fails_is_told_to_who_waits_on_the_connection() -> None:
    ours, theirs = native.socketpair()
    with theirs, gevent.Timeout(5.0):
        channel = Channel(Unwilling(fileno=ours.detach()))
        channel.transport.setblocking(False)  # type: ignore[attr-defined]
        Outbox().add(channel, b"the answer", STALL_SECONDS)
        with pytest.raises(Cancelled):
            channel.recv(100)
        channel.close()


def test_whoever_fails_on_a_send_keeps_no_other_from_its_own(pair: tuple[Channel, native.socket]) -> None:
    """A plain greenlet has nobody who catches what it raises, and it comes up where all are sent."""
    channel, peer = pair
    ours, theirs = native.socketpair()
    with theirs:
        unwilling = Channel(Unwilling(fileno=ours.detach()))
        unwilling.transport.setblocking(False)  # type: ignore[attr-defined]
        gevent.get_hub().loop.run_callback(greenlet(lambda: unwilling.recv(100), gevent.get_hub()).switch)
        gevent.sleep(0)
        outbox = Outbox()
        outbox.add(unwilling, b"the answer", STALL_SECONDS)
        outbox.add(channel, b"another", STALL_SECONDS)
        gevent.sleep(0.01)
        peer.settimeout(5.0)
        assert peer.recv(100) == b"another"
        unwilling.close()
