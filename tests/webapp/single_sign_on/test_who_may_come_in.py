"""Who may come in of all that have an account at the provider, and what the audit log has of those who may not."""

from html import unescape

import pytest
from dashboard_kit import ADMIN, Clock
from flask import Flask
from provider_of_people import OF_THE_PROVIDER, Claims, PeopleProvider
from single_sign_on_kit import ANYBODY, audited, let_in, members, sign_in

from webapp.actions import login_refusals
from webapp.actions.users import change_user, create_user
from webapp.context import Actor
from webapp.events import EVENTS

pytestmark = OF_THE_PROVIDER
REQUIRED = {**ANYBODY, "ROUTER_OIDC_REQUIRED_CLAIMS": "hd=a.example, hd=b.example, org.guest=false"}
HD, GUEST = "its hd must be a.example or b.example", "its org.guest must be false"
MINE = {"hd": "a.example", "org": {"guest": False}}


@pytest.mark.parametrize("settings", [REQUIRED], indirect=True)
def test_everybody_needs_the_claims_that_are_required(app: Flask, provider: PeopleProvider) -> None:
    cases: list[tuple[Claims, str]] = [
        ({}, f"{HD}, and {GUEST}"), ({"hd": "evil.example", "org": {"guest": False}}, HD), ({"hd": ["a.example"], "org": {}}, GUEST),
        ({"hd": "A.example", "org": {"guest": 0}}, f"{HD}, and {GUEST}"), ({"hd": {"a.example": 1}, "org": ["guest"]}, f"{HD}, and {GUEST}"),
        ({"hd": "b.example", "org": {"guest": "false"}}, ""), ({"hd": ["c.example", "a.example"], "org": {"guest": [False]}}, ""),
    ]  # fmt: skip
    for number, (claims, lacking) in enumerate(cases):
        provider.knows(f"p{number}", **claims)
        answer = sign_in(provider, app.test_client(), f"p{number}")
        if lacking:
            assert answer.status_code == 403
            assert f"may not be used here: {lacking}." in unescape(answer.text), claims
        else:
            assert let_in(answer), answer.text
    assert set(members(app)) == {ADMIN, "p5@example.com", "p6@example.com"}


@pytest.mark.parametrize("settings", [REQUIRED], indirect=True)
def test_members_too_at_each_login_and_as_the_userinfo_has_it(app: Flask, provider: PeopleProvider) -> None:
    provider.knows("boss", email=ADMIN, **MINE)
    provider.in_userinfo = ("hd", "org")
    assert let_in(sign_in(provider, app.test_client(), "boss"))
    provider.knows("boss", email=ADMIN, **{**MINE, "hd": "elsewhere.example"})
    assert "may not be used here" in sign_in(provider, app.test_client(), "boss").text
    told = {"email": ADMIN, "subject": "boss", "reason": "claim_missing", "through": "sign-in provider"}
    assert audited(app, "login.refuse") == [("login.refuse", "sign-in provider", told)]


def test_nobody_fills_the_audit_log_by_being_refused(
    app: Flask, clock: Clock, actor: Actor, provider: PeopleProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_refusals, "MOST_STRANGERS", 3)
    provider.alter = lambda claims: {**claims, "exp": claims["iat"] + 100_000}
    for number in range(5):
        provider.knows(f"p{number}", email=f"p{number}@{'x' * 300}.example")
    with app.app_context():
        change_user(actor, create_user(actor, "left@example.com", "member").user_id, active=False)
    provider.knows("left")
    before = EVENTS.counts["login_refused"]

    def refuse(*subjects: str) -> list[str]:
        """Who stands in the audit log then."""
        for subject in subjects:
            assert sign_in(provider, app.test_client(), subject).status_code == 403
        return [str(told["subject"]) for *_, told in audited(app, "login.refuse") if isinstance(told, dict)]

    assert refuse("p0", "p0", "p1", "p0") == ["p0", "p1"]
    assert refuse("p2", "p3", "p4") == ["p0", "p1", "p2"]  # three strangers in an hour are enough
    assert refuse("left", "left") == ["p0", "p1", "p2", "left"]  # who was a member is never left out
    provider.knows("p0", email="p0@example.com", email_verified=False)
    assert refuse("p0") == ["p0", "p1", "p2", "left"]
    clock.forward(hours=1, seconds=1)
    assert refuse("p3", "p3", "p0", "left") == ["p0", "p1", "p2", "left", "p3", "p0", "left"]
    assert EVENTS.counts["login_refused"] == before + 14
    assert {len(str(told["email"])) for *_, told in audited(app, "login.refuse") if isinstance(told, dict)} <= {
        254,
        16,
        14,
    }
