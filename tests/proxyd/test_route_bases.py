"""Addresses with two beginnings in a row or of a cloud's, and methods of what is only called or only a WebSocket."""

import pytest

from proxyd.gateway.destinations import Builtin, NeedsUpgrade, Target
from proxyd.gateway.route import find_route, match_route
from shared.hints import PREFLIGHT
from shared.routing import HOLDS_A_KEY, Named, Unified, Unknown, WrongMethod


@pytest.mark.parametrize(
    ("path", "wrong", "right"),
    [
        ("/v1/anthropic/v1/messages", "/v1", "/anthropic/v1/messages"),
        ("/v1/openai/v1/chat/completions", "/v1", "/openai/v1/chat/completions"),
        ("/v1/openai/chat/completions", "/v1", "/openai/chat/completions"),
        ("/openai/openai/v1/chat/completions", "/openai", "/openai/v1/chat/completions"),
        ("/openai/v1/openai/v1/files/file-1", "/openai/v1", "/openai/v1/files/file-1"),
        ("/v1/gemini/v1beta/models/g:generateContent", "/v1", "/gemini/v1beta/models/g:generateContent"),
        ("/anthropic/anthropic/v1/messages", "/anthropic", "/anthropic/v1/messages"),
        ("/gemini/openai/v1/chat/completions", "/v1", "/gemini/openai/chat/completions"),
        ("/v1beta/openai/v1/chat/completions", "/v1", "/v1beta/openai/chat/completions"),
        ("/gemini/anthropic/v1/messages", "/gemini", "/anthropic/v1/messages"),
        ("/v1/groq/v1/chat/completions", "/v1/groq", "/v1/chat/completions"),
        ("/openai/google/v1beta/models/g:countTokens", "/openai/google", "/v1beta/models/g:countTokens"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_it_works(method: str, path: str, wrong: str, right: str) -> None:
    for spoken in ("openai", "anthropic"):
        route = find_route(method, path, spoken)
        assert isinstance(route, Unknown)
        assert f"leave {wrong} out of the base URL, then it is {right}." in route.detail
    assert isinstance(find_route("POST", right), Target | Unified)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/openai/v1/deployments/x/chat/completions", "Azure's paths"),
        ("/v1/deployments/x/chat/completions", "Azure's paths"),
        ("/deployments/x/chat/completions", "Azure's paths"),
        ("/openai/openai/deployments/x/embeddings", "Azure's paths"),
        ("/v1/publishers/google/models/g:generateContent", "then it is /v1beta/models/g:generateContent."),
        ("/v1beta1/projects/p/locations/l/publishers/google/models/g:generateContent", "it is /v1beta/models/g:generate"),
        ("/gemini/v1/publishers/anthropic/models/c:rawPredict", "Google's client without `vertexai`."),
        ("/v1/key/", "then it is /v1/key;"),
        ("/healthz/", "then it is /healthz;"),
        ("/key", "the base URL must end with /v1, then it is /v1/key."),
        ("/api/healthz", "leave /api out of the base URL, then it is /healthz."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("spoken", ["openai", "anthropic", "gemini"])
def test_what_is_told_of_others(path: str, hint: str, spoken: str) -> None:
    route = find_route("POST", path, spoken)
    assert isinstance(route, Unknown | Named)
    assert hint in (route.detail if isinstance(route, Unknown) else route.otherwise.detail)


@pytest.mark.parametrize(
    ("method", "path", "spoken"),
    [
        ("POST", "/v1beta/openai/images/generations", "openai"),
        ("POST", "/gemini/openai/images/generations", "openai"),
        ("POST", "/v1/openai/images/generations", "gemini"),
        ("POST", "/v1/deployments/d_1/runs", "anthropic"),
        ("POST", "/openai/v1/messages", "openai"),
        ("GET", "/v1/files/v1/content", "openai"),
        ("GET", "/v1beta/models/openai/gpt-4o", "openai"),
        ("POST", "/openai/v1/never/v1/heard", "openai"),
    ],
)
def test_one_beginning_is_its_providers_whatever_follows(method: str, path: str, spoken: str) -> None:
    assert isinstance(find_route(method, path, spoken), Target)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/gemini-2.5-flash:generateContent",
        "/v1beta/models/openai/gpt-4o:generateContent",
        "/v1alpha/models/openai%2Fgpt-4o:streamGenerateContent",
        "/v1/models/google/gemini-2.5-flash:countTokens",
        "/v1/models/imagen-4:predict",
        "/v1/models/ft:gpt-4o:org:generateContent",
    ],
)
def test_a_models_methods_are_called_by_post_alone(method: str, path: str) -> None:
    for spoken in ("openai", "gemini"):
        route = find_route(method, path, spoken)
        assert isinstance(route, WrongMethod)
        assert route.methods == ("POST",)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("model", ["ft:gpt-4o:acme", "ft:gpt-4o:acme::predict", "ft:gpt-4o:countTokens", "a:b"])
def test_a_models_card_may_have_colons(method: str, model: str) -> None:
    route = find_route(method, f"/v1/models/{model}")
    assert isinstance(route, Builtin if method == "GET" else Target)


def test_where_nothing_but_a_websocket_is_spoken() -> None:
    live = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    for path, methods in (
        ("/v1/realtime", ("GET", "POST")),
        ("/openai/v1/realtime", ("GET", "POST")),
        (live, ("GET",)),
    ):
        assert isinstance(find_route("GET", path), NeedsUpgrade)
        for method in ("PUT", "PATCH", "DELETE"):
            route = find_route(method, path)
            assert isinstance(route, WrongMethod)
            assert route.methods == methods
    assert isinstance(find_route("POST", "/v1/realtime"), Target)
    assert isinstance(find_route("POST", live), WrongMethod)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/chat/completions", ("GET", "POST", "HEAD")),
        ("/v1/messages", ("POST",)),
        ("/v1/realtime", ("GET", "POST", "HEAD")),
        ("/v1/files", ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")),
        ("/", ("GET", "HEAD")),
        ("/nowhere", ()),
    ],
)
def test_a_preflight_is_told_the_methods_of_its_path(path: str, methods: tuple[str, ...]) -> None:
    route = find_route("OPTIONS", path)
    assert isinstance(route, WrongMethod)
    assert (route.methods, route.detail) == (methods, PREFLIGHT)


@pytest.mark.parametrize(
    "path", ["/v1/sk-proxy-0a", "/v1/files/sk%2Dproxy%2D0a", "/openai/%73k-mgmt-0a", "/v1/models/sk%2dproxy-0a:x"]
)
def test_k05_a_key_in_a_path_is_told_as_one_however_it_is_escaped(path: str) -> None:
    for method in ("GET", "POST"):
        assert match_route(method, path).route == Unknown(HOLDS_A_KEY)
