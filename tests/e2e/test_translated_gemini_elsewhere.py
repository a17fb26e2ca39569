"""Google's SDK and the models of the other providers, before an upstream that is not ours: as test_translated_elsewhere."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aimock_kit import (
    ARGUMENTS,
    CLAUDE,
    GPT,
    HOW,
    LOOKS,
    PNG,
    REDACTED,
    SCHEMA,
    SEEN,
    SIGNATURE,
    THOUGHT,
    TOLD,
    TWO_CALLS,
    Aimock,
    booked,
)
from google import genai
from google.genai import errors, types
from harness import Json, Router

BOTH = pytest.mark.parametrize(("model", "provider"), [(GPT, "openai"), (CLAUDE, "anthropic")])
TOOL = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(name="weather", description="Tells it.", parameters_json_schema=SCHEMA),
        types.FunctionDeclaration(name="clock", parameters=types.Schema(type=types.Type.OBJECT, properties={})),
    ]
)
CALLING: Json = {"tools": [TOOL], "automatic_function_calling": types.AutomaticFunctionCallingConfig(disable=True)}
Chunks = list[types.GenerateContentResponse]


@pytest.fixture
def key(far: Router) -> tuple[str, str]:
    return far.create_key(name="elsewhere", spend_limit_usd="5", rate_limit_tpm=1_000_000)


@pytest.fixture
def google(far: Router, key: tuple[str, str]) -> Iterator[genai.Client]:
    with genai.Client(api_key=key[1], http_options=types.HttpOptions(base_url=far.proxy_url)) as client:
        yield client


def asked(chat: Any, said: Any, *, streamed: bool) -> Chunks:
    """What comes of the next turn of a chat, which the SDK keeps."""
    found = list(chat.send_message_stream(said)) if streamed else [chat.send_message(said)]
    assert len(found) > 3 or not streamed
    return found


def parts_of(told: Chunks) -> list[types.Part]:
    contents = [candidate.content for chunk in told for candidate in chunk.candidates or ()]
    return [part for content in contents if content for part in content.parts or ()]


def text_of(told: Chunks, *, thought: bool = False) -> str:
    return "".join(part.text or "" for part in parts_of(told) if bool(part.thought) is thought)


def calls_in(told: Chunks) -> list[types.FunctionCall]:
    return [call for chunk in told for call in chunk.function_calls or ()]


def results(*calls: types.FunctionCall) -> list[types.Part]:
    return [
        types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "rain"}))
        for call in calls
    ]


@HOW
@BOTH
def test_it_works(
    far: Router,
    google: genai.Client,
    key: tuple[str, str],
    elsewhere: Aimock,
    model: str,
    provider: str,
    streamed: bool,
) -> None:
    """Two tools are called by another provider's model, and both results are given back."""
    chat = google.chats.create(model=model, config=types.GenerateContentConfig(**CALLING))
    told = asked(chat, "both, please", streamed=streamed)
    assert text_of(told) == LOOKS
    assert [(call.name, call.args) for call in calls_in(told)] == list(TWO_CALLS)
    usage = told[-1].usage_metadata
    assert usage is not None
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count) == (41, 7, 48)
    last = asked(chat, results(*calls_in(told)), streamed=streamed)
    assert text_of(last) == TOLD
    heard = elsewhere.last()["body"]
    assert [tool.get("name") or tool["function"]["name"] for tool in heard["tools"]] == ["weather", "clock"]
    booked(far, key, 2, provider)


@HOW
@BOTH
def test_a_picture(google: genai.Client, elsewhere: Aimock, model: str, provider: str, streamed: bool) -> None:
    picture = types.Part(inline_data=types.Blob(data=b"\xfb\xff\xbf\x89PNG", mime_type="image/png"))
    said: Any = [picture, "picture"]
    if streamed:
        told = list(google.models.generate_content_stream(model=model, contents=said))
    else:
        told = [google.models.generate_content(model=model, contents=said)]
    assert text_of(told) == SEEN
    if provider == "openai":  # of Anthropic's bodies it tells no pictures
        assert "+/+/iVBORw==" in str(elsewhere.last()["body"]["messages"]), "in the alphabet that is read there"


@HOW
def test_thoughts_of_claude(far: Router, google: genai.Client, key: tuple[str, str], streamed: bool) -> None:
    """Told, with a tool's call, and given back with its result."""
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_level=types.ThinkingLevel.LOW)
    config = types.GenerateContentConfig(**CALLING, thinking_config=thinking, max_output_tokens=4_000)
    chat = google.chats.create(model=CLAUDE, config=config)
    told = asked(chat, "thoughtful weather", streamed=streamed)
    assert (text_of(told, thought=True), text_of(told)) == (THOUGHT, LOOKS)
    assert [call.args for call in calls_in(told)] == [ARGUMENTS]
    assert text_of(asked(chat, results(*calls_in(told)), streamed=streamed)) == TOLD
    booked(far, key, 2, "anthropic")


@HOW
def test_thoughts_that_nobody_reads(google: genai.Client, streamed: bool) -> None:
    chat = google.chats.create(model=CLAUDE)
    told = asked(chat, "hidden", streamed=streamed)
    assert text_of(told) == TOLD
    kept = [part.thought_signature.decode() for part in parts_of(told) if part.thought_signature]
    assert sorted(kept) == [f"redacted:{REDACTED}", f"signed:{SIGNATURE}"]
    assert text_of(asked(chat, "hidden, again", streamed=streamed)) == TOLD


def test_a_schema(google: genai.Client, elsewhere: Aimock) -> None:
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=SCHEMA)
    google.models.generate_content(model=GPT, contents="picture", config=config)
    told = elsewhere.last()["body"]["response_format"]["json_schema"]
    assert (told["schema"], told["strict"]) == (SCHEMA | {"additionalProperties": False}, True)


@BOTH
def test_without_waiting(far: Router, key: tuple[str, str], model: str, provider: str) -> None:
    del provider

    async def ask() -> Chunks:
        async with genai.Client(api_key=key[1], http_options=types.HttpOptions(base_url=far.proxy_url)).aio as client:
            config = types.GenerateContentConfig(**CALLING)
            stream = await client.models.generate_content_stream(model=model, contents="weather", config=config)
            return [chunk async for chunk in stream]

    told = asyncio.run(ask())
    assert (text_of(told), [call.args for call in calls_in(told)]) == (LOOKS, [ARGUMENTS])


@BOTH
def test_errors(google: genai.Client, model: str, provider: str) -> None:
    del provider
    with pytest.raises(errors.ClientError, match="Slow down, please") as slow:
        google.models.generate_content(model=model, contents="hurry")
    assert (slow.value.code, slow.value.status) == (429, "RESOURCE_EXHAUSTED")


def test_a_real_picture_reaches_it(google: genai.Client, elsewhere: Aimock) -> None:
    """By the name of its provider, as the SDK writes it into the path."""
    said: Any = {"parts": [{"inline_data": {"data": PNG, "mime_type": "image/png"}}, {"text": "picture"}]}
    assert google.models.generate_content(model=f"models/openai/{GPT}", contents=said).text == SEEN
    assert PNG in str(elsewhere.last()["body"]["messages"])
