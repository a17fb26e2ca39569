"""Gemini's addresses whose model may be another provider's: who is asked, and what nobody is asked for."""

import pytest

from proxyd.gateway.destinations import Target
from proxyd.gateway.route import find_route, match_route, unified_target
from shared.catalog import PROVIDERS, Kind
from shared.routing import Unified, Unknown

GENERATE = "/v1beta/models/{model}:generateContent"
STREAM = "/v1beta/models/{model}:streamGenerateContent"


@pytest.mark.parametrize(
    ("written", "model"),
    [
        ("gpt-4o", "gpt-4o"),
        ("claude-sonnet-4-6", "claude-sonnet-4-6"),
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("anthropic%2Fclaude-sonnet-4-6", "anthropic/claude-sonnet-4-6"),
        ("groq/meta-llama/llama-3%2f70b", "groq/meta-llama/llama-3/70b"),
        ("ft:gpt-4o:org::id", "ft:gpt-4o:org::id"),
        ("ft%3Agpt-4o%3aorg", "ft:gpt-4o:org"),
        ("cf/@cf/meta/llama-3", "cf/@cf/meta/llama-3"),
        ("cf/_x", "cf/_x"),
        ("cf/a+b", "cf/a+b"),
        ("cf/a~(b)!*'$&=", "cf/a~(b)!*'$&="),
        ("openai/gpt-4o,x", "openai/gpt-4o,x"),
        ("gpt-4o+x", "gpt-4o+x"),
    ],
)
def test_it_works(written: str, model: str) -> None:
    for version in ("v1beta", "v1alpha", "v1"):
        for method, path, kind in (
            ("generateContent", GENERATE, Kind.GENERATE),
            ("streamGenerateContent", STREAM, Kind.GENERATE_STREAM),
        ):
            found = match_route("POST", f"/{version}/models/{written}:{method}")
            route = found.route
            assert isinstance(route, Unified)
            assert (route.path, route.endpoint.kind, route.path_model, route.fallback) == (path, kind, model, None)
            assert (found.dialect, found.query_key_allowed) == ("gemini", True)


@pytest.mark.parametrize(("provider", "sent"), [("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages")])
def test_where_a_model_leads(provider: str, sent: str) -> None:
    route = find_route("POST", f"/v1beta/models/{provider}/x:streamGenerateContent")
    assert isinstance(route, Unified)
    target = unified_target(route, PROVIDERS[provider])
    assert isinstance(target, Target)
    assert target.translation is not None
    assert (target.path, target.translation.dialect) == (sent, "gemini")


@pytest.mark.parametrize(
    ("asked", "sent", "model"),
    [
        ("/v1beta/models/gemini-2.5-flash:generateContent", None, "gemini-2.5-flash"),
        ("/v1beta/models/gemma-3:generateContent", None, "gemma-3"),
        ("/v1beta/models/google/gemini-2.5-flash:countTokens", "/v1beta/models/gemini-2.5-flash:countTokens", "gemini-2.5-flash"),
        ("/v1/models/gemini%2Fgemini-2.5-flash:generateContent", "/v1/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash"),
        ("/gemini/v1beta/models/gpt-4o:generateContent", "/v1beta/models/gpt-4o:generateContent", "gpt-4o"),
    ],
)  # fmt: skip
def test_what_is_geminis_goes_there(asked: str, sent: str | None, model: str) -> None:
    route = find_route("POST", asked)
    assert isinstance(route, Target)
    assert (route.provider.slug, route.path, route.path_model) == ("gemini", sent or asked, model)
    assert route.translation is None


@pytest.mark.parametrize("method", ["embedContent", "batchEmbedContents", "countTokens"])
@pytest.mark.parametrize("model", ["text-embedding-004", "gpt-4o"])
def test_other_methods_of_a_bare_name_are_geminis(model: str, method: str) -> None:
    """Whose embeddings have names that begin as OpenAI's do."""
    route = find_route("POST", f"/v1beta/models/{model}:{method}")
    assert isinstance(route, Target)
    assert (route.provider.slug, route.path_model, route.translation) == ("gemini", model, None)


@pytest.mark.parametrize("method", ["countTokens", "embedContent", "batchGenerateContent", "predict"])
@pytest.mark.parametrize("model", ["openai/gpt-4o", "anthropic/claude-sonnet-4-6", "groq%2Fllama"])
def test_other_methods_are_told_to_be_none(model: str, method: str) -> None:
    route = find_route("POST", f"/v1beta/models/{model}:{method}")
    assert isinstance(route, Unknown)
    assert f"{method} is not translated. generateContent and streamGenerateContent are." in route.detail
    assert "%2F" not in route.detail


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/openai/../gpt-4o:generateContent",
        "/v1beta/models/openai/%2e%2e/gpt-4o:generateContent",
        "/v1beta/models/openai%2F%2Fgpt-4o:generateContent",
        "/v1beta/models/openai%252Fgpt-4o:generateContent",
        "/v1beta/models/gemini-2.5-flash%2F..:generateContent",
        "/v1beta/models/openai//gpt-4o:generateContent",
        "/v1beta/models/openai/:generateContent",
        "/v1beta/models/openai/:streamGenerateContent",
        "/v1beta/models/openai%2F:generateContent",
        "/v1beta/models//gpt-4o:generateContent",
        "/v1beta/models/cf/-x:generateContent",
        "/v1beta/models/cf/a%20b:generateContent",
        "/v1beta/models/cf/caf%C3%A9:generateContent",
        "/v1beta/models/gpt-4o%20x:generateContent",
        "/v1beta/models/gpt-4o;x:generateContent",
        "/v1beta/models/google/a/b:generateContent",
        "/v1beta/models/google/a%2Fb:streamGenerateContent",
        "/v1beta/models/google/gemini-2.5-flash+x:generateContent",
        "/v1beta/models/models/gemini-2.5-flash/x:generateContent",
    ],
)
def test_no_disguise_is_a_model(path: str) -> None:
    for version in ("v1beta", "v1alpha", "v1"):
        assert isinstance(find_route("POST", path.replace("v1beta", version)), Unknown)


@pytest.mark.parametrize("method", ["generatecontent", "CountTokens"])
def test_a_method_in_another_case_is_named(method: str) -> None:
    route = find_route("POST", f"/v1beta/models/google/gemini-2.5-flash:{method}")
    assert isinstance(route, Unknown)
    assert "in the right case it is /v1beta/models/gemini-2.5-flash:" in route.detail
