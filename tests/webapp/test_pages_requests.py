"""The Requests page: what was sent and what was refused, found by whatever somebody has of it."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from dashboard_kit import Api
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX
from happened_kit import Activity, shown, words

from proxyd.accounting.records import OUTCOMES
from shared.policy import ERRORS, Reason
from webapp.actions.keys import revoke_key
from webapp.context import Actor
from webapp.schemas import activity as schema
from webapp.views.keys import KeyView
from webapp.views.refusal_help import HELP
from webapp.views.request_words import OUTCOMES as OUTCOME_WORDS

Make = Callable[..., KeyView]


def test_it_works(member: FlaskClient, make: Make, happened: Activity) -> None:
    """A request with all that is known of it, in people's words."""
    key = make("billing")
    happened.sent(
        key.id, "req_1", served_model="gpt-4o-2024-08-06", provider_request_id="chatcmpl-9", client_ip="203.0.113.7",
        flags=["estimated"], duration_ms=2_400, sent_status=None, outcome="client_gone",
    )  # fmt: skip
    page = member.get("/requests")
    assert shown(page) == ["req_1"]
    for text in ("billing", "gpt-4o", "OpenAI", "The app hung up", "1,003 in, 7 out", "$0.0025", "2.4 s", "1 request"):
        assert text in words(page)
    told = words(member.get("/requests/req_1", headers=HTMX))
    for text in (
        "gpt-4o-2024-08-06, asked for gpt-4o", "chatcmpl-9", "203.0.113.7", "Cost estimated", "3 ms", "$0.0025775 exactly",
        "$1.00 were held", "Input tokens 1,003 $2.5 for 1,000,000", "given none", "the provider gave 200", "price table",
    ):  # fmt: skip
        assert text in told, text


def test_from_a_403_to_its_cause_in_two_clicks(member: FlaskClient, make: Make, happened: Activity) -> None:
    key = make("billing")
    happened.refused(key.id, "model_not_allowed", count=1234)
    page = member.get("/requests")
    assert 'href="/requests/refused"' in page.text
    refused = member.get("/requests/refused")
    (href,) = shown(refused)
    told = words(member.get(f"/requests/{href}", headers=HTMX))
    for text in ("Model not allowed", "It may not.", "1,234 times", "gpt-4.1", "203.0.113.7", "What to do", "403"):
        assert text in told
    assert f'href="/keys/{key.id}/edit#key-allowed_models"' in member.get(f"/requests/{href}").text


@pytest.mark.parametrize("reason", list(Reason))
def test_each_reason_says_what_to_do_and_where(
    member: FlaskClient, make: Make, happened: Activity, reason: Reason
) -> None:
    key = make("billing")
    happened.refused(key.id, reason, status=ERRORS[reason].status)
    (href,) = shown(member.get(f"/requests/refused?reason={reason.value}"))
    page = member.get(f"/requests/{href}")
    for text in (
        HELP[reason].title,
        HELP[reason].cause,
        HELP[reason].remedy,
        f"{ERRORS[reason].status} {reason.value}",
    ):
        assert text in words(page)
    form = member.get(f"/keys/{key.id}/edit").text
    for field in re.findall(rf"/keys/{key.id}/edit#([\w-]+)", page.text):
        assert f'id="{field}"' in form
    assert (HELP[reason].cure in ("edit", "resume")) == (f"/keys/{key.id}/edit#" in page.text)


def test_who_may_not_change_it_is_told_who_may(
    enter: Callable[[str], FlaskClient], make: Make, happened: Activity
) -> None:
    key = make("billing")
    happened.refused(key.id, "spend_exceeded")
    happened.refused(key.id, "provider_not_configured")
    viewer = enter("viewer")
    told = viewer.get(f"/requests/refused/{key.id}/spend_exceeded")
    assert "/edit" not in told.text
    assert "A member or an administrator can change it." in words(told)
    for role, may in (("member", False), ("admin", True)):
        told = enter(role).get(f"/requests/refused/{key.id}/provider_not_configured", headers=HTMX)
        assert ('href="/providers"' in told.text) == may
        assert ("An administrator can change it." in words(told)) != may


def test_a_key_that_cannot_be_edited_any_more_offers_no_edit(
    app: Flask, enter: Callable[[str], FlaskClient], make: Make, actor: Actor, happened: Activity
) -> None:
    """Revoked since, or gone; who revoked it is still told."""
    revoked = make("billing").id
    for key_id in (revoked, "key_gone"):
        for reason in ("model_not_allowed", "key_paused", "key_revoked"):
            happened.refused(key_id, reason)
    with app.app_context():
        revoke_key(actor, revoked)
    for key_id in (revoked, "key_gone"):
        for role in ("viewer", "admin"):
            client = enter(role)
            for reason in ("model_not_allowed", "key_paused"):
                told = client.get(f"/requests/refused/{key_id}/{reason}")
                assert told.status_code == 200
                assert "/edit" not in told.text
                assert "can change it" not in told.text
            assert f'href="/audit?target={key_id}' in client.get(f"/requests/refused/{key_id}/key_revoked").text


# What is new


def test_news_are_told_once(member: FlaskClient, make: Make, happened: Activity, app: Flask) -> None:
    """A row that comes, also in the middle, and one that is counted up."""
    key = make()
    happened.sent(key.id, "req_5", 50)

    def asks(path: str) -> Callable[[], int]:
        found = re.search(r'data-news="([^"]+)"', member.get(path).text)
        assert found is not None
        return lambda: member.get(unescape(found[1])).status_code

    here, elsewhere = asks("/requests"), asks("/requests?provider=gemini")
    refused = asks("/requests/refused")
    assert (here(), elsewhere(), refused()) == (204, 204, 204)
    happened.sent(key.id, "req_4", 40)
    assert (here(), elsewhere(), refused()) == (200, 204, 204)
    happened.refused(key.id, "key_paused")
    assert refused() == 200


# Care


def test_foreign_ones_are_not_there(member: FlaskClient, stranger: Api, app: Flask) -> None:
    theirs = Activity(app, "org_other")
    key_id = stranger.create(name="theirs")["id"]
    theirs.sent(key_id, "req_theirs", provider_request_id="p-theirs")
    denied = theirs.refused(key_id, "key_paused")
    for path in ("/requests/req_theirs", f"/requests/refused/{key_id}/key_paused", f"/requests/{denied}"):
        assert member.get(path).status_code == 404
    for query in ("", f"?key={key_id}", "?q=theirs", "?id=req_theirs", "?id=p-theirs", f"?id={denied}"):
        for path in ("/requests", "/requests/refused"):
            assert shown(member.get(path + query)) == []


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '" hx-get="/logout', "{{7*7}}", "\u202egnp.exe"])
def test_hostile_texts_stay_text(member: FlaskClient, make: Make, happened: Activity, text: str) -> None:
    key = make(text)
    happened.sent(
        key.id, "req_1", requested_model=text, served_model=text, provider_request_id=text, endpoint=text[:20]
    )
    happened.refused(key.id, "model_not_allowed", sentence=text, model=text, request_id="req_2")
    pages = ("/requests", "/requests/req_1", "/requests/refused", f"/requests/refused/{key.id}/model_not_allowed")
    for path in pages:
        for headers in ({}, HTMX):
            page = member.get(path, headers=headers)
            assert text in unescape(page.text)
            assert not re.search(r"<script>alert|\shx-get=\"/logout", page.text)


def test_a_correction_is_told_as_such(member: FlaskClient, make: Make, happened: Activity) -> None:
    key = make()
    happened.sent(key.id, "req_1", flags=["estimated"])
    happened.sent(key.id, "req_1a", 9, adjusts="req_1", cost_nanos=-500_000_000, flags=["adjustment"], price=None)
    assert "\u2212$0.50" in words(member.get("/requests"))
    assert 'href="/requests/req_1a"' in member.get("/requests/req_1").text
    assert 'href="/requests/req_1"' in member.get("/requests/req_1a").text


def test_a_try_leads_to_what_became_of_it_once_there_is_something(
    member: FlaskClient, make: Make, happened: Activity
) -> None:
    """Where no other credential could be reached, or the app had left, a try is all that there is."""
    key, tried = make("several"), [{"label": "default", "last4": "0001", "why": "rate_limited"}]
    happened.sent(key.id, "req_1-1", status=429, sent_status=None, flags=["retried"], tried=tried)
    page = member.get("/requests/req_1-1")
    assert "No other credential has an answer to it" in words(page)
    assert 'href="/requests/req_1"' not in page.text
    happened.sent(key.id, "req_1")
    page = member.get("/requests/req_1-1")
    assert "went on with another credential" in words(page)
    assert 'href="/requests/req_1"' in page.text


def test_outcomes_are_those_of_the_ledger() -> None:
    assert schema.OUTCOMES == OUTCOMES
    assert set(OUTCOME_WORDS) == set(OUTCOMES)
