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
    """A head, and what follows it."""

    head: bytes
    bodiless: bool
    chunked: bool
    until_close: bool  # the body ends with the connection, so that only a reset can tell that something is missing
    keep: bool  # the connection, after this response


def frame(response: Response, method: str, *, keep: bool, http_11: bool) -> Framing:
    """Frame the answer to a request by `method` that spoke HTTP/1.1, or an older version."""
    status, body, length = response.status, response.body, response.length
    bodiless = method == "HEAD" or status in (204, 304)  # RFC 9112, section 6.3
    if isinstance(body, bytes):
        # To HEAD and with 304 the length is what GET would have got, when the gateway knows it.
        if not bodiless or (length is None and status != 304):
            length = len(body)
        chunked = until_close = False
    else:
        chunked = length is None and http_11 and not bodiless
        until_close = length is None and not http_11 and not bodiless
    keep = keep and not until_close
    fields = _connection_fields(keep=keep, http_11=http_11)
    if chunked:
        fields += b"transfer-encoding: chunked\r\n"
    elif length is not None and status != 204:
        fields += b"content-length: %d\r\n" % length
    return Framing(response_head(status, response.headers, fields), bodiless, chunked, until_close, keep)


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


def _connection_fields(*, keep: bool, http_11: bool) -> bytes:
    """Write Date, and Connection where it is not what this version of HTTP takes for granted."""
    now = int(time.time())
    if now != _Clock.second:
        _Clock.field = b"date: " + formatdate(now, usegmt=True).encode("ascii") + b"\r\n"
        _Clock.second = now
    if not keep:
        return _Clock.field + b"connection: close\r\n"
    return _Clock.field if http_11 else _Clock.field + b"connection: keep-alive\r\n"
