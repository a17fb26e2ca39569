"""A look at the beginning of an answer, which takes nothing of it."""

from collections.abc import Iterator

import gevent
import pytest
from socket_kit import Peer, post, scripted

from proxyd.messages import UpstreamBroken
from proxyd.upstream.pool import UpstreamLimits, UpstreamPool


@pytest.fixture
def pool() -> Iterator[UpstreamPool]:
    pool = UpstreamPool(
        UpstreamLimits(connect_seconds=1, tls_seconds=1, first_byte_seconds=1, idle_seconds=1, send_stall_seconds=1)
    )
    yield pool
    pool.close()


def test_it_works(pool: UpstreamPool) -> None:
    looked = gevent.event.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        looked.wait()
        peer.send(b"2\r\nbc\r\n")
        peer.send(b"1\r\nd\r\n0\r\n\r\n")

    with scripted(script) as upstream:
        call = pool.call(post(upstream.origin, b""))
        call.start()
        looking = call.peek()
        assert next(looking) == b"a"
        looked.set()
        assert next(looking).startswith(b"abc")
        assert b"".join(call.chunks()) == b"abcd"
        call.close()
        assert pool.idle_connections == 1


def test_an_answer_without_a_body_has_no_beginning(pool: UpstreamPool) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with scripted(script) as upstream:
        call = pool.call(post(upstream.origin, b""))
        call.start()
        assert list(call.peek()) == list(call.chunks()) == []
        call.close()
        assert pool.idle_connections == 1


def test_what_breaks_off_is_told(pool: UpstreamPool) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")

    with scripted(script) as upstream:
        call = pool.call(post(upstream.origin, b""))
        call.start()
        looking = call.peek()
        assert next(looking) == b"ab"
        with pytest.raises(UpstreamBroken):
            next(looking)
        call.close()
