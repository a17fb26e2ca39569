"""The journal of a worker, and what another process finds in it."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from ledger_kit import attempt, settlement

from proxyd.accounting.journal import Journal, JournalUnavailable, claim_orphans

CRASHER = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests/proxyd")
from ledger_kit import attempt, settlement
from proxyd.accounting.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(1, 4):
    seq, _ = journal.new_id()
    journal.begin({seq: attempt(number)})
journal.settle({1: settlement()})
journal.note_progress(2, 55)
print("ready", flush=True)
signal.pause()
"""


def test_it_works(tmp_path):
    journal = Journal(tmp_path)
    seq, attempt_id = journal.new_id()
    journal.begin({seq: attempt()})
    journal.settle({seq: settlement()})
    assert attempt_id.startswith(journal.worker_id)
    assert list(claim_orphans(tmp_path)) == []
    journal.close(remove=False)
    (entry,) = [entry for orphan in claim_orphans(tmp_path) for entry in orphan.entries()]
    assert entry.attempt == attempt()
    assert entry.settlement == settlement()


def test_a_killed_worker_leaves_everything_it_wrote(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", CRASHER, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert list(claim_orphans(tmp_path)) == []
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    found = [entry for orphan in claim_orphans(tmp_path) for entry in orphan.entries()]
    assert [(entry.attempt.id, entry.settlement is not None, entry.progress_nanos) for entry in found] == [
        ("req_00000001", True, None),
        ("req_00000002", False, 55),
        ("req_00000003", False, None),
    ]


def test_a_void_attempt_is_gone(tmp_path):
    journal = Journal(tmp_path)
    journal.begin({1: attempt(1)})
    journal.begin({2: attempt(2)})
    journal.void(1)
    journal.close(remove=False)
    assert [e.attempt.id for o in claim_orphans(tmp_path) for e in o.entries()] == ["req_00000002"]


def test_what_the_ledger_has_is_forgotten(tmp_path):
    journal = Journal(tmp_path)
    for seq in (1, 2, 3):
        journal.begin({seq: attempt(seq)})
        journal.settle({seq: settlement()})
    journal.forget([1, 3])
    journal.close(remove=False)
    assert [e.seq for o in claim_orphans(tmp_path) for e in o.entries()] == [2]


def test_a_clean_end_leaves_no_file(tmp_path):
    journal = Journal(tmp_path)
    journal.begin({1: attempt()})
    journal.close(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_an_orphan_is_claimed_by_one_only(tmp_path):
    journal = Journal(tmp_path)
    journal.close(remove=False)
    claims = claim_orphans(tmp_path)
    next(claims)
    assert list(claim_orphans(tmp_path)) == []
    claims.close()
    assert len(list(claim_orphans(tmp_path))) == 1


def test_a_damaged_file_is_put_aside_and_the_others_are_read(tmp_path):
    bad, good = Journal(tmp_path), Journal(tmp_path)
    good.begin({1: attempt()})
    bad.begin({1: attempt(9)})
    for journal in (bad, good):
        journal.close(remove=False)
    path = tmp_path / f"{bad.worker_id}.db"
    path.write_bytes(b"this is no database" * 500)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    found = [entry.attempt.id for orphan in claim_orphans(tmp_path) for entry in orphan.entries()]
    assert found == ["req_00000001"]
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


def test_one_damaged_line_does_not_hide_the_others_nor_what_is_put_aside(tmp_path):
    journal = Journal(tmp_path)
    journal.begin({number: attempt(number) for number in (1, 2, 3)})
    assert journal._connection is not None
    journal._connection.execute("update entry set attempt = 'junk' where seq = 2")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tmp_path.glob(f"{journal.worker_id}*"):  # as a kill leaves it, with lines that stand in the log alone
        (copy / path.name).write_bytes(path.read_bytes())
    journal.close(remove=True)
    (orphan,) = claim_orphans(copy)
    assert [entry.seq for entry in orphan.entries()] == [1, 3]
    orphan.remove()
    (aside,) = (path for path in copy.iterdir() if ".damaged-" in path.name and not path.name.endswith("-wal"))
    with contextlib.closing(sqlite3.connect(aside)) as database:
        assert database.execute("select count(*) from entry").fetchone() == (3,)


def test_a_journal_that_cannot_be_written_says_so(tmp_path):
    journal = Journal(tmp_path)
    assert journal._connection is not None
    journal._connection.execute("pragma query_only=on")
    with pytest.raises(JournalUnavailable):
        journal.begin({1: attempt()})
    with pytest.raises(JournalUnavailable):
        journal.check()
    journal._connection.execute("pragma query_only=off")
    journal.check()
    journal.close(remove=True)


def test_files_are_private(tmp_path):
    journal = Journal(tmp_path / "journals")
    assert {oct(p.stat().st_mode & 0o777) for p in (tmp_path / "journals").glob("*.[dl]*")} == {"0o600"}
    assert oct((tmp_path / "journals").stat().st_mode & 0o777) == "0o700"
    journal.close(remove=True)


def test_ids_are_unique_over_journals(tmp_path):
    first, second = Journal(tmp_path), Journal(tmp_path)
    ids = {journal.new_id()[1] for journal in (first, second) for _ in range(1000)}
    assert len(ids) == 2000
    first.close(remove=True)
    second.close(remove=True)
