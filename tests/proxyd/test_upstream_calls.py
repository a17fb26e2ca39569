"""Outbound calls against a scripted upstream: framing, what is reused, and bodies of every kind."""

import socket as native
import struct
from collections.abc import Callable, Iterator

import gevent
import pytest
from socket_kit import OK, Peer, ask, post, replies, scripted, until

from proxyd.messages import Origin, UpstreamBroken
from proxyd.upstream.pool import UpstreamLimits, UpstreamPool


@pytest.fixture
def pool() -> Iterator[UpstreamPool]:
    pool = UpstreamPool(
        UpstreamLimits(connect_seconds=1, tls_seconds=1, first_byte_seconds=1, idle_seconds=1, send_stall_seconds=1)
    )
    yield pool
    pool.close()


def test_it_works(pool: UpstreamPool) -> None:
    heads = []

    def script(peer: Peer) -> None:
        while True:
            heads.append(peer.read_head())
            peer.read_to(b"ping")
            peer.send(OK)

    with scripted(script) as upstream:
        assert ask(pool, post(upstream.origin)) == (200, b"ok")
        assert ask(pool, post(upstream.origin)) == (200, b"ok")
        assert upstream.connections == 1
        host = upstream.origin.authority.encode()
    assert heads[0] == (
        b"POST /v1/x?y=z HTTP/1.1\r\nhost: " + host + b"\r\ncontent-length: 4\r\nauthorization: Bearer provider\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nAuthorization: x\r\n\r\n", b"abc"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok"),
    ],
    ids=["chunked", "trailers", "empty", "204", "p05-interim"],
)
def test_complete_answers_leave_the_connection_for_the_next(pool: UpstreamPool, answer: bytes, body: bytes) -> None:
    with scripted(replies(answer, OK)) as upstream:
        assert ask(pool, post(upstream.origin))[1] == body
        assert ask(pool, post(upstream.origin)) == (200, b"ok")
        assert upstream.connections == 1


def test_p03_head_with_a_length_has_no_body(pool: UpstreamPool) -> None:
    with scripted(replies(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", OK)) as upstream:
        call = pool.call(post(upstream.origin, b"", method="HEAD"))
        assert call.start().length == 10
        assert list(call.chunks()) == []
        call.close()
        assert ask(pool, post(upstream.origin)) == (200, b"ok")
        assert upstream.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        OK + b"extra",
        OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        OK.replace(b"1.1", b"1.0"),
    ],
    ids=["p04-204", "p04-304", "h31-extra", "close", "1.0"],
)
def test_connections_that_cannot_be_used_again(pool: UpstreamPool, answer: bytes) -> None:
    with scripted(replies(answer, OK)) as upstream:
        status, body = ask(pool, post(upstream.origin))
        assert body == (b"ok" if status == 200 else b"")
        assert pool.connections == 0
        assert ask(pool, post(upstream.origin))[0] == status
        assert upstream.connections == 2


def test_p06_an_answer_until_close(pool: UpstreamPool) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.send(b"abc")

    with scripted(script) as upstream:
        assert ask(pool, post(upstream.origin)) == (200, b"abc")
        assert pool.connections == 0


@pytest.mark.parametrize("stray", [b"x", b""], ids=["bytes", "end"])
def test_h31_an_idle_connection_that_stirs_is_dropped(pool: UpstreamPool, stray: bytes) -> None:
    go = gevent.event.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        go.wait()
        if stray:
            peer.send(stray)
            peer.read_to(b"never")

    with scripted(script) as upstream:
        ask(pool, post(upstream.origin))
        assert pool.idle_connections == 1
        go.set()
        until(lambda: pool.idle_connections == 0)
        assert pool.connections == 0


def _answer_unasked(peer: native.socket) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")


def _reset(peer: native.socket) -> None:
    peer.setsockopt(native.SOL_SOCKET, native.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


@pytest.mark.parametrize("stir", [_answer_unasked, native.socket.close, _reset])
def test_h31_it_is_looked_at_again_before_it_serves(pool: UpstreamPool, stir: Callable[[native.socket], None]) -> None:
    # What has stirred is in the kernel, and the event loop had no turn to notice.
    native_listener = native.create_server(("127.0.0.1", 0))
    port = native_listener.getsockname()[1]
    origin = Origin("http", "127.0.0.1", port, "x")
    call = pool.call(post(origin))
    waiting = gevent.spawn(call.start)
    gevent.sleep(0.02)
    peer, _ = native_listener.accept()
    peer.send(OK)
    assert waiting.get().status == 200
    assert b"".join(call.chunks()) == b"ok"
    call.close()
    stir(peer)
    again = pool.call(post(origin))
    waiting = gevent.spawn(again.start)
    gevent.sleep(0.02)
    fresh, _ = native_listener.accept()
    fresh.send(OK)
    assert waiting.get().length == 2
    assert b"".join(again.chunks()) == b"ok"
    again.close()
    for sock in (peer, fresh, native_listener):
        sock.close()


def test_idle_connections_age() -> None:
    pool = UpstreamPool(UpstreamLimits(pool_idle_seconds=0.05))
    with scripted(replies(OK, OK)) as upstream:
        ask(pool, post(upstream.origin))
        assert pool.idle_connections == 1
        until(lambda: pool.idle_connections == 0)
    pool.close()


def test_the_pool_keeps_only_so_many() -> None:
    pool = UpstreamPool(UpstreamLimits(pool_connections=1))
    with scripted(replies(OK)) as upstream:
        gevent.joinall([gevent.spawn(ask, pool, post(upstream.origin)) for _ in range(3)], raise_error=True)
        assert pool.idle_connections == 1
    pool.close()


def test_an_unread_answer_costs_the_connection(pool: UpstreamPool) -> None:
    with scripted(replies(OK, OK)) as upstream:
        call = pool.call(post(upstream.origin))
        call.start()
        call.close()
        call.close()
        assert pool.connections == 0


def test_chunks_come_as_they_arrive(pool: UpstreamPool) -> None:
    gates = [gevent.event.Event() for _ in range(3)]

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number, gate in enumerate(gates):
            gate.wait()
            peer.send(b"1\r\n%d\r\n" % number)
        peer.send(b"0\r\n\r\n")

    with scripted(script) as upstream:
        call = pool.call(post(upstream.origin))
        call.start()
        pieces = call.chunks()
        for number, gate in enumerate(gates):
            gate.set()
            assert next(pieces) == b"%d" % number
        assert list(pieces) == []
        call.close()


@pytest.mark.parametrize("length", [None, 6])
def test_a_body_is_streamed(pool: UpstreamPool, length: int | None) -> None:
    seen = []

    def script(peer: Peer) -> None:
        seen.append(peer.read_head())
        seen.append(peer.read_to(b"def" if length else b"0\r\n\r\n"))
        peer.send(OK)
        peer.read_to(b"never")

    with scripted(script) as upstream:
        assert ask(pool, post(upstream.origin, iter([b"abc", b"", b"def"]), length=length)) == (200, b"ok")
        assert pool.idle_connections == 1
    assert seen[1] == (b"abcdef" if length else b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")


def test_a_large_body_arrives_whole() -> None:
    pool = UpstreamPool()  # its times are not short: a busy machine takes seconds for such a body
    body = bytes(range(256)) * 40_000
    got = []

    def script(peer: Peer) -> None:
        got.append(peer.read_request())
        peer.send(OK)
        peer.read_to(b"never")

    with scripted(script) as upstream:
        assert ask(pool, post(upstream.origin, body)) == (200, b"ok")
        assert pool.idle_connections == 1
    assert got == [body]
    pool.close()


def test_p10_an_early_answer_is_relayed_and_the_connection_not_reused(pool: UpstreamPool) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        gevent.sleep(1)

    with scripted(script) as upstream:
        assert ask(pool, post(upstream.origin, b"x" * 20_000_000)) == (413, b"big")
        assert pool.connections == 0


def test_p10_an_early_answer_to_a_body_that_is_still_to_come(pool: UpstreamPool) -> None:
    closed = []

    def body() -> Iterator[bytes]:
        try:
            yield b"x"
            gevent.sleep(60)
        finally:
            closed.append(True)

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
        peer.read_to(b"never")

    with scripted(script) as upstream:
        assert ask(pool, post(upstream.origin, body())) == (401, b"no")
        assert pool.connections == 0
    assert closed == [True]


@pytest.mark.parametrize(("end", "whole"), [(b"0\r\n\r\n", True), (b"", False)])
def test_a_call_knows_whether_all_came_with_the_head(pool: UpstreamPool, end: bytes, whole: bool) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + end)
        peer.read_to(b"never")

    with scripted(script) as upstream:
        call = pool.call(post(upstream.origin, b""))
        call.start()
        assert call.has_begun()
        assert call.has_arrived() is whole
        assert next(call.chunks()) == b"abc"
        call.close()


def test_what_is_wrong_behind_the_head_is_told_where_the_body_is_read(pool: UpstreamPool) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        peer.read_to(b"never")

    with scripted(script) as upstream:
        call = pool.call(post(upstream.origin, b""))
        call.start()
        assert not call.has_arrived()
        with pytest.raises(UpstreamBroken):
            list(call.chunks())
        call.close()
        assert pool.idle_connections == 0
