"""Addresses that differ from an endpoint's in their case alone, and hints, which name only what leads somewhere."""

import pytest

from proxyd.gateway.route import find_route
from shared.catalog import PROVIDERS, Kind
from shared.hints import of as find_hint
from shared.routing import Unknown, WrongMethod


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/v1/Chat/Completions", "in the right case it is /v1/chat/completions."),
        ("/openai/v1/Chat/Completions", "in the right case it is /openai/v1/chat/completions."),
        ("/openai/Chat/Completions", "in the right case it is /openai/v1/chat/completions."),
        ("/OpenAI/v1/chat/completions", "in the right case it is /openai/v1/chat/completions."),
        ("/v1/Messages/Count_Tokens", "in the right case it is /v1/messages/count_tokens."),
        ("/v1/Files/file-AbC/content", "in the right case it is /v1/files/file-AbC/content."),
        ("/v1/Vector_Stores/vs_A/Files", "in the right case it is /v1/vector_stores/vs_A/Files."),
        ("/v1beta/models/G:generatecontent", "in the right case it is /v1beta/models/G:generateContent."),
        ("/gemini/models/G:GenerateContent", "in the right case it is /gemini/v1beta/models/G:generateContent."),
        ("/V1/Threads/Runs", "in the right case it is /v1/threads/runs."),
        ("/v1/Key", "in the right case it is /v1/key."),
        ("/v1/v2/chat/completions", "leave /v2 out of the base URL, then it is /v1/chat/completions"),
        ("/v1beta/v1/files/abc", "leave /v1beta out of the base URL, then it is /v1/files/abc"),
        ("/v2/v3/nothing", "two versions stand in it, /v2 and /v3; check the base URL"),
        ("/V1/Chat/Completions", "in the right case it is /v1/chat/completions."),
        ("/api/openai/v1/files", "leave /api out of the base URL, then it is /openai/v1/files"),
    ],
)
def test_it_works(path: str, hint: str) -> None:
    route = find_route("POST", path)
    assert isinstance(route, Unknown)
    assert hint in route.detail


@pytest.mark.parametrize("spoken", ["openai", "anthropic", "gemini"])
def test_no_case_but_the_right_one_passes_for_an_endpoint_that_is_not_metered(spoken: str) -> None:
    for provider in PROVIDERS.values():
        for endpoint in (one for one in provider.endpoints if one.kind is not Kind.FREE and one.path != "/..."):
            path = endpoint.path.replace("{model}", "m").replace("{id}", "i").replace("/...", "/x")
            for before in ("", f"/{provider.slug}"):
                turned = f"{before}{path.swapcase()}"
                assert isinstance(find_route("POST", turned, spoken), Unknown), turned


@pytest.mark.parametrize(
    "path", ["/v1/chat%2Fcompletions", "/google/nothing", "/v2/v3/nothing", "/v1//nothing/x/y", "/V1/Nothing"]
)
def test_a_path_that_leads_nowhere_is_not_named(path: str) -> None:
    assert "then it is" not in find_hint(path)
    assert "in the right case" not in find_hint(path)


@pytest.mark.parametrize(
    ("path", "method"),
    [("/v1/files/file-ABC", "GET"), ("/v1/threads/RUNS", "POST"), ("/v1/never/Heard/of", "POST"), ("/v1/models/GPT", "GET")],
)  # fmt: skip
def test_a_name_may_be_in_any_case(path: str, method: str) -> None:
    assert not isinstance(find_route(method, path), Unknown)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1/responses/input_tokens"),
        ("GET", "/v1/responses/compact"),
        ("GET", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1beta/models/g:countTokens"),
    ],
)
def test_what_is_only_called_is_no_free_read(method: str, path: str) -> None:
    route = find_route(method, path)
    assert isinstance(route, WrongMethod)
    assert route.methods == ("POST",)
