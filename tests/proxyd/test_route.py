"""Where a path leads."""

import pytest

from proxyd.gateway.destinations import Builtin, Target
from proxyd.gateway.route import dialect_of, find_route, match_route, spoken_by, unified_target
from shared.catalog import PROVIDERS, Kind
from shared.hints import of as find_hint
from shared.routing import Named, Unified, Unknown, WrongMethod


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


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("spoken", ["openai", "anthropic", "gemini"])
def test_unified_paths(path: str, spoken: str) -> None:
    assert isinstance(find_route("POST", path, spoken), Unified)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/v1/key", "/"])
def test_our_own_pages(path: str) -> None:
    assert isinstance(find_route("GET", path), Builtin)
    other = find_route("POST", path)
    assert isinstance(other, WrongMethod)
    assert other.methods == ("GET", "HEAD")


@pytest.mark.parametrize(
    ("method", "path", "methods"),
    [
        ("GET", "/v1/embeddings", ("POST",)),
        ("GET", "/v1/responses", ("POST",)),
        ("PUT", "/v1/chat/completions", ("GET", "POST")),
        ("GET", "/v1/messages", ("POST",)),
        ("GET", "/v1/moderations", ("POST",)),
        ("HEAD", "/v1/messages/count_tokens", ("POST",)),
        ("GET", "/v1/responses/input_tokens", ("POST",)),
        ("GET", "/openai/v1/embeddings", ("POST",)),
        ("GET", "/gemini/v1beta/models/g:generateContent", ("POST",)),
    ],
)
def test_a_path_that_does_not_take_the_method_says_which_it_takes(
    method: str, path: str, methods: tuple[str, ...]
) -> None:
    route = find_route(method, path)
    assert isinstance(route, WrongMethod)
    assert route.methods == methods


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/files"), ("POST", "/v1/files"), ("GET", "/v1/files/file-1/content"), ("POST", "/v1/skills"),
        ("DELETE", "/v1/models/some-model"), ("PUT", "/v1/anything/new"), ("POST", "/v1/batches"),
        ("GET", "/v1/batches/x"), ("PATCH", "/v1/cachedContents/x"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("spoken", ["openai", "anthropic", "gemini"])
def test_other_paths_belong_to_whoever_is_spoken(method: str, path: str, spoken: str) -> None:
    match = match_route(method, path, spoken)
    assert isinstance(match.route, Target)
    assert (match.route.provider.slug, match.route.path) == (spoken, path)
    assert (match.route.dialect, match.dialect) == (spoken, spoken)
    assert match.query_key_allowed is (spoken == "gemini")


def test_stored_completions_are_read_where_they_are() -> None:
    route = find_route("GET", "/v1/chat/completions")
    assert isinstance(route, Target)
    assert (route.provider.slug, route.endpoint and route.endpoint.kind) == ("openai", Kind.FREE)
    below = find_route("GET", "/v1/responses/resp_1/input_items")
    assert isinstance(below, Target)
    assert below.provider.slug == "openai"


@pytest.mark.parametrize(
    ("headers", "spoken"),
    [
        ((), "openai"),
        (((b"authorization", b"Bearer x"), (b"x-api-key", b"x")), "openai"),
        (((b"user-agent", b"x"), (b"anthropic-version", b"2023-06-01")), "anthropic"),
        (((b"x-goog-api-key", b"x"),), "gemini"),
        (((b"x-goog-api-client", b"google-genai-sdk"),), "gemini"),
    ],
)
def test_an_sdk_is_known_by_its_header(headers: tuple[tuple[bytes, bytes], ...], spoken: str) -> None:
    assert spoken_by(headers) == spoken


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/gemini/models/x:generateContent", "/v1beta/models/x:generateContent"),
        ("/gemini/v1/models", "/v1/models"),
        ("/gemini/files", "/v1beta/files"),
        ("/gemini/upload/v1beta/files", "/upload/v1beta/files"),
        ("/upload/v1/files", "/upload/v1/files"),
        ("/download/v1beta/files/x:download", "/download/v1beta/files/x:download"),
        ("/v1alpha/auth_tokens", "/v1alpha/auth_tokens"),
    ],
)
def test_gemini_paths(path: str, sent: str) -> None:
    route = find_route("POST" if ":" in path else "GET", path)
    assert isinstance(route, Target)
    assert (route.provider.slug, route.path, route.dialect) == ("gemini", sent, "gemini")


def test_a_models_card_is_ours_unless_only_its_provider_knows_it() -> None:
    route = find_route("GET", "/v1/models/ft:gpt-4o:acme::1")
    assert isinstance(route, Builtin)
    assert route.name == "model"
    assert route.otherwise is not None
    assert (route.otherwise.provider.slug, route.otherwise.path_model) == ("openai", "ft:gpt-4o:acme::1")


def test_an_endpoint_nobody_lists_goes_to_its_provider_unread() -> None:
    route = find_route("POST", "/openai/v1/never/heard/of")
    assert isinstance(route, Target)
    assert route.endpoint is None


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/x", "/openai//v1/models", "/openai/../etc", "/openai/v1/%2e%2e/x", "/openai/v1/a%2Fb", "/openai/v1/..",
        "/openai/v1/x%00", "/openai/v1/x\\y", "/openai/v1/é", "/openai/v1/a b", "/openai/v1/x;y=1", "/openai/./v1/models",
        "/openai/v1/%252e", "/openai", "/openai/", "/openai/v1", "/anthropic/v1", "/gemini/v1beta", "/nowhere", "/v2/chat/completions", "", "*", "/nosuch/v2/chat", "/nosuch/chat",
    ],
)  # fmt: skip
def test_what_cannot_be_trusted_or_found_is_unknown(path: str) -> None:
    assert isinstance(find_route("POST", path), Unknown)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/groq/v1/chat/completions", "/v1/chat/completions"),
        ("/groq/chat/completions", "/v1/chat/completions"),
        ("/azure-eu/v1/rerank", "/v1/rerank"),
        ("/groq/models", "/v1/models"),
    ],
)
def test_a_path_may_begin_with_the_name_of_a_provider_of_somebodys_own(path: str, sent: str) -> None:
    route = find_route("POST", path)
    assert isinstance(route, Named)
    assert (route.name, route.path) == (path[1:].partition("/")[0], sent)
    assert route.otherwise.detail == find_hint(path)


@pytest.mark.parametrize(
    "path", ["/groq/v2/chat/completions", "/groq/rerank", "/Groq/v1/chat/completions", "/groq/v1/", "/groq/v1/v1/models",
    "/groq-2/v1/v1/models", "/groq-2/v1/v2/x", "/groq/v1/v1", "/groq-2/v1/v1beta/models",
    "/google/v1/models", "/v3/chat/completions", "/g/v1/models", "/models/v1/models"],
)  # fmt: skip
def test_other_paths_may_not(path: str) -> None:
    assert isinstance(find_route("POST", path), Unknown)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/v1/v1/messages", "leave /v1 out of the Anthropic base URL"),
        ("/anthropic/v1/v1/messages", "leave /v1 out of the Anthropic base URL"),
        ("/v1/v1/chat/completions", "twice"),
        ("/chat/completions", "must end with /v1, then it is /v1/chat/completions"),
        ("/messages", "must end with /v1, then it is /v1/messages"),
        ("/images/generations", "must end with /v1, then it is /v1/images/generations"),
        ("/models/g:generateContent", "must end with /v1beta, then it is /v1beta/models/g:generateContent"),
        ("/v1//chat/completions", "a slash too many in it, then it is /v1/chat/completions"),
        ("/v1/chat/completions/", "a slash too many in it, then it is /v1/chat/completions"),
        ("//v1/files", "a slash too many in it, then it is /v1/files"),
        ("/openai/", "a slash too many"),
        ("/openai/deployments/gpt-4o/chat/completions", "Azure"),
        (
            "/v1/v1beta/models/g:generateContent",
            "leave /v1 out of the base URL, then it is /v1beta/models/g:generateContent",
        ),
        ("/v1beta/v1beta/models", "leave /v1beta out of the base URL, then it is /v1beta/models"),
        ("/gemini/v1/v1beta/models", "leave /v1 out of the base URL, then it is /gemini/v1beta/models"),
        ("/openai/v1/v1beta/files", "leave /v1beta out of the base URL, then it is /openai/v1/files"),
        ("/v1beta/chat/completions", "at /v1beta/openai/chat/completions, and so does /v1/chat/completions"),
        ("/gemini/chat/completions", "at /gemini/v1beta/openai/chat/completions"),
        ("/gemini/v1beta/embeddings", "at /gemini/v1beta/openai/embeddings"),
        ("/google/v1beta/models/g:generateContent", "then it is /gemini/v1beta/models/g:generateContent"),
        ("/api/v1/chat/completions", "leave /api out of the base URL, then it is /v1/chat/completions"),
        ("/llm/proxy/v1/messages", "leave /llm/proxy out of the base URL, then it is /v1/messages"),
        ("/nowhere", "/v1/chat/completions"),
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


@pytest.mark.parametrize(
    ("path", "provider", "sent", "translated"),
    [
        ("/v1/messages", "anthropic", "/v1/messages", False),
        ("/v1/messages", "openai", "/v1/chat/completions", True),
        ("/v1/messages", "gemini", "/v1beta/openai/chat/completions", True),
        ("/v1/chat/completions", "openai", "/v1/chat/completions", False),
        ("/v1/chat/completions", "anthropic", "/v1/messages", True),
        ("/v1/chat/completions", "gemini", "/v1beta/openai/chat/completions", False),
        ("/v1/responses", "openai", "/v1/responses", False),
        ("/v1/responses", "anthropic", "/v1/messages", True),
        ("/v1/responses", "gemini", "/v1beta/openai/chat/completions", True),
        ("/v1/embeddings", "gemini", "/v1beta/openai/embeddings", False),
    ],
)
def test_where_a_model_leads(path: str, provider: str, sent: str, translated: bool) -> None:
    route = find_route("POST", path)
    assert isinstance(route, Unified)
    target = unified_target(route, PROVIDERS[provider])
    assert isinstance(target, Target)
    assert (target.path, target.translation is not None) == (sent, translated)
    assert target.endpoint is not None
    assert target.dialect == target.endpoint.dialect


def test_nobody_at_anthropic_embeds() -> None:
    route = find_route("POST", "/v1/embeddings")
    assert isinstance(route, Unified)
    assert isinstance(unified_target(route, PROVIDERS["anthropic"]), Unknown)
