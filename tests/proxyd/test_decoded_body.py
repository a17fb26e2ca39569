"""What is done with a compressed body while it comes."""

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import gevent
import pytest
from gateway_kit import Sent

from proxyd.gateway.decoded_body import EMPTY_BYTES, PAUSE_BYTES, DecodedBody
from proxyd.messages import BadRequest

LIMIT = 32 * 1024 * 1024
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"  # RFC 1951, section 3.2.4: one without a compression, and without a byte


@dataclass
class Pieces(Sent):
    """A body that counts how much of it was taken."""

    taken: int = 0

    def chunks(self, limit_bytes: int) -> Iterator[bytes]:
        for piece in super().chunks(limit_bytes):
            self.taken += len(piece)
            yield piece


def test_it_works() -> None:
    assert DecodedBody(Pieces(zlib.compress(b"text")), b"deflate").read(LIMIT) == b"text"


def test_w1_what_holds_nothing_is_not_read_on() -> None:
    pieces = Pieces(b"\x78\x9c" + EMPTY_BLOCK * (4 * EMPTY_BYTES // len(EMPTY_BLOCK)))
    with pytest.raises(BadRequest, match="more than twice as large as what its Content-Encoding holds: deflate"):
        DecodedBody(pieces, b"deflate").read(LIMIT)
    assert pieces.taken <= EMPTY_BYTES + 2 * pieces.piece_bytes


def test_w1_others_go_on_by_what_comes_in_too() -> None:
    data = random.Random(5).randbytes(PAUSE_BYTES * 3 // 4)
    packer = zlib.compressobj(0)
    pieces = [packer.compress(data[at : at + 16]) + packer.flush(zlib.Z_SYNC_FLUSH) for at in range(0, len(data), 16)]
    went_on: list[bool] = []
    gevent.spawn(went_on.append, True)
    body = DecodedBody(Pieces(b"".join(pieces) + packer.flush()), b"deflate")
    assert body.read(LIMIT) == data
    assert went_on == [True]
