"""Providers of an organisation's own over JSON: what may be set, who sees them, and what of the API knows their names."""

from typing import Any

import pytest
from dashboard_kit import START, Api, field_errors
from flask import Flask
from sqlalchemy import func, insert, select

from shared.models import AuditEvent, CustomProvider, Organization, PriceOverride, ProviderCredential
from webapp.actions.custom_providers import MOST_NAMES, MOST_PROVIDERS
from webapp.db import db, writing

URL = "https://api.groq.com/openai/v1"
SECRET = "gsk_" + "aB3" * 17
PRICE = {"rates": {"input_tokens": "0.59", "output_tokens": "0.79"}}


def add(api: Api, name: str = "groq", **fields: Any) -> dict[str, Any]:
    answer = api("POST", "/v1/providers", {"provider": name, "base_url": URL, **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.get_json())


def names(api: Api) -> list[str]:
    return [one["provider"] for one in api("GET", "/v1/providers").get_json()["data"]]


def version(app: Flask) -> int:
    with app.app_context():
        return db.session.scalar(select(func.max(Organization.policy_version))) or 0


def test_it_works(app: Flask, api: Api) -> None:
    before = version(app)
    made = add(api, models=["llama-*", "qwen/qwen3-32b"], credential=SECRET)
    assert (made["provider"], made["label"], made["base_url"], made["base_url_setting"]) == ("groq", "groq", URL, None)
    told = {"auth": "bearer", "api_version": None, "stream_options": True, "enabled": True}
    assert {name: made["custom"][name] for name in told} == told
    assert made["custom"]["models"] == ["llama-*", "qwen/qwen3-32b"]
    assert made["credential"]["last4"] == SECRET[-4:]
    assert names(api) == ["openai", "anthropic", "gemini", "groq"]
    assert api("GET", "/v1/providers/groq").get_json() == made
    assert api("GET", "/v1/providers/openai").get_json()["custom"] is None
    changed = api("PATCH", "/v1/providers/groq", {"enabled": False, "models": [], "api_version": "v2"}).get_json()
    assert (changed["custom"]["enabled"], changed["custom"]["models"], changed["base_url"]) == (False, [], URL)
    assert api("PATCH", "/v1/providers/groq", {"api_version": None}).get_json()["custom"]["api_version"] is None
    assert version(app) == before + 3, "a provider and its credential are one change"
    assert api("PATCH", "/v1/providers/groq", {"enabled": False}).status_code == 200
    assert version(app) == before + 3, "nothing was changed"
    assert api("DELETE", "/v1/providers/groq").get_json()["provider"] == "groq"
    assert api("GET", "/v1/providers/groq").status_code == 404
    with app.app_context():
        query = select(AuditEvent.action, AuditEvent.before, AuditEvent.after).order_by(AuditEvent.at, AuditEvent.id)
        events = [tuple(one) for one in db.session.execute(query.where(AuditEvent.action.startswith("provider.")))]
    assert [one[0] for one in events] == ["provider.create", *["provider.update"] * 2, "provider.delete"]
    assert events[2][1:] == ({"provider": "groq", "api_version": "v2"}, {"provider": "groq", "api_version": None})
    assert SECRET not in str(events)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"provider": "Groq"}, "provider", "lower-case"),
        ({"provider": "g"}, "provider", "lower-case"),
        ({"provider": "9groq"}, "provider", "begin with a letter"),
        ({"provider": "groq-"}, "provider", "lower-case"),
        ({"provider": "x" * 33}, "provider", "2 to 32"),
        ({"provider": "openai"}, "provider", "built-in"),
        ({"provider": "google"}, "provider", "built-in"),
        ({"provider": "models"}, "provider", "begin with"),
        ({"provider": "v1beta"}, "provider", "begin with"),
        ({"provider": None}, "provider", "text"),
        ({"base_url": "ftp://x/v1"}, "base_url", "http or https"),
        ({"base_url": "https://user:pw@x/v1"}, "base_url", "no user"),
        ({"base_url": "https://x/v1?api-version=1"}, "base_url", "query"),
        ({"base_url": "https://x/v1#a"}, "base_url", "fragment"),
        ({"base_url": "https://x/../v1"}, "base_url", "path"),
        ({"base_url": "https://x/{model}/{model}"}, "base_url", "path"),
        ({"base_url": "https://x/v1/chat/completions"}, "base_url", "end before"),
        ({"base_url": f"https://x/{SECRET}/v1"}, "base_url", "secret"),
        ({"base_url": "http://127.0.0.1:11434/v1"}, "base_url", "ROUTER_PROVIDERS_PRIVATE_ADDRESSES"),
        ({"base_url": "http://[::ffff:10.0.0.1]/v1"}, "base_url", "not a public address"),
        ({"base_url": "http://169.254.169.254/v1"}, "base_url", "not a public address"),
        ({"auth": "basic"}, "auth", "one of bearer, api-key, none"),
        ({"api_version": "a b"}, "api_version", "letters"),
        ({"models": "llama"}, "models", "list"),
        ({"models": ["a b"]}, "models", "names of models"),
        ({"stream_options": "no"}, "stream_options", "true or false"),
        ({"enabled": None}, "enabled", "true or false"),
        ({"credential": "short"}, "credential", "8 to 500"),
        ({"colour": "red"}, "colour", "not a known field"),
    ],
)
def test_what_cannot_be_taken_is_named(api: Api, fields: dict[str, object], field: str, words: str) -> None:
    wrong = field_errors(api("POST", "/v1/providers", {"provider": "groq", "base_url": URL, **fields}))
    (told,) = wrong.items()
    assert told[0].partition("[")[0] == field
    assert words in told[1]
    assert names(api) == ["openai", "anthropic", "gemini"]
    add(api)
    if field not in ("provider", "credential"):
        assert field_errors(api("PATCH", "/v1/providers/groq", fields)).keys() == wrong.keys()


def test_a_name_is_given_once(api: Api, stranger: Api) -> None:
    add(api)
    assert "taken" in field_errors(api("POST", "/v1/providers", {"provider": "groq", "base_url": URL}))["provider"]
    assert api("DELETE", "/v1/providers/groq").status_code == 200
    refused = field_errors(api("POST", "/v1/providers", {"provider": "groq", "base_url": URL}))
    assert "apps may still ask for it" in refused["provider"]
    for method in ("GET", "PATCH", "DELETE"):
        assert api(method, "/v1/providers/groq", {} if method == "PATCH" else None).status_code == 404
    add(api, "groq-2")
    add(stranger)


def test_a_removed_one_leaves_neither_credentials_nor_prices(app: Flask, api: Api) -> None:
    add(api, credential=SECRET)
    assert api("PUT", "/v1/prices/groq/llama-3", PRICE).status_code == 200
    api("DELETE", "/v1/providers/groq")
    with app.app_context():
        for table in (PriceOverride, ProviderCredential):
            assert db.session.scalar(select(func.count()).select_from(table)) == 0
        assert db.session.scalar(select(CustomProvider.removed_at)) is not None
    assert api("PUT", "/v1/providers/groq/credential", {"credential": SECRET}).status_code == 404


def test_a_stored_credential_goes_to_no_other_server(app: Flask, api: Api) -> None:
    """Who may edit a provider cannot have what is write-only sent to a place of his choice."""
    add(api, credential=SECRET)
    api("POST", "/v1/providers/groq/credentials", {"label": "second", "credential": SECRET[:-1] + "9"})
    for url in ("https://evil.example.com/openai/v1", "http://api.groq.com/openai/v1", "https://api.groq.com:444/v1"):
        wrong = field_errors(api("PATCH", "/v1/providers/groq", {"base_url": url}))
        assert "given for another server" in wrong["credential"]
    assert api("GET", "/v1/providers/groq").get_json()["base_url"] == URL
    assert api("PATCH", "/v1/providers/groq", {"base_url": "https://api.groq.com/v2"}).status_code == 200
    given = "gsk_" + "xY7" * 17
    moved = api("PATCH", "/v1/providers/groq", {"base_url": "https://new.example.com/v1", "credential": given})
    assert [one["last4"] for one in moved.get_json()["credentials"]] == [given[-4:]]
    assert api("DELETE", "/v1/providers/groq/credential").status_code == 200
    assert api("PATCH", "/v1/providers/groq", {"base_url": URL}).status_code == 200


def test_built_in_ones_are_not_to_be_changed(api: Api) -> None:
    for answer in (api("PATCH", "/v1/providers/openai", {"enabled": False}), api("DELETE", "/v1/providers/openai")):
        assert (answer.status_code, answer.get_json()["code"]) == (409, "provider_built_in")
    assert api("PATCH", "/v1/providers/nobody", {"enabled": False}).status_code == 404


def test_there_is_an_end_to_them(api: Api) -> None:
    for number in range(MOST_PROVIDERS):
        add(api, f"groq-{number}x")
    answer = api("POST", "/v1/providers", {"provider": "more", "base_url": URL})
    assert (answer.status_code, answer.get_json()["code"]) == (409, "too_many_providers")


def test_there_is_an_end_to_names(app: Flask, api: Api, org_id: str) -> None:
    """Those of removed ones are loaded with every key."""
    with app.app_context(), writing() as session:
        row = {"org_id": org_id, "base_url": URL, "auth": "none", "models": [], "created_at": START, "created_by": "t"}
        rows = [{**row, "id": f"prov_{n}", "name": f"old-{n}", "removed_at": START} for n in range(MOST_NAMES)]
        session.execute(insert(CustomProvider), rows)
    answer = api("POST", "/v1/providers", {"provider": "more", "base_url": URL})
    assert (answer.status_code, answer.get_json()["code"]) == (409, "too_many_providers")
    assert names(api) == ["openai", "anthropic", "gemini"]


def test_nobody_else_sees_them(api: Api, stranger: Api) -> None:
    """Two organisations may give the same name to different servers."""
    add(api)
    assert names(stranger) == ["openai", "anthropic", "gemini"]
    for method, path, document in (
        ("GET", "/v1/providers/groq", None),
        ("PATCH", "/v1/providers/groq", {"enabled": False}),
        ("DELETE", "/v1/providers/groq", None),
        ("POST", "/v1/providers/groq/test", None),
        ("GET", "/v1/providers/groq/models", None),
        ("PUT", "/v1/providers/groq/credential", {"credential": SECRET}),
    ):
        assert stranger(method, path, document).status_code == 404, path
    wrong = field_errors(stranger("POST", "/v1/keys", {"name": "a", "allowed_providers": ["groq"]}))
    assert "groq" not in wrong["allowed_providers"].partition("choose from")[2]
    add(stranger, base_url="https://elsewhere.example.com/v1")
    assert api("GET", "/v1/providers/groq").get_json()["base_url"] == URL


def test_keys_know_them(api: Api) -> None:
    fields = {"allowed_providers": ["groq", "openai"], "allowed_models": ["groq/meta-llama/*", "gpt-4o"]}
    wrong = field_errors(api("POST", "/v1/keys", {"name": "app", **fields}))
    assert set(wrong) == {"allowed_providers", "allowed_models"}
    add(api)
    key = api.create(**fields)
    assert key["allowed_providers"] == ["openai", "groq"], "the built-in ones first"
    listed = api("GET", "/v1/keys?provider=groq").get_json()["data"]
    assert key["id"] in [one["id"] for one in listed]
    assert key["id"] not in [one["id"] for one in api("GET", "/v1/keys?provider=gemini").get_json()["data"]]
    api("DELETE", "/v1/providers/groq")
    place = f"/v1/keys/{key['id']}"
    kept = api("PATCH", place, {"allowed_providers": ["groq"], "note": "kept"})
    assert kept.get_json()["allowed_providers"] == ["groq"], "what stands there may stay"
    assert api("PATCH", place, {"allowed_models": ["groq/meta-llama/*"]}).status_code == 200
    assert api("PATCH", place, {"allowed_providers": ["gorq"]}).status_code == 422


def check(api: Api, key: dict[str, Any], **asked: object) -> dict[str, Any]:
    return dict(api("POST", f"/v1/keys/{key['id']}/check", asked).get_json())


def test_a_dry_run_knows_them(api: Api) -> None:
    key, capped = api.create(), api.create(spend_limit_usd="5")
    asked = {"model": "groq/llama-3.3-70b"}
    assert "no provider is known" in check(api, key, **asked)["refusal"]["message"]
    add(api)
    assert check(api, key, **asked)["refusal"]["code"] == "provider_not_configured"
    api("PUT", "/v1/providers/groq/credential", {"credential": SECRET})
    found = check(api, key, **asked)
    assert found["allowed"]
    place = (found["provider"], found["model"], found["endpoint"])
    assert place == ("groq", "llama-3.3-70b", "/v1/chat/completions")
    for more in ({"path": "/groq/v1/chat/completions"}, {"path": "/groq/chat/completions"}, {"provider": "groq"}):
        assert check(api, key, model="llama-3.3-70b", **more)["provider"] == "groq"
    assert check(api, key, **asked, path="/v1/messages")["endpoint"] == "/v1/chat/completions"
    assert check(api, capped, **asked)["refusal"]["code"] == "model_not_priced"
    assert check(api, capped, path="/groq/v1/rerank")["refusal"]["code"] == "endpoint_not_metered"
    assert api("PUT", "/v1/prices/groq/llama-3.3-70b", PRICE).status_code == 200
    assert check(api, capped, **asked, max_tokens=100)["needed_usd"] == "0.00023004"
    api("PATCH", "/v1/providers/groq", {"models": ["qwen*"]})
    assert "has no model llama-3.3-70b here" in check(api, key, **asked)["refusal"]["message"]
    api("PATCH", "/v1/providers/groq", {"enabled": False, "models": []})
    assert check(api, key, **asked)["refusal"]["code"] == "provider_disabled"
    api("PATCH", "/v1/providers/groq", {"enabled": True, "auth": "none"})
    api("DELETE", "/v1/providers/groq/credential")
    assert check(api, key, **asked)["allowed"]


def test_a_dry_run_of_one_that_was_removed_or_mistyped(api: Api) -> None:
    """As in the proxy, no message or completion for it is another provider's."""
    key, capped = api.create(), api.create(spend_limit_usd="5")
    for path, slug in (("/v1/messages", "anthropic"), ("/v1/completions", "openai")):
        assert check(api, key, model="groq/llama-3", path=path)["provider"] == slug
    add(api, auth="none")
    api("DELETE", "/v1/providers/groq")
    for path in ("/v1/messages", "/v1/completions", "/v1/chat/completions"):
        for one in (key, capped):
            refusal = check(api, one, model="groq/llama-3", path=path)["refusal"]
            assert (refusal["code"], "groq was removed" in refusal["message"]) == ("invalid_request", True), path
        assert "no provider is known" in check(api, key, model="gorq/llama-3", path=path)["refusal"]["message"]
    refusal = check(api, key, model="m", path="/groq/v1/chat/completions")["refusal"]
    assert (refusal["code"], "groq was removed" in refusal["message"]) == ("unknown_endpoint", True)
    only = api.create(allowed_providers=["openai"])
    assert check(api, only, model="groq/m")["refusal"]["code"] == "provider_not_allowed"


def test_a_dry_run_of_paths_goes_by_the_proxys_own_rule(api: Api) -> None:
    key = api.create()
    add(api, auth="none")
    for path in ("/groq/files", "/groq/v2/x", "/groq/rerank", "/groq/v1/v1/chat/completions", "/groq/v1/files/"):
        assert check(api, key, model="m", path=path)["refusal"]["code"] == "unknown_endpoint", path
    assert check(api, key, model="m", path="/groq/v1/files")["allowed"]
    for path, right in (
        ("/groq/v1/Chat/Completions", "/groq/v1/chat/completions"),
        ("/openai/v1/Embeddings", "/openai/v1/embeddings"),
        ("/v1/Responses", "/v1/responses"),
    ):
        refusal = check(api, key, model="claude-x" if path == "/v1/Responses" else "m", path=path)["refusal"]
        assert (refusal["code"], f"in the right case it is {right}." in refusal["message"]) == (
            "unknown_endpoint",
            True,
        )
    refusal = check(api, key, model="groq/m", path="/v1/messages/count_tokens")["refusal"]
    assert (refusal["code"], "groq has no /messages/count_tokens" in refusal["message"]) == ("unknown_endpoint", True)
    for model in ("davinci-002", "openai/davinci-002", "gemini-2.5-flash"):
        found = check(api, key, model=model, path="/v1/completions")
        assert (found["provider"], found["model"], found["endpoint"]) == ("openai", model, "/v1/completions")


def test_prices_and_models(api: Api) -> None:
    assert "provider" in field_errors(api("PUT", "/v1/prices/groq/llama-3", PRICE))
    add(api, models=["llama-3", "qwen/*"])
    assert api("PUT", "/v1/prices/groq/qwen/qwen3", PRICE).status_code == 200
    data = api("GET", "/v1/providers/groq/models").get_json()["data"]
    assert [(one["model"], one["priced_by"]) for one in data] == [("llama-3", "nothing"), ("qwen/qwen3", "own")]
    assert data[1]["rates"] == PRICE["rates"]
    assert api("DELETE", "/v1/prices/groq/qwen/qwen3").status_code == 200


@pytest.mark.parametrize("scope", ["keys:write", "usage:read"])
def test_by_its_scope(app: Flask, api: Api, scope: str) -> None:
    token = api("POST", "/v1/tokens", {"name": "t", "scopes": [scope, "keys:read"]}).get_json()["token"]
    limited = Api(api.client, token)
    assert limited("POST", "/v1/providers", {"provider": "groq", "base_url": URL}).status_code == 403
    add(api)
    assert limited("GET", "/v1/providers/groq").status_code == 200
    assert limited("PATCH", "/v1/providers/groq", {"enabled": False}).status_code == 403
    assert limited("DELETE", "/v1/providers/groq").status_code == 403
