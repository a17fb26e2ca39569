"""The providers' official SDKs against proxy and sandbox: text, usage and errors arrive as the SDKs' own types."""

from collections.abc import Iterator

import anthropic
import openai
import pytest
from anthropic.types import MessageParam
from calls import marker, own_spend, seen
from google import genai
from google.genai import errors as genai_errors
from harness import Router
from openai.types.chat import ChatCompletionUserMessageParam

GPT, CLAUDE, GEMINI = "gpt-4o-mini", "claude-sonnet-4-6", "gemini-2.5-flash"


@pytest.fixture
def key(router: Router) -> str:
    return router.create_key(name="sdk", spend_limit_usd="5", rate_limit_rpm=600)[1]


@pytest.fixture(params=["/v1", "/openai/v1", "/openai"])
def openai_client(router: Router, key: str, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=router.proxy_url + request.param, api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture(params=["", "/anthropic"])
def anthropic_client(router: Router, key: str, request: pytest.FixtureRequest) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=router.proxy_url + request.param, api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture(params=["", "/gemini"])
def genai_client(router: Router, key: str, request: pytest.FixtureRequest) -> Iterator[genai.Client]:
    client = genai.Client(api_key=key, http_options={"base_url": router.proxy_url + request.param})
    yield client
    client.close()


def said(text: str) -> list[ChatCompletionUserMessageParam]:
    """What OpenAI's SDK takes as messages."""
    return [{"role": "user", "content": text}]


def asked(text: str) -> list[MessageParam]:
    """What Anthropic's SDK takes as messages."""
    return [{"role": "user", "content": text}]


def test_openai_chat(router: Router, openai_client: openai.OpenAI) -> None:
    text = marker()
    answer = openai_client.chat.completions.create(model=GPT, messages=said(text), max_tokens=50)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert seen(router, text) == 1


def test_openai_chat_stream_hides_the_usage_it_asked_for(openai_client: openai.OpenAI) -> None:
    chunks = list(openai_client.chat.completions.create(model=GPT, messages=said("hello"), max_tokens=50, stream=True))
    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]) > 1
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)


def test_openai_chat_stream_shows_the_usage_that_was_asked_for(openai_client: openai.OpenAI) -> None:
    stream = openai_client.chat.completions.create(
        model=GPT, messages=said("hello"), max_tokens=50, stream=True, stream_options={"include_usage": True}
    )
    *_, last = list(stream)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens > 0


def test_openai_responses(openai_client: openai.OpenAI) -> None:
    answer = openai_client.responses.create(model=GPT, input="hello", max_output_tokens=50)
    assert answer.output_text
    assert answer.usage is not None
    assert answer.usage.output_tokens > 0


def test_openai_responses_stream(openai_client: openai.OpenAI) -> None:
    events = list(openai_client.responses.create(model=GPT, input="hello", max_output_tokens=50, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage is not None
    assert events[-1].response.usage.output_tokens > 0


def test_openai_embeddings(router: Router, openai_client: openai.OpenAI, key: str) -> None:
    before = own_spend(router, key)["spent_usd"]
    answer = openai_client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert len(answer.data) == 2
    assert answer.usage.prompt_tokens > 0
    assert own_spend(router, key)["spent_usd"] > before


def test_openai_models(router: Router, key: str) -> None:
    _, narrow = router.create_key(name="narrow", allowed_models=["gpt-4o*", "anthropic/claude-sonnet-4-6*"])
    with openai.OpenAI(base_url=f"{router.proxy_url}/v1", api_key=narrow) as client:
        names = {model.id for model in client.models.list()}
    assert {"gpt-4o", "gpt-4o-mini", "claude-sonnet-4-6"} <= names
    assert "gpt-4.1" not in names


@pytest.mark.parametrize(
    "model", ["anthropic/claude-sonnet-4-6", "claude-sonnet-4-6", "google/gemini-2.5-flash", GEMINI]
)
def test_openai_sdk_reaches_every_provider(router: Router, key: str, model: str) -> None:
    with openai.OpenAI(base_url=f"{router.proxy_url}/v1", api_key=key, max_retries=0) as client:
        answer = client.chat.completions.create(model=model, messages=said("hello"), max_tokens=50)
        assert answer.choices[0].message.content
        chunks = list(client.chat.completions.create(model=model, messages=said("hi"), max_tokens=50, stream=True))
        assert any(chunk.choices[0].delta.content for chunk in chunks)
    assert float(own_spend(router, key)["spent_usd"]) > 0


def test_openai_errors(router: Router) -> None:
    with openai.OpenAI(base_url=f"{router.proxy_url}/v1", api_key="sk-proxy-wrong") as client:
        with pytest.raises(openai.AuthenticationError) as wrong:
            client.chat.completions.create(model=GPT, messages=said("hello"))
        assert wrong.value.code == "invalid_proxy_key"
    _, poor = router.create_key(name="poor", spend_limit_usd="0")
    with openai.OpenAI(base_url=f"{router.proxy_url}/v1", api_key=poor) as client:
        with pytest.raises(openai.PermissionDeniedError) as spent:
            client.chat.completions.create(model=GPT, messages=said("hello"))
        assert spent.value.code == "spend_exceeded"
        assert spent.value.request_id is not None
        assert spent.value.request_id.startswith("req_")
    _, slow = router.create_key(name="slow", rate_limit_rpm=1)
    with openai.OpenAI(base_url=f"{router.proxy_url}/v1", api_key=slow, max_retries=0) as client:
        client.chat.completions.create(model=GPT, messages=said("hello"))
        with pytest.raises(openai.RateLimitError) as limited:
            client.chat.completions.create(model=GPT, messages=said("hello"))
        assert limited.value.code == "rate_limited"


def test_provider_errors_arrive_as_they_are(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError):
        openai_client.chat.completions.create(model=GPT, messages=said("sandbox:429"))
    with pytest.raises(openai.InternalServerError):
        openai_client.chat.completions.create(model=GPT, messages=said("sandbox:500"))


def test_anthropic_messages(router: Router, anthropic_client: anthropic.Anthropic) -> None:
    text = marker()
    answer = anthropic_client.messages.create(model=CLAUDE, max_tokens=50, messages=asked(text))
    assert answer.content[0].type == "text"
    assert answer.content[0].text
    assert answer.usage.output_tokens > 0
    assert seen(router, text) == 1


def test_anthropic_stream(router: Router, anthropic_client: anthropic.Anthropic, key: str) -> None:
    before = own_spend(router, key)["spent_usd"]
    with anthropic_client.messages.stream(model=CLAUDE, max_tokens=50, messages=asked("hello")) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 1
    assert final.content[0].type == "text"
    assert final.content[0].text == "".join(pieces)
    assert final.usage.output_tokens > 0
    assert own_spend(router, key)["spent_usd"] > before


def test_anthropic_bearer_token(router: Router, key: str) -> None:
    """Claude Code sends its key as a bearer token, and asks for the beta in the query."""
    with anthropic.Anthropic(base_url=router.proxy_url, auth_token=key, api_key=None, max_retries=0) as client:
        answer = client.beta.messages.create(
            model=CLAUDE, max_tokens=50, messages=[{"role": "user", "content": "hello"}]
        )
    assert answer.content[0].type == "text"
    assert answer.content[0].text


def test_anthropic_count_tokens_is_free(router: Router, anthropic_client: anthropic.Anthropic, key: str) -> None:
    before = own_spend(router, key)["spent_usd"]
    assert anthropic_client.messages.count_tokens(model=CLAUDE, messages=asked("hello")).input_tokens > 0
    assert own_spend(router, key)["spent_usd"] == before


def test_anthropic_errors(router: Router) -> None:
    with anthropic.Anthropic(base_url=router.proxy_url, api_key="sk-proxy-wrong") as client:
        with pytest.raises(anthropic.AuthenticationError):
            client.messages.create(model=CLAUDE, max_tokens=5, messages=asked("hello"))
    _, poor = router.create_key(name="poor", spend_limit_usd="0.000001")
    with anthropic.Anthropic(base_url=router.proxy_url, api_key=poor) as client:
        with pytest.raises(anthropic.PermissionDeniedError) as spent:
            client.messages.create(model=CLAUDE, max_tokens=5, messages=asked("hello"))
        assert spent.value.response.headers["x-router-error"] == "spend_exceeded"
    _, slow = router.create_key(name="slow", rate_limit_rpm=1)
    with anthropic.Anthropic(base_url=router.proxy_url, api_key=slow, max_retries=0) as client:
        client.messages.create(model=CLAUDE, max_tokens=5, messages=asked("hello"))
        with pytest.raises(anthropic.RateLimitError):
            client.messages.create(model=CLAUDE, max_tokens=5, messages=asked("hello"))


def test_gemini_generate(router: Router, genai_client: genai.Client) -> None:
    text = marker()
    answer = genai_client.models.generate_content(model=GEMINI, contents=text)
    assert answer.text
    assert answer.usage_metadata is not None
    assert (answer.usage_metadata.total_token_count or 0) > 0
    assert seen(router, text) == 1


def test_gemini_stream(router: Router, genai_client: genai.Client, key: str) -> None:
    before = own_spend(router, key)["spent_usd"]
    chunks = list(genai_client.models.generate_content_stream(model=GEMINI, contents="hello"))
    assert len(chunks) > 1
    assert "".join(chunk.text or "" for chunk in chunks)
    assert chunks[-1].usage_metadata is not None
    assert (chunks[-1].usage_metadata.candidates_token_count or 0) > 0
    assert own_spend(router, key)["spent_usd"] > before


def test_gemini_embeddings(router: Router, genai_client: genai.Client, key: str) -> None:
    answer = genai_client.models.embed_content(model="gemini-embedding-001", contents=["one", "two"])
    assert answer.embeddings is not None
    assert len(answer.embeddings) == 2
    assert all(embedding.values for embedding in answer.embeddings)


def test_gemini_count_tokens_is_free(router: Router, genai_client: genai.Client, key: str) -> None:
    before = own_spend(router, key)["spent_usd"]
    counted = genai_client.models.count_tokens(model=GEMINI, contents="hello")
    assert (counted.total_tokens or 0) > 0
    assert own_spend(router, key)["spent_usd"] == before


def test_gemini_errors(router: Router) -> None:
    client = genai.Client(api_key="sk-proxy-wrong", http_options={"base_url": router.proxy_url})
    with pytest.raises(genai_errors.ClientError) as wrong:
        client.models.generate_content(model=GEMINI, contents="hello")
    assert (wrong.value.code, wrong.value.status) == (401, "UNAUTHENTICATED")
    client.close()
    _, poor = router.create_key(name="poor", spend_limit_usd="0")
    client = genai.Client(api_key=poor, http_options={"base_url": router.proxy_url})
    with pytest.raises(genai_errors.ClientError) as spent:
        client.models.generate_content(model=GEMINI, contents="hello")
    assert (spent.value.code, spent.value.status) == (403, "PERMISSION_DENIED")
    client.close()
