"""A ledger as the router writes it: rows with the daily sums and totals that belong to them."""

import json
from collections import defaultdict
from datetime import UTC, date, datetime
from typing import Any

from flask import Flask
from live_counters import LiveCounters
from sqlalchemy import insert, text

from shared import pricing
from shared.ids import new_id
from shared.models import KeySpend, UsageDaily, UsageRecord
from webapp.actions.keys import create_key
from webapp.context import Actor
from webapp.db import db

DAYS = (date(2026, 11, 23), date(2026, 11, 24))
ALL_DAYS = date(1970, 1, 1)


def make_keys(app: Flask, live: LiveCounters | None, count: int) -> list[str]:
    """Keys with a limit, in the order of their ids; `live` knows of them that nothing was spent before."""
    with app.app_context():
        actor = Actor(db.session.execute(text("SELECT id FROM organizations")).scalar_one(), "system", None)
        fields = {"spend_limit_usd": "100", "spend_reset": "monthly"}
        made = sorted(create_key(actor, {"name": f"key {number}", **fields}).view.id for number in range(count))
    if live is not None:
        live.know(*made)
        for key_id in made:
            live.seed(key_id)
    return made


def row(key_id: str, day: date = DAYS[0], counts: dict[str, int] | None = None, **fields: Any) -> dict[str, Any]:
    """A ledger row of gpt-4o, priced as the router would."""
    counts = {"input_tokens": 1003, "output_tokens": 7} if counts is None else counts
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    usage = pricing.Usage(counts, fields.get("served_model", "gpt-4o-2024-08-06"))
    cost = pricing.cost(fields.get("provider", "openai"), "gpt-4o", usage, at=at.timestamp())
    values = {
        "id": new_id("req"), "org_id": "org_1", "key_id": key_id, "provider": "openai", "endpoint": "/v1/chat/completions",
        "requested_model": "gpt-4o", "served_model": "gpt-4o-2024-08-06", "service_tier": None, "streamed": False,
        "status": 200, "outcome": "ok", "flags": list(cost.flags), "usage": counts,
        "input_tokens": counts.get("input_tokens", 0), "output_tokens": counts.get("output_tokens", 0),
        "price": None if cost.price is None else dict(cost.price.json), "bound_nanos": 10**9, "cost_nanos": cost.nanos,
        "day": day, "admitted_at": at, "duration_ms": 5, "provider_request_id": None, "client_ip": None,
        "adjusts": None,
    }  # fmt: skip
    return values | fields


def write(app: Flask, rows: list[dict[str, Any]], live: LiveCounters | None = None) -> None:
    """Post rows with their sums; in `live` they are counted first, as a worker does."""
    if live is not None:
        for one in rows:
            live.spend(one["key_id"], one["day"], one["cost_nanos"])
    daily: dict[tuple[str, date, str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    totals: dict[tuple[str, date], int] = defaultdict(int)
    for one in rows:
        adjusts = one["adjusts"] is not None
        model = one["requested_model"] if adjusts else one["served_model"] or one["requested_model"]
        group = daily[one["key_id"], one["day"], one["provider"], model or ""]
        for place, amount in enumerate(
            (int(not adjusts), one["input_tokens"], one["output_tokens"], one["cost_nanos"])
        ):
            group[place] += amount
        totals[one["key_id"], one["day"]] += one["cost_nanos"]
        totals[one["key_id"], ALL_DAYS] += one["cost_nanos"]
    names = ("requests", "input_tokens", "output_tokens", "cost_nanos")
    with app.app_context(), db.engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(insert(UsageRecord), rows)
        connection.execute(
            insert(UsageDaily),
            [
                {"key_id": key, "day": day, "provider": provider, "model": model, "org_id": "org_1"}
                | dict(zip(names, group, strict=True))
                for (key, day, provider, model), group in daily.items()
            ],
        )
        connection.execute(
            insert(KeySpend),
            [
                {"key_id": key, "day": day, "generation": 0, "base_nanos": 0, "total_nanos": total}
                for (key, day), total in totals.items()
            ],
        )


def forge(app: Flask, statement: str, trigger: str | None = None, **values: object) -> None:
    """Change the database behind the router's back, its guard taken away first."""
    with app.app_context(), db.engine.connect().execution_options(writes=True) as connection, connection.begin():
        if trigger is not None:
            table = trigger.partition("_refuse")[0]
            sqlite = db.engine.dialect.name == "sqlite"
            connection.execute(
                text(f"DROP TRIGGER {trigger}" if sqlite else f"ALTER TABLE {table} DISABLE TRIGGER USER")
            )
        assert connection.execute(text(statement), values).rowcount == 1


def verify(app: Flask, *arguments: str) -> tuple[int, dict[str, Any]]:
    """`ledger verify --json`: its status, and what it prints or complains of."""
    result = app.test_cli_runner().invoke(args=["ledger", "verify", "--json", *arguments])
    return result.exit_code, json.loads(result.stdout) if result.stdout else {"said": result.stderr}
