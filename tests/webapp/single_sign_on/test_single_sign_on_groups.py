"""Groups at the provider give the role here, at each login, and without one nobody comes in."""

from html import unescape

import pytest
from dashboard_kit import ADMIN, Api
from flask import Flask
from provider_of_people import OF_THE_PROVIDER, PeopleProvider
from single_sign_on_kit import ANYBODY, BY_GROUPS, audited, let_in, members, sign_in

from webapp.actions.tokens import create_token
from webapp.context import Actor

pytestmark = OF_THE_PROVIDER
NEW = "ann@example.com"


@pytest.mark.parametrize("settings", [BY_GROUPS], indirect=True)
def test_groups_give_the_role_at_each_login(app: Flask, provider: PeopleProvider) -> None:
    for groups, role in ((["staff"], "member"), (["other", "staff", "platform"], "admin"), ("staff", "member")):
        provider.knows("ann", groups=groups)
        assert let_in(sign_in(provider, app.test_client()))
        assert members(app)[NEW] == role
    assert audited(app, "user.role") == [
        ("user.role", "sign-in provider", {"role": "admin"}),
        ("user.role", "sign-in provider", {"role": "member"}),
    ]


@pytest.mark.parametrize("settings", [BY_GROUPS], indirect=True)
def test_who_may_do_less_loses_what_goes_beyond(app: Flask, api: Api, actor: Actor, provider: PeopleProvider) -> None:
    provider.knows("ann", groups=["platform"])
    sign_in(provider, app.test_client())
    with app.app_context():
        api.token = create_token(Actor(actor.org_id, NEW, None), "hers", ["admin"]).secret
    assert api("GET", "/v1/members").status_code == 200
    provider.knows("ann", groups=["staff"])
    sign_in(provider, app.test_client())
    assert api("GET", "/v1/members").status_code == 401


@pytest.mark.parametrize("settings", [BY_GROUPS], indirect=True)
def test_without_a_group_one_is_told_which(app: Flask, provider: PeopleProvider) -> None:
    cases: list[tuple[object, str]] = [
        (["sales"], "You are in no group that may come in here."),
        ([], "You are in no group that may come in here."),
        (None, "did not say in which groups you are (claim groups)."),
        ({"platform": True}, "did not say in which groups you are (claim groups)."),
        ([["platform"], 7], "You are in no group that may come in here."),
    ]
    for groups, words in cases:
        provider.knows("boss", email=ADMIN, groups=groups)
        refused = sign_in(provider, app.test_client(), "boss")
        assert refused.status_code == 403, groups
        assert f"{words} One of these is needed: platform, staff." in unescape(refused.text)
    assert members(app) == {ADMIN: "admin"}
    (event,) = audited(app, "login.refuse")
    assert event[2] == {"email": ADMIN, "subject": "boss", "reason": "no_role", "through": "sign-in provider"}


@pytest.mark.parametrize("settings", [{**BY_GROUPS, **ANYBODY}], indirect=True)
def test_who_is_in_none_of_the_groups_gets_the_default_role(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("ann")
    assert let_in(sign_in(provider, app.test_client()))
    assert members(app)[NEW] == "viewer"


@pytest.mark.parametrize("settings", [{**BY_GROUPS, "ROUTER_OIDC_GROUPS_CLAIM": "realm_access.roles"}], indirect=True)
def test_groups_may_stand_deeper_and_in_the_userinfo(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("ann", realm_access={"roles": ["staff"]})
    provider.in_userinfo = ("realm_access",)
    assert let_in(sign_in(provider, app.test_client()))
    assert members(app)[NEW] == "member"


@pytest.mark.parametrize("settings", [BY_GROUPS], indirect=True)
@pytest.mark.parametrize("email", [{}, {"email": "Ann@Example.com"}, {"email": "eve@example.com"}])
def test_the_tokens_email_stays_whatever_email_the_userinfo_has(
    app: Flask, provider: PeopleProvider, email: dict[str, str]
) -> None:
    provider.knows("ann", groups=["staff"])
    provider.in_userinfo = ("groups",)
    provider.alter_userinfo = lambda told: {"sub": told["sub"], "groups": told["groups"], **email}
    assert let_in(sign_in(provider, app.test_client()))
    assert members(app)[NEW] == "member"


@pytest.mark.parametrize("settings", [BY_GROUPS], indirect=True)
def test_another_emails_verification_is_not_the_tokens(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("ann", groups=["staff"])
    provider.in_userinfo = ("email_verified",)
    provider.alter_userinfo = lambda told: {**told, "email": "eve@example.com"}
    assert not let_in(sign_in(provider, app.test_client()))


@pytest.mark.parametrize("settings", [BY_GROUPS], indirect=True)
def test_a_claim_that_is_null_in_the_token_is_taken_from_the_userinfo(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("ann", groups=["staff"])
    provider.alter = lambda claims: {**claims, "groups": None, "email": None, "email_verified": None}
    assert let_in(sign_in(provider, app.test_client()))
    assert members(app)[NEW] == "member"


@pytest.mark.parametrize("settings", [BY_GROUPS], indirect=True)
def test_the_last_administrator_stays_one_and_is_told(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("boss", email=ADMIN, groups=["staff"])
    client = app.test_client()
    assert let_in(sign_in(provider, client, "boss"))
    assert "You stay an administrator as long as there is no other one." in client.get("/keys").text
    assert members(app) == {ADMIN: "admin"}
    assert audited(app, "user.role_kept") == [("user.role_kept", "sign-in provider", {"groups_give": "member"})]
    assert "Left the last administrator one" in client.get("/audit").text
    provider.knows("ann", groups=["platform"])
    sign_in(provider, app.test_client())
    assert let_in(sign_in(provider, app.test_client(), "boss"))
    assert members(app) == {ADMIN: "member", NEW: "admin"}
