"""Importing journals: from where, and what becomes of a position when an import fails."""

from pathlib import Path
from typing import Any

import pytest
from ledger_kit import attempt, settlement
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError

from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.importer import Importer
from proxyd.accounting.journal import Journal
from proxyd.accounting.ledger import Ledger


class Parts:
    """A journal that its database knows, and an importer that does not know it yet."""

    def __init__(self, directory: Path, engine: Engine) -> None:
        self.engine = engine
        self.database = AccountingDatabase(engine)
        self.journal = Journal(directory)
        self.database.register(self.journal.worker_id, "machine_1")
        self.importer = Importer(directory, "machine_1", self.database, Ledger(engine), lambda: 0.0)
        self._seq = 0

    def use(self, count: int) -> None:
        for _ in range(count):
            self._seq += 1
            self.journal.begin([(self._seq, attempt(self._seq))])
            self.journal.end(self._seq, settlement())

    def rows(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(text("select count(*) from usage_records")).scalar_one())


@pytest.fixture
def parts(tmp_path: Path, engine: Engine) -> Parts:
    with engine.begin() as connection:
        connection.execute(text("insert into accounting_state (id, generation) values (1, 1)"))
    return Parts(tmp_path / "journals", engine)


def test_it_works(parts: Parts) -> None:
    parts.use(3)
    assert parts.importer.import_all() == 0
    parts.importer.refresh()
    assert (parts.importer.import_all(), parts.rows()) == (3, 3)
    parts.use(2)
    assert (parts.importer.import_all(), parts.rows()) == (2, 5)
    assert parts.importer.import_all() == 0


def test_a_look_does_not_put_back_how_far_it_has_come(parts: Parts) -> None:
    parts.importer.refresh()
    parts.use(3)
    parts.importer.import_all()
    reached = parts.importer.positions[parts.journal.worker_id]
    parts.importer.refresh()
    assert parts.importer.positions == {parts.journal.worker_id: reached}


def test_closed_journals_and_those_of_other_machines_are_not_imported(parts: Parts) -> None:
    parts.database.register("01OTHER", "machine_2")
    parts.importer.refresh()
    assert list(parts.importer.positions) == [parts.journal.worker_id]
    parts.database.close(parts.journal.worker_id)
    parts.importer.refresh()
    assert parts.importer.positions == {}


def test_after_an_import_that_failed_the_database_says_where_to_go_on(parts: Parts) -> None:
    """It may have been committed: whoever read on from the old place would post into nothing for ever."""
    parts.importer.refresh()
    parts.use(2)

    engine: Any = parts.engine
    committed = engine.dialect.do_commit

    def commit_and_lose(connection: Any) -> None:
        committed(connection)
        raise OperationalError("commit", {}, Exception("the answer is lost"))

    engine.dialect.do_commit = commit_and_lose
    with pytest.raises(OperationalError):
        parts.importer.import_all()
    engine.dialect.do_commit = committed
    parts.use(1)
    assert parts.importer.import_all() == 0  # it is not known where to read on
    parts.importer.refresh()
    assert (parts.importer.import_all(), parts.rows()) == (1, 3)


def test_one_that_fails_before_its_commit_is_imported_again(parts: Parts) -> None:
    parts.importer.refresh()
    parts.use(2)

    def down(*_: Any) -> None:
        raise OperationalError("insert", {}, Exception("down"))

    event.listen(parts.engine, "before_cursor_execute", down)
    with pytest.raises(OperationalError):
        parts.importer.import_all()
    event.remove(parts.engine, "before_cursor_execute", down)
    parts.importer.refresh()
    assert (parts.importer.import_all(), parts.rows()) == (2, 2)


def test_a_dead_journal_is_imported_until_a_moment(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyd.accounting.importer.MAX_BATCH_ENDS", 2)
    parts.use(5)
    worker_id = parts.journal.worker_id
    assert parts.importer.import_until(worker_id, ends_at=0.0) == (2, False)
    assert parts.importer.import_until(worker_id, ends_at=1.0) == (3, True)
    assert parts.importer.import_until("01NOBODY", ends_at=1.0) == (0, True)
