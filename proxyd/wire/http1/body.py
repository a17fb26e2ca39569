"""Decoders of message bodies: each is fed what arrived and gives back the payload in it.

The law of this module: a decoder knows exactly where its message ends. What came after the end is in `leftover` and was
not interpreted. Trailers are checked, counted and thrown away: nothing after the head may become a header.
"""

import re
from typing import Protocol

from msgspec import Struct

CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:;[\t\x20-\x7e\x80-\xff]*)?)")
_PLAIN_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")  # without extensions
# A provider may pad the size with blanks, as some servers always did; from a client that would be a try at smuggling.
PADDED_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*((?:;[\t\x20-\x7e\x80-\xff]*)?)")
TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")

# How far framing may outweigh payload before it counts as an attack on our processor.
OVERHEAD_LIMIT_BYTES = 128 * 1024


class ProtocolError(Exception):
    """The peer broke the framing of its message. The text is public and quotes nothing that was received."""


class Decoder(Protocol):
    """What all body decoders have in common."""

    done: bool
    leftover: bytes

    def feed(self, data: bytes) -> bytes:
        """Take what arrived, give the payload in it (maybe none). Raises `ProtocolError`."""

    def end(self) -> None:
        """Tell that the peer closed its side. Raises `ProtocolError` when the body is incomplete by that."""


class ChunkLimits(Struct, frozen=True):
    """How much a chunked body may carry beside its payload (RFC 9112, section 7.1: "ought to limit")."""

    extension_bytes: int = 4 * 1024  # all extensions of a request's body together; of an answer's, those of one chunk
    trailer_bytes: int = 8 * 1024
    trailer_fields: int = 100


class LengthDecoder(Struct, eq=False):
    """A body of as many bytes as Content-Length said, all of which are `remaining` at first."""

    remaining: int
    done: bool  # from the beginning, where there are none
    leftover: bytes = b""

    def feed(self, data: bytes) -> bytes:
        remaining = self.remaining
        if len(data) < remaining:
            self.remaining = remaining - len(data)
            return data
        self.remaining = 0
        self.done = True
        if len(data) == remaining:
            return data
        self.leftover = data[remaining:]
        return data[:remaining]

    def end(self) -> None:
        if not self.done:
            raise ProtocolError(f"The connection ended {self.remaining} bytes before the announced length")


class CloseDecoder:
    """A response body that lasts until the connection closes."""

    __slots__ = ("done", "leftover")

    def __init__(self) -> None:
        self.done = False
        self.leftover = b""

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> None:
        self.done = True


class ChunkedDecoder:
    """A body in chunks (RFC 9112, section 7.1), with trailers."""

    __slots__ = (
        "_between",
        "_counts_extensions",
        "_extension_bytes",
        "_limits",
        "_overhead",
        "_partial",
        "_remaining",
        "_size_pattern",
        "_state",
        "_trailer_bytes",
        "_trailer_fields",
        "done",
        "leftover",
    )

    def __init__(self, limits: ChunkLimits, *, padded: bool = False) -> None:
        self._limits = limits
        self._size_pattern = PADDED_CHUNK_SIZE if padded else CHUNK_SIZE
        # Some providers sign each chunk in an extension, of which a stream may have any number (RFC 9112, 7.1.1).
        self._counts_extensions = not padded
        self._state = self._size_line
        self._between = True  # two chunks: the next byte begins a size line
        self._partial = b""
        self._remaining = 0
        self._overhead = 0
        self._extension_bytes = 0
        self._trailer_bytes = 0
        self._trailer_fields = 0
        self.done = False
        self.leftover = b""

    def feed(self, data: bytes) -> bytes:
        if self._remaining > len(data):
            # The usual case of a large chunk: nothing to cut, nothing to copy.
            self._remaining -= len(data)
            return data
        if self._between and not self._partial and (payload := self._whole(data)):
            return payload
        buffer = self._partial + data if self._partial else data
        self._partial = b""
        pieces: list[bytes] = []
        position = 0
        while not self.done:
            if self._remaining:
                piece = buffer[position : position + self._remaining]
                if not piece:
                    break
                pieces.append(piece)
                position += len(piece)
                self._remaining -= len(piece)
                if self._remaining:
                    break
                self._state = self._chunk_end
            following = self._state(buffer, position)
            if following < 0:
                self._partial = buffer[position:]
                break
            position = following
        if self.done:
            self.leftover = buffer[position:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def end(self) -> None:
        if not self.done:
            raise ProtocolError("The connection ended in the middle of a chunked body")

    def _whole(self, data: bytes) -> bytes:
        """The payload of one chunk that came whole and alone, as an event of a stream mostly does; else nothing."""
        match = _PLAIN_SIZE.match(data)
        if match is None or not data.endswith(b"\r\n"):
            return b""
        start, size = match.end(), int(match[1], 16)
        if not size or start + size + 2 != len(data):
            return b""
        self._weigh(start - 2, size)
        return data[start:-2]

    def _weigh(self, line_bytes: int, size: int) -> None:
        # Chunks of one byte cost us a hundred times what they cost their sender. Framing may weigh twice as much as
        # payload; what goes beyond adds up, and fatter chunks pay it back.
        self._overhead = max(0, self._overhead + line_bytes + 4 - 2 * size)
        if self._overhead > OVERHEAD_LIMIT_BYTES:
            raise ProtocolError("The chunked body consists mostly of framing")

    def _line(self, buffer: bytes, start: int, limit: int) -> bytes | None:
        """Give the line at `start` without its CRLF; None while it is incomplete."""
        end = buffer.find(b"\n", start, start + limit + 2)
        if end < 0:
            if len(buffer) - start >= limit + 2:
                raise ProtocolError("A line of the chunked body is too long")
            return None
        if end == start or buffer[end - 1] != 0x0D:
            raise ProtocolError("A line of the chunked body does not end in CRLF")
        return buffer[start : end - 1]

    def _size_line(self, buffer: bytes, start: int) -> int:
        line = self._line(buffer, start, self._limits.extension_bytes + 16)
        if line is None:
            return -1
        match = self._size_pattern.fullmatch(line)
        if match is None:
            raise ProtocolError("Malformed chunk size")
        size = int(match[1], 16)
        if self._counts_extensions:
            self._extension_bytes += len(match[2])
            if self._extension_bytes > self._limits.extension_bytes:
                raise ProtocolError("The chunk extensions are too long")
            self._weigh(len(line), size)
        else:
            self._weigh(len(match[1]), size)
        self._remaining = size
        self._between = False
        if size == 0:
            self._state = self._trailer
        return start + len(line) + 2

    def _chunk_end(self, buffer: bytes, start: int) -> int:
        end = buffer[start : start + 2]
        if end == b"\r\n":
            self._state = self._size_line
            self._between = True
            return start + 2
        if end in (b"", b"\r"):
            return -1
        raise ProtocolError("Chunk data does not end where its size says")

    def _trailer(self, buffer: bytes, start: int) -> int:
        line = self._line(buffer, start, self._limits.trailer_bytes)
        if line is None:
            return -1
        if line:
            if TRAILER.fullmatch(line) is None:
                raise ProtocolError("Malformed trailer")
            self._trailer_fields += 1
            self._trailer_bytes += len(line) + 2
            if self._trailer_fields > self._limits.trailer_fields or self._trailer_bytes > self._limits.trailer_bytes:
                raise ProtocolError("Too many trailers")
        else:
            self.done = True
        return start + len(line) + 2
