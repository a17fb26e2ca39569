"""Passwords switched off: nobody comes in by one, by any door, and whoever runs the router can open them again."""

from collections.abc import Callable

import pytest
from cli_kit import Command
from dashboard_kit import ADMIN, PASSWORD
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import csrf_of, post_login, submit
from provider_of_people import OF_THE_PROVIDER, PeopleProvider
from single_sign_on_kit import WITHOUT_PASSWORDS, let_in, members, sign_in

from shared.config import Settings
from webapp import create_app
from webapp.actions.invitations import invite
from webapp.context import Actor
from webapp.db import db

OFF = "Passwords are switched off here. Log in through the sign-in provider."
pytestmark = [OF_THE_PROVIDER, pytest.mark.parametrize("settings", [WITHOUT_PASSWORDS], indirect=True)]


def test_it_works(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("boss", email=ADMIN)
    client = app.test_client()
    page = client.get("/login").text
    assert "Sign in with SSO" in page
    assert 'name="password"' not in page
    assert let_in(sign_in(provider, client, "boss"))
    assert 'name="new_password"' not in client.get("/account").text


def test_no_password_opens(app: Flask) -> None:
    for password in (PASSWORD, "wrong"):
        answer = post_login(app.test_client(), ADMIN, password)
        assert (answer.status_code, OFF in answer.text) == (409, True), password


def test_nobody_gets_or_changes_one(app: Flask, enter: Callable[[str], FlaskClient]) -> None:
    admin = enter("admin")
    fields = {"current_password": PASSWORD, "new_password": "another good password"}
    changed = submit(admin, "/account/password", fields, form_of=admin.get("/account"))
    assert (changed.status_code, OFF in changed.text) == (409, True)
    listed = admin.get("/settings/members").text
    assert "New password" not in listed
    assert "logs in by SSO, with this email" in listed
    with app.app_context():
        user_id = db.session.execute(
            db.text("select id from users where email = :email"), {"email": ADMIN}
        ).scalar_one()
    reset = submit(admin, f"/settings/members/{user_id}/password", form_of=admin.get("/settings/members"))
    assert (reset.status_code, OFF in reset.text) == (409, True)


def test_an_invitation_is_for_who_comes_through_the_provider(
    app: Flask, actor: Actor, provider: PeopleProvider
) -> None:
    with app.app_context():
        secret = invite(actor, "ann@example.com", "member").secret
    client = app.test_client()
    page = client.get(f"/invitation/{secret}")
    assert "Sign in with SSO" in page.text
    assert 'name="password"' not in page.text
    fields = {"secret": secret, "password": "another good password", "csrf_token": csrf_of(client)}
    assert OFF in client.post("/invitation", data=fields).text
    provider.knows("ann")
    assert let_in(sign_in(provider, client))
    assert members(app)["ann@example.com"] == "member"


def test_the_way_back_in_is_a_setting_and_a_command(app: Flask, settings: Settings, command: Command) -> None:
    made = command("users password", ADMIN).stdout.rpartition(" ")[2].strip()
    assert post_login(app.test_client(), ADMIN, made).status_code == 409
    environ = {"ROUTER_DATA_DIR": str(settings.data_dir), "SECRET_KEY": settings.secret_key}
    again = create_app(Settings.from_env(environ))
    try:
        assert post_login(again.test_client(), ADMIN, made).status_code == 303
    finally:
        with again.app_context():
            db.engine.dispose()
        again.extensions["counters"].close()
