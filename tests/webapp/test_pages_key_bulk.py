"""One change of many keys on the page: a question that names them, a result for each, progress in steps."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from dashboard_kit import Api
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX, count, hidden, stored
from werkzeug.test import TestResponse

from shared.models import AuditEvent
from webapp.actions.keys import revoke_key
from webapp.context import Actor
from webapp.views.keys import KeyView

Make = Callable[..., KeyView]


def send(
    client: FlaskClient, path: str, action: str, ids: list[str], *, htmx: bool = False, **fields: Any
) -> TestResponse:
    token = hidden(client.get("/keys"), "csrf_token")
    data = {"csrf_token": token, "action": action, "ids": ids, **fields}
    return client.post(f"/keys/bulk/{path}", data=data, headers=HTMX if htmx else {})


@pytest.mark.parametrize(
    ("action", "status", "words"),
    [
        ("pause", "paused", "3 paused."),
        ("resume", "active", "3 resumed."),
        ("revoke", "revoked", "3 revoked."),
        ("extend", "active", "3 changed."),
    ],
)
def test_it_works(app: Flask, api: Api, member: FlaskClient, make: Make, action: str, status: str, words: str) -> None:
    keys = [make(name, paused=action == "resume") for name in ("one", "two", "three")]
    ids = [key.id for key in keys]
    before = count(app, AuditEvent)
    asked = send(member, "ask", action, ids)
    assert asked.status_code == 200
    assert all(f"<bdi>{key.name}</bdi>" in asked.text for key in keys)
    assert count(app, AuditEvent) == before
    assert re.findall(r'name="ids" value="([^"]+)"', asked.text) == ids
    done = send(member, "change", action, ids, expires="30")
    assert words in done.text
    for key in keys:
        told = api("GET", f"/v1/keys/{key.id}").get_json()
        assert told["status"] == status
        assert (told["expires_at"] == "2026-12-24T13:00:00Z") == (action == "extend")
    assert count(app, AuditEvent) == before + 3
    assert send(member, "change", action, ids, expires="30").status_code == 200  # a reload does no harm
    assert count(app, AuditEvent) == before + 3


def test_one_that_fails_keeps_no_other_back(
    app: Flask, member: FlaskClient, make: Make, actor: Actor, stranger: Api
) -> None:
    keys = [make(name) for name in ("first", "gone", "last")]
    with app.app_context():
        revoke_key(actor, keys[1].id)
    theirs = stranger.create(name="theirs")["id"]
    done = send(member, "change", "pause", [keys[0].id, keys[1].id, theirs, "key_none", keys[2].id])
    assert "2 paused, 3 not changed." in done.text
    assert "It is revoked, for ever." in done.text
    assert done.text.count("There is no such key.") == 2
    assert "theirs" not in done.text
    assert stored(app, keys[2].id).paused
    assert not stored(app, theirs).paused


def test_with_htmx_it_goes_in_steps(app: Flask, member: FlaskClient, make: Make) -> None:
    ids = [make(f"key {number}").id for number in range(23)]
    left, seen = ids, 0
    fields: dict[str, Any] = {}
    for step, done in enumerate((10, 20, 23)):
        answer = send(member, "change", "pause", left, htmx=True, **fields)
        assert answer.status_code == 200
        assert f'<progress max="23" value="{done}"' in answer.text
        assert ('id="panel-title"' in answer.text) == (step == 0)
        assert ('hx-swap-oob="beforeend:#bulk-results"' in answer.text) == (step > 0)
        seen += len(re.findall(r'<tr id="row-key_\w+" hx-swap-oob="true">', answer.text))
        left = re.findall(r'<input type="hidden" name="ids" value="([^"]+)"', answer.text)
        assert left == ids[done:]
        if left:
            assert sum(stored(app, key_id).paused for key_id in ids) == done
            fields = {name: hidden(answer, name) for name in ("total", "changed", "failed")}
    assert "23 paused." in answer.text
    assert 'hx-trigger="load"' not in answer.text
    assert seen == 23


def test_a_moment_that_is_none_is_asked_for_again(app: Flask, member: FlaskClient, make: Make) -> None:
    key = make("kept")
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"expires": "custom", "expires_at": "soon"}, "key-expires_at", "Pick a date"),
        ({"expires": "custom", "expires_at": "2020-01-01T00:00"}, "key-expires_at", "future"),
        ({"expires": "365"}, "key-expires", "Pick one of"),
        ({}, "key-expires", "Pick one of"),
    ]
    for fields, field, message in cases:
        again = send(member, "change", "extend", [key.id], **fields)
        assert again.status_code == 422
        error = re.search(rf'id="{field}-error">(.*?)</div>', again.text, re.DOTALL)
        assert error is not None
        assert message in unescape(error[1])
        assert f'name="ids" value="{key.id}"' in again.text
    assert stored(app, key.id).version == 1
    never = send(member, "change", "extend", [key.id], expires="never")
    assert "Never expires" in never.text


@pytest.mark.parametrize("path", ["ask", "change"])
@pytest.mark.parametrize(("action", "ids"), [("pause", []), ("explode", ["ID"]), ("", ["ID"]), ("pause", ["k\x00"])])
def test_nonsense_changes_nothing(
    app: Flask, member: FlaskClient, make: Make, path: str, action: str, ids: list[str]
) -> None:
    key = make("kept")
    answer = send(member, path, action, [key.id if one == "ID" else one for one in ids])
    assert answer.status_code == 422
    assert "No key is selected" in answer.text
    assert stored(app, key.id).version == 1


def test_an_expiry_is_chosen_and_the_present_ones_are_shown(member: FlaskClient, api: Api, make: Make) -> None:
    """Nothing is chosen beforehand: for a key that never expires any choice is a loss."""
    keys = [make("one"), make("two", expires_at="2026-12-01T10:00:00Z")]
    ids = [key.id for key in keys]
    asked = unescape(send(member, "ask", "extend", ids).text)
    (first, *others) = re.findall(r"<option[^>]*>[^<]*", asked)
    assert first == '<option value="">Choose…'
    assert not any("selected" in option for option in others)
    assert "now never" in asked
    assert "now 1 Dec 2026, 10:00 UTC" in asked
    answer = send(member, "change", "extend", ids, expires="")
    assert answer.status_code == 422
    assert "Pick one of the choices" in answer.text
    assert [api("GET", f"/v1/keys/{one}").get_json()["expires_at"] for one in ids] == [None, "2026-12-01T10:00:00Z"]
