"""What pages say of the credentials: who answers, which waits for a restart, which cannot be opened, what examples name."""

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape

import pytest
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import SECRET, submit
from key_page_kit import text_of
from sqlalchemy import update

from shared.config import Settings
from shared.models import ProviderCredential
from webapp.actions.credentials import forget_credentials, store_credentials
from webapp.context import Actor
from webapp.db import writing
from webapp.queries.providers import list_providers
from webapp.views.keys import KeyView
from webapp.views.providers import SANDBOX_FILE

SANDBOX, REAL = "sandbox-credential", "a real one, ending in 1234"
_TICK = "M5 12.5l4.5 4.5L19 7.5"  # the icon "check"
Enter = Callable[[str], FlaskClient]
Make = Callable[..., KeyView]


@pytest.fixture
def sandboxed(app: Flask, actor: Actor, settings: Settings) -> None:
    """As the launcher leaves it without a credential: the sandbox's own, and its address, for all but Gemini."""
    url = "http://127.0.0.1:8090"
    urls = {**settings.provider_urls, "openai": url, "anthropic": url, "gemini": "https://gateway.example"}
    app.extensions["settings"] = replace(settings, provider_urls=urls)
    (settings.data_dir / SANDBOX_FILE).write_text("openai\nanthropic")
    with app.app_context():
        store_credentials(replace(actor, name="system"), {"openai": SANDBOX, "anthropic": SANDBOX})


def told_of(label: str, page: str) -> tuple[str, str]:
    """The picture beside a provider on the Overview, and the words."""
    line = page.partition(f"<dt>{label}</dt><dd>")[2].partition("</dd>")[0]
    picture, _, words = line.partition("</svg>")
    return "check" if _TICK in picture else "alert", words.strip()


def test_it_works(enter: Enter, app: Flask, actor: Actor) -> None:
    with app.app_context():
        forget_credentials(actor, ("openai", "anthropic", "gemini"))
    none = "No provider has a credential that can be used, so every request is refused."
    assert none in enter("admin").get("/overview").text
    with app.app_context():
        store_credentials(actor, {"openai": SANDBOX, "gemini": SANDBOX})
    page = enter("admin").get("/overview").text
    assert "Answers come from the built-in sandbox until you add a credential and start the router again." in page
    assert '<a href="/providers">Add a provider\'s credential</a>' in page
    assert "An administrator adds one" in enter("viewer").get("/overview").text
    with app.app_context():
        store_credentials(actor, {"openai": REAL})
    page = enter("viewer").get("/overview").text
    assert "sandbox until" not in page
    assert told_of("OpenAI", page) == ("check", "Credential ending in 1234"), "its address is not the sandbox's"
    assert "a real one" not in page


def test_a_real_one_waits_for_a_restart_while_the_sandbox_answers(sandboxed: None, enter: Enter) -> None:
    admin = enter("admin")
    asked = admin.get("/providers/openai/credential").text
    assert "store the credential, then start the router again" in asked
    assert "used for the next request" not in asked
    assert submit(admin, "/providers/openai/credential", credential="sk-real-openai-1234").status_code == 303
    page = admin.get("/providers").text
    assert "It waits for a restart: start the router again, then test the connection" in page
    assert page.count("Waits for a restart") == 1
    page = admin.get("/overview").text
    assert "until the router is started again." in page
    assert "Until then it refuses the stored credential of OpenAI." in page
    assert told_of("OpenAI", page) == (
        "alert",
        "Credential ending in 1234: waits for a restart, until then requests fail",
    )
    assert told_of("Anthropic", page) == ("alert", "The built-in sandbox answers")


def test_it_waits_though_nothing_of_the_sandbox_is_stored_any_more(
    app: Flask, sandboxed: None, enter: Enter, actor: Actor
) -> None:
    admin = enter("admin")
    for slug in ("openai", "anthropic"):
        submit(admin, f"/providers/{slug}/credential", credential=f"sk-real-{slug}-1234")
    page = admin.get("/providers").text
    assert "The sandbox answers." in page
    assert page.count("Waits for a restart") == 2
    page = admin.get("/overview").text
    assert "Until then it refuses the stored credential of OpenAI and that of Anthropic." in page
    with app.app_context():
        assert [view.provider for view in list_providers(actor.org_id) if view.at_sandbox] == ["openai", "anthropic"]


def test_a_further_one_waits_as_well_and_says_who_added_it(sandboxed: None, enter: Enter) -> None:
    admin = enter("admin")
    path = "/providers/openai/credentials/add"
    assert "store the credential, then start the router again" in admin.get(path).text
    fields = {"label": "team b", "weight": "1", "priority": "1", "enabled": "y"}
    assert submit(admin, path, fields, credential="sandbox-of-team-b").status_code == 303
    told = text_of(admin.get("/providers"))
    assert "The credential team b of OpenAI is stored. It waits for a restart" in told
    assert re.search(r"default …tial Sandbox Priority 1, weight 1. Set just now by the router, which started", told)
    assert re.search(r"team b …am-b Sandbox Priority 1, weight 1. Set just now by \S+@\S+ ", told)


def test_one_for_an_address_that_was_set_by_hand_holds_at_once(sandboxed: None, enter: Enter) -> None:
    admin = enter("admin")
    assert "used for the next request" in admin.get("/providers/gemini/credential").text
    submit(admin, "/providers/gemini/credential", credential="real-of-gemini-5678")
    page = admin.get("/providers").text
    assert "is stored. Test the connection" in page
    assert "aits for a restart" not in page
    page = admin.get("/overview").text
    assert told_of("Gemini", page) == ("check", "Credential ending in 5678")
    assert "sandbox until" not in page


def test_one_that_no_key_opens_is_nobodys(app: Flask, enter: Enter, actor: Actor, make: Make) -> None:
    with app.app_context():
        store_credentials(actor, {"openai": REAL})
        with writing() as session:
            session.execute(update(ProviderCredential).values(sealed=b"x"))
    page = enter("viewer").get("/overview").text
    assert told_of("OpenAI", page) == ("alert", "Cannot be opened: requests are refused")
    assert "No provider has a credential that can be used" in page
    assert "Cannot be opened" in enter("viewer").get("/providers").text
    told = enter("viewer").get(f"/keys/{make().id}").text.partition('id="examples"')[2].partition('id="check"')[0]
    assert "the router has no credential of OpenAI that can be used" in told
    assert "gpt-4o-mini" not in told


def test_all_examples_name_a_model_of_a_provider_that_can_answer(
    app: Flask, enter: Enter, actor: Actor, make: Make
) -> None:
    """The dialog of a new key, that of a rotated one, its page, and the guide of the Overview."""
    with app.app_context():
        store_credentials(actor, {"anthropic": "sk-ant-real-one"})
    member, key = enter("member"), make("rotated")
    created = submit(member, "/keys/new", name="created").text
    rotated = submit(member, f"/keys/{key.id}/rotate", grace_seconds="0").text
    page, overview = member.get(f"/keys/{key.id}").text, member.get("/overview").text
    for text in (created, rotated, page):
        examples = unescape(text).partition('class="tabs')[2].partition("<form")[0]
        assert 'model="claude-haiku-4-5"' in examples
        assert "gpt-4o-mini" not in examples
        assert (
            "Not for Python (Google), Gemini CLI: the router has no credential of Gemini that can be used." in examples
        )
    assert '"model": "claude-haiku-4-5"' in unescape(overview)
    for text in (created, rotated):
        assert SECRET.search(text)
        assert 'data-copy="#new-snippet-curl"' in text, "the page below has one without the secret"
        assert 'data-copy="#snippet-curl"' not in text
        assert 'name="snippet"' not in text
    assert 'data-copy="#snippet-curl"' in page


def test_where_no_model_can_be_named_each_says_why(enter: Enter, make: Make) -> None:
    member, key = enter("member"), make("rotated")
    for text in (
        submit(member, "/keys/new", name="created").text,
        submit(member, f"/keys/{key.id}/rotate", grace_seconds="0").text,
        member.get(f"/keys/{key.id}").text,
        member.get("/overview").text,
    ):
        assert "MODEL" in text
        assert "the router has no credential of OpenAI that can be used" in text
        assert "put one in the place of MODEL" in text
