"""Google's SDK and the models of the other providers, against the sandbox: text, tools, thoughts, limits, errors."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests
from calls import code, marker, own_spend, seen
from google import genai
from google.genai import errors, types
from harness import Json, Router
from pydantic import BaseModel
from raw_http import ledger_rows

CLAUDE, GPT = "claude-sonnet-4-6", "gpt-4o-mini"
THEIRS = pytest.mark.parametrize(
    ("model", "provider", "endpoint"),
    [
        (GPT, "openai", "/v1/chat/completions"),
        (f"openai/{GPT}", "openai", "/v1/chat/completions"),
        (CLAUDE, "anthropic", "/v1/messages"),
        (f"anthropic/{CLAUDE}", "anthropic", "/v1/messages"),
    ],
)
BOTH = pytest.mark.parametrize(("model", "provider"), [(GPT, "openai"), (CLAUDE, "anthropic")])


@pytest.fixture
def key(router: Router) -> tuple[str, str]:
    return router.create_key(name="translated", spend_limit_usd="5", rate_limit_rpm=600)


@pytest.fixture
def google(router: Router, key: tuple[str, str]) -> Iterator[genai.Client]:
    with client_of(router, key[1]) as client:
        yield client


def client_of(router: Router, key: str) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=router.proxy_url))


def booked(router: Router, key: tuple[str, str], count: int) -> list[Json]:
    """The ledger's rows, which together are what the key has spent."""
    router.wait_for_ledger(key[0], count)
    rows = ledger_rows(router, key[0])
    spent = sum(row["cost_nanos"] for row in rows)
    assert Decimal(own_spend(router, key[1])["spent_usd"]) == Decimal(spent) / 10**9 > 0
    return rows


@THEIRS
def test_it_works(
    router: Router, google: genai.Client, key: tuple[str, str], model: str, provider: str, endpoint: str
) -> None:
    text = marker()
    config = types.GenerateContentConfig(system_instruction="Be brief.", max_output_tokens=50)
    answer = google.models.generate_content(model=model, contents=text, config=config)
    assert answer.text
    *chunks, last = google.models.generate_content_stream(model=model, contents="hello", config=config)
    assert len([chunk for chunk in chunks if chunk.text]) > 1
    assert last.candidates
    assert last.candidates[0].finish_reason == types.FinishReason.STOP
    assert {(chunk.response_id, chunk.model_version) for chunk in chunks} == {(last.response_id, last.model_version)}
    rows = booked(router, key, 2)
    for row, usage in zip(rows, (answer.usage_metadata, last.usage_metadata), strict=True):
        assert usage is not None
        told = (row["provider"], row["requested_model"], row["endpoint"], row["flags"])
        assert told == (provider, model.rpartition("/")[2], endpoint, [])
        assert (row["input_tokens"], row["output_tokens"]) == (usage.prompt_token_count, usage.candidates_token_count)
    assert [bool(row["streamed"]) for row in rows] == [False, True]
    assert seen(router, text) == 1


def weather(city: str) -> str:
    """Tells the weather.

    Args:
        city: Where.
    """
    return f"rain in {city}"


PNG = b"\x89PNG\r\n\x1a\n"
THOUGHT = "They said something, so something is said back."
CALLED = ("weather", {"city": "sandbox"})
DECLARED = types.Tool(function_declarations=[types.FunctionDeclaration.from_callable_with_api_option(callable=weather)])
BY_HAND = types.AutomaticFunctionCallingConfig(disable=True)


@BOTH
def test_tools_pictures_and_the_next_turn(
    router: Router, google: genai.Client, key: tuple[str, str], model: str, provider: str
) -> None:
    """Whole and in chunks; the turns are kept by the SDK's own chat."""
    config = types.GenerateContentConfig(tools=[DECLARED], automatic_function_calling=BY_HAND)
    picture = types.Part.from_bytes(data=PNG, mime_type="image/png")
    text = marker()
    for streamed in (False, True):
        chat = google.chats.create(model=model, config=config)
        asked: Any = [picture, f"sandbox:call {text}"]
        told = list(chat.send_message_stream(asked)) if streamed else [chat.send_message(asked)]
        (call,) = [call for chunk in told for call in chunk.function_calls or ()]
        assert (call.name, call.args) == CALLED
        assert call.id
        result = types.Part.from_function_response(name="weather", response={"result": "rain"})
        assert chat.send_message([result, f"so? {text}"]).text
    rows = booked(router, key, 4)
    assert {row["provider"] for row in rows} == {provider}
    billed = [(one["usage"]["input_tokens"], one["usage"]["output_tokens"]) for one in router.attempts(text, 4)]
    assert sorted((row["input_tokens"], row["output_tokens"]) for row in rows) == sorted(billed)


def test_the_sdk_calls_a_function_by_itself(google: genai.Client) -> None:
    config = types.GenerateContentConfig(tools=[weather])
    answer = google.models.generate_content(model=GPT, contents="sandbox:call", config=config)
    assert answer.text
    history = answer.automatic_function_calling_history or []
    results = [part.function_response for content in history for part in content.parts or () if part.function_response]
    assert [result.response for result in results] == [{"result": "rain in sandbox"}]


def test_claude_thinks_and_is_given_its_thoughts_back(google: genai.Client) -> None:
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=2000)
    config = types.GenerateContentConfig(tools=[DECLARED], automatic_function_calling=BY_HAND, thinking_config=thinking)
    for streamed in (False, True):
        chat = google.chats.create(model=CLAUDE, config=config)
        asked = "sandbox:think sandbox:call hello"
        told = list(chat.send_message_stream(asked)) if streamed else [chat.send_message(asked)]
        contents = [one.content for chunk in told for one in chunk.candidates or ()]
        parts = [part for content in contents if content for part in content.parts or ()]
        assert "".join(part.text or "" for part in parts if part.thought) == THOUGHT
        assert [part.thought_signature is not None for part in parts].count(True) == 1
        usage = told[-1].usage_metadata
        assert usage is not None
        result = types.Part.from_function_response(name="weather", response={"output": "rain"})
        assert chat.send_message(result).text


class Recipe(BaseModel):
    name: str
    minutes: int | None = None


@BOTH
def test_a_schema_for_the_answer(google: genai.Client, router: Router, model: str, provider: str) -> None:
    """The sandbox keeps to no schema; that it came there is enough."""
    del provider
    text = marker()
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Recipe)
    assert google.models.generate_content(model=model, contents=text, config=config).candidates
    assert seen(router, text) == 1


@BOTH
def test_at_once_with_others(router: Router, key: tuple[str, str], model: str, provider: str) -> None:
    """The SDK's other half, which waits for nobody."""
    del provider

    async def ask() -> tuple[str, int]:
        async with client_of(router, key[1]).aio as client:
            answer = await client.models.generate_content(model=model, contents="hello")
            chunks = [one async for one in await client.models.generate_content_stream(model=model, contents="hello")]
        return answer.text or "", len([chunk for chunk in chunks if chunk.text])

    text, pieces = asyncio.run(ask())
    assert text
    assert pieces > 1


@BOTH
def test_errors(router: Router, google: genai.Client, model: str, provider: str) -> None:
    with pytest.raises(errors.ClientError) as slow:
        google.models.generate_content(model=model, contents="sandbox:429")
    assert (slow.value.code, slow.value.status) == (429, "RESOURCE_EXHAUSTED")
    with pytest.raises(errors.ServerError):
        google.models.generate_content(model=model, contents="sandbox:500")
    with pytest.raises(errors.ClientError, match=r"generationConfig\.seed cannot be said") as refused:
        google.models.generate_content(model=model, contents="hi", config=types.GenerateContentConfig(seed=3))
    assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")
    with pytest.raises(errors.ClientError, match="countTokens is not translated") as nowhere:
        google.models.count_tokens(model=f"{provider}/{model}", contents="hi")
    assert nowhere.value.code == 404


@BOTH
@pytest.mark.parametrize("how", ["sandbox:error-event", "sandbox:break"])
def test_errors_inside_a_stream(
    router: Router, google: genai.Client, key: tuple[str, str], model: str, provider: str, how: str
) -> None:
    del provider
    text = f"{how} sandbox:words=40 hello"
    with pytest.raises(errors.APIError):
        list(google.models.generate_content_stream(model=model, contents=text))
    outcome = "provider_error" if how == "sandbox:error-event" else "upstream_truncated"
    assert booked(router, key, 1)[0]["outcome"] == outcome


def posted(router: Router, key: str, path: str, text: str = "hello", **more: object) -> requests.Response:
    document = {"contents": [{"parts": [{"text": text}]}], **more}
    return requests.post(f"{router.proxy_url}{path}", json=document, headers={"x-goog-api-key": key}, timeout=30)


@BOTH
def test_a_stream_without_events(router: Router, key: tuple[str, str], model: str, provider: str) -> None:
    """One JSON list, as who uses REST reads it; also where it breaks off."""
    path = f"/v1beta/models/{provider}%2F{model}:streamGenerateContent"
    answer = posted(router, key[1], path)
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.json()) > 2
    assert answer.json()[-1]["candidates"][0]["finishReason"] == "STOP"
    broken = posted(router, key[1], path, "sandbox:error-event sandbox:words=40")
    assert broken.json()[-1]["error"]["code"] >= 500
    booked(router, key, 2)


def test_a_large_picture_goes_the_same_way(router: Router, google: genai.Client, key: tuple[str, str]) -> None:
    """Beside the worker, as all large bodies."""
    picture = types.Part.from_bytes(data=PNG + bytes(1_200_000), mime_type="image/png")
    answer = google.models.generate_content(model=GPT, contents=[picture, "hello"])
    assert answer.text
    assert booked(router, key, 1)[0]["provider"] == "openai"


def test_limits_hold(router: Router) -> None:
    _, poor = router.create_key(name="poor", spend_limit_usd="0.000001")
    spent = posted(router, poor, f"/v1beta/models/{GPT}:generateContent")
    assert (spent.status_code, code(spent)) == (403, "spend_exceeded")
    assert spent.json()["error"]["status"] == "PERMISSION_DENIED"
    _, narrow = router.create_key(name="narrow", allowed_providers=["gemini"])
    path = f"/v1beta/models/openai/{GPT}:generateContent"
    assert code(posted(router, narrow, path)) == "provider_not_allowed"
    _, some = router.create_key(name="some", allowed_models=["claude-*"])
    assert code(posted(router, some, path, generationConfig={"seed": 3})) == "model_not_allowed"
    assert code(posted(router, some, f"/v1beta/models/{CLAUDE}:generateContent")) is None
    strange = posted(router, some, f"/v1beta/models/{CLAUDE}:generateContent?fields=candidates")
    assert (strange.status_code, code(strange)) == (400, "invalid_request")


def test_an_answer_without_a_limit_of_its_own_gets_one(router: Router) -> None:
    key_id, key = router.create_key(name="unlimited", spend_limit_usd="0.50")
    answer = posted(router, key, f"/v1beta/models/{CLAUDE}:generateContent", "sandbox:words=9000 hello")
    limit = int(answer.headers["x-router-max-tokens"])
    assert answer.json()["usageMetadata"]["candidatesTokenCount"] == limit >= 4096
    assert answer.json()["candidates"][0]["finishReason"] == "MAX_TOKENS"
    router.wait_for_ledger(key_id, 1)
    assert ledger_rows(router, key_id)[0]["flags"] == []


def test_models_of_geminis_own_go_as_they_came(router: Router, google: genai.Client, key: tuple[str, str]) -> None:
    """And by a name with its provider before it; below /gemini everything does."""
    config = types.GenerateContentConfig(seed=3)
    for model in ("gemini-2.5-flash", "google/gemini-2.5-flash", "gemini/gemini-2.5-flash"):
        assert google.models.generate_content(model=model, contents="hello", config=config).text
    assert {row["provider"] for row in booked(router, key, 3)} == {"gemini"}
    _, other = router.create_key(name="below")
    assert posted(router, other, f"/gemini/v1beta/models/{GPT}:generateContent").status_code == 404
    # Of what is not at Google's own address, which may be a gateway.
    nobodys = posted(router, other, "/v1beta/models/nobody/model:generateContent")
    assert (nobodys.status_code, code(nobodys)) == (404, None)


@BOTH
def test_a_key_in_the_address_stays_here(router: Router, model: str, provider: str) -> None:
    """As on all routes of Gemini's dialect; the provider gets its credential and no query."""
    del provider
    _, key = router.create_key(name="in the address")
    body = {"contents": [{"parts": [{"text": "hello"}]}]}
    url = f"{router.proxy_url}/v1beta/models/{model}:streamGenerateContent?alt=sse&key={key}"
    answer = requests.post(url, json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert key not in answer.text
    wrong = requests.post(url[:-4] + "0000", json=body, timeout=30)
    assert (wrong.status_code, wrong.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
