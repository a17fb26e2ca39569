"""What somebody looks for on the Requests page is found, by whatever they have of it; nonsense and secrets go nowhere."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from dashboard_kit import Api, Clock
from flask.testing import FlaskClient
from forms_kit import HTMX
from happened_kit import Activity, shown, words

from webapp.pages.activity_search import Search
from webapp.views.keys import KeyView

Make = Callable[..., KeyView]


@pytest.fixture
def mixed(make: Make, happened: Activity) -> tuple[KeyView, KeyView]:
    one, two = make("alpha"), make("beta")
    happened.sent(one.id, "req_1", 0, requested_model="gpt-4o", served_model=None)
    happened.sent(one.id, "req_2", 60, requested_model="claude-opus", served_model=None, provider="anthropic")
    happened.sent(two.id, "req_3", 120, outcome="provider_error", sent_status=429, status=429)
    happened.sent(two.id, "req_4", 180, outcome="crash", sent_status=None, provider_request_id="theirs-4")
    happened.refused(one.id, "ip_blocked", 0, model="gpt-4o")
    happened.refused(two.id, "rate_limited", 60, model="claude-opus")
    return one, two


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "4321"),
        ("q=alpha", "21"),
        ("q=ALPHA", "21"),
        ("q=a", ""),  # of both keys: which?
        ("q=nobody", ""),
        ("model=claude", "2"),
        ("model=CLAUDE", "2"),
        ("model=%25", ""),
        ("provider=anthropic", "2"),
        ("provider=nobody", "4321"),
        ("outcome=ok", "21"),
        ("outcome=failed", "43"),
        ("outcome=crash", "4"),
        ("status=2xx", "21"),
        ("status=429", "3"),
        ("status=4xx", "3"),
        ("status=5xx", ""),
        ("status=none", "4"),
        ("from=2026-11-24T12:01", "432"),
        ("from=2026-11-24T12:01:01Z", "43"),
        ("to=2026-11-24T12:02", "21"),
        ("from=2026-11-24T13:01:00%2B01:00&to=2026-11-24T12:02:00", "2"),
        ("period=1h", "4321"),
        ("id=req_3", "3"),
        ("id=theirs-4", "4"),
        ("id=none", ""),
        ("q=beta&outcome=crash&status=none&period=24h", "4"),
        ("limit=100", "4321"),
    ],
)
def test_what_was_sent_is_found(member: FlaskClient, mixed: object, clock: Clock, query: str, found: str) -> None:
    clock.forward(minutes=30)
    assert shown(member.get(f"/requests?{query}")) == [f"req_{number}" for number in found]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["rate_limited", "ip_blocked"]),
        ("q=alpha", ["ip_blocked"]),
        ("reason=rate_limited", ["rate_limited"]),
        ("reason=nonsense", ["rate_limited", "ip_blocked"]),
        ("model=opus", ["rate_limited"]),
        ("from=2026-11-24T12:00:30", ["rate_limited"]),
        ("period=1h", ["rate_limited", "ip_blocked"]),
        ("id=none", []),
    ],
)
def test_what_was_refused_is_found(member: FlaskClient, mixed: object, query: str, found: list[str]) -> None:
    assert [href.rpartition("/")[2] for href in shown(member.get(f"/requests/refused?{query}"))] == found


def test_a_period_ends_now(member: FlaskClient, make: Make, happened: Activity) -> None:
    key = make()
    for number, seconds in enumerate((-7 * 86_401, -86_401, -3_601, -3_599)):
        happened.sent(key.id, f"req_{number}", seconds)
    for period, found in (("1h", "3"), ("24h", "32"), ("7d", "321"), ("30d", "3210")):
        assert shown(member.get(f"/requests?period={period}")) == [f"req_{number}" for number in found]


def test_which_key_is_meant_is_asked(member: FlaskClient, mixed: tuple[KeyView, KeyView]) -> None:
    page = member.get("/requests?q=a")
    assert "Choose one of 2 keys." in words(page)
    links = re.findall(r'href="/requests\?key=(key_\w+)"', page.text)
    assert set(links) == {key.id for key in mixed}
    chosen = member.get(f"/requests?key={mixed[1].id}")
    assert shown(chosen) == ["req_4", "req_3"]
    assert "Only of beta" in words(chosen)


def test_an_id_leads_to_where_it_stands(
    member: FlaskClient, mixed: tuple[KeyView, KeyView], happened: Activity
) -> None:
    """Whatever list it is looked for in, and as an address too."""
    key, _ = mixed
    denied = happened.refused(key.id, "key_expired")
    place = f"/requests/refused/{key.id}/key_expired"
    assert f'href="{place}"' in member.get(f"/requests?id={denied}").text
    assert shown(member.get(f"/requests/refused?id={denied}")) == [f"refused/{key.id}/key_expired"]
    assert 'href="/requests/req_1"' in member.get("/requests/refused?id=req_1").text
    assert member.get(f"/requests/{denied}").headers["Location"] == place


def test_pages_follow_one_another(member: FlaskClient, make: Make, happened: Activity) -> None:
    key = make()
    for number in range(53):
        happened.sent(key.id, f"req_{number:02}", number)
    first = member.get("/requests")
    assert "50 of 53 requests on this page" in words(first)
    href = re.search(r'href="([^"]+)" rel="next"', first.text)
    assert href is not None
    second = member.get(unescape(href[1]))
    assert shown(first) + shown(second) == [f"req_{number:02}" for number in reversed(range(53))]
    assert 'rel="next"' not in second.text
    assert "data-news" in first.text
    assert "data-news" not in second.text
    assert shown(member.get(f"/requests?key={key.id}&limit=200")) == shown(first) + shown(second)


def test_a_filter_takes_the_place_of_the_address(member: FlaskClient, mixed: object) -> None:
    answer = member.get("/requests?q=&model=claude&limit=50&period=", headers=HTMX)
    assert answer.headers["HX-Replace-Url"] == "/requests?model=claude"
    assert "<html" not in answer.text
    assert shown(answer) == ["req_2"]


@pytest.mark.parametrize("path", ["/requests", "/requests/refused"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "From"),
        ("to=2026-13-01T00:00", "To"),
        ("from=2026-11-24T12:00&to=2026-11-24T11:00", "To"),
        ("cursor=x", "Cursor"),
        ("cursor=WyJzZW50IiwieCIsInkiXQ", "Cursor"),
        ("cursor=W10", "Cursor"),
    ],
)
def test_nonsense_is_named(member: FlaskClient, path: str, query: str, field: str) -> None:
    answer = member.get(f"{path}?{query}")
    assert answer.status_code == 422
    assert f" {field} " in words(answer)
    assert "data-news" not in answer.text


def test_a_secret_does_not_stay_in_the_address(member: FlaskClient, api: Api) -> None:
    raw = api.create(name="which one")["key"]
    for name in ("q", "id", "model"):
        answer = member.get(f"/requests?{name}={raw}&period=1h")
        assert answer.status_code == 303
        assert raw[13:] not in answer.headers["Location"]
    assert "Only of which one" in words(member.get(member.get(f"/requests?q={raw}").headers["Location"]))


def test_a_search_of_one_list_goes_on_in_the_other_as_far_as_it_can() -> None:
    search = Search("sent", {"q": "alpha", "outcome": "ok", "period": "1h", "cursor": "x", "limit": "100"})
    assert search.href("refused") == "/requests/refused?q=alpha&period=1h"
    assert search.href() == "/requests?q=alpha&outcome=ok&period=1h&limit=100"
