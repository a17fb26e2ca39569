"""Adjustments in `ledger verify`: each must name an estimate, and correct it to what it says itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from live_counters import LiveCounters
from sqlalchemy import text
from verify_kit import DAYS, make_keys, row, verify, write

from webapp.db import db
from webapp.queries.recent import requests_since
from webapp.queries.usage import usage_of_key


@pytest.fixture
def key(app: Flask, live: LiveCounters) -> str:
    return make_keys(app, live, 1)[0]


def estimate(key: str, nanos: int = 900_000, **fields: Any) -> dict[str, Any]:
    crashed: dict[str, Any] = {
        "outcome": "crash",
        "flags": ["crash", "estimated"],
        "counts": {},
        "price": None,
        "served_model": None,
    }
    return row(key, id="req_lost", cost_nanos=nanos, **(crashed | fields))


def adjustment(key: str, nanos: int = 900_000, **fields: Any) -> dict[str, Any]:
    """Of an estimate of `nanos`, to the price of what was used."""
    true = row(key)["cost_nanos"]
    values = {"id": "req_lost+1", "adjusts": "req_lost", "flags": ["adjustment"], "cost_nanos": true - nanos}
    return row(key, **(values | fields))


def test_it_works(app: Flask, live: LiveCounters, key: str) -> None:
    """Also of a key whose sums fall below what the estimate had been, and where it was corrected twice."""
    better = adjustment(key, cost_nanos=-400_000, flags=["adjustment", "crash"], counts={}, price=None)
    last = adjustment(key, 500_000, id="req_lost+2")
    write(app, [estimate(key), better, last], live)
    code, said = verify(app)
    assert (code, said["differences"]) == (0, [])
    assert (said["rows"], said["crashed"], said["adjusted"]) == (3, 1, 2)


def test_it_is_no_request(app: Flask, live: LiveCounters, key: str) -> None:
    write(app, [estimate(key), adjustment(key)], live)
    with app.app_context():
        (org,) = db.session.execute(text("select org_id from proxy_keys where id = :key"), {"key": key}).one()
        table = usage_of_key(org, key, *DAYS, "model")
        since = datetime(2026, 1, 1, tzinfo=UTC)
        assert requests_since(org, key, since) == 1
        assert requests_since(org, key, since + timedelta(days=400)) == 0
    (line,) = table.lines
    assert (line.group, line.requests, line.input_tokens, line.output_tokens) == ("gpt-4o", 1, 1003, 7)
    assert line.cost_nanos == row(key)["cost_nanos"]


@pytest.mark.parametrize(
    ("rows", "row_id", "field"),
    [
        (lambda key: [adjustment(key)], "req_lost+1", "adjusts"),
        (lambda key: [estimate(key), adjustment(key, flags=[])], "req_lost+1", "adjusts"),
        (lambda key: [row(key, flags=["adjustment"])], None, "adjusts"),
        (lambda key: [row(key, id="req_lost"), adjustment(key, row(key)["cost_nanos"])], "req_lost+1", "adjusts"),
        (lambda key: [estimate(key, day=DAYS[1]), adjustment(key)], "req_lost+1", "day"),
        (lambda key: [estimate(key), adjustment(key, 899_999)], "req_lost+1", "cost_nanos"),
        (lambda key: [estimate(key), adjustment(key, price=None)], "req_lost+1", "cost_nanos"),
        (lambda key: [estimate(key), adjustment(key, price={})], "req_lost+1", "price"),
        (
            lambda key: [estimate(key), adjustment(key, cost_nanos=-900_001, flags=["adjustment", "crash"])],
            "req_lost+1",
            "cost_nanos",
        ),
    ],
)
def test_one_that_is_wrong_is_named(
    app: Flask, live: LiveCounters, key: str, rows: Any, row_id: str | None, field: str
) -> None:
    posted = rows(key)
    write(app, posted, live)
    code, said = verify(app)
    (found,) = [found for found in said["differences"] if found["kind"] == "row"]
    assert code == 1
    assert (found["row_id"], found["field"]) == (row_id or posted[0]["id"], field)


def test_of_another_key(app: Flask, live: LiveCounters) -> None:
    first, second = make_keys(app, live, 2)
    write(app, [estimate(first), adjustment(second)], live)
    code, said = verify(app)
    assert code == 1
    assert {(found["row_id"], found["field"]) for found in said["differences"] if found["kind"] == "row"} == {
        ("req_lost+1", "key_id")
    }


def test_counters_that_are_outdated_are_not_compared(app: Flask, live: LiveCounters, key: str) -> None:
    write(app, [estimate(key), adjustment(key)])
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text("update accounting_state set outdated = generation"))
    code, said = verify(app)
    assert (code, said["differences"]) == (2, [])
    assert "lack something that was posted or decided meanwhile" in said["counters_problem"]
