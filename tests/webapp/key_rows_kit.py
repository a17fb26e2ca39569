"""What happened to keys, as the router writes it down: for the tests of what is told of it."""

from datetime import date, timedelta
from typing import Any

from dashboard_kit import START
from flask import Flask
from verify_kit import row as ledger_row

from shared.models import Refusal, UsageDaily, UsageRecord
from webapp.db import writing


def posted(app: Flask, *rows: Any) -> None:
    with app.app_context(), writing() as session:
        session.add_all(rows)


def request_of(key_id: str, number: int, **fields: Any) -> UsageRecord:
    at = START + timedelta(seconds=number // 2)  # two of a moment
    return UsageRecord(**ledger_row(key_id, id=f"req_{number:04}", admitted_at=at, **fields))


def refusal_of(key_id: str, reason: str, minutes: int = 0, **fields: Any) -> Refusal:
    values: dict[str, Any] = {
        "org_id": "org_1", "count": 3, "last_at": START + timedelta(minutes=minutes), "status": 403,
        "sentence": "No.", "model": "gpt-4o", "client_ip": "203.0.113.7", "request_id": "req_1",
    }  # fmt: skip
    return Refusal(key_id=key_id, reason=reason, **{**values, **fields})


def usage_of(key_id: str, day: date, model: str, requests: int, cost_nanos: int) -> UsageDaily:
    sums = {"requests": requests, "input_tokens": 1_200, "output_tokens": 34, "cost_nanos": cost_nanos}
    return UsageDaily(key_id=key_id, org_id="org_1", day=day, provider="openai", model=model, **sums)
