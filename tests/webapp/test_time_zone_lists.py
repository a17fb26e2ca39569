"""Lists of keys in an organisation with a time zone: what is near its limit there, and that the zone is asked for once."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from dashboard_kit import Api
from flask import Flask
from live_counters import LiveCounters
from sqlalchemy import event
from usage_kit import use

from webapp.db import db
from webapp.views.keys import KeyView

Make = Callable[..., KeyView]
USD = 1_000_000_000
YESTERDAY, TODAY = date(2026, 11, 23), date(2026, 11, 24)  # of UTC


def move(api: Api, zone: str) -> None:
    assert api("PATCH", "/v1/organization", {"time_zone": zone}).status_code == 200


@pytest.mark.parametrize("known", [True, False])
def test_a_list_of_keys_asks_for_its_zone_once(
    api: Api, app: Flask, live: LiveCounters, org_id: str, make: Make, known: bool
) -> None:
    """Whether the counters tell what was spent, or the ledger: as many statements for many keys as for few."""
    move(api, "Asia/Tokyo")

    def statements(keys: int) -> list[str]:
        for _ in range(keys):
            budgets = [{"model": "gpt-4o", "spend_limit_usd": "1", "spend_reset": "daily"}]
            key = make(spend_limit_usd="1", spend_reset="daily", model_limits=budgets)
            if known:
                live.know(key.id)
                live.seed(key.id, 0, {})
        asked: list[str] = []

        def note(_: Any, __: Any, statement: str, *___: Any) -> None:
            asked.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        told = api("GET", "/v1/keys", query_string={"limit": "200"}).get_json()["data"]
        event.remove(engine, "before_cursor_execute", note)
        assert {key["spend"]["resets_at"] for key in told} >= {"2026-11-24T15:00:00Z"}
        return asked

    with app.app_context():
        engine = db.engine
    few = statements(2)
    many = statements(10)
    assert len(many) == len(few), many
    assert sum("time_zone" in statement for statement in many) <= 4


def test_what_was_spent_on_days_to_come_is_not_near_a_limit(api: Api, app: Flask, org_id: str, make: Make) -> None:
    """After a change to the west, or of a clock that was wrong: as the key itself tells."""
    resets = ("daily", "weekly", "monthly", "never")
    keys = {reset: make(reset, spend_limit_usd="10", spend_reset=reset) for reset in resets}
    with app.app_context():
        for key in keys.values():
            use(org_id, key.id, 9 * USD, date(2026, 12, 24))
            use(org_id, key.id, 1, YESTERDAY)
    told = api("GET", "/v1/keys", query_string={"near_limit": "true"}).get_json()["data"]
    assert [one["name"] for one in told] == ["never"]
    assert {reset: api("GET", f"/v1/keys/{keys[reset].id}").get_json()["spend"]["spent_usd"] for reset in resets} == {
        "daily": "0.00", "weekly": "0.000000001", "monthly": "0.000000001", "never": "9.000000001",
    }  # fmt: skip


def test_lists_of_keys_near_their_limit_go_by_the_day_there(api: Api, app: Flask, org_id: str, make: Make) -> None:
    key = make(spend_limit_usd="10", spend_reset="daily")
    with app.app_context():
        use(org_id, key.id, 9 * USD, TODAY)

    def near() -> list[str]:
        return [one["id"] for one in api("GET", "/v1/keys", query_string={"near_limit": "true"}).get_json()["data"]]

    assert near() == [key.id]
    move(api, "Pacific/Kiritimati")
    assert near() == []
    move(api, "Pacific/Pago_Pago")
    assert near() == [key.id]
