"""A client that sends more than anybody reads, so that even the kernel does not hear of its end."""

import socket as native
import time

import gevent
import pytest
from socket_kit import connect, read_all, running, statuses, until

from proxyd.messages import ClientGone, Request, Response
from proxyd.server.lookout import AHEAD_BYTES, Lookout

ASK = b"GET /1 HTTP/1.1\r\nHost: router.test\r\n\r\n"
MOST_BYTES = 64 * 1024 * 1024


def flood(sock: native.socket) -> int:
    """Send until neither side's kernel takes any more, and nobody makes room for a while; how much that was."""
    sock.setblocking(False)
    sent = 0
    idle_since = time.monotonic()
    while time.monotonic() - idle_since < 0.1 and sent < MOST_BYTES:
        try:
            sent += sock.send(b"y" * 65536)
            idle_since = time.monotonic()
        except BlockingIOError:
            gevent.sleep(0.005)
    return sent


def test_it_works() -> None:
    noticed = gevent.event.Event()

    def handler(request: Request) -> Response:
        request.client.on_gone(noticed.set)
        assert noticed.wait(5.0)
        raise ClientGone

    with running(handler) as server:
        sock = native.create_connection(server.addresses[0])
        sock.sendall(ASK)
        assert flood(sock) > 2 * AHEAD_BYTES
        sock.close()
        assert noticed.wait(5.0)  # within a second where nothing else runs; else it would be never
        until(lambda: server.connections == 0)


def test_who_stays_gets_its_answer_and_none_to_what_was_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = gevent.event.Event()
    thrown: list[bool] = []

    def handler(request: Request) -> Response:
        request.client.on_gone(lambda: None)
        assert looked.wait(5.0)
        return Response(200, [], request.path.encode())

    throw_away = Lookout._throw_away

    def watched(self: Lookout) -> None:
        throw_away(self)
        thrown.append(True)
        looked.set()

    monkeypatch.setattr(Lookout, "_throw_away", watched)
    with running(handler) as server, connect(server) as sock:
        sock.sendall(ASK + ASK.replace(b"/1", b"/2") * (3 * AHEAD_BYTES // len(ASK)))
        answer = read_all(sock)
    assert (statuses(answer), answer[-2:], thrown) == ([200], b"/1", [True])
