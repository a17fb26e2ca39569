"""Rotating a key on the page: the new secret once, both while both live, and the end of the old one."""

import re
from collections.abc import Callable

import pytest
from dashboard_kit import Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import SECRET, hidden, stored, submit

from shared.keys import digest
from shared.models import AuditEvent, KeySecret
from webapp.actions.keys import revoke_key
from webapp.context import Actor
from webapp.db import db
from webapp.views.keys import KeyView

Make = Callable[..., KeyView]


def secrets(app: Flask, key: KeyView) -> dict[str, KeySecret]:
    with app.app_context():
        return {row.digest: row for row in db.session.query(KeySecret).filter_by(key_id=key.id)}


@pytest.mark.parametrize("htmx", [False, True])
def test_it_works(app: Flask, member: FlaskClient, make: Make, htmx: bool) -> None:
    key = make("leaky", spend_limit_usd="5")
    asked = member.get(f"/keys/{key.id}/rotate").text
    assert f"<code>{key.prefix}…</code>" in asked
    assert '<option value="86400" selected>' in asked
    response = submit(member, f"/keys/{key.id}/rotate", htmx=htmx, grace_seconds="3600")
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    assert "data-locked" in response.text
    found = SECRET.search(response.text)
    assert found is not None
    assert not {"HX-Push-Url", "HX-Replace-Url", "Location"} & set(response.headers.keys())
    assert f"{key.prefix}…</code> works until 24 Nov 2026, 13:00 UTC" in response.text
    rows = secrets(app, key)
    assert len(rows) == 2
    assert rows[digest(found[0].encode())].valid_until is None
    assert (f'<tr id="row-{key.id}" hx-swap-oob="true">' in response.text) == htmx
    assert stored(app, key.id).prefix == found[0][:13]
    for path in ("/keys", f"/keys/{key.id}/rotate", f"/keys/{key.id}/edit"):
        assert found[0] not in member.get(path).text


def test_the_old_secret_dies_at_once_if_asked(app: Flask, member: FlaskClient, make: Make) -> None:
    key = make("leaked")
    response = submit(member, f"/keys/{key.id}/rotate", grace_seconds="0")
    assert "The old secret is refused from now on." in response.text
    assert sorted(row.valid_until is None for row in secrets(app, key).values()) == [False, True]
    assert "Secrets that open it now" not in member.get(f"/keys/{key.id}/rotate").text


@pytest.mark.parametrize("htmx", [False, True])
def test_both_are_listed_and_the_old_one_is_ended_early(
    app: Flask, member: FlaskClient, make: Make, clock: Clock, htmx: bool
) -> None:
    key = make("two at once")
    submit(member, f"/keys/{key.id}/rotate", grace_seconds="604800")
    clock.forward(minutes=10)
    edit = member.get(f"/keys/{key.id}/edit").text
    assert "2 secrets open this key" in edit
    page = member.get(f"/keys/{key.id}/rotate")
    assert "good until <strong>1 Dec 2026, 12:00 UTC</strong>" in page.text
    ended = submit(member, f"/keys/{key.id}/rotate/end", form_of=page, htmx=htmx)
    assert ended.status_code == (200 if htmx else 303)
    shown = ended if htmx else member.get(ended.headers["Location"])
    assert "The old secret of <bdi>two at once</bdi> is refused" in shown.text
    assert "The secret that opens it now" in shown.text
    assert sorted(row.valid_until is None for row in secrets(app, key).values()) == [False, True]
    assert all(row.valid_until is None or row.valid_until <= clock() for row in secrets(app, key).values())
    with app.app_context():
        event = db.session.query(AuditEvent).filter_by(target=key.id, action="key.end_old_secrets").one()
        assert event.before == {"prefixes": [key.prefix]}
    again = submit(member, f"/keys/{key.id}/rotate/end", form_of=page, htmx=htmx)
    assert again.status_code == 409


@pytest.mark.parametrize("back", ["", "?back=key"])
def test_the_page_of_the_key_is_loaded_anew_once_old_secrets_were_ended(
    member: FlaskClient, make: Make, back: str
) -> None:
    key = make("seen on its page")
    submit(member, f"/keys/{key.id}/rotate", grace_seconds="604800")
    assert f'href="/keys/{key.id}/rotate{back}"' in member.get(f"/keys/{key.id}/edit{back}").text
    page = member.get(f"/keys/{key.id}/rotate{back}")
    assert ">Cancel</a>" in page.text
    assert "data-saved" not in page.text
    ended = submit(member, f"/keys/{key.id}/rotate/end{back}", form_of=page, htmx=True).text
    assert ">Close</a>" in ended
    assert ended.count("data-close data-saved") == (2 if back else 0)


def test_a_form_that_is_sent_twice_makes_one_secret(app: Flask, member: FlaskClient, make: Make) -> None:
    """FINDINGS S2: no secret is made that nobody was shown."""
    key = make("double click")
    page = member.get(f"/keys/{key.id}/rotate")
    assert SECRET.search(submit(member, f"/keys/{key.id}/rotate", form_of=page, grace_seconds="3600").text)
    second = submit(member, f"/keys/{key.id}/rotate", form_of=page, grace_seconds="3600")
    assert second.status_code == 409
    assert not SECRET.search(second.text)
    assert "rotated since you opened this" in second.text
    assert len(secrets(app, key)) == 2
    assert submit(member, f"/keys/{key.id}/rotate", form_of=second, grace_seconds="3600").status_code == 201


@pytest.mark.parametrize("grace", ["-1", "604801", "soon", "9" * 5000, None])
def test_a_time_of_grace_that_nobody_offered_is_refused(
    app: Flask, member: FlaskClient, make: Make, grace: str | None
) -> None:
    key = make("kept")
    fields = {} if grace is None else {"grace_seconds": grace}
    refused = submit(member, f"/keys/{key.id}/rotate", fields)
    assert refused.status_code == 422
    assert re.search(r'id="rotate-grace_seconds-error">.*whole number', refused.text, re.DOTALL)
    assert len(secrets(app, key)) == 1


def test_ten_secrets_are_enough(app: Flask, member: FlaskClient, make: Make) -> None:
    key = make("often")
    for _ in range(9):
        assert submit(member, f"/keys/{key.id}/rotate", grace_seconds="3600").status_code == 201
    refused = submit(member, f"/keys/{key.id}/rotate", grace_seconds="3600")
    assert refused.status_code == 409
    assert "End the old ones first" in refused.text
    assert submit(member, f"/keys/{key.id}/rotate/end", form_of=refused).status_code == 303
    assert submit(member, f"/keys/{key.id}/rotate", grace_seconds="3600").status_code == 201


def test_a_revoked_key_is_not_rotated(app: Flask, member: FlaskClient, make: Make, actor: Actor) -> None:
    key = make("gone")
    page = member.get(f"/keys/{key.id}/rotate")
    with app.app_context():
        revoke_key(actor, key.id)
    assert member.get(f"/keys/{key.id}/rotate").status_code == 409
    for path in ("rotate", "rotate/end"):
        response = submit(member, f"/keys/{key.id}/{path}", form_of=page, grace_seconds="0")
        assert response.status_code == 409
        assert "refused for ever" in response.text
        assert 'href="/keys" data-close autofocus>Back to the keys</a>' in response.text
    there = member.get(f"/keys/{key.id}/rotate?back=key").text
    assert f'href="/keys/{key.id}" data-close autofocus>Back to the key</a>' in there
    assert hidden(page, "version") == "1"


def test_a_secret_that_could_not_be_announced_is_shown_all_the_same(
    app: Flask, member: FlaskClient, make: Make, keeper: None
) -> None:
    """Nobody could ever tell it again."""
    key = make("late")
    page = member.get(f"/keys/{key.id}/rotate")
    response = submit(member, f"/keys/{key.id}/rotate", form_of=page, grace_seconds="0")
    assert response.status_code == 201
    assert SECRET.search(response.text)
    assert "could not be told at once" in response.text
