"""Heads of requests: where one ends, and what it says.

The law of this module: httptools judges the syntax (strictly: it refuses folding, bare CR or LF, NUL, bad names, both
framings at once); here is refused what it lets pass. Either a head has exactly one meaning or it raises, with the
status of the answer in the error. Trailing whitespace is no part of a value; names are lower-case.
"""

import re
from functools import lru_cache
from typing import Literal

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from msgspec import Struct

from proxyd.messages import Asked, BadRequest, Headers, RequestTooLarge
from proxyd.wire.http1.fields import STRAY_LINE_BREAK, Fields, keeps_alive

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
TARGET = re.compile(rb"/[\x21\x22\x24-\x7e]*")  # visible ASCII without "#"
HOST = re.compile(rb"(?:[0-9A-Za-z._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

# Eighteen digits: beyond every body there is, and below every overflow.
LENGTH_LIMIT_BYTES = 10**18

REMEMBERED_LINE_BYTES = 256

# The fields that frame a message or steer the connection.
STEERING = frozenset({b"connection", b"content-length", b"expect", b"host", b"transfer-encoding"})

_CONTINUE = b"100-continue"

# Of a head that cannot be read: what tells whose dialect is spoken stands near its beginning.
ASKED_PATH_BYTES = 512
ASKED_LINES = 200

BAD_SYNTAX = "The request is not well-formed HTTP/1.1"


class HeadLimits(Struct, frozen=True):
    """How large the head of a request may be."""

    line_bytes: int = 16 * 1024
    field_bytes: int = 16 * 1024  # name and value of one header
    block_bytes: int = 64 * 1024  # the whole head
    fields: int = 100


class RequestHead(Struct):
    """What a head says; `length` is None for a chunked body."""

    method: str
    path: str
    query: str
    headers: Headers
    length: int | None
    keep_alive: bool
    expect_continue: bool
    version: Literal[10, 11]


def find_head(buffer: bytes, seen_bytes: int, limits: HeadLimits) -> int:
    """Give the index just after the head that `buffer` begins with, or -1 while it is incomplete.

    `seen_bytes` is how much of the buffer an earlier call already looked at, so that a peer that sends byte by byte
    costs no more than one that does not. Raises `BadRequest` (400, 405, 414, 431, 505) as soon as no continuation
    could make it a head we accept.
    """
    end = buffer.find(b"\r\n\r\n", max(0, seen_bytes - 3))
    if end >= 0:
        return end + 4
    if STRAY_LINE_BREAK.search(buffer, max(0, seen_bytes - 1)):
        raise BadRequest(BAD_SYNTAX)
    if not buffer[:1].isalpha() and buffer[:1] not in (b"", b"\r"):
        raise BadRequest(BAD_SYNTAX)
    line_end = buffer.find(b"\r\n", max(0, seen_bytes - 1))
    if seen_bytes <= line_end or (line_end < 0 and len(buffer) > limits.line_bytes):
        # The request line has just become complete, or never will: it need not wait for the rest to be judged.
        first_end = buffer.find(b"\r\n")
        _request_line(buffer[: first_end if first_end >= 0 else len(buffer)], limits)
    if len(buffer) > limits.block_bytes:
        raise BadRequest("The request's headers are too large", status=431)
    return -1


def _request_line(line: bytes, limits: HeadLimits) -> tuple[str, str, str, Literal[10, 11]]:
    """Take a request line apart into method, path, query and version."""
    if len(line) > limits.line_bytes:
        raise BadRequest("The request line is too long", status=414)
    parts = line.split(b" ")
    if len(parts) != 3:
        raise BadRequest("The request line is malformed")
    method, target, version = parts
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        if version.startswith(b"HTTP/"):
            raise BadRequest("Only HTTP/1.1 and HTTP/1.0 are spoken here", status=505)
        raise BadRequest("The request line is malformed")
    name = method.decode("latin-1")
    if name not in METHODS:
        if METHOD.fullmatch(method) is None:
            raise BadRequest("The request line is malformed")
        raise BadRequest("This method is not supported", status=405)
    if TARGET.fullmatch(target) is None:
        if target == b"*" and name == "OPTIONS":
            raise BadRequest("This method is not supported on *", status=405)
        raise BadRequest("The request target must be a path")
    path, _, query = target.decode("ascii").partition("?")
    return name, path, query, 11 if version == b"HTTP/1.1" else 10


_remembered_line = lru_cache(maxsize=1024)(_request_line)


def parse_request_head(head: bytes, limits: HeadLimits) -> RequestHead:
    """Parse a head up to and with its empty line (RFC 9112, sections 3 and 5).

    Header names with an underscore are dropped: some upstreams read them as hyphens. Raises `BadRequest` with 400,
    405, 414, 417, 431 or 505, `RequestTooLarge` for a length no body has.
    """
    if len(head) > limits.block_bytes:
        raise BadRequest("The request's headers are too large", status=431)
    line = head[: head.index(b"\r\n")]
    # The same few lines come again and again. One that may hold a key is not kept.
    secret = b"?" in line or b"sk-" in line
    judge = _request_line if secret or len(line) > REMEMBERED_LINE_BYTES else _remembered_line
    method, path, query, version = judge(line, limits)
    fields = Fields()
    try:
        HttpRequestParser(fields).feed_data(head)
    except HttpParserUpgrade:
        pass  # Raised at the end of the head. An upgrade is an offer, and we do not take it: RFC 9110, section 7.8.
    except HttpParserError:
        raise BadRequest(BAD_SYNTAX) from None
    headers = tuple(fields.headers)
    if len(headers) > limits.fields:
        raise BadRequest("The request has too many headers", status=431)
    if len(head) > limits.field_bytes and any(len(name) + len(value) > limits.field_bytes for name, value in headers):
        raise BadRequest("A header of the request is too large", status=431)
    meaning = _meaning(method, path, query, version, headers)
    if version == 10:
        # RFC 9110, section 7.8: who speaks HTTP/1.0 cannot switch, whatever it says.
        meaning.headers = tuple([field for field in meaning.headers if field[0] != b"upgrade"])
    if b"_" in head:
        meaning.headers = tuple([field for field in meaning.headers if b"_" not in field[0]])
    return meaning


def _meaning(method: str, path: str, query: str, version: Literal[10, 11], headers: Headers) -> RequestHead:
    """Draw from the fields what frames the message and steers the connection."""
    hosts = 0
    length = 0
    codings: list[bytes] = []
    expectation = b""
    connection: list[bytes] = []
    for name, value in headers:
        if name not in STEERING:
            continue
        if name == b"host":
            hosts += 1
            if HOST.fullmatch(value) is None:
                raise BadRequest("The Host header is malformed")
        elif name == b"content-length":
            if not value.isdigit():
                raise BadRequest("The Content-Length header is malformed")
            length = int(value)
        elif name == b"transfer-encoding":
            codings.append(value.lower())
        elif name == b"connection":
            connection.append(value)
        elif expectation in (b"", _CONTINUE):
            expectation = value.lower()
    if hosts > 1 or (hosts == 0 and version == 11):
        raise BadRequest("The request must have exactly one Host header")
    if length > LENGTH_LIMIT_BYTES:
        raise RequestTooLarge("The request body is too large")
    if codings:
        _only_chunked(codings, version)
    if expectation and version == 11 and expectation != _CONTINUE:
        raise BadRequest("This expectation cannot be met", status=417)
    return RequestHead(
        method,
        path,
        query,
        headers,
        None if codings else length,
        keeps_alive(connection, http_11=version == 11),
        bool(expectation) and version == 11,
        version,
    )


def asked_in(begun: bytes) -> Asked | None:
    """What can be told of a head that was refused, or of its beginning; None: it does not ask for a path."""
    line, *fields = begun.split(b"\r\n", ASKED_LINES)
    _, _, target = line.partition(b" ")
    path = target[:ASKED_PATH_BYTES].partition(b" ")[0].partition(b"?")[0]
    if path != b"*" and not path.startswith(b"/"):
        return None
    names = [name.strip().lower() for name, colon, _ in (each.partition(b":") for each in fields) if colon]
    return Asked(path.decode("latin-1"), tuple([(name, b"") for name in names]))


def _only_chunked(codings: list[bytes], version: Literal[10, 11]) -> None:
    """Refuse every transfer coding but a single `chunked` on HTTP/1.1."""
    if version == 10:
        raise BadRequest("Transfer-Encoding does not exist in HTTP/1.0")
    if codings != [b"chunked"]:
        raise BadRequest("The only transfer coding supported is chunked")
