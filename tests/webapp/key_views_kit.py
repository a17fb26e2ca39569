"""A key as the tests of words and judgements want it: everything at its plainest but for what they say."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from shared.money import to_usd
from webapp.views.keys import KeyView
from webapp.views.model_limits import ModelLimitView, ModelSpendView
from webapp.views.spend import SpendView

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
USD = 1_000_000_000


def model_limit(model: str, limit: int = USD, spent: int = 0) -> ModelLimitView:
    """A limit for models that never resets."""
    left = max(0, limit - spent)
    money = ModelSpendView(to_usd(spent), "0.00", to_usd(left), None, None, spent, 0, left)
    return ModelLimitView(model, to_usd(limit), "never", money, limit)


def view(spent: int = 0, held: int = 0, limit: int | None = None, **fields: Any) -> KeyView:
    money = SpendView(
        limit_usd=None,
        spent_usd="0.00",
        held_usd="0.00",
        remaining_usd=None,
        period_start=None,
        resets_at=fields.pop("resets_at", None),
        lifetime_usd="0.00",
        limit_nanos=limit,
        spent_nanos=spent,
        held_nanos=held,
        remaining_nanos=None if limit is None else max(0, limit - spent - held),
        lifetime_nanos=spent,
    )
    plain = KeyView(
        id="key_1",
        name="a",
        prefix="sk-proxy-a1b2",
        status="active",
        paused=False,
        allowed_providers=(),
        allowed_models=(),
        allowed_ips=(),
        rate_limit_rpm=None,
        rate_limit_tpm=None,
        max_concurrent_requests=None,
        spend_limit_usd=None,
        spend_reset="never",
        spend_limit_boost_usd=None,
        spend_limit_boost_until=None,
        model_limits=(),
        expires_at=None,
        created_at=NOW,
        created_by="x",
        last_used_at=None,
        revoked_at=None,
        version=1,
        spend=money,
    )
    return replace(plain, **fields)
