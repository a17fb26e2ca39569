"""Journals of the release before segments: what they hold reaches the ledger once, and they are gone."""

import fcntl
import os
import sqlite3
from pathlib import Path

import orjson
import pytest
from ledger_kit import DAY, attempt, settlement
from sqlalchemy import Engine, text

from proxyd.accounting.ledger import Ledger
from proxyd.accounting.old_journals import migrate
from proxyd.accounting.records import Settlement


def old_journal(directory: Path, name: str = "01OLD") -> Path:
    """As the old release left it: one ended, one noted on the way, one without a note, and its mark of a check."""
    directory.mkdir(exist_ok=True)
    path = directory / f"{name}.db"
    connection = sqlite3.connect(path)
    connection.execute("pragma journal_mode=wal")
    connection.execute(
        "create table entry (seq integer primary key, attempt blob not null, progress blob, settlement blob)"
    )
    known_then = Settlement._fields.index("first_byte_ms")  # it and what follows came later
    rows = [
        (0, b"", None, None),
        (1, began(1), None, orjson.dumps(tuple(settlement(cost_nanos=700))[:known_then])),
        (2, began(2), b"40", None),
        (3, began(3), None, None),
    ]
    connection.executemany("insert into entry values (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    (directory / f"{name}.lock").touch()
    return path


def began(number: int) -> bytes:
    new = attempt(number)
    kept = (new.id, new.org_id, new.key_id, new.provider, new.endpoint, new.requested_model, new.streamed)
    return orjson.dumps((*kept, new.bound_nanos, "2026-11-24", new.admitted_at, new.client_ip))


def posted(engine: Engine) -> list[tuple[str, str, int]]:
    with engine.connect() as connection:
        query = text("select id, outcome, cost_nanos from usage_records order by id")
        return [(row[0][-1], row[1], row[2]) for row in connection.execute(query)]


def test_it_works(ledger: Ledger, any_engine: Engine, tmp_path: Path) -> None:
    directory = tmp_path / "journals"
    old_journal(directory)
    assert migrate(directory, ledger) == 3
    assert posted(any_engine) == [("1", "ok", 700), ("2", "crash", 40), ("3", "crash", 1_000)]
    assert list(directory.iterdir()) == []
    assert migrate(directory, ledger) == 0
    with any_engine.connect() as connection:
        total = connection.scalar(text("select total_nanos from key_spend where day = '1970-01-01'"))
        assert (total, DAY) == (1_740, DAY)


def test_what_was_posted_before_is_not_posted_again(ledger: Ledger, any_engine: Engine, tmp_path: Path) -> None:
    ledger.post_lines([(attempt(1), settlement(cost_nanos=700))])
    old_journal(tmp_path / "journals")
    migrate(tmp_path / "journals", ledger)
    assert [row[2] for row in posted(any_engine)] == [700, 40, 1_000]


def test_a_damaged_one_is_kept_beside(ledger: Ledger, any_engine: Engine, tmp_path: Path) -> None:
    path = old_journal(tmp_path / "journals")
    path.write_bytes(b"nothing that SQLite knows" * 100)
    assert migrate(tmp_path / "journals", ledger) == 0
    assert [left.name for left in (tmp_path / "journals").iterdir()] == ["01OLD.damaged"]


def test_one_whose_worker_still_runs_is_left_to_it(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = old_journal(tmp_path / "journals")
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert migrate(tmp_path / "journals", ledger) == 0
    assert path.exists()
    assert "still running" in caplog.text
    os.close(lock)
