"""Providers, and models with their prices: what everybody sees, and what administrators change."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from dashboard_kit import Api
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX, submit
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from shared.keys import PROXY_TAG, mint
from shared.models import AuditEvent, ProviderCredential
from webapp.actions.credentials import store_credentials
from webapp.context import Actor
from webapp.db import db, writing

KEY = "sk-proj-" + "aB3" * 20
Enter = Callable[[str], FlaskClient]


def store(admin: FlaskClient, slug: str = "openai", credential: str = KEY) -> TestResponse:
    return submit(admin, f"/providers/{slug}/credential", credential=credential)


def test_it_works(app: Flask, enter: Enter) -> None:
    admin = enter("admin")
    page = admin.get("/providers").text
    for words in ("OpenAI", "Anthropic", "Gemini", "https://api.openai.com", "Requests for Gemini are refused."):
        assert words in page
    assert store(admin).status_code == 303
    page = admin.get("/providers").text
    assert f"…{KEY[-4:]}" in page
    assert "by admin-" in page
    assert "Test the connection" in page
    assert KEY not in page
    assert store(admin, credential=KEY).status_code == 303
    assert "the one that was stored already" in admin.get("/providers").text
    with app.app_context():
        events = db.session.execute(select(AuditEvent.action, AuditEvent.after)).all()
    assert [event.action for event in events if event.action.startswith("credential")] == ["credential.set"]
    assert KEY not in str(events)


def test_removing_asks_first(app: Flask, enter: Enter, api: Api) -> None:
    admin = enter("admin")
    assert admin.get("/providers/openai/credential/remove").status_code == 404
    store(admin)
    asked = admin.get("/providers/openai/credential/remove", headers=HTMX)
    assert "Every request for OpenAI is refused from now on" in asked.text
    assert "<html" not in asked.text
    assert submit(admin, "/providers/openai/credential/remove").status_code == 303
    assert api("GET", "/v1/providers").get_json()["data"][0]["credential"] is None


@pytest.mark.parametrize(
    ("credential", "words"),
    [
        ("", "8 to 500"),
        ("short", "8 to 500"),
        ("two words here", "8 to 500"),
        (mint(PROXY_TAG).raw, "Is a secret of this router"),
        ("sk-proxy-mistyped", "Is a secret of this router"),
        ('"sk-in-quotes"', "without the quotes around it"),
        ("sk-ant-api03-of-another", "Is a key of Anthropic"),
    ],
)
def test_what_is_no_credential_is_refused_and_not_repeated(enter: Enter, api: Api, credential: str, words: str) -> None:
    admin = enter("admin")
    answer = store(admin, credential=credential)
    assert answer.status_code == 422
    assert words in answer.text
    assert not credential or credential not in answer.text
    assert api("GET", "/v1/providers").get_json()["data"][0]["credential"] is None


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_others_read_without_secrets_and_change_nothing(enter: Enter, role: str, api: Api) -> None:
    store(enter("admin"))
    client = enter(role)
    page = client.get("/providers")
    assert f"…{KEY[-4:]}" in page.text
    assert "An administrator can change credentials and prices." in page.text
    assert 'method="post" hx-post="/providers' not in page.text
    assert "/providers/prices/edit" not in client.get("/providers/models").text
    for path in ("/providers/openai/credential", "/providers/openai/credential/remove", "/providers/openai/test"):
        assert submit(client, path, form_of=page, credential=KEY).status_code == 403
    for path in ("/providers/prices/edit", "/providers/prices/remove"):
        sent = submit(client, path, form_of=page, provider="openai", model="gpt-4o", input_tokens="0")
        assert sent.status_code == 403
        assert client.get(path).status_code == 403


def test_where_a_credential_came_from(app: Flask, enter: Enter, org_id: str, api: Api) -> None:
    with app.app_context():
        store_credentials(Actor(org_id, "system", None), {"openai": "sk-real-0001", "gemini": "sandbox-credential"})
    store(enter("admin"), "anthropic", "sk-ant-real-0001")
    sources = {row["provider"]: row["credential"]["source"] for row in api("GET", "/v1/providers").get_json()["data"]}
    assert sources == {"openai": "system", "anthropic": "staff", "gemini": "sandbox"}
    page = enter("viewer").get("/providers").text
    assert "from the environment (<code>OPENAI_API_KEY</code>)" in page
    assert "The sandbox answers." in page
    with app.app_context(), writing() as session:
        session.execute(update(ProviderCredential).where(ProviderCredential.provider == "openai").values(sealed=b"x"))
    assert api("GET", "/v1/providers").get_json()["data"][0]["credential"]["readable"] is False
    assert "Cannot be opened" in enter("viewer").get("/providers").text
    answer = api("POST", "/v1/providers/openai/test").get_json()
    assert "what ROUTER_ENCRYPTION_KEY was" in answer["message"]


def test_a_missing_provider_is_404(enter: Enter) -> None:
    admin = enter("admin")
    page = admin.get("/providers")
    for path in ("credential", "credential/remove", "test"):
        assert submit(admin, f"/providers/mistral/{path}", form_of=page, credential=KEY).status_code == 404


def names(page: TestResponse) -> list[str]:
    return re.findall(r'class="key-name" dir="auto">([^<]*)<', page.text)


def test_models_are_found_by_name_and_provider(enter: Enter) -> None:
    client = enter("viewer")
    everything = names(client.get("/providers/models"))
    assert {"gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash", "dall-e-3"} <= set(everything)
    assert len(everything) > 100
    # What another provider sells under its own name is not Gemini's.
    gemini = names(client.get("/providers/models?provider=gemini"))
    assert gemini
    assert not [name for name in gemini if name.startswith("claude")]
    found = client.get("/providers/models?q=GPT-4o-mini&provider=openai", headers=HTMX)
    assert "gpt-4o-mini" in names(found)
    assert all("gpt-4o-mini" in name for name in names(found))
    assert "<html" not in found.text
    assert "$0.15" in found.text
    assert "No model matches." in client.get("/providers/models?q=nothing+at+all").text
    assert mint(PROXY_TAG).raw not in client.get(f"/providers/models?q={mint(PROXY_TAG).raw}").text


def test_a_price_of_ones_own(enter: Enter, api: Api) -> None:
    admin = enter("admin")
    form = admin.get("/providers/prices/edit?provider=openai&model=gpt-4o")
    assert 'value="2.5"' in form.text
    sent = {
        "provider": "openai",
        "model": "gpt-4o",
        "input_tokens": "$1.25",
        "output_tokens": "10",
        "others": "input_audio_tokens = 40\n\nweb_searches = $ 9",
    }
    assert submit(admin, "/providers/prices/edit", sent, form_of=form).status_code == 303
    (price,) = api("GET", "/v1/prices").get_json()["data"]
    wanted = {"input_tokens": "1.25", "output_tokens": "10", "input_audio_tokens": "40", "web_searches": "9"}
    assert price["rates"] == wanted
    (listed,) = [
        row for row in api("GET", "/v1/providers/openai/models?q=gpt-4o").get_json()["data"] if row["model"] == "gpt-4o"
    ]
    assert listed["priced_by"] == "own"
    assert {name: listed["rates"][name] for name in wanted} == wanted
    only = admin.get("/providers/models?own=yes")
    assert names(only) == ["gpt-4o"]
    assert "Own price" in only.text
    again = admin.get("/providers/prices/edit?provider=openai&model=gpt-4o").text
    assert 'value="1.25"' in again
    assert "input_audio_tokens = 40" in again
    gone = submit(admin, "/providers/prices/remove?provider=openai&model=gpt-4o", provider="openai", model="gpt-4o")
    assert gone.status_code == 303
    assert api("GET", "/v1/prices").get_json()["data"] == []
    assert admin.get("/providers/prices/remove?provider=openai&model=gpt-4o").status_code == 404


def test_a_model_that_the_table_does_not_know(enter: Enter, api: Api) -> None:
    admin = enter("admin")
    fields = {"provider": "openai", "model": "ft:mine/of us", "input_tokens": "3"}
    assert submit(admin, "/providers/prices/edit", fields).status_code == 303
    page = admin.get("/providers/models?q=ft:mine")
    assert names(page) == ["ft:mine/of us"]
    link = re.search(r'href="(/providers/prices/remove\?[^"]*)"', page.text)
    assert link is not None
    asked = admin.get(unescape(link[1]))
    assert "ft:mine/of us" in asked.text
    assert submit(admin, "/providers/prices/remove", fields, form_of=asked).status_code == 303
    assert names(admin.get("/providers/models?q=ft:mine")) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input_tokens": ""}, "by which all other input is priced"),
        ({"input_tokens": "much"}, "decimal string"),
        ({"model": ""}, "1 to 200 printable characters"),
        ({"model": KEY}, "Looks like a secret"),
        ({"provider": "mistral"}, "is not a provider"),
        ({"others": "wishes = 3"}, "wishes: is no class of tokens"),
        ({"others": f"{KEY} = 3"}, "is no class of tokens"),
        ({"others": "output_audio_tokens"}, "output_audio_tokens: must be dollars"),
    ],
)
def test_what_is_no_price_stands_beside_its_field(enter: Enter, api: Api, fields: dict[str, str], words: str) -> None:
    admin = enter("admin")
    sent = {"provider": "openai", "model": "gpt-4o", "input_tokens": "1", "output_tokens": "7.77", **fields}
    answer = submit(admin, "/providers/prices/edit", sent)
    assert answer.status_code == 422
    assert words in unescape(answer.text)
    assert 'value="7.77"' in answer.text
    assert api("GET", "/v1/prices").get_json()["data"] == []


def test_a_model_is_told_once_by_json(api: Api) -> None:
    listed = api("GET", "/v1/providers/gemini/models").get_json()
    assert listed["table_version"]
    models = [row["model"] for row in listed["data"]]
    assert models == sorted(set(models))
    (pro,) = [row for row in listed["data"] if row["model"] == "gemini-2.5-pro"]
    assert pro["rates"]["input_tokens"] == "1.25"
    assert [(step["above_tokens"], step["rates"]["input_tokens"]) for step in pro["steps"]] == [(200_000, "2.5")]
    assert api("GET", "/v1/providers/mistral/models").status_code == 404
    assert api("GET", "/v1/providers/openai/models?nosuch=1").status_code == 422
