"""The sandbox provider: official SDKs read it into their own types, and its counts are exact."""

import contextlib
from collections.abc import Iterator

import anthropic
import openai
import pytest
import requests
from genai_prices import extract_usage
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types
from sandbox_kit import (
    ANTHROPIC,
    BEARER,
    CHAT,
    CONTENT,
    GEMINI_PATH,
    GOOGLE,
    KEY,
    MESSAGE,
    PROMPT,
    invoice,
    only_attempt,
    post,
)

from proxyd.sandbox.speech import tokens


@pytest.fixture
def url(sandbox_url: str) -> str:
    """The provider's address; its invoice is empty."""
    requests.delete(f"{sandbox_url}/invoice", timeout=5)
    return sandbox_url


@pytest.fixture
def openai_client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(url: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key=KEY, base_url=url, max_retries=0) as client:
        yield client


@pytest.fixture
def google_client(url: str) -> Iterator[genai.Client]:
    with contextlib.closing(genai.Client(api_key=KEY, http_options=genai_types.HttpOptions(base_url=url))) as client:
        yield client


def test_it_works(url: str) -> None:
    answer = post(url, "/v1/chat/completions", CHAT, BEARER).json()
    text = answer["choices"][0]["message"]["content"]
    assert PROMPT in text
    assert answer["usage"]["prompt_tokens"] == tokens(PROMPT) == 4
    assert answer["usage"]["completion_tokens"] == tokens(text)
    attempt = only_attempt(url)
    assert attempt["usage"] == {"input_tokens": 4, "output_tokens": tokens(text)}
    assert attempt["marker"] == PROMPT
    assert (attempt["auth_kind"], attempt["key_prefix"]) == ("authorization", KEY[:8])
    # gpt-4o-mini costs 0.15 and 0.60 dollars a million tokens.
    assert invoice(url)["total_nanos"] == attempt["cost_nanos"] == 4 * 150 + tokens(text) * 600


def test_the_same_request_hears_the_same(url: str) -> None:
    first, second = (post(url, "/v1/chat/completions", CHAT, BEARER).json() for _ in range(2))
    assert first["choices"] == second["choices"]
    assert first["id"] != second["id"]


def test_openai_chat(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], n=2
    )
    assert isinstance(answer, openai.types.chat.ChatCompletion)
    assert [choice.finish_reason for choice in answer.choices] == ["stop", "stop"]
    said = answer.choices[0].message.content
    assert answer.usage is not None
    assert said is not None
    assert answer.usage.completion_tokens == 2 * tokens(said)


def test_openai_chat_stream(openai_client: openai.OpenAI, url: str) -> None:
    with openai_client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": PROMPT}],
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert PROMPT in text
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == tokens(text)
    assert only_attempt(url)["usage"]["output_tokens"] == tokens(text)


def test_openai_stream_without_usage_has_no_usage_field(url: str) -> None:
    body = post(url, "/v1/chat/completions", CHAT | {"stream": True}, BEARER).text
    assert "usage" not in body
    assert body.endswith("data: [DONE]\n\n")


def test_openai_output_limit(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], max_completion_tokens=3
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_openai_responses(openai_client: openai.OpenAI) -> None:
    answer = openai_client.responses.create(model="gpt-4.1-mini", input=PROMPT, instructions="Be brief.")
    assert answer.status == "completed"
    assert PROMPT in answer.output_text
    assert answer.usage is not None
    assert answer.usage.input_tokens == tokens(PROMPT) + tokens("Be brief.")
    assert answer.usage.total_tokens == answer.usage.input_tokens + tokens(answer.output_text)


def test_openai_responses_stream(openai_client: openai.OpenAI) -> None:
    with openai_client.responses.stream(model="gpt-4.1-mini", input=PROMPT) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert final.usage is not None
    assert final.usage.output_tokens == tokens(final.output_text)


def test_openai_responses_stream_that_ends_at_its_limit(openai_client: openai.OpenAI) -> None:
    with openai_client.responses.create(model="gpt-4.1", input=PROMPT, max_output_tokens=2, stream=True) as stream:
        last = list(stream)[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert last.response.usage is not None
    assert last.response.usage.output_tokens == 2


def test_openai_embeddings(openai_client: openai.OpenAI, url: str) -> None:
    answer = openai_client.embeddings.create(model="text-embedding-3-small", input=["one", "two"], dimensions=8)
    assert [len(item.embedding) for item in answer.data] == [8, 8]
    assert sum(value**2 for value in answer.data[0].embedding) == pytest.approx(1)
    assert answer.usage.prompt_tokens == 2
    assert only_attempt(url)["cost_nanos"] == 2 * 20


def test_openai_models(openai_client: openai.OpenAI) -> None:
    assert "gpt-4o-mini" in [model.id for model in openai_client.models.list()]
    assert openai_client.models.retrieve("gpt-4o").id == "gpt-4o"


def test_openai_errors(openai_client: openai.OpenAI, url: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.chat.completions.create(model="gpt-none", messages=[{"role": "user", "content": "x"}])
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.RateLimitError) as limited:
        openai_client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "x"}], extra_headers={"x-sandbox": "429"}
        )
    assert limited.value.response.headers["retry-after"] == "1"
    with openai.OpenAI(api_key="sk-real", base_url=f"{url}/v1", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()


def test_anthropic_message(anthropic_client: anthropic.Anthropic) -> None:
    answer = anthropic_client.messages.create(**MESSAGE, system="Be brief.")
    assert answer.stop_reason == "end_turn"
    assert answer.content[0].type == "text"
    assert PROMPT in answer.content[0].text
    assert answer.usage.input_tokens == tokens(PROMPT) + tokens("Be brief.")
    assert answer.usage.output_tokens == tokens(answer.content[0].text)


def test_anthropic_stream(anthropic_client: anthropic.Anthropic, url: str) -> None:
    with anthropic_client.messages.stream(**MESSAGE | {"max_tokens": 5}) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert final.content[0].type == "text"
    assert final.content[0].text == text
    assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", 5)
    # claude-sonnet-4-6 costs 3 and 15 dollars a million tokens.
    assert only_attempt(url)["cost_nanos"] == 4 * 3_000 + 5 * 15_000


def test_anthropic_counts_tokens_for_nothing(anthropic_client: anthropic.Anthropic, url: str) -> None:
    count = anthropic_client.messages.count_tokens(model=MESSAGE["model"], messages=MESSAGE["messages"])
    assert count.input_tokens == tokens(PROMPT)
    assert only_attempt(url)["cost_nanos"] == 0


def test_anthropic_models_and_errors(anthropic_client: anthropic.Anthropic) -> None:
    assert "claude-sonnet-4-6" in [model.id for model in anthropic_client.models.list()]
    with pytest.raises(anthropic.NotFoundError) as caught:
        anthropic_client.messages.create(**MESSAGE | {"model": "claude-none"})
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.InternalServerError):
        anthropic_client.messages.create(**MESSAGE, extra_headers={"x-sandbox": "529"})


def test_gemini_content(google_client: genai.Client, url: str) -> None:
    answer = google_client.models.generate_content(model="gemini-2.5-flash", contents=PROMPT)
    assert answer.text is not None
    assert PROMPT in answer.text
    assert answer.usage_metadata is not None
    assert answer.usage_metadata.prompt_token_count == tokens(PROMPT)
    assert answer.usage_metadata.candidates_token_count == tokens(answer.text)
    assert only_attempt(url)["auth_kind"] == "x-goog-api-key"


def test_gemini_stream(google_client: genai.Client) -> None:
    config = genai_types.GenerateContentConfig(max_output_tokens=6)
    chunks = list(
        google_client.models.generate_content_stream(model="gemini-2.5-flash", contents=PROMPT, config=config)
    )
    told = [chunk.usage_metadata.candidates_token_count for chunk in chunks if chunk.usage_metadata]
    counts = [count for count in told if count is not None]
    assert len(counts) == len(chunks)
    assert counts == sorted(counts)
    assert counts[-1] == 6
    assert chunks[-1].candidates is not None
    assert chunks[-1].candidates[0].finish_reason == genai_types.FinishReason.MAX_TOKENS


def test_gemini_stream_as_array(url: str) -> None:
    answer = post(url, f"{GEMINI_PATH}:streamGenerateContent", CONTENT, GOOGLE).json()
    assert answer[-1]["candidates"][0]["finishReason"] == "STOP"


def test_gemini_embeddings_count_and_models(google_client: genai.Client, url: str) -> None:
    config = genai_types.EmbedContentConfig(output_dimensionality=8)
    answer = google_client.models.embed_content(model="gemini-embedding-001", contents=["abcd"], config=config)
    assert answer.embeddings is not None
    assert len(answer.embeddings[0].values or ()) == 8
    assert only_attempt(url)["usage"] == {"input_tokens": 1, "output_tokens": 0}
    assert google_client.models.count_tokens(model="gemini-2.5-flash", contents=PROMPT).total_tokens == 4
    assert "models/gemini-2.5-flash" in [model.name for model in google_client.models.list()]


def test_gemini_errors(google_client: genai.Client) -> None:
    with pytest.raises(genai_errors.ClientError) as caught:
        google_client.models.generate_content(model="gemini-none", contents=PROMPT)
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


@pytest.mark.parametrize("prefix", ["/v1beta/openai", "/gemini/v1beta/openai"])
def test_gemini_through_openai_shapes(url: str, prefix: str) -> None:
    with openai.OpenAI(api_key=KEY, base_url=f"{url}{prefix}", max_retries=0) as client:
        answer = client.chat.completions.create(
            model="gemini-2.5-flash", messages=[{"role": "user", "content": PROMPT}]
        )
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == 4
        client.embeddings.create(model="gemini-embedding-001", input="x")
    assert {attempt["provider"] for attempt in invoice(url)["attempts"]} == {"gemini"}


def test_anthropic_through_openai_shapes(openai_client: openai.OpenAI, url: str) -> None:
    openai_client.chat.completions.create(model="claude-sonnet-4-6", messages=[{"role": "user", "content": "x"}])
    assert only_attempt(url)["provider"] == "anthropic"


@pytest.mark.parametrize(
    ("provider", "flavor", "path", "body", "headers"),
    [
        ("openai", "chat", "/v1/chat/completions", CHAT, BEARER),
        ("openai", "responses", "/v1/responses", {"model": "gpt-4.1", "input": PROMPT}, BEARER),
        ("openai", "embeddings", "/v1/embeddings", {"model": "text-embedding-3-small", "input": PROMPT}, BEARER),
        ("anthropic", "default", "/v1/messages", MESSAGE, ANTHROPIC),
        ("google", "default", f"{GEMINI_PATH}:generateContent", CONTENT, GOOGLE),
    ],
)
def test_the_price_table_reads_our_usage_as_we_bill_it(
    url: str, provider: str, flavor: str, path: str, body: object, headers: dict[str, str]
) -> None:
    answer = post(url, path, body, headers).json()
    price = extract_usage(answer, provider_id=provider, api_flavor=flavor).calc_price().total_price
    assert only_attempt(url)["cost_nanos"] == price * 10**9
