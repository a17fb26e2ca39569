"""`ledger verify` adds up what organisations used from what their keys used, and names each figure that is another."""

import contextlib
import sqlite3
from typing import Any

import pytest
from flask import Flask
from live_counters import LiveCounters
from verify_kit import DAYS, forge, make_keys, row, verify, write

from webapp.bootstrap import BootstrapReport
from webapp.db import db
from webapp.verification import counted
from webapp.verification.organizations import SUMS

OF = " WHERE org_id = 'org_1' AND day = :day AND model = 'gpt-4o-2024-08-06'"


@pytest.fixture
def app(made: tuple[Flask, BootstrapReport]) -> Flask:
    return made[0]


@pytest.fixture
def keys(app: Flask) -> list[str]:
    made = make_keys(app, None, 2)
    write(app, [row(key, day) for key in made for day in DAYS])
    return made


def of_organizations(app: Flask) -> list[dict[str, Any]]:
    """The differences, which are all of organisations' sums."""
    code, said = verify(app)
    found = said["differences"]
    assert code == (1 if found else 2), said  # no counters are there to be compared
    assert {one["kind"] for one in found} <= {"organization"}
    assert {one["key_id"] for one in found} <= {None}
    return [{name: one[name] for name in ("org_id", "day", "field", "expected", "found")} for one in found]


def test_it_works(app: Flask, keys: list[str]) -> None:
    assert of_organizations(app) == []
    assert verify(app)[1]["organization_days"] == 2
    assert verify(app, "--key", keys[0])[1]["organization_days"] == 0
    result = app.test_cli_runner().invoke(args=["ledger", "verify"])
    assert "sums of organisations on 2 days were compared with those of their keys" in result.stdout.splitlines()


@pytest.mark.parametrize("column", SUMS)
def test_a_wrong_sum_is_named(app: Flask, keys: list[str], column: str) -> None:
    forge(app, f"UPDATE organization_usage SET {column} = {column} + 3{OF}", day=DAYS[1])
    (found,) = of_organizations(app)
    assert (found["org_id"], found["day"], found["field"]) == ("org_1", "2026-11-24", column)
    assert found["found"] - found["expected"] == 3
    said = app.test_cli_runner().invoke(args=["ledger", "verify"]).stdout
    assert f"sum of organisation org_1 on 2026-11-24 for openai gpt-4o-2024-08-06: {column} is" in said


def test_a_sum_that_is_missing_or_of_nothing_is_named(app: Flask, keys: list[str]) -> None:
    forge(app, f"DELETE FROM organization_usage{OF}", "organization_usage_refuse_delete", day=DAYS[0])
    assert of_organizations(app) == [
        {"org_id": "org_1", "day": "2026-11-23", "field": "requests", "expected": 2, "found": None}
    ]
    names, ones = ", ".join(SUMS), ", ".join("1" if name == "requests" else "0" for name in SUMS)
    forge(app, f"INSERT INTO organization_usage (org_id, day, provider, model, {names}) "
               f"VALUES ('org_9', :day, 'openai', 'm', {ones})", day=DAYS[0])  # fmt: skip
    assert {(one["org_id"], one["expected"], one["found"]) for one in of_organizations(app)} == {
        ("org_1", 2, None),
        ("org_9", 0, 1),
    }


def test_what_was_replaced_behind_the_triggers_is_named(app: Flask, keys: list[str]) -> None:
    """S6: by somebody who took the trigger away that refuses it."""
    with app.app_context():
        if db.engine.dialect.name != "sqlite":
            pytest.skip("PostgreSQL has no REPLACE")
        with contextlib.closing(sqlite3.connect(db.engine.url.database or "")) as stranger, stranger:
            stranger.execute("DROP TRIGGER usage_daily_refuse_replace")
            stranger.execute("INSERT OR REPLACE INTO usage_daily SELECT * FROM usage_daily LIMIT 1")
    assert {one["field"] for one in of_organizations(app)} >= {"requests", "cost_nanos"}


def test_what_its_counters_say_is_compared_with_what_all_its_keys_cost(
    app: Flask, live: LiveCounters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only of one that has limits: of others there are no counters."""
    monkeypatch.setattr(counted, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(counted, "ROUND_SECONDS", 0.01)
    keys = make_keys(app, live, 2)
    write(app, [row(key, day) for key in keys for day in DAYS], live)
    cost = row(keys[0])["cost_nanos"]
    insert = "INSERT INTO organizations (id, name, created_at, rate_limit_rpm) VALUES ('org_1', 'a', '2026-01-01', 5)"
    forge(app, insert)
    assert verify(app)[1]["counters_unknown"] == 2, "it was not used since they were made; nor was the demo key"
    live.seed("org_1", 4 * cost, dict.fromkeys(DAYS, 2 * cost))
    code, said = verify(app)
    assert (code, said["differences"], said["counters_agree"]) == (0, [], 3)
    live.spend("org_1", DAYS[1], 3)
    code, said = verify(app)
    assert code == 1
    assert [(one["kind"], one["key_id"], one["found"] - one["expected"]) for one in said["differences"]] == [
        ("counters", "org_1", 3), ("counters", "org_1", 3),
    ]  # fmt: skip
    live.hold("org_1", 5)
    code, said = verify(app)
    assert (code, said["organizations_busy"], said["counters_busy"]) == (0, ["org_1"], 1)
    lines = app.test_cli_runner().invoke(args=["ledger", "verify"]).stdout.splitlines()
    assert "counters of these organisations were seen to be no less than the ledger, and no more: org_1" in lines
    forge(app, "UPDATE organization_usage SET cost_nanos = cost_nanos + 9" + OF, day=DAYS[1])
    differences = [one for one in verify(app)[1]["differences"] if one["kind"] == "counters"]
    assert [(one["key_id"], one["field"], one["found"] - one["expected"]) for one in differences] == [
        ("org_1", "spent_nanos", -1)  # 3 too many, 5 held, and 9 that nobody told them of
    ]
