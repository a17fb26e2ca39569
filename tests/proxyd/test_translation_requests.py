"""Requests from one dialect into another: what both can say comes back the same, what one cannot is refused by name."""

import orjson
import pytest
from hypothesis import given, settings
from translation_kit import ASKED, CHAT, DOCUMENTS, MESSAGES, PNG, RESPONSES, Json, conversations, sent, told, way

from proxyd.bodies import parser_process
from proxyd.providers import DIALECTS, BadBody, Parsed
from proxyd.translation import (
    chat_reader,
    chat_writer,
    messages_reader,
    messages_writer,
    responses_reader,
)
from proxyd.translation.conversation import Conversation, Text, Thinking, ToolResult, Turn
from shared.catalog import Kind
from shared.translated import TRANSLATED


@pytest.mark.parametrize(("caller", "provider"), TRANSLATED)
def test_it_works(caller: Kind, provider: str) -> None:
    body = sent(caller, provider, DOCUMENTS[caller], "a-model")
    assert (body["model"], body["messages"]) == ("a-model", [ASKED])


@given(conversations())
@settings(max_examples=60, deadline=None)
def test_what_both_can_say_is_the_same_there_and_back(conversation: Conversation) -> None:
    as_messages = orjson.loads(orjson.dumps(messages_writer.write(conversation)))
    assert messages_reader.read(as_messages) == conversation
    as_chat = orjson.loads(orjson.dumps(chat_writer.write(conversation, "openai")))
    back = chat_reader.read(as_chat)
    assert back == conversation
    assert messages_writer.write(back) == as_messages


def test_tools_images_and_their_results_to_openai() -> None:
    document = MESSAGES | {
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
        "metadata": {"user_id": "u" * 65},
        "stream": True,
        "messages": [
            {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}}, {"type": "text", "text": "what?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Well."}, {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True}, {"type": "text", "text": "so?"}]},
        ],
    }  # fmt: skip
    body = sent(Kind.MESSAGES, "openai", document)
    call = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at":1}'}}
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}, {"type": "text", "text": "what?"}]},
        {"role": "assistant", "content": "Well.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "Error: no"},
        {"role": "user", "content": "so?"},
    ]  # fmt: skip
    function = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert (body["parallel_tool_calls"], body["max_completion_tokens"]) == (False, 50)
    assert body["stream_options"] == {"include_usage": True}
    assert len(body["safety_identifier"]) == 64


def test_a_file_a_schema_and_a_tool_to_anthropic() -> None:
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,cGRm", "filename": "a.pdf"}}
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True}}
    body = sent(
        Kind.CHAT,
        "anthropic",
        {
            "model": "claude-sonnet-4-6",
            "messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [file]}],
            "response_format": shape,
            "stop": "END",
            "tools": [{"type": "function", "function": {"name": "now"}}],
            "tool_choice": "required",
        },
    )
    source = {"type": "base64", "media_type": "application/pdf", "data": "cGRm"}
    assert body["system"] == "Be brief."
    assert body["messages"] == [{"role": "user", "content": [{"type": "document", "source": source, "title": "a.pdf"}]}]
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert body["tools"] == [{"name": "now", "input_schema": {"type": "object", "properties": {}}}]
    assert (body["tool_choice"], body["stop_sequences"]) == ({"type": "any"}, ["END"])
    assert body["max_tokens"] == 128_000


@pytest.mark.parametrize(
    ("model", "asked", "thinking", "config"),
    [
        ("claude-sonnet-4-6", {"reasoning_effort": "minimal"}, {"type": "adaptive"}, {"effort": "low"}),
        ("claude-opus-5", {"reasoning_effort": "max"}, {"type": "adaptive"}, {"effort": "max"}),
        ("claude-haiku-4-5", {"reasoning_effort": "low"}, {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-sonnet-4-20250514", {"reasoning_effort": "medium"}, {"type": "enabled", "budget_tokens": 8192}, None),
        ("claude-haiku-4-5", {"reasoning_effort": "high", "max_tokens": 2000}, {"type": "enabled", "budget_tokens": 1999}, None),
        ("claude-haiku-4-5", {"thinking": {"type": "enabled", "budget_tokens": 3000}}, {"type": "enabled", "budget_tokens": 3000}, None),
        ("claude-haiku-4-5", {"reasoning_effort": "none"}, None, None),
        ("claude-haiku-4-5", {"thinking": {"type": "disabled"}}, None, None),
    ],
)  # fmt: skip
def test_effort_to_anthropic(model: str, asked: Json, thinking: Json | None, config: Json | None) -> None:
    body = sent(Kind.CHAT, "anthropic", CHAT | asked, model)
    assert (body.get("thinking"), body.get("output_config")) == (thinking, config)


@pytest.mark.parametrize(
    ("asked", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 20_000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 60_000}}, "high"),
        ({"thinking": {"type": "adaptive"}}, "high"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "max"),
        ({"output_config": {"effort": "low"}}, "low"),
        ({"thinking": {"type": "disabled"}}, None),
    ],
)
def test_effort_to_openai(asked: Json, effort: str | None) -> None:
    assert sent(Kind.MESSAGES, "openai", MESSAGES | asked).get("reasoning_effort") == effort


@pytest.mark.parametrize("streamed", [False, True])
def test_thoughts_go_back_to_their_provider(streamed: bool) -> None:
    blocks: list[Json] = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
    ]
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}}
    told = [{"index": number, **block} for number, block in enumerate(blocks)] if streamed else blocks
    answer = {"role": "assistant", "content": "", "reasoning_content": "hm", "thinking_blocks": told}
    result = {"role": "tool", "tool_call_id": "t1", "content": "1"}
    body = sent(Kind.CHAT, "anthropic", CHAT | {"messages": [ASKED, answer | {"tool_calls": [call]}, result]})
    used = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    assert body["messages"][1]["content"] == [*blocks, used]
    given = [
        {"role": "user", "content": "hello"},
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "s"},
        {"type": "reasoning", "id": "q", "summary": [], "encrypted_content": "redacted:d"},
        {"type": "function_call", "id": "x", "call_id": "t1", "name": "f", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": "t1", "output": "1"},
    ]
    assert sent(Kind.RESPONSES, "anthropic", RESPONSES | {"input": given})["messages"] == body["messages"]


def test_geminis_signatures_go_back_with_their_calls() -> None:
    answer = [
        {"type": "thinking", "thinking": "", "signature": "gemini:s"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
    ]
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "1"}]}
    messages = [ASKED, {"role": "assistant", "content": answer}, result]
    body = sent(Kind.MESSAGES, "gemini", MESSAGES | {"messages": messages})
    assert body["messages"][1]["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "s"}}
    with pytest.raises(BadBody) as refused:
        sent(Kind.MESSAGES, "openai", MESSAGES | {"messages": messages})
    assert refused.value.param == "messages.1.content.0"


def test_responses_are_read() -> None:
    found = responses_reader.read(
        RESPONSES
        | {
            "instructions": "Be brief.",
            "input": [
                {"role": "developer", "content": "And kind."},
                {"role": "user", "content": [{"type": "input_text", "text": "what?"}, {"type": "input_image", "image_url": PNG, "detail": "auto"}]},
                {"type": "message", "id": "m", "status": "completed", "role": "assistant", "content": [{"type": "output_text", "text": "This.", "annotations": []}]},
                {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "1"}]},
            ],
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}],
            "tool_choice": {"type": "function", "name": "f"},
            "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}},
            "reasoning": {"effort": "low", "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
            "store": False,
            "max_output_tokens": 9,
        }
    )  # fmt: skip
    assert found.system == (Text("Be brief."), Text("And kind."))
    assert [turn.role for turn in found.turns] == ["user", "assistant", "user"]
    assert found.turns[2].parts == (ToolResult("c", (Text("1"),)),)
    assert (found.max_tokens, found.reasoning is not None, found.schema is not None) == (9, True, True)


def test_the_limit_that_the_dialect_wants_is_the_routers_to_lower() -> None:
    parsed = way(Kind.CHAT, "anthropic").request(CHAT, "claude-sonnet-4-6")
    assert parsed.size.output_limit is None
    lowered = DIALECTS["anthropic"].rewrite(parsed, model=None, output_limit=4096)
    assert orjson.loads(lowered)["max_tokens"] == 4096
    own = way(Kind.CHAT, "anthropic").request(CHAT | {"max_tokens": 9}, "claude-sonnet-4-6")
    assert (own.size.output_limit, own.raw) == (9, DIALECTS["anthropic"].rewrite(own, model=None, output_limit=None))
    thinks = way(Kind.CHAT, "anthropic").request(CHAT | {"reasoning_effort": "low"}, "claude-haiku-4-5")
    assert thinks.size.output_limit == 64_000


@pytest.mark.parametrize(
    ("model", "limit"),
    [("claude-sonnet-4-6", 128_000), ("claude-3-7-sonnet-20250219", 64_000), ("claude-of-next-year", 4_096)],
)
def test_a_limit_that_is_made_up_is_taken_and_bounds_what_is_billed(model: str, limit: int) -> None:
    parsed = way(Kind.CHAT, "anthropic").request(CHAT, model)
    assert orjson.loads(parsed.raw)["max_tokens"] == limit
    assert (parsed.size.output_limit, parsed.size.output_default) == (None, limit)
    own = way(Kind.CHAT, "anthropic").request(CHAT | {"max_tokens": 9}, model)
    assert (own.size.output_limit, own.size.output_default) == (9, None)


def test_thoughts_of_an_unknown_model_fit_into_its_limit() -> None:
    asked = CHAT | {"thinking": {"type": "enabled", "budget_tokens": 20_000}}
    parsed = way(Kind.CHAT, "anthropic").request(asked, "claude-of-next-year")
    assert orjson.loads(parsed.raw)["max_tokens"] == parsed.size.output_limit == 24_096
    assert sent(Kind.CHAT, "anthropic", asked, "claude-haiku-4-5")["max_tokens"] == 64_000


def test_what_two_fields_say_alike_is_said_once() -> None:
    both = {"max_tokens": 9, "max_completion_tokens": 9, "user": "u", "safety_identifier": "u"}
    body = sent(Kind.CHAT, "anthropic", CHAT | both)
    assert (body["max_tokens"], body["metadata"]) == (9, {"user_id": "u"})


def test_a_schema_that_is_a_wish_stays_one() -> None:
    shape = {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": False}}
    body = sent(Kind.RESPONSES, "gemini", RESPONSES | {"text": shape})
    assert body["response_format"]["json_schema"]["strict"] is False
    del shape["format"]["strict"]
    body = sent(Kind.RESPONSES, "gemini", RESPONSES | {"text": shape})
    assert body["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize(
    ("caller", "asked"),
    [
        (Kind.CHAT, {"thinking": {"type": "adaptive", "display": "summarized"}}),
        (Kind.RESPONSES, {"reasoning": {"effort": "high", "summary": "auto"}}),
    ],
)
def test_who_wants_to_see_thoughts_says_so(caller: Kind, asked: Json) -> None:
    """Later models do not tell theirs by themselves."""
    body = sent(caller, "anthropic", DOCUMENTS[caller] | asked, "claude-opus-5")
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}


def test_a_large_body_is_translated_beside_the_worker() -> None:
    document = CHAT | {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}]}
    translation = way(Kind.CHAT, "anthropic")
    found = parser_process.answer((translation, "claude-haiku-4-5"), orjson.dumps(document))
    assert isinstance(found, tuple)
    parsed, raw = found
    assert isinstance(parsed, Parsed)
    assert (parsed.raw, parsed.size.image_parts, parsed.spans is not None) == (b"", 1, True)
    assert raw == translation.request(document, "claude-haiku-4-5").raw
    refused = parser_process.answer((translation, "claude-haiku-4-5"), orjson.dumps(document | {"seed": 1}))
    assert isinstance(refused, BadBody)


def test_turns_of_one_side_are_one() -> None:
    conversation = chat_reader.read(
        told({"role": "user", "content": "more"}, {"role": "assistant", "content": "a"}) | {"model": "m"}
    )
    assert conversation.turns == (
        Turn("user", (Text("hello"), Text("more"))),
        Turn("assistant", (Text("a"),)),
    )
    assert Thinking("a", "b", "here") == Thinking("a", "b", "there")
