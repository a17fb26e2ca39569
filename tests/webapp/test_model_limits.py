"""Limits of what a key may spend on some models: set by JSON, form and command, shown with what is left, tried dry."""

from collections.abc import Callable
from datetime import date
from html import unescape
from typing import Any

import pytest
from cli_kit import Command
from dashboard_kit import Api, field_errors
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import hidden, submit
from key_page_kit import shown
from key_rows_kit import posted, refusal_of, request_of
from live_counters import LiveCounters
from sqlalchemy import select

from shared.model_limits import row_id_of
from shared.models import AccountingState, AuditEvent, ModelSpend, ProxyKey, UsageDaily
from shared.periods import FIRST_DAY
from webapp.actions.credentials import store_credentials
from webapp.context import Actor
from webapp.db import db
from webapp.views.keys import KeyView

Make = Callable[..., KeyView]
Enter = Callable[[str], FlaskClient]
GPT = {"model": "gpt-4o*", "spend_limit_usd": "5", "spend_reset": "daily"}
CLAUDE = {"model": "anthropic/*", "spend_limit_usd": "0.000000001"}
TOLD = {"model": "gpt-4o*", "spend_limit_usd": "5.00", "spend_reset": "daily"}


def said(limits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what is spent."""
    return [{name: value for name, value in limit.items() if name != "spend"} for limit in limits]


def stored(app: Flask, key_id: str) -> Any:
    with app.app_context():
        return db.session.get_one(ProxyKey, key_id).model_limits


def state(app: Flask) -> tuple[int, int, bool]:
    with app.app_context():
        row = db.session.scalars(select(AccountingState)).one()
        return row.generation, row.outdated_for_models, row.model_limits


def use(live: LiveCounters, key_id: str, nanos: int, *patterns: str) -> None:
    """A request has cost so much, and counts on the rows of these patterns."""
    day = date.fromordinal(live.counters.moment().day)
    live.spend(key_id, day, nanos, rows=tuple(row_id_of(key_id, pattern) for pattern in patterns))


def test_it_works(api: Api, app: Flask) -> None:
    """A key is made with its limits: nothing came before, so that no new counters are wanted."""
    key = api.create(model_limits=[GPT, CLAUDE])
    assert said(key["model_limits"]) == [
        TOLD,
        {"model": "anthropic/*", "spend_limit_usd": "0.000000001", "spend_reset": "never"},
    ]
    assert key["model_limits"][0]["spend"] == {
        "spent_usd": "0.00",
        "held_usd": "0.00",
        "remaining_usd": "5.00",
        "period_start": "2026-11-24T00:00:00Z",
        "resets_at": "2026-11-25T00:00:00Z",
    }
    assert [limit["since"] for limit in stored(app, key["id"])] == [0, 0]
    generation, outdated, summed = state(app)
    assert (outdated < max(generation, 1), summed) == (True, True)
    path = f"/v1/keys/{key['id']}"
    assert api("PATCH", path, {"name": "another"}).get_json()["model_limits"] == key["model_limits"], "absent keeps"
    again = api("PATCH", path, {"model_limits": key["model_limits"]})
    assert again.get_json()["model_limits"] == key["model_limits"], "what was served may be sent back"
    assert api("PATCH", path, {"model_limits": None}).get_json()["model_limits"] == []
    assert api.create()["model_limits"] == []


def test_one_that_is_new_to_a_key_has_new_counters_made(api: Api, app: Flask) -> None:
    key = api.create()
    assert stored(app, key["id"]) is None
    path, generation = f"/v1/keys/{key['id']}", state(app)[0]
    api("PATCH", path, {"model_limits": [GPT]})
    assert state(app) == (generation, generation, True)
    (limit,) = stored(app, key["id"])
    assert limit["since"] == generation + 1
    with app.app_context():
        db.session.scalars(select(AccountingState)).one().outdated_for_models = -1
        db.session.commit()
        event = db.session.scalars(select(AuditEvent).where(AuditEvent.action == "key.update")).one()
    assert (event.before, event.after) == ({"model_limits": []}, {"model_limits": [TOLD]})
    api("PATCH", path, {"model_limits": [{**GPT, "spend_limit_usd": 7, "spend_reset": "weekly"}]})
    assert stored(app, key["id"])[0]["since"] == generation + 1, "another amount is the same limit"
    api("PATCH", path, {"model_limits": []})
    assert (state(app)[1], stored(app, key["id"])) == (-1, [])
    api("PATCH", path, {"model_limits": [GPT]})
    assert state(app)[1] == generation, "nothing was booked on it meanwhile"


def test_the_first_one_adds_up_what_the_ledger_has(api: Api, app: Flask) -> None:
    key = api.create()
    models = ("gpt-4o", "gpt-4o", "gpt-4o-mini", None)
    rows = [request_of(key["id"], n, requested_model=model, served_model="x") for n, model in enumerate(models)]
    each, day = rows[0].cost_nanos, rows[0].day
    sums = {"requests": 4, "input_tokens": 1, "output_tokens": 1, "cost_nanos": 4 * each}
    posted(app, *rows, UsageDaily(key_id=key["id"], day=day, provider="openai", model="x", org_id="org_1", **sums))
    limits = [{**GPT, "model": model, "spend_reset": "never"} for model in ("gpt-4o*", "*-mini", "x")]
    told = api("PATCH", f"/v1/keys/{key['id']}", {"model_limits": limits}).get_json()["model_limits"]
    with app.app_context():
        found = {(row.day, row.model): row.total_nanos for row in db.session.scalars(select(ModelSpend))}
    assert found == {
        (day, "gpt-4o"): 2 * each,
        (FIRST_DAY, "gpt-4o"): 2 * each,
        (day, "gpt-4o-mini"): each,
        (FIRST_DAY, "gpt-4o-mini"): each,
    }
    assert each > 0
    spent = [round(float(limit["spend"]["spent_usd"]) * 10**9) for limit in told]
    assert spent == [3 * each, each, 0], "by the model that was asked for"


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ([GPT, CLAUDE, {**GPT, "spend_limit_usd": 1}], "model_limits[2].model"),
        ([{**GPT, "model": "google/x*"}, {**GPT, "model": "gemini/x*"}], "model_limits[1].model"),
        ([{**GPT, "model": "gpt\0"}], "model_limits[0].model"),
        ([{**GPT, "model": "gpt-\u00e9"}], "model_limits[0].model"),
        ([{**GPT, "model": "nobody/x"}], "model_limits[0].model"),
        ([{**GPT, "model": ""}], "model_limits[0].model"),
        ([{**GPT, "model": 5}], "model_limits[0].model"),
        ([{**GPT, "model": "sk-proxy-" + "a" * 64}], "model_limits[0].model"),
        ([GPT, {**CLAUDE, "spend_limit_usd": -1}], "model_limits[1].spend_limit_usd"),
        ([{**GPT, "spend_limit_usd": "NaN"}], "model_limits[0].spend_limit_usd"),
        ([{**GPT, "spend_limit_usd": "0.0000000001"}], "model_limits[0].spend_limit_usd"),
        ([{**GPT, "spend_limit_usd": 1e300}], "model_limits[0].spend_limit_usd"),
        ([{**GPT, "spend_limit_usd": "9007199.254740992"}], "model_limits[0].spend_limit_usd"),
        ([{**GPT, "spend_limit_usd": None}], "model_limits[0].spend_limit_usd"),
        ([{**GPT, "spend_limit_usd": True}], "model_limits[0].spend_limit_usd"),
        ([{"model": "gpt-4o"}], "model_limits[0].spend_limit_usd"),
        ([{**GPT, "spend_reset": "yearly"}], "model_limits[0].spend_reset"),
        ([{**GPT, "tokens": 5}], "model_limits[0].tokens"),
        (["gpt-4o"], "model_limits"),
        ([GPT | {"model": f"m{number}"} for number in range(11)], "model_limits"),
        ({}, "model_limits"),
        ("gpt-4o", "model_limits"),
    ],
)
def test_nonsense_is_named_and_changes_nothing(api: Api, limits: object, field: str) -> None:
    key = api.create(model_limits=[GPT])
    assert list(field_errors(api("PATCH", f"/v1/keys/{key['id']}", {"model_limits": limits}))) == [field]
    assert list(field_errors(api("POST", "/v1/keys", {"name": "x", "model_limits": limits}))) == [field]
    assert said(api("GET", f"/v1/keys/{key['id']}").get_json()["model_limits"]) == [TOLD]


def test_numbers_are_read_as_they_were_written(api: Api) -> None:
    key = api.create(model_limits=[{**GPT, "spend_limit_usd": 0.1}, {"model": "*", "spend_limit_usd": 0}])
    assert [limit["spend_limit_usd"] for limit in key["model_limits"]] == ["0.10", "0.00"]


def test_a_rotated_key_keeps_them(api: Api, app: Flask) -> None:
    key = api.create(model_limits=[GPT])
    before = stored(app, key["id"])
    told = api("POST", f"/v1/keys/{key['id']}/rotate", {}).get_json()
    assert (said(told["model_limits"]), stored(app, key["id"])) == ([TOLD], before)


def test_the_form_has_a_row_for_each(app: Flask, member: FlaskClient, make: Make) -> None:
    key = make(model_limits=[GPT])
    page = member.get(f"/keys/{key.id}/edit")
    assert 'value="gpt-4o*"' in page.text
    rows = {
        "model_limits_sent": "yes",
        "model_limits": ["gpt-4o*", "anthropic/*", ""],
        "model_limits_usd": ["5", "$2.50", " "],
        "model_limits_reset": ["daily", "monthly", "never"],
    }
    typed = {"name": "a key", "expires": "keep", "spend_reset": "never"}
    assert submit(member, f"/keys/{key.id}/edit", {**typed, **rows}).status_code == 303
    assert [(one["model"], one["spend_limit_nanos"]) for one in stored(app, key.id)] == [
        ("gpt-4o*", 5 * 10**9),
        ("anthropic/*", 25 * 10**8),
    ]
    wrong = submit(member, f"/keys/{key.id}/edit", {**typed, **rows, "model_limits_usd": ["5", "", ""]})
    assert wrong.status_code == 422
    assert "Row 2 must be an amount in dollars" in unescape(wrong.text)
    assert 'value="anthropic/*"' in wrong.text, "what was typed is there still"
    assert submit(member, f"/keys/{key.id}/edit", {**typed, "name": "b"}).status_code == 303
    assert len(stored(app, key.id)) == 2, "a form that knows nothing of them leaves them"
    assert submit(member, f"/keys/{key.id}/edit", {**typed, "model_limits_sent": "yes"}).status_code == 303
    assert stored(app, key.id) == []
    assert 'name="model_limits_usd"' in member.get("/keys/new/model-limit").text


@pytest.mark.usefixtures("served")
def test_an_amount_below_what_is_spent_warns_once(
    app: Flask, member: FlaskClient, make: Make, live: LiveCounters
) -> None:
    key = make(model_limits=[GPT, {**CLAUDE, "spend_limit_usd": "9"}])
    use(live, key.id, 5 * 10**9, "gpt-4o*")
    rows = {"model_limits_sent": "yes", "model_limits": ["gpt-4o*", "anthropic/*"]}
    rows |= {"model_limits_usd": ["1", "9"], "model_limits_reset": ["daily", "never"]}
    typed = {"name": "a key", "expires": "keep", "spend_reset": "never", **rows}
    warned = submit(member, f"/keys/{key.id}/edit", typed)
    assert warned.status_code == 200
    told = "This key has already spent $5.00 on models gpt-4o*, so with a limit of $1.00 every request for them that"
    assert unescape(warned.text).count("already spent") == 1
    assert told in unescape(warned.text)
    assert stored(app, key.id)[0]["spend_limit_nanos"] == 5 * 10**9
    again = {**typed, "confirmed": hidden(warned, "confirmed")}
    assert submit(member, f"/keys/{key.id}/edit", again, form_of=warned).status_code == 303
    assert stored(app, key.id)[0]["spend_limit_nanos"] == 10**9
    other = {**typed, "name": "b", "model_limits_usd": ["1", "8"]}
    assert submit(member, f"/keys/{key.id}/edit", other).status_code == 303, "of what stays nobody is warned"


def test_somebody_elses_change_is_told_in_words(api: Api, member: FlaskClient, make: Make) -> None:
    key = make(model_limits=[GPT])
    page = member.get(f"/keys/{key.id}/edit")
    api("PATCH", f"/v1/keys/{key.id}", {"model_limits": [{**GPT, "spend_limit_usd": "9"}]})
    rows = {
        "model_limits_sent": "yes",
        "model_limits": "gpt-4o*",
        "model_limits_usd": "7.00",
        "model_limits_reset": "daily",
    }
    again = submit(member, f"/keys/{key.id}/edit", {"name": "a key", "expires": "keep", **rows}, form_of=page)
    assert again.status_code == 409
    told = unescape(again.text)
    assert "gpt-4o*: $7.00 a day" in told
    assert "gpt-4o*: $9.00 a day" in told


@pytest.mark.usefixtures("served")
def test_its_page_shows_what_is_left(live: LiveCounters, make: Make, enter: Enter, api: Api) -> None:
    viewer, key = enter("viewer"), make(model_limits=[GPT])
    live.know(key.id)
    assert "Models gpt-4o* $5.00 left 0 % of $5.00 a day" in shown(viewer, key)
    use(live, key.id, 4_500_000_000, "gpt-4o*")
    page = shown(viewer, key)
    assert "Models gpt-4o* $0.50 left" in page
    assert "90 % of its limit for models gpt-4o* is spent" in page
    told = api("GET", f"/v1/keys/{key.id}").get_json()
    assert told["model_limits"][0]["spend"]["remaining_usd"] == "0.50"
    assert "Near limit" in viewer.get("/keys").text


def test_a_dry_run_tells_of_it(api: Api, app: Flask, actor: Actor, live: LiveCounters, make: Make) -> None:
    with app.app_context():
        store_credentials(actor, {"openai": "sk-real-openai", "anthropic": "sk-ant-real"})
    key = make(model_limits=[GPT])
    live.know(key.id)

    def answer(**asked: Any) -> Any:
        return api("POST", f"/v1/keys/{key.id}/check", {"model": "gpt-4o", "max_tokens": 100, **asked}).get_json()

    assert answer()["allowed"]
    use(live, key.id, 5_000_000_000, "gpt-4o*")
    refused = answer()["refusal"]
    assert (refused["code"], refused["status"], refused["retry"]) == ("model_spend_exceeded", 403, False)
    assert refused["facts"]["model_limit"] == "gpt-4o*"
    assert refused["facts"]["resets_at"] == "2026-11-25T00:00:00Z"
    assert answer(model="gpt-4.1")["allowed"]
    assert answer(model="claude-sonnet-4-6")["allowed"]
    assert answer(model="gpt-4o-of-nobody")["refusal"]["code"] == "model_not_priced"
    assert answer(model=None, provider="openai", path="/v1/videos")["refusal"]["code"] == "endpoint_not_metered"


@pytest.mark.usefixtures("served")
def test_a_key_that_was_refused_for_it_tells_why(app: Flask, api: Api, member: FlaskClient, make: Make) -> None:
    key = make(model_limits=[{**GPT, "spend_limit_usd": "0"}])
    posted(
        app, refusal_of(key.id, "model_spend_exceeded", sentence="this request may need up to $1.00.", org_id=key.id)
    )
    assert "Model limit used up" in unescape(member.get(f"/keys/{key.id}").text)
    api("PATCH", f"/v1/keys/{key.id}", {"model_limits": []})
    assert "has been changed since" in shown(member, key)


def test_commands_say_them_in_short(command: Command) -> None:
    made = command.json("keys create a", "--model-limits", "gpt-4o*=5/daily,anthropic/*=2.5")
    assert said(made["model_limits"]) == [
        TOLD,
        {"model": "anthropic/*", "spend_limit_usd": "2.50", "spend_reset": "never"},
    ]
    assert "model_limits[0].model" in command(f"keys show {made['id']}").stdout
    assert "model_limits[0].spend_limit_usd" in command.fault(f"keys edit {made['id']}", "--model-limits", "gpt-4o*")
    assert command.json(f"keys edit {made['id']} --unset model_limits")["model_limits"] == []
