"""The database locked, hung, slow, restarted, cut off right after COMMIT: the ledger loses and doubles nothing."""

import contextlib
import itertools
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from faulty import FaultyRouter, Make
from harness import eventually
from load_kit import Load, call, make_key, make_keys
from postgres_kit import PostgresServer
from reckoning import limits_are_watched, reckon
from sizes import SEED, size
from tcp_kit import Wire

Tell = Callable[[object], None]
_databases = itertools.count()


def test_a_database_that_is_locked(router: FaultyRouter, tell: Tell) -> None:
    """Who is known is served; the ledger follows once it can be written."""
    keys = make_keys(router)
    with Load(router, keys, seed=SEED, clients=4) as load:
        load.wait_for(30)
        with contextlib.closing(sqlite3.connect(router.data_dir / "router.db", isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            began = time.time()
            load.wait_for(20, key=keys[1])
            time.sleep(size(3, 20))
            told = load.told(began)
            lock.execute("ROLLBACK")
    tell(f"{dict(told)} meanwhile; {reckon(router, load.calls, keys)}")
    assert set(told) <= {"served", "spend_exceeded", "spend_held"}


@pytest.mark.slow
def test_all_killed_while_the_database_is_locked(router: FaultyRouter, tell: Tell) -> None:
    """M6. After a restart nobody with a limit is served before the journals of the dead are counted."""
    keys = make_keys(router, tight_usd="0.01")
    with Load(router, keys, seed=SEED) as load, limits_are_watched(router, keys):
        load.wait_for(30)
        path = router.data_dir / "router.db"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            load.wait_for(10)
            router.kill_everything()
            release = threading.Timer(size(4, 20), lock.execute, ("ROLLBACK",))
            release.start()
            _start_as_a_service(router)
            release.join()
        router.wait_until_ready()
        load.wait_for(20)
    tell(reckon(router, load.calls, keys))


def _start_as_a_service(router: FaultyRouter) -> None:
    """Started again and again, as a service manager does it: one start waits for a lock a few seconds only."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(AssertionError):
            router.start("proxy")
            return


@pytest.fixture(scope="module")
def wired(make: Make, postgres_server: PostgresServer) -> Iterator[tuple[FaultyRouter, Wire]]:
    """A router whose database is a PostgreSQL at the end of a wire."""
    name = f"faults{next(_databases)}"
    postgres_server.make_database(name)
    wire = Wire(postgres_server.socket)
    router = make(DATABASE_URL=f"postgresql://router@127.0.0.1:{wire.port}/{name}")
    router.start("sandbox", "proxy", "dashboard")
    yield router, wire
    router.stop_all()
    wire.close()


@pytest.fixture
def far(wired: tuple[FaultyRouter, Wire]) -> tuple[FaultyRouter, Wire]:
    """It again, as it was at first."""
    router, wire = wired
    wire.delay_seconds, wire.cut, wire.cut_commits = 0.0, 0, 0
    router.wait_until_ready()
    return wired


def test_a_database_that_hangs(far: tuple[FaultyRouter, Wire], postgres_server: PostgresServer, tell: Tell) -> None:
    """M11. Who is known goes on; who is not is told within three seconds, and served once it is back."""
    router, _ = far
    known, new = make_key(router, "known", spend_limit_usd="5"), make_key(router, "new", spend_limit_usd="5")
    with Load(router, [known], seed=SEED, clients=4) as load, limits_are_watched(router, [known]):
        load.wait_for(40)
        with router.stopped(*postgres_server.pids()):
            began = time.time()
            tries = [call(router, new) for _ in range(3)]
            load.wait_for(30)
            time.sleep(size(2, 60))
            told, last = load.told(began), time.time()
        load.wait_for(10)
    later = [call(router, new) for _ in range(4)]
    during = [one.reply.seconds for one in load.calls if began < one.at < last]
    tell(
        f"hung {last - began:.0f} s: known {dict(told)}, slowest {max(during):.2f} s; new {[t.reply.code for t in tries]} "
        f"in {max(t.reply.seconds for t in tries):.2f} s; {reckon(router, [*load.calls, *tries, *later], [known, new])}"
    )
    assert {one.reply.code for one in tries} == {"keys_unavailable"}
    assert max(one.reply.seconds for one in tries) < 3
    assert set(told) == {"served"}
    assert all(one.served for one in later)


@pytest.mark.slow
def test_a_database_that_is_restarted_and_cut_off_after_commit(
    far: tuple[FaultyRouter, Wire], postgres_server: PostgresServer, tell: Tell
) -> None:
    """Whether a lost answer meant yes or no is asked, not guessed: each row is there once."""
    router, wire = far
    keys = make_keys(router)
    with Load(router, keys, seed=SEED, clients=4) as load:
        load.wait_for(20)
        for _ in range(size(5, 50)):
            wire.cut_commits = 1
            eventually(lambda: wire.cut_commits == 0, 20, "a COMMIT")
        for pid in postgres_server.clients():
            with contextlib.suppress(ProcessLookupError):  # one that was cut off ends by itself
                os.kill(pid, signal.SIGTERM)  # what pg_terminate_backend does
        load.wait_for(20)
    tell(f"{wire.cut} cut after COMMIT; {reckon(router, load.calls, keys)}")
    assert wire.cut >= size(5, 50)


@pytest.mark.slow
def test_a_ledger_that_is_slow(far: tuple[FaultyRouter, Wire], tell: Tell) -> None:
    """M10. 20 ms an answer at up to 160 requests a second: journals grow, are imported, and lost counters are mended."""
    router, wire = far
    keys = make_keys(router)
    wire.delay_seconds = 0.02
    with Load(router, keys, seed=SEED, clients=16, rate=160) as load, limits_are_watched(router, keys):
        load.wait_for(size(200, 5_000), 300)
        (router.data_dir / "counters.db").unlink()
        load.wait_for(size(100, 1_000), 120, key=keys[1])
    found = reckon(router, load.calls, keys)
    seconds = load.calls[-1].at - load.calls[0].at
    tell(f"{len(load.calls) / seconds:.0f} calls/s; {found}")
    assert not [name for name in load.told() if name.startswith("broken")]


def test_a_database_that_is_gone_when_all_is_killed(far: tuple[FaultyRouter, Wire], tell: Tell) -> None:
    """Nothing is forgotten by a router that dies while there is no database to write to."""
    router, wire = far
    keys = make_keys(router)
    with Load(router, keys, seed=SEED, clients=4) as load:
        load.wait_for(20)
        wire.delay_seconds = 3_600
        load.wait_for(10, key=keys[1])
        time.sleep(1)
        router.kill_everything()
        wire.delay_seconds = 0.0
        router.start("proxy")
        router.wait_until_ready()
        load.wait_for(10)
    tell(reckon(router, load.calls, keys))
