"""What keys and the organisation used; of one key see test_api_lists.py as well."""

import csv
import io
from datetime import date
from typing import Any

import pytest
from dashboard_kit import Api
from flask import Flask
from sqlalchemy import update
from usage_kit import use

from shared.models import UsageDaily
from webapp.db import writing
from webapp.queries.top_keys import top_keys
from webapp.schemas.lists import usage_cursor, usage_place

DAY = date(2026, 11, 24)


@pytest.fixture
def keys(api: Api, app: Flask, org_id: str) -> list[str]:
    """Two keys of this organisation that used something."""
    ids = [str(api.create(name=name)["id"]) for name in ("one", "two")]
    with app.app_context(), writing() as session:
        for key_id, day, provider, model, nanos in (
            (ids[0], DAY, "openai", "gpt-4o", 100),
            (ids[0], DAY, "gemini", "gemini-2.5-pro", 20),
            (ids[1], DAY, "openai", "gpt-4o", 3_000),
            (ids[1], date(2026, 11, 20), "openai", "gpt-4o", 400),
        ):
            sums = {"requests": 1, "input_tokens": 10, "output_tokens": 2, "cost_nanos": nanos, "cache_read_tokens": 7}
            session.add(UsageDaily(key_id=key_id, org_id=org_id, day=day, provider=provider, model=model, **sums))
        session.flush()
        # As the ledger posts more of the same.
        session.execute(update(UsageDaily).where(UsageDaily.cost_nanos == 100).values(cost_nanos=150, requests=2))
    return ids


def usage(api: Api, query: str = "") -> dict[str, Any]:
    response = api("GET", f"/v1/usage{query}")
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.get_json()
    return document


def test_it_works(api: Api, keys: list[str]) -> None:
    document = usage(api)
    assert (document["from"], document["to"], document["group_by"]) == ("2026-10-26", "2026-11-24", "day")
    assert document["data"] == [
        {
            "day": "2026-11-20",
            "requests": 1,
            "input_tokens": 10,
            "output_tokens": 2,
            "tokens": {"cache_read_tokens": 7},
            "cost_usd": "0.0000004",
        },
        {
            "day": "2026-11-24",
            "requests": 4,
            "input_tokens": 30,
            "output_tokens": 6,
            "tokens": {"cache_read_tokens": 21},
            "cost_usd": "0.00000317",
        },
    ]
    assert document["total"]["cost_usd"] == "0.00000357"
    assert document["total"]["tokens"] == {"cache_read_tokens": 28}


def test_by_group(api: Api, keys: list[str]) -> None:
    assert [line["provider"] for line in usage(api, "?group_by=provider")["data"]] == ["gemini", "openai"]
    assert [line["model"] for line in usage(api, "?group_by=model")["data"]] == ["gemini-2.5-pro", "gpt-4o"]
    by_key = usage(api, "?group_by=key")
    assert [(line["key"], line["cost_usd"]) for line in by_key["data"]] == [
        (keys[1], "0.0000034"),
        (keys[0], "0.00000017"),
    ]
    assert by_key["total"] == usage(api)["total"]
    only = usage(api, "?from=2026-11-20&to=2026-11-20&group_by=key")
    assert [line["key"] for line in only["data"]] == [keys[1]]
    assert only["total"]["cost_usd"] == "0.0000004"


def test_keys_of_the_same_cost_come_as_on_the_page(api: Api, app: Flask, org_id: str) -> None:
    with app.app_context():
        for number in range(5):
            use(org_id, f"key_{number}", 7)
        page = [line.group for line in top_keys(org_id, DAY, DAY, 9).lines]
    assert (
        [line["key"] for line in usage(api, "?group_by=key")["data"]] == page == [f"key_{n}" for n in (4, 3, 2, 1, 0)]
    )


def test_keys_come_a_page_at_a_time(api: Api, app: Flask, org_id: str) -> None:
    with app.app_context():
        for number in range(5):
            use(org_id, f"key_{number}", 7 + number // 2)
    whole = usage(api, "?group_by=key")
    assert whole["has_more"] is False
    pages, more = [], ""
    while True:
        page = usage(api, f"?group_by=key&limit=2{more}")
        assert page["total"] == whole["total"]
        pages.append([line["key"] for line in page["data"]])
        if not page["has_more"]:
            break
        more = f"&cursor={page['next_cursor']}"
    assert pages == [["key_4", "key_3"], ["key_2", "key_1"], ["key_0"]]
    assert "has_more" not in usage(api, "?group_by=day")


def test_a_place_below_nothing_is_one_too() -> None:
    """Where adjustments took more from a key than it cost in these days."""
    assert usage_place("key", usage_cursor("key", (-5, "key_1"))) == (-5, "key_1")
    for group_by, place in (("model", (1, "key_1")), ("key", (2**63, "key_1")), ("key", (True, "key_1"))):
        with pytest.raises(ValueError, match="another"):
            usage_place("key", usage_cursor(group_by, place))


def test_others_see_nothing_of_it(stranger: Api, keys: list[str]) -> None:
    for group in ("day", "key", "provider", "model"):
        document = usage(stranger, f"?group_by={group}")
        assert document["data"] == []
        assert document["total"]["requests"] == 0


def test_csv(api: Api, keys: list[str]) -> None:
    response = api("GET", "/v1/usage?group_by=model&format=csv")
    assert response.mimetype == "text/csv"
    assert response.headers["Content-Disposition"] == 'attachment; filename="usage.csv"'
    lines = list(csv.DictReader(io.StringIO(response.text)))
    assert [line["model"] for line in lines] == ["gemini-2.5-pro", "gpt-4o"]
    assert lines[1]["cache_read_tokens"] == "21"
    assert lines[1]["cost_usd"] == "0.00000355"


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "|", "\uff1d", "\uff0b", " =", "\u200b="])
def test_no_cell_is_a_formula(api: Api, app: Flask, org_id: str, begin: str) -> None:
    """S15."""
    with app.app_context(), writing() as session:
        sums = {"requests": 1, "input_tokens": 0, "output_tokens": 0, "cost_nanos": 0}
        session.add(
            UsageDaily(key_id="key_1", org_id=org_id, day=DAY, provider="openai", model=f"{begin}cmd();=1", **sums)
        )
    text = api("GET", "/v1/usage?group_by=model&format=csv").text
    (line,) = csv.DictReader(io.StringIO(text))
    assert line["model"] == f"'{begin}cmd();'=1"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("group_by=team", "group_by"),
        ("from=x&to=y", "from"),
        ("q=1", "q"),
        ("from=9999-01-01&to=9999-12-31", "from"),
        ("from=2026-01-01&to=9999-12-31", "to"),
        ("limit=5", "limit"),
        ("group_by=key&limit=0", "limit"),
        ("group_by=key&format=csv&limit=5", "limit"),
        ("group_by=model&cursor=W10", "cursor"),
        ("group_by=key&cursor=W10", "cursor"),
        ("group_by=key&cursor=WyJ1c2FnZSIsImtleSIsLTEuNSwieCJd", "cursor"),
    ],
)
def test_nonsense_is_named(api: Api, query: str, field: str) -> None:
    response = api("GET", f"/v1/usage?{query}")
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["field"] == field
