"""Inbound connections: order, framing of answers, deadlines, clients that leave, bodies nobody reads."""

import os
import resource
import socket as native
import threading
import time

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

from proxyd.messages import ClientGone, Response, Truncated
from proxyd.server import Server, ServerLimits
from proxyd.wire.http1 import HeadLimits

HOST = b"Host: router.test\r\n"


def get(path: bytes = b"/", *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return method + b" " + path + b" HTTP/" + version + b"\r\n" + HOST + lines + b"\r\n"


CLOSE = b"Connection: close"


def test_it_works():
    with running(toy(Seen())) as server:
        answer = exchange(server, get(b"/hello", CLOSE))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"GET /hello "
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert lines[1] == b"content-type: text/plain"
    assert lines[2].startswith(b"date: ")
    assert lines[3:] == [b"connection: close", b"content-length: 11"]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
def test_h21_pipelined_requests_are_answered_in_order(bytewise):
    seen = Seen()

    def handler(request):
        # The first is the slowest: an answer may not overtake it.
        gevent.sleep({"/1": 0.02, "/2": 0.01}.get(request.path, 0))
        return toy(seen)(request)

    chunked = get(b"/2", b"Authorization: two", b"Transfer-Encoding: chunked", method=b"POST") + b"1\r\nx\r\n0\r\n\r\n"
    raw = get(b"/1", b"Authorization: one") + chunked + get(b"/3", b"Authorization: three", CLOSE)
    with running(handler) as server:
        answer = exchange(server, raw, bytewise=bytewise)
    assert [part.split(b" ", 2)[1] for part in answer.split(b"\r\n\r\n")[1:]] == [b"/1", b"/2", b"/3"]
    assert [request.header(b"authorization") for request in seen.requests] == [b"one", b"two", b"three"]
    assert seen.bodies == [b"", b"x", b""]


def test_h22_nothing_is_served_after_close():
    seen = Seen()
    with running(toy(seen)) as server:
        assert statuses(exchange(server, get(b"/1", CLOSE) + get(b"/2"))) == [200]
    assert seen.paths == ["/1"]


def test_h20_an_unread_body_that_came_is_skipped_and_the_connection_kept():
    seen = Seen()

    def handler(request):
        seen.requests.append(request)
        return Response(401, [], b"no")

    smuggled = get(b"/smuggled")
    raw = get(b"/1", b"Content-Length: %d" % len(smuggled), method=b"POST") + smuggled
    chunked = get(b"/2", b"Transfer-Encoding: chunked", method=b"POST") + b"%x\r\n%b\r\n0\r\n\r\n" % (
        len(smuggled),
        smuggled,
    )
    with running(handler) as server:
        assert statuses(exchange(server, raw + chunked + get(b"/3", CLOSE))) == [401, 401, 401]
    assert seen.paths == ["/1", "/2", "/3"]


def test_h27_a_large_unread_body_ends_the_connection_and_the_answer_survives():
    seen = Seen()

    def handler(request):
        seen.requests.append(request)
        return Response(429, [], b"slow down")

    body = get(b"/smuggled") * 20_000
    with running(handler) as server, connect(server) as sock:
        write(sock, get(b"/1", b"Content-Length: %d" % len(body), method=b"POST") + body)
        answer = read_all(sock)
    assert statuses(answer) == [429]
    assert b"connection: close" in answer
    assert answer.endswith(b"slow down")
    assert seen.paths == ["/1"]


def test_h27_a_body_that_never_ends_is_not_waited_for():
    with running(lambda _: Response(429, [], b"no"), ServerLimits(linger_seconds=0.1)) as server, connect(server) as sock:
        write(sock, get(b"/1", b"Transfer-Encoding: chunked", method=b"POST") + b"5\r\nab")
        assert statuses(read_all(sock)) == [429]
        until(lambda: server.connections == 0)


def test_a_body_over_the_limit_is_refused_before_it_is_read():
    seen = Seen()
    with running(toy(seen, limit_bytes=10), ServerLimits(linger_seconds=0.1)) as server:
        assert statuses(exchange(server, get(b"/", b"Content-Length: 11", CLOSE, method=b"POST"))) == [413]
        chunks = get(b"/", b"Transfer-Encoding: chunked", CLOSE, method=b"POST") + b"6\r\nabcdef\r\n" * 2 + b"0\r\n\r\n"
        assert statuses(exchange(server, chunks)) == [413]
    assert seen.bodies == []


def test_h25_continue_is_said_when_the_body_is_read():
    seen = Seen()
    with running(toy(seen)) as server, connect(server) as sock:
        write(sock, get(b"/", b"Expect: 100-continue", b"Content-Length: 3", CLOSE, method=b"POST"))
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        write(sock, b"abc")
        assert statuses(read_all(sock)) == [200]
    assert seen.bodies == [b"abc"]


def test_h25_a_refusal_comes_without_continue_and_closes():
    with running(lambda _: Response(401, [], b"no"), ServerLimits(linger_seconds=0.1)) as server:
        raw = get(b"/", b"Expect: 100-continue", b"Content-Length: 3", method=b"POST")
        answer = exchange(server, raw)
    assert statuses(answer) == [401]
    assert b"connection: close" in answer


def test_h25_http_10_has_no_expectations():
    seen = Seen()
    raw = get(b"/", b"Expect: 100-continue", b"Content-Length: 3", method=b"POST", version=b"1.0") + b"abc"
    with running(toy(seen)) as server:
        assert statuses(exchange(server, raw)) == [200]


def test_h26_a_promised_body_that_never_comes():
    with running(toy(Seen()), ServerLimits(body_idle_seconds=0.05, linger_seconds=0.1)) as server:
        answer = exchange(server, get(b"/", b"Expect: 100-continue", b"Content-Length: 3", method=b"POST"))
    assert statuses(answer) == [100, 408]


def test_l01_slow_heads_are_cut_and_silent_ones_too():
    with running(toy(Seen()), ServerLimits(header_timeout_seconds=0.1, linger_seconds=0.1)) as server:
        assert statuses(exchange(server, b"GET / HT")) == [408]
        assert exchange(server, b"") == b""


def test_l02_a_trickling_body_is_cut():
    limits = ServerLimits(body_grace_seconds=0.05, body_rate_bytes=100_000, linger_seconds=0.1)
    with running(toy(Seen()), limits) as server, connect(server) as sock:
        write(sock, get(b"/", b"Content-Length: 100000", method=b"POST"))

        def trickle():
            try:
                while True:
                    sock.sendall(b"x")
                    gevent.sleep(0.01)
            except OSError:
                pass

        trickling = gevent.spawn(trickle)
        assert statuses(read_all(sock)) == [408]
        trickling.kill()


def test_l03_a_client_that_does_not_read_is_cut():
    closed = []

    def body():
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed.append(True)

    with running(lambda _: Response(200, [], body()), ServerLimits(write_stall_seconds=0.1)) as server:
        sock = connect(server)
        write(sock, get())
        until(lambda: closed != [])
        until(lambda: server.connections == 0)
        sock.close()


def test_l04_idle_connections_are_closed():
    with running(toy(Seen()), ServerLimits(keep_alive_seconds=0.1)) as server, connect(server) as sock:
        write(sock, get())
        assert statuses(read_all(sock)) == [200]


def test_streams_are_chunked_and_each_piece_leaves_at_once():
    gate = [gevent.event.Event() for _ in range(3)]
    end = gevent.event.Event()

    def body():
        for number, event in enumerate(gate):
            event.wait()
            yield b"data: %d\n\n" % number
        end.wait()

    with running(lambda _: Response(200, [], body())) as server, connect(server) as sock:
        write(sock, get(b"/", CLOSE))
        assert b"transfer-encoding: chunked\r\n" in read_until(sock, b"\r\n\r\n")
        for number, event in enumerate(gate):
            event.set()
            assert read_until(sock, b"\n\n\r\n") == b"9\r\ndata: %d\n\n\r\n" % number
        end.set()
        assert read_all(sock) == b"0\r\n\r\n"


def test_a_stream_to_http_10_ends_with_the_connection():
    with running(lambda _: Response(200, [], iter([b"a", b"", b"b"]))) as server:
        answer = exchange(server, get(version=b"1.0"))
    assert answer.endswith(b"\r\n\r\nab")
    assert b"chunked" not in answer


def test_a_stream_of_known_length_keeps_the_connection():
    with running(lambda _: Response(200, [], iter([b"a", b"b"]), length=2)) as server:
        answer = exchange(server, get() + get(b"/", CLOSE))
    assert answer.count(b"content-length: 2\r\n") == 2
    assert answer.count(b"\r\n\r\nab") == 2


@pytest.mark.parametrize("pieces", [[b"a"], [b"a", b"bc"]], ids=["short", "long"])
def test_a_wrong_length_cuts(pieces):
    with running(lambda _: Response(200, [], iter(pieces), length=2)) as server:
        answer = exchange(server, get() + get())
    assert answer.endswith(b"\r\n\r\na")


@pytest.mark.parametrize("error", [Truncated(), ValueError("a bug"), ClientGone()])
def test_a_failing_stream_has_no_clean_end(error, caplog):
    def body():
        yield b"abc"
        raise error

    with running(lambda _: Response(200, [], body())) as server:
        assert exchange(server, get()).endswith(b"3\r\nabc\r\n")
        with connect(server) as sock:
            write(sock, get(version=b"1.0"))
            with pytest.raises(ConnectionResetError):
                while sock.recv(1000):
                    pass
    assert ("failed" in caplog.text) == isinstance(error, ValueError)


def test_head_and_bodiless_statuses():
    answers = {
        "/head": lambda: Response(200, [], b"12345"),
        "/known": lambda: Response(200, [], b"", length=10),
        "/stream": lambda: Response(200, [], iter([b"abc"])),
        "/204": lambda: Response(204, [], b""),
        "/304": lambda: Response(304, [], b"", length=7),
    }
    with running(lambda request: answers[request.path]()) as server:
        raw = b"".join(get(path.encode(), method=b"HEAD") for path in ("/head", "/known", "/stream"))
        answer = exchange(server, raw + get(b"/204") + get(b"/304", CLOSE))
    heads = answer.split(b"\r\n\r\n")
    assert [b"content-length: 5" in heads[0], b"content-length: 10" in heads[1]] == [True, True]
    assert b"content-length" not in heads[2] + heads[3]
    assert b"content-length: 7" in heads[4]
    assert heads[5] == b""


def test_http_10_keep_alive():
    with running(toy(Seen())) as server:
        answer = exchange(server, get(b"/1", b"Connection: keep-alive", version=b"1.0") + get(b"/2", version=b"1.0"))
    assert statuses(answer) == [200, 200]
    assert b"connection: keep-alive\r\n" in answer


@pytest.mark.parametrize("leave", ["fin", "reset"])
def test_s08_a_client_that_leaves_is_noticed_while_nothing_is_written(leave):
    gone_at = []
    release = gevent.event.Event()

    def handler(request):
        request.client.on_gone(lambda: (gone_at.append(time.monotonic()), release.set()))
        assert not request.client.gone
        release.wait()
        assert request.client.gone
        called = []
        request.client.on_gone(lambda: called.append(True))
        gone_at.extend(called)
        return Response(200, [], b"nobody reads this")

    with running(handler) as server:
        sock = connect(server)
        write(sock, get())
        gevent.sleep(0.02)
        assert gone_at == []
        if leave == "reset":
            sock.setsockopt(native.SOL_SOCKET, native.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        left = time.monotonic()
        sock.close()
        until(lambda: server.connections == 0)
    assert gone_at[0] - left < 0.5
    assert gone_at[1] is True


def test_s08_a_client_that_leaves_mid_stream_closes_the_iterator():
    closed = gevent.event.Event()
    release = gevent.event.Event()

    def handler(request):
        request.client.on_gone(release.set)

        def body():
            try:
                yield b"first"
                release.wait()
                yield b"second"
            finally:
                closed.set()

        return Response(200, [], body())

    with running(handler) as server:
        sock = connect(server)
        write(sock, get())
        read_until(sock, b"first\r\n")
        sock.close()
        assert closed.wait(1.0)


def test_a_pipelined_request_is_not_taken_for_a_client_that_left():
    released = gevent.event.Event()
    gone = []

    def handler(request):
        request.client.on_gone(lambda: gone.append(True))
        if request.path == "/1":
            released.wait()
        return Response(200, [], request.path.encode())

    with running(handler) as server, connect(server) as sock:
        write(sock, get(b"/1"))
        gevent.sleep(0.01)
        write(sock, get(b"/2", CLOSE))
        gevent.sleep(0.01)
        released.set()
        assert statuses(read_all(sock)) == [200, 200]
    assert gone == []


def test_a_client_that_leaves_after_its_late_body_is_noticed():
    noticed = gevent.event.Event()

    def handler(request):
        request.client.on_gone(noticed.set)
        assert request.body.read(100) == b"abc"
        assert noticed.wait(2.0)
        raise ClientGone

    with running(handler) as server:
        sock = connect(server)
        write(sock, get(b"/", b"Content-Length: 3", method=b"POST"))
        gevent.sleep(0.01)
        write(sock, b"a")
        gevent.sleep(0.01)
        write(sock, b"bc")
        gevent.sleep(0.01)
        sock.close()
        assert noticed.wait(1.0)


def test_a_failing_handler_is_put_into_words(caplog):
    def handler(_):
        raise KeyError("a bug")

    with running(handler) as server:
        assert statuses(exchange(server, get() + get(b"/", CLOSE))) == [500, 500]
    assert "A request failed" in caplog.text


def test_failing_words_are_a_plain_500(caplog):
    def broken(*_):
        raise KeyError("a bug")

    server = Server(broken, broken, [native.create_server(("127.0.0.1", 0))])
    server.start()
    assert statuses(exchange(server, get())) == [500]
    server.stop(0)
    assert "could not be put into words" in caplog.text


def test_a_refused_method_names_the_allowed_ones():
    with running(toy(Seen())) as server:
        assert b"\r\nallow: DELETE, GET" in exchange(server, get(method=b"TRACE"))


def test_drain_lets_running_requests_finish_and_closes_idle_connections():
    entered = gevent.event.Event()
    release = gevent.event.Event()

    def handler(request):
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


def test_drain_cuts_what_outlasts_its_grace(caplog):
    closed = []

    def body():
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


def test_l07_connections_over_the_limit_wait_in_the_kernel():
    with running(toy(Seen()), ServerLimits(max_connections=1)) as server:
        first, second = connect(server), connect(server)
        write(second, get(b"/2", CLOSE))
        write(first, get(b"/1"))
        read_until(first, b"/1 ")
        assert server.connections == 1
        first.close()
        assert statuses(read_all(second)) == [200]
        second.close()


def test_l07_out_of_descriptors_is_a_pause_not_a_busy_loop(caplog):
    with running(toy(Seen())) as server:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        sock = connect(server)
        write(sock, get())
        read_until(sock, b"GET / ")
        waiting = connect(server)
        used = max(int(name) for name in os.listdir("/proc/self/fd"))
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


def test_a_unix_socket_has_no_peer_address(tmp_path):
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


def test_peer_is_the_kernels_word():
    with running(lambda request: Response(200, [], request.client.peer.encode())) as server:
        assert exchange(server, get(b"/", CLOSE)).endswith(b"\r\n\r\n127.0.0.1")


def test_a_thousand_requests_leave_nothing_behind():
    with running(toy(Seen()), ServerLimits(head=HeadLimits())) as server:
        for _ in range(20):
            exchange(server, get() * 50 + get(b"/", CLOSE))
        until(lambda: server.connections == 0)
    assert threading.active_count() == 1
