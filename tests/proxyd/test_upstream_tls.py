"""TLS to a provider: kept connections, names and certificates."""

import socket as native
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
import pytest
from certificates import self_signed
from gevent import socket
from gevent.ssl import SSLContext, SSLSocket
from socket_kit import Peer, ask, post, scripted, until

from proxyd.messages import Origin, UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from proxyd.upstream.pool import UpstreamLimits, UpstreamPool
from proxyd.upstream.tls import default_context


@pytest.fixture
def pool() -> Iterator[UpstreamPool]:
    pool = UpstreamPool(
        UpstreamLimits(connect_seconds=1, tls_seconds=1, first_byte_seconds=1, idle_seconds=1, send_stall_seconds=1)
    )
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and a self-signed certificate for localhost, as files."""
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_upstream(certificate: tuple[Path, Path]) -> Iterator[tuple[int, list[str], Path]]:
    key, chain = certificate
    listener = socket.socket(fileno=native.create_server(("127.0.0.1", 0)).detach())
    names = []

    def serve() -> None:
        server_context = SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(chain, key)
        server_context.sni_callback = lambda _s, name, _c: names.append(name)
        while True:
            sock, _ = listener.accept()
            gevent.spawn(one, sock, server_context)

    def one(sock: "socket.socket", server_context: SSLContext) -> None:
        with sock:
            try:
                with server_context.wrap_socket(sock, server_side=True) as tls:
                    peer = Peer(tls)
                    while True:
                        body = peer.read_request()
                        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            except (OSError, EOFError):
                pass

    greenlet = gevent.spawn(serve)
    yield listener.getsockname()[1], names, chain
    greenlet.kill()
    listener.close()


def test_it_works(tls_upstream: tuple[int, list[str], Path]) -> None:
    port, names, chain = tls_upstream
    context = default_context()
    context.load_verify_locations(chain)
    pool = UpstreamPool(ssl_context=context)
    origin = Origin("https", "localhost", port, "localhost")
    for size in (10, 3_000_000, 10):
        assert ask(pool, post(origin, b"x" * size)) == (200, b"x" * size)
        gevent.sleep(0.02)
        assert pool.idle_connections == 1
    assert names == ["localhost"]
    pool.close()


def test_p16_a_stranger_is_refused(tls_upstream: tuple[int, list[str], Path], pool: UpstreamPool) -> None:
    port, _, _ = tls_upstream
    with pytest.raises(UpstreamUnreachable, match="certificate of localhost is refused") as caught:
        ask(pool, post(Origin("https", "localhost", port, "localhost")))
    assert not caught.value.sent
    assert pool.connections == 0


def test_p16_a_wrong_name_is_refused(tls_upstream: tuple[int, list[str], Path]) -> None:
    port, _, chain = tls_upstream
    context = default_context()
    context.load_verify_locations(chain)
    pool = UpstreamPool(ssl_context=context)
    with pytest.raises(UpstreamUnreachable, match="certificate of 127"):
        ask(pool, post(Origin("https", "127.0.0.1", port, "localhost")))
    pool.close()


def test_p16_no_tls_at_all(pool: UpstreamPool) -> None:
    with scripted(lambda peer: peer.send(b"HTTP/1.1 400 Bad\r\n\r\n")) as upstream:
        origin = Origin("https", "localhost", upstream.origin.port, "localhost")
        with pytest.raises(UpstreamUnreachable, match="TLS with localhost"):
            ask(pool, post(origin))


def test_a_silent_tls_peer_is_a_timeout() -> None:
    pool = UpstreamPool(UpstreamLimits(tls_seconds=0.1))
    with scripted(lambda _: gevent.sleep(5)) as upstream, pytest.raises(UpstreamTimeout, match="TLS"):
        ask(pool, post(Origin("https", "127.0.0.1", upstream.origin.port, "localhost")))
    pool.close()


Ending = Callable[[SSLSocket], None]


def close_properly(tls: SSLSocket) -> None:
    tls.unwrap()  # sends close_notify, and waits for ours


def cut(tls: SSLSocket) -> None:
    tls.shutdown(native.SHUT_RDWR)  # a FIN of TCP, of which TLS knows nothing


@contextmanager
def tls_scripted(
    certificate: tuple[Path, Path], answer: bytes, ending: Ending
) -> Iterator[tuple[UpstreamPool, Origin]]:
    """A provider that answers each connection's request with `answer` and ends it so, and a pool that trusts it."""
    key, chain = certificate
    server_context = SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(chain, key)

    def script(plain: Peer) -> None:
        with server_context.wrap_socket(plain.sock, server_side=True) as tls:
            Peer(tls).read_request()
            tls.sendall(answer)
            ending(tls)

    context = default_context()
    context.load_verify_locations(chain)
    pool = UpstreamPool(UpstreamLimits(idle_seconds=2), ssl_context=context)
    try:
        with scripted(script) as upstream:
            yield pool, Origin("https", "localhost", upstream.origin.port, "localhost")
    finally:
        pool.close()


UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nall of it"


def test_w5_a_proper_end_of_tls_ends_an_answer(certificate: tuple[Path, Path]) -> None:
    with tls_scripted(certificate, UNTIL_CLOSE, close_properly) as (pool, origin):
        assert ask(pool, post(origin)) == (200, b"all of it")


@pytest.mark.parametrize(
    "answer",
    [
        UNTIL_CLOSE,
        b"HTTP/1.0 200 OK\r\n\r\nall of it",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nall of it",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nall of it\r\n",
    ],
    ids=["until close", "HTTP/1.0", "length", "chunked"],
)
def test_w5_a_cut_of_tls_is_no_end_of_an_answer(certificate: tuple[Path, Path], answer: bytes) -> None:
    with tls_scripted(certificate, answer, cut) as (pool, origin), pytest.raises(UpstreamBroken):
        ask(pool, post(origin))


def test_w5_a_cut_after_the_end_harms_no_answer(certificate: tuple[Path, Path]) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall of it"
    with tls_scripted(certificate, answer, cut) as (pool, origin):
        assert ask(pool, post(origin)) == (200, b"all of it")
        until(lambda: pool.connections == 0)
