"""What all keys of an organisation may use together, and requests at once, over two real worker processes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from calls import MODEL, chat, code
from harness import Router, eventually

from shared import money

SAID = {"role": "user", "content": "hello"}
NONE = {"spend_limit_usd": None, "spend_reset": None, "rate_limit_rpm": None}


@pytest.fixture
def organization(router: Router) -> Iterator[Router]:
    """Its limits are taken away again: other tests share it."""
    yield router
    limited(router, **NONE)


def limited(router: Router, **limits: Any) -> dict[str, Any]:
    answer = router.api("PATCH", "/v1/organization", json=limits)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def served_at_last(router: Router, key: str) -> None:
    """New counters are made for a first limit: a request waits for them, and on a busy machine it is refused."""

    def served() -> bool:
        answer = chat(router, key, max_tokens=10)
        assert answer.status_code == 200 or code(answer) == "limits_unavailable", answer.text
        return answer.status_code == 200

    eventually(served, 20, "the counters of the first limit")


def at_once(router: Router, *keys: str) -> list[requests.Response]:
    """A request with each, held open so that none can end before all have been judged."""
    with ThreadPoolExecutor(len(keys)) as pool:
        return list(pool.map(lambda key: chat(router, key, "sandbox:slow", max_tokens=1000), keys))


def test_it_works(organization: Router) -> None:
    """M02 for all keys: the first limit counts what was spent before it, and the next ones are never passed."""
    router = organization
    _, probe = router.create_key(name="probe", spend_limit_usd="0")
    needed = money.from_usd(chat(router, probe, "sandbox:slow", max_tokens=1000).json()["error"]["needed_usd"])
    keys = [router.create_key(name=f"one of two {number}")[1] for number in range(2)]
    assert chat(router, keys[0], max_tokens=10).status_code == 200
    limited(router, spend_limit_usd="9000")
    served_at_last(router, keys[0])
    spend = router.api("GET", "/v1/organization").json()["spend"]
    assert money.from_usd(spend["spent_usd"]) > 0
    limit = money.from_usd(spend["spent_usd"]) + 4 * needed
    limited(router, spend_limit_usd=money.to_usd(limit))
    answers = at_once(router, *keys * 10)
    assert sum(answer.status_code == 200 for answer in answers) == 4
    assert {code(answer) for answer in answers if answer.status_code != 200} == {"organization_spend_held"}
    error = next(answer for answer in answers if answer.status_code != 200).json()["error"]
    assert (error["spend_limit_usd"], error["spend_reset"]) == (money.to_usd(limit), "never")
    told = router.api("GET", "/v1/organization").json()["spend"]
    assert money.from_usd(told["spent_usd"]) + money.from_usd(told["held_usd"]) <= limit
    limited(router, spend_limit_usd=told["spent_usd"])
    refused = chat(router, keys[1], max_tokens=10)
    assert (refused.status_code, code(refused)) == (403, "organization_spend_exceeded")
    assert refused.headers["x-should-retry"] == "false"


def test_a_rate_of_all_keys_counts_what_the_others_sent(organization: Router) -> None:
    router = organization
    _, first = router.create_key(name="sends")
    _, second = router.create_key(name="is refused", rate_limit_rpm=50)
    limited(router, rate_limit_rpm=1_000_000, spend_limit_usd="9000")
    served_at_last(router, first)
    limited(router, rate_limit_rpm=1)
    refused = chat(router, second, max_tokens=10)
    assert (refused.status_code, code(refused)) == (429, "organization_rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert refused.headers["x-ratelimit-remaining"] == "50", "of its own rate nothing was taken"
    limited(router, rate_limit_rpm=None)
    assert chat(router, second, max_tokens=10).status_code == 200


def test_twelve_at_once_where_three_may_be(router: Router) -> None:
    key_id, key = router.create_key(name="three at once", max_concurrent_requests=3)
    answers = at_once(router, *[key] * 12)
    assert sum(answer.status_code == 200 for answer in answers) == 3
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {(answer.status_code, code(answer), answer.headers["retry-after"]) for answer in refused} == {
        (429, "too_many_concurrent", "1")
    }
    assert {answer.json()["error"]["max_concurrent_requests"] for answer in refused} == {3}
    assert chat(router, key, max_tokens=10).status_code == 200, "those that have ended count no more"
    router.edit(key_id, max_concurrent_requests=None)
    assert all(answer.status_code == 200 for answer in at_once(router, *[key] * 6))


def test_one_after_the_other_is_never_too_many(router: Router) -> None:
    """Each by a connection of its own, so that workers take turns: what has ended at one is told to the others."""
    _, key = router.create_key(name="one at once", max_concurrent_requests=1)
    with requests.Session() as session:
        session.headers.update({"Authorization": f"Bearer {key}", "Connection": "close"})
        for number in range(100):
            document = {"model": MODEL, "max_tokens": 8, "stream": number % 2 == 1, "messages": [SAID]}
            answer = session.post(f"{router.proxy_url}/v1/chat/completions", json=document, timeout=30)
            assert answer.status_code == 200, (number, answer.text)
