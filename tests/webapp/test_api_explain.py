"""What a key did, what it was refused, and what it would be refused."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dashboard_kit import Api
from flask import Flask
from key_rows_kit import posted, refusal_of, request_of

from webapp.views.keys import KeyView

Json = dict[str, Any]
Make = Callable[..., KeyView]


def pages(api: Api, path: str, limit: int) -> Iterator[list[Json]]:
    """All pages of a list, each with the cursor of the one before."""
    cursor = ""
    while True:
        answer = api("GET", f"{path}?limit={limit}{cursor}")
        assert answer.status_code == 200, answer.text
        page = answer.get_json()
        yield page["data"]
        assert page["has_more"] == (page["next_cursor"] is not None)
        if not page["has_more"]:
            return
        cursor = f"&cursor={page['next_cursor']}"


# Requests


def test_it_works(api: Api, app: Flask, make: Make) -> None:
    key = make()
    told = {"first_byte_ms": 7, "sent_status": 200, "client_ip": "203.0.113.7", "provider_request_id": "p-1"}
    posted(app, request_of(key.id, 0, **told))
    (shown,) = api("GET", f"/v1/keys/{key.id}/requests").get_json()["data"]
    assert set(shown) == set(api("GET", "/openapi.json").get_json()["components"]["schemas"]["Request"]["properties"])
    assert (shown["id"], shown["at"], shown["model"]) == ("req_0000", "2026-11-24T12:00:00Z", "gpt-4o")
    assert (shown["status"], shown["provider_status"], shown["outcome"]) == (200, 200, "ok")
    assert (shown["latency_ms"], shown["first_byte_ms"], shown["input_tokens"]) == (5, 7, 1003)
    assert shown["cost_usd"] == "0.0025775"


def test_requests_come_newest_first_each_on_one_page(api: Api, app: Flask, make: Make) -> None:
    """Also those of one moment, which only their ids tell apart."""
    key, other = make(), make()
    posted(app, *(request_of(key.id, number) for number in range(11)), request_of(other.id, 50))
    for limit in (1, 3, 200):
        found = [shown["id"] for page in pages(api, f"/v1/keys/{key.id}/requests", limit) for shown in page]
        assert found == [f"req_{number:04}" for number in reversed(range(11))]


def test_what_corrects_an_estimate_is_told_as_such(api: Api, app: Flask, make: Make) -> None:
    key = make()
    posted(app, request_of(key.id, 1, cost_nanos=-500, adjusts="req_0000", outcome="ok", flags=["adjustment"]))
    (shown,) = api("GET", f"/v1/keys/{key.id}/requests").get_json()["data"]
    assert (shown["adjusts"], shown["cost_usd"], shown["flags"]) == ("req_0000", "-0.0000005", ["adjustment"])


# Refusals


def test_refusals_are_told_the_latest_first(api: Api, app: Flask, make: Make) -> None:
    key, other = make(), make()
    posted(app, refusal_of(key.id, "key_paused"), refusal_of(key.id, "rate_limited", 5, count=9, status=429))
    posted(app, refusal_of(key.id, "ip_blocked", 5), refusal_of(other.id, "ip_blocked"))
    path = f"/v1/keys/{key.id}/refusals"
    for limit in (1, 200):
        found = [shown for page in pages(api, path, limit) for shown in page]
        assert [shown["reason"] for shown in found] == ["rate_limited", "ip_blocked", "key_paused"]
    assert set(found[0]) == set(
        api("GET", "/openapi.json").get_json()["components"]["schemas"]["Refusal"]["properties"]
    )
    assert found[0] == {
        "key_id": key.id, "reason": "rate_limited", "count": 9, "last_at": "2026-11-24T12:05:00Z", "status": 429, "message": "No.",
        "model": "gpt-4o", "client_ip": "203.0.113.7", "request_id": "req_1",
    }  # fmt: skip


@pytest.mark.parametrize("what", ["requests", "refusals"])
def test_who_may_not_see_them_does_not(api: Api, stranger: Api, make: Make, what: str) -> None:
    key = make()
    assert api("GET", f"/v1/keys/{key.id}/{what}").get_json() == {"data": [], "has_more": False, "next_cursor": None}
    assert stranger("GET", f"/v1/keys/{key.id}/{what}").status_code == 404
    assert api("GET", f"/v1/keys/none/{what}").status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("cursor=", "cursor"),
        ("cursor=x", "cursor"),
        ("cursor=W10", "cursor"),  # []
        ("cursor=WyJyZXF1ZXN0cyIsIngiLCJ5Il0", "cursor"),  # ["requests","x","y"]
        ("cursor=WyJyZXF1ZXN0cyIsIjIwMjYtMTEtMjQiLCJcdTAwMDAiXQ", "cursor"),  # an id of NUL
        ("cursor=WyJyZXF1ZXN0cyIsIjIwMjYtMTEtMjQiLCJcdWQ4MDAiXQ", "cursor"),  # of half a surrogate pair
        ("cursor=WyJyZWZ1c2FscyIsIjIwMjYtMTEtMjQiLCJ5Il0", "cursor"),  # of the other list
        ("sort=at", "sort"),
        ("limit=1&limit=2", "limit"),
    ],
)
def test_nonsense_is_named(api: Api, make: Make, query: str, field: str) -> None:
    answer = api("GET", f"/v1/keys/{make().id}/requests?{query}")
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.get_json()["errors"]] == [field]


# Of all keys


def test_those_of_all_keys_come_in_one_list(api: Api, app: Flask, org_id: str, make: Make, stranger: Api) -> None:
    one, other = make(), make()
    posted(app, *(request_of((one, other)[number % 2].id, number, org_id=org_id) for number in range(7)))
    posted(app, refusal_of(one.id, "key_paused", org_id=org_id), refusal_of(other.id, "ip_blocked", 5, org_id=org_id))
    for limit in (1, 3, 200):
        found = [shown for page in pages(api, "/v1/requests", limit) for shown in page]
        assert [shown["id"] for shown in found] == [f"req_{number:04}" for number in reversed(range(7))]
        assert {shown["key_id"] for shown in found} == {one.id, other.id}
        refused = [shown["reason"] for page in pages(api, "/v1/refusals", limit) for shown in page]
        assert refused == ["ip_blocked", "key_paused"]
    assert len(api("GET", f"/v1/requests?key={one.id}&provider=openai&status=none").get_json()["data"]) == 4
    assert len(api("GET", "/v1/refusals?reason=ip_blocked&from=2026-11-24T12:05:00Z").get_json()["data"]) == 1
    for path in ("/v1/requests", "/v1/refusals"):
        assert stranger("GET", path).get_json()["data"] == []
        assert stranger("GET", f"{path}?key={one.id}").status_code == 404
        assert api("GET", f"{path}?cursor=x").status_code == 422
        assert api("GET", f"{path}?key=a&sort=x").status_code == 422
