"""What a key may spend on some models, over two real worker processes."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from calls import MODEL, about, chat, code, messages
from harness import Router, eventually

from shared import money

SLOW = "sandbox:slow"
ONE = [{"model": "gpt-4o*", "spend_limit_usd": "9000", "spend_reset": "daily"}]


def needed(router: Router) -> int:
    """What a request of `at_once` holds."""
    _, probe = router.create_key(name="probe", spend_limit_usd="0")
    return money.from_usd(chat(router, probe, SLOW, max_tokens=1000).json()["error"]["needed_usd"])


def at_once(router: Router, key: str, count: int) -> list[requests.Response]:
    """So many, each held open so that none can end before all have been judged."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: chat(router, key, SLOW, max_tokens=1000), range(count)))


def spend_of(router: Router, key_id: str, place: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = router.key(key_id)["model_limits"][place]["spend"]
    return found


def limited(router: Router, key_id: str, limits: list[dict[str, Any]]) -> None:
    answer = router.api("PATCH", f"/v1/keys/{key_id}", json={"model_limits": limits})
    assert answer.status_code == 200, answer.text


def served_at_last(router: Router, key: str) -> None:
    """New counters are made for a limit on a key that is there: a request for its models waits for them."""

    def served() -> bool:
        answer = chat(router, key, max_tokens=10)
        assert answer.status_code == 200 or code(answer) == "limits_unavailable", answer.text
        return answer.status_code == 200

    eventually(served, 20, "the counters of the new limit")


def test_it_works(router: Router) -> None:
    """M02 of a limit for models: never passed, what fits is admitted, and other models are none of its affair."""
    limit = 4 * needed(router)
    key_id, key = router.create_key(
        name="models", model_limits=[{"model": "gpt-4o*", "spend_limit_usd": money.to_usd(limit)}]
    )
    answers = at_once(router, key, 16)
    assert sum(answer.status_code == 200 for answer in answers) == 4
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {(answer.status_code, code(answer)) for answer in refused} == {(429, "model_spend_held")}
    error = refused[0].json()["error"]
    assert (error["model_limit"], error["spend_limit_usd"], error["spend_reset"]) == (
        "gpt-4o*",
        money.to_usd(limit),
        "never",
    )
    assert "gpt-4o*" in error["message"]
    eventually(lambda: spend_of(router, key_id)["held_usd"] == "0.00", 10, "the true cost")
    spend = spend_of(router, key_id)
    assert 0 < money.from_usd(spend["spent_usd"]) <= limit
    assert spend["spent_usd"] == router.key(key_id)["spend"]["spent_usd"]
    assert about(router, key)["model_limits"][0]["spend"] == spend
    limited(router, key_id, [{"model": "gpt-4o*", "spend_limit_usd": spend["spent_usd"]}])
    answer = chat(router, key, max_tokens=10)
    assert (answer.status_code, code(answer)) == (403, "model_spend_exceeded")
    assert answer.headers["x-should-retry"] == "false"
    assert chat(router, key, model="gpt-4.1-mini", max_tokens=10).status_code == 200
    assert messages(router, key).status_code == 200
    dry = router.api("POST", f"/v1/keys/{key_id}/check", json={"model": MODEL, "max_tokens": 10}).json()
    assert (dry["allowed"], dry["refusal"]["code"]) == (False, "model_spend_exceeded")


def test_a_limit_set_late_counts_what_was_spent_before(router: Router) -> None:
    """Also what another limit counted that was taken away, and nothing of other models."""
    key_id, key = router.create_key(name="late")
    assert chat(router, key, max_tokens=10).status_code == 200
    assert messages(router, key).status_code == 200
    eventually(lambda: len(router.api("GET", f"/v1/keys/{key_id}/requests").json()["data"]) == 2, 10, "the ledger")
    rows = router.api("GET", f"/v1/keys/{key_id}/requests").json()["data"]
    before = next(money.from_usd(row["cost_usd"]) for row in rows if row["provider"] == "openai")
    limited(router, key_id, ONE)
    served_at_last(router, key)
    eventually(lambda: spent(router, key_id) == 2 * before, 10, "the cost of both")
    limited(router, key_id, [])
    assert chat(router, key, max_tokens=10).status_code == 200
    limited(router, key_id, [{"model": "openai/gpt-*", "spend_limit_usd": "9000"}])
    served_at_last(router, key)
    eventually(lambda: spent(router, key_id) == 4 * before, 10, "the cost of all four")


def spent(router: Router, key_id: str) -> int:
    """What counts against the first limit once nothing is held; -1 until then."""
    spend = spend_of(router, key_id)
    return money.from_usd(spend["spent_usd"]) if spend["held_usd"] == "0.00" else -1
