"""`ledger import` by real processes: one of two pools is lost, its journals come home from a copy, and it comes back."""

import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet
from faulty import FaultyRouter, Make
from harness import ROOT, eventually
from load_kit import Load, call, make_keys
from reckoning import reckon
from redis_kit import RedisServer
from sizes import LONG, SEED, size
from sqlalchemy import text

from shared import db
from shared.machines import AWAY_SECONDS, database_now, live_machines

Tell = Callable[[object], None]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if LONG else 600)]
_databases = itertools.count()
# What a pool may say while counters are made anew, or a limit is met; and what one says that was killed or stands still.
RIGHT = {"served", "limits_unavailable", "spend_held", "spend_exceeded"}
BROKEN = {"broken 0", "broken 200"}


@dataclass
class Machines:
    """The one that stays, with the provider, and the one that is lost."""

    here: FaultyRouter
    lost: FaultyRouter

    def copy(self, folder: Path) -> Path:
        """The lost one's data directory, once the other one may take it for lost."""
        copy = folder / "copy"
        shutil.copytree(self.lost.data_dir, copy, ignore=shutil.ignore_patterns("*.sock"))
        name = (copy / "machine_id").read_text().strip()
        eventually(lambda: name not in self._live_machines(), AWAY_SECONDS + 5, f"{name} to be away")
        return copy

    def _live_machines(self) -> dict[str, int]:
        engine = db.create(self.here.settings.database_url)
        with engine.connect() as connection:
            found = live_machines(connection, database_now(connection))
        engine.dispose()
        return found

    def ask(self, sql: str) -> int:
        engine = db.create(self.here.settings.database_url)
        with engine.connect() as connection:
            found = int(connection.scalar(text(sql)) or 0)
        engine.dispose()
        return found

    def wait_for_journals(self) -> None:
        """Return once those that were imported are at their end: until then more of them may be booked."""
        unread = "select count(*) from journals where imported_at is not null and closed_at is null"
        eventually(lambda: self.ask(unread) == 0, 40, "the end of the journals that were imported")

    def ledger_import(self, copy: Path, *options: str) -> tuple[int, int, str]:
        """Rows, estimates among them, and all that is said."""
        said = self.here.run("-m", "flask", "--app", "wsgi", "ledger", "import", str(copy), *options)
        rows, estimates = re.search(r": (\d+) rows", said), re.search(r"^(\d+) of them", said, re.MULTILINE)
        assert rows is not None, said
        return int(rows[1]), int(estimates[1]) if estimates else 0, said


@pytest.fixture(scope="module")
def shared_machines(make: Make, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    folder = postgres.rpartition("=")[2]
    name = f"copies{next(_databases)}"
    with psycopg.connect(f"postgresql://router@/postgres?host={folder}", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # the name is ours
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    shared = {
        "DATABASE_URL": f"postgresql://router@/{name}?host={folder}",
        "ROUTER_LIMITS_URL": redis.url,
        "ROUTER_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "SECRET_KEY": "of both machines, for the tests, and long enough",
    }
    here = make(**shared)
    urls = {f"ROUTER_{slug.upper()}_URL": here.sandbox_url for slug in here.credentials}
    lost = make(bootstrap=False, **shared, **urls)
    here.start("sandbox", "proxy", "dashboard")
    lost.start("proxy")
    yield Machines(here, lost)
    lost.stop_all()
    here.stop_all()
    redis.stop()


@pytest.fixture
def machines(shared_machines: Machines) -> Machines:
    """They again, ready."""
    lost = shared_machines.lost
    if lost.processes["proxy"].poll() is not None:
        lost.start("proxy")
    for router in (shared_machines.here, lost):
        router.wait_until_ready()
    return shared_machines


def test_a_pool_that_was_killed_is_imported_from_a_copy(machines: Machines, tmp_path: Path, tell: Tell) -> None:
    """In the middle of calls. What it held is free again, each call is in the ledger once; then it comes back."""
    keys = make_keys(machines.here)
    with Load(machines.here, keys, seed=SEED, clients=2, rate=20) as on_here:
        with Load(machines.lost, keys, seed=SEED + 1, clients=6, rate=20, slow=1.0) as on_lost:
            on_lost.wait_for(size(20, 200))
            machines.lost.kill_everything()
        copy = machines.copy(tmp_path)
        dry = machines.ledger_import(copy, "--dry-run")
        done = machines.ledger_import(copy)
        again = machines.ledger_import(copy)
        on_here.wait_for(10, key=keys[1])
    assert dry[:2] == done[:2] == (done[0], done[1])
    assert done[1] > 0, "nothing was in flight"
    assert again[:2] == (0, 0)
    calls = on_here.calls + on_lost.calls
    found = reckon(machines.here, calls, keys)
    adjusted = machines.ask("select count(*) from usage_records where adjusts is not null")
    machines.lost.start("proxy")
    machines.lost.wait_until_ready()
    calls += [call(machines.lost, key) for key in (keys[0], keys[1], keys[3])]
    assert [made.served for made in calls[-3:]] == [True] * 3
    machines.wait_for_journals()
    tell(f"{done[2].splitlines()[:2]}, {found}; when it was back: {reckon(machines.here, calls, keys)}")
    assert machines.ask("select count(*) from usage_records where adjusts is not null") == adjusted
    assert set(on_here.told()) <= RIGHT
    assert set(on_lost.told()) <= RIGHT | BROKEN


def test_a_pool_comes_back_after_its_journals_were_imported(machines: Machines, tmp_path: Path, tell: Tell) -> None:
    """It had stood still, and its calls in flight end after the copy was made: they cost what the provider bills."""
    keys = make_keys(machines.here)
    lost = machines.lost
    before = machines.ask("select count(*) from usage_records where adjusts is not null")
    with Load(machines.here, keys, seed=SEED, clients=2, rate=20) as on_here:
        with Load(lost, keys, seed=SEED + 1, clients=6, rate=20, slow=1.0) as on_lost:
            on_lost.wait_for(size(20, 200))
            workers, keepers = lost.worker_pids(), [lost.supervisor_pid, *lost.writer_pids()]
            with lost.stopped(*keepers):
                with lost.stopped(*workers):
                    _, estimates, said = machines.ledger_import(machines.copy(tmp_path))
                    on_here.wait_for(10, key=keys[1])
                on_lost.wait_for(10, key=keys[0])  # they go on, and know nothing of it
        lost.wait_until_ready()
        eventually(lambda: not set(workers) & set(lost.worker_pids()), 40, "new workers in their place")
    calls = on_here.calls + on_lost.calls + [call(lost, key) for key in (keys[0], keys[1], keys[3])]
    assert [made.served for made in calls[-3:]] == [True] * 3
    machines.wait_for_journals()
    found = reckon(machines.here, calls, keys)
    adjusted = machines.ask("select count(*) from usage_records where adjusts is not null") - before
    tell(f"{said.splitlines()[:2]}; {adjusted} adjustments; {found}")
    assert 0 < adjusted <= estimates
    assert found.crash_rows <= estimates - adjusted, "what ended has its true cost"
    assert set(on_here.told()) <= RIGHT
    assert set(on_lost.told()) <= RIGHT | BROKEN  # whose client had no more patience


def test_a_pool_that_runs_is_not_imported(machines: Machines) -> None:
    """Neither its own directory, nor a copy of it, nor that of the machine where the command runs."""
    copy = machines.lost.data_dir.parent / "copy"
    shutil.copytree(machines.lost.data_dir, copy)
    refusals = {
        machines.lost.data_dir: "is locked",
        copy: "was heard of within the last 15 seconds",
        machines.here.data_dir: "this router's own ROUTER_DATA_DIR",
    }
    for folder, reason in refusals.items():
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "ledger", "import", str(folder)]
        tried = subprocess.run(
            command, cwd=ROOT, env=machines.here.environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert (tried.returncode, tried.stdout) == (2, "")
        assert reason in tried.stderr
        assert tried.stderr.count("\n") == 1
    machines.wait_for_journals()
