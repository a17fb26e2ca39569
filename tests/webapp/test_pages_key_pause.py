"""Pausing and resuming a key on the page: by its row, and by the form."""

from collections.abc import Callable

import pytest
from dashboard_kit import Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX, hidden, stored, submit
from werkzeug.test import TestResponse

from webapp.actions.keys import revoke_key, update_key
from webapp.context import Actor
from webapp.views.keys import KeyView


def click(client: FlaskClient, key: KeyView, verb: str, *, htmx: bool = False) -> TestResponse:
    """What the button in the row of `key` does."""
    token = hidden(client.get("/keys"), "csrf_token")
    return client.post(f"/keys/{key.id}/{verb}", data={"csrf_token": token}, headers=HTMX if htmx else {})


def test_it_works(app: Flask, member: FlaskClient, make: Callable[..., KeyView]) -> None:
    key = make("nightly job", spend_limit_usd="5")
    assert f'action="/keys/{key.id}/pause"' in member.get("/keys").text
    assert click(member, key, "pause").status_code == 303
    assert stored(app, key.id).paused
    listed = member.get("/keys?status=paused").text
    assert "Paused <bdi>nightly job</bdi>." in listed
    assert f'action="/keys/{key.id}/resume"' in listed
    assert "pill-amber" in listed
    assert click(member, key, "resume").status_code == 303
    assert not stored(app, key.id).paused
    assert stored(app, key.id).spend_limit_nanos == 5_000_000_000


@pytest.mark.parametrize(("verb", "label", "next_verb"), [("pause", "Paused", "resume"), ("resume", "Active", "pause")])
@pytest.mark.usefixtures("served")
def test_htmx_gets_the_row_and_a_toast(
    member: FlaskClient, make: Callable[..., KeyView], verb: str, label: str, next_verb: str
) -> None:
    key = make("row", paused=verb == "resume")
    for _ in range(2):
        response = click(member, key, verb, htmx=True)
        assert response.status_code == 200
        assert response.headers["HX-Reswap"] == "none"
        assert f'<tr id="row-{key.id}" hx-swap-oob="true">' in response.text
        assert f"</svg>{label}<span" in response.text
        assert f'action="/keys/{key.id}/{next_verb}"' in response.text
        assert "toast-ok" in response.text


def test_a_resumed_key_that_has_expired_is_not_said_to_work(
    member: FlaskClient, make: Callable[..., KeyView], clock: Clock
) -> None:
    key = make("late", paused=True, expires_at="2026-11-24T12:10:00Z")
    clock.forward(minutes=11)
    assert "because it has expired" in click(member, key, "resume", htmx=True).text


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_key_revoked_meanwhile_stays_revoked(
    app: Flask, member: FlaskClient, make: Callable[..., KeyView], actor: Actor, verb: str, htmx: bool
) -> None:
    key = make("gone")
    with app.app_context():
        revoke_key(actor, key.id)
    response = click(member, key, verb, htmx=htmx)
    assert response.status_code == 409
    assert "cannot be paused or resumed" in response.text
    assert ("toast-error" in response.text.partition("<template")[2]) or not htmx
    assert not stored(app, key.id).paused


def test_the_form_pauses_and_resumes(app: Flask, member: FlaskClient, make: Callable[..., KeyView]) -> None:
    key = make("by form")
    fields = {"name": "by form", "spend_reset": "never", "expires": "keep"}
    assert submit(member, f"/keys/{key.id}/edit", fields, paused="y").status_code == 303
    assert stored(app, key.id).paused
    shown = member.get(f"/keys/{key.id}/edit").text
    assert 'name="paused" value="y" checked' in shown
    assert submit(member, f"/keys/{key.id}/edit", fields).status_code == 303
    assert not stored(app, key.id).paused
    created = submit(member, "/keys/new", htmx=True, name="later", paused="y")
    assert "</svg>Paused<span" in created.text


def test_a_key_paused_while_its_form_was_open_stays_paused(
    app: Flask, member: FlaskClient, make: Callable[..., KeyView], actor: Actor
) -> None:
    key = make("mine")
    page = member.get(f"/keys/{key.id}/edit")
    with app.app_context():
        update_key(actor, key.id, {"paused": True})
    fields = {"name": "renamed", "spend_reset": "never", "expires": "keep"}
    conflict = submit(member, f"/keys/{key.id}/edit", fields, form_of=page)
    assert conflict.status_code == 409
    assert "<td>left as it was</td><td>yes</td>" in conflict.text
    assert 'name="paused" value="y" checked' in conflict.text
