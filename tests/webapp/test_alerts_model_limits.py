"""Thresholds of limits for models: each is told once a period, and a refusal tells of the limit that it was for."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alerts_kit import events
from dashboard_kit import START, Clock
from flask import Flask
from happened_kit import Activity
from key_rows_kit import posted
from receivers_kit import Receiver

from shared.config import Settings
from shared.models import ModelSpend, ProxyKey
from webapp.alerting import model_spend
from webapp.db import db, writing
from webapp.views.alerts import RulesView
from webapp.views.keys import KeyView

USD = 10**9
LIMITS = [
    {"model": "gpt-*", "spend_limit_usd": "10", "spend_reset": "monthly"},
    {"model": "claude-*", "spend_limit_usd": "10", "spend_reset": "monthly"},
]


@pytest.fixture
def settings(alerting: Settings) -> Settings:
    return alerting


def use(app: Flask, key: KeyView, model: str, dollars: float) -> None:
    """What a key has cost in all for a model, on the first day of the tests."""
    place = {"key_id": key.id, "day": START.date(), "provider": "openai", "model": model}
    sums = {"generation": 0, "base_nanos": 0, "total_nanos": round(dollars * USD)}
    with app.app_context(), writing() as session:
        session.execute(sa.delete(ModelSpend).filter_by(**place))
        session.get_one(ProxyKey, key.id).last_used_at = START
    posted(app, ModelSpend(**place, **sums))


def test_it_works(
    app: Flask, make: Callable[..., KeyView], clock: Clock, hook: dict[str, Any], receiver: Receiver,
    happened: Activity, look: Callable[[], int], deliver: Callable[[], int],
) -> None:  # fmt: skip
    assert hook["enabled"]
    key = make(model_limits=LIMITS)
    use(app, key, "gpt-4o", 6)
    assert [look(), look()] == [1, 0]
    use(app, key, "gpt-4o", 9.7)
    assert [look(), look()] == [1, 0]
    assert deliver() == 2
    assert events(receiver.received) == [("key.spend_threshold", 50), ("key.spend_threshold", 80)]
    assert [one.document["data"]["model_limit"] for one in receiver.received] == ["gpt-*", "gpt-*"]
    happened.refused(key.id, "model_spend_exceeded", model="gpt-4o")
    assert [look(), look()] == [1, 0]
    clock.forward(days=7)  # another month begins
    use(app, key, "gpt-4o", 9.8)
    assert look() == 0


def test_a_refusal_for_another_limit_tells_nothing_of_this_one(
    app: Flask, make: Callable[..., KeyView], hook: dict[str, Any], happened: Activity, look: Callable[[], int]
) -> None:
    assert hook["enabled"]
    key = make(model_limits=LIMITS)
    use(app, key, "gpt-4o", 9.7)
    assert look() == 2
    happened.refused(key.id, "model_spend_exceeded", model="claude-sonnet-4-5")
    assert look() == 0


def test_as_many_reads_however_many_keys_are_nearly_full(
    app: Flask, org_id: str, make: Callable[..., KeyView], happened: Activity
) -> None:
    counts = []
    for number in (2, 7):
        keys = [make(model_limits=LIMITS) for _ in range(number)]
        for key in keys:
            use(app, key, "gpt-4o", 9.7)
            happened.refused(key.id, "model_spend_exceeded", model="gpt-4o")
        sent: list[str] = []

        def note(*told: Any, sent: list[str] = sent) -> None:
            sent.append(told[2])

        with app.app_context():
            sa.event.listen(db.engine, "before_cursor_execute", note)
            ids, at = [key.id for key in keys], START + timedelta(seconds=1)
            found = list(model_spend.reached(org_id, None, RulesView(), at, ids))
            sa.event.remove(db.engine, "before_cursor_execute", note)
        assert [one.facts["threshold_percent"] for one in found] == [50, 80, 100] * number
        counts.append(sum("SELECT" in statement for statement in sent))
    assert counts == [3, 3], "keys, sums, refusals"
