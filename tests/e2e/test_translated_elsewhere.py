"""The official SDKs and the models of the other providers, before an upstream that is not ours: tools, pictures, thoughts
and streams, whole and in pieces, and given back in the next turn.
"""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from aimock_kit import (
    ARGUMENTS,
    CLAUDE,
    GEMINI,
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
from anthropic.types import Message, MessageParam, ToolParam
from google import genai
from google.genai import types as genai_types
from harness import Json, Router
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.responses import Response

TOOLS: list[ToolParam] = [
    {"name": "weather", "description": "Tells it.", "input_schema": SCHEMA},
    {"name": "clock", "description": "Tells the time.", "input_schema": {"type": "object"}},
]
FUNCTIONS: list[ChatCompletionToolParam] = [
    {"type": "function", "function": {"name": one["name"], "parameters": dict(one["input_schema"])}} for one in TOOLS
]
OTHERS = pytest.mark.parametrize("model", [GPT, GEMINI])


@pytest.fixture
def key(far: Router) -> tuple[str, str]:
    return far.create_key(name="elsewhere", spend_limit_usd="5", rate_limit_tpm=1_000_000)


@pytest.fixture
def claude(far: Router, key: tuple[str, str]) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=far.proxy_url, api_key=key[1], max_retries=0) as client:
        yield client


@pytest.fixture
def gpt(far: Router, key: tuple[str, str]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{far.proxy_url}/v1", api_key=key[1], max_retries=0) as client:
        yield client


def message(client: anthropic.Anthropic, said: list[MessageParam], *, streamed: bool, **more: Any) -> Message:
    if not streamed:
        whole: Message = client.messages.create(max_tokens=4_000, messages=said, **more)
        return whole
    with client.messages.stream(max_tokens=4_000, messages=said, **more) as stream:
        assert len(list(stream)) > 5
        return stream.get_final_message()


def completion(
    client: openai.OpenAI, said: list[ChatCompletionMessageParam], *, streamed: bool, **more: Any
) -> ChatCompletion:
    if not streamed:
        whole: ChatCompletion = client.chat.completions.create(messages=said, **more)
        return whole
    with client.chat.completions.stream(messages=said, stream_options={"include_usage": True}, **more) as stream:
        assert len(list(stream)) > 5
        return stream.get_final_completion()


def response(client: openai.OpenAI, said: Any, *, streamed: bool, **more: Any) -> Response:
    if not streamed:
        whole: Response = client.responses.create(input=said, store=False, **more)
        return whole
    with client.responses.stream(input=said, store=False, **more) as stream:
        assert len(list(stream)) > 5
        return stream.get_final_response()


@HOW
@OTHERS
def test_it_works(
    far: Router, claude: anthropic.Anthropic, key: tuple[str, str], elsewhere: Aimock, model: str, streamed: bool
) -> None:
    """Anthropic's SDK has two tools called by another provider's model, and gives both results back."""
    said: list[MessageParam] = [{"role": "user", "content": "both, please"}]
    answer = message(claude, said, streamed=streamed, model=model, tools=TOOLS)
    text, *uses = answer.content
    assert text.type == "text"
    assert (text.text, answer.stop_reason) == (LOOKS, "tool_use")
    assert [(use.name, use.input) for use in uses if use.type == "tool_use"] == list(TWO_CALLS)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (41, 7)
    results = [
        {"type": "tool_result", "tool_use_id": use.id, "content": "rain"} for use in uses if use.type == "tool_use"
    ]
    again: Any = [*said, {"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
    last = message(claude, again, streamed=streamed, model=model, tools=TOOLS)
    assert [block.text for block in last.content if block.type == "text"] == [TOLD]
    assert last.stop_reason == "end_turn"
    heard = elsewhere.last()["body"]
    assert [one["role"] for one in heard["messages"]] == ["user", "assistant", "tool", "tool"]
    assert [json.loads(call["function"]["arguments"]) for call in heard["messages"][1]["tool_calls"]] == [
        arguments for _, arguments in TWO_CALLS
    ]
    booked(far, key, 2, "openai" if model == GPT else "gemini")


@HOW
@OTHERS
def test_a_picture_and_a_call_without_words(
    claude: anthropic.Anthropic, elsewhere: Aimock, model: str, streamed: bool
) -> None:
    picture: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    said: list[MessageParam] = [{"role": "user", "content": [picture, {"type": "text", "text": "this picture"}]}]
    answer = message(claude, said, streamed=streamed, model=model, system="Be brief.")
    assert [block.text for block in answer.content if block.type == "text"] == [SEEN]
    system, user = elsewhere.last()["body"]["messages"]
    assert (system["role"], user["content"][0]["image_url"]) == ("system", {"url": f"data:image/png;base64,{PNG}"})
    silent = message(claude, [{"role": "user", "content": "silent"}], streamed=streamed, model=model, tools=TOOLS)
    (use,) = silent.content
    assert use.type == "tool_use"
    assert (use.name, use.input, silent.stop_reason) == ("weather", ARGUMENTS, "tool_use")


@OTHERS
def test_how_much_it_thinks_is_told(claude: anthropic.Anthropic, elsewhere: Aimock, model: str) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 2_000}
    thinks = "o4-mini" if model == GPT else model
    message(
        claude, [{"role": "user", "content": "weather"}], streamed=True, model=thinks, tools=TOOLS, thinking=thinking
    )
    assert elsewhere.last()["body"]["reasoning_effort"] == "low"


@HOW
def test_chat_completions_of_claude(
    far: Router, gpt: openai.OpenAI, key: tuple[str, str], elsewhere: Aimock, streamed: bool
) -> None:
    """OpenAI's SDK lets Claude look at a picture, think and call a tool, and gives thought and result back."""
    said: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {"type": "text", "text": "thoughtful weather"},
            ],
        },
    ]
    more: Json = {"model": CLAUDE, "tools": FUNCTIONS, "reasoning_effort": "high", "max_tokens": 4_000}
    answer = completion(gpt, said, streamed=streamed, **more)
    told = answer.choices[0].message
    assert (told.content, answer.choices[0].finish_reason) == (LOOKS, "tool_calls")
    assert told.tool_calls is not None
    (call,) = told.tool_calls
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ARGUMENTS)
    extra: Any = told.model_extra
    thought = {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE} | ({"index": 0} if streamed else {})
    assert (extra["reasoning_content"], extra["thinking_blocks"]) == (THOUGHT, [thought])
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (41, 7)
    back: Any = told  # as apps hand it on
    last = completion(
        gpt, [*said, back, {"role": "tool", "tool_call_id": call.id, "content": "rain"}], streamed=streamed, **more
    )
    assert (last.choices[0].message.content, last.choices[0].finish_reason) == (TOLD, "stop")
    assert elsewhere.last()["path"] == "/v1/messages"
    booked(far, key, 2, "anthropic")


@HOW
def test_thoughts_that_are_hidden(gpt: openai.OpenAI, streamed: bool) -> None:
    answer = completion(
        gpt, [{"role": "user", "content": "hidden"}], streamed=streamed, model=CLAUDE, reasoning_effort="low"
    )
    extra: Any = answer.choices[0].message.model_extra
    kinds = sorted(block["type"] for block in extra["thinking_blocks"])
    assert kinds == ["redacted_thinking", "thinking"]
    assert {block.get("data") for block in extra["thinking_blocks"]} == {None, REDACTED}
    again: Any = [
        {"role": "user", "content": "hidden"},
        answer.choices[0].message,
        {"role": "user", "content": "picture"},
    ]
    last = completion(gpt, again, streamed=streamed, model=CLAUDE, reasoning_effort="low")
    assert last.choices[0].message.content == SEEN
    told = response(gpt, "hidden", streamed=streamed, model=CLAUDE, reasoning={"effort": "low"})
    assert told.output_text == TOLD
    assert [item.type for item in told.output].count("reasoning") == 2


@HOW
@pytest.mark.parametrize("model", [CLAUDE, GEMINI])
def test_responses(far: Router, gpt: openai.OpenAI, key: tuple[str, str], model: str, streamed: bool) -> None:
    tools: Any = [{"type": "function", "strict": False, **one["function"]} for one in FUNCTIONS]
    said: Any = [
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
                {"type": "input_text", "text": "thoughtful weather"},
            ],
        }
    ]
    more: Json = {"model": model, "tools": tools, "reasoning": {"effort": "low"}, "max_output_tokens": 4_000}
    answer = response(gpt, said, streamed=streamed, **more)
    assert (answer.output_text, answer.status) == (LOOKS, "completed")
    call = answer.output[-1]
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("weather", ARGUMENTS)
    if model == CLAUDE:
        thought = answer.output[0]
        assert thought.type == "reasoning"
        assert (thought.summary[0].text, thought.encrypted_content) == (THOUGHT, SIGNATURE)
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (41, 7)
    items = [item.model_dump(exclude_none=True) for item in answer.output]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    assert response(gpt, [*said, *items, result], streamed=streamed, **more).output_text == TOLD
    booked(far, key, 2, "anthropic" if model == CLAUDE else "gemini")


@HOW
def test_gemini_as_it_comes(gpt: openai.OpenAI, elsewhere: Aimock, streamed: bool) -> None:
    """Its own compatible endpoint, to which nothing is translated."""
    answer = completion(gpt, [{"role": "user", "content": "weather"}], streamed=streamed, model=GEMINI, tools=FUNCTIONS)
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert json.loads(calls[0].function.arguments) == ARGUMENTS
    assert elsewhere.last()["path"] == "/v1beta/openai/chat/completions"


@pytest.mark.filterwarnings("ignore:FUNCTION_CALL is not a valid FinishReason")  # aimock's own; Gemini says STOP
def test_googles_sdk_and_its_own_models(far: Router, key: tuple[str, str]) -> None:
    """Tools, pictures, thoughts and a stream, which pass as they came and are booked as they were told."""
    tool = genai_types.Tool(
        function_declarations=[genai_types.FunctionDeclaration(name="weather", parameters_json_schema=SCHEMA)]
    )
    config = genai_types.GenerateContentConfig(
        tools=[tool],
        automatic_function_calling=genai_types.AutomaticFunctionCallingConfig(disable=True),
        thinking_config=genai_types.ThinkingConfig(include_thoughts=True),
    )
    picture = genai_types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
    asked: Any = ["thoughtful weather", picture]
    with genai.Client(
        api_key=key[1], http_options=genai_types.HttpOptions(base_url=far.proxy_url, api_version="v1beta")
    ) as client:
        answer = client.models.generate_content(model=GEMINI, contents=asked, config=config)
        chunks = list(client.models.generate_content_stream(model=GEMINI, contents=asked, config=config))
    assert answer.function_calls is not None
    assert (answer.function_calls[0].name, answer.function_calls[0].args) == ("weather", ARGUMENTS)
    parts = [
        part for chunk in chunks for one in chunk.candidates or () if one.content for part in one.content.parts or ()
    ]
    assert "".join(part.text or "" for part in parts if part.thought) == THOUGHT
    assert "".join(part.text or "" for part in parts if not part.thought) == LOOKS
    assert [part.function_call.args for part in parts if part.function_call] == [ARGUMENTS]
    booked(far, key, 2, "gemini")


def test_errors(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    with pytest.raises(anthropic.RateLimitError, match="Slow down, please"):
        claude.messages.create(model=GPT, max_tokens=5, messages=[{"role": "user", "content": "hurry"}])
    with pytest.raises(openai.RateLimitError, match="Slow down, please"):
        gpt.chat.completions.create(model=CLAUDE, messages=[{"role": "user", "content": "hurry"}])
    with pytest.raises(openai.RateLimitError, match="Slow down, please"):
        gpt.responses.create(model=GEMINI, input="hurry")
