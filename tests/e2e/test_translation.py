"""The official SDK of one provider and the models of another, against the sandbox: text, usage, errors, limits."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest
import requests
from anthropic.types import MessageParam
from calls import chat, code, marker, messages, own_spend, seen
from harness import Json, Router
from openai.types.chat import ChatCompletionUserMessageParam
from raw_http import ledger_rows

CLAUDE, GPT, GEMINI = "claude-sonnet-4-6", "gpt-4o-mini", "gemini-2.5-flash"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALLED = ("weather", {"city": "sandbox"})
THOUGHT = "They said something, so something is said back."
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
THEIRS = pytest.mark.parametrize(("model", "provider"), [(GPT, "openai"), (f"google/{GEMINI}", "gemini")])
OTHERS = pytest.mark.parametrize(("model", "provider"), [(CLAUDE, "anthropic"), (GEMINI, "gemini")])


@pytest.fixture
def key(router: Router) -> tuple[str, str]:
    return router.create_key(name="translated", spend_limit_usd="5", rate_limit_rpm=600)


@pytest.fixture
def claude(router: Router, key: tuple[str, str]) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=router.proxy_url, api_key=key[1], max_retries=0) as client:
        yield client


@pytest.fixture
def gpt(router: Router, key: tuple[str, str]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{router.proxy_url}/v1", api_key=key[1], max_retries=0) as client:
        yield client


def asked(text: str) -> list[MessageParam]:
    return [{"role": "user", "content": text}]


def said(text: str) -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": text}]


def booked(router: Router, key: tuple[str, str], count: int) -> list[Json]:
    """The ledger's rows, which together are what the key has spent."""
    router.wait_for_ledger(key[0], count)
    rows = ledger_rows(router, key[0])
    spent = sum(row["cost_nanos"] for row in rows)
    assert Decimal(own_spend(router, key[1])["spent_usd"]) == Decimal(spent) / 10**9 > 0
    return rows


@THEIRS
def test_it_works(router: Router, claude: anthropic.Anthropic, key: tuple[str, str], model: str, provider: str) -> None:
    text = marker()
    answer = claude.messages.create(model=model, max_tokens=50, messages=asked(text), system="Be brief.")
    assert answer.content[0].type == "text"
    assert answer.content[0].text
    assert answer.stop_reason in ("end_turn", "max_tokens")
    with claude.messages.stream(model=model, max_tokens=50, messages=asked("hello")) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 1
    assert final.content[0].type == "text"
    assert final.content[0].text == "".join(pieces)
    rows = booked(router, key, 2)
    for row, usage in zip(rows, (answer.usage, final.usage), strict=True):
        assert (row["provider"], row["requested_model"], row["flags"]) == (provider, model.rpartition("/")[2], [])
        assert (row["input_tokens"], row["output_tokens"]) == (usage.input_tokens, usage.output_tokens)
    assert [bool(row["streamed"]) for row in rows] == [False, True]
    assert seen(router, text) == 1


def test_chat_completions_of_claude(router: Router, gpt: openai.OpenAI, key: tuple[str, str]) -> None:
    text = marker()
    answer = gpt.chat.completions.create(model=CLAUDE, messages=said(text), max_tokens=50)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content
    *chunks, last = gpt.chat.completions.create(
        model=f"anthropic/{CLAUDE}", messages=said("hi"), stream=True, stream_options={"include_usage": True}
    )
    assert len([chunk for chunk in chunks if chunk.choices[0].delta.content]) > 1
    assert chunks[-1].choices[0].finish_reason == "stop"
    rows = booked(router, key, 2)
    for row, usage in zip(rows, (answer.usage, last.usage), strict=True):
        assert usage is not None
        assert (row["provider"], row["requested_model"], row["endpoint"]) == ("anthropic", CLAUDE, "/v1/messages")
        assert (row["input_tokens"], row["output_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)
    assert seen(router, text) == 1


@OTHERS
def test_responses(router: Router, gpt: openai.OpenAI, key: tuple[str, str], model: str, provider: str) -> None:
    answer = gpt.responses.create(model=model, input="hello", instructions="Be brief.", max_output_tokens=50)
    assert answer.output_text
    events = list(gpt.responses.create(model=model, input="hello", max_output_tokens=50, stream=True))
    assert events[-1].type == "response.completed"
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == events[-1].response.output_text != ""
    rows = booked(router, key, 2)
    for row, usage in zip(rows, (answer.usage, events[-1].response.usage), strict=True):
        assert usage is not None
        assert (row["provider"], row["output_tokens"]) == (provider, usage.output_tokens)


def billed(router: Router, text: str, count: int) -> list[tuple[int, int]]:
    """Input and output tokens, as the provider counts them."""
    return [(one["usage"]["input_tokens"], one["usage"]["output_tokens"]) for one in router.attempts(text, count)]


@THEIRS
def test_a_tool_and_a_picture(
    router: Router, claude: anthropic.Anthropic, key: tuple[str, str], model: str, provider: str
) -> None:
    text = marker()
    said: Any = [{"role": "user", "content": [PICTURE, {"type": "text", "text": f"sandbox:call {text}"}]}]
    more: Any = {"model": model, "max_tokens": 99, "tools": [{"name": "weather", "input_schema": SCHEMA}]}
    answer = claude.messages.create(messages=said, **more)
    with claude.messages.stream(messages=said, **more) as stream:
        streamed = stream.get_final_message()
    for each in (answer, streamed):
        blocks: Any = each.content
        words, use = blocks
        assert (words.type, use.type, each.stop_reason) == ("text", "tool_use", "tool_use")
        assert (use.name, use.input) == CALLED
        given: Any = [{"type": "tool_result", "tool_use_id": use.id, "content": "rain"}]
        turns = [*said, {"role": "assistant", "content": each.content}, {"role": "user", "content": given}]
        assert claude.messages.create(messages=turns, **more).stop_reason == "end_turn"
    rows = booked(router, key, 4)
    assert {row["provider"] for row in rows} == {provider}
    counted = [(row["input_tokens"], row["output_tokens"]) for row in rows]
    assert sorted(counted) == sorted(billed(router, text, 4))


def test_claude_thinks_and_calls(router: Router, gpt: openai.OpenAI, key: tuple[str, str]) -> None:
    """By chat completions and responses, whole and in events."""
    text = marker()
    asked = f"sandbox:think sandbox:call {text}"
    function = {"name": "weather", "parameters": SCHEMA}
    chat_more: Any = {"model": CLAUDE, "messages": said(asked), "tools": [{"type": "function", "function": function}]}
    more: Any = {"model": CLAUDE, "input": asked, "tools": [{"type": "function", "strict": False, **function}]}
    with gpt.chat.completions.stream(**chat_more) as chunks, gpt.responses.stream(**more) as events:
        streamed, told_in_events = chunks.get_final_completion(), events.get_final_response()
    for completion in (gpt.chat.completions.create(**chat_more), streamed):
        message: Any = completion.choices[0].message
        call = message.tool_calls[0].function
        assert ((call.name, json.loads(call.arguments)), completion.choices[0].finish_reason) == (CALLED, "tool_calls")
        (thought,) = message.thinking_blocks
        assert message.reasoning_content == thought["thinking"] == THOUGHT
        assert thought["signature"]
    for response in (gpt.responses.create(**more), told_in_events):
        items: Any = response.output
        reasoning, _, call = items
        assert (reasoning.type, call.type) == ("reasoning", "function_call")
        assert (call.name, json.loads(call.arguments), reasoning.summary[0].text) == (*CALLED, THOUGHT)
    counted = [(row["input_tokens"], row["output_tokens"]) for row in booked(router, key, 4)]
    assert sorted(counted) == sorted(billed(router, text, 4))


def test_errors_of_the_provider(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    with pytest.raises(anthropic.RateLimitError):
        claude.messages.create(model=GPT, max_tokens=5, messages=asked("sandbox:429"))
    with pytest.raises(anthropic.InternalServerError):
        claude.messages.create(model=GPT, max_tokens=5, messages=asked("sandbox:500"))
    with pytest.raises(openai.RateLimitError):
        gpt.chat.completions.create(model=CLAUDE, max_tokens=5, messages=said("sandbox:429"))
    with pytest.raises(openai.InternalServerError):
        gpt.responses.create(model=CLAUDE, input="sandbox:529")


@pytest.mark.parametrize("how", ["sandbox:error-event", "sandbox:break"])
def test_errors_inside_a_stream(
    router: Router, claude: anthropic.Anthropic, gpt: openai.OpenAI, key: tuple[str, str], how: str
) -> None:
    text = f"{how} sandbox:words=40 hello"
    with (
        pytest.raises(anthropic.APIStatusError),
        claude.messages.stream(model=GPT, max_tokens=50, messages=asked(text)) as stream,
    ):
        list(stream.text_stream)
    with pytest.raises(openai.APIError):
        list(gpt.chat.completions.create(model=CLAUDE, max_tokens=50, messages=said(text), stream=True))
    rows = booked(router, key, 2)
    outcome = "provider_error" if how == "sandbox:error-event" else "upstream_truncated"
    assert [row["outcome"] for row in rows] == [outcome, outcome]


def test_a_compressed_answer(gpt: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    assert gpt.chat.completions.create(model=CLAUDE, messages=said("sandbox:gzip hi")).choices[0].message.content
    assert list(gpt.chat.completions.create(model=CLAUDE, messages=said("sandbox:gzip hi"), stream=True))
    assert claude.messages.create(model=GPT, max_tokens=9, messages=asked("sandbox:gzip hi")).content


def test_limits_hold(router: Router) -> None:
    _, poor = router.create_key(name="poor", spend_limit_usd="0.000001")
    with anthropic.Anthropic(base_url=router.proxy_url, api_key=poor, max_retries=0) as client:
        with pytest.raises(anthropic.PermissionDeniedError) as spent:
            client.messages.create(model=GPT, max_tokens=50, messages=asked("hello"))
    assert spent.value.response.headers["x-router-error"] == "spend_exceeded"
    _, narrow = router.create_key(name="narrow", allowed_providers=["anthropic"])
    refused = messages(router, narrow, model=GPT)
    assert (refused.status_code, code(refused), refused.json()["type"]) == (403, "provider_not_allowed", "error")
    _, some = router.create_key(name="some", allowed_models=["claude-*"])
    assert code(messages(router, some, model=GPT)) == "model_not_allowed"
    # The rules of the key come first, also where the request could not be translated.
    assert code(messages(router, some, model=GPT, top_k=3)) == "model_not_allowed"
    assert code(messages(router, narrow, model=GPT, top_k=3)) == "provider_not_allowed"
    assert code(chat(router, some, model=CLAUDE)) is None


def test_an_answer_without_a_limit_of_its_own_gets_one(router: Router) -> None:
    """As for every other model: what the dialect wants to have said is the router's to say."""
    key_id, key = router.create_key(name="unlimited", spend_limit_usd="0.50")
    answer = chat(router, key, "sandbox:words=9000 hello", model=CLAUDE, max_tokens=None)
    limit = int(answer.headers["x-router-max-tokens"])
    assert limit >= 4096
    assert answer.json()["usage"]["completion_tokens"] == limit
    assert answer.json()["choices"][0]["finish_reason"] == "length"
    router.wait_for_ledger(key_id, 1)
    assert ledger_rows(router, key_id)[0]["flags"] == []


def test_what_cannot_be_translated_is_refused_in_the_callers_dialect(
    claude: anthropic.Anthropic, gpt: openai.OpenAI, router: Router, key: tuple[str, str]
) -> None:
    with pytest.raises(anthropic.BadRequestError, match="top_k cannot be said") as here:
        claude.messages.create(model=GPT, max_tokens=5, messages=asked("hello"), extra_body={"top_k": 3})
    assert here.value.response.headers["x-router-error"] == "invalid_request"
    with pytest.raises(openai.BadRequestError, match="seed cannot be said") as there:
        gpt.chat.completions.create(model=CLAUDE, messages=said("hello"), seed=3)
    assert (there.value.code, there.value.param) == ("invalid_request", "seed")
    strange = requests.post(
        f"{router.proxy_url}/v1/messages?limit=3",
        json={"model": GPT, "max_tokens": 5, "messages": asked("hello")},
        headers={"x-api-key": key[1]},
        timeout=30,
    )
    assert (strange.status_code, strange.json()["error"]["param"]) == (400, "limit")


def test_a_large_image_goes_the_same_way(router: Router, claude: anthropic.Anthropic, key: tuple[str, str]) -> None:
    """Beside the worker, as all large bodies."""
    answer = claude.messages.create(
        model=GPT,
        max_tokens=5,
        messages=[
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "iVBO" * 400_000},
                    },
                    {"type": "text", "text": "hello"},
                ],
            }
        ],
    )
    assert answer.content
    assert booked(router, key, 1)[0]["provider"] == "openai"


def test_models_of_the_callers_own_provider_go_as_they_came(router: Router) -> None:
    """And those that nobody knows, as they may be its own as well."""
    key_id, key = router.create_key(name="own")
    text = marker()
    assert messages(router, key, text, model=CLAUDE, top_k=3).ok
    assert messages(router, key, model=f"anthropic/{CLAUDE}", top_k=3).ok
    assert messages(router, key, model="my-own-model").status_code == 404
    router.wait_for_ledger(key_id, 3)
    rows = ledger_rows(router, key_id)
    assert sorted(row["requested_model"] for row in rows) == [CLAUDE, CLAUDE, "my-own-model"]
    assert {row["provider"] for row in rows} == {"anthropic"}
    assert seen(router, text) == 1
