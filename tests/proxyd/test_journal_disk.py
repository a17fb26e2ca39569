"""The journal on disks that are full, gone or read-only, and in a process without descriptors."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ledger_kit import attempt, settlement

from proxyd.accounting.journal import Journal, JournalUnavailable
from proxyd.accounting.journal_reader import Position, read_ends


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path)
    yield journal
    journal.close()


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, hard))
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass  # now there is none left
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB: it takes a first segment or two and then is full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root only")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def ends(journal: Journal) -> list[int]:
    return [end.seq for end in read_ends(journal.directory, journal.worker_id, Position(), 10_000)[0]]


def begin_many(journal: Journal, first: int = 1) -> None:
    """More than a journal without a new segment has room for."""
    for seq in range(first, 10_000):
        journal.begin([(seq, attempt(seq))])


def test_on_a_full_disk_nothing_begins_and_what_is_open_ends(small_disk: Path) -> None:
    journal = Journal(small_disk)
    with pytest.raises(JournalUnavailable, match="No space left"):
        begin_many(journal)
    seq = len(journal.open)
    assert seq > 100
    with pytest.raises(JournalUnavailable):
        journal.check()
    for number in list(journal.open):
        journal.end(number, settlement(served_model="m" * 255, provider_request_id="p" * 128))
    assert ends(journal) == list(range(1, seq + 1))
    journal.close()


def test_a_worker_begins_again_when_a_full_disk_has_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (2 * 1024 * 1024 - 64 * 1024))
    journal = Journal(small_disk)
    with pytest.raises(JournalUnavailable):
        begin_many(journal)
    ballast.unlink()
    journal.check()
    journal.begin([(20_000, attempt(1))])
    journal.close()


def test_a_journal_that_cannot_be_made_says_why(small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * (3 * 1024 * 1024 - 64 * 1024))
    with pytest.raises(JournalUnavailable, match="No space left"):
        Journal(small_disk / "journals")
    (tmp_path / "file").touch()
    with pytest.raises(JournalUnavailable, match="Not a directory"):
        Journal(tmp_path / "file" / "journals")


def test_without_a_descriptor_the_present_segment_goes_on_and_no_new_one_begins(journal: Journal) -> None:
    journal.begin([(1, attempt(1))])
    with no_descriptors_left():
        journal.begin([(2, attempt(2))])
        journal.end(2, settlement())
        with pytest.raises(JournalUnavailable, match="Too many open files"):
            begin_many(journal, 3)
        journal.end(1, settlement())
        with pytest.raises(JournalUnavailable, match="Too many open files"):
            Journal(journal.directory)
    journal.begin([(20_000, attempt(1))])
    assert ends(journal) == [2, 1]


def test_in_a_directory_that_was_deleted_nothing_begins(journal: Journal) -> None:
    """M17: what would be written there, nobody would ever read."""
    journal.begin([(1, attempt(1))])
    for path in journal.directory.iterdir():
        path.unlink()
    with pytest.raises(JournalUnavailable, match="deleted"):
        journal.begin([(2, attempt(2))])
    with pytest.raises(JournalUnavailable, match="deleted"):
        journal.check()
    journal.directory.rmdir()
    with pytest.raises(JournalUnavailable, match="deleted"):
        journal.check()
    assert list(journal.open) == [1]


def test_in_a_read_only_directory_no_journal_is_made(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(JournalUnavailable, match="Read-only"):
        Journal(small_disk)
