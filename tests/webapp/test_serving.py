"""What a worker of the dashboard waits for, and how long: its parts on real sockets, without the process around them."""

import socket
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import get_parser

from webapp import serving
from webapp.offload import OFFLOAD, Offload
from webapp.serving import Line, WholeRequests

HEAD = b"POST /login HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def ends() -> Iterator[tuple[Line, socket.socket]]:
    """A line as a worker holds it, and the client's end of it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(5)
        yield Line(ours), theirs


class App:
    """An app that keeps the environment of its last request."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        assert environ["gunicorn.socket"].served
        self.seen = environ
        return [b""]

    @property
    def body(self) -> bytes:
        body: bytes = self.seen["wsgi.input"].read()
        return body


def ask(app: App, line: Line, most_bytes: int = 100) -> None:
    """Read one request from the line as gunicorn does, and hand it on."""
    request = next(get_parser(Config(), line, ("192.0.2.1", 1)))
    environ = {"wsgi.input": request.body, "gunicorn.socket": line}
    for name, value in request.headers:
        key = name.replace("-", "_")
        environ[key if key == "CONTENT_LENGTH" else f"HTTP_{key}"] = value
    WholeRequests(app, most_bytes)(environ, lambda *_: lambda _: None)


def test_it_works(ends: tuple[Line, socket.socket]) -> None:
    line, client = ends
    app = App()
    client.sendall(HEAD + b"Content-Length: 4\r\n\r\nwhol")
    assert line.idle
    ask(app, line)
    assert app.body == b"whol"
    assert "webapp.refusal" not in app.seen
    assert not line.idle  # its answer may be on its way


@pytest.mark.parametrize("start", [b"Content-Length: 4\r\n\r\nwh", b"Transfer-Encoding: chunked\r\n\r\n4\r\nwh"])
def test_a_body_that_does_not_come_is_refused(
    ends: tuple[Line, socket.socket], monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(serving, "BODY_SECONDS", 0.05)
    line, client = ends
    app = App()
    client.sendall(HEAD + start)
    ask(app, line)
    assert (app.seen["webapp.refusal"], app.body) == (408, b"")
    assert line.recv(1) == b""  # nobody reads what would have come


def test_a_client_that_leaves_early_said_nothing(ends: tuple[Line, socket.socket]) -> None:
    line, client = ends
    app = App()
    client.sendall(HEAD + b"Content-Length: 4\r\n\r\nwh")
    client.shutdown(socket.SHUT_WR)
    ask(app, line)
    assert (app.seen["webapp.refusal"], app.body) == (400, b"")


def test_few_large_bodies_are_read_at_once(ends: tuple[Line, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "LARGE_BODIES", 0)
    monkeypatch.setattr(serving, "SMALL_BODY_BYTES", 4)
    line, client = ends
    app = App()
    client.sendall(HEAD + b"Content-Length: 5\r\n\r\nlarge")
    ask(app, line)
    assert app.seen["webapp.refusal"] == 503


@pytest.mark.parametrize("length", [b"Content-Length: 101\r\n\r\n", b"Content-Length: 99999999999999999999\r\n\r\n"])
def test_too_long_a_body_is_the_apps_to_refuse(ends: tuple[Line, socket.socket], length: bytes) -> None:
    line, client = ends
    app = App()
    client.sendall(HEAD + length)
    ask(app, line)
    assert "webapp.refusal" not in app.seen


def test_chunks_become_one_body_or_are_too_many(ends: tuple[Line, socket.socket]) -> None:
    line, client = ends
    app = App()
    client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nwh\r\n3\r\nole\r\n0\r\n\r\n")
    ask(app, line)
    assert (app.body, app.seen["CONTENT_LENGTH"]) == (b"whole", "5")
    assert "HTTP_TRANSFER_ENCODING" not in app.seen
    client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n")
    ask(app, line)
    assert app.seen["webapp.refusal"] == 413


def test_an_answer_that_nobody_takes_is_broken_off(
    ends: tuple[Line, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "WRITE_SECONDS", 0.05)
    line, client = ends
    with pytest.raises(BrokenPipeError):
        line.sendall(b"x" * 10_000_000)
    assert client.recv(10) == b"x" * 10


def test_errors_of_work_in_threads_come_back() -> None:
    from gevent.threadpool import ThreadPool

    pool = ThreadPool(1)
    assert serving._in_a_thread(pool, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        serving._in_a_thread(pool, divmod, 7, 0)
    pool.kill()


def test_elsewhere_work_is_done_where_it_is_asked_for() -> None:
    assert Offload().hashes(divmod, 7, 2) == (3, 1)
    assert Offload() == OFFLOAD
