"""`ledger verify`: what agrees is said to agree, and each figure that was changed behind the router's back is named."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from databases_kit import begun, leaving_nothing
from flask import Flask
from live_counters import LiveCounters
from sqlalchemy import insert, text
from verify_kit import ALL_DAYS, DAYS, forge, make_keys, row, verify, write

from shared.config import Settings
from shared.models import UsageRecord
from webapp.db import db
from webapp.verification import counted, ledger


@pytest.fixture
def app(either: Settings) -> Iterator[Flask]:
    begun(either)
    with leaving_nothing(either, clock=lambda: datetime(2026, 11, 24, 12, tzinfo=UTC)) as app:
        yield app
        app.extensions["counters"].close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference of the counters need not stand still for seconds where nothing else is running."""
    monkeypatch.setattr(counted, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(counted, "ROUND_SECONDS", 0.01)


@pytest.fixture
def keys(app: Flask, live: LiveCounters) -> list[str]:
    """Three keys with a limit, in the order of their ids, of which the counters know that nothing was spent before."""
    return make_keys(app, live, 3)


@pytest.fixture
def rows(app: Flask, live: LiveCounters, keys: list[str]) -> list[dict[str, Any]]:
    """A ledger in which all agrees: rows of every kind."""
    odd = [
        row(keys[0], counts={"input_tokens": 1000, "cache_read_tokens": 300, "output_tokens": 9}),
        row(keys[0], counts={"input_tokens": 5, "cache_read_tokens": 30, "output_tokens": 9}),  # parts exceed their whole
        row(keys[0], counts={"input_tokens": 900, "unknown_input_tokens": 40, "output_tokens": 9}),
        row(keys[0], counts={"input_tokens": -3, "output_tokens": 10**12}, input_tokens=-3, flags=["clamped"]),
        row(keys[1], DAYS[1], counts={"input_tokens": 10, "output_tokens": 3}, flags=["estimated"]),
        row(keys[1], DAYS[1], counts={"input_tokens": 10}, served_model="no-such-model", requested_model=None, price=None,
            cost_nanos=0, flags=["unpriced"]),
        row(keys[1], counts={}, price=None, cost_nanos=4_321, flags=["crash", "estimated"], outcome="crash", id="req_crash"),
        row(keys[1], counts={}, price=None, cost_nanos=17 - 4_321, flags=["adjustment", "crash"], adjusts="req_crash"),
        row(keys[1], counts={}, price=None, cost_nanos=0, served_model=None, requested_model=None),
    ]  # fmt: skip
    posted = [row(key, day) for key in keys for day in DAYS for _ in range(3)] + odd
    write(app, posted, live)
    return posted


def only_difference(app: Flask) -> dict[str, Any]:
    code, said = verify(app)
    assert code == 1
    assert (said["agrees"], said["difference_count"]) == (False, 1), said["differences"]
    return {name: value for name, value in said["differences"][0].items() if value is not None}


def test_it_works(app: Flask, keys: list[str], rows: list[dict[str, Any]]) -> None:
    code, said = verify(app)
    assert (code, said["differences"], said["agrees"]) == (0, [], True)
    assert {name: said[name] for name in ("rows", "recomputed", "estimated", "unpriced", "crashed", "adjusted")} == {
        "rows": 27, "recomputed": 23, "estimated": 1, "unpriced": 2, "crashed": 1, "adjusted": 1,
    }  # fmt: skip
    assert (said["keys"], said["counters_agree"], said["counters_unknown"], said["counters_busy"]) == (4, 3, 1, 0)
    result = app.test_cli_runner().invoke(args=["ledger", "verify"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "all agrees"


def test_small_ranges_see_the_same(
    app: Flask, keys: list[str], rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "KEYS_AT_ONCE", 1)
    monkeypatch.setattr(ledger, "ROWS_AT_ONCE", 2)
    code, said = verify(app)
    assert (code, said["rows"], said["keys"]) == (0, 27, 4)


def test_a_forged_row_is_named(app: Flask, keys: list[str], rows: list[dict[str, Any]]) -> None:
    """Cost and sums were all raised together, so that only the arithmetic can tell."""
    victim, more = rows[0], 1_000_000
    guard = "usage_records_refuse_update"
    forge(
        app,
        "UPDATE usage_records SET cost_nanos = cost_nanos + :more WHERE id = :id",
        guard,
        more=more,
        id=victim["id"],
    )
    place = {"key": victim["key_id"], "day": victim["day"], "more": more}
    served = victim["served_model"]
    forge(app, "UPDATE usage_daily SET cost_nanos = cost_nanos + :more WHERE key_id = :key AND day = :day AND model = :model",
          **place, model=served)  # fmt: skip
    for day in (victim["day"], ALL_DAYS):
        forge(app, "UPDATE key_spend SET total_nanos = total_nanos + :more WHERE key_id = :key AND day = :day",
              **(place | {"day": day}))  # fmt: skip
    code, said = verify(app)
    assert code == 1
    found = [one for one in said["differences"] if one["kind"] == "row"]
    assert [(one["row_id"], one["key_id"], one["day"], one["field"]) for one in found] == [
        (victim["id"], victim["key_id"], victim["day"].isoformat(), "cost_nanos")
    ]
    assert found[0]["found"] - found[0]["expected"] == more
    assert {one["kind"] for one in said["differences"]} == {"row", "counters"}


@pytest.mark.parametrize(
    ("column", "value"),
    [("input_tokens", 1), ("output_tokens", 1), ("price", '{"rates": {"gold": "1"}}'), ("price", "{}")],
)
def test_a_row_that_contradicts_itself_is_named(app: Flask, keys: list[str], column: str, value: str | int) -> None:
    one = row(keys[0], cost_nanos=0, counts={}, price={"rates": {}})
    write(app, [one])
    assert verify(app)[0] == 0
    forge(app, f"UPDATE usage_records SET {column} = :value WHERE id = :id", "usage_records_refuse_update",
          value=value, id=one["id"])  # fmt: skip
    code, said = verify(app, "--key", keys[0])
    assert code == 1
    assert (said["differences"][0]["row_id"], said["differences"][0]["field"]) == (one["id"], column)


@pytest.mark.parametrize("flags", [["crash"], []])
def test_a_row_without_a_price_costs_nothing_unless_its_worker_died(
    app: Flask, live: LiveCounters, keys: list[str], flags: list[str]
) -> None:
    write(app, [row(keys[0], counts={}, price=None, cost_nanos=5, flags=flags)], live)
    if flags:
        assert verify(app)[0] == 0
    else:
        assert only_difference(app)["field"] == "cost_nanos"


@pytest.mark.parametrize("column", ["requests", "input_tokens", "output_tokens", "cost_nanos"])
def test_a_wrong_daily_sum_is_named(app: Flask, keys: list[str], rows: list[dict[str, Any]], column: str) -> None:
    forge(
        app,
        f"UPDATE usage_daily SET {column} = {column} + 1 WHERE key_id = :key AND day = :day",
        key=keys[2],
        day=DAYS[1],
    )
    found = only_difference(app)
    expected = found.pop("expected")
    assert found == {
        "kind": "daily", "key_id": keys[2], "day": "2026-11-24", "provider": "openai", "model": "gpt-4o-2024-08-06",
        "field": column, "found": expected + 1,
    }  # fmt: skip


def test_a_row_without_a_sum_and_a_sum_without_rows_are_named(
    app: Flask, keys: list[str], rows: list[dict[str, Any]]
) -> None:
    stray = row(keys[2], provider="gemini", served_model="gemini-x", price=None, cost_nanos=0, counts={})
    with app.app_context(), db.engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(insert(UsageRecord), [stray])
    found = only_difference(app)
    assert (found["kind"], found["model"], found["expected"]) == ("daily", "gemini-x", 1)
    forge(app, "INSERT INTO usage_daily (key_id, day, provider, model, org_id, requests, input_tokens, output_tokens, cost_nanos)"
          " VALUES ('key_unknown', :day, 'openai', 'm', 'org_1', 1, 0, 0, 0)", day=DAYS[0])  # fmt: skip
    code, said = verify(app)
    assert code == 1
    assert [(one["key_id"], one["expected"], one["found"]) for one in said["differences"] if one["model"] == "m"] == [
        ("key_unknown", 0, 1)
    ]


@pytest.mark.parametrize("day", [DAYS[0], ALL_DAYS])
def test_a_wrong_total_is_named(app: Flask, keys: list[str], rows: list[dict[str, Any]], day: date) -> None:
    forge(
        app,
        "UPDATE key_spend SET total_nanos = total_nanos - 1 WHERE key_id = :key AND day = :day",
        "key_spend_refuse_fall",
        key=keys[1],
        day=day,
    )
    found = only_difference(app)
    assert (found["kind"], found["key_id"], found.get("day")) == (
        "total", keys[1], None if day == ALL_DAYS else day.isoformat()
    )  # fmt: skip
    assert found["found"] == found["expected"] - 1


def test_a_missing_total_is_named(app: Flask, keys: list[str], rows: list[dict[str, Any]]) -> None:
    gone = "DELETE FROM key_spend WHERE key_id = :key AND day = :day"
    forge(app, gone, "key_spend_refuse_delete", key=keys[1], day=DAYS[1])
    found = only_difference(app)
    assert (found["kind"], found["day"], found.get("found")) == ("total", "2026-11-24", None)


def test_counters_off_by_one_are_named(app: Flask, live: LiveCounters, keys: list[str]) -> None:
    cost = row(keys[0])["cost_nanos"]
    write(app, [row(key, DAYS[1]) for key in keys])
    live.spend(keys[0], DAYS[1], cost)
    live.spend(keys[1], DAYS[1], cost + 1)
    live.spend(keys[2], DAYS[1], cost)
    code, said = verify(app)
    assert code == 1
    assert [
        (one["kind"], one["key_id"], one["field"], one["found"] - one["expected"]) for one in said["differences"]
    ] == [
        ("counters", keys[1], "lifetime_nanos", 1),
        ("counters", keys[1], "spent_nanos", 1),
    ]
    assert (said["counters_agree"], said["counters_unknown"]) == (2, 1)  # nobody has used the demo key
    assert verify(app, "--key", keys[0])[0] == 0
    assert verify(app, "--key", keys[1])[0] == 1


def test_what_the_ledger_said_before_is_added_where_nobody_has_told_it(
    app: Flask, live: LiveCounters, keys: list[str]
) -> None:
    (late,) = make_keys(app, None, 1)
    write(app, [row(late, day) for day in DAYS])
    live.know(late)
    code, said = verify(app, "--key", late)
    assert (code, said["counters_agree"]) == (0, 1)
    live.spend(late, DAYS[1], 3)
    code, said = verify(app, "--key", late)
    assert code == 1
    assert [one["found"] - one["expected"] for one in said["differences"]] == [3, 3]


def test_a_key_with_requests_in_flight_is_not_compared(
    app: Flask, live: LiveCounters, keys: list[str], rows: list[dict[str, Any]]
) -> None:
    live.hold(keys[0], 5, "monthly")
    code, said = verify(app)
    assert (code, said["counters_busy"], said["counters_agree"], said["counters_unknown"]) == (0, 1, 2, 1)


@pytest.mark.parametrize("live_generation", [1, 2])
def test_counters_that_do_not_belong_to_the_ledger_are_not_compared(
    app: Flask, live: LiveCounters, keys: list[str], rows: list[dict[str, Any]], live_generation: int
) -> None:
    """They are being made anew, or the database is another one since."""
    forge(app, "UPDATE accounting_state SET generation = 2")
    if live_generation == 2:
        live.counters.begin_generation(2, {"01OTHER": 0})
    code, said = verify(app)
    assert (code, said["agrees"], said["counters_agree"]) == (2, True, 0)
    assert ("made anew" if live_generation == 2 else "another state of the database") in said["counters_problem"]


def test_what_cannot_be_checked_is_no_agreement(
    app: Flask, keys: list[str], rows: list[dict[str, Any]], settings_broken: None
) -> None:
    code, said = verify(app)
    assert (code, said["agrees"]) == (2, True)
    assert said["counters_problem"]
    result = app.test_cli_runner().invoke(args=["ledger", "verify"])
    assert result.exit_code == 2
    assert result.stdout.splitlines()[-1] == "nothing differs, but not everything could be checked"


@pytest.fixture
def settings_broken(app: Flask, tmp_path: Path) -> None:
    """Counters of which nothing can be read: their file cannot be made where it should stand."""
    counters_file = tmp_path / "made" / "counters.db"
    app.extensions["counters"].close()
    for path in counters_file.parent.glob("counters.db*"):
        path.unlink()
    counters_file.mkdir()


def test_an_unknown_key_or_table_is_status_2(app: Flask, keys: list[str]) -> None:
    pasted = "sk-proxy-" + "0" * 64
    result = app.test_cli_runner().invoke(args=["ledger", "verify", "--key", pasted])
    assert result.exit_code == 2
    assert "no key has this id" in result.stderr
    assert pasted not in result.output
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text("DROP TABLE key_spend"))
    result = app.test_cli_runner().invoke(args=["ledger", "verify"])
    assert result.exit_code == 2
    assert "The database cannot be read" in result.stderr
    assert "key_spend" in result.stderr


def test_a_day_is_that_of_the_organisations_zone(app: Flask, live: LiveCounters, keys: list[str]) -> None:
    tomorrow = date(2026, 11, 25)  # which it is in Kiritimati at the tests' noon
    forge(
        app, "UPDATE organizations SET time_zone = 'Pacific/Kiritimati' WHERE id = (SELECT min(id) FROM organizations)"
    )
    forge(app, "UPDATE proxy_keys SET spend_reset = 'daily' WHERE id = :key", key=keys[0])
    write(app, [row(key, day) for key in keys for day in (*DAYS, tomorrow)], live)
    assert verify(app)[1]["counters_agree"] == 3
    live.spend(keys[0], tomorrow, 5)
    said = verify(app)[1]["differences"]
    found = [(one["key_id"], one["field"], one["found"] - one["expected"]) for one in said]
    assert found == [(keys[0], "lifetime_nanos", 5), (keys[0], "spent_nanos", 5)]
