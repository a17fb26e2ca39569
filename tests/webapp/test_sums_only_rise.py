"""S6: nothing takes money out of the sums of the ledger, on either database. `ledger verify` names what did."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.models import USAGE_CLASSES, KeySpend, UsageDaily, UsageRecord
from shared.periods import FIRST_DAY
from webapp.bootstrap import BootstrapReport
from webapp.db import db, writing

DAY, NOON = date(2026, 11, 24), datetime(2026, 11, 24, 12, tzinfo=UTC)
COUNTS = ("requests", "input_tokens", "output_tokens", *USAGE_CLASSES)
TABLES = ("usage_daily", "organization_usage", "key_spend")
FORBIDDEN = [
    *(f"UPDATE {table} SET {count} = {count} - 1" for table in TABLES[:2] for count in (*COUNTS, "cost_nanos")),
    *(f"UPDATE {table} SET {name} = 'x'" for table in TABLES[:2] for name in ("org_id", "provider", "model")),
    *(f"UPDATE {table} SET day = '2026-11-25'" for table in TABLES),
    "UPDATE usage_daily SET key_id = 'x'",
    "UPDATE key_spend SET key_id = 'x'",
    "UPDATE key_spend SET total_nanos = total_nanos - 1",
    "UPDATE key_spend SET base_nanos = 1",
    *(f"DELETE FROM {table}" for table in TABLES),
]  # fmt: skip
ALLOWED = [
    *(f"UPDATE {table} SET requests = requests + 1, cost_nanos = cost_nanos + 1" for table in TABLES[:2]),
    "UPDATE key_spend SET base_nanos = total_nanos, generation = 2, total_nanos = total_nanos + 1",
]
ADJUSTED = [
    *(f"UPDATE {table} SET cost_nanos = cost_nanos - 1" for table in TABLES[:2]),
    "UPDATE key_spend SET total_nanos = total_nanos - 1",
]


@pytest.fixture
def app(made: tuple[Flask, BootstrapReport]) -> Flask:
    """A ledger with one sum of each kind."""
    app, report = made
    sums = dict.fromkeys((*COUNTS, "cost_nanos"), 5)
    with app.app_context(), writing() as session:
        session.add(UsageDaily(key_id="key_x", day=DAY, provider="openai", model="m", org_id=report.org_id, **sums))
        for day in (FIRST_DAY, DAY):
            session.add(KeySpend(key_id="key_x", day=day, generation=1, base_nanos=0, total_nanos=5))
    return app


def sums(app: Flask) -> list[Any]:
    with app.app_context(), db.engine.connect() as connection:
        return [sorted(map(tuple, connection.execute(text(f"SELECT * FROM {table}")))) for table in TABLES]


def test_it_works(app: Flask) -> None:
    """Whatever would move, lower or remove one is refused, INSERT OR REPLACE and TRUNCATE included; rising is not."""
    before = sums(app)
    with app.app_context():
        sqlite = db.engine.dialect.name == "sqlite"
        more = "INSERT OR REPLACE INTO {0} SELECT * FROM {0}" if sqlite else "TRUNCATE {0}"
        for change in (*FORBIDDEN, *(more.format(table) for table in TABLES)):
            with pytest.raises(DBAPIError, match="only rises"), writing() as session:
                session.execute(text(change))
    assert sums(app) == before
    with app.app_context():
        for change in ALLOWED:
            with writing() as session:
                session.execute(text(change))
    assert sums(app) != before


def test_a_cost_falls_where_a_row_adjusts_it(app: Flask, made: tuple[Flask, BootstrapReport]) -> None:
    """And where a row adjusts another day, another key or another organisation it does not."""
    _, report = made

    def adjust(number: int, **of: Any) -> None:
        row: dict[str, Any] = {"org_id": report.org_id, "key_id": "key_x", "day": DAY} | of
        row |= {"provider": "openai", "endpoint": "/", "streamed": False, "outcome": "ok", "flags": [], "usage": {}}
        row |= {"input_tokens": 0, "output_tokens": 0, "bound_nanos": 0, "cost_nanos": -1, "duration_ms": 1}
        with app.app_context(), writing() as session:
            session.add(UsageRecord(id=f"row {number}", adjusts="row", admitted_at=NOON, **row))

    adjust(1, key_id="key_y", org_id="org_y")
    adjust(2, day=date(2026, 11, 23), key_id="key_y")
    with app.app_context():
        for change in ADJUSTED:
            with pytest.raises(DBAPIError, match="only rises"), writing() as session:
                session.execute(text(change))
    adjust(3)
    with app.app_context():
        for change in ADJUSTED:
            with writing() as session:
                session.execute(text(change))
