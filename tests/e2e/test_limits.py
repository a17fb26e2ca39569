"""Exactness under concurrency, over two real worker processes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
import requests
from calls import MODEL, about, chat, code, marker, seen, spend_of
from harness import Router

from shared import money


def burst(count: int, threads: int, call: Callable[[], requests.Response]) -> list[requests.Response]:
    """`count` calls, as many at once as there are threads."""
    start = threading.Barrier(threads)

    def run(number: int) -> requests.Response:
        if number < threads:
            start.wait()
        return call()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.slow
def test_a_rate_of_sixty_admits_exactly_sixty_of_six_hundred(router: Router) -> None:
    _, key = router.create_key(name="rpm", rate_limit_rpm=60)
    text = marker()
    answers = burst(600, 60, lambda: chat(router, key, text))
    assert sorted({answer.status_code for answer in answers}) == [200, 429]
    assert sum(answer.status_code == 200 for answer in answers) == 60
    assert seen(router, text) == 60


@pytest.mark.slow
def test_a_spend_limit_that_fits_37_bounds_is_never_passed(router: Router) -> None:
    text = marker()
    needed = bound_of_one(router, text)
    limit = needed * 37 + needed // 2
    key_id, key = router.create_key(name="37", spend_limit_usd=money.to_usd(limit))
    worst: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            spend = about(router, key)["spend"]
            worst.append(money.from_usd(spend["spent_usd"]) + money.from_usd(spend["held_usd"]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    answers = burst(200, 50, lambda: chat(router, key, text, max_tokens=1000))
    done.set()
    watcher.join()
    served = [answer for answer in answers if answer.status_code == 200]
    assert {code(answer) for answer in answers if answer.status_code != 200} <= {"spend_exceeded", "spend_held"}
    assert len(served) >= 37
    assert max(worst) <= limit
    invoice = [a for a in router.invoice()["attempts"] if text in a["marker"] and a["cost_nanos"]]
    mine = sum(attempt["cost_nanos"] for attempt in invoice) - bound_call_cost[text]
    assert len(invoice) == len(served) + 1
    assert money.from_usd(spend_of(router, key_id)["spent_usd"]) == mine <= limit
    router.wait_for_ledger(key_id, len(served))
    usage = router.api("GET", f"/v1/keys/{key_id}/usage").json()
    assert sum(Decimal(row["cost_usd"]) for row in usage["data"]) == Decimal(money.to_usd(mine))


bound_call_cost: dict[str, int] = {}


def bound_of_one(router: Router, text: str) -> int:
    """What the router holds for one call of the burst, read from a refusal; then the cost of one, from the invoice."""
    _, probe = router.create_key(name="probe", spend_limit_usd="0")
    refused = chat(router, probe, text, max_tokens=1000)
    assert code(refused) == "spend_exceeded"
    _, free = router.create_key(name="free probe")
    assert chat(router, free, text, max_tokens=1000).status_code == 200
    bound_call_cost[text] = sum(a["cost_nanos"] for a in router.invoice()["attempts"] if text in a["marker"])
    return money.from_usd(refused.json()["error"]["needed_usd"])


def test_twenty_at_once_with_room_for_four(router: Router) -> None:
    """M02: the requests are held open, so that none can settle before all have been judged."""
    _, probe = router.create_key(name="probe", spend_limit_usd="0")

    def ask(one: str) -> requests.Response:
        return chat(router, one, "sandbox:slow", max_tokens=1000)

    needed = money.from_usd(ask(probe).json()["error"]["needed_usd"])
    _, key = router.create_key(name="four", spend_limit_usd=money.to_usd(needed * 4))
    answers = burst(20, 20, lambda: ask(key))
    assert sum(answer.status_code == 200 for answer in answers) == 4
    assert all(code(answer) == "spend_held" for answer in answers if answer.status_code != 200)


def test_a_limit_edited_within_the_minute_keeps_what_was_used(router: Router) -> None:
    key_id, key = router.create_key(name="edited", rate_limit_rpm=4)
    assert [chat(router, key).status_code for _ in range(4)] == [200] * 4
    assert chat(router, key).status_code == 429
    router.edit(key_id, rate_limit_rpm=6)
    assert [chat(router, key).status_code for _ in range(3)] == [200, 200, 429]
    router.edit(key_id, rate_limit_rpm=4)
    assert chat(router, key).status_code == 429


def test_a_limit_set_late_counts_what_was_spent_before(router: Router) -> None:
    key_id, key = router.create_key(name="late")
    assert chat(router, key, max_tokens=100).status_code == 200
    spent = spend_of(router, key_id)["spent_usd"]
    assert float(spent) > 0
    for reset in ("daily", "weekly", "monthly", "never"):
        router.edit(key_id, spend_limit_usd=spent, spend_reset=reset)
        assert code(chat(router, key)) == "spend_exceeded"
        assert spend_of(router, key_id)["spent_usd"] == spent
    router.edit(key_id, spend_limit_usd=None)
    assert chat(router, key, model=MODEL).status_code == 200


def test_an_output_limit_of_ours_is_made_from_what_is_left_in_truth(router: Router) -> None:
    """What one worker was told last is old when the other one has spent most since: no request is refused for that."""
    _, key = router.create_key(name="two-workers", spend_limit_usd="0.2")
    with ThreadPoolExecutor(8) as threads:
        for _ in range(6):
            answers = list(threads.map(lambda _: chat(router, key, max_tokens=None), range(8)))
            assert {answer.status_code for answer in answers} <= {200, 429}
        assert chat(router, key, max_tokens=None).status_code == 200
