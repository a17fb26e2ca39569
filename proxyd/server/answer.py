"""Writing a response to its client: whole, or piece by piece as it comes.

The law of this module: what was announced is written, or the connection is cut so that the client can tell.
"""

from collections.abc import Iterator
from typing import Protocol

from proxyd.messages import Client, Response, Takeover, Truncated, Tunnel
from proxyd.server.framing import Framing, frame_pieces, frame_switch, frame_whole, next_piece
from proxyd.wire.http1 import LAST_CHUNK, chunk

# Larger bodies are not worth copying behind their head.
ONE_WRITE_BYTES = 64 * 1024
# An answer of this size finds room at a client that has read the one before, and may leave with those of others.
TOGETHER_BYTES = 8 * 1024


class Sink(Client, Protocol):
    """The connection a response goes over."""

    def send_all(self, data: bytes, stall_seconds: float) -> None: ...
    def send_last(self, data: bytes, stall_seconds: float) -> None: ...

    def cut(self, *, reset: bool) -> None:
        """End it so that the client can tell that something is missing."""


def write(
    connection: Sink, response: Response, method: str, stall_seconds: float, *, keep: bool, http_11: bool
) -> bool:
    """Write the answer to a request by `method`; True when the connection can be kept."""
    body = response.body
    bodiless = response.status in (204, 304) or method == "HEAD"  # RFC 9112, section 6.3
    if isinstance(body, bytes):
        head = frame_whole(response, len(body), bodiless=bodiless, keep=keep, http_11=http_11)
        if bodiless:
            connection.send_all(head, stall_seconds)
        elif keep and len(body) <= TOGETHER_BYTES:
            connection.send_last(head + body, stall_seconds)
        elif len(body) <= ONE_WRITE_BYTES:
            connection.send_all(head + body, stall_seconds)
        else:
            connection.send_all(head, stall_seconds)
            connection.send_all(body, stall_seconds)
        return keep
    try:
        framing = frame_pieces(response, bodiless=bodiless, keep=keep, http_11=http_11)
        if bodiless:
            connection.send_all(framing.head, stall_seconds)
            return keep
        return _write_pieces(connection, response, body, framing, stall_seconds) and keep
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()


def switch(tunnel: Tunnel, response: Response, takeover: Takeover, stall_seconds: float) -> None:
    """Write a 101, and leave the connection to another protocol until that has ended."""
    try:
        tunnel.send_all(frame_switch(response), stall_seconds)
    except BaseException:
        takeover.abandon()
        raise
    takeover.run(tunnel)


def _write_pieces(
    connection: Sink, response: Response, pieces: Iterator[bytes], framing: Framing, stall_seconds: float
) -> bool:
    """Write an iterator's pieces as they come; True when the client can tell where they end, and more can follow."""
    waiting = framing.head  # bytes that go out with the next ones
    if response.prompt:
        connection.send_all(waiting, stall_seconds)
        waiting = b""
    sent = 0
    try:
        while (piece := next_piece(pieces, connection)) is not None:
            sent += len(piece)
            if response.length is not None and sent > response.length:
                break
            framed = chunk(piece) if framing.chunked else piece
            connection.send_all(waiting + framed if waiting else framed, stall_seconds)
            waiting = b""
    except Truncated:
        if waiting:
            connection.send_all(waiting, stall_seconds)
        connection.cut(reset=framing.until_close)
        return False
    if framing.chunked:
        waiting += LAST_CHUNK
    if waiting:
        connection.send_all(waiting, stall_seconds)
    if response.length is not None and sent != response.length:
        connection.cut(reset=False)
        return False
    return not framing.until_close
