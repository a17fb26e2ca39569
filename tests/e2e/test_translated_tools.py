"""Tools, pictures and thoughts through translation, to a provider that answers as the real ones do."""

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import orjson
import pytest
from anthropic.types import MessageParam, ToolParam
from harness import Router
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from raw_http import Heard, ScriptedProvider, ledger_rows, reply
from tool_answers_kit import CALL, CLAUDE, GPT, PNG, THOUGHT, USE, both, priced

TOOL: ToolParam = {"name": "weather", "description": "Tells it.", "input_schema": {"type": "object"}}
FUNCTION: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": {"type": "object"}},
}


@pytest.fixture
def provider_heard(provider: ScriptedProvider) -> list[Heard]:
    provider.play(both)
    return provider.heard


@pytest.fixture
def key(stage: Router) -> tuple[str, str]:
    return stage.create_key(name="tools", spend_limit_usd="5")


@pytest.fixture
def claude(stage: Router, key: tuple[str, str]) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=stage.proxy_url, api_key=key[1], max_retries=0) as client:
        yield client


@pytest.fixture
def gpt(stage: Router, key: tuple[str, str]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stage.proxy_url}/v1", api_key=key[1], max_retries=0) as client:
        yield client


def test_it_works(
    stage: Router, claude: anthropic.Anthropic, provider_heard: list[Heard], key: tuple[str, str]
) -> None:
    """Anthropic's SDK calls a tool of OpenAI's model, shows it a picture, and gives the result back."""
    said: list[MessageParam] = [
        {
            "role": "user",
            "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                {"type": "text", "text": "The weather there?"},
            ],
        }
    ]
    answer = claude.messages.create(model=GPT, max_tokens=99, messages=said, tools=[TOOL])
    with claude.messages.stream(model=GPT, max_tokens=99, messages=said, tools=[TOOL]) as stream:
        streamed = stream.get_final_message()
    for each in (answer, streamed):
        text, use = each.content
        assert (text.type, each.stop_reason) == ("text", "tool_use")
        assert use.type == "tool_use"
        assert (use.id, use.name, use.input) == ("call_1", "weather", {"city": "Bern"})
        assert (each.usage.input_tokens, each.usage.cache_read_input_tokens, each.usage.output_tokens) == (30, 10, 7)
    result: MessageParam = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "rain"}],
    }
    claude.messages.create(
        model=GPT, max_tokens=99, messages=[*said, {"role": "assistant", "content": streamed.content}, result]
    )
    body = orjson.loads(provider_heard[-1].body)
    assert provider_heard[-1].first == "POST /v1/chat/completions HTTP/1.1"
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    assert body["messages"] == [
        {"role": "user", "content": [picture, {"type": "text", "text": "The weather there?"}]},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    priced(stage, key, 3)


def test_headers_of_another_dialect_stay_here(
    stage: Router, claude: anthropic.Anthropic, provider_heard: list[Heard]
) -> None:
    claude.beta.messages.create(
        model=GPT, max_tokens=9, messages=[{"role": "user", "content": "hello"}], betas=["some-beta-2025-01-01"]
    )
    heard = provider_heard[-1]
    assert heard.first == "POST /v1/chat/completions HTTP/1.1"
    assert not any(name.startswith("anthropic-") for name in heard.headers)
    assert heard.headers["authorization"] == f"Bearer {stage.credentials['openai']}"
    assert heard.headers["content-type"] == "application/json"
    assert "x-api-key" not in heard.headers


def test_gemini_by_its_compatible_endpoint(
    stage: Router, claude: anthropic.Anthropic, provider_heard: list[Heard]
) -> None:
    answer = claude.messages.create(
        model="gemini-2.5-flash", max_tokens=9, messages=[{"role": "user", "content": "hello"}], tools=[TOOL]
    )
    assert answer.content[1].type == "tool_use"
    heard = provider_heard[-1]
    assert heard.first == "POST /v1beta/openai/chat/completions HTTP/1.1"
    assert heard.headers["authorization"] == f"Bearer {stage.credentials['gemini']}"


def test_chat_completions_think_and_call(
    stage: Router, gpt: openai.OpenAI, provider_heard: list[Heard], key: tuple[str, str]
) -> None:
    """OpenAI's SDK lets Claude think and call a tool, and gives the thought back with the result."""
    said: list[ChatCompletionMessageParam] = [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {"type": "text", "text": "The weather there?"},
            ],
        }
    ]
    answer = gpt.chat.completions.create(
        model=CLAUDE, max_tokens=99, messages=said, tools=[FUNCTION], reasoning_effort="high"
    )
    message = answer.choices[0].message
    assert (message.content, answer.choices[0].finish_reason) == ("Let me see.", "tool_calls")
    assert message.tool_calls is not None
    assert message.tool_calls[0].type == "function"
    assert message.tool_calls[0].function.arguments == '{"city":"Bern"}'
    assert message.model_extra is not None
    assert message.model_extra["reasoning_content"] == THOUGHT["thinking"]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (40, 7)
    body = orjson.loads(provider_heard[-1].body)
    assert (body["thinking"], body["output_config"]) == ({"type": "adaptive"}, {"effort": "high"})
    assert body["messages"][0]["content"][0]["source"] == {"type": "base64", "media_type": "image/png", "data": PNG}
    again: Any = message.model_dump(exclude_none=True)
    gpt.chat.completions.create(
        model=CLAUDE,
        max_tokens=99,
        messages=[*said, again, {"role": "tool", "tool_call_id": "toolu_1", "content": "rain"}],
    )
    turns = orjson.loads(provider_heard[-1].body)["messages"]
    assert turns[1]["content"] == [THOUGHT, {"type": "text", "text": "Let me see."}, USE]
    assert turns[2]["content"] == [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}]
    priced(stage, key, 2)


def test_a_stream_of_chat_completions(
    stage: Router, gpt: openai.OpenAI, provider_heard: list[Heard], key: tuple[str, str]
) -> None:
    with gpt.chat.completions.stream(
        model=CLAUDE, max_tokens=99, messages=[{"role": "user", "content": "hello"}], tools=[FUNCTION]
    ) as stream:
        final = stream.get_final_completion()
    message = final.choices[0].message
    assert (message.content, final.choices[0].finish_reason) == ("Let me see.", "tool_calls")
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.arguments == '{"city":"Bern"}'
    assert len(provider_heard) == 1
    priced(stage, key, 1)


def test_responses_think_and_call(
    stage: Router, gpt: openai.OpenAI, provider_heard: list[Heard], key: tuple[str, str]
) -> None:
    tools: Any = [{"type": "function", "strict": None, **FUNCTION["function"]}]
    answer = gpt.responses.create(model=CLAUDE, input="hello", tools=tools, reasoning={"effort": "low"}, store=False)
    with gpt.responses.stream(model=CLAUDE, input="hello", tools=tools, store=False) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_response()
    for each in (answer, streamed):
        thought, text, call = each.output
        assert text.type == "message"
        assert thought.type == "reasoning"
        assert (thought.summary[0].text, thought.encrypted_content) == (THOUGHT["thinking"], "c2ln")
        assert call.type == "function_call"
        assert (call.call_id, call.arguments) == ("toolu_1", '{"city":"Bern"}')
        assert each.output_text == "Let me see."
    again: Any = [item.model_dump(exclude_none=True) for item in answer.output]
    result: Any = {"type": "function_call_output", "call_id": "toolu_1", "output": "rain"}
    gpt.responses.create(model=CLAUDE, input=[{"role": "user", "content": "hello"}, *again, result])
    turns = orjson.loads(provider_heard[-1].body)["messages"]
    assert turns[1]["content"] == [THOUGHT, {"type": "text", "text": "Let me see."}, USE]
    assert turns[2]["content"] == [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}]
    priced(stage, key, 3)


def test_what_is_no_answer_is_charged_and_said_to_be_none(
    stage: Router, claude: anthropic.Anthropic, provider: ScriptedProvider, key: tuple[str, str]
) -> None:
    provider.play(
        lambda line, _: line.sock.sendall(reply(200, b'{"usage":{"prompt_tokens":40,"completion_tokens":7}}'))
    )
    with pytest.raises(anthropic.InternalServerError, match="cannot be translated: the answer has no choice"):
        claude.messages.create(model=GPT, max_tokens=9, messages=[{"role": "user", "content": "hello"}])
    stage.wait_for_ledger(key[0], 1)
    row = ledger_rows(stage, key[0])[0]
    assert (row["outcome"], row["output_tokens"], row["sent_status"]) == ("upstream_truncated", 7, 502)
