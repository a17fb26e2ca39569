"""What a provider's counter of tokens is asked: the request's own words, without what it does not take."""

import json
from typing import Any

import pytest
from dialect_kit import find_endpoint

from proxyd.providers import DIALECTS
from shared.catalog import PROVIDERS, Kind


def question(slug: str, path: str, model: str, /, **document: Any) -> tuple[str, dict[str, Any]] | None:
    endpoint, path_model = find_endpoint(PROVIDERS[slug], "POST", path)
    dialect = DIALECTS[endpoint.dialect]
    parsed = dialect.read(endpoint, json.dumps(document).encode(), path_model, "")
    asked = dialect.count_request(endpoint, parsed, path, model)
    return None if asked is None else (asked[0], json.loads(b"".join(asked[1])))


def test_it_works() -> None:
    said = [{"role": "user", "content": "Hi"}]
    asked = question(
        "anthropic", "/v1/messages", "claude-opus-5", model="claude-opus-5", max_tokens=5, messages=said, stream=True,
        system="Be kind.", tools=[{"name": "f", "input_schema": {}}], metadata={"user_id": "x"}, temperature=1,
    )  # fmt: skip
    assert asked is not None
    path, document = asked
    assert path == "/v1/messages/count_tokens"
    assert document == {
        "model": "claude-opus-5",
        "messages": said,
        "system": "Be kind.",
        "tools": [{"name": "f", "input_schema": {}}],
    }


def test_responses_are_asked_by_the_model_that_the_provider_knows() -> None:
    asked = question(
        "openai", "/v1/responses", "gpt-5", model="openai/gpt-5", input="x", max_output_tokens=9, store=False,
        previous_response_id="resp_1", stream=True,
    )  # fmt: skip
    assert asked == (
        "/v1/responses/input_tokens",
        {"model": "gpt-5", "input": "x", "previous_response_id": "resp_1"},
    )


def test_gemini_counts_a_whole_request() -> None:
    contents = [{"parts": [{"text": "x"}]}]
    asked = question(
        "gemini", "/v1beta/models/gemini-2.5-flash:streamGenerateContent", "gemini-2.5-flash",
        contents=contents, generation_config={"maxOutputTokens": 5},
    )  # fmt: skip
    assert asked is not None
    path, document = asked
    assert path == "/v1beta/models/gemini-2.5-flash:countTokens"
    assert document == {
        "generateContentRequest": {
            "model": "models/gemini-2.5-flash",
            "contents": contents,
            "generation_config": {"maxOutputTokens": 5},
        }
    }


@pytest.mark.parametrize(
    ("slug", "path", "document"),
    [
        ("openai", "/v1/chat/completions", {"model": "gpt-4o", "messages": []}),
        ("openai", "/v1/embeddings", {"model": "text-embedding-3-small", "input": "x"}),
        ("anthropic", "/v1/chat/completions", {"model": "claude-opus-5", "messages": []}),
        ("gemini", "/v1beta/models/gemini-embedding-2:embedContent", {"content": {"parts": []}}),
    ],
)
def test_where_there_is_no_counter_nobody_is_asked(slug: str, path: str, document: dict[str, Any]) -> None:
    assert question(slug, path, "m", **document) is None


def test_every_counter_is_an_endpoint_that_costs_nothing() -> None:
    for slug, path in (
        ("anthropic", "/v1/messages/count_tokens"),
        ("openai", "/v1/responses/input_tokens"),
        ("gemini", "/v1beta/models/gemini-2.5-flash:countTokens"),
    ):
        assert find_endpoint(PROVIDERS[slug], "POST", path)[0].kind is Kind.FREE
