"""Editing and revoking a key on the page."""

import re
from collections.abc import Callable

import pytest
from dashboard_kit import Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import hidden, stored, submit
from live_counters import LiveCounters

from shared.models import AuditEvent
from webapp.actions.keys import revoke_key, update_key
from webapp.context import Actor
from webapp.db import db
from webapp.views.keys import KeyView


def test_it_works(app: Flask, member: FlaskClient, make: Callable[..., KeyView]) -> None:
    """An edit sends only what differs, and says so in the audit."""
    key = make("before", spend_limit_usd="20", spend_reset="weekly", allowed_models=["gpt-4o*"], rate_limit_rpm=5)
    page = member.get(f"/keys/{key.id}/edit")
    assert 'value="before"' in page.text
    assert 'value="20.00"' in page.text
    response = submit(
        member,
        f"/keys/{key.id}/edit",
        form_of=page,
        name="after",
        spend_limit_usd="20.00",
        spend_reset="weekly",
        expires="keep",
        allowed_models="gpt-4o*",
        rate_limit_rpm="5",
    )
    assert response.status_code == 303
    assert response.headers["Location"] == "/keys"
    assert "Saved <bdi>after</bdi>." in member.get("/keys").text
    with app.app_context():
        event = db.session.query(AuditEvent).filter_by(target=key.id, action="key.update").one()
        assert event.before == {"name": "before"}
        assert event.after == {"name": "after"}


def test_edit_with_htmx_answers_with_the_row(member: FlaskClient, make: Callable[..., KeyView]) -> None:
    key = make("row")
    response = submit(member, f"/keys/{key.id}/edit", htmx=True, name="new row", spend_reset="never", expires="keep")
    assert response.headers["HX-Reswap"] == "none"
    assert response.headers["HX-Trigger-After-Swap"] == "modal:close"
    assert f'<tr id="row-{key.id}" hx-swap-oob="true">' in response.text
    assert "Saved <bdi>new row</bdi>." in response.text


def test_an_expired_key_can_be_edited_without_touching_its_expiry(
    app: Flask, member: FlaskClient, make: Callable[..., KeyView], clock: Clock
) -> None:
    key = make("short", expires_at="2026-11-24T13:00:00Z")
    clock.forward(hours=2)
    member.get("/keys")
    response = submit(member, f"/keys/{key.id}/edit", name="renamed", spend_reset="never", expires="keep")
    assert response.status_code == 303
    assert stored(app, key.id).expires_at == key.expires_at


def test_a_conflict_shows_both_values(
    app: Flask, member: FlaskClient, make: Callable[..., KeyView], actor: Actor
) -> None:
    key = make("mine", spend_limit_usd="1")
    page = member.get(f"/keys/{key.id}/edit")
    with app.app_context():
        update_key(actor, key.id, {"name": "theirs"})
    fields = {"name": "mine too", "spend_limit_usd": "1", "spend_reset": "never", "expires": "keep"}
    conflict = submit(member, f"/keys/{key.id}/edit", fields, form_of=page)
    assert conflict.status_code == 409
    assert "mine too" in conflict.text
    assert "theirs" in conflict.text
    assert stored(app, key.id).name == "theirs"
    assert submit(member, f"/keys/{key.id}/edit", fields, form_of=conflict).status_code == 303
    assert stored(app, key.id).name == "mine too"


def test_a_conflict_leaves_alone_what_the_form_did_not_touch(
    app: Flask, member: FlaskClient, make: Callable[..., KeyView], actor: Actor
) -> None:
    """Somebody else raises the limit while the name is edited: saving again keeps the raised limit."""
    key = make("mine", spend_limit_usd="1", allowed_providers=["openai"])
    page = member.get(f"/keys/{key.id}/edit")
    with app.app_context():
        theirs = {"spend_limit_usd": "7", "allowed_providers": ["gemini"], "expires_at": "2027-01-01T00:00:00Z"}
        update_key(actor, key.id, theirs)
    fields = {"name": "renamed", "spend_reset": "never", "expires": "keep"}
    seen = {"spend_limit_usd": "1.00", "allowed_providers": ["openai"]}
    conflict = submit(member, f"/keys/{key.id}/edit", {**fields, **seen}, form_of=page)
    assert conflict.status_code == 409
    assert "$7.00" in conflict.text
    assert 'name="spend_limit_usd" type="text" value="7.00"' in conflict.text
    assert re.search(r'value="gemini" checked', conflict.text)
    assert not re.search(r'value="openai" checked', conflict.text)
    seen = {"spend_limit_usd": "7.00", "allowed_providers": ["gemini"]}
    assert submit(member, f"/keys/{key.id}/edit", {**fields, **seen}, form_of=conflict).status_code == 303
    row = stored(app, key.id)
    assert (row.name, row.spend_limit_nanos, row.allowed_providers) == ("renamed", 7_000_000_000, ["gemini"])
    assert row.expires_at is not None


@pytest.mark.parametrize("seen", ["", "nonsense", "[]", '{"name": 1}', "[" * 100_000])
def test_a_conflict_with_a_mangled_form_shows_every_difference(
    app: Flask, member: FlaskClient, make: Callable[..., KeyView], actor: Actor, seen: str
) -> None:
    key = make("mine")
    page = member.get(f"/keys/{key.id}/edit")
    with app.app_context():
        update_key(actor, key.id, {"name": "theirs"})
    fields = {"name": "mine", "spend_reset": "never", "expires": "keep", "seen": seen}
    conflict = submit(member, f"/keys/{key.id}/edit", fields, form_of=page)
    assert conflict.status_code == 409
    assert "theirs" in conflict.text
    assert 'value="mine"' in conflict.text


def test_names_that_are_equal_as_amounts_are_different_names(
    app: Flask, member: FlaskClient, make: Callable[..., KeyView]
) -> None:
    key = make("2024")
    response = submit(member, f"/keys/{key.id}/edit", name="2024.0", spend_reset="never", expires="keep")
    assert response.status_code == 303
    assert stored(app, key.id).name == "2024.0"


@pytest.mark.parametrize("version", ["9" * 5000, "x", "-1", "1.5"])
def test_a_version_nobody_gave_is_a_conflict(
    app: Flask, member: FlaskClient, make: Callable[..., KeyView], version: str
) -> None:
    key = make("as it is")
    response = submit(member, f"/keys/{key.id}/edit", name="new", spend_reset="never", expires="keep", version=version)
    assert response.status_code == 409
    assert stored(app, key.id).name == "as it is"


def test_the_direction_of_a_name_does_not_spill(app: Flask, member: FlaskClient, make: Callable[..., KeyView]) -> None:
    key = make("\u202egnp.exe")
    toast = submit(member, f"/keys/{key.id}/revoke", htmx=True).text
    assert "Revoked <bdi>\u202egnp.exe</bdi>. It is refused" in toast


def test_a_limit_below_what_is_spent_warns_once(
    app: Flask, live: LiveCounters, member: FlaskClient, make: Callable[..., KeyView], clock: Clock
) -> None:
    key = make("spender", spend_limit_usd="20", spend_reset="weekly")
    live.know(key.id)
    live.seed(key.id)
    live.spend(key.id, clock().date(), 12_400_000_000)
    fields = {"name": "spender", "spend_limit_usd": "10", "spend_reset": "weekly", "expires": "keep"}
    warned = submit(member, f"/keys/{key.id}/edit", fields)
    assert warned.status_code == 200
    assert "already spent $12.40" in warned.text
    assert stored(app, key.id).spend_limit_nanos == 20_000_000_000
    confirmed = hidden(warned, "confirmed")
    assert submit(member, f"/keys/{key.id}/edit", fields, form_of=warned, confirmed=confirmed).status_code == 303
    assert stored(app, key.id).spend_limit_nanos == 10_000_000_000


def test_revoke_asks_first_and_is_for_ever(app: Flask, member: FlaskClient, make: Callable[..., KeyView]) -> None:
    key = make("doomed")
    question = member.get(f"/keys/{key.id}/revoke")
    assert "doomed" in question.text
    assert "Requests in the last 24 hours" in question.text
    assert re.search(r"<a[^>]*autofocus[^>]*>Cancel", question.text)
    assert stored(app, key.id).revoked_at is None
    assert submit(member, f"/keys/{key.id}/revoke").status_code == 303
    assert stored(app, key.id).revoked_at is not None
    listed = member.get("/keys").text
    assert "Revoked <bdi>doomed</bdi>." in listed
    assert f"/keys/{key.id}/edit" not in listed
    assert member.get(f"/keys/{key.id}/edit").status_code == 409


def test_an_edit_of_a_key_revoked_meanwhile_is_refused(
    app: Flask, member: FlaskClient, make: Callable[..., KeyView], actor: Actor
) -> None:
    key = make("gone")
    page = member.get(f"/keys/{key.id}/edit")
    with app.app_context():
        revoke_key(actor, key.id)
    response = submit(member, f"/keys/{key.id}/edit", form_of=page, name="back", spend_reset="never", expires="keep")
    assert response.status_code == 409
    assert "cannot be changed" in response.text
