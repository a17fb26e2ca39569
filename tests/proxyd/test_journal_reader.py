"""Reading journals: of the living as far as they have come, of the dead to the end."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ledger_kit import attempt, settlement

from proxyd.accounting import frames
from proxyd.accounting import journal as journal_module
from proxyd.accounting.journal import Journal, segment_path
from proxyd.accounting.journal_reader import (
    ForeignFormat,
    Position,
    end_open_attempts,
    pid_of,
    read_ends,
    read_tail,
    segments,
    try_lock,
    workers,
)
from proxyd.accounting.records import EndRecord

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that many of them are soon filled."""
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 32 * 1024)


def written(directory: Path, *, settled: int = 1, open_: int = 2) -> Journal:
    """The journal of a worker that has died: the first attempts have ended, the others are open."""
    journal = Journal(directory)
    for seq in range(1, settled + open_ + 1):
        journal.begin([(seq, attempt(seq))])
    for seq in range(1, settled + 1):
        journal.end(seq, settlement())
    journal.close()
    return journal


def all_ends(journal: Journal) -> list[EndRecord]:
    return read_ends(journal.directory, journal.worker_id, Position(), 10_000)[0]


def outcomes(journal: Journal) -> list[tuple[int, int, str, int]]:
    return [
        (end.number, end.seq, end.settlement.outcome, end.settlement.cost_nanos)
        for end in all_ends(journal)
        if end.settlement is not None
    ]


def rewrite(journal: Journal, number: int, data: bytes) -> None:
    segment_path(journal.directory, journal.worker_id, number).write_bytes(data)


def contents(journal: Journal, number: int = 1) -> bytes:
    return segment_path(journal.directory, journal.worker_id, number).read_bytes()


def test_it_works(tmp_path: Path) -> None:
    journal = written(tmp_path)
    assert end_open_attempts(tmp_path, journal.worker_id) == 2
    assert outcomes(journal) == [(1, 1, "ok", 700), (2, 2, "crash", 1_000), (3, 3, "crash", 1_000)]
    assert read_tail(tmp_path, journal.worker_id, 0).open == {}


def test_a_killed_process_leaves_everything_it_wrote(tmp_path: Path) -> None:
    code = (
        "import signal, sys; sys.path[:0] = ['tests/proxyd'];"
        "from pathlib import Path; from ledger_kit import attempt, settlement;"
        "from proxyd.accounting.journal import Journal;"
        "j = Journal(Path(sys.argv[1])); j.begin([(n, attempt(n)) for n in (1, 2, 3)]); j.end(1, settlement());"
        "j.note_progress(2, 55); print('ready', flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (worker,) = workers(tmp_path)
        assert try_lock(tmp_path, worker) is None
        assert pid_of(tmp_path, worker) == process.pid
        process.send_signal(signal.SIGKILL)
    lock = try_lock(tmp_path, worker)
    assert lock is not None
    os.close(lock)
    assert end_open_attempts(tmp_path, worker) == 2
    ends, _ = read_ends(tmp_path, worker, Position(), 10)
    assert [end.settlement and end.settlement.cost_nanos for end in ends] == [700, 55, 1_000]


def test_to_finish_twice_is_to_finish_once(tmp_path: Path) -> None:
    journal = written(tmp_path)
    end_open_attempts(tmp_path, journal.worker_id)
    before = contents(journal)
    assert end_open_attempts(tmp_path, journal.worker_id) == 0
    assert contents(journal) == before


def test_a_finish_that_was_killed_anywhere_is_gone_on_with(tmp_path: Path) -> None:
    journal = written(tmp_path, settled=1, open_=2)
    before = contents(journal)
    end_open_attempts(tmp_path, journal.worker_id)
    after = contents(journal)
    expected = outcomes(journal)
    first = next(index for index, (a, b) in enumerate(zip(before, after, strict=True)) if a != b)
    for cut in range(first, len(after.rstrip(b"\0")) + 1):
        rewrite(journal, 1, after[:cut] + before[cut:])
        end_open_attempts(tmp_path, journal.worker_id)
        assert outcomes(journal) == expected, cut


@pytest.mark.parametrize("kind", ["begin", "end", "progress"])
def test_a_record_torn_in_any_byte_is_as_if_it_had_not_begun(tmp_path: Path, kind: str) -> None:
    """A torn BEGIN was never sent, a torn END is a crash, and torn progress was not noted."""
    journal = Journal(tmp_path)
    journal.begin([(1, attempt(1))])
    start = journal._position
    if kind == "begin":
        journal.begin([(2, attempt(2))])
    elif kind == "end":
        journal.end(1, settlement())
    else:
        journal.note_progress(1, 55)
    whole, end = contents(journal), journal._position
    journal.close()
    for cut in range(start, end):
        rewrite(journal, 1, whole[:cut] + bytes(len(whole) - cut))
        assert end_open_attempts(tmp_path, journal.worker_id) == 1, cut
        assert outcomes(journal) == [(1, 1, "crash", 1_000)], cut


def test_damage_in_the_middle_is_said_and_what_is_before_is_read(tmp_path: Path) -> None:
    journal = written(tmp_path, settled=3, open_=1)
    data = bytearray(contents(journal))
    (second,) = [end for end in all_ends(journal) if end.number == 2]
    position = read_ends(tmp_path, journal.worker_id, Position(), 1)[1].position
    data[position + 30] ^= 1
    rewrite(journal, 1, bytes(data))
    with pytest.raises(frames.Damaged):
        end_open_attempts(tmp_path, journal.worker_id)
    assert [end.number for end in all_ends(journal)] == [1]
    assert second.number == 2


def test_bytes_after_the_first_length_of_zero_are_damage(tmp_path: Path) -> None:
    journal = written(tmp_path)
    data = bytearray(contents(journal))
    data[-1] = 1
    rewrite(journal, 1, bytes(data))
    with pytest.raises(frames.Damaged):
        end_open_attempts(tmp_path, journal.worker_id)


def test_another_segments_bytes_are_damage(tmp_path: Path) -> None:
    journal, other = written(tmp_path), written(tmp_path)
    rewrite(journal, 1, contents(other))
    assert all_ends(journal) == []
    with pytest.raises(frames.Damaged):
        end_open_attempts(tmp_path, journal.worker_id)


def test_a_segment_of_another_release_tells_nothing_and_is_said(tmp_path: Path) -> None:
    journal = written(tmp_path)
    seed, header = frames.crc_seed(f"{journal.worker_id}.1"), b"[%d,1,0]" % (frames.FORMAT + 1)
    foreign = frames.frame(seed, frames.HEADER, header) + frames.end(seed, EndRecord(1, 1, attempt(), None))
    rewrite(journal, 1, foreign + bytes(1000))
    assert all_ends(journal) == []
    with pytest.raises(ForeignFormat):
        end_open_attempts(tmp_path, journal.worker_id)


# As the release before wrote it: a BEGIN and its END, whose settlement ends with the provider's id of the request.
_ATTEMPT = (
    '"req_1","org_1","key_1","openai","/v1/chat/completions","gpt-4o",false,1000,1000,739944,100,1795521600.0,null'
)
_SETTLEMENT = '200,"ok",["overrun"],{"input_tokens":3},"gpt-4o",null,{"id":"gpt-4o"},700,12,"p-1"'


def test_a_journal_of_the_release_before_is_read_finished_and_gone_on_with(tmp_path: Path) -> None:
    journal = written(tmp_path)
    seed = frames.crc_seed(f"{journal.worker_id}.1")
    old = [
        (frames.HEADER, "[1,1,0]"),
        (frames.BEGIN, f"[7,{_ATTEMPT}]"),
        (frames.END, f"[1,7,[{_ATTEMPT}],[{_SETTLEMENT}]]"),
    ]
    old.append((frames.BEGIN, f"[8,{_ATTEMPT.replace('req_1', 'req_2')}]"))
    data = b"".join(frames.frame(seed, kind, text.encode()) for kind, text in old)
    rewrite(journal, 1, data + bytes(4000))
    (record,) = all_ends(journal)
    assert (told := record.settlement) is not None
    assert (told.outcome, told.flags, told.cost_nanos, told.duration_ms) == ("ok", ("overrun",), 700, 12)
    assert (told.provider_request_id, told.first_byte_ms, told.sent_status, told.tried) == ("p-1", None, None, None)
    assert end_open_attempts(tmp_path, journal.worker_id) == 1
    _, crashed = all_ends(journal)
    assert crashed.settlement is not None
    assert (crashed.attempt.id, crashed.settlement.outcome, crashed.settlement.cost_nanos) == ("req_2", "crash", 1000)


def test_what_cannot_be_read_now_is_no_damage(tmp_path: Path) -> None:
    """M1: out of descriptors, or a disk that does not answer, is tried again."""
    journal = written(tmp_path)
    path = segment_path(tmp_path, journal.worker_id, 1)
    path.rename(tmp_path / "aside")
    path.mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        end_open_attempts(tmp_path, journal.worker_id)
    path.rmdir()
    (tmp_path / "aside").rename(path)
    assert end_open_attempts(tmp_path, journal.worker_id) == 2


@pytest.mark.parametrize("left", [0, 8, 20])
def test_a_segment_that_had_only_just_begun_is_finished(tmp_path: Path, left: int) -> None:
    """Killed between making the file and its first record, or within that."""
    journal = written(tmp_path)
    seed = frames.crc_seed(f"{journal.worker_id}.2")
    rewrite(journal, 2, frames.header(seed, 2, 1)[:left] + bytes(0 if left == 0 else 4096))
    assert end_open_attempts(tmp_path, journal.worker_id) == 2
    assert [end.number for end in all_ends(journal)] == [1, 2, 3]


def test_pieces_follow_each_other_without_gap_or_repetition(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for seq in range(1, 1_001):
        journal.begin([(seq, attempt(seq))])
        journal.end(seq, settlement() if seq % 3 else None)
    assert len(segments(tmp_path, journal.worker_id)) >= 3
    for at_most in (199, 7, 100_000):
        position, numbers = Position(), list[int]()
        while True:
            ends, reached = read_ends(tmp_path, journal.worker_id, position, at_most)
            assert len(ends) <= at_most
            if not ends:
                break
            assert reached.end_number == ends[-1].number
            numbers += [end.number for end in ends]
            position = reached
            if at_most == 7 and len(numbers) > 400:
                break
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) == 1_000 or at_most == 7
    journal.close()


def test_whoever_reads_while_it_is_written_misses_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    total = 1_500

    def write() -> None:
        for seq in range(1, total + 1):
            journal.begin([(seq, attempt(seq))])
            journal.note_progress(seq, 1)
            journal.end(seq, settlement())

    writer = threading.Thread(target=write)
    writer.start()
    position, numbers = Position(), list[int]()
    while len(numbers) < total:
        alive = writer.is_alive()
        ends, position = read_ends(tmp_path, journal.worker_id, position, 500)
        numbers += [end.number for end in ends]
        if not alive and not ends:
            break
    writer.join()
    journal.close()
    assert numbers == list(range(1, total + 1))
    assert position.segment > 3


def test_a_tail_tells_the_ends_above_a_number_however_far_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin([(1, attempt(1))])
    for seq in range(2, 1_502):
        journal.begin([(seq, attempt(seq))])
        journal.end(seq, settlement())
    assert len(segments(tmp_path, journal.worker_id)) > 7
    for above in (0, 17, 700, 1_499, 1_500):
        tail = read_tail(tmp_path, journal.worker_id, above)
        assert [end.number for end in tail.ends] == list(range(above + 1, 1_501))
        assert list(tail.open) == [1]
        assert tail.last.end_number == 1_500
    journal.close()


def test_of_nothing_nothing_is_told(tmp_path: Path) -> None:
    assert workers(tmp_path / "none") == []
    assert read_ends(tmp_path, "01NOBODY", Position(), 10) == ([], Position())
    assert read_tail(tmp_path, "01NOBODY", 0).open == {}
    assert try_lock(tmp_path, "01NOBODY") is None
    assert pid_of(tmp_path, "01NOBODY") is None
