"""Records in a segment of a journal, as bytes: framed so that what is torn, foreign or old is told from what is whole.

A frame is the length of its content, a CRC32 over segment, number and content, and the content: one letter for its
kind and JSON. A segment is filled with zeros before it is written to, so that a length of zero is its end so far.
Everything is little-endian.

A record that is cut short, or whose sum is wrong, is "not yet" while its writer lives, because it may be in the middle
of a write; afterwards it is torn if nothing but zeros follows, and else damage.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Any
from zlib import crc32

import orjson

from proxyd.accounting.records import Attempt, EndRecord, Settlement, Try

_FRAME = Struct("<II")  # length of the content, CRC32
FRAME_BYTES = _FRAME.size
BEGIN, END, PROGRESS, HEADER = b"B", b"E", b"P", b"H"
FORMAT = 4
# Of releases before: they lack the fields of an `Attempt` and of a `Settlement` that have a default.
READABLE = (1, 2, 3, FORMAT)
_FLAGS = Settlement._fields.index("flags")
_TRIED = Settlement._fields.index("tried")


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole record, and where the next one begins."""

    kind: bytes
    content: bytes  # JSON
    next_position: int


class Damaged(Exception):
    """A record is neither whole nor torn; `position` is where it begins."""

    def __init__(self, position: int) -> None:
        super().__init__(f"damaged at byte {position}")
        self.position = position


def crc_seed(segment: str) -> int:
    """What the sums of a segment begin with: records of another segment do not fit in."""
    return crc32(segment.encode())


def frame(seed: int, kind: bytes, content: bytes) -> bytes:
    """A record as it is written."""
    data = kind + content
    return _FRAME.pack(len(data), crc32(data, seed)) + data


def frames(data: bytes, seed: int, position: int, *, base: int = 0) -> Iterator[Frame]:
    """The whole records of `data` from `position` on, up to the first that is not. `base` is where `data` begins."""
    for start, end in spans(data, seed, position - base):
        yield Frame(data[start : start + 1], data[start + 1 : end], base + end)


def spans(data: bytes, seed: int, at: int) -> Iterator[tuple[int, int]]:
    """Where the same records begin, with their kind, and end: for whoever wants a few of them only."""
    size = len(data)
    while at + FRAME_BYTES <= size:
        length, crc = _FRAME.unpack_from(data, at)
        start = at + FRAME_BYTES
        at = start + length
        if not length or at > size or crc32(data[start:at], seed) != crc:
            return
        yield start, at


def check_rest(data: bytes, seed: int, position: int) -> None:
    """What follows the last whole record of a dead journal: nothing, or one torn record. Raises Damaged.

    A write that was cut off leaves a beginning of what was meant and zeros after it; one that lost its beginning, or
    that has something whole behind it, was not made by us.
    """
    rest = data[position:]
    if not rest.strip(b"\0"):
        return
    if not rest[:4].strip(b"\0"):
        raise Damaged(position)  # bytes after the first length of zero
    written = rest.rstrip(b"\0")
    (length,) = Struct("<I").unpack_from(rest.ljust(4, b"\0"))
    if len(written) >= FRAME_BYTES + length or _holds_record(written, seed):
        raise Damaged(position)


def _holds_record(data: bytes, seed: int) -> bool:
    """Whether a whole record begins anywhere behind the first byte, as it does behind a length that was changed."""
    for kind in (BEGIN, END, PROGRESS, HEADER):
        at = data.find(kind + b"[", FRAME_BYTES + 1)
        while at >= 0:
            if next(frames(data, seed, at - FRAME_BYTES), None) is not None:
                return True
            at = data.find(kind + b"[", at + 1)
    return False


def begin(seed: int, seq: int, attempt: Attempt) -> bytes:
    return frame(seed, BEGIN, orjson.dumps((seq, *attempt)))


def end(seed: int, record: EndRecord) -> bytes:
    settlement = None if record.settlement is None else _plain(record.settlement)
    return frame(seed, END, orjson.dumps((record.number, record.seq, tuple(record.attempt), settlement)))


def _plain(settlement: Settlement) -> tuple[Any, ...]:
    """As JSON takes it."""
    if settlement.tried is None:
        return tuple(settlement)
    return tuple(settlement._replace(tried=[tuple(one) for one in settlement.tried]))  # type: ignore[arg-type]


def progress(seed: int, seq: int, cost_nanos: int) -> bytes:
    return frame(seed, PROGRESS, orjson.dumps((seq, cost_nanos)))


def header(seed: int, segment: int, end_number: int) -> bytes:
    """The first record of a segment: its format, its number, and the last END before it."""
    return frame(seed, HEADER, orjson.dumps((FORMAT, segment, end_number)))


def read_begin(content: bytes) -> tuple[int, Attempt]:
    seq, *fields = orjson.loads(content)
    return seq, Attempt(*fields)


def read_end(content: bytes) -> EndRecord:
    number, seq, attempt, settlement = orjson.loads(content)
    if settlement is not None:
        settlement[_FLAGS] = tuple(settlement[_FLAGS])
        if len(settlement) > _TRIED and settlement[_TRIED] is not None:
            settlement[_TRIED] = tuple(Try(*one) for one in settlement[_TRIED])
        settlement = Settlement(*settlement)
    return EndRecord(number, seq, Attempt(*attempt), settlement)


def read_ended(content: bytes) -> int:
    """Of an END, no more than which attempt has ended."""
    return int(content[1 : content.index(b"[", 1) - 1].split(b",")[1])


def read_progress(content: bytes) -> tuple[int, int]:
    seq, cost_nanos = orjson.loads(content)
    return seq, cost_nanos


def is_readable(content: bytes) -> bool:
    """Whether the segment that has this header is of a format that is known here."""
    return read_header(content)[0] in READABLE


def read_header(content: bytes) -> tuple[int, int, int]:
    """Format, number of the segment, last END before it."""
    format_, segment, end_number = orjson.loads(content)
    return format_, segment, end_number
