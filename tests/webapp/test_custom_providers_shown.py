"""Providers of an organisation's own on the dashboard and by commands, and the question whether one answers."""

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Command
from dashboard_kit import START, Api
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX, hidden, submit
from sqlalchemy import select

from shared.models import ProxyKey, Refusal
from webapp.db import writing
from webapp.pages.key_hints import model_hints
from webapp.pages.snippets import build, left_out
from webapp.views.key_lists import contradiction

URL = "https://api.groq.com/openai/v1"
SECRET = "gsk_" + "aB3" * 17
Enter = Callable[[str], FlaskClient]
SENT = {"provider": "groq", "base_url": URL, "auth": "bearer", "stream_options": "y", "enabled": "y"}


def custom(api: Api, name: str = "groq") -> dict[str, Any]:
    return dict(api("GET", f"/v1/providers/{name}").get_json())


def test_it_works(enter: Enter, api: Api) -> None:
    admin = enter("admin")
    assert "<html" not in admin.get("/providers/add", headers=HTMX).text
    sent = {**SENT, "models": "llama-3\nqwen/*, x", "credential": SECRET}
    done = submit(admin, "/providers/add", sent)
    assert (done.status_code, done.location) == (303, "/providers#provider_groq")
    assert custom(api)["custom"]["models"] == ["llama-3", "qwen/*", "x"]
    page = admin.get("/providers").text
    assert SECRET not in page
    for told in (URL, "groq/MODEL", "/groq/v1", "Edit provider", "Remove provider", "Replace credential"):
        assert told in page, told
    shown = admin.get("/providers/groq/edit").text
    assert URL in shown
    assert 'name="provider"' not in shown
    stored = custom(api)["credentials"]
    changed = submit(
        admin, "/providers/groq/edit", {"base_url": URL, "auth": "none", "models": "", "api_version": "v2"}
    )
    assert changed.status_code == 303
    told = custom(api)["custom"]
    found = [told[name] for name in ("auth", "models", "api_version", "stream_options", "enabled")]
    assert found == ["none", [], "v2", False, False]
    assert custom(api)["credentials"] == stored
    assert "Switched off" in admin.get("/providers").text
    assert "Every request for groq is refused" in admin.get("/providers/groq/remove").text
    assert submit(admin, "/providers/groq/remove").status_code == 303
    assert "groq" not in admin.get("/providers").text.partition("<main")[2].partition("is removed")[2]


def test_the_form_says_what_is_wrong_and_repeats_no_credential(enter: Enter, api: Api) -> None:
    sent = {**SENT, "provider": "OpenAI", "base_url": "https://u:p@x", "credential": SECRET, "api_version": "a b"}
    wrong = submit(enter("admin"), "/providers/add", sent)
    assert wrong.status_code == 422
    text = unescape(wrong.text)
    for told in ("lower-case letters", "no user and no password", "letters, digits, points"):
        assert told in text, told
    assert SECRET not in text
    assert api("GET", "/v1/providers/openai").status_code == 200
    assert len(api("GET", "/v1/providers").get_json()["data"]) == 3


def test_a_form_that_stood_open_changes_what_was_changed_in_it(enter: Enter, api: Api) -> None:
    """Somebody has switched the provider off meanwhile; and the other credentials stay where the server does."""
    assert api("POST", "/v1/providers", {"provider": "groq", "base_url": URL, "credential": SECRET}).status_code == 201
    more = {"label": "second", "credential": SECRET, "weight": 7}
    assert api("POST", "/v1/providers/groq/credentials", more).status_code == 201
    admin = enter("admin")
    shown = admin.get("/providers/groq/edit")
    assert "takes the place of all that are stored: default, second" in unescape(shown.text)
    assert api("PATCH", "/v1/providers/groq", {"enabled": False, "models": ["a"]}).status_code == 200
    given = "gsk_" + "xY7" * 17
    sent = {**SENT, "models": "", "api_version": "v2", "credential": given, "seen": hidden(shown, "seen")}
    assert submit(admin, "/providers/groq/edit", sent).status_code == 303
    told = custom(api)
    assert [told["custom"][name] for name in ("enabled", "models", "api_version")] == [False, ["a"], "v2"]
    assert [(one["label"], one["last4"]) for one in told["credentials"]] == [
        ("default", given[-4:]),
        ("second", SECRET[-4:]),
    ]
    wrong = submit(admin, "/providers/groq/edit", {**sent, "base_url": "https://new.example.com/v1", "credential": ""})
    assert wrong.status_code == 422
    assert "given for another server" in unescape(wrong.text)
    assert hidden(wrong, "seen") == sent["seen"]


def test_no_name_is_the_id_of_something_else(enter: Enter, api: Api) -> None:
    for name in ("modal-body", "main", "provider", "test-openai", "openai-title", "error", "hint", "provider-openai"):
        assert (
            api("POST", "/v1/providers", {"provider": name, "base_url": URL, "credential": SECRET}).status_code == 201
        )
    admin = enter("admin")
    page = admin.get("/providers").text
    dialogs = [admin.get(f"/providers/{path}", headers=HTMX).text for path in ("add", "error/edit", "error/credential")]
    for dialog in dialogs:
        ids = re.findall(r'\sid="([^"]+)"', page + dialog)
        assert sorted(ids) == sorted(set(ids))
    assert set(re.findall(r'hx-target="#([^"]+)"', page)) <= {*re.findall(r'\sid="([^"]+)"', page), "modal-body"}


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_others_see_them_and_change_nothing(enter: Enter, api: Api, role: str) -> None:
    api("POST", "/v1/providers", {"provider": "groq", "base_url": URL})
    client = enter(role)
    page = client.get("/providers").text
    assert URL in page
    assert "Edit provider" not in page
    assert "Add provider" not in page
    for path in ("/providers/add", "/providers/groq/edit", "/providers/groq/remove"):
        assert client.get(path).status_code == 403


def test_built_in_ones_have_no_such_dialogs(enter: Enter) -> None:
    for path in ("/providers/openai/edit", "/providers/openai/remove", "/providers/nobody/edit"):
        assert enter("admin").get(path).status_code == 404


def test_pages_know_the_name(enter: Enter, api: Api) -> None:
    sent = {"provider": "groq", "base_url": URL, "models": ["llama-3"], "credential": SECRET}
    assert api("POST", "/v1/providers", sent).status_code == 201
    api("PUT", "/v1/prices/groq/llama-3", {"rates": {"input_tokens": "0.5", "output_tokens": "1"}})
    admin = enter("admin")
    for path in (
        "/keys",
        "/keys/new",
        "/requests",
        "/providers/models?provider=groq",
        "/providers/prices/edit",
    ):
        assert "groq" in admin.get(path).text, path
    key = api.create(allowed_providers=["groq"], allowed_models=["groq/llama-*"], spend_limit_usd="5")
    page = admin.get(f"/keys/{key['id']}").text
    assert "groq/llama-3" in page
    assert "matches 1 known model" in page
    api("DELETE", "/v1/providers/groq")
    assert "groq (removed)" in admin.get(f"/keys/{key['id']}/edit").text
    assert admin.get(f"/keys/{key['id']}").status_code == 200
    assert admin.get("/keys?provider=groq").status_code == 200
    assert "Removed a provider" in admin.get("/audit").text


def test_hints_and_contradictions() -> None:
    own = {"groq": ("llama-3", "qwen/qwen3"), "lab": ()}
    told = {
        "groq/llama-*": "matches 1 known model: llama-3",
        "groq/qwen/*": "matches 1 known model: qwen/qwen3",
        "lab/anything": "means models of lab",
        "gorq/x": "cannot be used",
    }
    for pattern, words in told.items():
        (hint,) = model_hints([pattern], [], own)
        assert words in hint.text, pattern
    (hint,) = model_hints(["groq/llama-3"], ["openai"], own)
    assert "groq is not ticked" in hint.text
    assert contradiction(["groq"], ["groq/llama-3"]) is None
    assert contradiction(["groq"], ["llama-3"]) is None
    assert contradiction(["groq"], ["openai/gpt-4o"]) is not None
    assert contradiction(["openai"], ["groq/llama-3"]) is not None


@pytest.mark.parametrize(
    ("providers", "patterns", "gone"),
    [
        (["lab"], [], "no provider lab any more, which"),
        (["lab", "den"], [], "no provider lab and den any more"),
        ([], ["lab/*"], "no provider lab any more, whose models"),
        (["groq"], ["lab/llama-*", "lab/x"], "no provider lab any more"),
        (["lab"], ["gpt-4o"], "no provider lab any more"),
        (["lab", "openai"], ["groq/x"], "belongs to OpenAI"),
    ],
)
def test_a_key_that_may_use_what_was_removed_alone_may_use_nothing(
    providers: list[str], patterns: list[str], gone: str
) -> None:
    assert gone in (contradiction(providers, patterns, own=("groq",)) or "")
    assert contradiction([*providers, "groq"], [*patterns, "groq/llama-3"], own=("groq",)) is None


def test_the_badge_of_a_key_follows_its_provider(enter: Enter, api: Api, app: Flask) -> None:
    """Also where it was refused for a provider that it may use by now, whose models are called as they like."""
    for name in ("groq", "lab"):
        assert api("POST", "/v1/providers", {"provider": name, "base_url": URL, "auth": "none"}).status_code == 201
    key = api.create(allowed_providers=["groq"], allowed_models=["groq/*"])
    admin = enter("admin")
    place = f"/keys/{key['id']}"
    assert "It works within its limits" in unescape(admin.get(place).text)
    with app.app_context(), writing() as session:
        message = "The proxy key sk-proxy-aaaa... may not use the provider lab. Allowed: groq."
        refusal = Refusal(key_id=key["id"], org_id=session.scalar(select(ProxyKey.org_id)), count=1, status=403)
        refusal.reason, refusal.sentence, refusal.model, refusal.last_at = "provider_not_allowed", message, "m", START
        refusal.client_ip, refusal.request_id = "10.0.0.1", "req_1"
        session.add(refusal)
    assert "may not use the provider lab" in unescape(admin.get(place).text)
    patch = {"allowed_providers": ["groq", "lab"], "allowed_models": []}
    assert api("PATCH", f"/v1/keys/{key['id']}", patch).status_code == 200
    assert "has been changed since" in unescape(admin.get(place).text)
    for name in ("groq", "lab"):
        assert api("DELETE", f"/v1/providers/{name}").status_code == 200
    text = unescape(admin.get(place).text)
    assert "There is no provider groq and lab any more, which is all that it may use" in text
    assert "Blocked" in text


def test_examples_name_its_models_where_there_is_no_other() -> None:
    own = {"groq": ("llama-3",), "lab": ()}
    texts = {one.slug: one.text for one in build("https://r", None, ["groq"], [], configured=[], own=own)}
    assert "groq/llama-3" in texts["openai"]
    assert "anthropic" not in texts
    assert "lab/MODEL" in build("https://r", None, ["lab"], [], configured=[], own=own)[0].text
    assert "groq/qwen3" in build("https://r", None, [], ["groq/qwen3"], configured=[], own=own)[0].text
    reasons = left_out(["groq"], [], configured=[], own=own)
    assert "OpenAI SDK" not in [label for one in reasons for label in one.labels]
    assert "gpt-4o-mini" in build("https://r", None, [], [], own=own)[0].text


def test_commands(command: Command, api: Api, tmp_path: Path) -> None:
    made = command.json("providers add groq", "--base-url", URL, "--models", "llama-3,qwen/*", "--no-stream-options")
    assert (made["custom"]["models"], made["custom"]["stream_options"]) == (["llama-3", "qwen/*"], False)
    command("providers set groq", given=SECRET)
    assert custom(api)["credential"]["last4"] == SECRET[-4:]
    assert "groq" in command("providers list").stdout
    assert "--base-url must be" in command.fault("providers add lab --base-url ftp://x")
    changed = command.json("providers change groq", "--no-enabled", "--models", "", "--api-version", "v2")
    assert (changed["custom"]["enabled"], changed["custom"]["models"]) == (False, [])
    assert command.json("providers change groq", "--api-version", "")["custom"]["api_version"] is None
    assert "built in" in command.fault("providers change openai --no-enabled")
    moved = ("providers change groq", "--base-url", "https://new.example.com/v1")
    assert "given for another server" in command.fault(*moved)
    given = "gsk_" + "xY7" * 17
    assert command.json(*moved, "--credential-file", "-", given=given)["credential"]["last4"] == given[-4:]
    file = tmp_path / "credential"
    file.write_text(f"{SECRET}\n")
    assert command.json("providers change groq", "--credential-file", str(file))["credential"]["last4"] == SECRET[-4:]
    command("prices set groq llama-3 input_tokens=1 output_tokens=2")
    command("providers drop groq --yes")
    assert api("GET", "/v1/providers/groq").status_code == 404
    assert "no such provider" in command.fault("providers drop groq --yes")


def test_a_form_warns_of_models_that_its_provider_has_not(api: Api, enter: Enter) -> None:
    assert api("POST", "/v1/providers", {"provider": "groq", "base_url": URL, "models": ["llama-*"]}).status_code == 201
    key, member = api.create(), enter("member")
    place = f"/keys/{key['id']}/edit"
    fields = {"name": "a key", "expires": "keep", "spend_reset": "never", "allowed_providers": "groq"}
    warned = submit(member, place, {**fields, "allowed_models": "qwen*"})
    assert "No provider that it may use has a model of its list" in unescape(warned.text)
    assert api("GET", f"/v1/keys/{key['id']}").get_json()["allowed_models"] == []
    assert submit(member, place, {**fields, "allowed_models": "llama-3*"}).status_code == 303
