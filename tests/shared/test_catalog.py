from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from shared import catalog
from shared.catalog import (
    NOT_METERED,
    PROVIDERS,
    Endpoint,
    Kind,
    Provider,
    credential_header,
    known_models,
    output_maximum,
    provider_of_model,
)
from shared.output_limits import UNKNOWN_MODEL, accepted_limit
from shared.pricing.table import PATH, PRICES_IDS, find_model, places


def find_endpoint(provider: Provider, method: str, path: str) -> tuple[Endpoint, str | None]:
    found = catalog.find_endpoint(provider, method, path)
    assert found is not None
    return found


OPENAI, ANTHROPIC, GEMINI = PROVIDERS["openai"], PROVIDERS["anthropic"], PROVIDERS["gemini"]


def test_it_works() -> None:
    endpoint, model = find_endpoint(GEMINI, "POST", "/v1beta/models/gemini-2.5-flash:generateContent")
    assert (endpoint.kind, endpoint.dialect, model) == (Kind.GENERATE, "gemini", "gemini-2.5-flash")


@pytest.mark.parametrize(
    ("provider", "method", "path", "kind", "dialect", "model"),
    [
        (OPENAI, "POST", "/v1/chat/completions", Kind.CHAT, "openai", None),
        (OPENAI, "POST", "/v1/responses", Kind.RESPONSES, "openai", None),
        (OPENAI, "POST", "/v1/embeddings", Kind.EMBEDDINGS, "openai", None),
        (OPENAI, "GET", "/v1/models", Kind.FREE, "openai", None),
        (OPENAI, "GET", "/v1/models/ft:gpt-4o:org::id", Kind.FREE, "openai", "ft:gpt-4o:org::id"),
        (OPENAI, "DELETE", "/v1/responses/resp_1", Kind.FREE, "openai", None),
        (OPENAI, "POST", "/v1/responses/input_tokens", Kind.FREE, "openai", None),
        (ANTHROPIC, "POST", "/v1/messages", Kind.MESSAGES, "anthropic", None),
        (ANTHROPIC, "POST", "/v1/messages/count_tokens", Kind.FREE, "anthropic", None),
        (ANTHROPIC, "POST", "/v1/chat/completions", Kind.CHAT, "openai", None),
        (GEMINI, "POST", "/v1/models/gemini-3-x:streamGenerateContent", Kind.GENERATE_STREAM, "gemini", "gemini-3-x"),
        (
            GEMINI,
            "POST",
            "/v1beta/models/gemini-embedding-001:batchEmbedContents",
            Kind.EMBED,
            "gemini",
            "gemini-embedding-001",
        ),
        (GEMINI, "POST", "/v1beta/models/g:countTokens", Kind.FREE, "gemini", "g"),
        (GEMINI, "POST", "/v1beta/openai/chat/completions", Kind.CHAT, "openai", None),
        (GEMINI, "GET", "/v1beta/models", Kind.FREE, "gemini", None),
    ],
)
def test_listed_endpoints_are_found(
    provider: Provider, method: str, path: str, kind: Kind, dialect: str, model: str | None
) -> None:
    endpoint, found = find_endpoint(provider, method, path)
    assert (endpoint.kind, endpoint.dialect, found) == (kind, dialect, model)


@pytest.mark.parametrize(
    ("provider", "method", "path"),
    [
        (OPENAI, "POST", "/v1/chat/completions/"),
        (OPENAI, "POST", "/v1/models/a/b"),
        (GEMINI, "POST", "/v1beta/models/a:b:generateContent"),
        (GEMINI, "POST", "/v1beta/models/a%2Fb:generateContent"),
        (GEMINI, "POST", "/v1beta/models/gemini 2:generateContent"),
        (GEMINI, "POST", "/v1beta/models/:generateContent"),
        (GEMINI, "POST", "/v1beta/models/x:generateContent\n"),
    ],
)
def test_other_paths_are_not_listed(provider: Provider, method: str, path: str) -> None:
    assert catalog.find_endpoint(provider, method, path) is None


def test_every_metered_endpoint_has_an_extraction_table() -> None:
    for provider in PROVIDERS.values():
        for endpoint in (one for one in provider.endpoints if one.kind not in NOT_METERED):
            assert places(endpoint.prices_id, endpoint.flavor or "") is not None, endpoint


def test_every_provider_has_its_prices() -> None:
    assert {slug: provider.prices_id for slug, provider in PROVIDERS.items()} == PRICES_IDS


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("openai/gpt-4o", ("openai", "gpt-4o")),
        ("anthropic/claude-x", ("anthropic", "claude-x")),
        ("google/gemini-2.5-pro", ("gemini", "gemini-2.5-pro")),
        ("gemini/gemini-2.5-pro", ("gemini", "gemini-2.5-pro")),
        ("gpt-4o", ("openai", "gpt-4o")),
        ("o3-mini", ("openai", "o3-mini")),
        ("chatgpt-4o-latest", ("openai", "chatgpt-4o-latest")),
        ("text-embedding-3-small", ("openai", "text-embedding-3-small")),
        ("claude-opus-5", ("anthropic", "claude-opus-5")),
        ("gemini-2.5-flash", ("gemini", "gemini-2.5-flash")),
        ("ft:gpt-4.1-mini-2025-04-14:acme::B7", ("openai", "ft:gpt-4.1-mini-2025-04-14:acme::B7")),
        ("models/gemini-2.5-flash", ("gemini", "gemini-2.5-flash")),
        ("google/models/gemini-2.5-flash", ("gemini", "gemini-2.5-flash")),
        ("models/gpt-4o", None),
        ("openai/", None),
        ("mistral/large", None),
        ("GPT-4o", None),
        ("llama", None),
        ("", None),
    ],
)
def test_the_model_tells_the_provider(model: str, expected: tuple[str, str] | None) -> None:
    assert provider_of_model(model) == expected


def test_the_longest_prefix_gives_the_output_maximum() -> None:
    assert output_maximum("openai", "gpt-4o-mini-2024-07-18") == 16_384
    assert output_maximum("openai", "gpt-4-turbo") == 4_096
    assert output_maximum("openai", "gpt-4.1-nano") == 32_768
    assert output_maximum("openai", "o3-mini") == 100_000
    assert output_maximum("anthropic", "claude-3-haiku-20240307") == 4_096
    assert output_maximum("anthropic", "claude-opus-4-1-20250805") == 32_000
    assert output_maximum("gemini", "gemini-2.5-pro") == 65_536
    assert output_maximum("openai", "llama") is None


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("claude-2.1", 4_096),
        ("claude-3-haiku-20240307", 4_096),
        ("claude-3-5-haiku-latest", 8_192),
        ("claude-3-7-sonnet-20250219", 64_000),
        ("claude-opus-4-0", 32_000),
        ("claude-opus-4-20250514", 32_000),
        ("claude-opus-4-1-20250805", 32_000),
        ("claude-opus-4-5", 64_000),
        ("claude-sonnet-4-5", 64_000),
        ("claude-haiku-4-5", 64_000),
        ("claude-sonnet-4-6", 128_000),
        ("claude-haiku-5-5", 128_000),
        ("claude-v1", 4_096),
        ("claude-instant-1.2", 4_096),
        ("claude-of-next-year", 4_096),
    ],
)
def test_a_limit_that_is_set_is_one_that_the_provider_takes(model: str, limit: int) -> None:
    """By the overviews of platform.claude.com, without a beta header."""
    assert accepted_limit("anthropic", model) == limit
    assert limit <= (output_maximum("anthropic", model) or limit)


@pytest.mark.parametrize(
    ("provider", "model", "limit"),
    [
        *(("openai", f"{name}-chat-latest", 16_384) for name in ("gpt-5", "gpt-5.1", "gpt-5.2", "gpt-5.3")),
        ("openai", "gpt-5", 128_000),
        ("openai", "gpt-5-codex", 128_000),
        ("openai", "gpt-chat-latest", 16_384),
        ("openai", "chat-latest", 16_384),
        ("openai", "gpt-4", 4_096),
        ("openai", "gpt-4-0613", 4_096),
        ("openai", "gpt-4o", 16_384),
        ("openai", "gpt-4o-2024-05-13", 4_096),
        ("openai", "gpt-4.1", 32_768),
        ("openai", "computer-use-preview", 1_024),
        ("gemini", "gemini-2.5-pro", 65_536),
        ("gemini", "gemini-2.5-flash-preview-tts", 16_384),
        ("gemini", "gemini-2.5-flash-image", 32_768),
        ("gemini", "gemini-3.1-flash-lite-image", 4_096),
        ("gemini", "gemini-3.1-flash-lite", 65_536),
        ("gemini", "gemini-4-argon", 65_536),
        ("gemini", "gemma-3-27b-it", 8_192),
        *(("gemini", f"gemini-{kind}-latest", 65_536) for kind in ("pro", "flash", "flash-lite")),
    ],
)
def test_a_limit_is_one_that_the_model_takes_and_not_only_its_family(provider: str, model: str, limit: int) -> None:
    assert accepted_limit(provider, model) == limit
    assert limit <= (output_maximum(provider, model) or UNKNOWN_MODEL)


def _names(clause: list[Any]) -> Iterator[str]:
    test, value = clause
    if test in ("or", "and"):
        for inner in value:
            yield from _names(inner)
    elif test in ("equals", "starts"):
        yield value


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
def test_a_name_has_at_least_the_output_of_the_model_that_it_is_priced_as(provider: str) -> None:
    """Names such as `gemini-pro-latest` lead to a model of another name."""
    models = orjson.loads(PATH.read_bytes())["providers"][PRICES_IDS[provider]]["models"]
    seen = 0
    for model in models:
        for name in _names(model["match"]):
            found = find_model(PRICES_IDS[provider], name)
            if found is None or (provider == "anthropic" and "." in name):
                continue  # no entry of its own, and a name that only resellers use
            seen += 1
            own, priced_as = (output_maximum(provider, each) or UNKNOWN_MODEL for each in (name, found.id))
            assert own >= priced_as or output_maximum(provider, found.id) is None, name
    assert seen > 30


def test_credentials_go_where_the_endpoint_wants_them() -> None:
    assert credential_header(OPENAI, "/v1/responses") == (b"authorization", b"Bearer ")
    assert credential_header(ANTHROPIC, "/v1/messages") == (b"x-api-key", b"")
    assert credential_header(ANTHROPIC, "/v1/chat/completions") == (b"authorization", b"Bearer ")
    assert credential_header(GEMINI, "/v1beta/models") == (b"x-goog-api-key", b"")
    assert credential_header(GEMINI, "/v1beta/openai/embeddings") == (b"authorization", b"Bearer ")


def test_known_models_are_names_that_the_provider_serves() -> None:
    for slug in PROVIDERS:
        models = known_models(slug)
        assert len(models) > 10
        assert all(provider_of_model(model) == (slug, model) for model in models)
    assert "gpt-4o" in known_models("openai")
    assert "gemini-2.0-flash" not in known_models("gemini")  # deprecated
