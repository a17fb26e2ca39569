"""The worker pool with real processes: what a signal does, what a dead or hanging worker does."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from pool_kit import Pool, started, until

from proxyd.server.listen import BindError, listen


def test_it_works(pool: Pool) -> None:
    pids = pool.pids()
    assert len(pids) == 2
    assert pool.process.pid not in pids
    assert int(pool.get("/thread")) in pids
    assert not (pool.directory / "home").exists()
    pool.signal(signal.SIGTERM)
    assert pool.process.wait(timeout=5) == 0
    assert {path.name for path in pool.directory.glob("stop-*")} == {f"stop-{pid}" for pid in pids}


def test_a_killed_worker_is_replaced(pool: Pool) -> None:
    before = pool.pids()
    victim = before.pop()
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(list(pool.directory.glob("start-*"))) == 3)
    after = pool.pids()
    assert victim not in after
    assert before < after
    assert len(after) == 2


def test_o02_workers_that_die_young_are_started_less_and_less_often(pool: Pool) -> None:
    def started_pids() -> set[int]:
        return {int(path.name.removeprefix("start-")) for path in pool.directory.glob("start-*")}

    steady, *killed = sorted(started_pids())
    os.kill(killed[0], signal.SIGKILL)
    until_then = time.monotonic() + 4
    while time.monotonic() < until_then:
        for pid in started_pids() - {steady, *killed}:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        time.sleep(0.01)
    # Pauses of 0.1 s and then twice as long each time: six starts in four seconds; without them it would be dozens.
    assert 3 <= len(killed) <= 9
    until(lambda: len(started_pids() - set(killed)) == 2, 15)
    assert steady in pool.pids()


def test_no_connection_is_refused_while_a_worker_is_replaced(pool: Pool) -> None:
    # Each worker's listener is also held by the supervisor: its queue waits for the replacement.
    victim = pool.pids().pop()
    os.kill(victim, signal.SIGKILL)
    assert victim not in pool.pids()


def test_term_drains_a_running_request(pool: Pool) -> None:
    answers = []
    asking = threading.Thread(target=lambda: answers.append(pool.get("/slow")))
    asking.start()
    time.sleep(0.3)
    pool.signal(signal.SIGTERM)
    assert pool.process.wait(timeout=8) == 0
    asking.join()
    assert int(answers[0]) > 0
    assert len(list(pool.directory.glob("stop-*"))) == 2


@pytest.mark.parametrize("numbers", [[signal.SIGINT], [signal.SIGQUIT], [signal.SIGTERM, signal.SIGTERM]])
def test_quick_ends(pool: Pool, numbers: list[signal.Signals]) -> None:
    with pool.connect() as sock:
        sock.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.2)
        began = time.monotonic()
        for number in numbers:
            pool.signal(number)
            time.sleep(0.15)
        assert pool.process.wait(timeout=5) == 0
        assert time.monotonic() - began < 3.0
    assert len(list(pool.directory.glob("stop-*"))) == 2


def test_hup_replaces_the_workers_without_losing_a_request(pool: Pool) -> None:
    before = pool.pids()
    failures = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                assert int(pool.get()) > 0
            except (OSError, ValueError) as error:
                failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    pool.signal(signal.SIGHUP)
    until(lambda: len(list(pool.directory.glob("stop-*"))) == 2)
    time.sleep(0.2)
    done.set()
    asking.join()
    after = pool.pids()
    assert failures == []
    assert len(after) == 2
    assert not before & after


def test_o06_hup_with_bad_settings_keeps_the_old_workers(pool: Pool) -> None:
    before = pool.pids()
    (pool.directory / "bad").touch()
    pool.signal(signal.SIGHUP)
    until(lambda: "ROUTER_X is nonsense" in pool.log())
    assert pool.pids() == before


def test_a_worker_that_cannot_be_built_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with started(tmp_path, workers=1) as pool:
        assert pool.process.wait(timeout=10) == 3
        assert "the settings are nonsense" in pool.log()


def test_an_address_in_use_is_told_in_a_sentence(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> None:
    address = pool.address.read_text()
    other = tmp_path_factory.mktemp("other")
    with started(other, bind=address) as second:
        assert second.process.wait(timeout=10) == 1
        assert second.log() == f"Cannot listen on {address}: Address already in use\n"


@pytest.mark.parametrize("bind", ["8080", "localhost:", "localhost:http", "127.0.0.1:99999", "nowhere.invalid:80"])
def test_nonsense_is_no_address(bind: str) -> None:
    with pytest.raises(BindError):
        listen(bind, 1)


def test_a_unix_socket_can_be_listened_on(tmp_path: Path) -> None:
    (listener,) = listen(f"unix:{tmp_path / 's'}", 2)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
    with pytest.raises(BindError, match="in use"):
        listen(f"unix:{tmp_path / 's'}", 1)
    listener.close()
    (again,) = listen(f"unix:{tmp_path / 's'}", 1)
    again.close()


def test_a_file_is_not_taken_for_a_socket(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(BindError):
        listen(f"unix:{tmp_path / 's'}", 1)
    assert (tmp_path / "s").read_text() == "mine"


def test_a_worker_ends_when_its_supervisor_is_gone(pool: Pool) -> None:
    pids = pool.pids()
    pool.process.kill()
    pool.process.wait()
    until(lambda: len(list(pool.directory.glob("stop-*"))) == 2)
    assert {path.name for path in pool.directory.glob("stop-*")} == {f"stop-{pid}" for pid in pids}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["busy", "stopped"])
def test_o02_a_wedged_worker_is_replaced(pool: Pool, how: str) -> None:
    before = pool.pids()
    if how == "busy":
        wedged = threading.Thread(target=pool.get, args=("/wedge",))
        wedged.start()
    else:
        os.kill(before.copy().pop(), signal.SIGSTOP)
    until(lambda: len(list(pool.directory.glob("start-*"))) == 3, seconds=14)
    assert len(pool.pids()) == 2
    assert ("in handler" in pool.log()) == (how == "busy")
    if how == "busy":
        wedged.join()
