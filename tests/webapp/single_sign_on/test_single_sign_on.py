"""Logging in through the provider: who becomes which member, with which role, and who is told why not."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from cli_kit import Command
from dashboard_kit import ADMIN, PASSWORD, Api, Clock
from flask import Flask
from forms_kit import count, hidden, post_login
from provider_of_people import OF_THE_PROVIDER, PeopleProvider
from single_sign_on_kit import ANYBODY, audited, begin, let_in, members, sign_in, way_back

from shared.models import Identity, Invitation, User, UserSession
from shared.secret_text import MASK
from webapp.actions.invitations import invite
from webapp.actions.tokens import create_token
from webapp.actions.users import change_user, create_user
from webapp.context import Actor
from webapp.db import db

pytestmark = OF_THE_PROVIDER
NEW = "ann@example.com"


def user_id(app: Flask, email: str) -> str:
    with app.app_context():
        return db.session.query(User.id).filter_by(email=email).one()[0]


@pytest.mark.parametrize("settings", [ANYBODY], indirect=True)
def test_it_works(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("ann", email="Ann@Example.com")
    client = app.test_client()
    page = client.get("/login?next=/keys%3Fstatus%3Dactive").text
    assert page.index("Sign in with SSO") < page.index('name="password"')
    assert 'href="/login/provider?next=/keys%3Fstatus%3Dactive"' in page
    assert let_in(sign_in(provider, client, target="/keys%3Fstatus%3Dactive"), "/keys?status=active")
    assert NEW in client.get("/account").text
    assert members(app) == {ADMIN: "admin", NEW: "viewer"}
    assert audited(app, "user.create", "user.link", "login.accept")[1:] == [
        ("user.create", NEW, {"email": NEW, "role": "viewer"}),
        ("user.link", NEW, {"issuer": provider.issuer, "subject": "ann"}),
        ("login.accept", NEW, {"through": "sign-in provider"}),
    ]
    assert post_login(app.test_client(), NEW, PASSWORD).status_code == 422


def test_what_is_asked_for(app: Flask, provider: PeopleProvider) -> None:
    first, second = (begin(app.test_client()) for _ in range(2))
    assert first.startswith(f"{provider.issuer}/oauth2/authorize?")
    for part in (
        "response_type=code",
        "code_challenge_method=S256",
        "scope=openid+email+profile",
        "client_id=the-router",
    ):
        assert part in first
    assert "redirect_uri=http%3A%2F%2Flocalhost%2Flogin%2Fprovider%2Fcallback" in first
    for name in ("state", "nonce", "code_challenge"):
        values = [dict(pair.split("=") for pair in url.partition("?")[2].split("&"))[name] for url in (first, second)]
        assert values[0] != values[1]
        assert min(len(value) for value in values) >= 32
    assert "prompt=login" in begin(app.test_client(), "/login/provider?anew")


def test_a_member_is_found_by_email_once_and_by_subject_from_then_on(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("boss", email=ADMIN)
    assert let_in(sign_in(provider, app.test_client(), "boss"))
    provider.knows("boss", email="married@example.com")
    client = app.test_client()
    assert let_in(sign_in(provider, client, "boss"))
    assert ADMIN in client.get("/account").text
    assert members(app) == {ADMIN: "admin"}
    assert post_login(app.test_client()).status_code == 303  # and by their password, as before


def test_who_has_the_email_of_a_member_is_not_that_member(
    app: Flask,
    provider: PeopleProvider,
    command: Command,
) -> None:
    provider.knows("boss", email=ADMIN)
    old = app.test_client()
    sign_in(provider, old, "boss")
    provider.knows("successor", email=ADMIN)
    refused = sign_in(provider, app.test_client(), "successor")
    assert refused.status_code == 403
    assert "logs in with another account" in refused.text
    assert f"{ADMIN} is unlinked" in command("users unlink", ADMIN).stdout
    assert old.get("/keys").status_code == 303
    assert "was not linked" in command("users unlink", ADMIN).stdout
    assert let_in(sign_in(provider, app.test_client(), "successor"))
    assert "another account" in sign_in(provider, app.test_client(), "boss").text
    assert [action for action, *_ in audited(app, "user.link", "user.unlink")] == [
        "user.link",
        "user.unlink",
        "user.link",
    ]


@pytest.mark.parametrize("settings", [ANYBODY], indirect=True)
def test_an_email_that_is_not_verified_is_nobodys(app: Flask, provider: PeopleProvider) -> None:
    for verified in (False, None, "false", 1, "yes"):
        provider.knows("ann", email=ADMIN, email_verified=verified)
        refused = sign_in(provider, app.test_client())
        assert refused.status_code == 403, verified
        assert f"has not verified that {ADMIN} is yours" in refused.text
    assert count(app, Identity) == count(app, UserSession) == 0
    told = {"email": ADMIN, "subject": "ann", "reason": "email_not_verified", "through": "sign-in provider"}
    assert audited(app, "login.refuse") == [("login.refuse", "sign-in provider", told)]


@pytest.mark.parametrize("settings", [ANYBODY], indirect=True)
def test_without_an_email_nobody_begins(app: Flask, provider: PeopleProvider) -> None:
    for email in (None, "", "no address", 7, "two words@example.com"):
        provider.knows("nameless", email=email)
        refused = sign_in(provider, app.test_client(), "nameless")
        assert refused.status_code == 403, email
        assert "did not say which email address" in refused.text
    assert members(app) == {ADMIN: "admin"}


@pytest.mark.parametrize("settings", [ANYBODY], indirect=True)
def test_nobody_is_called_by_a_secret(app: Flask, provider: PeopleProvider) -> None:
    secret = "sk-proj-" + "ab3x" * 10
    provider.knows("ann", email=f"{secret}@example.com")
    refused = sign_in(provider, app.test_client())
    assert refused.status_code == 403
    ((*_, told),) = audited(app, "login.refuse")
    assert isinstance(told, dict)
    assert told["email"] == f"{MASK}@example.com"
    assert secret not in refused.text
    assert members(app) == {ADMIN: "admin"}


def test_a_verified_email_spelled_as_text_and_told_in_the_userinfo(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("boss", email=ADMIN, email_verified="true")
    provider.in_userinfo = ("email", "email_verified")
    assert let_in(sign_in(provider, app.test_client(), "boss"))
    assert provider.calls["/userinfo"] == 1


def test_who_is_nobody_here_is_told_how_to_become_a_member(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("ann")
    refused = sign_in(provider, app.test_client())
    assert (refused.status_code, refused.headers["Cache-Control"]) == (403, "no-store")
    assert f"{NEW} is no member yet. An administrator can invite you." in refused.text
    assert 'href="/login/provider?anew&amp;next=/keys"' in refused.text


def test_an_invitation_is_accepted_by_coming(
    app: Flask,
    clock: Clock,
    actor: Actor,
    provider: PeopleProvider,
) -> None:
    provider.knows("ann")
    provider.knows("late")
    with app.app_context():
        link = f"/invitation/{invite(actor, NEW, 'member').secret}"
        invite(Actor(actor.org_id, "old", None), "late@example.com", "admin")
    client = app.test_client()
    shown = client.get(link).text
    assert shown.index("Sign in with SSO") < shown.index("Or by a password")
    assert let_in(sign_in(provider, client))
    assert members(app) == {ADMIN: "admin", NEW: "member"}
    assert client.get("/keys/new").status_code == 200
    assert app.test_client().get(link).status_code == 404
    told = {"email": NEW, "role": "member", "by": ADMIN}
    assert audited(app, "invitation.accept") == [("invitation.accept", NEW, told)]
    clock.forward(days=7, seconds=1)
    provider.alter = lambda claims: {**claims, "iat": clock.now.timestamp(), "exp": clock.now.timestamp() + 60}
    assert "is no member yet" in sign_in(provider, app.test_client(), "late").text
    assert count(app, Invitation) == 1


def test_who_is_deactivated_is_out_everywhere_at_once(
    app: Flask,
    api: Api,
    actor: Actor,
    provider: PeopleProvider,
) -> None:
    with app.app_context():
        create_user(actor, NEW, "admin")
        api.token = create_token(Actor(actor.org_id, NEW, None), "hers", ["keys:read"]).secret
    provider.knows("ann")
    client = app.test_client()
    assert let_in(sign_in(provider, client))
    assert (client.get("/keys").status_code, api("GET", "/v1/keys").status_code) == (200, 200)
    with app.app_context():
        change_user(actor, user_id(app, NEW), active=False)
    assert client.get("/keys").headers["Location"] == "/login?next=/keys"
    assert api("GET", "/v1/keys").status_code == 401
    refused = sign_in(provider, client)
    assert refused.status_code == 403
    assert "your membership was ended" in refused.text
    assert client.get("/keys").status_code == 303
    (event,) = audited(app, "login.refuse")
    assert event[2] == {"email": NEW, "subject": "ann", "reason": "deactivated", "through": "sign-in provider"}
    with app.app_context():
        change_user(actor, user_id(app, NEW), active=True)
    assert let_in(sign_in(provider, client))


def test_a_deactivated_member_who_was_never_linked_stays_out(
    app: Flask,
    actor: Actor,
    provider: PeopleProvider,
) -> None:
    with app.app_context():
        change_user(actor, create_user(actor, NEW, "member").user_id, active=False)
    provider.knows("ann")
    assert "your membership was ended" in sign_in(provider, app.test_client()).text
    assert count(app, Identity) == 0


def test_logging_out_leads_to_the_providers_own_page(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("boss", email=ADMIN)
    client = app.test_client()
    sign_in(provider, client, "boss")
    left = client.post("/logout", data={"csrf_token": hidden(client.get("/keys"), "csrf_token")})
    assert left.headers["Location"] == "/login?left"
    assert 'href="/logout/provider"' in client.get("/login?left").text
    there = client.get("/logout/provider").headers["Location"]
    assert there.startswith(f"{provider.issuer}/oauth2/end_session?client_id=the-router&")
    assert there.endswith("post_logout_redirect_uri=http%3A%2F%2Flocalhost%2Flogin")
    post_login(client)
    left = client.post("/logout", data={"csrf_token": hidden(client.get("/keys"), "csrf_token")})
    assert left.headers["Location"] == "/login"


def test_the_way_back_leads_nowhere_else(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("boss", email=ADMIN)
    for target in ("//evil.example", "https://evil.example", "/%5Cevil.example", "/keys%0d%0aX: y"):
        assert let_in(sign_in(provider, app.test_client(), "boss", target), "/"), target


def test_who_is_logged_in_is_not_sent_away(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("boss", email=ADMIN)
    client = app.test_client()
    back = way_back(provider, begin(client), "boss")
    assert let_in(client.get(back), "/")
    assert client.get("/login/provider?next=/keys").headers["Location"] == "/keys"
    assert let_in(client.get(back), "/")  # the page that was left, loaded again


@pytest.mark.parametrize("settings", [ANYBODY], indirect=True)
def test_somebody_new_who_comes_twice_at_once_is_one_member(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("ann")
    clients = [app.test_client() for _ in range(4)]
    backs = [way_back(provider, begin(client)) for client in clients]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda client, back: client.get(back), clients, backs))
    assert [answer.status_code for answer in answers] == [303] * 4
    assert (count(app, User), count(app, Identity), count(app, UserSession)) == (2, 1, 4)
