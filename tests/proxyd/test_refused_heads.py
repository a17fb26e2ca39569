"""What is wrong with the head of a request is told in its caller's dialect, as far as the head was read."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from gateway_kit import Gate, Provider
from socket_kit import exchange, running

from proxyd.messages import Asked
from proxyd.server.server import Server, ServerLimits
from proxyd.wire.http1 import asked_in

CLAUDE, GEMINI = b"/v1/messages", b"/v1beta/models/g:generateContent"
PLAIN = b"Host: a"
SDK = b"anthropic-version: 2023-06-01"
WRONG = {
    "trace": (405, b"TRACE", (PLAIN,)),
    "no host": (400, b"POST", ()),
    "two hosts": (400, b"POST", (PLAIN, PLAIN)),
    "syntax": (400, b"POST", (PLAIN, b"a b: c")),
    "expect": (417, b"POST", (PLAIN, b"Expect: miracles", b"Expect: 100-continue")),
    "many": (431, b"POST", (PLAIN, *(b"x-%d: 1" % number for number in range(120)))),
    "large": (431, b"POST", (PLAIN, b"x: " + b"a" * 20_000)),
    "endless": (431, b"POST", (PLAIN, b"x: " + b"a" * 80_000)),
    "too large a body": (413, b"POST", (PLAIN, b"Content-Length: 9999999999999999999")),
}


@pytest.fixture
def server(gate: Gate, provider: Provider) -> Iterator[Server]:
    gate.open(provider.url)
    limits = ServerLimits(header_timeout_seconds=0.3)
    with running(gate.gateway.handle, limits, gate.gateway.error_response) as one:
        yield one


def told(server: Server, raw: bytes) -> tuple[int, dict[str, str], Any]:
    head, _, body = exchange(server, raw).partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    return int(line.split()[1]), dict(field.split(": ", 1) for field in fields), json.loads(body)


def dialect(body: dict[str, Any]) -> str:
    if body.get("type") == "error":
        return "anthropic"
    return "gemini" if "status" in body["error"] else "openai"


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    ("path", "spoken"),
    [(CLAUDE, "anthropic"), (b"/anthropic/v1/files?beta=true", "anthropic"), (GEMINI, "gemini"), (b"/v1/files", "openai")],
)  # fmt: skip
def test_it_works(server: Server, wrong: str, path: bytes, spoken: str) -> None:
    status, method, fields = WRONG[wrong]
    found, _, body = told(server, b"\r\n".join((b"%b %b HTTP/1.1" % (method, path), *fields, b"", b"")))
    assert (found, dialect(body)) == (status, spoken)


def test_an_sdk_is_known_by_its_header_wherever_it_speaks(server: Server) -> None:
    _, _, body = told(server, b"POST /v1/files HTTP/1.1\r\n%b\r\nHost: a\r\nHost: b\r\n\r\n" % SDK)
    assert dialect(body) == "anthropic"


@pytest.mark.parametrize("path", [b"/gemini/" + b"a" * 20_000, b"/gemini/v1beta/files HTTP/3.0"])
def test_a_line_that_is_never_read_to_its_end_has_a_beginning(server: Server, path: bytes) -> None:
    status, _, body = told(server, b"POST %b\r\n" % path)
    assert (status, dialect(body)) == (414 if len(path) > 100 else 505, "gemini")


def test_who_is_too_slow_is_told_so_in_its_dialect(server: Server) -> None:
    status, headers, body = told(server, b"POST /v1/messages HTTP/1.1\r\nHost: a\r\n")
    assert (status, headers["x-router-error"], dialect(body)) == (408, "request_timeout", "anthropic")


@pytest.mark.parametrize(
    ("line", "allow"),
    [
        (b"TRACE /v1/messages", "POST"),
        (b"get /v1/key", "GET, HEAD"),
        (b"TRACE /nowhere", ""),
        (b"OPTIONS *", "GET, POST, PUT, PATCH, DELETE, HEAD"),
        (b"CONNECT evil.test:443", "GET, POST, PUT, PATCH, DELETE, HEAD"),
    ],
)
def test_a_method_that_nothing_takes_is_told_those_of_its_path(server: Server, line: bytes, allow: str) -> None:
    status, headers, body = told(server, line + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (status, headers["x-router-error"], headers["allow"].strip()) == (405, "method_not_allowed", allow)
    assert body["error"].get("allowed_methods") == [one for one in allow.split(", ") if one]


def test_of_a_head_its_names_are_kept_and_no_value() -> None:
    head = b"POST /v1/x?key=secret HTTP/1.1\r\nX-Goog-Api-Key: secret\r\nbroken\r\n\r\n"
    assert asked_in(head) == Asked("/v1/x", ((b"x-goog-api-key", b""),))
    for nothing in (b"", b"POST", b"\x16\x03\x01", b"GET http://a/b HTTP/1.1\r\n"):
        assert asked_in(nothing) is None
