"""FINDINGS S1: clients that are slow, silent or many, and have no login, shut nobody out of the dashboard."""

import contextlib
import os
import resource
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import requests
from harness import Router, children_of, eventually
from raw_http import Line as Wire

from webapp import serving

HALF_A_HEAD = b"GET /login HTTP/1.1\r\nHost: x\r\nX-Half: "
HALF_A_BODY = (
    b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 500\r\n\r\nemail="
)
HALF_A_CHUNK = b"POST /v1/keys HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nhalf"
ALL_BUT_THE_READING = b"GET /static/vendor/htmx-2.0.11.min.js HTTP/1.1\r\nHost: x\r\n\r\n" * 20


@contextlib.contextmanager
def crowd(router: Router, count: int, *starts: bytes) -> Iterator[list[socket.socket]]:
    """So many connections to the dashboard, which have said one of `starts` in turn, and then nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    host, _, port = router.web_url.removeprefix("http://").partition(":")
    with contextlib.ExitStack() as stack:
        lines = []
        for number in range(count):
            line = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
            with contextlib.suppress(ConnectionError):
                line.sendall(starts[number % len(starts)])
            lines.append(line)
        yield lines


def slowest(router: Router) -> float:
    """Seconds of the slowest of several pages and calls, each on a connection of its own."""
    bearer = {"Authorization": f"Bearer {router.token}"}
    longest = 0.0
    for path in ("/login", "/healthz", "/static/app.css", "/v1/keys", "/openapi.json", "/keys") * 2:
        began = time.monotonic()
        answer = requests.get(router.web_url + path, headers=bearer, timeout=20, allow_redirects=False)
        longest = max(longest, time.monotonic() - began)
        assert answer.status_code in (200, 303), (path, answer.status_code)
    return longest


def patience(router: Router) -> float:
    """A second; on a machine that is so busy that it takes longer even without the crowd, three times as long as that."""
    return max(1.0, 3 * slowest(router))


def test_it_works(router: Router) -> None:
    most, began = patience(router), time.monotonic()
    with crowd(router, 200, HALF_A_HEAD, HALF_A_BODY, HALF_A_CHUNK, b"", ALL_BUT_THE_READING) as (head, *_):
        slowest(router)  # while what they have sent so far is being worked off
        assert slowest(router) < most
        head.settimeout(serving.HEAD_SECONDS + 5)
        assert head.recv(1) == b""
        assert serving.HEAD_SECONDS - 1 < time.monotonic() - began < serving.HEAD_SECONDS + 3


def test_more_connections_than_there_may_be(router: Router) -> None:
    limit, most = serving.MOST_CONNECTIONS * serving.workers, patience(router)
    with crowd(router, limit + 200, HALF_A_HEAD, b"", HALF_A_BODY) as lines:
        slowest(router)
        assert slowest(router) < most
        lines[0].settimeout(5)
        assert lines[0].recv(1) == b""  # the oldest had to go


def test_bodies_of_every_kind_arrive_whole(router: Router) -> None:
    """In one piece, in chunks, after 100 Continue, too long, cut short."""
    name = "n" * 80

    def sent(*pieces: bytes, head: bytes = b"") -> bytes:
        address = router.web_url.removeprefix("http://").split(":")
        with Wire(socket.create_connection((address[0], int(address[1])))) as line:
            line.send(
                b"POST /v1/keys HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Authorization: Bearer %s\r\n%s" % (router.token.encode(), head)
            )
            for piece in pieces:
                line.send(piece)
            return line.sock.recv(12)

    body = b'{"name": "%s"}' % name.encode()
    assert sent(b"Content-Length: %d\r\n\r\n" % len(body), body) == b"HTTP/1.1 201"
    chunks = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    assert sent(chunks[:60], chunks[60:]) == b"HTTP/1.1 201"
    assert sent(b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body), body) == b"HTTP/1.1 100"
    assert sent(b"Content-Length: 1000001\r\n\r\n") == b"HTTP/1.1 413"
    long = b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n" % (500_001, b" " * 500_001) * 2 + b"0\r\n\r\n"
    assert sent(long) == b"HTTP/1.1 413"


def test_slow_statements_and_logins_hold_up_nobody(router: Router) -> None:
    """Somebody has the database's write lock, and passwords are looked at, while a page is asked for."""
    most = patience(router)
    with contextlib.closing(sqlite3.connect(router.data_dir / "router.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(8) as pool:
            key = {"name": "waits for the lock"}
            waiting = [pool.submit(router.api, "POST", "/v1/keys", json=key) for _ in range(8)]
            eventually(lambda: all(one.running() for one in waiting), what="the start of eight creations")
            assert slowest(router) < most
            holder.execute("COMMIT")
            assert {one.result().status_code for one in waiting} == {201}


def test_a_worker_that_dies_is_replaced_and_the_other_one_serves(router: Router) -> None:
    workers = children_of(router.processes["dashboard"].pid)
    assert len(workers) == serving.workers
    os.kill(workers[0], signal.SIGKILL)
    eventually(
        lambda: len(set(children_of(router.processes["dashboard"].pid)) - {workers[0]}) == serving.workers,
        what="another worker",
    )
    slowest(router)
