"""Attempts and settlements as the accounting's tests need them."""

from datetime import date
from typing import Any

from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.records import Attempt, EndRecord, Settlement, Try

DAY = date(2026, 11, 24).toordinal()
NOON = 1_795_521_600.0  # of that day, in Unix seconds


def attempt(number: int = 1, **fields: Any) -> Attempt:
    values = {
        "id": f"req_{number:08d}", "org_id": "org_1", "key_id": "key_1", "provider": "openai",
        "endpoint": "/v1/chat/completions", "requested_model": "gpt-4o", "streamed": False, "bound_nanos": 1_000,
        "held_nanos": 1_000, "day": DAY, "second": 100, "admitted_at": NOON, "client_ip": "203.0.113.7",
    }  # fmt: skip
    return Attempt(**{**values, **fields})


def settlement(**fields: Any) -> Settlement:
    values = {
        "status": 200, "outcome": "ok", "flags": (), "usage": {"input_tokens": 3, "output_tokens": 5},
        "served_model": "gpt-4o-2024-08-06", "service_tier": "default", "price": {"id": "gpt-4o"}, "cost_nanos": 700,
        "duration_ms": 12, "provider_request_id": "p-1", "first_byte_ms": 7, "sent_status": 200,
        "tried": (Try("default", "0001", "rate_limited"), Try("zwei ü", "0002", None)),
    }  # fmt: skip
    return Settlement(**{**values, **fields})


def raised(database: AccountingDatabase, above: int = 0) -> int:
    """A new generation, whatever stood there."""
    cut = database.raise_generation(above)
    assert cut is not None
    return cut.generation


def ended(number: int, *, cost_nanos: int | None = 700, **fields: Any) -> EndRecord:
    """END `number` of attempt `number`; without a cost it was void."""
    settled = None if cost_nanos is None else settlement(cost_nanos=cost_nanos)
    return EndRecord(number, number, attempt(number, **fields), settled)
