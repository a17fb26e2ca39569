"""`flask --app wsgi ledger import`, as a process of its own on SQLite: what it prints, and its exit status."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dashboard_kit import environment
from lost_machine import ROOT, ROWS, lose_machine
from sqlalchemy import text

from shared import db
from shared.config import Settings
from webapp.bootstrap import bootstrap

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    found = environment(tmp_path / "data")
    bootstrap(Settings.from_env(found))
    return found


@pytest.fixture
def flask(environ: dict[str, str]) -> Run:
    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], **environ, **more}
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "ledger", *arguments]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    lose_machine(tmp_path / "lost")
    return tmp_path / "lost"


def test_it_works(environ: dict[str, str], flask: Run, copy: Path) -> None:
    machine = (copy / "machine_id").read_text().strip()
    dry = flask("import", str(copy), "--dry-run")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert dry.stdout.splitlines() == [
        f"Would be imported from 1 journals of {machine}: 3 rows, 0.00000125 USD.",
        "2 of them, 0.00000125 USD, are estimates of what was in flight.",
    ]
    done = flask("import", str(copy / "journals"))
    assert done.stdout == dry.stdout.replace("Would be imported", "Imported") + (
        "Next: `flask --app wsgi ledger verify`.\n"
    )
    engine = db.create(Settings.from_env(environ).database_url)
    with engine.connect() as connection:
        found = connection.execute(text("select id, outcome, cost_nanos from usage_records order by id")).all()
    engine.dispose()
    assert [tuple(row) for row in found] == ROWS
    again = flask("import", str(copy))
    assert again.stdout.startswith(f"Imported from 1 journals of {machine}: 0 rows, 0.00 USD.\n")


def test_what_is_not_whole_is_told_by_the_exit_status(flask: Run, copy: Path) -> None:
    (segment,) = (copy / "journals").glob("*.journal")
    data = bytearray(segment.read_bytes())
    data[200] ^= 1
    segment.write_bytes(data)
    done = flask("import", str(copy))
    assert done.returncode == 1
    assert done.stdout.startswith(
        f"Set aside: the journal of worker {segment.name.partition('.')[0]}: it is damaged at"
    )


def test_what_is_refused_is_one_sentence(environ: dict[str, str], flask: Run, copy: Path, tmp_path: Path) -> None:
    empty = tmp_path / "elsewhere" / "empty.db"
    empty.parent.mkdir()
    empty.touch(0o600)
    absent = empty.with_name("absent.db")
    for directory, more, said in (
        (environ["ROUTER_DATA_DIR"], {}, "this router's own ROUTER_DATA_DIR"),
        (str(tmp_path), {}, "There is no journal in"),
        (str(copy), {"DATABASE_URL": f"sqlite:///{absent}"}, "DATABASE_URL: there is no organisation in"),
        (str(copy), {"DATABASE_URL": f"sqlite:///{empty}"}, "DATABASE_URL: the journals cannot be"),
        (str(copy), {"DATABASE_URL": "mysql://nowhere"}, "DATABASE_URL must begin with"),
    ):
        tried = flask("import", directory, **more)
        assert (tried.returncode, tried.stdout) == (2, "")
        assert said in tried.stderr
        assert tried.stderr.count("\n") == 1
