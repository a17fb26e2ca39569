"""What a period will have cost at its end: exact where days are alike, with an honest range where they are not."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from dashboard_kit import Api
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from usage_kit import TODAY, use

from webapp.views.forecast import Forecast, forecast
from webapp.views.keys import KeyView

MONTH = (date(2026, 11, 1), date(2026, 12, 1))  # today is Tuesday, the 24th: it and six days are still to come
DOLLAR = 10**9


def days(*nanos: int, until: date = TODAY) -> dict[date, int]:
    """What was spent on the whole days before today, the last one last."""
    return {until - timedelta(days=len(nanos) - number): amount for number, amount in enumerate(nanos)}


def test_it_works() -> None:
    found = forecast(days(*[DOLLAR] * 14), *MONTH, TODAY)
    assert found == Forecast(*MONTH, 14 * DOLLAR, 14, 21 * DOLLAR, 21 * DOLLAR, 21 * DOLLAR)


def test_a_fortnight_tells_weekdays_apart() -> None:
    """Nothing on Saturday and Sunday, which are two of the seven days to come."""
    spent = days(*[0 if (TODAY - timedelta(days=back)).weekday() >= 5 else DOLLAR for back in range(14, 0, -1)])
    assert forecast(spent, *MONTH, TODAY).expected_nanos == 10 * DOLLAR + 5 * DOLLAR


def test_what_was_spent_today_is_part_of_today() -> None:
    whole = days(*[DOLLAR] * 14)
    assert forecast({**whole, TODAY: DOLLAR // 4}, *MONTH, TODAY).expected_nanos == 21 * DOLLAR
    assert forecast({**whole, TODAY: 3 * DOLLAR}, *MONTH, TODAY).expected_nanos == 23 * DOLLAR


@pytest.mark.parametrize(("count", "known"), [(0, 0), (1, 1), (6, 6)])
def test_too_little_history_is_no_forecast(count: int, known: int) -> None:
    found = forecast(days(*[DOLLAR] * count), *MONTH, TODAY)
    assert (found.history_days, found.expected_nanos, found.low_nanos, found.high_nanos) == (known, None, None, None)
    assert found.spent_nanos == count * DOLLAR


def test_with_a_week_all_days_are_alike_and_their_spread_is_the_error() -> None:
    """Two dollars and none by turns: the mean of seven is 8/7, the deviation of a day 1.07, of seven days 2.83 or so."""
    found = forecast(days(*[2 * DOLLAR, 0] * 3, 2 * DOLLAR), *MONTH, TODAY)
    assert found.expected_nanos == 8 * DOLLAR + 7 * (8 * DOLLAR // 7)
    assert found.low_nanos is not None
    assert found.high_nanos is not None
    assert found.high_nanos - found.expected_nanos == pytest.approx(8 * DOLLAR, rel=1e-6)
    assert found.low_nanos == max(found.spent_nanos, 2 * found.expected_nanos - found.high_nanos)


def test_a_use_long_ago_is_no_history() -> None:
    assert forecast({TODAY - timedelta(days=29): DOLLAR}, date(2026, 10, 1), MONTH[1], TODAY).history_days == 0
    assert forecast({TODAY - timedelta(days=10): DOLLAR}, *MONTH, TODAY).history_days == 10


@given(st.lists(st.integers(-(10**12), 10**15), max_size=30), st.integers(0, 10**15))
def test_the_range_holds_what_is_expected_and_nothing_is_taken_back(amounts: list[int], today: int) -> None:
    found = forecast({**days(*amounts), TODAY: today}, *MONTH, TODAY)
    assert found.spent_nanos == sum(amounts[-23:]) + today
    if found.expected_nanos is not None and found.low_nanos is not None and found.high_nanos is not None:
        assert found.low_nanos <= found.expected_nanos <= found.high_nanos
        assert found.spent_nanos <= found.low_nanos


@pytest.fixture
def used(app: Flask, org_id: str, make: Callable[..., KeyView]) -> dict[str, str]:
    """Keys that spent a dollar a day, one of them by the week; and one that began yesterday."""
    ids = {
        "monthly": make("monthly", tags=["search"]).id,
        "weekly": make("weekly", tags=["search"], spend_limit_usd="3", spend_reset="weekly").id,
        "new": make("new", tags=["fresh"]).id,
    }
    with app.app_context():
        for back in range(1, 15):
            for name in ("monthly", "weekly"):
                use(org_id, ids[name], DOLLAR, TODAY - timedelta(days=back))
        use(org_id, ids["new"], 5 * DOLLAR, TODAY - timedelta(days=1))
    return ids


def test_each_is_told_by_api(api: Api, stranger: Api, used: dict[str, str]) -> None:
    def told(**query: str) -> tuple[Any, ...]:
        answer = api("GET", "/v1/forecast", query_string=query)
        assert answer.status_code == 200, answer.text
        found = answer.get_json()
        assert "standard deviations" in found["method"]
        return tuple(found[name] for name in ("period_end", "spent_usd", "expected_usd", "history_days"))

    assert told(key=used["monthly"]) == ("2026-12-01T00:00:00Z", "14.00", "21.00", 14)
    assert told(key=used["weekly"]) == ("2026-11-29T00:00:00Z", "2.00", "7.00", 14)
    assert told(key=used["new"]) == ("2026-12-01T00:00:00Z", "5.00", None, 1)
    assert told(tag="Search") == ("2026-12-01T00:00:00Z", "28.00", "42.00", 14)
    assert told(tag="unknown") == ("2026-12-01T00:00:00Z", "0.00", None, 0)
    assert told()[1] == "33.00"
    assert api("GET", f"/v1/forecast?key={used['new']}&tag=x").status_code == 422
    assert stranger("GET", f"/v1/forecast?key={used['new']}").status_code == 404
    assert stranger("GET", "/v1/forecast?tag=search").get_json()["spent_usd"] == "0.00"


def test_pages_tell_it_where_it_is_known(member: FlaskClient, used: dict[str, str]) -> None:
    page = member.get(f"/keys/{used['weekly']}").text
    assert "About $7.00" in page
    assert "by the end of 28 Nov 2026 · $7.00 to $7.00 · more than its limit of $3.00" in page
    assert "Expected" not in member.get(f"/keys/{used['new']}").text
    assert "This month: about $42.00 by the end of 30 Nov 2026" in member.get("/usage?group_by=tag").text
    assert "Expected: about $" in member.get("/overview").text


def test_a_new_organisation_expects_nothing(member: FlaskClient) -> None:
    assert "Expected" not in member.get("/overview").text
