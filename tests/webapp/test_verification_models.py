"""`ledger verify` adds up what keys with limits for models have cost by model, and names each figure that is another."""

from typing import Any

import pytest
from flask import Flask
from live_counters import LiveCounters
from verify_kit import DAYS, forge, make_keys, row, verify, write

from shared.counters import Seed
from shared.model_limits import row_id_of
from shared.models import ProxyKey
from webapp.actions.model_limits import from_now_on, lock_generation
from webapp.actions.model_sums import note_sums
from webapp.db import db, writing

PATTERN = "gpt-*"


def limited(app: Flask, key_id: str) -> None:
    """As an edit does it, whose new counters are made at once."""
    with app.app_context():
        noted = note_sums(db.session, key_id)
    with app.app_context(), writing() as session:
        found = db.session.get_one(ProxyKey, key_id)
        limit = {"model": PATTERN, "spend_limit_nanos": 10**12, "spend_reset": "never"}
        found.model_limits = from_now_on(session, found, [limit], lock_generation(session), noted)
    forge(app, "UPDATE accounting_state SET outdated_for_models = -1")


@pytest.fixture
def keys(app: Flask) -> list[str]:
    made = make_keys(app, None, 2)
    write(app, [row(key, day) for key in made for day in DAYS])
    limited(app, made[0])
    return made


def of_models(app: Flask) -> list[dict[str, Any]]:
    _, said = verify(app)
    assert {one["kind"] for one in said["differences"]} <= {"model"}, said
    return [{name: one[name] for name in ("key_id", "day", "model", "found")} for one in said["differences"]]


def test_it_works(app: Flask, keys: list[str]) -> None:
    assert of_models(app) == []


def test_a_wrong_sum_is_named(app: Flask, keys: list[str]) -> None:
    forge(app, "UPDATE model_spend SET total_nanos = 7 WHERE day = :day", day=DAYS[0])
    (found,) = of_models(app)
    assert (found["key_id"], found["day"], found["found"]) == (keys[0], DAYS[0].isoformat(), 7)
    said = app.test_cli_runner().invoke(args=["ledger", "verify"]).stdout
    assert f"sum of {keys[0]} on {DAYS[0].isoformat()} for openai gpt-4o" in said


def test_a_sum_that_is_missing_or_of_nothing_is_named(app: Flask, keys: list[str]) -> None:
    forge(app, "UPDATE model_spend SET model = 'another' WHERE day = '1970-01-01'")
    assert sorted((one["day"] is None, one["found"] is None) for one in of_models(app)) == [(True, False), (True, True)]


def test_counters_that_say_something_else_are_named(app: Flask, live: LiveCounters, monkeypatch: Any) -> None:
    monkeypatch.setattr("webapp.verification.counted.SETTLE_SECONDS", 0.0)
    (key,) = make_keys(app, None, 1)
    limited(app, key)
    forge(app, "UPDATE accounting_state SET generation = 2")
    live.close()
    again = LiveCounters(app, 2)
    again.counters.seed(2, [Seed(row_id_of(key, PATTERN), 5, {})])
    _, said = verify(app)
    found = {(one["kind"], one["key_id"], one["found"]) for one in said["differences"]}
    assert found == {("counters", row_id_of(key, PATTERN), 5)}
    again.close()
