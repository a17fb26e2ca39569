"""Every coding, in pieces of any size; what is damaged is never taken for whole."""

import gzip
import random
import sys
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.wire.content_coding import (
    ACCEPTED,
    BLOCK_BYTES,
    DECODERS,
    FREE_PARTS,
    PART_BYTES,
    CodingError,
    ContentDecoder,
    decoded,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def deflate_without_head(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


ENCODERS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "gzip": (b"gzip", gzip.compress),
    "deflate": (b"deflate", zlib.compress),
    "raw": (b"deflate", deflate_without_head),
    "br": (b"br", brotli.compress),
    "zstd": (b"zstd", zstd.compress),
}
PLAIN = {
    "empty": b"",
    "one": b"x",
    "noise": random.Random(7).randbytes(70_000),
    "bomb": b"a" * 5_000_000,
    "mixed": b"ab" * 400_000 + random.Random(8).randbytes(100_000),
}
with_every_coding = pytest.mark.parametrize("encoder", ENCODERS)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def plain(coding: bytes, data: bytes, size: int = 65_536) -> bytes:
    return b"".join(decoded(coding, iter(pieces(data, size))))


@with_every_coding
@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("size", [13, 65_536])
def test_it_works(encoder: str, kind: str, size: int) -> None:
    coding, encode = ENCODERS[encoder]
    got = list(decoded(coding, iter(pieces(encode(PLAIN[kind]), size))))
    assert b"".join(got) == PLAIN[kind]
    assert all(0 < len(piece) <= 2 * BLOCK_BYTES for piece in got)


@with_every_coding
@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("size", [13, 65_536])
def test_an_answer_is_read_the_same_way(encoder: str, kind: str, size: int) -> None:
    coding, encode = ENCODERS[encoder]
    packed = encode(PLAIN[kind])
    reader = ContentDecoder(coding)
    assert b"".join(map(reader.feed, pieces(packed[:-1], size))) in PLAIN[kind]
    assert not reader.complete
    reader = ContentDecoder(coding)
    assert b"".join(map(reader.feed, pieces(packed, size))) == PLAIN[kind]
    assert reader.complete


def test_every_coding_that_is_promised_is_read() -> None:
    assert {name.encode() for name in ACCEPTED.decode().split(", ")} | {b"x-gzip"} == set(DECODERS)


@with_every_coding
@pytest.mark.parametrize("kind", ["noise", "bomb"])  # shorter ones may be cut where no checksum misses anything
def test_what_is_cut_or_longer_or_something_else_is_refused(encoder: str, kind: str) -> None:
    coding, encode = ENCODERS[encoder]
    data = encode(PLAIN[kind])
    for wrong in (data[:-1], data[: len(data) // 2], b"", data + b"tail", b"{}" + data, PLAIN[kind] * 3):
        for size in (5, 65_536):
            if size == 5 and len(wrong) > 100_000:
                continue
            with pytest.raises(CodingError):
                plain(coding, wrong, size)


@pytest.mark.parametrize("encoder", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [1, 65_536])
def test_several_members_are_one_body(encoder: str, size: int) -> None:
    coding, encode = ENCODERS[encoder]
    assert plain(coding, encode(b"one ") + encode(b"two"), size) == b"one two"


@pytest.mark.parametrize(
    ("coding", "part"),
    [(b"gzip", gzip.compress(b"")), (b"zstd", zstd.compress(b"")), (b"zstd", bytes.fromhex("502A4D1800000000"))],
    ids=["members", "frames", "skippable"],
)
def test_w1_parts_that_hold_nothing_are_not_read_for_ever(coding: bytes, part: bytes) -> None:
    assert plain(coding, part * FREE_PARTS) == b""
    with pytest.raises(CodingError):
        plain(coding, part * (FREE_PARTS + 1))
    reader = ContentDecoder(coding)
    reader.feed(part * (FREE_PARTS + 1))
    assert reader.broken


@pytest.mark.parametrize("encoder", ["gzip", "zstd"])
def test_a_stream_may_have_as_many_parts_as_it_has_events(encoder: str) -> None:
    coding, encode = ENCODERS[encoder]
    reader, event = ContentDecoder(coding), b"data: x\n\n"
    for _ in range(3 * FREE_PARTS):
        assert reader.feed(encode(event)) == event
    assert reader.complete


@pytest.mark.parametrize("encoder", ["gzip", "zstd"])
def test_parts_that_hold_something_may_be_many(encoder: str) -> None:
    coding, encode = ENCODERS[encoder]
    assert plain(coding, encode(b"x" * PART_BYTES) * 3 * FREE_PARTS) == b"x" * PART_BYTES * 3 * FREE_PARTS


def test_a_window_that_would_take_much_memory_is_refused() -> None:
    window = zstd.CompressionParameter.window_log
    data = zstd.compress(PLAIN["noise"], options={window: 23})
    assert plain(b"zstd", data) == PLAIN["noise"]
    compressor = zstd.ZstdCompressor(options={window: 27})
    wide = compressor.compress(PLAIN["noise"], compressor.FLUSH_BLOCK) + compressor.flush()
    with pytest.raises(CodingError):
        plain(b"zstd", wide)


@given(st.sampled_from(list(ENCODERS)), st.binary(max_size=2_000), st.integers(1, 300))
def test_pieces_make_no_difference(encoder: str, data: bytes, size: int) -> None:
    coding, encode = ENCODERS[encoder]
    assert plain(coding, encode(data), size) == data
