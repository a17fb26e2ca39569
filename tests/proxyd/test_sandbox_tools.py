"""The sandbox thinks and calls tools when it is told to, in the three dialects, whole and in events."""

import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
import requests
from google import genai
from google.genai import types
from sandbox_kit import ANTHROPIC, BEARER, CHAT, CONTENT, GEMINI_PATH, GOOGLE, KEY, MESSAGE, only_attempt, post

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION: Any = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
TOOL: Any = {"name": "weather", "input_schema": SCHEMA}
DECLARED: Any = types.Tool(
    function_declarations=[types.FunctionDeclaration(name="weather", parameters_json_schema=SCHEMA)]
)
ASKED: Any = [{"role": "user", "content": "sandbox:think sandbox:call the weather"}]
CALLED = ("weather", {"city": "sandbox"})
THOUGHT = "They said something, so something is said back."
Told = tuple[str, str, tuple[str, dict[str, Any]] | None, int, int]  # thought, text, call, input and output tokens


@pytest.fixture
def url(sandbox_url: str) -> str:
    """The provider's address; its invoice is empty."""
    requests.delete(f"{sandbox_url}/invoice", timeout=5)
    return sandbox_url


def by_openai(url: str, streamed: bool, limit: int) -> Told:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        more: Any = {"model": "gpt-4o-mini", "messages": ASKED, "tools": [FUNCTION], "max_tokens": limit}
        if streamed:
            with client.chat.completions.stream(stream_options={"include_usage": True}, **more) as stream:
                answer: Any = stream.get_final_completion()
        else:
            answer = client.chat.completions.create(**more)
    choice, usage = answer.choices[0], answer.usage
    calls = choice.message.tool_calls or []
    call = (calls[0].function.name, json.loads(calls[0].function.arguments)) if calls else None
    assert choice.finish_reason == ("tool_calls" if call else "length")
    thought = THOUGHT if usage.completion_tokens_details.reasoning_tokens else ""
    return thought, choice.message.content, call, usage.prompt_tokens, usage.completion_tokens


def by_anthropic(url: str, streamed: bool, limit: int) -> Told:
    with anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0) as client:
        more: Any = {"model": "claude-sonnet-4-6", "messages": ASKED, "tools": [TOOL], "max_tokens": limit}
        if streamed:
            with client.messages.stream(**more) as stream:
                answer = stream.get_final_message()
        else:
            answer = client.messages.create(**more)
    blocks: dict[str, Any] = {block.type: block for block in answer.content}
    thought, use = blocks.get("thinking"), blocks.get("tool_use")
    assert thought is None or thought.signature
    assert answer.stop_reason == ("tool_use" if use else "max_tokens")
    call = (use.name, use.input) if use else None
    told = thought.thinking if thought else ""
    return told, blocks["text"].text, call, answer.usage.input_tokens, answer.usage.output_tokens


def by_google(url: str, streamed: bool, limit: int) -> Told:
    config = types.GenerateContentConfig(
        tools=[DECLARED],
        max_output_tokens=limit,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    more: Any = {"model": "gemini-2.5-flash", "contents": ASKED[0]["content"], "config": config}
    with genai.Client(api_key=KEY, http_options={"base_url": url}) as client:
        one_by_one = client.models.generate_content_stream
        answers: Any = list(one_by_one(**more)) if streamed else [client.models.generate_content(**more)]
    parts = [part for answer in answers for part in answer.candidates[0].content.parts]
    usage, finish = answers[-1].usage_metadata, answers[-1].candidates[0].finish_reason
    calls = [(part.function_call.name, part.function_call.args) for part in parts if part.function_call]
    assert finish.value == ("STOP" if calls else "MAX_TOKENS")
    thought, text = ("".join(part.text or "" for part in parts if bool(part.thought) is kind) for kind in (True, False))
    spent = usage.candidates_token_count + (usage.thoughts_token_count or 0)
    assert usage.total_token_count == usage.prompt_token_count + spent
    return thought, text, calls[0] if calls else None, usage.prompt_token_count, spent


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("told_by", [by_openai, by_anthropic, by_google])
def test_it_works(url: str, told_by: Callable[[str, bool, int], Told], streamed: bool) -> None:
    thought, text, call, input_tokens, output_tokens = told_by(url, streamed, 100)
    assert (thought, call) == (THOUGHT, CALLED)
    assert text.startswith("You said: the weather")
    assert only_attempt(url)["usage"] == {"input_tokens": input_tokens, "output_tokens": output_tokens}
    assert output_tokens == -(-len(f'{THOUGHT}{text}{{"city":"sandbox"}}') // 4)


@pytest.mark.parametrize(
    ("told_by", "streamed"),
    [(by_openai, False), (by_anthropic, False), (by_anthropic, True), (by_google, False), (by_google, True)],
)  # OpenAI's SDK raises where a stream ends by the limit
def test_a_limit_has_room_for_all_of_it_or_for_less(
    url: str, told_by: Callable[[str, bool, int], Told], streamed: bool
) -> None:
    """What was thought counts; a call does not come behind a text that was cut off."""
    thought, text, call, _, output_tokens = told_by(url, streamed, 22)
    assert (thought, call, output_tokens) == (THOUGHT, None, 22)
    assert "You said".startswith(text[:8])
    requests.delete(f"{url}/invoice", timeout=5)
    thought, text, call, _, output_tokens = told_by(url, streamed, 5)
    assert (thought, call, output_tokens) == ("", None, 5)
    assert only_attempt(url)["usage"]["output_tokens"] == 5


@pytest.mark.parametrize(
    ("path", "body", "headers", "results"),
    [
        ("/v1/chat/completions", CHAT | {"tools": [FUNCTION]}, BEARER, {"role": "tool", "tool_call_id": "1", "content": "rain"}),
        ("/v1/messages", MESSAGE | {"tools": [TOOL]}, ANTHROPIC, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "rain"}]}),
        (f"{GEMINI_PATH}:generateContent", CONTENT | {"tools": [{"function_declarations": [{"name": "weather", "parameters": SCHEMA}]}]}, GOOGLE, {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {}}}]}),
    ],
)  # fmt: skip
def test_who_gives_a_result_is_answered_in_words(
    url: str, path: str, body: dict[str, Any], headers: dict[str, str], results: dict[str, Any]
) -> None:
    """Also where each request is told to call, or an agent would never come to an end."""
    told = headers | {"x-sandbox": "call"}
    assert "weather" in post(url, path, body, told).text
    turns = "contents" if "contents" in body else "messages"
    again = post(url, path, body | {turns: [*body[turns], results]}, told)
    assert (again.status_code, "weather" in again.text) == (200, False)


def test_who_offers_no_tool_is_told(url: str) -> None:
    answer = post(url, "/v1/chat/completions", CHAT, BEARER | {"x-sandbox": "call"})
    assert (answer.status_code, "was given none" in answer.text) == (400, True)
    for how in ("call", "think"):
        elsewhere = post(url, "/v1/responses", {"model": "gpt-4o-mini", "input": "hi"}, BEARER | {"x-sandbox": how})
        assert (elsewhere.status_code, "alone" in elsewhere.text) == (400, True)
