"""What two parsers could read in two ways is refused, over real sockets, whole and one byte a segment.

The names h01.. are those of the design's catalogue.
"""

import pytest
from socket_kit import Seen, connect, exchange, read_until, running, statuses, toy, write

from proxyd.server.server import ServerLimits
from proxyd.wire.http1 import (
    HeadLimits,
)

HOST = b"Host: router.test\r\n"
NEXT = b"GET /second HTTP/1.1\r\n" + HOST + b"\r\n"
CL = b"Content-Length: "
TE = b"Transfer-Encoding: "
CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"


def post(*fields: bytes, body: bytes = b"", line: bytes = b"POST /first HTTP/1.1\r\n") -> bytes:
    return line + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


REFUSED = {
    # H01, H02
    "cl-te": post(CL + b"3", TE + b"chunked", body=CHUNKS),
    "te-cl": post(TE + b"chunked", CL + b"3", body=CHUNKS),
    "cl-twice-equal": post(CL + b"3", CL + b"3", body=b"abc"),
    "cl-twice-different": post(CL + b"3", CL + b"4", body=b"abcd"),
    **{
        f"cl-{value!r}": post(CL + value, body=b"abc")
        for value in (b"1, 1", b"1 1", b"+1", b"-0", b"0x1", b"1_0", b"1Z", b"", b"18446744073709551616", b"9" * 21)
    },
    # H05, H06
    **{
        f"te-{value!r}": post(TE + value, body=CHUNKS)
        for value in (
            b",chunked",
            b"chunked,",
            b"chunked, chunked",
            b"identity",
            b"xchunked",
            b'"chunked"',
            b"\x0bchunked",
            b"\xa0chunked",
            b"chunked;a=b",
            b"",
            b"gzip, chunked",
        )
    },
    "te-two-lines": post(TE + b"chunked", TE + b"chunked", body=CHUNKS),
    "te-1.0": post(TE + b"chunked", body=CHUNKS, line=b"POST /first HTTP/1.0\r\n"),
    # H07, H08, H09, H10
    "space-before-colon": post(b"Content-Length : 3", body=b"abc"),
    "te-space-before-colon": post(b"Transfer-Encoding : chunked", body=CHUNKS),
    "leading-space": b"POST /first HTTP/1.1\r\n Host: a\r\n\r\n",
    **{
        f"name-{value!r}": post(value)
        for value in (b"A\x85: b", b"A\xa0: b", b"A\0: b", b'A": b', b"A(: b", b"A/: b", b": b", b"nocolon", b"A\nB: c")
    },
    **{f"value-{value!r}": post(b"A: x" + value + b"y") for value in (b"\0", b"\r", b"\n", b"\x01", b"\x7f")},
    "obs-fold": post(b"A: b\r\n c"),
    "te-obs-fold": post(b"Transfer-Encoding:\r\n chunked", body=CHUNKS),
    "bare-lf": b"POST /first HTTP/1.1\nHost: a\n\n",
    "mixed-lf": b"POST /first HTTP/1.1\r\nHost: a\n\r\n",
    "bare-cr-end": b"POST /first HTTP/1.1\r\nHost: a\r\n\rX",
    # H11, H12
    **{
        f"chunk-{value!r}": post(TE + b"chunked", body=value + b"\r\n\r\n0\r\n\r\n")
        for value in (
            b"0x1\r\na",
            b"+1\r\na",
            b"-0\r\na",
            b"0_1\r\na",
            b" 1\r\na",
            b"1 \r\na",
            b"\r\na",
            b"1" * 17 + b"\r\na",
            b"1\r\nab",
            b"1\r\na\n1",
            b"1\r\na\rX",
            b"1;a\rb\r\na",
            b"1;a\nb\r\na",
            b"1;a\0b\r\na",
            b"1;" + b"a" * 4097 + b"\r\na",
        )
    },
    # H13
    "many-trailers": post(TE + b"chunked", body=b"0\r\n" + b"a: b\r\n" * 101 + b"\r\n"),
    "long-trailers": post(TE + b"chunked", body=b"0\r\n" + (b"a: " + b"b" * 2000 + b"\r\n") * 5 + b"\r\n"),
    "bad-trailer": post(TE + b"chunked", body=b"0\r\na b\r\n\r\n"),
    # H14, H15
    "no-host": b"GET /first HTTP/1.1\r\n\r\n",
    "two-hosts": post(HOST.strip()),
    **{
        f"host-{value!r}": b"GET /first HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"
        for value in (b"a b", b"a,b", b"u@a", b"a/b", b"a\0", b"", b"a:port")
    },
    "absolute-form": b"GET http://evil.test/ HTTP/1.1\r\n" + HOST + b"\r\n",
    # H17, H18
    **{
        f"target-{value!r}": b"GET " + value + b" HTTP/1.1\r\n" + HOST + b"\r\n"
        for value in (b"/a#frag", b"/a b", b"/\x01", b"/\x80", b"a", b"")
    },
    "two-spaces": b"GET  /first HTTP/1.1\r\n" + HOST + b"\r\n",
    "tab": b"GET\t/first HTTP/1.1\r\n" + HOST + b"\r\n",
    "leading-crlf": b"\r\n\r\n" + post(),
    "0.9": b"GET /first\r\n" + HOST + b"\r\n",
    "ice": b"SOURCE / ICE/1.0\r\n" + HOST + b"\r\n",
    "not-http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
OTHERWISE = {
    # H04, H16, H25
    "cl-2^64-1": (413, post(CL + b"18446744073709551615", body=b"abc")),
    "cl-2^63": (413, post(CL + b"9223372036854775808", body=b"abc")),
    "connect": (405, b"CONNECT evil.test:443 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "options-*": (405, b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n"),
    "trace": (405, b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "lower-case": (405, b"get / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "rtsp": (400, b"DESCRIBE / RTSP/1.0\r\n" + HOST + b"\r\n"),
    "http2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "http1.2": (505, b"GET / HTTP/1.2\r\n" + HOST + b"\r\n"),
    # X11: who stands before us must not speak the PROXY protocol; an address that is told in it counts for nothing.
    "proxy-v1": (400, b"PROXY TCP4 10.0.0.1 10.0.0.2 56324 443\r\n" + post(CL + b"3", body=b"abc")),
    "proxy-v2": (400, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"\x0a" * 12 + post(CL + b"3", body=b"abc")),
    "expect-bogus": (417, post(b"Expect: miracles")),
    "expect-bogus-first": (417, post(b"Expect: miracles", b"Expect: 100-continue")),
    "expect-bogus-last": (417, post(b"Expect: 100-continue", b"Expect: miracles")),
}
ALL = {name: (400, raw) for name, raw in REFUSED.items()} | OTHERWISE


def test_it_works() -> None:
    seen = Seen()
    with running(toy(seen)) as server:
        raw = post(CL + b"3", b"Connection: close", body=b"abc")
        assert statuses(exchange(server, raw)) == [200]
    assert seen.bodies == [b"abc"]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize(("status", "raw"), ALL.values(), ids=ALL.keys())
def test_refused_and_closed_with_nothing_executed(status: int, raw: bytes, bytewise: bool) -> None:
    seen = Seen()
    with running(toy(seen)) as server:
        answer = exchange(server, raw + NEXT, bytewise=bytewise)
    assert statuses(answer) == [status], answer
    assert b"connection: close\r\n" in answer
    assert "/second" not in seen.paths
    assert seen.bodies == []  # The handler may have been called; it got no body to send on.


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize(
    ("raw", "body"),
    {
        "plain": (post(CL + b"3", body=b"abc"), b"abc"),
        "h03-leading-zero": (post(CL + b"01", body=b"a"), b"a"),
        "chunked": (post(TE + b"chunked", body=CHUNKS), b"abc"),
        "chunked-case": (post(b"tRANSFER-eNCODING: Chunked", body=b"A\r\n0123456789\r\n0\r\n\r\n"), b"0123456789"),
        "h12-extension": (post(TE + b"chunked", body=b"3;a=b\r\nabc\r\n0;c\r\n\r\n"), b"abc"),
        "one-leading-crlf": (b"\r\n" + post(CL + b"3", body=b"abc"), b"abc"),
        "h20-get": (post(CL + b"3", body=b"abc", line=b"GET /first HTTP/1.1\r\n"), b"abc"),
        "h20-delete": (post(TE + b"chunked", body=CHUNKS, line=b"DELETE /first HTTP/1.1\r\n"), b"abc"),
        "h23-cl": (
            post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x", CL + b"3", body=b"abc"),
            b"abc",
        ),
        "h23-chunked": (post(b"Connection: Upgrade", b"Upgrade: h2c", TE + b"chunked", body=CHUNKS), b"abc"),
        "h24-websocket": (post(b"Connection: Upgrade", b"Upgrade: websocket", CL + b"3", body=b"abc"), b"abc"),
    }.values(),
)
def test_accepted_with_the_whole_body_and_the_next_request_works(raw: bytes, body: bytes, bytewise: bool) -> None:
    seen = Seen()
    with running(toy(seen)) as server:
        answer = exchange(server, raw + NEXT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), bytewise=bytewise)
    assert statuses(answer) == [200, 200], answer
    assert seen.bodies == [body, b""]
    assert seen.paths == ["/first", "/second"]


def test_h23_body_in_a_later_segment() -> None:
    seen = Seen()
    with running(toy(seen)) as server, connect(server) as sock:
        write(sock, post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", TE + b"chunked"))
        write(sock, CHUNKS, bytewise=True)
        assert read_until(sock, b"abc").startswith(b"HTTP/1.1 200 ")
        write(sock, NEXT)
        assert read_until(sock, b"/second ").startswith(b"HTTP/1.1 200 ")
    assert seen.bodies == [b"abc", b""]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
def test_h13_trailers_never_become_headers(bytewise: bool) -> None:
    seen = Seen()
    trailers = b"Authorization: Bearer x\r\nX-Forwarded-For: 1.2.3.4\r\nContent-Length: 50\r\nHost: evil\r\n"
    raw = post(TE + b"chunked", b"Connection: close", body=b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n")
    with running(toy(seen)) as server:
        assert statuses(exchange(server, raw, bytewise=bytewise)) == [200]
    assert seen.bodies == [b"abc"]
    assert [name for name, _ in seen.headers] == [b"host", b"transfer-encoding", b"connection"]
    assert seen.requests[-1].header(b"host") == b"router.test"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /" + b"x" * 20_000, 414),
        (b"GET / HTTP/1.1\r\n" + b"A: " + b"x" * 70_000, 431),
        (b"\r\n" * 200_000, 400),
    ],
)
def test_l05_endless_heads_are_cut_short(raw: bytes, status: int) -> None:
    seen = Seen()
    with running(toy(seen)) as server:
        assert statuses(exchange(server, raw)) == [status]
    assert seen.requests == []


def test_limits_of_the_server_hold_for_its_connections() -> None:
    seen = Seen()
    with running(toy(seen), ServerLimits(head=HeadLimits(fields=3))) as server:
        assert statuses(exchange(server, post(b"A: 1", b"B: 2", b"C: 3", b"Connection: close"))) == [431]
