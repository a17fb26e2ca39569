"""Inbound connections: order, what becomes of bodies, and how answers are framed."""

import socket
from collections.abc import Iterator

import gevent
import pytest
from socket_kit import (
    Seen,
    connect,
    exchange,
    read_all,
    read_until,
    running,
    statuses,
    toy,
    until,
    write,
)

from proxyd.messages import ClientGone, Request, Response, Truncated
from proxyd.server.server import ServerLimits

HOST = b"Host: router.test\r\n"
CLOSE = b"Connection: close"


def get(path: bytes = b"/", *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return method + b" " + path + b" HTTP/" + version + b"\r\n" + HOST + lines + b"\r\n"


def test_it_works() -> None:
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
def test_h21_pipelined_requests_are_answered_in_order(bytewise: bool) -> None:
    seen = Seen()

    def handler(request: Request) -> Response:
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


def test_h22_nothing_is_served_after_close() -> None:
    seen = Seen()
    with running(toy(seen)) as server:
        assert statuses(exchange(server, get(b"/1", CLOSE) + get(b"/2"))) == [200]
    assert seen.paths == ["/1"]


def test_h20_an_unread_body_that_came_is_skipped_and_the_connection_kept() -> None:
    seen = Seen()

    def handler(request: Request) -> Response:
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


def test_h27_a_large_unread_body_ends_the_connection_and_the_answer_survives() -> None:
    seen = Seen()

    def handler(request: Request) -> Response:
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


def test_h27_a_body_that_never_ends_is_not_waited_for() -> None:
    with (
        running(lambda _: Response(429, [], b"no"), ServerLimits(linger_seconds=0.1)) as server,
        connect(server) as sock,
    ):
        write(sock, get(b"/1", b"Transfer-Encoding: chunked", method=b"POST") + b"5\r\nab")
        assert statuses(read_all(sock)) == [429]
        until(lambda: server.connections == 0)


def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    seen = Seen()
    with running(toy(seen, limit_bytes=10), ServerLimits(linger_seconds=0.1)) as server:
        assert statuses(exchange(server, get(b"/", b"Content-Length: 11", CLOSE, method=b"POST"))) == [413]
        chunks = get(b"/", b"Transfer-Encoding: chunked", CLOSE, method=b"POST") + b"6\r\nabcdef\r\n" * 2 + b"0\r\n\r\n"
        assert statuses(exchange(server, chunks)) == [413]
    assert seen.bodies == []


def test_h25_continue_is_said_when_the_body_is_read() -> None:
    seen = Seen()
    with running(toy(seen)) as server, connect(server) as sock:
        write(sock, get(b"/", b"Expect: 100-continue", b"Content-Length: 3", CLOSE, method=b"POST"))
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        write(sock, b"abc")
        assert statuses(read_all(sock)) == [200]
    assert seen.bodies == [b"abc"]


def test_h25_a_refusal_comes_without_continue_and_closes() -> None:
    with running(lambda _: Response(401, [], b"no"), ServerLimits(linger_seconds=0.1)) as server:
        raw = get(b"/", b"Expect: 100-continue", b"Content-Length: 3", method=b"POST")
        answer = exchange(server, raw)
    assert statuses(answer) == [401]
    assert b"connection: close" in answer


def test_h25_http_10_has_no_expectations() -> None:
    seen = Seen()
    raw = get(b"/", b"Expect: 100-continue", b"Content-Length: 3", method=b"POST", version=b"1.0") + b"abc"
    with running(toy(seen)) as server:
        assert statuses(exchange(server, raw)) == [200]


def test_a_stream_to_http_10_ends_with_the_connection() -> None:
    with running(lambda _: Response(200, [], iter([b"a", b"", b"b"]))) as server:
        answer = exchange(server, get(version=b"1.0"))
    assert answer.endswith(b"\r\n\r\nab")
    assert b"chunked" not in answer


def test_a_stream_of_known_length_keeps_the_connection() -> None:
    with running(lambda _: Response(200, [], iter([b"a", b"b"]), length=2)) as server:
        answer = exchange(server, get() + get(b"/", CLOSE))
    assert answer.count(b"content-length: 2\r\n") == 2
    assert answer.count(b"\r\n\r\nab") == 2


@pytest.mark.parametrize("pieces", [[b"a"], [b"a", b"bc"]], ids=["short", "long"])
def test_a_wrong_length_cuts(pieces: list[bytes]) -> None:
    with running(lambda _: Response(200, [], iter(pieces), length=2)) as server:
        answer = exchange(server, get() + get())
    assert answer.endswith(b"\r\n\r\na")


def read_to_reset(sock: "socket.socket") -> None:
    while sock.recv(1000):
        pass


@pytest.mark.parametrize("error", [Truncated(), ValueError("a bug"), ClientGone()])
def test_a_failing_stream_has_no_clean_end(
    error: Truncated | ValueError | ClientGone, caplog: pytest.LogCaptureFixture
) -> None:
    def body() -> Iterator[bytes]:
        yield b"abc"
        raise error

    with running(lambda _: Response(200, [], body())) as server:
        assert exchange(server, get()).endswith(b"3\r\nabc\r\n")
        with connect(server) as sock:
            write(sock, get(version=b"1.0"))
            with pytest.raises(ConnectionResetError):
                read_to_reset(sock)
    assert ("failed" in caplog.text) == isinstance(error, ValueError)


def test_head_and_bodiless_statuses() -> None:
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


def test_http_10_keep_alive() -> None:
    with running(toy(Seen())) as server:
        answer = exchange(server, get(b"/1", b"Connection: keep-alive", version=b"1.0") + get(b"/2", version=b"1.0"))
    assert statuses(answer) == [200, 200]
    assert b"connection: keep-alive\r\n" in answer
