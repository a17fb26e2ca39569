"""What `ledger import` refuses, and what it sets aside."""

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
from machines_kit import Machines, copy_of, go_away, held_by, import_copy, told
from sqlalchemy import text

from proxyd.accounting import frames
from proxyd.accounting.journal import segment_path
from proxyd.accounting.journal_copies import ImportRefused
from shared.counters import WRITER_LOCK


def refused(machines: Machines, copy: Path) -> str:
    with pytest.raises(ImportRefused) as error:
        import_copy(machines.a, copy)
    return str(error.value)


def test_one_that_is_there_imports_its_journals_itself(machines: Machines, tmp_path: Path) -> None:
    held_by(machines.b, 500)
    machines.rounds()
    assert refused(machines, copy_of(machines.b, tmp_path / "copy")).startswith("machine_b is there: it was heard of")


def test_a_folder_that_a_router_runs_on_is_no_copy(machines: Machines, given_up: Path) -> None:
    assert "is locked" in refused(machines, machines.b.directory)
    lock = os.open(given_up / WRITER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert f"({WRITER_LOCK} is locked)" in refused(machines, given_up)
    assert f"({WRITER_LOCK} is locked)" in refused(machines, given_up / "journals")
    os.close(lock)
    import_copy(machines.a, given_up / "journals")


def test_journals_of_this_very_machine_are_refused(machines: Machines, given_up: Path) -> None:
    assert "this router's own ROUTER_DATA_DIR" in refused(machines, machines.a.directory)
    assert "this router's own ROUTER_DATA_DIR" in refused(machines, machines.a.directory / "journals")
    own = copy_of(machines.a, given_up.parent / "own")
    assert "these are journals of this very data directory" in refused(machines, own).lower()


def test_what_is_no_folder_of_one_machines_journals(machines: Machines, given_up: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    assert refused(machines, tmp_path / "nothing").startswith("There is no journal in")
    assert refused(machines, tmp_path / "absent").startswith("There is no directory")
    (given_up / "machine_id").write_text("machine_c\n")
    assert refused(machines, given_up) == "These are journals of several machines: machine_b, machine_c."
    (given_up / "journals" / "old.db").touch()
    assert "an older release" in refused(machines, given_up)


def test_journals_that_nobody_knows_need_a_name(machines: Machines, given_up: Path) -> None:
    with machines.a.engine.begin() as connection:
        connection.execute(text("delete from journals where machine = 'machine_b'"))
    (given_up / "machine_id").unlink()
    assert "name the whole copied data directory" in refused(machines, given_up)


def spoil_a_byte(path: Path, _: str) -> None:
    data = bytearray(path.read_bytes())
    data[len(data.rstrip(b"\0")) // 2] ^= 1
    path.write_bytes(data)


def lose_the_segment(path: Path, _: str) -> None:
    path.unlink()


def leave_an_end_out(path: Path, worker_id: str) -> None:
    """As a copy does that reads a segment before its last record was written, and the next one after."""
    data = path.read_bytes()
    kept, dropped = [], False
    for start, end in frames.spans(data, frames.crc_seed(f"{worker_id}.1"), 0):
        if data[start : start + 1] == frames.END and not dropped:
            dropped = True
        else:
            kept.append(data[start - frames.FRAME_BYTES : end])
    path.write_bytes(b"".join(kept).ljust(len(data), b"\0"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(spoil_a_byte, "damaged at byte"), (lose_the_segment, "segment 00000001 is not there"), (leave_an_end_out, "missing in it")],
)  # fmt: skip
def test_one_that_is_not_whole_is_set_aside_and_the_others_are_imported(
    machines: Machines, tmp_path: Path, spoil: Any, reason: str
) -> None:
    first, second = held_by(machines.b, 500, 600)
    machines.b.rounds()
    machines.b.workers[0].settle(first, 60)
    machines.b.workers[0].settle(second, 70)
    whole = machines.b.worker()
    whole.settle(whole.begin(300), 40)
    go_away(machines)
    copy = copy_of(machines.b, tmp_path / "copy")
    worker_id = machines.b.workers[0].id
    spoil(segment_path(copy / "journals", worker_id, 1), worker_id)
    found = import_copy(machines.a, copy)
    assert list(found.unusable) == [worker_id]
    assert reason in found.unusable[worker_id]
    assert told(found) == (1, 40, 0, 0)
    assert [one.from_copy for one in machines.a.database.journals([worker_id]).values()] == [False], "untouched"
    assert f"Set aside: the journal of worker {worker_id}" in next(iter(found.lines(dry_run=False)))


def test_journals_that_do_not_lie_there_are_told(machines: Machines, given_up: Path) -> None:
    other = machines.b.worker()
    found = import_copy(machines.a, given_up)
    assert found.absent == [other.id]


def test_nothing_more_is_done_when_somebody_else_brings_them_home(
    machines: Machines, given_up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = machines.a.ledger.post

    def late(*what: Any) -> int:
        real(*what)
        return real(*what)

    monkeypatch.setattr(machines.a.ledger, "post", late)
    assert refused(machines, given_up).startswith("Somebody else is importing these journals")
    assert machines.a.ledger_rows() == [("ok", 70)]
