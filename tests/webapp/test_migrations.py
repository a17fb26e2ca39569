"""One suite for both databases; PostgreSQL runs when its programs are on the machine."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TypeVar

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from databases_kit import api_of
from flask import Flask
from plans_kit import plans_of
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import DBAPIError
from werkzeug.test import TestResponse

from shared.models import REVISION, AuditEvent, ManagementToken, ProxyKey, UsageRecord, metadata
from webapp.actions.keys import CreatedKey, create_key
from webapp.bootstrap import BootstrapReport
from webapp.context import Actor, NotFound
from webapp.db import db, writing
from webapp.queries.recent import requests_since
from webapp.queries.requests import requests_of_key
from webapp.schemas.explain import RequestQuery

T = TypeVar("T")


def test_it_works(made: tuple[Flask, BootstrapReport]) -> None:
    api = api_of(made)
    created = api.create(
        name="Größe", expires_at="2030-01-01T00:00:00.123456+01:00", spend_limit_usd="9007199.254740991"
    )
    assert created["expires_at"] == "2029-12-31T23:00:00.123456Z"
    assert created["spend_limit_usd"] == "9007199.254740991"
    assert api("PATCH", f"/v1/keys/{created['id']}", {"allowed_ips": ["::1"]}).headers["ETag"] == '"v2"'
    for sort in ("created_at", "name", "-last_used_at", "-expires_at"):
        page = api("GET", f"/v1/keys?limit=1&sort={sort}&status=active").get_json()
        rest = api("GET", f"/v1/keys?limit=1&sort={sort}&status=active&cursor={page['next_cursor']}").get_json()
        assert {page["data"][0]["name"], rest["data"][0]["name"]} == {"Größe", "demo"}
        assert not rest["has_more"]
    assert len(api("GET", "/v1/keys?q=gr%C3%B6").get_json()["data"]) == 1
    assert api("DELETE", f"/v1/keys/{created['id']}").get_json()["status"] == "revoked"
    assert api("GET", f"/v1/keys/{created['id']}/usage?group_by=model").get_json()["data"] == []


# SQLAlchemy cannot read an index of an expression back from SQLite, and says so.
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index ix_proxy_keys_org_id_name")
def test_the_tables_are_those_of_the_models(made: tuple[Flask, BootstrapReport]) -> None:
    """But for what holds on one database alone, as SQLAlchemy has no words for that: trigrams, the order of names, REPLACE."""
    own = ("key_search_trigrams", "ix_key_search_trigrams", "ix_proxy_keys_org_id_name", "sums_in_the_way")

    def is_told(name: str | None, *_: object) -> bool:
        return name is None or not name.startswith(own)

    app, _ = made
    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": is_told})
        assert compare_metadata(context, metadata()) == []
        assert context.get_current_heads() == (REVISION,)


@pytest.mark.parametrize("model", [UsageRecord, AuditEvent])
def test_ledger_and_audit_log_stay_as_written(
    made: tuple[Flask, BootstrapReport], model: type[UsageRecord | AuditEvent]
) -> None:
    app, report = made
    with app.app_context():
        with writing() as session:
            session.add(record(report.org_id))
        before = db.session.scalar(select(func.count()).select_from(model))
        for change in (update(model).values(org_id="x"), delete(model)):
            with pytest.raises(DBAPIError, match="append-only"), writing() as session:
                session.execute(change)
        if db.engine.dialect.name == "postgresql":
            with pytest.raises(DBAPIError, match="append-only"), writing() as session:
                session.execute(text(f"TRUNCATE {model.__tablename__}"))
        if db.engine.dialect.name == "sqlite":
            name = model.__tablename__
            with pytest.raises(DBAPIError, match="append-only"), writing() as session:
                session.execute(text(f"INSERT OR REPLACE INTO {name} SELECT * FROM {name}"))
        assert before is not None
        assert db.session.scalar(select(func.count()).select_from(model)) == before > 0


@pytest.mark.parametrize("analyzed", [False, True])
def test_recent_use_of_a_key_is_found_by_the_key_not_by_its_organisation(
    made: tuple[Flask, BootstrapReport], analyzed: bool
) -> None:
    """N6: the question before a revocation must not grow with the traffic of all other keys."""
    app, report = made
    api = api_of(made)
    mine, other = api.create()["id"], api.create()["id"]
    since = datetime(2026, 11, 24, tzinfo=UTC)
    with app.app_context():
        with writing() as session:
            for number in range(2_000):
                key_id, moment = (other if number % 100 else mine), since + timedelta(minutes=number - 1_000)
                session.add(record(report.org_id, number=number, key_id=key_id, admitted_at=moment))
        if analyzed:
            with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("ANALYZE")
        requests, plans = plans_of(lambda: requests_since(report.org_id, mine, since), "usage_records")
        assert requests == 10
        assert len(plans) == 1
        assert "ix_usage_records_key_id_admitted_at" in plans[0]
        page = requests_of_key(report.org_id, mine, RequestQuery(limit=8))
        for cursor in (None, page.next_cursor):
            rest, plans = plans_of(
                partial(requests_of_key, report.org_id, mine, RequestQuery(cursor=cursor)), "usage_records"
            )
            assert len(rest.items) == (20 if cursor is None else 12)
            assert "ix_usage_records_key_id_admitted_at" in plans[0]
            assert cursor is None or "admitted_at<" in plans[0].replace(" ", "")  # it begins where the page does
        with pytest.raises(NotFound):
            requests_since("org_other", mine, since)


def test_a_rate_of_zero_becomes_a_pause(empty: Flask) -> None:
    """C15. Keys and their secrets are all there afterwards, and nothing sets such a rate again."""
    at = datetime(2026, 11, 24, tzinfo=UTC)
    directory = empty.extensions["migrate"].directory
    with empty.app_context():
        flask_migrate.upgrade(directory, revision="0002")
        older = sa.MetaData()
        with db.engine.connect().execution_options(writes=True) as connection, connection.begin():
            older.reflect(connection)
            tables = older.tables
            connection.execute(tables["organizations"].insert().values(id="org_1", name="o", created_at=at))
            for key_id, rpm in (("key_0", 0), ("key_7", 7), ("key_n", None)):
                lists: dict[str, list[str]] = {f"allowed_{what}": [] for what in ("providers", "models", "ips")}
                row: dict[str, object] = {
                    "id": key_id,
                    "org_id": "org_1",
                    "name": "k",
                    "prefix": "p",
                    "rate_limit_rpm": rpm,
                    **lists,
                }
                row |= {"spend_reset": "never", "created_at": at, "created_by": "x", "version": 3}
                connection.execute(tables["proxy_keys"].insert().values(row))
                connection.execute(tables["key_secrets"].insert().values(digest=key_id, key_id=key_id, created_at=at))
        flask_migrate.upgrade(directory)
        found = db.session.scalars(select(ProxyKey).order_by(ProxyKey.id)).all()
        assert [(key.id, key.paused, key.rate_limit_rpm, key.version) for key in found] == [
            ("key_0", True, None, 4),
            ("key_7", False, 7, 3),
            ("key_n", False, None, 3),
        ]
        assert [len(key.secrets) for key in found] == [1, 1, 1]
        event = db.session.scalars(select(AuditEvent)).one()
        assert (event.actor, event.action, event.target, event.org_id) == ("system", "key.update", "key_0", "org_1")
        assert event.before == {"paused": False, "rate_limit_rpm": 0}
        assert event.after == {"paused": True, "rate_limit_rpm": None}
        for rate in (0, -1):
            with pytest.raises(DBAPIError, match="rate_limit_rpm"), writing() as session:
                session.execute(update(ProxyKey).values(rate_limit_rpm=rate))
            key = ProxyKey(id="key_x", org_id="org_1", name="k", prefix="p", created_at=at, created_by="x")
            key.rate_limit_rpm = rate
            with pytest.raises(DBAPIError, match="rate_limit_rpm"), writing() as session:
                session.add(key)
        with writing() as session:
            session.execute(update(ProxyKey).values(rate_limit_rpm=1))


def test_who_could_do_everything_administers_no_more_but_for_the_first_token(empty: Flask) -> None:
    """S14: of tokens with all three scopes most were made for keys and usage."""
    at = datetime(2026, 11, 24, tzinfo=UTC)
    directory = empty.extensions["migrate"].directory
    every = ["keys:read", "keys:write", "usage:read"]
    made = {
        "tok_first": ("bootstrap", "system", every),
        "tok_narrow": ("bootstrap", "system", ["keys:read"]),
        "tok_named": ("bootstrap", "ann@example.com", every),
        "tok_other": ("ci", "system", every),
    }
    with empty.app_context():
        flask_migrate.upgrade(directory, revision="0013")
        older = sa.MetaData()
        with db.engine.connect().execution_options(writes=True) as connection, connection.begin():
            older.reflect(connection, only=["organizations", "management_tokens"])
            connection.execute(older.tables["organizations"].insert().values(id="org_1", name="o", created_at=at))
            for token_id, (name, maker, scopes) in made.items():
                row: dict[str, object] = {
                    "id": token_id,
                    "org_id": "org_1",
                    "name": name,
                    "prefix": "p",
                    "digest": token_id,
                }
                row |= {"scopes": scopes, "created_at": at, "created_by": maker}
                connection.execute(older.tables["management_tokens"].insert().values(row))
        flask_migrate.upgrade(directory)
        found = {token.id: token.scopes for token in db.session.scalars(select(ManagementToken))}
        assert found == {
            **{token_id: scopes for token_id, (_, _, scopes) in made.items()},
            "tok_first": [*every, "admin"],
        }


def record(
    org_id: str, *, number: int = 0, key_id: str = "key_x", admitted_at: datetime = datetime(2026, 11, 24, tzinfo=UTC)
) -> UsageRecord:
    return UsageRecord(
        id=f"attempt {number}",
        org_id=org_id,
        key_id=key_id,
        provider="openai",
        endpoint="/v1/chat/completions",
        streamed=False,
        outcome="ok",
        flags=[],
        usage={},
        input_tokens=1,
        output_tokens=1,
        bound_nanos=1,
        cost_nanos=1,
        day=date(2026, 11, 24),
        admitted_at=admitted_at,
        duration_ms=1,
    )


def together(number: int, call: Callable[[int], T]) -> list[T]:
    """Run `call(i)` in threads that start at the same moment; answer with what each returned. Raises what one raised."""
    barrier = threading.Barrier(number)

    def run(i: int) -> T:
        barrier.wait()
        return call(i)

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(run, range(number)))


def test_one_idempotency_key_makes_one_key_at_once(made: tuple[Flask, BootstrapReport]) -> None:
    """D22."""
    app, report = made
    actor = Actor(report.org_id, "system", None)

    def create(_: int) -> CreatedKey:
        with app.app_context():
            return create_key(actor, {"name": "once"}, idempotency_key="same")

    created = together(8, create)
    assert len({answer.view.id for answer in created}) == 1
    assert sum(answer.secret is not None for answer in created) == 1
    with app.app_context():
        assert db.session.scalar(select(func.count()).where(ProxyKey.name == "once")) == 1


def test_two_admins_lose_no_update(made: tuple[Flask, BootstrapReport]) -> None:
    """D21: without If-Match both patches hold; with it the second is told."""
    api = api_of(made)
    path = f"/v1/keys/{api.create()['id']}"

    def patch(document: object, headers: dict[str, str]) -> TestResponse:
        return api_of(made)("PATCH", path, document, headers=headers)

    fields = [{"name": "n"}, {"rate_limit_rpm": 5}, {"spend_limit_usd": "1"}, {"allowed_ips": ["::1"]}]
    answers = together(4, lambda i: patch(fields[i], {}))
    assert [answer.status_code for answer in answers] == [200] * 4
    shown = api("GET", path)
    assert shown.headers["ETag"] == '"v5"'
    document = shown.get_json()
    assert (document["name"], document["rate_limit_rpm"], document["spend_limit_usd"]) == ("n", 5, "1.00")
    answers = together(4, lambda i: patch({"name": f"name {i}"}, {"If-Match": '"v5"'}))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
