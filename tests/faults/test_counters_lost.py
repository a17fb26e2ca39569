"""counters.db gone, cut, overwritten, older, locked; the data directory put back as it was: no limit is passed and
the counters are the ledger again."""

import contextlib
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty import FaultyRouter, Make
from load_kit import Call, Key, Load, call, make_keys
from reckoning import limits_are_watched, reckon
from sizes import LONG, SEED, chance, size

from shared import db

Tell = Callable[[object], None]
Lose = Callable[[Path, random.Random], None]


def _beside(path: Path) -> list[Path]:
    return [path.with_name(path.name + end) for end in ("-wal", "-shm")]


def _older(path: Path) -> Path:
    """A copy as it is now, whole."""
    copy = path.with_name("older.db")
    copy.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def _deleted(path: Path, _: random.Random) -> None:
    path.unlink()


def _deleted_with_its_log(path: Path, _: random.Random) -> None:
    for one in (path, *_beside(path)):
        one.unlink(missing_ok=True)


def _emptied(path: Path, _: random.Random) -> None:
    os.truncate(path, 0)


def _cut(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(1, path.stat().st_size))


def _garbage(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.write(chance.randbytes(path.stat().st_size))


def _log_garbage(path: Path, chance: random.Random) -> None:
    with _beside(path)[0].open("r+b") as file:
        file.write(chance.randbytes(4096))
    _cut(path, chance)


def _older_moved(path: Path, chance: random.Random) -> None:
    copy = _older(path)
    time.sleep(0.3 + chance.random() * 0.3)
    copy.replace(path)


def _older_copied(path: Path, chance: random.Random) -> None:
    """`cp` over it: the same inode with older bytes, and without the log that led on from there."""
    copy = _older(path)
    time.sleep(0.3 + chance.random() * 0.3)
    shutil.copyfile(copy, path)
    for one in _beside(path):
        one.unlink(missing_ok=True)


WAYS: list[Lose] = [
    _deleted, _deleted_with_its_log, _emptied, _cut, _garbage, _log_garbage, _older_moved, _older_copied,
]  # fmt: skip


@pytest.mark.slow
def test_counters_are_lost_under_load(router: FaultyRouter, tell: Tell) -> None:
    """Each time they are the ledger's again, with nothing held, as soon as it is quiet."""
    keys = make_keys(router, tight_usd="0.05")
    path, source = router.data_dir / "counters.db", chance("losses")
    calls: list[Call] = []
    ways = (WAYS * 9)[: size(10, 60)]
    source.shuffle(ways)
    found: object = None
    with limits_are_watched(router, keys):
        for way in ways:
            with Load(router, keys, seed=SEED + len(calls), clients=6) as load:
                load.wait_for(3, key=keys[1])
                time.sleep(source.random() * 0.2)
                way(path, source)
                load.wait_for(3, 20, key=keys[1])
            calls += load.calls
            found = reckon(router, calls, keys, verify=way is ways[-1])
    tell(f"{len(ways)} losses: {found}")


def test_uncapped_keys_are_served_while_the_counters_are_locked(router: FaultyRouter, tell: Tell) -> None:
    """M9. Nobody waits for the lock; who has a limit is told at once that it cannot be judged."""
    keys = make_keys(router)
    free, far = keys[:2]
    seconds = size(6, 30)
    with Load(router, [free, far], seed=SEED, clients=6, rate=60) as load, limits_are_watched(router, keys):
        load.wait_for(10, key=far)
        with contextlib.closing(sqlite3.connect(router.data_dir / "counters.db", isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            began = time.time()
            time.sleep(seconds)
            lock.execute("ROLLBACK")
        ended = time.time()
        load.wait_for(10, key=far)
    during = [one for one in load.calls if began + 0.5 < one.at < ended - 3]
    slowest = max(one.reply.seconds for one in during)
    tell(f"{seconds} s locked: {len(during)} calls, slowest {slowest:.2f} s; {reckon(router, load.calls, keys)}")
    assert {one.reply.status for one in during if one.key is free} == {200}
    assert {one.reply.code for one in during if one.key is far} == {"limits_unavailable"}
    assert slowest < 3


def test_counters_that_stay_locked_over_a_restart(router: FaultyRouter, tell: Tell) -> None:
    """All killed while another program holds them: what was in flight is closed once they can be written."""
    keys = make_keys(router)
    with Load(router, keys, seed=SEED) as load, limits_are_watched(router, keys):
        load.wait_for(10)
        with contextlib.closing(sqlite3.connect(router.data_dir / "counters.db", isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            time.sleep(0.5)
            router.kill_a_worker(chance("locked"))
            router.kill_the_writer()
            time.sleep(2)
            lock.execute("ROLLBACK")
        load.wait_for(10, key=keys[1])
    router.wait_until_ready()
    tell(reckon(router, load.calls, keys))


@pytest.mark.slow
@pytest.mark.parametrize("journals_first", [True, False] if LONG else [True])
def test_a_copy_of_the_data_directory_is_put_back(make: Make, tell: Tell, *, journals_first: bool) -> None:
    """Taken while it runs, the databases by SQLite's own backup; what came later is not in it, and all else is."""
    router = make()
    router.start("sandbox", "dashboard", "proxy")
    keys = make_keys(router)
    copy = router.data_dir.with_name("copy")
    with Load(router, keys, seed=SEED) as load:
        load.wait_for(30, key=keys[1])
        time.sleep(2)  # so that there are calls that were in the ledger well before the copy
        before = time.time()
        _copy(router, copy, journals_first=journals_first)
        after = time.time()
        load.wait_for(30)
    router.stop("dashboard")
    router.kill_everything()
    shutil.rmtree(router.data_dir)
    copy.rename(router.data_dir)
    router.start("proxy")
    router.start("dashboard")
    router.wait_until_ready()
    known = _names_in_the_ledger(router)
    old = [one for one in load.calls if one.served and one.at + one.reply.seconds < before - 1]
    assert len(old) > 5
    assert {one.name for one in old} <= known
    assert not known & {one.name for one in load.calls if one.at > after}
    router.run("-m", "flask", "--app", "wsgi", "ledger", "verify")
    new_keys: list[Key] = make_keys(router)
    calls = [call(router, key) for key in new_keys]
    assert all(one.served for one in calls)
    tell(reckon(router, calls, new_keys))
    router.stop_all()


def _copy(router: FaultyRouter, target: Path, *, journals_first: bool) -> None:
    target.mkdir(mode=0o700)
    journals = [router.data_dir / "journals"]
    rest = [path for path in router.data_dir.iterdir() if path.name != "journals"]
    for path in journals + rest if journals_first else rest + journals:
        if path.is_dir():
            shutil.copytree(path, target / path.name)
        elif path.suffix == ".db":
            with (
                contextlib.closing(sqlite3.connect(path)) as source,
                contextlib.closing(sqlite3.connect(target / path.name)) as copy,
            ):
                source.backup(copy)
        elif not path.name.endswith(("-wal", "-shm")):
            shutil.copy2(path, target / path.name)


def _names_in_the_ledger(router: FaultyRouter) -> set[str]:
    engine = db.create(router.settings.database_url)
    try:
        with engine.connect() as connection:
            return set(connection.exec_driver_sql("SELECT requested_model FROM usage_records").scalars())
    finally:
        engine.dispose()
