import gzip
import zlib

import pytest

from proxyd.wire.content_coding import ContentDecoder

TEXT = b'{"usage":{"prompt_tokens":1}}' * 1000


def decode(coding: bytes | None, data: bytes, size: int = 100) -> tuple[bytes, bool]:
    decoder = ContentDecoder(coding)
    return b"".join(decoder.feed(data[at : at + size]) for at in range(0, len(data), size)), decoder.broken


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        (None, TEXT),
        (b"identity", TEXT),
        (b"gzip", gzip.compress(TEXT, mtime=0)),
        (b" GZip ", gzip.compress(TEXT, mtime=0)),
        (b"gzip", gzip.compress(TEXT[:9], mtime=0) + gzip.compress(TEXT[9:], mtime=0)),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", raw_deflate(TEXT)),
    ],
)
def test_it_works(coding: bytes | None, data: bytes) -> None:
    assert decode(coding, data) == (TEXT, False)
    assert decode(coding, data, 1) == (TEXT, False)


@pytest.mark.parametrize("coding", [b"compress", b"gzip, gzip", b"nonsense"])
def test_unknown_codings_are_broken(coding: bytes) -> None:
    assert decode(coding, TEXT) == (b"", True)


def test_corrupt_data_is_broken() -> None:
    damaged = bytearray(gzip.compress(TEXT))
    damaged[20:40] = b"\xff" * 20
    assert decode(b"gzip", bytes(damaged))[1]
    for coding in (b"gzip", b"deflate", b"br", b"zstd"):
        assert decode(coding, b"not of this coding at all")[1]


def test_a_bomb_is_stopped() -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    block = b"\0" * 1_000_000
    bomb = b"".join(packer.compress(block) for _ in range(100)) + packer.flush()
    plain, broken = decode(b"gzip", bomb, len(bomb))
    assert broken
    assert len(plain) < 50_000_000


@pytest.mark.parametrize("size", [256 * 1024, 256 * 1024 + 1, 512 * 1024])
def test_nothing_is_left_behind_at_the_end_of_a_block(size: int) -> None:
    decoder = ContentDecoder(b"gzip")
    assert decoder.feed(gzip.compress(b"\0" * size)) == b"\0" * size
    assert decoder.complete


def test_the_end_is_told_from_a_break() -> None:
    packed = gzip.compress(TEXT)
    decoder = ContentDecoder(b"gzip")
    decoder.feed(packed[:-1])
    assert not decoder.complete
    decoder.feed(packed[-1:])
    assert decoder.complete
    assert ContentDecoder(None).complete
    assert not ContentDecoder(b"br").complete


def test_a_limit_holds_whatever_the_ratio() -> None:
    decoder = ContentDecoder(b"gzip", max_bytes=len(TEXT))
    assert decoder.feed(gzip.compress(TEXT)) == TEXT
    decoder = ContentDecoder(b"gzip", max_bytes=len(TEXT) - 1)
    assert decoder.feed(gzip.compress(TEXT)) == b""
    assert decoder.broken
