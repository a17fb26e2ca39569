"""Outbound calls that go wrong: what is never sent twice, every way to break, deadlines and aborts."""

import socket as native
import time
from collections.abc import Iterator

import gevent
import pytest
from socket_kit import OK, Peer, ask, post, replies, scripted, until

from proxyd.messages import (
    ClientGone,
    Origin,
    UpstreamAborted,
    UpstreamBroken,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxyd.upstream.call import Call
from proxyd.upstream.pool import UpstreamLimits, UpstreamPool

LIMIT_SECONDS = 10.0


@pytest.fixture
def pool() -> Iterator[UpstreamPool]:
    """With times that a machine does not pass for being busy; tests of time-outs have a pool of their own."""
    most = LIMIT_SECONDS
    pool = UpstreamPool(UpstreamLimits(most, most, first_byte_seconds=most, idle_seconds=most, send_stall_seconds=most))
    yield pool
    pool.close()


def test_it_works(pool: UpstreamPool) -> None:
    with scripted(replies(OK)) as upstream:
        call = pool.call(post(upstream.origin))
        assert not call.sent
        assert call.start().status == 200
        assert call.sent
        assert list(call.chunks()) == [b"ok"]
        call.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    ],
)
def test_p06_a_truncated_answer_is_broken(pool: UpstreamPool, answer: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer)

    with scripted(script) as upstream:
        call = pool.call(post(upstream.origin))
        assert call.start().status == 200
        received: list[bytes] = []
        with pytest.raises(UpstreamBroken) as caught:
            received.extend(call.chunks())
        call.close()
    assert caught.value.sent
    assert b"".join(received) in (b"abc", b"")
    assert pool.connections == 0


def test_p06_a_reset_is_no_end(pool: UpstreamPool) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        gevent.sleep(0.02)
        peer.reset()

    with scripted(script) as upstream, pytest.raises(UpstreamBroken):
        ask(pool, post(upstream.origin))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 1_000_000 + b"\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ],
    ids=["cl-te", "two-cl", "bare-lf", "600", "p05-101", "obs-fold", "1-MB-header", "interim-flood", "ssh"],
)
def test_h30_what_is_not_http_is_broken(pool: UpstreamPool, answer: bytes) -> None:
    with scripted(replies(answer)) as upstream, pytest.raises(UpstreamBroken) as caught:
        ask(pool, post(upstream.origin))
    assert caught.value.sent
    assert pool.connections == 0


def test_p07_a_connection_closed_while_idle_is_not_used(pool: UpstreamPool) -> None:
    bodies = []

    def script(peer: Peer) -> None:
        bodies.append(peer.read_request())
        peer.send(OK)

    with scripted(script) as upstream:
        for number in range(5):
            assert ask(pool, post(upstream.origin, b"%d" % number)) == (200, b"ok")
            if number % 2:
                until(lambda: upstream.ended == upstream.connections)
        assert bodies == [b"%d" % number for number in range(5)]
        assert upstream.connections == 5


def test_p07_nothing_is_sent_twice(pool: UpstreamPool) -> None:
    received = []

    def script(peer: Peer) -> None:
        received.append(peer.read_request())
        peer.send(OK)
        received.append(peer.read_request())
        peer.reset()

    with scripted(script) as upstream:
        ask(pool, post(upstream.origin, b"one"))
        with pytest.raises(UpstreamUnreachable) as caught:
            ask(pool, post(upstream.origin, b"two"))
        gevent.sleep(0.05)
        assert caught.value.sent
        assert received == [b"one", b"two"]
        assert upstream.connections == 1


@pytest.mark.parametrize("end", ["close", "reset"])
def test_p08_an_upstream_that_breaks_off_before_its_answer(pool: UpstreamPool, end: str) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        if end == "reset":
            peer.reset()

    with scripted(script) as upstream, pytest.raises(UpstreamUnreachable) as caught:
        ask(pool, post(upstream.origin))
    assert caught.value.sent


def test_p09_an_upstream_that_dies_while_the_body_is_sent(pool: UpstreamPool) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.reset()

    began = time.monotonic()
    with scripted(script) as upstream, pytest.raises(UpstreamUnreachable) as caught:
        ask(pool, post(upstream.origin, b"x" * 20_000_000))
    assert caught.value.sent
    assert time.monotonic() - began < 0.9 * LIMIT_SECONDS


def test_what_the_bodys_iterator_raises_comes_out_as_it_is(pool: UpstreamPool) -> None:
    def body() -> Iterator[bytes]:
        yield b"x"
        raise ClientGone

    with scripted(replies(OK)) as upstream:
        call = pool.call(post(upstream.origin, body()))
        with pytest.raises(ClientGone):
            call.start()
        assert call.sent
        call.close()
        assert pool.connections == 0


def test_a_body_of_another_length_than_announced(pool: UpstreamPool) -> None:
    with scripted(replies(OK)) as upstream, pytest.raises(ValueError, match="length"):
        ask(pool, post(upstream.origin, iter([b"abc"]), length=5))


def test_p19_nobody_listens(pool: UpstreamPool) -> None:
    with native.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(UpstreamUnreachable, match="refused") as caught:
            ask(pool, post(Origin("http", "127.0.0.1", port, "x")))
    assert not caught.value.sent
    assert pool.connections == 0


def test_p19_an_unknown_name(pool: UpstreamPool) -> None:
    with pytest.raises((UpstreamUnreachable, UpstreamTimeout), match=r"nowhere\.invalid") as caught:
        ask(pool, post(Origin("http", "nowhere.invalid", 80, "x")))
    assert not caught.value.sent


def test_p19_a_full_backlog_is_a_timeout() -> None:
    pool = UpstreamPool(UpstreamLimits(connect_seconds=0.1))
    with native.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        origin = Origin("http", "127.0.0.1", listener.getsockname()[1], "x")
        fillers = []
        for _ in range(8):
            filler = native.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        gevent.sleep(0.02)
        with pytest.raises(UpstreamTimeout) as caught:
            ask(pool, post(origin))
        for filler in fillers:
            filler.close()
    assert not caught.value.sent
    pool.close()


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
def test_a_silent_upstream_is_a_timeout(sent: bytes) -> None:
    pool = UpstreamPool(UpstreamLimits(first_byte_seconds=0.1, idle_seconds=0.1))
    with scripted(replies(sent)) as upstream, pytest.raises(UpstreamTimeout) as caught:
        ask(pool, post(upstream.origin))
    assert caught.value.sent
    pool.close()


def test_an_upstream_that_takes_no_bytes_is_a_timeout() -> None:
    pool = UpstreamPool(UpstreamLimits(send_stall_seconds=0.1))
    with scripted(lambda _: gevent.sleep(5)) as upstream, pytest.raises(UpstreamTimeout):
        ask(pool, post(upstream.origin, b"x" * 20_000_000))
    pool.close()


def run(call: Call) -> None:
    call.start()
    list(call.chunks())


@pytest.mark.parametrize("when", ["before", "head", "body"])
def test_s09_abort_ends_a_call_at_once(pool: UpstreamPool, when: str) -> None:
    ended = gevent.event.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        if when == "body":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        try:
            peer.read_to(b"never")
        finally:
            ended.set()

    with scripted(script) as upstream:
        call = pool.call(post(upstream.origin))
        if when == "before":
            call.abort()
        else:
            gevent.get_hub().loop.run_callback(lambda: gevent.spawn_later(0.05, call.abort))
        began = time.monotonic()
        with pytest.raises(UpstreamAborted) as caught:
            run(call)
        assert caught.value.sent == (when != "before")
        if when != "before":
            assert ended.wait(0.5)
        call.close()
        assert time.monotonic() - began < 0.5
        assert pool.connections == 0


def test_abort_after_the_end_harms_nobody(pool: UpstreamPool) -> None:
    with scripted(replies(OK, OK)) as upstream:
        call = pool.call(post(upstream.origin))
        call.start()
        list(call.chunks())
        call.close()
        call.abort()
        assert ask(pool, post(upstream.origin)) == (200, b"ok")


def test_p20_answers_are_never_swapped(pool: UpstreamPool) -> None:
    def script(peer: Peer) -> None:
        while True:
            body = peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            if body.endswith(b"7"):
                peer.reset()

    def client(number: int) -> None:
        for turn in range(50):
            nonce = b"%d-%d" % (number, turn)
            try:
                assert ask(pool, post(upstream.origin, nonce)) == (200, nonce)
            except (UpstreamUnreachable, UpstreamBroken):
                pass  # It was reset under us.

    with scripted(script) as upstream:
        gevent.joinall([gevent.spawn(client, number) for number in range(20)], raise_error=True)
