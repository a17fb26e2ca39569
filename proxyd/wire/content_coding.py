"""Undoing a Content-Encoding, in steps of bounded size.

The law of this module: a body that is not exactly what its coding promises, to its end, is not taken for whole. Of a
request it raises `CodingError` (`decoded`); of an answer, which is relayed as it came whatever we can read of it, it
makes the reader `broken` (`ContentDecoder`).
"""

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK_BYTES = 256 * 1024  # what comes out at once, about
FREE_BYTES = 8 * 1024 * 1024  # decoded bytes of an answer that are always allowed; they may come out of a single piece
MAX_RATIO = 100  # beyond them: decoded bytes for each encoded one
# Members (gzip) or frames (zstd) of a request, or of a piece of an answer, however little each of them holds.
FREE_PARTS = 1_000
PART_BYTES = 1024  # beyond them: decoded bytes for each; a decoder is made for every one, which takes some 10 us
ZSTD_WINDOW_LOG = 23  # 8 MB: what RFC 8878, section 3.1.1.1.2, asks every decoder to take, and no more

_Errors = (zlib.error, brotli.error, zstd.ZstdError)


class CodingError(Exception):
    """The body is not what its coding says."""


class Decoder(Protocol):
    """One body's decoder."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The plain bytes of what has come, in blocks."""

    @property
    def finished(self) -> bool:
        """Whether what has come is complete."""


class _Parts:
    """How many members or frames a body, or a piece of an answer, has had so far, beside what they held."""

    _begun = 1
    _decoded = 0

    def begin_piece(self) -> None:
        """The next piece of an answer comes. Each has its own bound, since a stream lives as long as it likes."""
        self._begun = 1
        self._decoded = 0

    def _begin_part(self) -> None:
        """Another one begins. Raises CodingError where they are more than anybody makes of such a body."""
        self._begun += 1
        if self._begun > FREE_PARTS + self._decoded // PART_BYTES:
            raise CodingError


class _Inflate(_Parts):
    """gzip (RFC 1952), of several members too, or zlib's format, which HTTP calls deflate (RFC 9110, 8.4.1.2)."""

    def __init__(self, window_bits: int, *, members: bool) -> None:
        self._window_bits = window_bits
        self._members = members
        self._inflater = zlib.decompressobj(window_bits)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._inflater.eof:
                if not self._members:
                    raise CodingError
                self._begin_part()
                self._inflater = zlib.decompressobj(self._window_bits)
            piece = self._inflater.decompress(data, BLOCK_BYTES)
            if piece:
                self._decoded += len(piece)
                yield piece
            data = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            if not data and (self._inflater.eof or len(piece) < BLOCK_BYTES):
                return

    @property
    def finished(self) -> bool:
        return self._inflater.eof


class _Deflate:
    """zlib's format, or the bare one without its head that some senders mean: the first two bytes tell."""

    def __init__(self) -> None:
        self._head = b""
        self._inflate: _Inflate | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._inflate is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return
            # RFC 1950, section 2.2: method 8, and a check of both bytes.
            is_zlib = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._inflate = _Inflate(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS, members=False)
        yield from self._inflate.feed(data)

    @property
    def finished(self) -> bool:
        return self._inflate is not None and self._inflate.finished


class _Brotli:
    """RFC 7932."""

    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._decompressor.is_finished():
            raise CodingError
        # It says that it can take more while it still has something to give, so it is asked until it has not.
        while piece := self._decompressor.process(data, output_buffer_limit=BLOCK_BYTES):
            yield piece
            data = b""
            if self._decompressor.is_finished():
                return

    @property
    def finished(self) -> bool:
        return bool(self._decompressor.is_finished())


class _Zstd(_Parts):
    """RFC 8878, of several frames too."""

    _OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        self._decompressor = zstd.ZstdDecompressor(options=self._OPTIONS)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._decompressor.eof:
                self._begin_part()
                self._decompressor = zstd.ZstdDecompressor(options=self._OPTIONS)
            piece = self._decompressor.decompress(data, BLOCK_BYTES)
            if piece:
                self._decoded += len(piece)
                yield piece
            data = self._decompressor.unused_data if self._decompressor.eof else b""
            if not data and (self._decompressor.eof or self._decompressor.needs_input):
                return

    @property
    def finished(self) -> bool:
        return self._decompressor.eof


_GZIP_BITS = zlib.MAX_WBITS | 16

DECODERS: dict[bytes, Callable[[], Decoder]] = {
    b"gzip": lambda: _Inflate(_GZIP_BITS, members=True),
    b"x-gzip": lambda: _Inflate(_GZIP_BITS, members=True),
    b"deflate": _Deflate,
    b"br": _Brotli,
    b"zstd": _Zstd,
}
ACCEPTED = b"gzip, deflate, br, zstd"  # as `Accept-Encoding` of a refusal tells it


def decoded(coding: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """A body without its coding, which is one of DECODERS. Raises CodingError.

    How much may come out of it in all is for the caller to say, who gets it in blocks.
    """
    decoder = DECODERS[coding]()
    try:
        for data in chunks:
            yield from decoder.feed(data)
    except _Errors:
        raise CodingError from None
    if not decoder.finished:
        raise CodingError


class ContentDecoder:
    """Decodes one body piece by piece. Gives nothing more once `broken`: of an unknown coding, corrupt, or a bomb.

    `max_bytes` is how much may be inflated; without it that depends on how much came.
    """

    def __init__(self, content_encoding: bytes | None, *, max_bytes: int | None = None) -> None:
        coding = (content_encoding or b"identity").strip().lower()
        self._identity = coding in (b"identity", b"")
        make = DECODERS.get(coding)
        self._decoder = None if make is None else make()
        self.broken = not self._identity and self._decoder is None
        self._received = 0
        self._decoded = 0
        self._max_bytes = max_bytes

    @property
    def complete(self) -> bool:
        """Whether nothing is missing at the end of what came. A body without a coding is complete at any time."""
        return not self.broken and (self._decoder is None or self._decoder.finished)

    def feed(self, data: bytes) -> bytes:
        """The plain bytes of the next piece."""
        if self._identity:
            return data
        if self._decoder is None or self.broken or not data:
            return b""
        if isinstance(self._decoder, _Parts):
            self._decoder.begin_piece()
        self._received += len(data)
        limit = FREE_BYTES + MAX_RATIO * self._received if self._max_bytes is None else self._max_bytes
        pieces: list[bytes] = []
        try:
            for piece in self._decoder.feed(data):
                self._decoded += len(piece)
                if self._decoded > limit:
                    self.broken = True
                    return b""
                pieces.append(piece)
        except (CodingError, *_Errors):
            self.broken = True
            return b""
        return b"".join(pieces)
