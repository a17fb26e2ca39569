"""A body is cut into the same lines however it comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.wire.lines import LineDecoder, LineTooLong


def read(body: bytes, size: int, limit: int = 1 << 20) -> list[bytes]:
    decoder = LineDecoder(limit)
    found = []
    for at in range(0, len(body), size):
        found += decoder.feed(body[at : at + size])
    return found + decoder.end()


@pytest.mark.parametrize("size", [1, 2, 5, 1 << 20])
def test_it_works(size: int) -> None:
    assert read(b'{"a":1}\n{"b":2}\r\n\n  \n{"c":3}', size) == [b'{"a":1}', b'{"b":2}\r', b'{"c":3}']
    assert read(b"", size) == read(b"\n\n", size) == []


@given(st.binary(), st.integers(1, 40))
def test_every_split_gives_the_same(body: bytes, size: int) -> None:
    assert read(body, size) == [line for line in body.split(b"\n") if line.strip()]


def test_a_line_that_never_ends_is_not_kept() -> None:
    with pytest.raises(LineTooLong):
        read(b"x" * 100, 10, limit=50)
    assert len(read(b"x" * 50 + b"\n" + b"y" * 50, 10, limit=50)) == 2
