"""How a WebSocket ends, and that what ran in it is paid for once."""

import os
import signal
import threading
import time

import pytest
from calls import about, marker
from harness import Router, eventually
from hurt_kit import settled
from session_kit import REALTIME, RESPONSES, create, everything, hear, opened, say, speak, tell, turns

from shared import money


@pytest.mark.parametrize("change", ["revoke", "pause", "expire"])
@pytest.mark.parametrize("path", [RESPONSES, REALTIME])
def test_a_key_that_may_not_be_used_ends_its_sessions_within_a_second(router: Router, path: str, change: str) -> None:
    key_id, key = router.create_key(name=change)
    text = marker()
    with opened(router, path, key) as session:
        if path == RESPONSES:
            create(session, f"sandbox:events=900,rate=30 {text}")
        else:
            say(session, f"sandbox:events=900,rate=30 {text}")
            tell(session, type="response.create")
        hear(session, "response.output_text.delta", "response.output_audio.delta")
        if change == "revoke":
            assert router.api("DELETE", f"/v1/keys/{key_id}").status_code == 200
        elif change == "pause":
            router.edit(key_id, paused=True)
        else:
            router.edit(key_id, expires_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2)))
            eventually(lambda: router.key(key_id)["status"] == "expired", what="the expiry")
        began = time.monotonic()
        found, code, reason = everything(session)
        took = time.monotonic() - began
    wanted = {"revoke": "key_revoked", "pause": "key_paused", "expire": "key_expired"}[change]
    assert (code, reason, found[-1]["type"], found[-1]["error"]["code"]) == (1008, wanted, "error", wanted)
    assert took < 1.0
    (row,) = turns(router, key_id, 1)
    (attempt,) = router.attempts(text)
    assert attempt["client_aborted"]
    assert row["flags"] == ["estimated"]
    assert row["cost_nanos"] >= attempt["cost_nanos"] * 0.9


@pytest.mark.parametrize("path", [RESPONSES, REALTIME])
def test_a_client_that_leaves_ends_what_runs_and_pays_for_it(router: Router, path: str) -> None:
    key_id, key = router.create_key(name="leaver", spend_limit_usd="5")
    text = marker()
    session = opened(router, path, key)
    if path == RESPONSES:
        create(session, f"sandbox:events=900,rate=30 {text}", max_output_tokens=1_000)
    else:
        say(session, f"sandbox:events=900,rate=30 {text}")
        tell(session, type="response.create")
    hear(session, "response.output_text.delta", "response.output_audio.delta")
    session.socket.shutdown(2)  # without a word
    (row,) = turns(router, key_id, 1)
    (attempt,) = router.attempts(text)
    assert (row["outcome"], row["flags"]) == ("client_gone", ["estimated"])
    assert attempt["client_aborted"]
    assert row["cost_nanos"] >= attempt["cost_nanos"]
    assert attempt["events_sent"] < 200
    session.close_socket()


@pytest.mark.parametrize("path", [RESPONSES, REALTIME])
def test_a_provider_that_breaks_off_is_told_and_charged(router: Router, path: str) -> None:
    key_id, key = router.create_key(name="broken")
    with opened(router, path, key) as session:
        if path == RESPONSES:
            create(session, "sandbox:break sandbox:words=40 hello")
        else:
            say(session, "sandbox:break sandbox:words=40 hello")
            tell(session, type="response.create")
        found, code, reason = everything(session)
    assert (code, reason) == (1014, "provider_unreachable")
    assert found[-1]["error"]["code"] == "provider_unreachable"
    (row,) = turns(router, key_id, 1)
    assert (row["outcome"], row["flags"]) == ("upstream_truncated", ["estimated"])
    assert row["cost_nanos"] > 0


def test_an_error_costs_what_was_written_before_it_and_the_next_turn_works(router: Router) -> None:
    key_id, key = router.create_key(name="errors", spend_limit_usd="1")
    with opened(router, RESPONSES, key) as session:
        create(session, "sandbox:429 hello")
        assert hear(session, "error")["status"] == 429
        create(session, "sandbox:error-event sandbox:words=6 hello")
        hear(session, "error")
        create(session, "hello", max_output_tokens=20)
        hear(session, "response.completed")
    rows = turns(router, key_id, 3)
    assert [(row["status"], row["outcome"], row["cost_nanos"] > 0) for row in rows] == [
        (429, "provider_error", False), (200, "provider_error", True), (200, "ok", True),
    ]  # fmt: skip
    assert [row["flags"] for row in rows] == [[], ["estimated"], []]


# Processes that end


def test_a_worker_that_leaves_says_so_between_two_turns(router: Router) -> None:
    key_id, key = router.create_key(name="restart")
    with opened(router, RESPONSES, key) as session:
        create(session, f"sandbox:events=20,rate=20 {marker()}")
        hear(session, "response.output_text.delta")
        for pid in router.worker_pids():
            os.kill(pid, signal.SIGTERM)
        found, code, _ = everything(session)
    assert (found[-1]["type"], code) == ("response.completed", 1012)
    assert [row["outcome"] for row in turns(router, key_id, 1)] == ["ok"]


def test_a_worker_that_is_killed_leaves_turns_that_are_charged(router: Router) -> None:
    key_id, key = router.create_key(name="killed", spend_limit_usd="5")
    text = marker()
    session, idle = opened(router, RESPONSES, key), opened(router, REALTIME, key)
    try:
        create(session, f"sandbox:events=900,rate=30 {text}", max_output_tokens=1_000)
        hear(session, "response.output_text.delta")
        speak(idle)
        hear(idle, "response.done")
        held = money.from_usd(about(router, key)["spend"]["held_usd"])
        for pid in router.worker_pids():
            os.kill(pid, signal.SIGKILL)
        rows = settled(router, key_id, 5)
    finally:
        session.close_socket()
        idle.close_socket()
    crashed = [row for row in rows if row["outcome"] == "crash"]
    costs = {(row["endpoint"], row["bound_nanos"] > 0): row["cost_nanos"] for row in crashed}
    assert 0 < costs["/v1/responses", True] <= held
    assert costs["/v1/realtime", True] == 0  # the next turn of the idle session had not begun


def test_a_session_goes_on_for_many_turns_at_once(router: Router) -> None:
    """Sessions of one key on several workers together: nothing is lost, and nothing stays held."""
    key_id, key = router.create_key(name="many", spend_limit_usd="5")
    faults: list[BaseException] = []

    def talk() -> None:
        try:
            with opened(router, RESPONSES, key) as session:
                for _ in range(5):
                    create(session, "hello", max_output_tokens=20)
                    hear(session, "response.completed")
        except BaseException as error:  # noqa: BLE001 - carried over to the test
            faults.append(error)

    threads = [threading.Thread(target=talk) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(settled(router, key_id, 48)) == 48
