"""The Overview: figures as the API has them, keys to look at, who answers, and the guide to a first request."""

import re
from collections.abc import Callable
from datetime import date, timedelta
from html import unescape
from typing import Any

import pytest
from dashboard_kit import Api, Clock
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from usage_kit import TODAY, figure, use

from shared.models import OrganizationRefusals, ProxyKey, Refusal, UsageRecord
from webapp.actions.credentials import store_credentials
from webapp.context import Actor
from webapp.db import db, writing
from webapp.queries import key_counts
from webapp.queries.key_pages import count_up_to
from webapp.views.keys import KeyView
from webapp.views.refusal_help import help_of

Say = Callable[..., None]


@pytest.fixture(autouse=True)
def _fresh_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No count is kept because the machine is busy."""
    monkeypatch.setattr(key_counts, "_LONG_SECONDS", float("inf"))


@pytest.fixture
def no_demo(app: Flask) -> None:
    """Without the key that a first start makes: its age is not by the clock of the tests."""
    with app.app_context(), writing() as session:
        session.execute(update(ProxyKey).where(ProxyKey.name == "demo").values(paused=True))


@pytest.fixture
def refuse(app: Flask, org_id: str, clock: Clock) -> Say:
    """`refuse(key_id, reason, ...)`: the last refusal of a key."""

    def refuse(key_id: str, reason: str = "key_paused", **more: Any) -> None:
        told = {"last_at": clock(), "count": 1, "status": 403, "sentence": f"Sent: {reason}.", "request_id": "req_1"}
        with app.app_context(), writing() as session:
            session.merge(Refusal(key_id=key_id, reason=reason, org_id=org_id, **{**told, **more}))

    return refuse


@pytest.fixture
def send(app: Flask, org_id: str, clock: Clock) -> Say:
    """`send(key_id, ...)`: a request that was sent to a provider."""

    def send(key_id: str, outcome: str = "ok", status: int | None = 200, **more: Any) -> None:
        at = clock()
        told = {
            "id": f"req_{at.timestamp():.0f}", "provider": "openai", "endpoint": "/v1/chat/completions",
            "requested_model": "gpt-4o-mini", "streamed": False, "flags": [], "usage": {}, "input_tokens": 3,
            "output_tokens": 2, "bound_nanos": 9, "cost_nanos": 1_650, "day": at.date(), "admitted_at": at,
            "duration_ms": 412,
        }  # fmt: skip
        with app.app_context(), writing() as session:
            session.add(UsageRecord(key_id=key_id, org_id=org_id, outcome=outcome, status=status, **{**told, **more}))

    return send


def looks(page: str) -> dict[str, tuple[str, str]]:
    """What there is to look at: how many, and where it leads."""
    found = re.findall(r'<li><span class="pill[^>]*>.*?</svg>([^<]+)</span> <span><a href="([^"]+)">([^<]+)</a>', page)
    return {label: (count, href) for count, href, label in found}


def test_it_works(member: FlaskClient, app: Flask, org_id: str, api: Api, make: Callable[..., KeyView]) -> None:
    assert member.get("/").headers["Location"] == "/overview"
    keys = [make(name).id for name in ("small", "large")]
    with app.app_context():
        for key_id, nanos, day in (
            (keys[0], 2_500_000_001, TODAY),
            (keys[1], 4_000_000_000, date(2026, 11, 1)),
            (keys[1], 3_000_000_000, date(2026, 11, 20)),
            (keys[1], 1_000_000_000, date(2026, 10, 24)),
            (keys[1], 7_000_000_000, date(2026, 10, 25)),  # not yet over at this day of last month
        ):
            use(org_id, key_id, nanos, day, requests=20)
        with writing() as session:
            for day, count in ((TODAY, 5), (TODAY - timedelta(days=6), 30), (TODAY - timedelta(days=7), 900)):
                session.add(OrganizationRefusals(org_id=org_id, day=day, reason="key_paused", count=count))
    page = member.get("/overview").text
    assert figure(page, "today-title") == "$2.50 / 20 requests"
    assert figure(page, "month-title") == "$9.50 / 850 % more than $1.00 from 1 to 24 Oct 2026"
    assert figure(page, "requests-title") == "60 / sent to providers"
    assert figure(page, "refused-title") == "5 / 35 in 7 days; they cost nothing"
    for first, wanted in (("2026-11-24", "2.500000001"), ("2026-11-01", "9.500000001")):
        told = api("GET", f"/v1/usage?from={first}").get_json()["total"]["cost_usd"]
        assert told == wanted
        assert f'<data value="{told}"' in page
    ranking = re.findall(r'href="/keys/([^"]+)" dir="auto">([^<]+)</a>.*?<data value="([^"]+)"', page)
    assert ranking == [(keys[1], "large", "3.00"), (keys[0], "small", "2.500000001")], "in the last seven days"


def test_keys_to_look_at(
    enter: Callable[[str], FlaskClient],
    app: Flask,
    org_id: str,
    no_demo: None,
    make: Callable[..., KeyView],
    refuse: Say,
    clock: Clock,
) -> None:
    member = enter("member")
    none = {label: count for label, (count, _) in looks(member.get("/overview").text).items()}
    assert none == {
        "near their limit": "0", "refused lately": "0", "expiring soon": "0", "dormant": "0",
        "without a spend limit": "0",
    }  # fmt: skip
    limit = {"spend_limit_usd": "0.00000001"}
    near, week, far = make("near", **limit), make("week", **limit, spend_reset="weekly"), make("far", **limit)
    stopped, past = make("stopped", **limit, paused=True), make("past", **limit, spend_reset="daily")
    make("expires", spend_limit_usd="1", expires_at="2026-12-01T12:00:00Z")
    make("expires later", spend_limit_usd="1", expires_at="2026-12-01T12:00:01Z")
    make("unlimited")
    refuse(near.id)
    refuse(near.id, "rate_limited")
    refuse(far.id, last_at=clock() - timedelta(hours=25))
    refuse(stopped.id)
    with app.app_context():
        for key, nanos, day in (
            (near, 8, date(2026, 1, 1)), (week, 9, date(2026, 11, 22)), (far, 7, TODAY), (stopped, 10, TODAY),
            (past, 10, TODAY - timedelta(days=1)),
        ):  # fmt: skip
            use(org_id, key.id, nanos, day)
        with writing() as session:
            session.execute(update(ProxyKey).values(last_used_at=clock()))
    page = member.get("/overview").text
    assert looks(page) == {
        "near their limit": ("2", "/keys?near_limit=true"),
        "refused lately": ("1", "/keys?refused=true"),
        "expiring soon": ("1", "/keys?expiring=true&amp;sort=expires_at"),
        "dormant": ("0", "/keys?dormant=true"),
        "without a spend limit": ("1", "/keys?has_limit=false&amp;status=active"),
    }
    for count, href in looks(page).values():
        listed = re.findall(r'<tr id="row-', member.get(unescape(href)).text)
        assert len(listed) == int(count), f"{href} lists what was counted"
    assert re.findall(r"<strong>([^<]+)</strong> <a href", page) == [
        help_of(reason).title for reason in ("key_paused", "key_paused", "rate_limited")
    ]
    clock.forward(days=30)
    assert looks(enter("member").get("/overview").text)["dormant"][0] == "5", (
        "all that are active but the two that expired"
    )


def test_a_count_that_took_long_is_kept_for_a_while(
    app: Flask, org_id: str, make: Callable[..., KeyView], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 0.0
    monkeypatch.setattr(key_counts, "_LONG_SECONDS", 0.1)
    monkeypatch.setattr(key_counts, "monotonic", lambda: moment)
    with app.app_context():

        def count(seconds: float) -> int:
            nonlocal moment

            def slow(*asked: Any) -> int:
                nonlocal moment
                moment += seconds / len(key_counts.ASKED)
                return count_up_to(*asked)

            monkeypatch.setattr(key_counts, "count_up_to", slow)
            found = key_counts.count_keys_to_look_at(org_id, clock()).numbers["unlimited"]
            monkeypatch.setattr(key_counts, "count_up_to", count_up_to)
            db.session.rollback()  # as at the end of a request
            return found

        assert count(0.05) == 0
        make("unlimited")
        assert count(2.0) == 1, "a quick one is never kept"
        make("another")
        moment += 37.9
        assert count(2.0) == 1
        moment += 0.2
        assert count(0.0) == 2


def poll(client: FlaskClient, page: str) -> tuple[int, str]:
    """What the page asks every two seconds, and is answered."""
    found = re.search(r'hx-get="(/overview/first-request[^"]*)"', page)
    assert found is not None
    answer = client.get(found[1], headers={"HX-Request": "true"})
    return answer.status_code, answer.text


def test_the_guide_waits_for_the_first_request(
    enter: Callable[[str], FlaskClient],
    app: Flask,
    actor: Actor,
    no_demo: None,
    make: Callable[..., KeyView],
    refuse: Say,
    send: Say,
    clock: Clock,
) -> None:
    with app.app_context():
        store_credentials(actor, {"openai": "sk-real-openai"})
    member = enter("member")
    key = make("first app", allowed_models=["gpt-4o-mini"])
    page = member.get("/overview").text
    assert "Waiting for the first request" in page
    assert "&#34;model&#34;: &#34;gpt-4o-mini&#34;" in page
    assert "/v1/chat/completions" in page
    assert key.prefix in page
    assert poll(member, page) == (204, "")
    refuse(key.id, "model_not_allowed", request_id="req_a")
    status, fragment = poll(member, page)
    assert status == 200
    assert "<html" not in fragment
    assert f"A request came, and was refused: {help_of('model_not_allowed').title}" in fragment
    assert "Sent: model_not_allowed." in fragment
    assert "What to do:" in fragment
    assert f'href="/keys/{key.id}"' in fragment
    assert poll(member, fragment) == (204, "")
    clock.forward(seconds=5)
    send(key.id, "provider_error", 401, cost_nanos=0)
    status, fragment = poll(member, fragment)
    assert "but the provider answered 401" in fragment
    clock.forward(seconds=5)
    refuse(key.id, "ip_blocked", request_id="req_b")
    assert help_of("ip_blocked").title in poll(member, fragment)[1]
    clock.forward(seconds=5)
    send(key.id)
    status, fragment = poll(member, fragment)
    assert "The first request has landed" in fragment
    assert "gpt-4o-mini answered the key “first app” in 412 ms." in fragment
    assert "exactly $0.00000165" in fragment
    assert "hx-get" not in fragment, "there is nothing to wait for any more"
    assert "has landed" in member.get("/overview").text
    clock.forward(hours=1, seconds=1)
    member = enter("member")
    assert "first request" not in member.get("/overview").text.lower()
    left_open = member.get("/overview/first-request", headers={"HX-Request": "true"})
    assert left_open.headers["HX-Refresh"] == "true", "a page that still waits is loaded again"
    assert member.get("/overview/first-request").headers["Location"] == "/overview"


def test_without_a_key_the_guide_says_what_is_missing(
    enter: Callable[[str], FlaskClient], app: Flask, api: Api, org_id: str
) -> None:
    for key in api("GET", "/v1/keys").get_json()["data"]:
        api("DELETE", f"/v1/keys/{key['id']}")
    assert "Create the first key" in enter("member").get("/overview").text
    page = enter("viewer").get("/overview").text
    assert "A member or an administrator creates it" in page
    assert "first-curl" not in page


def test_who_lost_the_secret_is_told_what_they_may_do(enter: Callable[[str], FlaskClient]) -> None:
    for role, words in (("viewer", "ask a member or an administrator for another"), ("member", "create another</a>")):
        page = enter(role).get("/overview").text
        assert words in page
        assert ("/keys/new" in page) == (role == "member"), "a viewer would be refused there"


def test_the_month_before_may_be_shorter(
    enter: Callable[[str], FlaskClient], app: Flask, org_id: str, clock: Clock
) -> None:
    clock.forward(days=127)  # to the 31st of March
    assert clock().date() == date(2027, 3, 31)
    with app.app_context():
        use(org_id, "key_1", 6_000_000_000, date(2027, 3, 31))
        use(org_id, "key_1", 8_000_000_000, date(2027, 2, 28))
    page = enter("viewer").get("/overview").text
    assert figure(page, "month-title") == "$6.00 / 25 % less than $8.00 from 1 to 28 Feb 2027"


def test_one_request_is_one(member: FlaskClient, app: Flask, org_id: str) -> None:
    with app.app_context():
        use(org_id, "key_1", 1_000_000_000, TODAY)
    assert figure(member.get("/overview").text, "today-title") == "$1.00 / 1 request"


def test_others_see_nothing_of_it(app: Flask, stranger: Api, member: FlaskClient, refuse: Say) -> None:
    theirs = stranger.create(name="theirs")["id"]
    with app.app_context():
        use("org_other", theirs, 10**12)
        with writing() as session:
            known = {"org_id": "org_other", "count": 1, "status": 403, "sentence": "theirs", "request_id": "req_1"}
            session.add(Refusal(key_id=theirs, reason="ip_blocked", last_at=app.extensions["clock"](), **known))
    page = member.get("/overview").text
    assert theirs not in page
    assert figure(page, "today-title") == "$0.00 / 0 requests"
    assert looks(page)["refused lately"][0] == "0"
