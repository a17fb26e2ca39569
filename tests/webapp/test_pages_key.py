"""The page of one key: what it tells, to whom, and what its buttons lead back to."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from dashboard_kit import FULL, Api
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX, hidden, stored, submit
from key_page_kit import shown, text_of
from key_rows_kit import posted, refusal_of
from live_counters import LiveCounters

from shared.policy import ERRORS, Reason
from webapp.actions.credentials import store_credentials
from webapp.actions.keys import revoke_key, update_key
from webapp.context import Actor
from webapp.views.keys import KeyView
from webapp.views.refusal_help import HELP

Make = Callable[..., KeyView]
USD = 1_000_000_000


@pytest.mark.usefixtures("live")
@pytest.mark.usefixtures("served")
def test_it_works(member: FlaskClient, make: Make) -> None:
    key = make("billing", **{name: value for name, value in FULL.items() if name != "name"})
    page = member.get(f"/keys/{key.id}")
    told = text_of(page)
    for words in (
        "billing", f"{key.prefix}…", "Active", "No request of it was ever refused", "$12.50 left", "of $12.50 a week",
        "resets in 4 d, on 29 Nov 2026, 00:00 UTC", "60 left of 60 in any 60 seconds", "gpt-4o*", "10.0.0.0/8", "2001:db8::1",
        "OpenAI", "Gemini", "1 Jan 2027, 00:00 UTC", "by admin@example.com", "It has sent no request yet", "Created a key",
        "No request in these days",
    ):  # fmt: skip
        assert words in told, words
    assert page.headers["Cache-Control"] == "no-store"


def test_who_made_it_is_told_by_name(api: Api, enter: Callable[[str], FlaskClient]) -> None:
    """A token by its name, on every page that tells of it; its id stands in the audit log."""
    key, admin = api.create(name="made by automation"), enter("admin")
    api("POST", "/v1/tokens", {"name": "a further one", "scopes": ["keys:read"]})
    api("POST", "/v1/webhooks", {"url": "https://hooks.example.com/x"})
    api("POST", "/v1/invitations", {"email": "new@example.com", "role": "viewer"})
    api("POST", f"/v1/keys/{key['id']}/hand-overs", {"key": key["key"]})
    told = text_of(admin.get(f"/keys/{key['id']}"))
    assert "by bootstrap Last used" in told
    assert "Created a key just now by bootstrap from" in told
    for path in (f"/keys/{key['id']}", "/settings", "/settings/alerts", "/settings/members", "/providers"):
        assert "tok_" not in text_of(admin.get(path)), path


def test_foreign_and_missing_keys_are_the_same_404(member: FlaskClient, stranger: Api) -> None:
    token = hidden(member.get("/keys/new"), "csrf_token")
    for key_id in (stranger.create(name="theirs")["id"], "key_00000000000000000000000000", "nonsense"):
        pages = [
            member.get(f"/keys/{key_id}{path}", headers=headers) for path in ("", "/live") for headers in ({}, HTMX)
        ]
        pages.append(member.get(f"/keys/{key_id}", headers={**HTMX, "HX-Target": "usage"}))
        pages.append(member.post(f"/keys/{key_id}/check", data={"csrf_token": token, "model": "gpt-4o"}))
        assert [page.status_code for page in pages] == [404] * 6
        assert not any("theirs" in page.text for page in pages)


def test_viewers_read_it_and_can_change_nothing(enter: Callable[[str], FlaskClient], app: Flask, make: Make) -> None:
    viewer, key = enter("viewer"), make("seen", allowed_models=["gpt-4o*"])
    posted(app, refusal_of(key.id, "model_not_allowed"))
    page = viewer.get(f"/keys/{key.id}")
    assert "Model not allowed" in text_of(page)
    for word in ("/edit", "/revoke", "/pause", "/rotate"):
        assert f"/keys/{key.id}{word}" not in page.text
    assert "It would be let through" not in page.text
    assert submit(viewer, f"/keys/{key.id}/check", form_of=page, model="claude-opus-4-8").status_code == 200


@pytest.mark.usefixtures("served")
def test_each_refusal_is_told_with_its_cause_and_what_to_do(
    app: Flask, member: FlaskClient, make: Make, org_id: str
) -> None:
    """Whatever it is, and with all others beside it."""
    key = make()
    for number, reason in enumerate(Reason):
        status, sentence = ERRORS[reason].status, f"Said <b>{number}</b>."
        row = {"org_id": org_id, "count": 1_234, "status": status, "sentence": sentence}
        posted(app, refusal_of(key.id, reason.value, -number, **row))
    told = shown(member, key)
    assert f"{HELP[next(iter(Reason))].title} Its last refused request was told: Said <b>0</b>." in told
    for number, reason in enumerate(Reason):
        words, ago = HELP[reason], "just now" if number == 0 else f"{number} min ago"
        where = f"last {ago} from 203.0.113.7 for gpt-4o · {ERRORS[reason].status} {reason.value}"
        assert f"{words.title} 1,234 times, {where}" in told
        cure = f"{words.remedy} Edit this key" if words.cure == "edit" else f"{words.remedy} Request"
        assert f"{words.cause} The app was told: Said <b>{number}</b>. What to do. {cure}" in told


def test_a_refusal_of_a_later_release_is_told_by_its_code(app: Flask, member: FlaskClient, make: Make) -> None:
    key = make()
    posted(app, refusal_of(key.id, "of_the_future"))
    assert "of_the_future 3 times" in shown(member, key)


@pytest.mark.usefixtures("served")
def test_the_state_and_why_come_first(app: Flask, member: FlaskClient, make: Make, actor: Actor) -> None:
    key, revoked = make(allowed_models=["o3"]), make(allowed_models=["o3"])
    posted(app, refusal_of(key.id, "model_not_allowed"), refusal_of(revoked.id, "model_not_allowed"))
    told = shown(member, key)
    assert "It is asked again. Blocked . Its last refused request was told: No." in told
    assert f"Model not allowed Its last refused request was told: No. {HELP[Reason.MODEL_NOT_ALLOWED].remedy}" in told
    with app.app_context():
        update_key(actor, key.id, {"allowed_models": ["gpt-4o"]})
        revoke_key(actor, revoked.id)
    for each, state in ((key, "Active"), (revoked, "Revoked")):
        told = shown(member, each)
        assert f"It is asked again. {state} ." in told
        assert "Model not allowed 3 times" in told


def test_the_first_section_alone_is_asked_for_again_and_only_news_come(
    app: Flask, member: FlaskClient, make: Make
) -> None:
    key = make()
    first = member.get(f"/keys/{key.id}/live", headers=HTMX)
    assert "<html" not in first.text
    assert "ever refused" in first.text
    (known,) = re.findall(r'name="shown" id="key-shown" value="(\w{16})"', first.text)
    assert member.get(f"/keys/{key.id}/live?shown={known}", headers=HTMX).status_code == 204
    posted(app, refusal_of(key.id, "rate_limited"))
    news = member.get(f"/keys/{key.id}/live?shown={known}", headers=HTMX)
    assert "<strong>Rate limit reached</strong>" in news.text
    assert known not in news.text
    whole = member.get(f"/keys/{key.id}/live")
    assert (whole.status_code, whole.headers["Location"]) == (303, f"/keys/{key.id}")


@pytest.mark.parametrize("htmx", [False, True])
def test_a_dry_run_says_what_would_become_of_a_request(
    app: Flask, member: FlaskClient, make: Make, actor: Actor, live: LiveCounters, htmx: bool
) -> None:
    with app.app_context():
        store_credentials(actor, {"openai": "sk-real-openai"})
    key = make(allowed_models=["gpt-4o*"], spend_limit_usd="1")
    page = member.get(f"/keys/{key.id}")
    path = f"/keys/{key.id}/check"

    def ask(**fields: object) -> str:
        answer = submit(member, path, fields, htmx=htmx, form_of=page)
        assert ("<html" in answer.text) is not htmx
        assert ("Limits and what is left" in answer.text) is not htmx
        return text_of(answer)

    allowed = ask(model="gpt-4o-mini", max_tokens="100")
    assert "It would be let through" in allowed
    assert "Goes to OpenAI, /v1/chat/completions" in allowed
    assert "Costs at most $0.0" in allowed
    refused = ask(model="claude-opus-4-8")
    assert "It would be refused: model not allowed" in refused
    assert HELP[Reason.MODEL_NOT_ALLOWED].remedy in refused
    assert "may not use the model claude-opus-4-8. Allowed: gpt-4o*." in refused
    assert "Code model_not_allowed, HTTP 403" in refused
    assert stored(app, key.id).last_used_at is None
    assert "No request of it was ever refused" in shown(member, key)


def test_a_dry_run_names_what_it_cannot_take(member: FlaskClient, make: Make) -> None:
    key = make(allowed_ips=["10.0.0.0/8"])
    page = member.get(f"/keys/{key.id}")
    for fields, name, message in (
        ({"model": "gpt-4o"}, "ip", "Is required: this key may be used from some addresses only."),
        ({"model": "gpt-4o", "ip": "here"}, "ip", "Is neither an IPv4 nor an IPv6 address."),
        ({"model": "gpt-4o", "ip": "10.0.0.1", "max_tokens": "many"}, "max_tokens", "Must be a whole number"),
        ({"model": "gpt-4o", "ip": "10.0.0.1", "path": "v1"}, "path", "Must be a path such as /v1/messages"),
        (
            {"model": "gpt-4o", "ip": "10.0.0.1", "provider": "acme"},
            "provider",
            "'acme' is not a provider; choose from openai",
        ),
        ({"ip": "10.0.0.1"}, "provider", "Is required where neither the path nor a model tells it."),
    ):
        answer = submit(member, f"/keys/{key.id}/check", fields, form_of=page)
        assert answer.status_code == 422
        error = re.search(rf'id="check-{name}-error">(.*?)</div>', answer.text, re.DOTALL)
        assert error is not None, fields
        assert message in unescape(error[1])


def test_a_secret_that_is_pasted_into_a_dry_run_is_not_repeated_in_its_answer(member: FlaskClient, make: Make) -> None:
    key, secret = make(), f"sk-proxy-abcd{'0' * 60}"
    answer = submit(member, f"/keys/{key.id}/check", htmx=True, form_of=member.get(f"/keys/{key.id}"), model=secret)
    assert "0" * 60 not in re.sub(r"<input[^>]*>", "", answer.text)


@pytest.mark.parametrize("htmx", [False, True])
def test_what_is_changed_here_is_seen_here(app: Flask, member: FlaskClient, make: Make, htmx: bool) -> None:
    key = make("changed here")
    page = member.get(f"/keys/{key.id}")
    for path, fields in (
        ("pause", {}),
        ("resume", {}),
        ("edit", {"name": "changed twice"}),
        ("revoke", {}),
    ):
        if path in ("edit", "revoke"):
            page = member.get(f"/keys/{key.id}/{path}?back=key", headers=HTMX if htmx else {})
            assert f'action="/keys/{key.id}/{path}?back=key"' in page.text
        answer = submit(member, f"/keys/{key.id}/{path}?back=key", fields, htmx=htmx, form_of=page)
        assert answer.headers.get("HX-Refresh" if htmx else "Location") == ("true" if htmx else f"/keys/{key.id}")
        told = text_of(member.get(f"/keys/{key.id}"))
        assert {
            "pause": "Paused changed here",
            "resume": "Resumed changed here",
            "edit": "Saved changed twice",
            "revoke": "Revoked changed twice",
        }[path] in told
    for word in ("/edit", "/revoke", "/pause", "/rotate"):
        assert f"/keys/{key.id}{word}" not in member.get(f"/keys/{key.id}").text


def test_a_revoked_key_that_is_paused_here_says_why_not(
    app: Flask, member: FlaskClient, make: Make, actor: Actor
) -> None:
    key = make()
    page = member.get(f"/keys/{key.id}")
    with app.app_context():
        revoke_key(actor, key.id)
    assert submit(member, f"/keys/{key.id}/pause?back=key", htmx=True, form_of=page).headers["HX-Refresh"] == "true"
    assert "toast-error" in member.get(f"/keys/{key.id}").text
