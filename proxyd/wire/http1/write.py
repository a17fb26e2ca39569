"""Heads and chunks as bytes for the wire.

The law of this module: nothing that came from a peer can end a line. A field with CR, LF or NUL in it is left out.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

from proxyd.messages import Header, name_of

_BETWEEN_NAME_AND_VALUE = b": "
_BETWEEN_LINES = b"\r\n"
_LINE_BREAKERS = re.compile(rb"[\r\n\0]")
LAST_CHUNK = b"0\r\n\r\n"

# Fields that frame a message. They are ours to write, whatever the layers above hand down.
FRAMING = frozenset({b"connection", b"content-length", b"date", b"keep-alive", b"transfer-encoding"})
REQUEST_FRAMING = frozenset({b"connection", b"content-length", b"host", b"keep-alive", b"transfer-encoding"})

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus}


def chunk(data: bytes) -> bytes:
    """Frame `data`, which must not be empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def response_head(status: int, headers: Sequence[Header], framing: bytes) -> bytes:
    """Write a head; `framing` holds our own fields, each with its CRLF."""
    line = STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status
    return b"%b%b%b\r\n" % (line, _fields(headers, FRAMING), framing)


def header_lines(headers: Sequence[Header]) -> bytes:
    """Write the headers of a request that more than one is sent with, save those that frame it."""
    return _fields(headers, REQUEST_FRAMING)


def request_head(method: str, target: str, headers: Sequence[Header], framing: bytes, lines: bytes = b"") -> bytes:
    """Write a request's head; `framing` holds our own fields, `lines` what `header_lines` wrote.

    Raises `ValueError` on a target that is none.
    """
    # The same few lines come again and again. One with a query may hold a key, and is not kept.
    line = _request_line(method, target) if "?" in target else _remembered_line(method, target)
    return b"%b%b%b%b\r\n" % (line, framing, lines, _fields(headers, REQUEST_FRAMING))


def _request_line(method: str, target: str) -> bytes:
    line = f"{method} {target} HTTP/1.1"
    if not line.isprintable() or line.count(" ") != 2 or not line.isascii():
        raise ValueError("The request target holds characters that must be percent-encoded")
    return line.encode("ascii") + b"\r\n"


_remembered_line = lru_cache(maxsize=256)(_request_line)


def _fields(headers: Sequence[Header], ours: frozenset[bytes]) -> bytes:
    if not ours.isdisjoint(map(name_of, headers)):
        headers = [field for field in headers if field[0] not in ours]
    if not headers:
        return b""
    block = _BETWEEN_LINES.join(map(_BETWEEN_NAME_AND_VALUE.join, headers))
    # No line may break within: all that is to be found are the breaks between the lines.
    if len(block) - len(block.translate(None, b"\r\n\0")) != 2 * (len(headers) - 1):
        return b"".join([b"%b: %b\r\n" % field for field in headers if not _breaks_out(*field)])
    return block + _BETWEEN_LINES


def _breaks_out(name: bytes, value: bytes) -> bool:
    return _LINE_BREAKERS.search(name) is not None or _LINE_BREAKERS.search(value) is not None
