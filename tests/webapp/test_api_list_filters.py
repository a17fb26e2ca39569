"""Lists of keys: filters, sorts, totals; and that a page begins in an index and reads no further than it has to."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from dashboard_kit import START, Api, Clock
from flask import Flask
from sqlalchemy import update
from werkzeug.test import TestResponse

from shared.ids import new_id
from shared.models import KeySpend, ProxyKey, Refusal
from shared.periods import FIRST_DAY
from webapp.db import db, writing
from webapp.queries import key_candidates

Sql = list[tuple[str, Any]]
TODAY = START.date()


def names(response: TestResponse) -> list[str]:
    assert response.status_code == 200, response.text
    return [key["name"] for key in response.get_json()["data"]]


@pytest.fixture
def spent(app: Flask) -> Callable[..., None]:
    """`spent(key_id, nanos, day)`: what the ledger has of a key, in all and on a day."""

    def spent(key_id: str, nanos: int, day: date = TODAY) -> None:
        with app.app_context(), writing() as session:
            for place in (FIRST_DAY, day):
                session.add(KeySpend(key_id=key_id, day=place, generation=0, base_nanos=0, total_nanos=nanos))

    return spent


@pytest.fixture
def sql(app: Flask) -> Iterator[Sql]:
    """The statements that are sent meanwhile."""
    sent: Sql = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        sent.append((statement, parameters))

    with app.app_context():
        engine = db.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(engine, "before_cursor_execute", note)


def test_it_works(api: Api, spent: Callable[..., None]) -> None:
    for name, nanos in (("poor", 5), ("rich", 9_000_000_000), ("middle", 70)):
        spent(api.create(name=name)["id"], nanos)
    api.create(name="none")
    assert names(api("GET", "/v1/keys?sort=-spend"))[:3] == ["rich", "middle", "poor"]
    assert set(names(api("GET", "/v1/keys?sort=-spend"))[3:]) == {"none", "demo"}
    assert names(api("GET", "/v1/keys?sort=spend"))[2:] == ["poor", "middle", "rich"]


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("name", ["spend", "last_used", "expires_at", "created_at", "name"])
def test_pages_join_to_the_whole(
    api: Api, app: Flask, clock: Clock, spent: Callable[..., None], name: str, sign: str
) -> None:
    """Also where some keys have no value, and where several have the same."""
    for number in range(9):
        expiry = None if number % 3 == 0 else f"2027-01-0{number % 2 + 1}T00:00:00Z"
        key_id = api.create(name=f"key {number % 4}", expires_at=expiry)["id"]
        if number % 4 != 1:
            spent(key_id, number % 3 + 1)
            with app.app_context(), writing() as session:
                at = START + timedelta(seconds=number % 2)
                session.execute(update(ProxyKey).where(ProxyKey.id == key_id).values(last_used_at=at))
    whole = [key["id"] for key in api("GET", f"/v1/keys?sort={sign}{name}").get_json()["data"]]
    assert len(set(whole)) == 10
    turned = "" if sign else "-"
    assert whole == [key["id"] for key in api("GET", f"/v1/keys?sort={turned}{name}").get_json()["data"]][::-1]
    for limit in (1, 3, 9):
        joined, cursor = [], ""
        while True:
            page = api("GET", f"/v1/keys?sort={sign}{name}&limit={limit}{cursor}").get_json()
            joined += [key["id"] for key in page["data"]]
            if not page["has_more"]:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert joined == whole


def test_filters(api: Api, clock: Clock) -> None:
    api.create(name="any provider")
    api.create(name="gemini only", allowed_providers=["gemini"], allowed_models=["gemini-2.5*"])
    api.create(name="two", allowed_providers=["openai", "gemini"])
    paused = api.create(name="paused", paused=True)
    api("DELETE", f"/v1/keys/{api.create(name='revoked')['id']}")
    assert set(names(api("GET", "/v1/keys?provider=openai&q=o"))) == {"any provider", "two", "revoked", "demo"}
    assert set(names(api("GET", "/v1/keys?provider=gemini&status=active"))) == {
        "any provider", "gemini only", "two", "demo",
    }  # fmt: skip
    assert names(api("GET", "/v1/keys?q=Gemini-2")) == ["gemini only"]
    for query in ("status=paused&status=revoked", "status=paused,revoked"):
        assert names(api("GET", f"/v1/keys?{query}")) == ["revoked", "paused"]
    assert names(api("GET", "/v1/keys?created_by=system")) == ["demo"]
    assert len(names(api("GET", f"/v1/keys?created_by={paused['created_by']}"))) == 5
    assert names(api("GET", "/v1/keys?created_by=nobody")) == []
    assert names(api("GET", f"/v1/keys?created_by={'x' * 242}@example.com")) == [], "an email may be as long as that"


def test_attention(api: Api, app: Flask, org_id: str, clock: Clock, spent: Callable[..., None]) -> None:
    fine = {"spend_limit_usd": "5"}
    api.create(name="expires soon", expires_at="2026-12-01T12:00:00Z", **fine)
    api.create(name="expires later", expires_at="2026-12-31T12:00:01Z", **fine)
    spent(api.create(name="near", spend_limit_usd="0.000000010")["id"], 8)
    spent(api.create(name="not near", spend_limit_usd="0.000000011")["id"], 8)
    spent(api.create(name="near this week", spend_limit_usd="0.00000001", spend_reset="weekly")["id"], 9)
    last_week = TODAY - timedelta(days=7)
    spent(api.create(name="near last week", spend_limit_usd="0.00000001", spend_reset="weekly")["id"], 9, last_week)
    spent(api.create(name="no limit")["id"], 10**15)
    api.create(name="blocked", spend_limit_usd="0")
    api.create(name="paused", spend_limit_usd="0", paused=True)
    for name, reason, hours, used in (
        ("refused", "rate_limited", 23, 0),
        ("refused long ago", "rate_limited", 25, None),
        ("shut out", "ip_blocked", 167, None),
        ("shut out after use", "ip_blocked", 167, 168),
        ("used since", "ip_blocked", 167, 166),
        ("shut out long ago", "ip_blocked", 169, None),
        ("resumed", "key_paused", 25, None),
    ):
        key_id = api.create(name=name, **fine)["id"]
        with app.app_context(), writing() as session:
            told = {"count": 1, "status": 403, "sentence": "No.", "request_id": "req_1"}
            at = clock() - timedelta(hours=hours)
            session.add(Refusal(key_id=key_id, reason=reason, org_id=org_id, last_at=at, **told))
            if used is not None:
                moment = clock() - timedelta(hours=used)
                session.execute(update(ProxyKey).where(ProxyKey.id == key_id).values(last_used_at=moment))
    near, refused = {"near", "near this week", "blocked"}, {"refused", "shut out", "shut out after use"}
    wanted = near | refused | {"expires soon", "no limit"}
    for query, found in (("near_limit", near), ("expiring", {"expires soon"}), ("refused", {"refused"})):
        assert set(names(api("GET", f"/v1/keys?{query}=true"))) == found
        assert names(api("GET", f"/v1/keys?{query}=true&status=paused,expired,revoked")) == []
    assert set(names(api("GET", "/v1/keys?attention=true"))) == wanted
    assert set(names(api("GET", "/v1/keys?attention=true&has_limit=true"))) == wanted - {"no limit"}
    assert "not near" in names(api("GET", "/v1/keys?attention=false"))
    assert names(api("GET", "/v1/keys?dormant=true")) == []
    clock.forward(days=30)
    assert "not near" in names(api("GET", "/v1/keys?attention=true")), "it is dormant by now"
    assert set(names(api("GET", "/v1/keys?dormant=true"))) == {
        "expires later", "near", "not near", "near this week", "near last week", "no limit", "blocked", "refused",
        "refused long ago", "shut out", "shut out after use", "used since", "shut out long ago", "resumed",
    }  # fmt: skip


def test_with_and_without_a_limit(api: Api) -> None:
    api.create(name="limited", spend_limit_usd="0")
    api.create(name="rate alone", rate_limit_rpm=1)
    api("DELETE", f"/v1/keys/{api.create(name='revoked', spend_limit_usd='1')['id']}")
    limits = [{"model": "*", "spend_limit_usd": "2"}]
    api.create(name="of models", model_limits=limits)
    api("PATCH", f"/v1/keys/{api.create(name='no more', model_limits=limits)['id']}", {"model_limits": []})
    assert set(names(api("GET", "/v1/keys?has_limit=true"))) == {"limited", "revoked", "demo", "of models"}
    assert set(names(api("GET", "/v1/keys?has_limit=true&status=active"))) == {"limited", "demo", "of models"}
    assert set(names(api("GET", "/v1/keys?has_limit=false"))) == {"rate alone", "no more"}
    assert "of models" not in names(api("GET", "/v1/keys?attention=true"))


def test_a_total_is_counted_when_it_is_asked_for(api: Api, sql: Sql) -> None:
    for _ in range(3):
        api.create(name="counted")
    sql.clear()
    assert "total" not in api("GET", "/v1/keys?limit=1").get_json()
    assert not [statement for statement, _ in sql if "count(" in statement]
    assert api("GET", "/v1/keys?limit=1&total=true&q=counted").get_json()["total"] == 3


@pytest.mark.parametrize("sort", ["-created_at", "created_at", "-last_used_at", "expires_at", "-expires_at", "-spend"])
def test_a_page_begins_in_an_index(
    api: Api, app: Flask, org_id: str, sql: Sql, sort: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """N4: no sort of all keys, and no walk over those before the cursor."""
    monkeypatch.setattr(key_candidates, "FEW", -1)  # so that these few are not looked up
    with app.app_context(), writing() as session:
        for number in range(300):
            moment = START + timedelta(minutes=number)
            key_id = new_id("key")
            session.add(
                ProxyKey(
                    id=key_id, org_id=org_id, name=f"k{number}", prefix="p", created_at=moment, created_by="x",
                    last_used_at=moment if number % 2 else None, expires_at=moment + timedelta(days=9) if number % 3 else None,
                )
            )  # fmt: skip
            session.add(KeySpend(key_id=key_id, day=FIRST_DAY, generation=0, base_nanos=0, total_nanos=number))
    cursor = api("GET", f"/v1/keys?sort={sort}&limit=30").get_json()["next_cursor"]
    sql.clear()
    assert len(names(api("GET", f"/v1/keys?sort={sort}&limit=10&cursor={cursor}"))) == 10
    asked = [(statement, told) for statement, told in sql if "ORDER BY" in statement]
    assert len(asked) == 1
    with app.app_context(), db.engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[0][0]}", asked[0][1])]
    assert not [step for step in plan if "TEMP B-TREE" in step], plan
    column = {"spend": "total_nanos"}.get(sort.removeprefix("-"), sort.removeprefix("-"))
    assert f"{column}" in plan[0] or f"({column}" in plan[0], plan


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("provider=Mistral", "provider"),
        ("attention=yes", "attention"),
        ("has_limit=1", "has_limit"),
        ("has_limit=", "has_limit"),
        ("dormant=yes", "dormant"),
        ("near_limit=yes", "near_limit"),
        ("expiring=1", "expiring"),
        ("refused=", "refused"),
        ("total=1", "total"),
        ("created_by=%00", "created_by"),
        ("status=active,open", "status"),
        ("sort=spent", "sort"),
        ("sort=-spend&cursor=WyItc3BlbmQiLCAteCwgImtleV8xIl0", "cursor"),
        ("sort=-spend&cursor=WyItc3BlbmQiLCAiMSIsICJrZXlfMSJd", "cursor"),
        ("sort=name&cursor=WyJuYW1lIiwgIlx1ZDgwMCIsICJrZXlfMSJd", "cursor"),
        ("sort=name&cursor=WyJuYW1lIiwgIlx1MDAwMCIsICJrZXlfMSJd", "cursor"),
    ],
)
def test_nonsense_is_named(api: Api, query: str, field: str) -> None:
    response = api("GET", f"/v1/keys?{query}")
    assert response.status_code == 422
    assert {error["field"] for error in response.get_json()["errors"]} == {field}
