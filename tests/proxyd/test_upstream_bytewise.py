"""Answers of a provider over real sockets, whole and one byte a segment: the same reading, or the same refusal."""

from collections.abc import Iterator

import gevent
import pytest
from socket_kit import Peer, ask, post, scripted

from proxyd.messages import UpstreamError
from proxyd.upstream.pool import UpstreamLimits, UpstreamPool

OK = b"HTTP/1.1 200 OK\r\n"
TAKEN = {
    "length": (OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", b""),
    "chunked": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nx: y\r\n\r\n", b"hello"),
    "interim": (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    "until the end": (OK + b"\r\nhello", b"hello"),
    "old": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
}
REFUSED = {
    "both framings": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "signed length": OK + b"Content-Length: +5\r\n\r\nhello",
    "unknown coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "chunk without its end": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
    "folded": OK + b"X-A: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 5\r\n\r\nhello",
    "too short": OK + b"Content-Length: 6\r\n\r\nhello",
    "no end of chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "half a head": OK + b"Content-Length: 5",
    "TLS": b"\x15\x03\x01\0\x02\x02\x0a",
    "switching": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
}


@pytest.fixture
def pool() -> Iterator[UpstreamPool]:
    pool = UpstreamPool(UpstreamLimits(first_byte_seconds=2, idle_seconds=2))
    yield pool
    pool.close()


def sending(peer: Peer, answer: bytes, *, bytewise: bool) -> None:
    """Answer one request and close."""
    peer.read_request()
    for piece in [answer[at : at + 1] for at in range(len(answer))] if bytewise else [answer]:
        peer.send(piece)
        gevent.sleep(0)


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize(("answer", "body"), TAKEN.values(), ids=TAKEN.keys())
def test_what_is_right_is_read(pool: UpstreamPool, answer: bytes, body: bytes, bytewise: bool) -> None:
    with scripted(lambda peer: sending(peer, answer, bytewise=bytewise)) as upstream:
        assert ask(pool, post(upstream.origin)) == (200, body)


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_wrong_is_refused_and_its_connection_lost(pool: UpstreamPool, answer: bytes, bytewise: bool) -> None:
    with scripted(lambda peer: sending(peer, answer, bytewise=bytewise)) as upstream, pytest.raises(UpstreamError):
        ask(pool, post(upstream.origin))
    assert pool.connections == 0
