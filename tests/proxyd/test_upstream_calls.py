"""Outbound calls against a scripted upstream: framing, reuse, what is never sent twice, and every way to break."""

import socket as native
import subprocess
import time

import gevent
import pytest
from gevent import socket
from socket_kit import Peer, scripted, until

from proxyd.messages import (
    ClientGone,
    Origin,
    Outgoing,
    UpstreamAborted,
    UpstreamBroken,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxyd.upstream import UpstreamLimits, UpstreamPool


@pytest.fixture
def pool():
    pool = UpstreamPool(
        UpstreamLimits(connect_seconds=1, tls_seconds=1, first_byte_seconds=1, idle_seconds=1, send_stall_seconds=1)
    )
    yield pool
    pool.close()


def post(origin: Origin, body=b"ping", *, method: str = "POST", length: int | None = None) -> Outgoing:
    return Outgoing(origin, method, "/v1/x?y=z", [(b"authorization", b"Bearer provider")], body, length)


def ask(pool: UpstreamPool, outgoing: Outgoing) -> tuple[int, bytes]:
    call = pool.call(outgoing)
    try:
        return call.start().status, b"".join(call.chunks())
    finally:
        call.close()


def replies(*answers: bytes):
    """A script that answers each request on a connection with the next of `answers`."""

    def script(peer: Peer) -> None:
        for answer in answers:
            peer.read_request()
            peer.send(answer)
        peer.read_to(b"never")

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_it_works(pool):
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
def test_complete_answers_leave_the_connection_for_the_next(pool, answer, body):
    with scripted(replies(answer, OK)) as upstream:
        assert ask(pool, post(upstream.origin))[1] == body
        assert ask(pool, post(upstream.origin)) == (200, b"ok")
        assert upstream.connections == 1


def test_p03_head_with_a_length_has_no_body(pool):
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
def test_connections_that_cannot_be_used_again(pool, answer):
    with scripted(replies(answer, OK)) as upstream:
        status, body = ask(pool, post(upstream.origin))
        assert body == (b"ok" if status == 200 else b"")
        assert pool.connections == 0
        assert ask(pool, post(upstream.origin))[0] == status
        assert upstream.connections == 2


def test_p06_an_answer_until_close(pool):
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.send(b"abc")

    with scripted(script) as upstream:
        assert ask(pool, post(upstream.origin)) == (200, b"abc")
        assert pool.connections == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    ],
)
def test_p06_a_truncated_answer_is_broken(pool, answer):
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer)

    with scripted(script) as upstream:
        call = pool.call(post(upstream.origin))
        assert call.start().status == 200
        received = []
        with pytest.raises(UpstreamBroken) as caught:
            received.extend(call.chunks())
        call.close()
    assert caught.value.sent
    assert b"".join(received) in (b"abc", b"")
    assert pool.connections == 0


def test_p06_a_reset_is_no_end(pool):
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
def test_h30_what_is_not_http_is_broken(pool, answer):
    with scripted(replies(answer)) as upstream, pytest.raises(UpstreamBroken) as caught:
        ask(pool, post(upstream.origin))
    assert caught.value.sent
    assert pool.connections == 0


def test_p07_a_connection_closed_while_idle_is_not_used(pool):
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


def test_p07_nothing_is_sent_twice(pool):
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
def test_p08_an_upstream_that_breaks_off_before_its_answer(pool, end):
    def script(peer: Peer) -> None:
        peer.read_request()
        if end == "reset":
            peer.reset()

    with scripted(script) as upstream, pytest.raises(UpstreamUnreachable) as caught:
        ask(pool, post(upstream.origin))
    assert caught.value.sent


@pytest.mark.parametrize("stray", [b"x", b""], ids=["bytes", "end"])
def test_h31_an_idle_connection_that_stirs_is_dropped(pool, stray):
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


def test_h31_it_is_looked_at_again_before_it_serves(pool):
    # The stray byte is in the kernel, and the event loop had no turn to notice.
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
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
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


def test_idle_connections_age():
    pool = UpstreamPool(UpstreamLimits(pool_idle_seconds=0.05))
    with scripted(replies(OK, OK)) as upstream:
        ask(pool, post(upstream.origin))
        assert pool.idle_connections == 1
        until(lambda: pool.idle_connections == 0)
    pool.close()


def test_the_pool_keeps_only_so_many():
    pool = UpstreamPool(UpstreamLimits(pool_connections=1))
    with scripted(replies(OK)) as upstream:
        gevent.joinall([gevent.spawn(ask, pool, post(upstream.origin)) for _ in range(3)], raise_error=True)
        assert pool.idle_connections == 1
    pool.close()


def test_an_unread_answer_costs_the_connection(pool):
    with scripted(replies(OK, OK)) as upstream:
        call = pool.call(post(upstream.origin))
        call.start()
        call.close()
        call.close()
        assert pool.connections == 0


def test_chunks_come_as_they_arrive(pool):
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
def test_a_body_is_streamed(pool, length):
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


def test_a_large_body_arrives_whole(pool):
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


def test_p10_an_early_answer_is_relayed_and_the_connection_not_reused(pool):
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        gevent.sleep(1)

    with scripted(script) as upstream:
        assert ask(pool, post(upstream.origin, b"x" * 20_000_000)) == (413, b"big")
        assert pool.connections == 0


def test_p10_an_early_answer_to_a_body_that_is_still_to_come(pool):
    closed = []

    def body():
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


def test_p09_an_upstream_that_dies_while_the_body_is_sent(pool):
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.reset()

    began = time.monotonic()
    with scripted(script) as upstream, pytest.raises(UpstreamUnreachable) as caught:
        ask(pool, post(upstream.origin, b"x" * 20_000_000))
    assert caught.value.sent
    assert time.monotonic() - began < 0.9


def test_what_the_bodys_iterator_raises_comes_out_as_it_is(pool):
    def body():
        yield b"x"
        raise ClientGone

    with scripted(replies(OK)) as upstream:
        call = pool.call(post(upstream.origin, body()))
        with pytest.raises(ClientGone):
            call.start()
        assert call.sent
        call.close()
        assert pool.connections == 0


def test_a_body_of_another_length_than_announced(pool):
    with scripted(replies(OK)) as upstream, pytest.raises(ValueError, match="length"):
        ask(pool, post(upstream.origin, iter([b"abc"]), length=5))


def test_p19_nobody_listens(pool):
    with native.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(UpstreamUnreachable, match="refused") as caught:
            ask(pool, post(Origin("http", "127.0.0.1", port, "x")))
    assert not caught.value.sent
    assert pool.connections == 0


def test_p19_an_unknown_name(pool):
    with pytest.raises((UpstreamUnreachable, UpstreamTimeout), match="nowhere.invalid") as caught:
        ask(pool, post(Origin("http", "nowhere.invalid", 80, "x")))
    assert not caught.value.sent


def test_p19_a_full_backlog_is_a_timeout():
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
def test_a_silent_upstream_is_a_timeout(sent):
    pool = UpstreamPool(UpstreamLimits(first_byte_seconds=0.1, idle_seconds=0.1))
    with scripted(replies(sent)) as upstream, pytest.raises(UpstreamTimeout) as caught:
        ask(pool, post(upstream.origin))
    assert caught.value.sent
    pool.close()


def test_an_upstream_that_takes_no_bytes_is_a_timeout():
    pool = UpstreamPool(UpstreamLimits(send_stall_seconds=0.1))
    with scripted(lambda _: gevent.sleep(5)) as upstream, pytest.raises(UpstreamTimeout):
        ask(pool, post(upstream.origin, b"x" * 20_000_000))
    pool.close()


@pytest.mark.parametrize("when", ["before", "head", "body"])
def test_s09_abort_ends_a_call_at_once(pool, when):
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
            call.start()
            list(call.chunks())
        assert caught.value.sent == (when != "before")
        if when != "before":
            assert ended.wait(0.5)
        call.close()
        assert time.monotonic() - began < 0.5
        assert pool.connections == 0


def test_abort_after_the_end_harms_nobody(pool):
    with scripted(replies(OK, OK)) as upstream:
        call = pool.call(post(upstream.origin))
        call.start()
        list(call.chunks())
        call.close()
        call.abort()
        assert ask(pool, post(upstream.origin)) == (200, b"ok")


def test_p20_answers_are_never_swapped(pool):
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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "cert.pem"
    subprocess.run(  # noqa: S603
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]  # noqa: S607
        + ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost"],
        check=True,
        capture_output=True,
    )
    return key, certificate


@pytest.fixture
def tls_upstream(certificate):
    import ssl

    key, chain = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    listener = socket.create_server(("127.0.0.1", 0))
    names = []

    def serve():
        from gevent.ssl import SSLContext

        server_context = SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(chain, key)
        server_context.sni_callback = lambda _s, name, _c: names.append(name)
        while True:
            sock, _ = listener.accept()
            gevent.spawn(one, sock, server_context)

    def one(sock, server_context):
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


def test_tls_is_spoken_and_connections_are_kept(tls_upstream):
    from proxyd.upstream_tls import default_context

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


def test_p16_a_stranger_is_refused(tls_upstream, pool):
    port, _, _ = tls_upstream
    with pytest.raises(UpstreamUnreachable, match="certificate of localhost is refused") as caught:
        ask(pool, post(Origin("https", "localhost", port, "localhost")))
    assert not caught.value.sent
    assert pool.connections == 0


def test_p16_a_wrong_name_is_refused(tls_upstream):
    from proxyd.upstream_tls import default_context

    port, _, chain = tls_upstream
    context = default_context()
    context.load_verify_locations(chain)
    pool = UpstreamPool(ssl_context=context)
    with pytest.raises(UpstreamUnreachable, match="certificate of 127"):
        ask(pool, post(Origin("https", "127.0.0.1", port, "localhost")))
    pool.close()


def test_p16_no_tls_at_all(pool):
    with scripted(lambda peer: peer.send(b"HTTP/1.1 400 Bad\r\n\r\n")) as upstream:
        origin = Origin("https", "localhost", upstream.origin.port, "localhost")
        with pytest.raises(UpstreamUnreachable, match="TLS with localhost"):
            ask(pool, post(origin))


def test_a_silent_tls_peer_is_a_timeout():
    pool = UpstreamPool(UpstreamLimits(tls_seconds=0.1))
    with scripted(lambda _: gevent.sleep(5)) as upstream, pytest.raises(UpstreamTimeout, match="TLS"):
        ask(pool, post(Origin("https", "127.0.0.1", upstream.origin.port, "localhost")))
    pool.close()
