"""`kill -9` of any process at any moment, and those that only stand still: nothing is lost, nothing counted twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import requests
from faulty import FaultyRouter, Havoc
from harness import eventually
from load_kit import Call, Load, call, limits_together, make_key, make_keys
from reckoning import limits_are_watched, reckon
from sizes import SEED, chance, size

Tell = Callable[[object], None]


@pytest.mark.slow
def test_kills_at_random_under_load(router: FaultyRouter, tell: Tell) -> None:
    keys = make_keys(router)
    source, kills = chance("kills"), size(40, 1_000)
    havoc = Havoc(router, source)
    before = router.killed.total()
    with limits_together(router):
        with Load(router, keys, seed=SEED) as load, limits_are_watched(router, keys):
            while router.killed.total() - before < kills:
                havoc.once()
            router.wait_until_ready()
            load.wait_for(20)
        tell(f"{router.killed.total() - before} kills {dict(router.killed)}: {reckon(router, load.calls, keys)}")


def test_all_at_once_and_again_before_they_are_ready(router: FaultyRouter, tell: Tell) -> None:
    """A router that is killed while it starts: importing, closing and rebuilding are cut off anywhere."""
    keys = make_keys(router)
    source = chance("starts")
    with Load(router, keys, seed=SEED) as load, limits_are_watched(router, keys):
        for _ in range(size(2, 40)):
            load.wait_for(5)
            router.kill_everything()
            router.start("proxy")
            time.sleep(source.random() * 0.2)
            router.kill_everything()
            router.start("proxy")
        router.wait_until_ready()
    tell(reckon(router, load.calls, keys))


def test_a_worker_that_stood_still_goes_on(router: FaultyRouter, tell: Tell) -> None:
    """Shorter than a heartbeat allows: it keeps what it holds, and the other worker serves meanwhile."""
    keys = make_keys(router)
    source = chance("stops")
    with Load(router, keys, seed=SEED) as load, limits_are_watched(router, keys):
        for _ in range(size(3, 30)):
            with router.stopped(source.choice(router.worker_pids())):
                load.wait_for(1)
                time.sleep(source.random() * 1.5)
            load.wait_for(10)
    tell(reckon(router, load.calls, keys))


@pytest.mark.slow
def test_a_worker_that_stands_still_for_good_is_replaced(router: FaultyRouter, tell: Tell) -> None:
    keys = make_keys(router)
    with Load(router, keys, seed=SEED) as load, limits_are_watched(router, keys):
        pid = router.worker_pids()[0]
        with router.stopped(pid):
            eventually(lambda: pid not in router.worker_pids(), 25, "the end of a wedged worker")
        router.wait_until_ready()
        load.wait_for(10)
    tell(reckon(router, load.calls, keys))


def test_while_the_ledger_writer_stands_still_requests_are_served(router: FaultyRouter, tell: Tell) -> None:
    keys = make_keys(router)
    with Load(router, keys, seed=SEED, clients=4) as load, limits_are_watched(router, keys):
        with router.stopped(*router.writer_pids()):
            began = time.time()
            load.wait_for(100, key=keys[1])
            assert set(load.told(began)) <= {"served", "spend_exceeded", "spend_held"}
    tell(reckon(router, load.calls, keys))


def test_reload_and_restart_under_load(router: FaultyRouter, tell: Tell) -> None:
    """HUP and TERM let every answer end: no client sees one broken off."""
    keys = make_keys(router)
    with Load(router, keys, seed=SEED, clients=4) as load, limits_are_watched(router, keys):
        for _ in range(size(1, 20)):
            old = set(router.worker_pids())
            os.kill(router.supervisor_pid, signal.SIGHUP)
            eventually(lambda old=old: not old & set(router.worker_pids()), 20, "new workers")  # type: ignore[misc]
            load.wait_for(10)
        router.stop("proxy")
        router.start("proxy")
        router.wait_until_ready()
        load.wait_for(10)
    found = load.told()
    tell(f"{reckon(router, load.calls, keys)}; {dict(found)}")
    assert not [call for call in load.calls if call.reply.status and not call.reply.complete], "broken off"


def test_a_load_balancer_is_told_before_a_pool_ends(router: FaultyRouter) -> None:
    """It has asked a moment ago; so whatever it still sends is served until it has asked some times more."""
    key, process = make_key(router, "told"), router.processes.pop("proxy")

    def asked() -> requests.Response:
        return requests.get(f"{router.proxy_url}/readyz", timeout=5)

    assert asked().status_code == 200
    process.send_signal(signal.SIGTERM)
    eventually(lambda: {asked().status_code for _ in range(8)} == {503}, 5, "an answer from all workers")
    assert asked().json()["faults"] == {"pool": "it ends"}
    assert call(router, key, stream=True).served
    assert process.wait(40) == 0
    with pytest.raises(requests.ConnectionError):
        asked()


def test_a_served_call_is_in_the_ledger_though_all_is_killed_at_once(router: FaultyRouter) -> None:
    """The END is written before the last byte of the answer is handed over."""
    key = make_key(router, "once", spend_limit_usd="1")
    done: list[Call] = []
    for _ in range(size(2, 20)):
        done.append(call(router, key, stream=len(done) % 2 == 1))
        router.kill_everything()
        assert done[-1].served
        router.start("proxy")
    assert reckon(router, done, [key]).crash_rows == 0


def test_the_supervisor_obeys_after_its_ledger_writer_died(router: FaultyRouter) -> None:
    """It replaces both, reloads, and ends when it is told to."""
    for _ in range(2):
        old = router.writer_pids()
        router.kill_the_writer()
        eventually(lambda old=old: router.writer_pids() not in ([], old), 15, "another ledger writer")  # type: ignore[misc]
    router.kill_a_worker(chance("obey"))
    router.wait_until_ready()
    workers, writers = router.worker_pids(), router.writer_pids()
    os.kill(router.supervisor_pid, signal.SIGHUP)
    eventually(lambda: not {*workers, *writers} & {*router.worker_pids(), *router.writer_pids()}, 30, "a reload")
    router.wait_until_ready()
    assert router.stop("proxy") == 0


def test_a_ledger_writer_that_starts_too_late_for_its_supervisor_ends(router: FaultyRouter) -> None:
    """In good order: nobody reads that it is ready any more, and whoever comes next finds its lock free."""
    router.stop("proxy")
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "proxyd.writer"]
    done = subprocess.run(
        command, cwd=router.root, env=router.environ, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    router.start("proxy")
    assert call(router, make_key(router, "after it")).served
