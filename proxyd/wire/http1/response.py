"""Heads of responses, judged as strictly as those of requests: a provider is no more to be trusted with framing.

The law of this module: what could be read in two ways raises `ProtocolError`, and the connection it came over is lost.
"""

from functools import lru_cache

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from proxyd.messages import MAX_PLANNED_NAMES, Incoming, name_of
from proxyd.wire.http1.body import ChunkedDecoder, ChunkLimits, CloseDecoder, Decoder, LengthDecoder, ProtocolError
from proxyd.wire.http1.fields import STRAY_LINE_BREAK, Fields, keeps_alive

HEADERS_LIMIT = 256

# The fields that frame a message or steer the connection.
STEERING = frozenset({b"connection", b"content-length", b"transfer-encoding"})


class ResponseHead(Incoming, frozen=True):
    """What a response's head says, and how its body is framed."""

    chunked: bool
    bodiless: bool
    keep_alive: bool

    def decoder(self, limits: ChunkLimits) -> Decoder:
        """Make the decoder for the body that follows this head (RFC 9112, section 6.3)."""
        if self.bodiless:
            return LengthDecoder(0, done=True)
        if self.chunked:
            return ChunkedDecoder(limits, padded=True)
        length = self.length
        return CloseDecoder() if length is None else LengthDecoder(length, length == 0)


def find_response_head(buffer: bytes, seen_bytes: int, limit_bytes: int) -> int:
    """Give the index just after the head that `buffer` begins with, or -1 while it is incomplete.

    `seen_bytes` is how much an earlier call looked at. Raises `ProtocolError` when no continuation could help.
    """
    end = buffer.find(b"\r\n\r\n", seen_bytes - 3 if seen_bytes > 3 else 0)
    size = end + 4 if end >= 0 else len(buffer)
    if size > limit_bytes:
        raise ProtocolError("The response's head is too large")
    if end < 0 and STRAY_LINE_BREAK.search(buffer, max(0, seen_bytes - 1)):
        raise ProtocolError("The response's head is malformed")
    return size if end >= 0 else -1


def _places(names: tuple[bytes, ...]) -> tuple[int, ...]:
    """Where the fields stand that frame a message or steer the connection."""
    return tuple([place for place, name in enumerate(names) if name in STEERING])


_steering = lru_cache(maxsize=1024)(_places)  # a provider sends the same names with every answer


def _elements(values: list[bytes]) -> list[bytes]:
    """The elements of a list in fields; a recipient skips empty ones (RFC 9110, section 5.6.1.2)."""
    return [element for value in values for piece in value.split(b",") if (element := piece.strip(b" \t"))]


def parse_response_head(head: bytes, method: str) -> ResponseHead:
    """Parse a head up to and with its empty line; `method` is the request's. Raises `ProtocolError`."""
    http_11 = head.startswith(b"HTTP/1.1 ")
    if not http_11 and not head.startswith(b"HTTP/1.0 "):
        raise ProtocolError("The response is not HTTP/1.1")
    fields = Fields()
    parser = HttpResponseParser(fields)
    try:
        parser.feed_data(head)
    except HttpParserUpgrade:
        pass  # Only a 101 upgrades, and our caller never asked for one.
    except HttpParserError:
        raise ProtocolError("The response's head is malformed") from None
    status = parser.get_status_code()
    headers = tuple(fields.headers)
    if not 100 <= status <= 599:
        raise ProtocolError("The response's status code is out of range")
    if len(headers) > HEADERS_LIMIT:
        raise ProtocolError("The response has too many headers")
    length: int | None = None
    codings: list[bytes] = []
    connection: list[bytes] = []
    names = tuple(map(name_of, headers))
    for place in _steering(names) if len(names) <= MAX_PLANNED_NAMES else _places(names):
        name, value = headers[place]
        if name == b"content-length":
            if not value.isdigit():
                raise ProtocolError("The response's Content-Length is malformed")
            length = int(value)
        elif name == b"transfer-encoding":
            codings.append(value.lower())
        else:
            connection.append(value)
    if codings and (not http_11 or (codings != [b"chunked"] and _elements(codings) != [b"chunked"])):
        raise ProtocolError("The response has a transfer coding that is not supported")
    keep_alive = keeps_alive(connection, http_11=http_11)
    if status == 204 or status < 200:
        # A length here belies the status; what follows on that connection cannot be trusted to be the next response.
        return ResponseHead(
            status,
            headers,
            0,
            chunked=False,
            bodiless=True,
            keep_alive=keep_alive and not codings and not length,
        )
    bodiless = method == "HEAD" or status == 304
    chunked = bool(codings)
    delimited = bodiless or chunked or length is not None
    keep_alive = keep_alive and delimited and not (status == 304 and (chunked or length))
    return ResponseHead(status, headers, length, chunked, bodiless, keep_alive)
