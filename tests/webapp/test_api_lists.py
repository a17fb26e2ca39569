from datetime import date
from typing import Any

import pytest
from dashboard_kit import Api, Clock
from flask import Flask
from live_counters import LiveCounters
from werkzeug.test import TestResponse

from shared.models import USAGE_CLASSES, KeySpend, UsageDaily
from shared.periods import FIRST_DAY
from webapp.db import writing
from webapp.schemas.lists import STATUSES


def names(response: TestResponse) -> list[str]:
    assert response.status_code == 200, response.text
    return [key["name"] for key in response.get_json()["data"]]


@pytest.fixture
def five(api: Api, clock: Clock) -> dict[str, dict[str, Any]]:
    """Five keys: a is revoked, b expired; made a minute after each other."""
    made = {}
    for name in "abcde":
        expiry = {"b": "2026-11-24T12:30:00Z", "c": "2027-01-01T00:00:00Z"}.get(name)
        made[name] = api.create(name=f"{name} key", expires_at=expiry)
        clock.forward(minutes=1)
    api("DELETE", f"/v1/keys/{made['a']['id']}")
    clock.forward(hours=1)
    api("DELETE", f"/v1/keys/{next(k['id'] for k in api('GET', '/v1/keys').get_json()['data'] if k['name'] == 'demo')}")
    return made


def test_it_works(api: Api, five: dict[str, dict[str, Any]]) -> None:
    assert names(api("GET", "/v1/keys?status=active")) == ["e key", "d key", "c key"]
    page = api("GET", "/v1/keys").get_json()
    assert set(page) == {"data", "has_more", "next_cursor"}
    assert (len(page["data"]), page["has_more"], page["next_cursor"]) == (6, False, None)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=revoked&q=key", ["a key"]),
        ("status=expired", ["b key"]),
        ("q=C+KEY", ["c key"]),
        ("q=%25", []),
        ("q=_", []),
        ("sort=name&q=key", ["a key", "b key", "c key", "d key", "e key"]),
        ("sort=-expires_at&q=key", ["e key", "d key", "a key", "c key", "b key"]),
        ("sort=created_at&q=key&limit=2", ["a key", "b key"]),
    ],
)
def test_filters_and_sorts(api: Api, five: dict[str, dict[str, Any]], query: str, found: list[str]) -> None:
    assert names(api("GET", f"/v1/keys?{query}")) == found


def test_paused_keys_are_a_state_of_their_own(api: Api, five: dict[str, dict[str, Any]]) -> None:
    for name in "bd":
        api("POST", f"/v1/keys/{five[name]['id']}/pause")
    assert names(api("GET", "/v1/keys?status=paused")) == ["d key"]
    assert names(api("GET", "/v1/keys?status=active")) == ["e key", "c key"]
    assert names(api("GET", "/v1/keys?status=expired")) == ["b key"]
    counted = [len(names(api("GET", f"/v1/keys?status={status}"))) for status in STATUSES]
    assert sum(counted) == len(names(api("GET", "/v1/keys")))


def test_search_by_prefix_takes_a_whole_key(api: Api, five: dict[str, dict[str, Any]]) -> None:
    wanted = five["d"]
    assert "d key" in names(api("GET", f"/v1/keys?q={wanted['prefix']}"))
    assert "d key" in names(api("GET", f"/v1/keys?q={wanted['key'][:60]}"))


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("name", ["created_at", "name", "last_used_at", "expires_at"])
def test_pages_join_to_the_whole(api: Api, five: dict[str, dict[str, Any]], name: str, sign: str, limit: int) -> None:
    sort = sign + name
    whole = names(api("GET", f"/v1/keys?sort={sort}"))
    joined, cursor = [], ""
    for _ in range(10):
        page = api("GET", f"/v1/keys?sort={sort}&limit={limit}{cursor}")
        joined += names(page)
        if not page.get_json()["has_more"]:
            break
        cursor = f"&cursor={page.get_json()['next_cursor']}"
    assert joined == whole
    assert len(set(joined)) == 6


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=201", "limit"),
        ("limit=1000000000000", "limit"),
        ("limit=x", "limit"),
        ("limit=٣", "limit"),
        ("status=open", "status"),
        ("sort=name;DROP+ERRORS", "sort"),
        ("sort=--name", "sort"),
        ("sort=secrets", "sort"),
        ("cursor=xyz", "cursor"),
        ("cursor=WyJuYW1lIiwgNSwgIngiXQ", "cursor"),
        ("cursor=%00", "cursor"),
        ("q=" + "x" * 81, "q"),
        ("q=%00", "q"),
        ("colour=red", "colour"),
        ("limit=1&limit=2", "limit"),
    ],
)
def test_nonsense_is_named(api: Api, query: str, field: str) -> None:
    response = api("GET", f"/v1/keys?{query}")
    assert response.status_code == 422
    assert [error["field"] for error in response.get_json()["errors"]] == [field]


def test_a_cursor_of_another_sort(api: Api, five: dict[str, dict[str, Any]]) -> None:
    cursor = api("GET", "/v1/keys?limit=1&sort=name").get_json()["next_cursor"]
    assert api("GET", f"/v1/keys?limit=1&sort=-name&cursor={cursor}").status_code == 422


def test_spend_comes_from_the_counters(api: Api, live: LiveCounters, clock: Clock) -> None:
    key_id = api.create(spend_limit_usd="2", spend_reset="daily")["id"]
    live.know(key_id)
    live.seed(key_id)
    day = live.hold(key_id, 500_000_000, "daily")
    live.hold(key_id, 250_000_000, "daily")
    live.spend(key_id, day, 400_000_001, held_nanos=500_000_000)
    shown = api("GET", f"/v1/keys/{key_id}").get_json()["spend"]
    assert shown == {
        "limit_usd": "2.00",
        "spent_usd": "0.400000001",
        "held_usd": "0.25",
        "remaining_usd": "1.349999999",
        "period_start": "2026-11-24T00:00:00Z",
        "resets_at": "2026-11-25T00:00:00Z",
        "lifetime_usd": "0.400000001",
    }
    clock.forward(days=1)
    later = api("GET", f"/v1/keys/{key_id}").get_json()["spend"]
    assert (later["spent_usd"], later["held_usd"], later["lifetime_usd"]) == ("0.00", "0.00", "0.400000001")
    assert later["remaining_usd"] == "2.00"


@pytest.fixture
def ledger(app: Flask, api: Api, org_id: str) -> str:
    """A key with usage on three days, and the ledger's sums of it."""
    key_id: str = api.create(spend_limit_usd="1", spend_reset="weekly")["id"]
    with app.app_context(), writing() as session:
        for day, provider, model, nanos in (
            (date(2026, 11, 24), "openai", "gpt-4o", 100_000_000),
            (date(2026, 11, 24), "anthropic", "=cmd()", 10),
            (date(2026, 11, 22), "openai", "gpt-4o", 200_000_000),
            (date(2026, 11, 21), "openai", "gpt-4o", 400_000_000),
        ):
            line = {"requests": 2, "input_tokens": 30, "output_tokens": 4, "cost_nanos": nanos}
            session.add(UsageDaily(key_id=key_id, org_id=org_id, day=day, provider=provider, model=model, **line))
        for day, nanos in (
            (FIRST_DAY, 700_000_010),  # of all days
            (date(2026, 11, 24), 100_000_010),
            (date(2026, 11, 22), 200_000_000),
            (date(2026, 11, 21), 400_000_000),
        ):
            session.add(KeySpend(key_id=key_id, day=day, generation=0, base_nanos=0, total_nanos=nanos))
    return key_id


def test_spend_comes_from_the_ledger_while_the_counters_are_lost(api: Api, ledger: str) -> None:
    spend = api("GET", f"/v1/keys/{ledger}").get_json()["spend"]
    assert (spend["spent_usd"], spend["lifetime_usd"]) == ("0.30000001", "0.70000001")
    assert (spend["held_usd"], spend["remaining_usd"]) == ("0.00", "0.69999999")


def test_what_the_ledger_said_is_added_where_the_counters_were_not_told(
    api: Api, live: LiveCounters, clock: Clock, ledger: str
) -> None:
    live.know(ledger)
    live.spend(ledger, clock().date(), 5)
    spend = api("GET", f"/v1/keys/{ledger}").get_json()["spend"]
    assert (spend["spent_usd"], spend["lifetime_usd"]) == ("0.300000015", "0.700000015")


def test_usage(api: Api, ledger: str) -> None:
    document = api("GET", f"/v1/keys/{ledger}/usage").get_json()
    assert (document["from"], document["to"], document["group_by"]) == ("2026-10-26", "2026-11-24", "day")
    assert document["data"][-1] == {
        "day": "2026-11-24",
        "requests": 4,
        "input_tokens": 60,
        "output_tokens": 8,
        "tokens": {},
        "cost_usd": "0.10000001",
    }
    assert [line["day"] for line in document["data"]] == ["2026-11-21", "2026-11-22", "2026-11-24"]
    total = {"requests": 8, "input_tokens": 120, "output_tokens": 16, "tokens": {}, "cost_usd": "0.70000001"}
    assert document["total"] == total


@pytest.mark.parametrize(
    ("query", "groups"),
    [
        ("group_by=provider", ["anthropic", "openai"]),
        ("group_by=model", ["=cmd()", "gpt-4o"]),
        ("from=2026-11-22&to=2026-11-22", ["2026-11-22"]),
        ("from=2026-11-22T23:00:00-02:00", ["2026-11-24"]),
        ("to=2026-11-21", ["2026-11-21"]),
        ("from=2026-12-01&to=2026-12-02", []),
    ],
)
def test_usage_by_group_and_range(api: Api, ledger: str, query: str, groups: list[str]) -> None:
    document = api("GET", f"/v1/keys/{ledger}/usage?{query}").get_json()
    assert [line[document["group_by"]] for line in document["data"]] == groups


def test_usage_by_key(api: Api, ledger: str) -> None:
    (line,) = api("GET", f"/v1/keys/{ledger}/usage?group_by=key").get_json()["data"]
    assert line["key"] == ledger


def test_csv_cells_are_inert(api: Api, ledger: str) -> None:
    response = api("GET", f"/v1/keys/{ledger}/usage?group_by=model&format=csv")
    assert response.mimetype == "text/csv"
    assert response.text.splitlines() == [
        f"model,requests,input_tokens,output_tokens,{','.join(USAGE_CLASSES)},cost_usd",
        "'=cmd(),2,30,4,0,0,0,0,0,0,0,0.00000001",
        "gpt-4o,6,90,12,0,0,0,0,0,0,0,0.70",
    ]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("to=2026-02-30", "to"),
        ("from=2026-11-24&to=2026-11-23", "to"),
        ("from=0001-01-01&to=9999-12-31", "to"),
        ("from=0001-01-01&to=2026-11-24", "from"),
        ("group_by=colour", "group_by"),
        ("format=xml", "format"),
        ("since=2026-11-24", "since"),
    ],
)
def test_usage_nonsense_is_named(api: Api, ledger: str, query: str, field: str) -> None:
    response = api("GET", f"/v1/keys/{ledger}/usage?{query}")
    assert response.status_code == 422
    assert [error["field"] for error in response.get_json()["errors"]] == [field]
