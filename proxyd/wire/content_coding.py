"""Undoing a Content-Encoding to look inside a body that is relayed as it came.

What cannot be decoded (an unknown coding, corrupt data, a decompression bomb) is `broken`: the reader then knows
nothing, and the relay goes on.
"""

import zlib

DECODABLE = b"gzip, deflate"  # what may stand in Accept-Encoding of a request whose answer we have to read

_BLOCK_BYTES = 256 * 1024
FREE_BYTES = 32 * 1024 * 1024  # decoded bytes that are always allowed
MAX_RATIO = 100  # beyond them: decoded bytes for each encoded one

_AUTO = zlib.MAX_WBITS | 32  # gzip or zlib, by the first bytes
_RAW = -zlib.MAX_WBITS  # what some servers mean by "deflate"


class ContentDecoder:
    """Decodes one body piece by piece. Gives nothing more once `broken`.

    `max_bytes` is how much may be inflated; without it that depends on how much came.
    """

    def __init__(self, content_encoding: bytes | None, *, max_bytes: int | None = None) -> None:
        coding = (content_encoding or b"identity").strip().lower()
        self._identity = coding in (b"identity", b"")
        self.broken = not self._identity and coding not in (b"gzip", b"x-gzip", b"deflate")
        self._raw_allowed = coding == b"deflate"
        self._inflater = None if self._identity or self.broken else zlib.decompressobj(_AUTO)
        self._head = b""
        self._received = 0
        self._decoded = 0
        self._max_bytes = max_bytes

    @property
    def complete(self) -> bool:
        """Whether nothing is missing at the end of what came. A body without a coding is complete at any time."""
        return not self.broken and (self._identity or (self._inflater is not None and self._inflater.eof))

    def feed(self, data: bytes) -> bytes:
        """The plain bytes of the next piece."""
        if self._identity:
            return data
        if self.broken or not data:
            return b""
        self._received += len(data)
        if self._raw_allowed:  # the first two bytes tell whether a zlib header is there
            self._head += data
            if len(self._head) < 2:
                return b""
            data = self._head
        try:
            plain = self._inflate(data)
        except zlib.error:
            self.broken = True
            return b""
        self._raw_allowed = False
        return plain

    def _inflate(self, data: bytes) -> bytes:
        assert self._inflater is not None  # noqa: S101 - neither identity nor broken
        pieces: list[bytes] = []
        full = False
        while data or full:
            try:
                piece = self._inflater.decompress(data, _BLOCK_BYTES)
            except zlib.error:
                if not self._raw_allowed:
                    raise
                self._raw_allowed = False
                self._inflater = zlib.decompressobj(_RAW)
                continue
            self._decoded += len(piece)
            limit = FREE_BYTES + MAX_RATIO * self._received if self._max_bytes is None else self._max_bytes
            if self._decoded > limit:
                self.broken = True
                return b""
            pieces.append(piece)
            # zlib may have taken all that came and have more to give than the block had room for.
            full = len(piece) == _BLOCK_BYTES
            data = self._inflater.unconsumed_tail
            if self._inflater.eof and self._inflater.unused_data:  # the next member of a gzip file
                data = self._inflater.unused_data
                self._raw_allowed = False  # only of a first one nobody knows yet whether it has a header
                self._inflater = zlib.decompressobj(_AUTO)
        return b"".join(pieces)
