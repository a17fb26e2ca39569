"""Writing the journal: nothing is begun that is not written, and what was begun can be ended."""

import errno
import fcntl
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ledger_kit import attempt, settlement

from proxyd.accounting import journal as journal_module
from proxyd.accounting.journal import CARRY_SEGMENTS, RESERVE_BYTES, SEGMENT_BYTES, Journal, JournalUnavailable
from proxyd.accounting.journal_reader import (
    Position,
    end_open_attempts,
    pid_of,
    read_ends,
    read_tail,
    segments,
    try_lock,
    workers,
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path)
    yield journal
    journal.close()


@contextmanager
def files_no_larger_than(length: int) -> Iterator[None]:
    """What a write meets on a disk that is full: it falls short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def ends(journal: Journal) -> list[int]:
    return [end.seq for end in read_ends(journal.directory, journal.worker_id, Position(), 10_000)[0]]


def bytes_of(journal: Journal) -> bytes:
    return journal_module.segment_path(journal.directory, journal.worker_id, journal._segment).read_bytes()


def test_it_works(journal: Journal) -> None:
    journal.begin([(1, attempt(1)), (2, attempt(2))])
    record = journal.end(1, settlement())
    assert (record.number, record.seq, record.attempt) == (1, 1, attempt(1))
    assert list(journal.open) == [2]
    assert read_tail(journal.directory, journal.worker_id, 0).open == {2: attempt(2)}
    assert journal.end(2, None).number == 2
    assert ends(journal) == [1, 2]


def test_its_lock_tells_who_holds_it_and_for_how_long(journal: Journal) -> None:
    assert workers(journal.directory) == [journal.worker_id]
    assert try_lock(journal.directory, journal.worker_id) is None
    assert pid_of(journal.directory, journal.worker_id) == os.getpid()
    journal.close()
    lock = try_lock(journal.directory, journal.worker_id)
    assert lock is not None
    os.close(lock)


def test_nobody_else_can_read_it(journal: Journal) -> None:
    assert {path.stat().st_mode & 0o777 for path in journal.directory.iterdir()} == {0o600}


@pytest.mark.parametrize("room", [0, 1, 7, 9, 60, 200])
def test_a_begin_that_falls_short_is_undone(journal: Journal, room: int) -> None:
    journal.begin([(1, attempt(1))])
    before = bytes_of(journal)
    with files_no_larger_than(journal._position + room), pytest.raises(JournalUnavailable):
        journal.begin([(2, attempt(2)), (3, attempt(3))])
    assert bytes_of(journal) == before
    assert list(journal.open) == [1]
    journal.begin([(4, attempt(4))])
    journal.close()
    assert list(read_tail(journal.directory, journal.worker_id, 0).open) == [1, 4]


@pytest.mark.parametrize("room", [0, 1, 9, 100])
def test_an_end_that_falls_short_stays_open_and_has_no_number(journal: Journal, room: int) -> None:
    journal.begin([(1, attempt(1))])
    with files_no_larger_than(journal._position + room), pytest.raises(JournalUnavailable):
        journal.end(1, settlement())
    assert (list(journal.open), journal.end_number, ends(journal)) == ([1], 0, [])
    assert journal.end(1, settlement()).number == 1
    assert ends(journal) == [1]


def test_progress_that_falls_short_is_undone(journal: Journal) -> None:
    journal.begin([(1, attempt(1))])
    before = bytes_of(journal)
    with files_no_larger_than(journal._position + 3), pytest.raises(JournalUnavailable):
        journal.note_progress(1, 5)
    assert bytes_of(journal) == before


def test_a_begin_that_cannot_be_synced_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was written; left there, a crash would charge a request that was never sent."""
    journal = Journal(tmp_path, sync=True)
    journal.begin([(1, attempt(1))])
    before = bytes_of(journal)

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(JournalUnavailable, match="Input/output error"):
            journal.begin([(2, attempt(2))])
    assert bytes_of(journal) == before
    journal.begin([(3, attempt(3))])
    journal.close()
    assert list(read_tail(tmp_path, journal.worker_id, 0).open) == [1, 3]


@pytest.mark.parametrize(("sync", "expected"), [(True, 2), (False, 0)])
def test_each_batch_is_synced_once_if_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool, expected: int
) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def counting(file: int) -> None:
        synced.append(file)
        real(file)

    monkeypatch.setattr(os, "fdatasync", counting)
    journal = Journal(tmp_path, sync=sync)
    journal.begin([(seq, attempt(seq)) for seq in range(1, 20)])
    journal.begin([(20, attempt(20))])
    journal.end(1, settlement())
    journal.close()
    assert len(synced) == expected


def test_check_writes_to_find_out(journal: Journal) -> None:
    journal.check()
    before = bytes_of(journal)
    with files_no_larger_than(journal._position), pytest.raises(JournalUnavailable, match="File too large"):
        journal.check()
    journal.check()
    assert bytes_of(journal) == before


def test_segments_follow_each_other_and_keep_what_is_open_at_the_end(journal: Journal) -> None:
    """Of a stream that outlives many segments the last ones tell all that is needed."""
    journal.begin([(1, attempt(1))])
    journal.note_progress(1, 77)
    seq = 1
    while len(segments(journal.directory, journal.worker_id)) < 3 * CARRY_SEGMENTS:
        seq += 1
        journal.begin([(seq, attempt(seq))])
        journal.end(seq, settlement())
    for number in segments(journal.directory, journal.worker_id)[: -CARRY_SEGMENTS - 1]:
        journal_module.segment_path(journal.directory, journal.worker_id, number).unlink()
    tail = read_tail(journal.directory, journal.worker_id, above=2**62)
    assert (tail.open, tail.progress[1], tail.last.end_number) == ({1: attempt(1)}, 77, seq - 1)
    journal.close()
    assert end_open_attempts(journal.directory, journal.worker_id) == 1
    (end,) = read_tail(journal.directory, journal.worker_id, above=seq - 1).ends
    assert (end.number, end.seq, end.settlement and end.settlement.cost_nanos) == (seq, 1, 77)


def test_a_thousand_open_streams_can_all_end_in_their_segment(journal: Journal) -> None:
    long = {"requested_model": "\u0001" * 255}
    journal.begin([(seq, attempt(seq, **long)) for seq in range(1, 1_001)])
    assert journal._size - journal._position >= 1_000 * RESERVE_BYTES > SEGMENT_BYTES
    segment = journal._segment
    for seq in range(1, 1_001):
        journal.end(seq, settlement())
    assert journal._segment == segment
    assert ends(journal) == list(range(1, 1_001))


def test_progress_never_takes_the_room_of_ends(journal: Journal) -> None:
    journal.begin([(seq, attempt(seq)) for seq in range(1, 101)])
    for nanos in range(60_000):
        journal.note_progress(1 + nanos % 100, nanos)
    assert journal._size - journal._position >= 100 * RESERVE_BYTES
    assert journal._segment > 1


def test_a_lock_that_was_taken_away_while_it_was_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger writer that finds a fresh name without a lock takes it for a dead worker's and clears it away."""
    real, names = fcntl.flock, []

    def quicker(lock: int, how: int) -> None:
        (path,) = tmp_path.glob("*.lock")
        names.append(path.name)
        if len(names) == 1:
            path.unlink()
        real(lock, how)

    monkeypatch.setattr(fcntl, "flock", quicker)
    journal = Journal(tmp_path)
    assert len(names) == 2
    assert [path.name for path in tmp_path.glob("*.lock")] == names[1:]
    journal.close()


def test_a_lock_that_the_ledger_writer_holds_just_then_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tried = fcntl.flock, []

    def busy(lock: int, how: int) -> None:
        tried.append(lock)
        if len(tried) == 1:
            raise BlockingIOError
        real(lock, how)

    monkeypatch.setattr(fcntl, "flock", busy)
    journal = Journal(tmp_path)
    assert len(workers(tmp_path)) == 2
    assert journal.worker_id in workers(tmp_path)
    journal.close()
