"""How connections of ours are made."""

from pathlib import Path

import pytest

from shared import db

ROWS = 3_000


@pytest.mark.parametrize("in_memory", [False, True])
def test_who_writes_much_at_once_makes_no_temporary_file(tmp_path: Path, *, in_memory: bool) -> None:
    """A statement that may fail keeps each page before it changes it, if there are many in a file."""
    engine = db.create(f"sqlite:///{tmp_path}/some.db", temporary_in_memory=in_memory)
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.exec_driver_sql("CREATE TABLE sums (id INTEGER PRIMARY KEY, sum INTEGER NOT NULL, text TEXT)")
        connection.exec_driver_sql(
            "CREATE TRIGGER rises BEFORE UPDATE ON sums WHEN NEW.sum < OLD.sum BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        connection.exec_driver_sql("INSERT INTO sums VALUES (?, 0, ?)", [(row, "x" * 100) for row in range(ROWS)])
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.exec_driver_sql("UPDATE sums SET sum = sum + 1")
        opened = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        assert any("etilqs" in name for name in opened) != in_memory
    engine.dispose()
