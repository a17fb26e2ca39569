"""Cases M of the catalogue: workers killed outright at each step.

What must hold afterwards: one row for each attempt the provider saw, nothing held, and counters that say what the
ledger says.
"""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import requests
from calls import about, chat, code, marker, own_spend, seen
from harness import Router, eventually
from hurt_kit import RECOVERY_SECONDS, ledger_locked, settled
from raw_http import Line, chat_request, dial, ledger_rows, worker_of

from shared import money


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
        began = time.monotonic()
        line.chunk()
        held = money.from_usd(about(hurt, key)["spend"]["held_usd"])
        until = time.monotonic() + wait_seconds
        while time.monotonic() < until:
            line.chunk()
        kill(hurt, worker_of(hurt, line))
        took = time.monotonic() - began
        line.rest()
        assert not line.buffer.endswith(b"0\r\n\r\n")  # a stream cut off, not one that ended
    (row,) = settled(hurt, key_id, 1)
    assert (row["outcome"], row["streamed"]) == ("crash", 1)
    if wait_seconds:
        # Charged what was noted of it in its last second: less than its bound, more than half of what came.
        assert 0 < row["cost_nanos"] < held
    elif took < 0.9:
        assert row["cost_nanos"] == held
    else:  # a busy machine, on which there was time for a note
        assert 0 < row["cost_nanos"] <= held
    assert seen(hurt, text) == 1


def serves(line: Line, key: str) -> bool:
    """Whether a request on this connection, and so on its worker, is answered by the provider."""
    line.send(chat_request(key, "are you in"))
    return line.answer().status == 200


def test_m07_killed_after_settle_before_the_ledger(hurt: Router) -> None:
    key_id, key = hurt.create_key(name="settle", spend_limit_usd="1")
    text = marker()
    with dial(hurt) as line:
        # A worker that has just begun enters the database first.
        eventually(lambda: serves(line, key), RECOVERY_SECONDS, "a worker that serves")
        settled(hurt, key_id, 1)
        with ledger_locked(hurt):
            line.send(chat_request(key, text))
            assert line.answer().status == 200
            spent = own_spend(hurt, key)["spent_usd"]
            assert len(ledger_rows(hurt, key_id)) == 1
            kill(hurt, worker_of(hurt, line))
        first, row = settled(hurt, key_id, 2)
    (attempt,) = hurt.attempts(text)
    assert (row["outcome"], row["cost_nanos"]) == ("ok", attempt["cost_nanos"])
    assert money.from_usd(spent) == first["cost_nanos"] + attempt["cost_nanos"]
    assert row["provider_request_id"] == f"req_{attempt['id']}"


def test_deleted_counters_are_made_anew_and_nothing_is_forgotten(hurt: Router) -> None:
    """Also where nobody has used the key since."""
    key_id, key = hurt.create_key(name="remembered", spend_limit_usd="1")
    assert chat(hurt, key).status_code == 200
    (row,) = settled(hurt, key_id, 1)
    file = hurt.data_dir / "counters.db"
    before = file.stat().st_ino
    for path in (file, *hurt.data_dir.glob("counters.db-*")):
        path.unlink()
    eventually(lambda: file.exists() and file.stat().st_ino != before, RECOVERY_SECONDS, "new counters")
    spend, cost = about(hurt, key)["spend"], money.to_usd(row["cost_nanos"])
    assert (spend["spent_usd"], spend["lifetime_usd"]) == (cost, cost)
    assert chat(hurt, key).status_code == 200
    settled(hurt, key_id, 2)


def test_a_killed_ledger_writer_is_started_again_and_posts_each_attempt_once(hurt: Router) -> None:
    key_id, key = hurt.create_key(name="written", spend_limit_usd="1")
    for _ in range(3):
        assert chat(hurt, key).status_code == 200
        hurt.kill_writer()
        assert chat(hurt, key).status_code == 200  # nobody waits for it
        eventually(lambda: hurt.writer_pid() != 0, RECOVERY_SECONDS, "another ledger writer")
    rows = settled(hurt, key_id, 6)
    assert len({row["provider_request_id"] for row in rows}) == len(rows) == 6


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
    journals = hurt.data_dir / "journals"
    eventually(lambda: len(list(journals.glob("*.lock"))) == 2, what="the end of all journals but the living workers'")
    assert not list(journals.glob("damaged-*"))
