"""Gemini's callers and the models of others: what their requests become."""

from typing import Any

import orjson
import pytest
from generate_kit import sayable, signature, snake, written
from hypothesis import given, settings
from translation_kit import GENERATE, PNG, Json, conversations, sent, way

from proxyd.providers import BadBody
from proxyd.translation import generate_reader, messages_reader, messages_writer
from proxyd.translation.conversation import Conversation
from shared.catalog import Kind

TO_GPT = way(Kind.GENERATE_STREAM, "openai")
DATA = "aGVsbG8="


def said(*parts: Json, role: str = "user") -> Json:
    return {"role": role, "parts": list(parts)}


def asking(*contents: Json, **more: Any) -> Json:
    return {"contents": [*contents], **more}


def configured(**config: Any) -> Json:
    return GENERATE | {"generationConfig": config}


@given(conversations())
@settings(max_examples=60, deadline=None)
def test_it_works(drawn: Conversation) -> None:
    """In both spellings the same is read, and it comes to the provider as it is."""
    conversation = sayable(drawn)
    body = orjson.loads(orjson.dumps(written(conversation)))
    assert generate_reader.read(body) == generate_reader.read(snake(body)) == conversation
    assert messages_reader.read(messages_writer.write(conversation) | {"model": ""}) == conversation


def test_tools_pictures_and_results_to_openai() -> None:
    document = asking(
        said({"inlineData": {"mimeType": "image/png", "data": "aGVsbG8"}}, {"text": "what?"}),
        said({"text": "Well."}, {"functionCall": {"name": "look", "args": {"at": 1}}}, {"functionCall": {"name": "look", "args": {}}}, role="model"),
        said({"functionResponse": {"name": "look", "response": {"error": "no"}}}, {"functionResponse": {"name": "look", "response": {"result": 2}}}, {"text": "so?"}),
        system_instruction=said({"text": "Be brief."}),
        tools=[{"functionDeclarations": [{"name": "look", "description": "Looks.", "parameters": {"type": "OBJECT", "properties": {"at": {"type": "INTEGER", "nullable": True}}}}, {"name": "go"}]}],
        toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}},
        generationConfig={"maxOutputTokens": "50", "stopSequences": ["END"], "thinkingConfig": {"thinkingLevel": "LOW"}},
        safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}],
    )  # fmt: skip
    body = sent(Kind.GENERATE_STREAM, "openai", document, "gpt-5")
    calls = [
        {"id": f"call_{number}", "type": "function", "function": {"name": "look", "arguments": arguments}}
        for number, arguments in ((1, '{"at":1}'), (2, "{}"))
    ]
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}, {"type": "text", "text": "what?"}]},
        {"role": "assistant", "content": "Well.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": "Error: no"},
        {"role": "tool", "tool_call_id": "call_2", "content": '{"result":2}'},
        {"role": "user", "content": "so?"},
    ]  # fmt: skip
    parameters = {"type": "object", "properties": {"at": {"type": ["integer", "null"]}}}
    look = {"name": "look", "description": "Looks.", "parameters": parameters}
    assert body["tools"] == [{"type": "function", "function": each} for each in (look, {"name": "go"})]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert (body["max_completion_tokens"], body["stop"], body["reasoning_effort"]) == (50, ["END"], "low")
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert "stream" not in sent(Kind.GENERATE, "openai", document, "gpt-5")


def test_several_tools_that_alone_may_be_called() -> None:
    tools = [{"functionDeclarations": [{"name": name} for name in "abc"]}]
    calling = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["a", "c"]}}
    body = sent(Kind.GENERATE, "anthropic", GENERATE | {"tools": tools, "toolConfig": calling})
    assert ([tool["name"] for tool in body["tools"]], body["tool_choice"]) == (["a", "c"], {"type": "any"})


def test_a_schema_of_geminis_is_one_of_json() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "b": {"type": "STRING", "enum": ["x"], "nullable": True, "format": "enum"},
            "a": {"type": "ARRAY", "minItems": "1", "items": {"anyOf": [{"type": "NUMBER", "minimum": 0.5}, {"type": "BOOLEAN"}]}},
            "max_items": {"type": "OBJECT", "properties": {}, "additional_properties": {"type": "STRING"}},
        },
        "property_ordering": ["a", "b"],
        "required": ["a"],
    }  # fmt: skip
    config = configured(response_mime_type="application/json", responseSchema=schema)
    found = sent(Kind.GENERATE, "anthropic", config)["output_config"]["format"]["schema"]
    assert found == {
        "type": "object",
        "properties": {
            "a": {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "number", "minimum": 0.5}, {"type": "boolean"}]}},
            "b": {"type": ["string", "null"], "enum": ["x", None], "format": "enum"},
            "max_items": {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}},
        },
        "required": ["a"],
        "additionalProperties": False,
    }  # fmt: skip
    assert list(found["properties"]) == ["a", "b", "max_items"]


@pytest.mark.parametrize(("required", "strict"), [(["a", "b"], True), (["a"], False)])
def test_openai_holds_to_schemas_that_leave_nothing_open(required: list[str], strict: bool) -> None:
    """By its rules for them; others go there as a wish, and Anthropic holds to both."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": required}
    config = configured(responseMimeType="application/json", responseJsonSchema=schema)
    told = sent(Kind.GENERATE, "openai", config)["response_format"]["json_schema"]
    assert (told["strict"], told["schema"]) == (strict, schema | {"additionalProperties": False})
    assert sent(Kind.GENERATE, "anthropic", config)["output_config"]["format"]["schema"] == told["schema"]


OFF: Json = {"type": "adaptive", "display": "omitted"}


@pytest.mark.parametrize(
    ("asked", "model", "thinking", "effort"),
    [
        ({"thinkingBudget": 9000}, "claude-haiku-4-5", {"type": "enabled", "budget_tokens": 9000, "display": "omitted"}, "medium"),
        ({"thinking_budget": 4000, "include_thoughts": True}, "claude-haiku-4-5", {"type": "enabled", "budget_tokens": 4000, "display": "summarized"}, "low"),
        ({"thinkingBudget": 9000}, "claude-opus-5", OFF, "medium"),
        ({"thinkingBudget": -1}, "claude-opus-5", OFF, "high"),
        ({"thinkingLevel": "MEDIUM", "includeThoughts": True}, "claude-opus-5", {"type": "adaptive", "display": "summarized"}, "medium"),
        ({"thinkingBudget": 0}, "claude-haiku-4-5", None, None),
        ({"includeThoughts": True}, "claude-opus-5", {"type": "adaptive", "display": "summarized"}, None),
        ({"includeThoughts": True}, "claude-haiku-4-5", None, None),
        ({"includeThoughts": False}, "claude-opus-5", None, None),
    ],
)  # fmt: skip
def test_how_much_it_thinks(asked: Json, model: str, thinking: Json | None, effort: str | None) -> None:
    """Later models of Anthropic refuse to be told tokens."""
    config = configured(thinkingConfig=asked)
    told = sent(Kind.GENERATE, "anthropic", config, model)
    assert told.get("thinking") == thinking
    adaptive = thinking is not None and thinking["type"] == "adaptive"
    assert told.get("output_config") == ({"effort": effort} if adaptive and effort else None)
    assert sent(Kind.GENERATE, "openai", config).get("reasoning_effort") == effort


@pytest.mark.parametrize(
    ("budget", "limit", "sent_budget"),
    [(8192, 2000, 1999), (512, 2000, 1024), (512, None, 1024), (2000, 2000, 1999), (10**7, None, 63_999)],
)
def test_a_number_of_tokens_becomes_one_that_claude_takes(budget: int, limit: int | None, sent_budget: int) -> None:
    """At least 1,024 and fewer than the answer may have."""
    config = configured(maxOutputTokens=limit, thinkingConfig={"thinkingBudget": budget})
    body = sent(Kind.GENERATE, "anthropic", config, "claude-haiku-4-5")
    assert body["thinking"]["budget_tokens"] == sent_budget < body["max_tokens"]


@pytest.mark.parametrize(
    ("config", "param"),
    [
        ({"maxOutputTokens": 1000, "thinkingConfig": {"thinkingBudget": 8192}}, "generationConfig.thinkingConfig"),
        ({"thinkingConfig": {"thinkingBudget": -7}}, "generationConfig.thinkingConfig.thinkingBudget"),
        ({"thinkingConfig": {"thinkingBudget": "1e99"}}, "generationConfig.thinkingConfig.thinkingBudget"),
        ({"topK": 1e30}, "generationConfig.topK"),
        ({"maxOutputTokens": 2**54}, "generationConfig.maxOutputTokens"),
    ],
)
def test_numbers_that_nobody_takes_are_refused_by_name(config: Json, param: str) -> None:
    with pytest.raises(BadBody) as refused:
        sent(Kind.GENERATE, "anthropic", configured(**config), "claude-haiku-4-5")
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"type": "OBJECT", "nullable": True, "anyOf": [{"type": "STRING"}]}, {"type": ["object", "null"], "anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"nullable": True, "anyOf": [{"type": "STRING"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"nullable": True, "enum": ["a"]}, {"enum": ["a", None]}),
        ({"nullable": False}, {}),
        ({"nullable": True, "description": "x"}, "nullable"),
        ({"type": "INTEGER", "enum": ["1"]}, "enum"),
    ],
)  # fmt: skip
def test_what_of_a_schema_has_a_counterpart(schema: Json, found: Json | str) -> None:
    config = configured(responseMimeType="application/json", responseSchema=schema)
    if isinstance(found, str):
        with pytest.raises(BadBody) as refused:
            sent(Kind.GENERATE, "anthropic", config)
        assert refused.value.param == f"generationConfig.responseSchema.{found}"
    else:
        assert sent(Kind.GENERATE, "anthropic", config)["output_config"]["format"]["schema"] == found


@pytest.mark.parametrize("required", [[[1]], 5, [{}]])
def test_a_schema_that_is_wrong_is_told_by_its_provider(required: Any) -> None:
    schema = {"type": "object", "properties": {}, "required": required}
    config = configured(responseMimeType="application/json", responseJsonSchema=schema)
    told = sent(Kind.GENERATE, "openai", config)["response_format"]["json_schema"]
    assert told["schema"]["required"] == required


@pytest.mark.parametrize("streamed", [False, True])
def test_thoughts_go_back_with_what_their_provider_wants(streamed: bool) -> None:
    """As they were told, whole or in pieces, with an SDK's spelling of base64; and as others keep them: the signature alone."""
    thoughts: list[Json] = (
        [{"text": "h", "thought": True}, {"text": "m", "thought": True}]
        if streamed
        else [{"text": "hm", "thought": True}]
    )
    signed: list[Json] = [
        {"thought": True, "thoughtSignature": signature("signed:s>?")},
        {"text": "Well.", "thoughtSignature": signature("redacted:d")},
    ]
    contents = (
        [said(part, role="model") for part in (*thoughts, *signed)]
        if streamed
        else [said(*thoughts, *signed, role="model")]
    )
    body = sent(
        Kind.GENERATE, "anthropic", asking(said({"text": "?"}), *contents, said({"text": "?"})), "claude-opus-5"
    )
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "s>?"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "text", "text": "Well."},
    ]
    body = sent(
        Kind.GENERATE,
        "anthropic",
        asking(said({"text": "?"}), said(signed[0], role="model"), said({"text": "?"})),
        "claude-opus-5",
    )
    assert body["messages"][1]["content"] == [{"type": "thinking", "thinking": "", "signature": "s>?"}]


@pytest.mark.parametrize(
    ("translation", "query", "name"),
    [
        (TO_GPT, "alt=sse&key=x", None),
        (TO_GPT, "$alt=json", None),
        (TO_GPT, "alt=media", "alt"),
        (TO_GPT, "fields=candidates", "fields"),
        (way(Kind.GENERATE, "openai"), "alt=json", None),
        (way(Kind.GENERATE, "openai"), "alt=sse", "alt"),
        (way(Kind.MESSAGES, "openai"), "alt=sse", "alt"),
    ],
)  # fmt: skip
def test_parameters_that_cannot_be_said(translation: Any, query: str, name: str | None) -> None:
    assert translation.untold(query) == name


def test_both_spellings_at_once_are_refused() -> None:
    with pytest.raises(BadBody, match="both of its spellings"):
        sent(Kind.GENERATE, "openai", configured(topP=1, top_p=1))


def test_a_result_without_a_call_is_refused() -> None:
    with pytest.raises(BadBody, match="result of no call"):
        sent(Kind.GENERATE, "openai", asking(said({"functionResponse": {"name": "f", "response": {}}})), "gpt-5")


def test_an_id_that_is_made_up_is_no_other_calls() -> None:
    called = said(
        {"functionCall": {"name": "f", "id": "call_2"}},
        *({"functionCall": {"name": name}} for name in "gh"),
        {"function_call": {"name": "i", "id": "call_1"}},
        role="model",
    )
    returned = said(*({"functionResponse": {"name": name, "response": {"output": name}}} for name in "fghi"))
    messages = sent(Kind.GENERATE, "openai", asking(called, returned), "gpt-5")["messages"]
    ids = ["call_2", "call_3", "call_4", "call_1"]
    assert [each["id"] for each in messages[0]["tool_calls"]] == ids
    assert [(each["tool_call_id"], each["content"]) for each in messages[1:]] == list(zip(ids, "fghi", strict=True))


def test_a_result_of_an_unknown_call_is_refused_by_its_place() -> None:
    called = said({"functionCall": {"name": "f", "id": "a"}}, role="model")
    returned = said({"functionResponse": {"name": "f", "id": "b", "response": {}}})
    with pytest.raises(BadBody, match="no call with this id") as refused:
        sent(Kind.GENERATE, "openai", asking(called, returned), "gpt-5")
    assert refused.value.param == "contents.1.parts.0.functionResponse"


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: Any = {"type": "OBJECT"}
    args: Any = {}
    for _ in range(600):
        deep, args = {"items": deep}, {"a": args}
    answer = configured(responseMimeType="application/json", responseJsonSchema=deep)
    called = asking(said({"functionCall": {"name": "f", "args": args}}, role="model"), said({"text": "?"}))
    returned = asking(
        said({"functionCall": {"name": "f"}}, role="model"), said({"functionResponse": {"name": "f", "response": args}})
    )
    tool = GENERATE | {"tools": [{"functionDeclarations": [{"name": "f", "parameters": deep}]}]}
    for document in (answer, called, returned, tool):
        with pytest.raises(BadBody, match="nested too deeply"):
            sent(Kind.GENERATE, "openai", document, "gpt-5")
