"""A compressed body of a request, read without its compression."""

from collections.abc import Iterator

from gevent import sleep

from proxyd.messages import BadRequest, Body, RequestTooLarge
from proxyd.wire.content_coding import DECODERS, CodingError, decoded

PAUSE_BYTES = 1024 * 1024  # that come in or out between two looks at what else there is to do: some 5 ms of work
# No encoder makes a body so much larger than it was. What holds nothing would never be judged by what it holds.
EMPTY_BYTES, MAX_GROWTH = 256 * 1024, 2


class DecodedBody:
    """Implements `messages.Body` over another one. A limit holds for what comes in and for what comes out of it."""

    def __init__(self, body: Body, coding: bytes) -> None:
        self._body = body
        self._coding = coding
        self._decoded = 0
        self._since_pause = 0

    @property
    def length(self) -> int | None:
        return None

    def read(self, limit_bytes: int) -> bytes:
        return b"".join(self.chunks(limit_bytes))

    def chunks(self, limit_bytes: int) -> Iterator[bytes]:
        try:
            for piece in decoded(self._coding, self._encoded(limit_bytes)):
                self._decoded += len(piece)
                if self._decoded > limit_bytes:
                    text = f"The request body is larger than {limit_bytes} bytes"
                    raise RequestTooLarge(text, limit_bytes=limit_bytes)
                yield piece
                self._pause(len(piece))
        except CodingError:
            name = self._coding.decode()
            raise BadRequest(f"The body is not what its Content-Encoding says: {name}") from None

    def _encoded(self, limit_bytes: int) -> Iterator[bytes]:
        """The body as it comes. Raises BadRequest where too little comes out of it."""
        received = 0
        for data in self._body.chunks(limit_bytes):
            yield data
            received += len(data)
            if received > EMPTY_BYTES + MAX_GROWTH * self._decoded:
                name = self._coding.decode()
                raise BadRequest(f"The body is more than twice as large as what its Content-Encoding holds: {name}")
            self._pause(len(data))

    def _pause(self, size: int) -> None:
        """Let others go on, after so much work."""
        self._since_pause += size
        if self._since_pause >= PAUSE_BYTES:
            self._since_pause = 0
            sleep(0)


def is_decodable(coding: bytes) -> bool:
    """Whether a value of Content-Encoding names one coding that is read here."""
    return coding in DECODERS
