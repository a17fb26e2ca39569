"""The raise of a spend limit in the form that edits a key."""

from collections.abc import Callable
from html import unescape

import pytest
from dashboard_kit import START, Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import stored, submit
from key_views_kit import USD
from live_counters import LiveCounters

from webapp.actions.keys import update_key
from webapp.context import Actor
from webapp.views.keys import KeyView

Make = Callable[..., KeyView]
RAISE = {"spend_limit_boost_usd": "10", "spend_limit_boost_until": "2026-12-01T00:00:00Z"}
# What a browser sends of the form of a key that has nothing set.
FORM = {"name": "a key", "spend_limit_usd": "5", "spend_reset": "never", "expires": "keep"}


def test_it_works(app: Flask, member: FlaskClient, make: Make) -> None:
    path = f"/keys/{make(spend_limit_usd='5').id}/edit"
    key_id = path.split("/")[2]
    assert '<details class="mb-3">' in member.get(path).text
    sent = {**FORM, "spend_limit_boost_usd": "$2.5", "spend_limit_boost_until": "2026-12-01T08:30"}
    assert submit(member, path, sent).status_code == 303
    row = stored(app, key_id)
    assert (row.spend_limit_boost_nanos, row.spend_limit_boost_until) == (
        2_500_000_000, START.replace(month=12, day=1, hour=8, minute=30),
    )  # fmt: skip
    page = member.get(path).text
    assert 'value="2.50"' in page
    assert 'value="2026-12-01T08:30"' in page
    assert '<details class="mb-3" open>' in page
    assert submit(member, path, {**sent, "name": "renamed", "spend_limit_boost_usd": "2.50"}).status_code == 303
    assert stored(app, key_id).version == 3
    assert submit(member, path, {**sent, "name": "renamed", "spend_limit_boost_usd": ""}).status_code == 303
    assert stored(app, key_id).spend_limit_boost_until is None


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"spend_limit_boost_usd": "1"}, "Is required for a raise: when it ends."),
        (
            {"spend_limit_boost_until": "2026-12-01T08:30"},
            "Is required for a raise: how much more may be spent until its end.",
        ),
        ({"spend_limit_boost_usd": "1", "spend_limit_boost_until": "soon"}, "Pick a date and a time"),
        ({"spend_limit_boost_usd": "1", "spend_limit_boost_until": "2026-11-01T08:30"}, "Must be in the future."),
        ({"spend_limit_boost_usd": "x", "spend_limit_boost_until": "2026-12-01T08:30"}, "Must be a plain amount"),
    ],
)
def test_what_the_form_cannot_take_is_told_beside_its_field_and_kept(
    member: FlaskClient, make: Make, typed: dict[str, str], words: str
) -> None:
    answer = submit(member, f"/keys/{make(spend_limit_usd='5').id}/edit", {**FORM, **typed})
    assert answer.status_code == 422
    assert words in unescape(answer.text)
    assert '<details class="mb-3" open>' in answer.text
    for value in typed.values():
        assert f'value="{value}"' in answer.text


def test_an_end_that_is_taken_away_is_missed(member: FlaskClient, make: Make) -> None:
    path = f"/keys/{make(spend_limit_usd='5', **RAISE).id}/edit"
    answer = submit(member, path, {**FORM, "spend_limit_boost_usd": "10.00", "spend_limit_boost_until": ""})
    assert answer.status_code == 422
    assert 'id="key-spend_limit_boost_until-error"' in answer.text


def test_an_end_with_seconds_stays_when_the_form_is_sent_untouched(app: Flask, member: FlaskClient, make: Make) -> None:
    ends = "2026-12-01T08:30:15.5Z"
    key = make(spend_limit_usd="5", spend_limit_boost_usd="1", spend_limit_boost_until=ends)
    sent = {**FORM, "spend_limit_boost_usd": "1.00", "spend_limit_boost_until": "2026-12-01T08:30", "name": "other"}
    assert submit(member, f"/keys/{key.id}/edit", sent).status_code == 303
    row = stored(app, key.id)
    assert (row.name, row.spend_limit_boost_until) == ("other", key.spend_limit_boost_until)


def test_a_raise_that_ends_while_the_form_is_open_keeps_nobody_from_saving(
    app: Flask, member: FlaskClient, make: Make, clock: Clock
) -> None:
    key = make(spend_limit_usd="5", spend_limit_boost_usd="1", spend_limit_boost_until="2026-11-24T12:10:15Z")
    path = f"/keys/{key.id}/edit"
    page = member.get(path)
    sent = {**FORM, "spend_limit_boost_usd": "1.00", "spend_limit_boost_until": "2026-11-24T12:10", "name": "other"}
    clock.forward(minutes=11)
    touched = submit(member, path, {**sent, "spend_limit_boost_usd": "2"}, form_of=page)
    assert touched.status_code == 422
    assert "Must be in the future." in touched.text
    assert submit(member, path, sent, form_of=page).status_code == 303
    assert stored(app, key.id).name == "other"


def test_a_conflict_keeps_a_raise_that_somebody_else_has_set(
    app: Flask, member: FlaskClient, make: Make, actor: Actor
) -> None:
    key = make(spend_limit_usd="5")
    page = member.get(f"/keys/{key.id}/edit")
    with app.app_context():
        update_key(actor, key.id, RAISE)
    sent = {**FORM, "name": "mine", "spend_limit_boost_usd": "", "spend_limit_boost_until": ""}
    conflict = submit(member, f"/keys/{key.id}/edit", sent, form_of=page)
    assert conflict.status_code == 409
    assert "1 Dec 2026, 00:00 UTC" in conflict.text
    assert 'value="2026-12-01T00:00"' in conflict.text
    again = {**sent, "spend_limit_boost_usd": "10.00", "spend_limit_boost_until": "2026-12-01T00:00"}
    assert submit(member, f"/keys/{key.id}/edit", again, form_of=conflict).status_code == 303
    row = stored(app, key.id)
    assert (row.name, row.spend_limit_boost_nanos) == ("mine", 10 * USD)


def test_what_was_spent_already_is_warned_of_with_the_raise_in_mind(
    app: Flask, member: FlaskClient, make: Make, live: LiveCounters
) -> None:
    key = make(spend_limit_usd="5", **RAISE)
    live.know(key.id)
    live.seed(key.id, 8 * USD)
    path = f"/keys/{key.id}/edit"
    sent = {**FORM, "spend_limit_boost_usd": "10.00", "spend_limit_boost_until": "2026-12-01T00:00"}
    assert submit(member, path, {**sent, "spend_limit_usd": "4"}).status_code == 303
    warned = submit(member, path, {**sent, "spend_limit_usd": "4", "spend_limit_boost_usd": ""})
    assert (warned.status_code, "has already spent $8.00" in warned.text) == (200, True)
    assert stored(app, key.id).spend_limit_boost_nanos == 10 * USD
