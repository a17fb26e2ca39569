"""What clients of all three dialects may send to the bare base address, and what they are told when it leads nowhere."""

import json

import anthropic
import pytest
from ask_kit import SPEAK, ask, told
from google import genai
from harness import Json, Router
from raw_http import ScriptedProvider, bearer

in_every_dialect = pytest.mark.parametrize("dialect", SPEAK)


def shape(document: Json) -> str:
    """The dialect of an error."""
    if document.get("type") == "error":
        return "anthropic"
    return "gemini" if "status" in document["error"] else "openai"


# Models


@in_every_dialect
def test_models_are_listed_in_the_callers_dialect(stage: Router, quiet: ScriptedProvider, dialect: str) -> None:
    _, key = stage.create_key(name="models", allowed_models=["gpt-4o*", "claude-sonnet-4-6", "gemini-2.5-flash"])
    listed = told(ask(stage, b"GET /v1/models", bearer(key), *SPEAK[dialect]))
    if dialect == "openai":
        assert {"gpt-4o", "claude-sonnet-4-6", "gemini-2.5-flash"} <= {card["id"] for card in listed["data"]}
    elif dialect == "anthropic":
        assert [card["id"] for card in listed["data"]] == ["claude-sonnet-4-6"]
        assert (listed["has_more"], listed["first_id"]) == (False, "claude-sonnet-4-6")
    else:
        assert [card["name"] for card in listed["models"]] == ["models/gemini-2.5-flash"]
    assert quiet.heard == []


@in_every_dialect
def test_a_model_that_is_not_known_is_asked_of_its_provider(
    stage: Router, quiet: ScriptedProvider, dialect: str
) -> None:
    _, key = stage.create_key(name="cards")
    assert ask(stage, b"GET /v1/models/never-heard-of", bearer(key), *SPEAK[dialect]).status == 200
    assert [heard.first for heard in quiet.heard] == ["GET /v1/models/never-heard-of HTTP/1.1"]
    known = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-6", "gemini": "gemini-2.5-flash"}[dialect]
    card = told(ask(stage, f"GET /v1/models/{known}".encode(), bearer(key), *SPEAK[dialect]))
    assert str(card.get("id", card.get("name"))).removeprefix("models/") == known
    assert len(quiet.heard) == 1
    _, narrow = stage.create_key(name="narrow", allowed_models=["nothing"])
    refused = ask(stage, f"GET /v1/models/{known}".encode(), bearer(narrow), *SPEAK[dialect])
    assert (refused.status, refused.code, shape(told(refused))) == (403, "model_not_allowed", dialect)


def test_the_sdks_read_lists_and_cards_into_their_own_types(stage: Router, quiet: ScriptedProvider) -> None:
    _, key = stage.create_key(name="sdks")
    with anthropic.Anthropic(base_url=stage.proxy_url, api_key=key) as claude:
        ids = [model.id for model in claude.models.list()]
        assert claude.models.retrieve(ids[0]).display_name == ids[0]
    assert len(ids) > 10
    assert all(name.startswith("claude-") for name in ids)
    client = genai.Client(api_key=key, http_options=genai.types.HttpOptions(base_url=stage.proxy_url))
    names = [model.name or "" for model in client.models.list()]
    assert client.models.get(model=names[0]).name == names[0]
    client.close()
    assert len(names) > 10
    assert all(name.startswith("models/gemini-") for name in names)
    assert quiet.heard == []


# What leads nowhere


@in_every_dialect
@pytest.mark.parametrize(
    ("first", "status", "wanted"),
    [
        (b"GET /nowhere", 404, "unknown_endpoint"),
        (b"GET /v1//files", 404, "unknown_endpoint"),
        (b"DELETE /v1/key", 405, "method_not_allowed"),
        (b"OPTIONS /v1/files", 405, "method_not_allowed"),
        (b"GET /v1/files", 401, "invalid_proxy_key"),
    ],
)
def test_refusals_come_in_the_callers_dialect(
    stage: Router, dialect: str, first: bytes, status: int, wanted: str
) -> None:
    answer = ask(stage, first, *SPEAK[dialect])
    assert (answer.status, answer.code, shape(told(answer))) == (status, wanted, dialect)
    assert answer.headers["x-should-retry"] == "false"
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("path", "model"),
    [
        (b"/v1beta/openai/chat/completions", "models/gemini-2.5-flash"),
        (b"/gemini/openai/chat/completions", "models/gemini-2.5-flash"),
        (b"/v1/chat/completions", "models/gemini-2.5-flash"),
        (b"/v1/chat/completions", "google/models/gemini-2.5-flash"),
    ],
)
def test_a_full_name_of_geminis_is_judged_and_priced_as_the_bare_one(
    stage: Router, quiet: ScriptedProvider, path: bytes, model: str
) -> None:
    _, key = stage.create_key(name="full names", spend_limit_usd="1", allowed_models=["gemini-2.5-*"])
    body = json.dumps({"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": "x"}]}).encode()
    answer = ask(stage, b"POST " + path, bearer(key), body=body)
    assert (answer.status, answer.code) == (200, None), answer.body
    assert json.loads(quiet.heard[0].body)["model"].removeprefix("models/") == "gemini-2.5-flash"


def test_two_keys_are_named_by_their_places(stage: Router) -> None:
    _, key = stage.create_key(name="two")
    answer = ask(stage, b"POST /v1/messages", bearer(key), b"x-api-key: sk-ant-forgotten")
    message = told(answer)["error"]["message"]
    assert (answer.status, answer.code) == (401, "invalid_proxy_key")
    assert "one in authorization, another in x-api-key" in message
    assert "ANTHROPIC_API_KEY" in message
    assert "sk-ant" not in message
    azure = ask(stage, b"POST /v1/chat/completions", b"api-key: " + key.encode())
    assert (azure.status, "Azure" in told(azure)["error"]["message"]) == (401, True)


def test_geminis_refusals_say_when_to_come_back(stage: Router, quiet: ScriptedProvider) -> None:
    _, key = stage.create_key(name="slow", rate_limit_rpm=1)
    count = b"POST /v1beta/models/gemini-2.5-flash:countTokens"
    assert ask(stage, count, bearer(key), body=b"{}").status == 200
    answer = ask(stage, count, bearer(key), body=b"{}")
    _, retry = told(answer)["error"]["details"]
    assert (answer.status, answer.code) == (429, "rate_limited")
    assert retry == {
        "@type": "type.googleapis.com/google.rpc.RetryInfo",
        "retryDelay": f"{answer.headers['retry-after']}s",
    }
