"""Several credentials of a provider, over real processes: who asks gets an answer, who looks after it sees why."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import requests
from calls import generate, marker, spend_of
from harness import Json, Router, eventually

FAILING = "sandbox-answers-401-through-and-through-9001"


def credentials(router: Router) -> list[Json]:
    (found,) = [one for one in router.api("GET", "/v1/providers").json()["data"] if one["provider"] == "gemini"]
    listed: list[Json] = found["credentials"]
    return listed


def request_rows(router: Router, key_id: str, count: int) -> list[Json]:
    """Those of a key, the newest first, once there are so many."""
    place = f"/v1/keys/{key_id}/requests"
    eventually(lambda: len(router.api("GET", place).json()["data"]) >= count, what=f"{count} requests in the ledger")
    found: list[Json] = router.api("GET", place).json()["data"]
    return found


@contextmanager
def before_the_good_one(router: Router, **fields: object) -> Iterator[str]:
    """A further credential of Gemini's that goes first; all is as it was afterwards."""
    (good,) = credentials(router)
    place = "/v1/providers/gemini/credentials"
    assert router.api("PATCH", f"{place}/{good['id']}", json={"priority": 2}).status_code == 200
    made = router.api("POST", place, json={"label": "first", "credential": FAILING, **fields})
    assert made.status_code == 201, made.text
    try:
        yield made.json()["id"]
    finally:
        assert router.api("DELETE", f"{place}/{made.json()['id']}").status_code == 200
        assert router.api("PATCH", f"{place}/{good['id']}", json={"priority": 1}).status_code == 200


def test_it_works(router: Router) -> None:
    """Both workers find out by themselves; the dashboard tells what the provider said, without the credential."""
    text = marker()
    key_id, key = router.create_key(name="several", spend_limit_usd="1")
    with before_the_good_one(router):
        answers = [generate(router, key, text) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 6
        again = [answer for answer in answers if "x-router-attempts" in answer.headers]
        assert 1 <= len(again) <= 2, "each worker tries it once"
        eventually(lambda: credentials(router)[0]["refused"] is not None, what="what the provider said")
        told = credentials(router)[0]["refused"]
        assert (told["status"], FAILING in told["message"]) == (401, False)
        assert "was told to be answered with 401" in told["message"]
    rows = request_rows(router, key_id, 6 + len(again))
    dropped = [row for row in rows if row["flags"] == ["retried"]]
    assert len(dropped) == len(again)
    for row in dropped:
        assert (row["provider_status"], Decimal(row["cost_usd"]), row["status"]) == (401, Decimal(0), None)
        served = next(one for one in rows if one["id"] == row["id"].rpartition("-")[0])
        assert [one["why"] for one in served["tried"]] == ["refused", None]
        assert [one["label"] for one in served["tried"]] == ["first", "default"]
    billed = sum(attempt["cost_nanos"] for attempt in router.attempts(text, 6))
    spend = spend_of(router, key_id)
    assert (Decimal(spend["spent_usd"]) * 10**9, Decimal(spend["held_usd"])) == (Decimal(billed), Decimal(0))
    assert generate(router, key, text).status_code == 200
    assert [name for name, said in router.logs().items() if FAILING in said] == []


def test_one_that_is_replaced_is_used_at_once(router: Router) -> None:
    _, key = router.create_key(name="replaced")
    with before_the_good_one(router) as credential_id:
        for _ in range(4):
            assert generate(router, key).status_code == 200
        eventually(lambda: credentials(router)[0]["refused"] is not None, what="what the provider said")
        good = {"credential": "sandbox-as-good-as-new-9002"}
        changed = router.api("PATCH", f"/v1/providers/gemini/credentials/{credential_id}", json=good)
        assert (changed.status_code, changed.json()["refused"]) == (200, None)
        text = marker()
        assert "x-router-attempts" not in generate(router, key, text).headers
        (attempt,) = router.attempts(text)
        assert attempt["key_ending"] == "9002"


def test_the_page_shows_it(router: Router) -> None:
    """As the JSON tells it; the browser's own tests look at all pages."""
    key_id, key = router.create_key(name="shown")
    with before_the_good_one(router):
        for _ in range(3):
            generate(router, key)
    rows = request_rows(router, key_id, 4)
    served = next(row for row in rows if len(row["tried"]) > 1)
    with requests.Session() as session:
        page = session.get(f"{router.web_url}/login", timeout=10).text
        token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
        sent = {"email": router.admin[0], "password": router.admin[1], "csrf_token": token}
        headers = {"Referer": f"{router.web_url}/login", "Origin": router.web_url}
        session.post(f"{router.web_url}/login", data=sent, headers=headers, timeout=10)
        shown = session.get(f"{router.web_url}/requests/{served['id']}", timeout=10).text
        assert "refused by the provider (401)" in shown
        assert f'href="/requests/{served["id"]}-1"' in shown
        assert (
            "the request went on with another credential"
            in session.get(f"{router.web_url}/requests/{served['id']}-1", timeout=10).text
        )
