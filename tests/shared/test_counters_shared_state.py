"""The shared state says which counters are the right ones, and counters that are not are refused: copies, others, none."""

import mmap
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from counters_kit import BOOT, Home, Worker, charge

from shared.counters import (
    Admitted,
    Counters,
    CountersLost,
    CountersUnavailable,
    Seed,
    SharedState,
    SharedStateMissing,
    SpendHeld,
    boot_id,
)
from shared.counters.database import Row
from shared.counters.shared_state import FILE_NAME
from shared.counters.sqlite import SqliteCounters

# Shared state


def test_it_works(tmp_path: Path) -> None:
    state = SharedState.create(tmp_path, BOOT)
    state.begin_generation(3, 17, 5, 99)
    state.note_commit(18)
    other = SharedState.open(tmp_path, BOOT)
    assert (other.generation, other.sequence, other.file_identity()) == (3, 18, (5, 99))
    other.request_rebuild(3)
    other.enter_transaction(1234)
    assert (state.rebuild_requested, state.transaction_pid, state.file_changing) == (3, 1234, False)
    assert not state.started
    state.leave_transaction(state.transaction_pid)
    state.mark_started()
    assert (other.transaction_pid, other.started) == (0, True)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_numbers_only_rise_within_a_generation(tmp_path: Path) -> None:
    state = SharedState.create(tmp_path, BOOT)
    state.begin_generation(1, 10, 1, 1)
    state.note_commit(12)
    state.note_commit(11)
    state.request_rebuild(4)
    state.request_rebuild(2)
    assert (state.sequence, state.rebuild_requested) == (12, 4)
    state.begin_generation(2, 3, 1, 1)
    assert state.sequence == 3


def test_numbers_of_64_bits(tmp_path: Path) -> None:
    state = SharedState.create(tmp_path, BOOT)
    state.begin_generation(2**63, 2**64 - 1, 2**64 - 1, 2**63)
    other = SharedState.open(tmp_path, BOOT)
    assert (other.generation, other.sequence, other.file_identity()) == (2**63, 2**64 - 1, (2**64 - 1, 2**63))


@pytest.mark.parametrize("spoil", [b"", b"x", bytes(mmap.PAGESIZE), bytes(2 * mmap.PAGESIZE), b"x" * mmap.PAGESIZE])
def test_what_is_no_shared_state_is_missing(tmp_path: Path, spoil: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(spoil)
    with pytest.raises(SharedStateMissing):
        SharedState.open(tmp_path, BOOT)
    assert SharedState.create(tmp_path, BOOT).generation == 0


def test_one_of_another_boot_or_none_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SharedStateMissing):
        SharedState.open(tmp_path, BOOT)
    SharedState.create(tmp_path, BOOT).note_commit(5)
    with pytest.raises(SharedStateMissing):
        SharedState.open(tmp_path, "another boot")
    assert SharedState.open(tmp_path, BOOT).sequence == 5


def test_it_knows_whether_it_is_current(tmp_path: Path) -> None:
    state = SharedState.create(tmp_path, BOOT)
    assert state.is_current()
    newer = SharedState.create(tmp_path, BOOT)
    assert (state.is_current(), newer.is_current()) == (False, True)
    (tmp_path / FILE_NAME).unlink()
    assert not newer.is_current()


def test_processes_share_it(tmp_path: Path) -> None:
    state = SharedState.create(tmp_path, BOOT)
    program = "import sys; from pathlib import Path; from shared.counters import SharedState\n"
    program += "SharedState.open(Path(sys.argv[1]), sys.argv[2]).note_commit(77)"
    subprocess.run([sys.executable, "-c", program, tmp_path, BOOT], check=True)
    assert state.sequence == 77


def test_the_name_of_this_boot_is_told() -> None:
    assert boot_id() == boot_id() != ""


# Counters that are not as they were left

Spoil = Callable[[Path], None]


def shell(command: str) -> Spoil:
    """A process of its own does it: one that closes a file gives up all its locks on it."""

    def spoil(path: Path) -> None:
        subprocess.run(["sh", "-ec", command, "sh", path.name], cwd=path.parent, check=True)

    return spoil


def other_database(path: Path) -> None:
    with sqlite3.connect(path.with_name("other.db")) as connection:
        connection.execute("CREATE TABLE process (name TEXT)")
    connection.close()
    shell('mv other.db "$1"; rm -f "$1-wal" "$1-shm"')(path)


SPOILS: dict[str, Spoil] = {
    "an older copy, moved": shell('mv old.db "$1"; mv old.db-wal "$1-wal"; rm -f "$1-shm"'),
    "an older copy with its log, over the live file": shell('cp old.db "$1"; cp old.db-wal "$1-wal"'),
    "an older copy without its log, over the live file": shell('cp old.db "$1"'),
    "an older copy instead of file and log": shell('cp old.db "$1"; rm -f "$1-wal"'),
    "a copy of itself": shell('cp -p "$1" new.db; mv new.db "$1"'),
    "deleted": shell('rm "$1"'),
    "deleted with its log": shell('rm "$1" "$1-wal" "$1-shm"'),
    "log deleted": shell('rm "$1-wal" "$1-shm"; touch "$1"'),
    "emptied": shell(': > "$1"'),
    "cut in half": shell('truncate -s 5000 "$1"'),
    "garbage": shell('head -c 20000 /dev/urandom > "$1"'),
    "garbage in the log": shell('head -c 20000 /dev/urandom > "$1-wal"; touch "$1"'),
    "another database": other_database,
    "touched": shell('touch "$1"'),
    "a folder": shell('rm "$1"; mkdir "$1"'),
}


# The file itself looks untouched. Whoever has read what is missing now may go on, rightly; others find a hole.
LOG_SPOILS: dict[str, Spoil] = {
    "older copies with their times": shell('cp -p old.db "$1"; cp -p old.db-wal "$1-wal"'),
    "log emptied": shell(': > "$1-wal"'),
    "log cut in half": shell('truncate -s 20000 "$1-wal"'),
}


@pytest.fixture
def path(home: Home) -> Path:
    if not home.url.startswith("sqlite:"):
        pytest.skip("there is no file")
    return home.data_dir / "counters.db"


def prepared(home: Home) -> tuple[list[Worker], Counters]:
    """Two workers and a ledger writer, all with the file open, of which a copy was taken and which went on."""
    writer = home.live(1, "key")
    workers = [Worker(home.connect(), name).register() for name in ("w1", "w2")]
    for worker in workers:
        worker.send(charge(limit=1_000, bound=10))
    shell('cp -p "$1" old.db; cp -p "$1-wal" old.db-wal')(home.data_dir / "counters.db")
    for worker in workers:
        for _ in range(3):
            worker.send(charge(limit=1_000, bound=10))
    return workers, writer


@pytest.mark.parametrize("fold", [False, True], ids=["", "folded"])
@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_m3_they_are_refused_by_all_until_new_ones_are_made(home: Home, path: Path, spoil: Spoil, fold: bool) -> None:
    workers, writer = prepared(home)
    if fold:
        writer.checkpoint()
    spoil(path)
    for _ in range(2):
        for worker in [*workers, Worker(home.connect(), "w1", number=1), Worker(home.connect(), "w2", number=4)]:
            with pytest.raises(CountersUnavailable) as caught:
                worker.send(charge(limit=1_000, bound=10))
            assert not caught.value.in_doubt
            assert str(home.data_dir) not in str(caught.value)
        with pytest.raises(CountersUnavailable):
            writer.publish(1, {}, {})
        with pytest.raises(CountersUnavailable):
            writer.seed(1, [Seed("key", 0, {})])
    if path.is_dir():
        path.rmdir()
    writer.begin_generation(2, {})
    writer.go_live(2)
    for worker in workers:
        with pytest.raises(CountersLost):
            worker.send(charge())
        new = Worker(worker.counters, worker.worker_id, generation=2).register()
        assert isinstance(new.ask(charge(loaded_in=2)), Admitted)
        assert worker.counters.check()


@pytest.mark.parametrize("spoil", LOG_SPOILS.values(), ids=LOG_SPOILS)
def test_a_log_that_was_cut_lets_nothing_pass_the_limit(home: Home, path: Path, spoil: Spoil) -> None:
    workers, writer = prepared(home)
    spoil(path)
    lost = 0
    for _ in range(3):
        for counters, worker in [(home.connect(), workers[0]), *((worker.counters, worker) for worker in workers)]:
            try:
                counters.publish(1, {}, {})
                assert isinstance(worker.ask(charge(limit=80, bound=10)), SpendHeld)
            except CountersLost:
                lost += 1
    assert lost
    writer.begin_generation(2, {})
    writer.go_live(2)
    for worker in workers:
        new = Worker(worker.counters, worker.worker_id, generation=2).register()
        assert isinstance(new.ask(charge(loaded_in=2)), Admitted)
    assert home.connect().check()


def test_a_copy_put_back_between_two_batches_of_one_worker(home: Home, path: Path) -> None:
    """Its own number tells, even where everything else looks right."""
    (worker, _), _ = prepared(home)
    inode = path.stat().st_ino
    SPOILS["an older copy with its log, over the live file"](path)
    status = path.stat()
    assert status.st_ino == inode
    home.shared_state.begin_generation(1, 0, status.st_ino, status.st_mtime_ns)
    with pytest.raises(CountersUnavailable):
        Worker(home.connect(), "w1", number=worker.number).send(charge(limit=1_000, bound=10))


def test_a_checkpoint_of_our_own_is_no_touch(home: Home, path: Path) -> None:
    workers, writer = prepared(home)
    before = path.stat()
    writer.checkpoint()
    assert path.stat().st_mtime_ns > before.st_mtime_ns
    for worker in workers:
        assert worker.counters.intact
        assert isinstance(worker.ask(charge(limit=1_000, bound=10)), Admitted)
    writer.checkpoint()
    assert writer.check()


def test_the_shared_state_says_so_during_a_checkpoint(home: Home, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, said = home.live(1, "key"), list[bool]()
    assert isinstance(writer, SqliteCounters)
    read = writer.database.read

    def watched(sql: str) -> list[Row]:
        said.append(home.shared_state.file_changing)
        return read(sql)

    monkeypatch.setattr(writer.database, "read", watched)
    writer.checkpoint()
    assert (said, home.shared_state.file_changing, writer.intact) == ([True, True], False, True)


def test_a_file_is_right_while_its_keeper_writes_to_it(home: Home, path: Path) -> None:
    (worker, _), _ = prepared(home)
    home.shared_state.begin_file_change()
    SPOILS["touched"](path)
    assert worker.counters.intact
    assert isinstance(worker.ask(charge(limit=1_000, bound=10)), Admitted)
    status = path.stat()
    home.shared_state.end_file_change(status.st_ino, status.st_mtime_ns)
    assert worker.counters.intact


def test_a_process_of_its_own_sees_the_same(home: Home, path: Path) -> None:
    prepared(home)
    program = """
import sys
from pathlib import Path
from shared.counters import CountersLost, SharedState, connect
counters = connect(sys.argv[1])
counters.attach(SharedState.open(Path(sys.argv[2]), sys.argv[3]))
print(counters.intact, flush=True)
sys.stdin.readline()
try:
    counters.publish(1, {}, {})
except CountersLost as error:
    print(error)
"""
    arguments: list[str | Path] = [sys.executable, "-c", program, home.url, home.data_dir, BOOT]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "True\n"
        SPOILS["a copy of itself"](path)
        process.stdin.write("go\n")
        process.stdin.close()
        assert process.stdout.read() == "the file was replaced or written by somebody else\n"
