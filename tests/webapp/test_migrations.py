"""One suite for both databases; PostgreSQL runs when its programs are on the machine."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from dashboard_kit import Api, environment
from flask import Flask
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import DBAPIError
from werkzeug.test import TestResponse

from shared.config import Settings
from shared.db import Base
from shared.models import AuditEvent, ProxyKey, UsageDaily, UsageRecord
from webapp import create_app
from webapp.actions import Actor
from webapp.actions.keys import CreatedKey, create_key
from webapp.bootstrap import BootstrapReport, bootstrap
from webapp.db import db, writing

T = TypeVar("T")


@pytest.fixture(params=["sqlite", "postgresql"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Flask, BootstrapReport]]:
    """The app and the report of a first start on each kind of database."""
    environ = environment(tmp_path / "made")
    if request.param == "postgresql":
        environ["DATABASE_URL"] = request.getfixturevalue("postgres")
    settings = Settings.from_env(environ)
    report = bootstrap(settings)
    app = create_app(settings)
    yield app, report
    with app.app_context():
        if request.param == "postgresql":
            with db.engine.begin() as connection:
                connection.execute(text("DROP SCHEMA public CASCADE"))
                connection.execute(text("CREATE SCHEMA public"))
        db.engine.dispose()


def api_of(made: tuple[Flask, BootstrapReport]) -> Api:
    app, report = made
    assert report.management_token is not None
    return Api(app.test_client(), report.management_token)


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


def test_the_tables_are_those_of_the_models(made: tuple[Flask, BootstrapReport]) -> None:
    app, _ = made
    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


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


@pytest.mark.parametrize("change", ["DELETE FROM usage_daily", "UPDATE usage_daily SET cost_nanos = cost_nanos - 1"])
def test_daily_sums_only_rise(made: tuple[Flask, BootstrapReport], change: str) -> None:
    """S6."""
    app, report = made
    row = UsageDaily(key_id="key_x", day=date(2026, 11, 24), provider="openai", model="m", org_id=report.org_id)
    row.requests = row.input_tokens = row.output_tokens = row.cost_nanos = 5
    with app.app_context():
        with writing() as session:
            session.add(row)
        with pytest.raises(DBAPIError, match="only rises"), writing() as session:
            session.execute(text(change))
        with writing() as session:
            session.execute(update(UsageDaily).values(cost_nanos=UsageDaily.cost_nanos + 1))
        assert db.session.scalar(select(UsageDaily.cost_nanos)) == 6


def record(org_id: str) -> UsageRecord:
    return UsageRecord(
        id="attempt",
        org_id=org_id,
        key_id="key_x",
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
        admitted_at=datetime(2026, 11, 24, tzinfo=UTC),
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
