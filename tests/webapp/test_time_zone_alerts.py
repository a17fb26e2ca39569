"""Thresholds of spend limits whose periods begin in a time zone: each is told once a period there."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from alerts_kit import events, spend
from dashboard_kit import Api, Clock
from flask import Flask
from receivers_kit import Receiver

from shared.config import Settings
from webapp.views.keys import KeyView


@pytest.fixture
def settings(alerting: Settings) -> Settings:
    return alerting


def test_it_works(
    app: Flask, api: Api, org_id: str, make: Callable[..., KeyView], clock: Clock, hook: dict[str, Any],
    receiver: Receiver, look: Callable[[], int], deliver: Callable[[], int],
) -> None:  # fmt: skip
    assert hook["enabled"]
    assert api("PATCH", "/v1/organization", {"time_zone": "Asia/Tokyo"}).status_code == 200
    key = make(spend_limit_usd="10", spend_reset="daily")
    clock.now = datetime(2026, 11, 24, 14, 59, tzinfo=UTC)
    spend(app, org_id, key.id, 6, clock.now)
    assert [look(), look()] == [1, 0]
    clock.now = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)  # the 25th begins
    assert look() == 0
    spend(app, org_id, key.id, 5, datetime(2026, 11, 25, tzinfo=UTC))
    clock.forward(minutes=1)
    assert [look(), look()] == [1, 0]
    clock.now = datetime(2026, 11, 25, 0, 30, tzinfo=UTC)  # no day begins there
    spend(app, org_id, key.id, 1, clock.now)
    assert look() == 0
    assert deliver() == 2
    assert [threshold for _, threshold in events(receiver.received)] == [50, 50]
    assert [(one.document["data"]["period_start"], one.document["data"]["resets_at"]) for one in receiver.received] == [
        ("2026-11-23T15:00:00Z", "2026-11-24T15:00:00Z"),
        ("2026-11-24T15:00:00Z", "2026-11-25T15:00:00Z"),
    ]
