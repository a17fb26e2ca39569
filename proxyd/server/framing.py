"""How a response stands on the wire: its head, its pieces, and how its end can be told."""

import logging
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import NamedTuple

from proxyd.messages import Client, ClientGone, Response, Truncated
from proxyd.wire.http1 import response_head

logger = logging.getLogger(__name__)


class _Clock:
    """The Date header, made once a second."""

    second = 0
    field = b""


class Framing(NamedTuple):
    """The head of a response whose body comes in pieces, and what follows it."""

    head: bytes
    chunked: bool
    until_close: bool  # the body ends with the connection, so that only a reset can tell that something is missing


def frame_whole(response: Response, size_bytes: int, *, bodiless: bool, keep: bool, http_11: bool) -> bytes:
    """Write the head of a response whose body is here, for a client that spoke HTTP/1.1 or an older version."""
    length = response.length
    # To HEAD and with 304 the length is what GET would have got, when the gateway knows it.
    if not bodiless or (length is None and response.status != 304):
        length = size_bytes
    return _head(response, length, keep=keep, http_11=http_11)


def frame_pieces(response: Response, *, bodiless: bool, keep: bool, http_11: bool) -> Framing:
    """Write the head of a response whose body comes in pieces."""
    length = response.length
    endless = length is None and not bodiless
    until_close = endless and not http_11
    head = _head(response, length, chunked=endless and http_11, keep=keep and not until_close, http_11=http_11)
    return Framing(head, endless and http_11, until_close)


def frame_switch(response: Response) -> bytes:
    """Write the head of a 101, by which the connection leaves HTTP for a WebSocket (RFC 9110, section 15.2.2)."""
    return response_head(response.status, response.headers, b"connection: Upgrade\r\nupgrade: websocket\r\n")


def next_piece(pieces: Iterator[bytes], client: Client) -> bytes | None:
    """The next piece of a body that is not empty; None at its end.

    Raises `Truncated` and nothing else, when there is no next piece or nobody to take it.
    """
    while True:
        try:
            piece = next(pieces)
        except StopIteration:
            return None
        except (Truncated, ClientGone):
            raise Truncated from None
        except Exception:  # A process edge: whatever broke, the client must see a broken response.
            logger.exception("The body of a response failed")
            raise Truncated from None
        if client.gone:
            raise Truncated
        if isinstance(piece, bytes) and piece:
            return piece


def _head(response: Response, length: int | None, *, chunked: bool = False, keep: bool, http_11: bool) -> bytes:
    """Write a head with Date, and with Connection where it is not what this version of HTTP takes for granted."""
    now = int(time.time())
    if now != _Clock.second:
        _Clock.field = b"date: " + formatdate(now, usegmt=True).encode("ascii") + b"\r\n"
        _Clock.second = now
    fields = _Clock.field
    if not keep:
        fields += b"connection: close\r\n"
    elif not http_11:
        fields += b"connection: keep-alive\r\n"
    if chunked:
        fields += b"transfer-encoding: chunked\r\n"
    elif length is not None and response.status != 204:
        fields += b"content-length: %d\r\n" % length
    return response_head(response.status, response.headers, fields)
