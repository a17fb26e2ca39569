"""Reading journals: of workers that live, as far as they have come; of dead ones, to the end.

A dead journal is finished before it is closed: what began and did not end gets an END, charged from what is known. That
END goes into the journal itself, so that whoever is killed while doing it, or does it again, does it the same way.
"""

import fcntl
import os
from pathlib import Path

from msgspec import Struct, field

from proxyd.accounting import frames
from proxyd.accounting.journal import CARRY_SEGMENTS, lock_path, segment_path
from proxyd.accounting.records import Attempt, EndRecord, crashed, used_tokens

_PIECE_BYTES = 256 * 1024  # more than any record


class ForeignFormat(Exception):
    """A segment of another release."""


class Position(Struct, frozen=True):
    """How far a journal has been read: a segment, a byte in it, and the last END before it."""

    segment: int = 1
    position: int = 0
    end_number: int = 0


def workers(directory: Path) -> list[str]:
    """The ids of all journals that lie there, oldest first."""
    try:
        names = os.listdir(directory)  # noqa: PTH208 - again and again, of a folder that may hold thousands of segments
    except FileNotFoundError:
        return []
    return sorted([name.partition(".")[0] for name in names if name.endswith(".lock")])


def try_lock(directory: Path, worker_id: str) -> int | None:
    """The lock of a dead worker's journal, as a descriptor to be closed; None while the worker lives."""
    try:
        lock = os.open(lock_path(directory, worker_id), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def pid_of(directory: Path, worker_id: str) -> int | None:
    """The process that holds a journal, as it wrote itself down."""
    try:
        return int(lock_path(directory, worker_id).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def segments(directory: Path, worker_id: str) -> list[int]:
    """The numbers of the segments that lie there, in order."""
    return sorted(int(path.name.split(".")[1]) for path in directory.glob(f"{worker_id}.*.journal"))


def read_ends(directory: Path, worker_id: str, start: Position, at_most: int) -> tuple[list[EndRecord], Position]:
    """The ENDs that follow a position, `at_most` of them, and where to read on."""
    found: list[EndRecord] = []
    number, position, end_number = start.segment, start.position, start.end_number
    while True:
        path = segment_path(directory, worker_id, number)
        # Looked for before the reading: the writer begins a segment only after its last record in the one before.
        done = segment_path(directory, worker_id, number + 1).exists()
        seed = frames.crc_seed(f"{worker_id}.{number}")
        while data := read_more(path, position):
            before = position
            for start_at, end_at in frames.spans(data, seed, 0):
                position = before + end_at
                kind = data[start_at : start_at + 1]
                if kind == frames.END:
                    record = frames.read_end(data[start_at + 1 : end_at])
                    end_number = record.number
                    found.append(record)
                    if len(found) >= at_most:
                        return found, Position(number, position, end_number)
                elif kind == frames.HEADER and not frames.is_readable(data[start_at + 1 : end_at]):
                    return found, Position(number, 0, end_number)  # another release's; it is set aside in the end
            if position == before:
                break
        if not done:
            return found, Position(number, position, end_number)
        number, position = number + 1, 0


class Tail(Struct):
    """The end of a journal: what is open in it, and the ENDs above a number."""

    open: dict[int, Attempt] = field(default_factory=dict)
    progress: dict[int, int] = field(default_factory=dict)  # seq -> nanos
    ends: list[EndRecord] = field(default_factory=list)
    begun: dict[int, Attempt] = field(default_factory=dict)  # all that began in it, by seq; with tokens as they ended
    last: Position = field(default_factory=Position)


def read_tail(directory: Path, worker_id: str, above: int, since_second: int = 2**63) -> Tail:
    """What the last segments tell.

    As many of them as needed for all that is open, all ENDs above a number, and all that began since a steady second.
    """
    tail = Tail()
    numbers = segments(directory, worker_id)
    for number in numbers[_first_needed(directory, worker_id, numbers, above, since_second) :]:
        path = segment_path(directory, worker_id, number)
        position = 0
        for frame in frames.frames(_read(path, 0), frames.crc_seed(f"{worker_id}.{number}"), 0):
            position = frame.next_position
            _apply(tail, frame, above)
        tail.last = Position(number, position, tail.last.end_number)
    return tail


def _apply(tail: Tail, frame: frames.Frame, above: int) -> None:
    if frame.kind == frames.BEGIN:
        seq, attempt = frames.read_begin(frame.content)
        tail.open[seq] = tail.begun[seq] = attempt
    elif frame.kind == frames.PROGRESS:
        seq, nanos = frames.read_progress(frame.content)
        tail.progress[seq] = nanos
    elif frame.kind == frames.END:
        record = frames.read_end(frame.content)
        tail.open.pop(record.seq, None)
        attempt = record.attempt  # it may have begun before the first segment that is read
        if attempt.held_tokens:
            attempt = attempt._replace(held_tokens=used_tokens(attempt, record.settlement))
        tail.begun[record.seq] = attempt
        tail.last = Position(tail.last.segment, tail.last.position, record.number)
        if record.number > above:
            tail.ends.append(record)
    else:
        _, _, end_number = _check_format(frame.content)
        tail.last = Position(tail.last.segment, tail.last.position, max(end_number, tail.last.end_number))


def _first_needed(directory: Path, worker_id: str, numbers: list[int], above: int, since_second: int) -> int:
    """The index of the first segment that may tell something of what is asked for."""
    first = max(0, len(numbers) - CARRY_SEGMENTS - 1)
    while first > 0:
        path = segment_path(directory, worker_id, numbers[first])
        seed = frames.crc_seed(f"{worker_id}.{numbers[first]}")
        # Its header tells the last END before it; its first BEGIN that is not carried on, when it was begun.
        begun = 2**63 if since_second < 2**63 else 0
        told = 2**63
        for frame in frames.frames(_read(path, 0, _PIECE_BYTES), seed, 0):
            if frame.kind == frames.HEADER:
                told = frames.read_header(frame.content)[2]
            elif frame.kind == frames.BEGIN and begun:
                begun = frames.read_begin(frame.content)[1].second
                if begun >= since_second:
                    break
            if told <= above and begun < since_second:
                break
        if told <= above and begun < since_second:
            break
        first -= 1
    return first


def end_open_attempts(directory: Path, worker_id: str) -> int:
    """End what a dead worker left open, in its journal. Returns how many. Raises frames.Damaged, OSError.

    For whoever holds its lock.
    """
    check_whole(directory, worker_id)
    tail = read_tail(directory, worker_id, above=2**63)
    if not tail.open:
        return 0
    number = tail.last.segment
    seed = frames.crc_seed(f"{worker_id}.{number}")
    records = [
        EndRecord(tail.last.end_number + index, seq, attempt, crashed(attempt, tail.progress.get(seq)))
        for index, (seq, attempt) in enumerate(sorted(tail.open.items()), start=1)
    ]
    data = b"".join([frames.end(seed, record) for record in records])
    path = segment_path(directory, worker_id, number)
    with path.open("r+b") as file:
        # A torn record may stand where we go on: wiped first, so that no byte of it follows ours.
        size = max(os.fstat(file.fileno()).st_size, tail.last.position + len(data))
        file.seek(tail.last.position)
        file.write(data.ljust(size - tail.last.position, b"\0"))
    return len(records)


def check_whole(directory: Path, worker_id: str) -> None:
    """Raise frames.Damaged unless everything in a dead journal is whole, but for one torn record at a segment's end."""
    for number in segments(directory, worker_id):
        data = _read(segment_path(directory, worker_id, number), 0)
        seed, position = frames.crc_seed(f"{worker_id}.{number}"), 0
        for frame in frames.frames(data, seed, 0):
            position = frame.next_position
        frames.check_rest(data, seed, position)


def _check_format(content: bytes) -> tuple[int, int, int]:
    header = frames.read_header(content)
    if header[0] not in frames.READABLE:
        raise ForeignFormat(f"format {header[0]}")
    return header


def read_more(path: Path, position: int) -> bytes:
    """A piece of a segment from a position on; none where nothing was written yet, which costs no more than a look."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(position)
            head = file.read(frames.FRAME_BYTES)
            return head + file.read(_PIECE_BYTES) if head.strip(b"\0") else b""
    except FileNotFoundError:
        return b""


def _read(path: Path, position: int, at_most: int = -1) -> bytes:
    """Bytes of a segment from a position on; none when it does not exist."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(position)
            return file.read(at_most) if at_most >= 0 else file.readall()
    except FileNotFoundError:
        return b""
