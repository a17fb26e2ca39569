"""A compressed body of a request, read without its compression."""

from collections.abc import Iterator

from gevent import sleep

from proxyd.messages import BadRequest, Body, RequestTooLarge
from proxyd.wire.content_coding import DECODERS, CodingError, decoded

PAUSE_BYTES = 1024 * 1024  # of plain text between two looks at what else there is to do: some 5 ms of work


class DecodedBody:
    """Implements `messages.Body` over another one. A limit holds for what comes in and for what comes out of it."""

    def __init__(self, body: Body, coding: bytes) -> None:
        self._body = body
        self._coding = coding

    @property
    def length(self) -> int | None:
        return None

    def read(self, limit_bytes: int) -> bytes:
        return b"".join(self.chunks(limit_bytes))

    def chunks(self, limit_bytes: int) -> Iterator[bytes]:
        total = since_pause = 0
        try:
            for piece in decoded(self._coding, self._body.chunks(limit_bytes)):
                total += len(piece)
                if total > limit_bytes:
                    text = f"The request body is larger than {limit_bytes} bytes"
                    raise RequestTooLarge(text, limit_bytes=limit_bytes)
                yield piece
                since_pause += len(piece)
                if since_pause >= PAUSE_BYTES:
                    since_pause = 0
                    sleep(0)
        except CodingError:
            name = self._coding.decode()
            raise BadRequest(f"The body is not what its Content-Encoding says: {name}") from None


def is_decodable(coding: bytes) -> bool:
    """Whether a value of Content-Encoding names one coding that is read here."""
    return coding in DECODERS
