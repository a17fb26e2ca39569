"""A dry run goes where the proxy would go: by the same rule, however the path is spelled."""

from collections.abc import Callable
from typing import Any

import pytest
from check_kit import checked
from dashboard_kit import Api
from live_counters import LiveCounters

from proxyd.gateway.destinations import Target
from proxyd.gateway.route import find_route, unified_target
from shared.catalog import PROVIDERS, provider_of_model
from shared.routing import Unified, Unknown, WrongMethod
from shared.translated import FALLBACKS
from webapp.views.keys import KeyView

Json = dict[str, Any]
Make = Callable[..., KeyView]
GENERATE = "models/gemini-2.5-flash:generateContent"
MODELS = ("gpt-4o", "anthropic/claude-sonnet-4-5", "gemini-2.5-flash", "text-embedding-3-small", "of-nobody")
# As clients spell them, rightly and wrongly. Where the caller's SDK decides, OpenAI's calls.
BY_MODEL = ("/v1/chat/completions", "/v1/embeddings", "/v1/responses", "/v1/messages", "/v1/completions")
SPELLED = (
    "/openai/chat/completions", "/openai/v1/chat/completions", "/openai/responses", "/openai/embeddings",
    "/openai/moderations", "/openai/files", "/openai/images/generations", "/openai/v1/nope", "/openai/v1/v1/files",
    "/openai/deployments/gpt-4o/chat/completions", "/anthropic/messages", "/anthropic/v1/messages/count_tokens",
    "/v1/messages/count_tokens", "/v1/messages/batches", f"/gemini/{GENERATE}", f"/gemini/v1beta/{GENERATE}",
    f"/v1beta/{GENERATE}", f"/v1/{GENERATE}", "/gemini/v1/chat/completions", "/v1beta/chat/completions",
    "/upload/v1beta/files", "/v1/audio/speech", "/v1/moderations", "/v1/messages/", "//v1/messages", "/V1/messages",
    "/v1/chat/completions/", "/chat/completions", "/google/v1beta/models", "/", "/healthz", "/v1/key", "/v1/models",
    "/openai", "/nowhere", "/v1/%6dessages", "/openai/../v1/files", "/v1/Messages", "/v1/Files", "/v1/Audio/Speech",
    "/openai/v1/Embeddings", "/openai/V1/Embeddings", "/OpenAI/v1/embeddings", "/anthropic/Messages",
    "/v1/anthropic/v1/messages", "/openai/openai/v1/files", "/v1beta/openai/v1/embeddings", "/v1/groq/v1/embeddings",
    "/v1/publishers/google/models/g:generateContent", "/v1/deployments/d/embeddings", "/v1/key/", "/v1/realtime",
)  # fmt: skip
# As Google's SDKs spell them, whose model leads to its provider.
OF_A_MODEL = (
    "/v1beta/models/gpt-4o:generateContent", "/v1/models/claude-sonnet-4-6:streamGenerateContent",
    "/v1beta/models/openai/gpt-4o:streamGenerateContent", "/v1/models/anthropic%2Fclaude-sonnet-4-6:generateContent",
    "/v1beta/models/google/gemini-2.5-flash:countTokens", "/v1beta/models/google/gemini-2.5-flash:counttokens",
    "/v1beta/models/gpt-4o:countTokens", "/v1/models/openai/gpt-4o:embedContent", "/v1beta/models/nobodys/m:generateContent",
    "/v1beta/models/G:generatecontent", "/gemini/models/G:GenerateContent", "/gemini/v1beta/models/gpt-4o:generateContent",
)  # fmt: skip


def proxied(path: str, model: str) -> tuple[str, str] | str:
    """Provider and path there of what the proxy would send, or the code of its refusal."""
    route = find_route("POST", path)
    if isinstance(route, Unified):
        model = route.path_model or model
        known = None if route.own_alone else provider_of_model(model)
        slug = FALLBACKS.get(route.path) if known is None else known[0]
        if slug is None:
            return "invalid_request"
        route = unified_target(route, PROVIDERS[slug])
    if isinstance(route, Target):
        return route.provider.slug, route.path
    assert isinstance(route, Unknown | WrongMethod), route
    return "unknown_endpoint" if isinstance(route, Unknown) else "method_not_allowed"


@pytest.mark.usefixtures("served", "live")
@pytest.mark.parametrize("path", [*BY_MODEL, *SPELLED])
def test_it_works(api: Api, make: Make, path: str) -> None:
    key = make()
    for model in MODELS if path in BY_MODEL else ("gemini-2.5-flash" if GENERATE in path else "gpt-4o",):
        found = checked(api, key.id, path=path, model=model)
        refusal = found["refusal"]
        told = (found["provider"], found["endpoint"]) if refusal is None else refusal["code"]
        assert told == proxied(path, model), model


@pytest.mark.usefixtures("served", "live")
@pytest.mark.parametrize("path", OF_A_MODEL)
def test_a_path_that_names_the_model_needs_no_more(api: Api, make: Make, path: str) -> None:
    found = checked(api, make().id, path=path)
    refusal = found["refusal"]
    assert ((found["provider"], found["endpoint"]) if refusal is None else refusal["code"]) == proxied(path, "")


@pytest.mark.usefixtures("served", "live")
@pytest.mark.parametrize(
    "asked",
    [
        {"path": "/openai/chat/completions", "model": "gpt-4o"},
        {"path": "/openai/responses", "model": "gpt-4o"},
        {"path": "/openai/embeddings", "model": "text-embedding-3-small"},
        {"path": "/anthropic/messages", "model": "claude-sonnet-4-6"},
        {"path": f"/gemini/{GENERATE}"},
        {"path": f"/v1beta/{GENERATE}"},
        {"path": f"/v1/{GENERATE}"},
        {"path": "/openai/moderations"},
        {"path": "/openai/files"},
        {"path": "/v1/moderations"},
        {"provider": "openai", "path": "/files"},
        {"provider": "gemini", "path": f"/{GENERATE}"},
        {"provider": "gemini", "path": "/v1/chat/completions", "model": "gemini-2.5-flash"},
        {"provider": "openai", "path": "/v1/messages", "model": "gpt-4o"},
        {"provider": "openai", "path": "/v1beta/models/gpt-4o:generateContent"},
        {"path": "/v1beta/models/google/gemini-2.5-flash:generateContent", "model": "gemini-2.5-flash"},
        {"provider": "gemini", "model": "models/gemini-2.5-flash"},
        {"path": "/v1/messages", "model": "models/gemini-2.5-flash"},
    ],
)
def test_a_key_with_a_limit_may_call_what_is_metered_or_free(
    api: Api, make: Make, live: LiveCounters, asked: Json
) -> None:
    key = make(spend_limit_usd="5")
    live.seed(key.id)
    found = checked(api, key.id, **asked)
    assert found["allowed"], found["refusal"]


@pytest.mark.usefixtures("served", "live")
def test_a_model_in_a_path_is_judged_by_the_list_of_models(api: Api, make: Make) -> None:
    key = make(allowed_models=["gemini-*"])
    for path in (f"/gemini/{GENERATE}", f"/gemini/v1beta/{GENERATE}", f"/v1beta/{GENERATE}", f"/v1/{GENERATE}"):
        found = checked(api, key.id, path=path)
        assert (found["allowed"], found["provider"], found["model"]) == (True, "gemini", "gemini-2.5-flash"), path


@pytest.mark.usefixtures("served", "live")
@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/v1/messages/", "There is no endpoint at this address: there is a slash too many in it"),
        ("//v1/messages", "There is no endpoint at this address: there is a slash too many in it"),
        ("/V1/messages", "There is no endpoint at this address: in the right case it is /v1/messages"),
        ("/v1/Messages", "There is no endpoint at this address: in the right case it is /v1/messages."),
        (
            "/anthropic/Messages",
            "There is no endpoint at this address: in the right case it is /anthropic/v1/messages.",
        ),
        ("/v1/Files", "There is no endpoint at this address: in the right case it is /v1/files."),
        ("/v1/key", "/v1/key takes GET or HEAD."),
    ],
)
def test_what_leads_nowhere_is_told_as_the_proxy_tells_it(api: Api, make: Make, path: str, sentence: str) -> None:
    refusal = checked(api, make().id, path=path, model="claude-sonnet-4-5")["refusal"]
    assert sentence in refusal["message"]
    assert refusal["facts"]["detail"].startswith(sentence)


@pytest.mark.usefixtures("served", "live")
def test_an_endpoint_that_the_models_provider_lacks_is_told(api: Api, make: Make) -> None:
    refusal = checked(api, make().id, path="/v1/embeddings", model="claude-sonnet-4-5")["refusal"]
    assert (refusal["code"], "no OpenAI-compatible /embeddings" in refusal["message"]) == ("unknown_endpoint", True)


@pytest.mark.usefixtures("served", "live")
def test_a_key_in_a_path_is_refused_and_not_repeated(api: Api, make: Make) -> None:
    secret = f"sk-proxy-{'0' * 64}"
    found = checked(api, make().id, path=f"/v1/files/{secret}", model="gpt-4o")
    assert found["refusal"]["code"] == "unknown_endpoint"
    assert secret not in str(found)


@pytest.mark.parametrize(
    ("asked", "field", "told"),
    [
        ({"path": "/v1/messages"}, "model", "is required at /v1/messages"),
        ({"path": "/v1/chat/completions"}, "model", "is required at /v1/chat/completions"),
        ({"path": "/openai/chat/completions"}, "model", "is required at /v1/chat/completions"),
        ({"path": "/v1/audio/speech"}, "model", "is required at /v1/audio/speech"),
        ({"path": "/v1/files"}, "provider", "is required at /v1/files, where it is told by the SDK that calls"),
        ({"path": "/v1/chat/completions", "provider": "gemini", "model": "gpt-4o"}, "provider", "the model leads to openai"),
        ({"path": f"/v1beta/{GENERATE}", "provider": "openai"}, "endpoint", ""),
        ({"path": f"/v1beta/{GENERATE}", "model": "gemini-2.5-pro"}, "model", "is not the one in the path"),
        ({"path": "/v1beta/models/gpt-4o:generateContent", "model": "gpt-4"}, "model", "is not the one in the path"),
        ({"path": "/v1beta/models/gpt-4o:generateContent", "provider": "anthropic"}, "provider", "leads to openai"),
    ],
)  # fmt: skip
def test_what_is_missing_is_what_the_path_does_not_tell(
    api: Api, make: Make, asked: Json, field: str, told: str
) -> None:
    answer = api("POST", f"/v1/keys/{make().id}/check", asked)
    if field == "endpoint":
        assert answer.get_json()["refusal"]["code"] == "provider_not_configured"
        return
    (error,) = answer.get_json()["errors"]
    assert (answer.status_code, error["field"]) == (422, field)
    assert told in error["message"]
