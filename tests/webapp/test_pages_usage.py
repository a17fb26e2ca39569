"""The page Usage: the same numbers as the API tells, to the nano-dollar, however they are grouped."""

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import date, timedelta
from html import unescape
from typing import Any

import pytest
from dashboard_kit import Api
from flask import Flask
from flask.testing import FlaskClient
from happened_kit import Activity
from usage_kit import TODAY, use

from shared import money
from shared.models import OrganizationRefusals
from webapp.db import writing
from webapp.pages.usage_presenter import compact
from webapp.queries import usage_export
from webapp.queries.top_keys import prefixes_of
from webapp.views.keys import KeyView

GROUPS = ("day", "key", "provider", "model")
ALL = (date(2026, 10, 25), TODAY)


@pytest.fixture
def keys(app: Flask, org_id: str, make: Callable[..., KeyView]) -> list[str]:
    """Keys of two providers and three models that used something on several days; a stranger's that did as well."""
    ids = [make(name).id for name in ("one", "two", "=cmd();=1")]
    with app.app_context():
        use(org_id, ids[0], 1_234_567_891)
        use(org_id, ids[0], 20, provider="gemini", model="gemini-2.5-pro", cache_read_tokens=7)
        use(org_id, ids[1], 3_000_000_000_001, TODAY - timedelta(days=1), requests=40)
        use(org_id, ids[1], 5, TODAY - timedelta(days=5))
        use(org_id, ids[2], 700_000_000, date(2026, 10, 25), model="'><script>alert(1)</script>")
        use("org_other", "key_other", 10**15)
    return ids


def exact(page: str) -> list[str]:
    """All amounts of the table, as they are told unrounded; the last one is the sum."""
    table = re.search(r'<table class="keys sums">.*?</table>', page, re.DOTALL)
    assert table is not None
    return re.findall(r'<data value="([^"]+)"', table[0])


def usage(api: Api, group_by: str, days: tuple[date, date] = ALL) -> dict[str, Any]:
    response = api("GET", f"/v1/usage?group_by={group_by}&from={days[0]}&to={days[1]}")
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.get_json()
    return document


@pytest.mark.parametrize("group_by", GROUPS)
def test_it_works(member: FlaskClient, api: Api, keys: list[str], group_by: str) -> None:
    told = usage(api, group_by)
    page = member.get(f"/usage?from={ALL[0]}&to={ALL[1]}&group_by={group_by}").text
    amounts = exact(page)
    assert sorted(amounts[:-1]) == sorted(line["cost_usd"] for line in told["data"])
    assert amounts[-1] == told["total"]["cost_usd"] == "3001.934567917"
    in_order = sorted((money.from_usd(amount) for amount in amounts[:-1]), reverse=True)
    if group_by != "day":
        assert [money.from_usd(amount) for amount in amounts[:-1]] == in_order
    assert "$3,001.93" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize("group_by", GROUPS)
def test_the_chart_holds_all_of_it(member: FlaskClient, api: Api, keys: list[str], group_by: str) -> None:
    total = usage(api, group_by)["total"]
    for metric, unit, wanted in (
        ("cost", 10**9, money.from_usd(total["cost_usd"])),
        ("requests", 1, total["requests"]),
        ("tokens", 1, total["input_tokens"] + total["output_tokens"]),
    ):
        page = member.get(f"/usage?from={ALL[0]}&to={ALL[1]}&group_by={group_by}&metric={metric}").text
        found = re.search(r"data-chart='([^']+)'", page)
        assert found is not None
        data = json.loads(found[1])
        assert sum(sum(one["amounts"]) for one in data["series"]) == wanted
        assert data["unit"] == unit
        assert len(data["labels"]) == 31
        drawn = len(re.findall('<rect class="slot-', page))
        assert drawn == sum(amount > 0 for one in data["series"] for amount in one["amounts"]) > 0


def test_periods(member: FlaskClient, api: Api, keys: list[str]) -> None:
    for period, days in (
        ("today", (TODAY, TODAY)),
        ("yesterday", (date(2026, 11, 23), date(2026, 11, 23))),
        ("7d", (date(2026, 11, 18), TODAY)),
        ("last-week", (date(2026, 11, 15), date(2026, 11, 21))),  # from Sunday to Saturday
        ("", (ALL[0] + timedelta(days=1), TODAY)),
        ("nonsense", (ALL[0] + timedelta(days=1), TODAY)),
        ("month", (date(2026, 11, 1), TODAY)),
        ("last-month", (date(2026, 10, 1), date(2026, 10, 31))),
    ):
        page = member.get(f"/usage?period={period}").text
        assert f'name="from" value="{days[0]}"' in page
        assert f'name="to" value="{days[1]}"' in page
        total = usage(api, "day", days)["total"]["cost_usd"]
        assert f'<data value="{total}"' in page
        assert ("Nothing was used" in page) == (total == "0.00") == (not usage(api, "day", days)["data"])
    nothing = member.get("/usage?from=2026-09-01&to=2026-09-30").text
    assert "Nothing was used" in nothing
    assert 'the page of each of the <a href="/keys">keys</a> has examples to copy' in nothing


def test_which_key_spent_most_last_week_is_one_click(
    member: FlaskClient, app: Flask, org_id: str, keys: list[str]
) -> None:
    with app.app_context():
        use(org_id, keys[0], 8, date(2026, 11, 21))
        use(org_id, keys[1], 9, date(2026, 11, 15))
    page = member.get("/usage?period=last-week&group_by=key").text
    links = re.findall(r'<a href="/keys/([^"]+)" dir="auto">([^<]+)</a>', page)
    assert links == [(keys[1], "two"), (keys[0], "one")]
    with app.app_context():
        begin = [prefixes_of(org_id, keys)[key] for key in (keys[1], keys[0])]
    assert re.findall(r'<code class="tag">(sk-proxy-[0-9a-f]{4})…</code>', page) == begin


def test_a_row_leads_to_the_requests_of_its_days(
    member: FlaskClient, make: Callable[..., KeyView], happened: Activity, app: Flask, org_id: str
) -> None:
    key = make()
    with app.app_context():
        use(org_id, key.id, 5, TODAY - timedelta(days=1))
    noon = 12 * 3_600
    for number, seconds in enumerate((-noon - 86_401, -noon - 86_400, -noon - 1, -noon)):
        happened.sent(key.id, f"req_{number}", seconds)
    for group_by in ("provider", "model"):
        page = member.get(f"/usage?period=yesterday&group_by={group_by}").text
        (href,) = re.findall(r'<span class="group">.*?<a href="([^"]+)"', page)
        listed = member.get(unescape(href)).text
        assert re.findall(r'id="open-(req_\d)"', listed) == ["req_2", "req_1"], href
        assert 'value="2026-11-23T00:00"' in listed


def test_nonsense_is_named(member: FlaskClient) -> None:
    for query, words in (
        ("from=2026-11-20&to=2026-11-19", "To must not be before from."),
        ("from=2026-02-30", "From is not a day of the calendar."),
        ("to=x", "To must be a date"),
        ("from=9999-01-01&to=9999-12-31", "From must not be after 2027-11-25, a year from now."),
        ("from=9990-01-01", "From must not be after"),
        ("to=2027-11-26", "To must not be after"),
        ("cursor=x", "Cursor is not one that this page gave"),
        ("group_by=key&cursor=eyJhIjoxfQ", "Cursor is not one that this page gave"),
    ):
        response = member.get(f"/usage?{query}")
        assert response.status_code == 422, query
        assert words in response.text
    assert member.get("/usage?group_by=x&metric=%00").status_code == 200
    # The first days and the last ones of the calendar, by days, by weeks and by months.
    for days in ("0001-01-01&to=0001-01-01", "0001-01-01&to=0001-06-01", "0001-01-01&to=0005-01-01"):
        assert member.get(f"/usage?from={days}").status_code == 200, days
    for first in ("2027-11-25", "2027-01-01", "2020-01-01"):
        assert member.get(f"/usage?from={first}&to=2027-11-25").status_code == 200, first
    assert member.get("/usage.csv?from=x").status_code == 422
    assert member.get("/usage.json?from=2026-11-20&to=2026-11-19").status_code == 422


@pytest.mark.parametrize("group_by", ["key", "model"])
def test_pages_join_to_the_whole(member: FlaskClient, app: Flask, org_id: str, group_by: str) -> None:
    with app.app_context():
        for number in range(120):
            use(org_id, f"key_{number:03}", number % 30, model=f"model {number:03}")
    seen: list[str] = []
    href = f"/usage?period=today&group_by={group_by}"
    while href:
        page = member.get(href).text
        amounts = [money.from_usd(amount) for amount in exact(page)]
        assert sum(amounts[:-1]) == amounts[-1] == 4 * sum(range(30)), "rows, the rest in one, and their sum"
        seen += re.findall(r'<span class="group">.*?<a [^>]*>([^<]+)</a>', page)
        following = re.search(r'href="([^"]+)" rel="next"', page)
        href = unescape(following[1]) if following else ""
    assert sorted(seen) == [f"{group_by} {number:03}".replace("key ", "key_") for number in range(120)]


def test_a_page_may_end_with_a_model_that_is_not_known(member: FlaskClient, app: Flask, org_id: str) -> None:
    with app.app_context():
        for number in range(60):
            use(org_id, "key_1", 1_000 - number, model="" if number == 49 else f"model {number:03}")
    page = member.get("/usage?period=today&group_by=model").text
    following = re.search(r'href="([^"]+)" rel="next"', page)
    assert following is not None
    second = member.get(unescape(following[1]))
    assert second.status_code == 200
    assert re.findall(r'<span class="group">.*?<a [^>]*>([^<]+)</a>', second.text) == [
        f"model {number:03}" for number in range(50, 60)
    ]


def test_what_was_refused_stands_beside_what_was_served(
    member: FlaskClient, app: Flask, org_id: str, keys: list[str]
) -> None:
    with app.app_context(), writing() as session:
        for owner, day, reason, count in (
            (org_id, TODAY, "key_paused", 3),
            (org_id, TODAY - timedelta(days=6), "key_paused", 1_200),
            (org_id, TODAY - timedelta(days=6), "rate_limited", 40),
            (org_id, TODAY - timedelta(days=7), "rate_limited", 9_999),
            ("org_other", TODAY, "ip_blocked", 7_777),
        ):
            session.add(OrganizationRefusals(org_id=owner, day=day, reason=reason, count=count))
    page = member.get("/usage?period=7d").text
    assert '<a href="#refused">1,243</a>' in page
    assert re.findall(r'<code class="tag">(\w+)</code></th>.*?class="number">([\d,]+)</td>', page) == [
        ("key_paused", "1,203"),
        ("rate_limited", "40"),
    ]
    assert 'href="/requests/refused?reason=rate_limited&amp;from=2026-11-18T00%3A00"' in page
    assert "7,777" not in page
    assert "counted by day" not in page, "all of these days are counted"
    for days in ("period=30d", "from=2026-11-17&to=2026-11-24"):  # on the first day it may have begun at any hour
        assert "counted by day is of 17 Nov 2026" in member.get(f"/usage?{days}").text


@pytest.mark.parametrize("group_by", GROUPS)
def test_files_hold_what_the_api_tells(
    member: FlaskClient, api: Api, keys: list[str], group_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_export, "KEYS_AT_ONCE", 2)
    told = usage(api, group_by)
    query = f"from={ALL[0]}&to={ALL[1]}&group_by={group_by}"
    as_json = member.get(f"/usage.json?{query}")
    name = f"usage-by-{group_by}-2026-10-25-to-2026-11-24"
    assert as_json.headers["Content-Disposition"] == f'attachment; filename="{name}.json"'
    document = as_json.get_json()
    assert sorted(document.pop("data"), key=str) == sorted(told.pop("data"), key=str)
    told.pop("has_more", None)  # of a file nothing follows
    assert document == told
    as_csv = member.get(f"/usage.csv?{query}")
    assert as_csv.mimetype == "text/csv"
    lines = list(csv.DictReader(io.StringIO(as_csv.text)))
    amounts = [money.from_usd(line["cost_usd"]) for line in lines]
    assert sum(amounts) == money.from_usd(told["total"]["cost_usd"])
    if group_by == "key":
        assert [(line["key"], line["name"]) for line in lines] == [
            (keys[0], "one"), (keys[1], "two"), (keys[2], "'=cmd();'=1"),
        ]  # fmt: skip
    if group_by == "model":
        assert "'><script>alert(1)</script>" in {line["model"] for line in lines}


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (9_999, "9,999"),
        (10_000, "10.0 k"),
        (999_999, "999.9 k"),
        (270_000_000, "270.0 M"),
        (12_345 * 10**8, "1,234.5 B"),
    ],
)
def test_large_counts_are_told_in_few_digits(count: int, told: str) -> None:
    assert compact(count) == told


def test_others_see_nothing_of_it(app: Flask, keys: list[str], enter: Callable[[str], FlaskClient]) -> None:
    viewer = enter("viewer")
    assert viewer.get("/usage").status_code == 200
    assert app.test_client().get("/usage.csv").status_code == 303
    assert "key_other" not in viewer.get("/usage.csv?group_by=key").text
