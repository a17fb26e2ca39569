"""The keys that cost most: as if all keys were added up, but without doing it. On both databases."""

import random
from collections.abc import Callable, Collection
from datetime import date, timedelta
from functools import partial

import pytest
from databases_kit import api_of
from flask import Flask
from plans_kit import plans_of
from sqlalchemy import insert
from usage_kit import TODAY, use

from shared.models import KeySpend, UsageDaily
from shared.periods import FIRST_DAY
from webapp.bootstrap import BootstrapReport
from webapp.db import db, writing
from webapp.queries import top_keys as queries
from webapp.queries.top_keys import Place, place_of, top_keys
from webapp.queries.usage import UsageLine, usage_of_keys
from webapp.queries.usage_export import usage_of_all_keys

Made = tuple[Flask, BootstrapReport]
DAYS = 12
FIRST = TODAY - timedelta(days=DAYS - 1)
# How much a key costs on a day on which it is used, by its number.
SPREADS: dict[str, Callable[[random.Random, int], int]] = {
    "all the same": lambda _chance, _number: 5,
    "few have most": lambda chance, number: 10**9 // (number + 1) + chance.randrange(5),
    "all are different": lambda chance, _number: chance.randrange(1, 10**12),
    "many ties": lambda chance, _number: chance.randrange(1, 4),
}


@pytest.fixture
def walking(monkeypatch: pytest.MonkeyPatch) -> None:
    """No number of keys is so small that it is added up at once, and walks go in small steps."""
    monkeypatch.setattr(queries, "FEW_ROWS", 0)
    monkeypatch.setattr(queries, "_FIRST_STEP", 4)


def fill(org_id: str, spread: str, keys: int = 90) -> None:
    """Keys that are used on some of the days, and so by chance; a third of them belong to somebody else."""
    chance = random.Random(f"{spread}, {keys}")
    daily, totals = [], []
    for number in range(keys):
        key_id, whole = f"key_{chance.randrange(10**9):09}_{number}", 0
        owner = "org_other" if number % 3 == 2 else org_id
        for day in (FIRST + timedelta(days=back) for back in range(DAYS)):
            if chance.random() < 0.4:
                nanos = SPREADS[spread](chance, number)
                sums = {"requests": 1, "input_tokens": 3, "output_tokens": 2, "cost_nanos": nanos}
                daily.append(
                    {"key_id": key_id, "org_id": owner, "day": day, "provider": "openai", "model": "m", **sums}
                )
                totals.append({"key_id": key_id, "day": day, "total_nanos": nanos})
                whole += nanos
        if whole:
            totals.append({"key_id": key_id, "day": FIRST_DAY, "total_nanos": whole})
    with writing() as session:
        session.execute(insert(UsageDaily), daily)
        session.execute(insert(KeySpend), [{**row, "generation": 0, "base_nanos": 0} for row in totals])


def pages(org_id: str, first: date, last: date, limit: int) -> list[UsageLine]:
    """All keys, a page at a time."""
    found: list[UsageLine] = []
    below: Place | None = None
    while True:
        page = top_keys(org_id, first, last, limit, below)
        assert len(page.lines) <= limit
        found += page.lines
        below = page.next_place
        if below is None:
            return found


def test_it_works(made: Made, walking: None, monkeypatch: pytest.MonkeyPatch) -> None:
    app, _ = made
    with app.app_context():
        for org_id in SPREADS:
            fill(org_id, org_id)
            for length in (1, 2, 7, 8, DAYS):
                first = TODAY - timedelta(days=length - 1)
                whole = queries._added_up(org_id, first, TODAY, 1_000, None)
                assert [place_of(line) for line in whole] == sorted(map(place_of, whole), reverse=True)
                assert len(whole) > 10
                assert pages(org_id, first, TODAY, 9) == whole
        with monkeypatch.context() as patched:
            patched.setattr(queries, "MOST_KEYS_MET", 5)
            assert list(top_keys(org_id, FIRST, TODAY, 9).lines) == whole[:9], "it took too long, and was added up"


def test_a_walk_that_has_ended_hides_no_key_of_the_same_cost(made: Made, walking: None) -> None:
    """Some keys cost on another day what many cost today: the walk of that day has ended, and says nothing of ids."""
    app, _ = made
    yesterday = TODAY - timedelta(days=1)
    with app.app_context():
        for number in range(12):
            use("org_ties", f"key_z{number:02}", 5)
        for key_id in ("key_a", "key_b"):
            use("org_ties", key_id, 5, yesterday)
        wanted = [f"key_z{number:02}" for number in reversed(range(12))] + ["key_b", "key_a"]
        for limit in (1, 2, 3):
            assert [line.group for line in pages("org_ties", yesterday, TODAY, limit)] == wanted


def test_the_first_of_many_are_found_along_the_indexes_without_adding_up_the_rest(
    made: Made, walking: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, report = made
    none = [api_of(made).create()["id"] for _ in range(2)]
    met: list[str] = []

    def ask(org_id: str, key_ids: Collection[str], first: date, last: date) -> dict[str, UsageLine]:
        met.extend(key_ids)
        return usage_of_keys(org_id, key_ids, first, last)

    monkeypatch.setattr(queries, "usage_of_keys", ask)
    with app.app_context():
        fill(report.org_id, "few have most", 600)
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
        with monkeypatch.context() as patched:
            patched.setattr(queries, "_added_up", None)  # not to be called
            for first in (TODAY, TODAY - timedelta(days=6), FIRST):
                met.clear()
                found, plans = plans_of(partial(top_keys, report.org_id, first, TODAY, 5), "FROM key_spend")
                assert len(found.lines) == 5
                assert 5 < len(met) < 200
                assert any("ix_key_spend_total_nanos" in plan for plan in plans)
                assert first == FIRST or any("ix_key_spend_day_total_nanos" in plan for plan in plans)
                assert not any("TEMP B-TREE" in plan or "Seq Scan" in plan for plan in plans)
        lines, plans = plans_of(lambda: list(usage_of_all_keys(report.org_id, FIRST, TODAY)), "FROM usage_daily")
        assert len(lines) > 100
        assert not any("ix_usage_daily_org_id_day" in plan or "TEMP B-TREE" in plan for plan in plans)
        for key_id in none:
            use("org_idle", key_id, 0)
        use("org_idle", "key_0", 7)
        assert [line.group for line in pages("org_idle", TODAY, TODAY, 2)] == ["key_0", *sorted(none, reverse=True)]
