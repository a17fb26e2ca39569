"""Cases M of the catalogue: workers killed outright at each step, and a journal that cannot be written.

What must hold afterwards: one row for each attempt the provider saw, nothing held, and counters that say what the
ledger says.
"""

import contextlib
import os
import random
import resource
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests
from calls import about, chat, code, marker, seen
from harness import Json, Router, eventually
from raw_http import chat_request, dial, ledger_rows, worker_of

from shared import money

RECOVERY_SECONDS = 15.0  # a second between looks, and the start of a worker on a busy machine


@pytest.fixture(scope="module")
def hurt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A router of its own, two workers, to be hurt."""
    hurt = Router(tmp_path_factory.mktemp("hurt") / "data")
    try:
        hurt.start_all()
        yield hurt
    finally:
        hurt.stop_all()
    assert hurt.leaks() == []


def settled(router: Router, key_id: str, rows: int) -> list[Json]:
    """The key's rows once there are so many, nothing is held, and the counters say the same as they."""
    found: list[Json] = []

    def agrees() -> bool:
        found[:] = ledger_rows(router, key_id)
        spend = router.key(key_id)["spend"]
        spent = sum(row["cost_nanos"] for row in found)
        return (len(found) >= rows, spend["held_usd"], spend["spent_usd"]) == (True, "0.00", money.to_usd(spent))

    eventually(agrees, RECOVERY_SECONDS, f"agreement on {rows} rows")
    return found


def kill(router: Router, pid: int) -> None:
    """Kill a worker outright, and wait for the next one."""
    os.kill(pid, signal.SIGKILL)
    eventually(
        lambda: pid not in router.worker_pids() and len(router.worker_pids()) == 2, RECOVERY_SECONDS, "another worker"
    )


def test_m03_what_does_not_fit_is_refused_and_smaller_ones_still_pass(router: Router) -> None:
    _, probe = router.create_key(name="probe", spend_limit_usd="0")
    large, small = marker(), marker()
    needed = [
        money.from_usd(chat(router, probe, text, max_tokens=tokens).json()["error"]["needed_usd"])
        for text, tokens in ((large, 2_000), (small, 200))
    ]
    limit = needed[0] - 1
    key_id, key = router.create_key(name="between", spend_limit_usd=money.to_usd(limit))
    refused = chat(router, key, large, max_tokens=2_000)
    assert (refused.status_code, code(refused)) == (403, "spend_exceeded")
    assert money.from_usd(refused.json()["error"]["needed_usd"]) == needed[0] == limit + 1
    assert seen(router, large) == 0
    assert router.key(key_id)["spend"]["remaining_usd"] == money.to_usd(limit)
    assert chat(router, key, small, max_tokens=200).status_code == 200
    assert seen(router, small) == 1


def test_m07_killed_after_begin_before_the_answer(hurt: Router) -> None:
    """Nobody can know what it cost, so it is charged its bound."""
    key_id, key = hurt.create_key(name="begin", spend_limit_usd="1")
    text = marker()
    with dial(hurt) as line:
        line.send(chat_request(key, f"sandbox:hang {text}"))
        eventually(lambda: seen(hurt, text) == 1, what="the attempt")
        held = money.from_usd(about(hurt, key)["spend"]["held_usd"])
        assert held > 0
        kill(hurt, worker_of(hurt, line))
        assert line.closed()
    (row,) = settled(hurt, key_id, 1)
    assert (row["outcome"], row["flags"], row["cost_nanos"]) == ("crash", ["crash", "estimated"], held)
    assert seen(hurt, text) == 1


@pytest.mark.parametrize("wait_seconds", [0.0, 2.5], ids=["first-byte", "after-a-note"])
def test_m07_s14_killed_in_the_middle_of_a_stream(hurt: Router, wait_seconds: float) -> None:
    key_id, key = hurt.create_key(name="stream", spend_limit_usd="1")
    text = marker()
    with dial(hurt) as line:
        line.send(chat_request(key, f"sandbox:events=400,rate=50 {text}", stream=True, max_tokens=1_000))
        line.head()
        line.chunk()
        held = money.from_usd(about(hurt, key)["spend"]["held_usd"])
        until = time.monotonic() + wait_seconds
        while time.monotonic() < until:
            line.chunk()
        kill(hurt, worker_of(hurt, line))
        line.rest()
        assert not line.buffer.endswith(b"0\r\n\r\n")  # a stream cut off, not one that ended
    (row,) = settled(hurt, key_id, 1)
    assert (row["outcome"], row["streamed"]) == ("crash", 1)
    if wait_seconds:
        # Charged what was noted of it in its last second: less than its bound, more than half of what came.
        assert 0 < row["cost_nanos"] < held
    else:
        assert row["cost_nanos"] == held
    assert seen(hurt, text) == 1


@contextlib.contextmanager
def ledger_locked(router: Router) -> Iterator[None]:
    """Nobody can write to the ledger meanwhile."""
    database = sqlite3.connect(router.data_dir / "router.db", isolation_level=None)
    try:
        database.execute("begin immediate")
        yield
    finally:
        database.close()


def test_m07_killed_after_settle_before_the_ledger(hurt: Router) -> None:
    key_id, key = hurt.create_key(name="settle", spend_limit_usd="1")
    text = marker()
    with dial(hurt) as line:
        with ledger_locked(hurt):
            line.send(chat_request(key, text))
            assert line.answer().status == 200
            spent = about(hurt, key)["spend"]["spent_usd"]
            assert ledger_rows(hurt, key_id) == []
            kill(hurt, worker_of(hurt, line))
        (row,) = settled(hurt, key_id, 1)
    (attempt,) = hurt.attempts(text)
    assert (row["outcome"], row["cost_nanos"]) == ("ok", attempt["cost_nanos"])
    assert money.from_usd(spent) == attempt["cost_nanos"]
    assert row["provider_request_id"] == f"req_{attempt['id']}"


@pytest.mark.slow
def test_m07_killed_at_any_moment_under_load(hurt: Router) -> None:
    """Six kills while eight apps ask; each has a key of its own, so that each can be compared with the invoice."""
    stop = threading.Event()
    apps = [(*hurt.create_key(name=f"app {number}", spend_limit_usd="5"), marker()) for number in range(8)]

    def ask(key: str, text: str, number: int) -> None:
        dice = random.Random(number)
        while not stop.is_set():
            behaviour = dice.choice(["", "sandbox:slow=0.05 ", "sandbox:events=20,rate=100 "])
            with contextlib.suppress(requests.RequestException):
                chat(hurt, key, f"{behaviour}{text}", max_tokens=50, stream=dice.random() < 0.5)

    threads = [threading.Thread(target=ask, args=(key, text, number)) for number, (_, key, text) in enumerate(apps)]
    for thread in threads:
        thread.start()
    dice = random.Random(7)
    try:
        for _ in range(6):
            time.sleep(dice.uniform(0.05, 0.4))
            kill(hurt, dice.choice(hurt.worker_pids()))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    crashed = 0
    for key_id, _, text in apps:
        attempts = hurt.attempts(text)
        rows = settled(hurt, key_id, len(attempts))
        told = [row["provider_request_id"] for row in rows if row["provider_request_id"] is not None]
        assert len(told) == len(set(told))
        billed = {f"req_{attempt['id']}": attempt["cost_nanos"] for attempt in attempts}
        assert set(told) <= set(billed)
        for row in rows:
            if row["outcome"] == "ok":
                assert row["cost_nanos"] == billed[row["provider_request_id"]]
        # What has no answer's id was cut off by a kill: each such attempt has its row, and the rest never arrived.
        lost = [row for row in rows if row["provider_request_id"] is None]
        assert {row["outcome"] for row in lost} <= {"crash"}
        assert len(billed) - len(told) <= len(lost) <= 6
        crashed += len(lost)
    assert crashed > 0
    assert not list((hurt.data_dir / "journals").glob("*.damaged*"))
    assert len(list((hurt.data_dir / "journals").glob("*.lock"))) == 2


@pytest.fixture
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A router whose journals lie on a disk of 1 MB."""
    data_dir = tmp_path_factory.mktemp("small") / "data"
    journals = data_dir / "journals"
    journals.mkdir(parents=True, mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(journals)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here; the other way to fill one is tested beside")
    router = Router(data_dir)
    try:
        router.start_all()
        yield router
    finally:
        router.stop_all()
        subprocess.run(["umount", str(journals)], check=True)


def check_refused_and_healed(router: Router, fill: Callable[[], object], empty: Callable[[], object]) -> None:
    """With a full disk all is refused before it is sent, and charged nothing; with room again all is as before."""
    key_id, key = router.create_key(name="capped", spend_limit_usd="1", rate_limit_rpm=1_000)
    _, free = router.create_key(name="uncapped")
    assert [chat(router, either).status_code for either in (key, free) for _ in range(4)] == [200] * 8
    router.wait_for_ledger(key_id, 4)
    pids = router.worker_pids()
    text = marker()

    def check_refused(one: str) -> None:
        refused = chat(router, one, text)
        assert (refused.status_code, code(refused)) == (503, "limits_unavailable")

    fill()
    # The first request of each worker finds it out.
    for _ in range(8):
        check_refused(key)
    before = about(router, key)
    assert before["remaining_requests"] >= 1_000 - 4 - len(pids)
    for one in (key, free) * 4:
        check_refused(one)
    assert about(router, key) == before
    assert before["spend"]["held_usd"] == "0.00"
    ready = requests.get(f"{router.proxy_url}/readyz", timeout=10)
    assert (ready.status_code, "journal" in ready.text) == (503, True)
    assert seen(router, text) == 0
    empty()
    assert [chat(router, either, text).status_code for either in (key, free) for _ in range(4)] == [200] * 8
    assert requests.get(f"{router.proxy_url}/readyz", timeout=10).status_code == 200
    assert router.worker_pids() == pids
    assert [row["outcome"] for row in settled(router, key_id, 8)] == ["ok"] * 8


def test_m13_a_full_disk_refuses_before_the_call_and_recovers_by_itself(small_disk: Router) -> None:
    filler = small_disk.data_dir / "journals" / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    check_refused_and_healed(small_disk, fill, filler.unlink)


def test_m13_files_that_may_not_grow_are_as_good_as_a_full_disk(hurt: Router) -> None:
    """Journal and counters alike cannot be written: a limit on the size of files is set on the running workers."""

    def limit(size: int) -> None:
        for pid in hurt.worker_pids():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    waiting_id, waiting = hurt.create_key(name="on its way to the ledger", spend_limit_usd="1")

    def fill() -> None:
        with ledger_locked(hurt):
            assert [chat(hurt, waiting).status_code for _ in range(4)] == [200] * 4
            limit(1)

    check_refused_and_healed(hurt, fill, lambda: limit(resource.RLIM_INFINITY))
    assert len(settled(hurt, waiting_id, 4)) == 4
