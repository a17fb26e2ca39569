"""Where a path leads."""

import pytest

from proxyd.gateway.route import Builtin, Target, Unified, Unknown, dialect_of, find_route


def test_it_works() -> None:
    route = find_route("POST", "/openai/v1/chat/completions")
    assert isinstance(route, Target)
    assert (route.provider.slug, route.path, route.dialect) == ("openai", "/v1/chat/completions", "openai")


@pytest.mark.parametrize(
    ("path", "provider", "sent", "model"),
    [
        ("/openai/chat/completions", "openai", "/v1/chat/completions", None),
        ("/openai/v1/embeddings", "openai", "/v1/embeddings", None),
        ("/anthropic/v1/messages", "anthropic", "/v1/messages", None),
        ("/v1/messages", "anthropic", "/v1/messages", None),
        ("/v1/messages/count_tokens", "anthropic", "/v1/messages/count_tokens", None),
        (
            "/gemini/v1beta/models/gemini-2.5-flash:generateContent", "gemini",
            "/v1beta/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash",
        ),
        (
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent", "gemini",
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent", "gemini-2.5-pro",
        ),
        (
            "/v1/models/gemini-2.5-pro:generateContent", "gemini", "/v1/models/gemini-2.5-pro:generateContent",
            "gemini-2.5-pro",
        ),
    ],
)  # fmt: skip
def test_provider_paths(path: str, provider: str, sent: str, model: str | None) -> None:
    route = find_route("POST", path)
    assert isinstance(route, Target)
    assert (route.provider.slug, route.path, route.path_model) == (provider, sent, model)
    assert route.endpoint is not None


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/responses"])
def test_unified_paths(path: str) -> None:
    assert isinstance(find_route("POST", path), Unified)
    assert isinstance(find_route("GET", path), Unknown)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/v1/key", "/"])
def test_our_own_pages(path: str) -> None:
    assert isinstance(find_route("GET", path), Builtin)
    assert isinstance(find_route("POST", path), Unknown)


def test_an_endpoint_nobody_lists_goes_to_its_provider_unread() -> None:
    route = find_route("POST", "/openai/v1/audio/speech")
    assert isinstance(route, Target)
    assert route.endpoint is None


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/x", "/openai//v1/models", "/openai/../etc", "/openai/v1/%2e%2e/x", "/openai/v1/a%2Fb", "/openai/v1/..",
        "/openai/v1/x%00", "/openai/v1/x\\y", "/openai/v1/é", "/openai/v1/a b", "/openai/v1/x;y=1", "/openai/./v1/models",
        "/openai/v1/%252e", "/openai", "/openai/", "/nowhere", "/v2/chat/completions", "", "*", "/nosuch/v1/chat",
    ],
)  # fmt: skip
def test_what_cannot_be_trusted_or_found_is_unknown(path: str) -> None:
    assert isinstance(find_route("POST", path), Unknown)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/v1/v1/messages", "leave /v1 out of the Anthropic base URL"),
        ("/anthropic/v1/v1/messages", "leave /v1 out of the Anthropic base URL"),
        ("/v1/v1/chat/completions", "twice"),
        ("/chat/completions", "must end with /v1"),
        ("/messages", "Anthropic base URL"),
    ],
)
def test_a_wrong_base_url_is_answered_helpfully(path: str, hint: str) -> None:
    route = find_route("POST", path)
    assert isinstance(route, Unknown)
    assert hint in route.detail


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/messages", "anthropic"), ("/anthropic/v1/anything", "anthropic"), ("/gemini/v1beta/x", "gemini"),
        ("/v1beta/models/x:generateContent", "gemini"), ("/v1/models/x:generateContent", "gemini"), ("/v1/models", "openai"),
        ("/openai/v1/x", "openai"), ("/nonsense", "openai"),
    ],
)  # fmt: skip
def test_even_a_lost_caller_is_answered_in_its_dialect(path: str, dialect: str) -> None:
    assert dialect_of(path) == dialect


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/gemini-2.5-flash%3AgenerateContent", "/v1beta/models/gemini%2D2.5-flash:generateContent",
        "/openai/v1/chat/%63ompletions", "/openai/v1/%6dessages", "/v1beta/models/a%40b:generateContent",
        "/openai/v1/files/%zz", "/openai/v1/files/a%", "/openai/v1/files/a%5Fb",
    ],
)  # fmt: skip
def test_a_path_in_disguise_is_unknown(path: str) -> None:
    """The provider would take off the disguise; here the endpoint would pass for one that is not listed."""
    assert isinstance(find_route("POST", path), Unknown)


def test_other_escapes_are_passed_on() -> None:
    route = find_route("GET", "/openai/v1/files/a%20b%C3%A9")
    assert isinstance(route, Target)
    assert route.path == "/v1/files/a%20b%C3%A9"


def test_compatible_endpoints_are_asked_in_the_dialect_of_openai() -> None:
    for path in (
        "/gemini/v1beta/openai/chat/completions",
        "/v1beta/openai/embeddings",
        "/anthropic/v1/chat/completions",
    ):
        assert dialect_of(path) == "openai"
