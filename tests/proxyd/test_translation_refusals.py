"""What cannot be said to a model of another provider is refused by the name of its field, and nothing is dropped."""

from typing import Any, get_type_hints

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from google.genai.types import GenerationConfigDict
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from translation_kit import CHAT, DOCUMENTS, PNG, Json, sent, told, way

from proxyd.providers import BadBody
from shared.catalog import Kind


def block(kind: str, **more: object) -> Json:
    return {"messages": [{"role": "user", "content": [{"type": kind, **more}]}]}


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
IMAGE = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}


def generating(**part: object) -> Json:
    return {"contents": [{"parts": [part]}]}


def declared(**more: object) -> Json:
    return {"tools": [{"functionDeclarations": [{"name": "f", **more}]}]}


JSON = "application/json"
# What both of the others have no equal for in Gemini's dialect, by the spelling that was written.
GENERATING: list[tuple[Json, str]] = [
    ({"cachedContent": "cachedContents/x"}, "cachedContent"),
    ({"labels": {"a": "b"}}, "labels"),
    ({"serviceTier": "flex"}, "serviceTier"),
    ({"safety_settings": [{"category": "c", "threshold": "BLOCK_ONLY_HIGH"}]}, "safety_settings.0.threshold"),
    ({"generationConfig": {"candidateCount": 2}}, "generationConfig.candidateCount"),
    ({"generationConfig": {"seed": 1}}, "generationConfig.seed"),
    ({"generationConfig": {"logprobs": 2}}, "generationConfig.logprobs"),
    ({"generation_config": {"response_logprobs": True}}, "generation_config.response_logprobs"),
    ({"generationConfig": {"presencePenalty": 0.5}}, "generationConfig.presencePenalty"),
    ({"generationConfig": {"responseModalities": ["IMAGE"]}}, "generationConfig.responseModalities"),
    ({"generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"}}, "generationConfig.mediaResolution"),
    ({"generationConfig": {"responseMimeType": JSON}}, "generationConfig.responseMimeType"),
    ({"generationConfig": {"responseMimeType": "text/x.enum"}}, "generationConfig.responseMimeType"),
    ({"generationConfig": {"responseSchema": {"type": "STRING"}}}, "generationConfig.responseSchema"),
    ({"generationConfig": {"responseMimeType": JSON, "responseSchema": {"type": "X"}}}, "generationConfig.responseSchema.type"),
    ({"generationConfig": {"responseMimeType": JSON, "responseSchema": {"items": {"oneOf": []}}}}, "generationConfig.responseSchema.items.oneOf"),
    ({"generationConfig": {"responseMimeType": JSON, "responseSchema": {}, "responseJsonSchema": {}}}, "generationConfig.responseJsonSchema"),
    ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 9, "thinkingLevel": "LOW"}}}, "generationConfig.thinkingConfig.thinkingLevel"),
    ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "EXTREME"}}}, "generationConfig.thinkingConfig.thinkingLevel"),
    ({"tools": [{"googleSearch": {}}]}, "tools.0.googleSearch"),
    ({"tools": {"code_execution": {}}}, "tools.0.code_execution"),
    (declared(behavior="NON_BLOCKING"), "tools.0.functionDeclarations.0.behavior"),
    (declared(parameters={}, parametersJsonSchema={}), "tools.0.functionDeclarations.0.parameters"),
    ({"toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}}}, "toolConfig.functionCallingConfig.mode"),
    ({"toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}}}, "toolConfig.functionCallingConfig.allowedFunctionNames"),
    ({"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}}, "toolConfig.functionCallingConfig"),
    ({"toolConfig": {"retrievalConfig": {}}}, "toolConfig.retrievalConfig"),
    ({"systemInstruction": {"parts": [{"inlineData": {}}]}}, "systemInstruction.parts.0.text"),
    (generating(fileData={"fileUri": "https://example.com/a.png"}), "contents.0.parts.0.fileData"),
    (generating(inlineData={"mimeType": "audio/wav", "data": "x"}), "contents.0.parts.0"),
    (generating(text="x", videoMetadata={"fps": 1}), "contents.0.parts.0.videoMetadata"),
    (generating(executableCode={}), "contents.0.parts.0.executableCode"),
    (generating(), "contents.0.parts.0"),
    (generating(functionCall={"name": "f"}), "contents.0.parts.0.functionCall"),
    ({"contents": [{"role": "system", "parts": [{"text": "x"}]}]}, "contents.0.role"),
    ({"contents": [{"role": "model", "parts": [{"text": "The answer is"}]}]}, "contents.0.parts.0"),
    ({"contents": [{"role": "model", "parts": [{"text": "x", "thoughtSignature": "c2tpcA=="}]}]}, "contents.0.parts.0.thoughtSignature"),
]  # fmt: skip
BY_NAME: list[tuple[Kind, str, Json, str]] = [
    (Kind.MESSAGES, "openai", {"top_k": 4}, "top_k"),
    (Kind.MESSAGES, "openai", {"mcp_servers": [{}]}, "mcp_servers"),
    (Kind.MESSAGES, "openai", {"service_tier": "priority"}, "service_tier"),
    (Kind.MESSAGES, "openai", {"speed": "fast"}, "speed"),
    (Kind.MESSAGES, "openai", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0.type"),
    (Kind.MESSAGES, "openai", {"tools": [{"name": "f", "input_examples": [{}]}]}, "tools.0.input_examples"),
    (Kind.MESSAGES, "openai", told({"role": "system", "content": "x"}), "messages.1.role"),
    (Kind.MESSAGES, "openai", told({"role": "assistant", "content": [THOUGHT]}), "messages.1.content.0"),
    (Kind.MESSAGES, "gemini", told({"role": "assistant", "content": [THOUGHT, USE]}), "messages.1.content.0"),
    (Kind.MESSAGES, "openai", told({"role": "assistant", "content": [USE, {"type": "text", "text": "x"}]}), "messages.1.content.1"),
    (Kind.MESSAGES, "openai", block("tool_result", tool_use_id="t", content=[IMAGE]), "messages.0.content.0.content.0"),
    (Kind.MESSAGES, "openai", block("text", text="x", citations=[{}]), "messages.0.content.0.citations"),
    (Kind.MESSAGES, "openai", block("document", source={"type": "base64", "media_type": "application/pdf", "data": "x"}, citations={"enabled": True}), "messages.0.content.0.citations.enabled"),
    (Kind.MESSAGES, "openai", block("document", source={"type": "url", "url": "x"}), "messages.0.content.0.source"),
    (Kind.MESSAGES, "openai", block("image", source={"type": "file", "file_id": "x"}), "messages.0.content.0.source"),
    (Kind.MESSAGES, "openai", block("search_result"), "messages.0.content.0"),
    (Kind.MESSAGES, "openai", {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "tool_result", "tool_use_id": "t"}]}]}, "messages.0.content.1"),
    (Kind.MESSAGES, "openai", {"thinking": {"type": "between_tools"}}, "thinking"),
    (Kind.MESSAGES, "openai", told({"role": "assistant", "content": "The answer is"}), "messages.1.content"),
    (Kind.CHAT, "anthropic", told({"role": "assistant", "content": "The answer is"}), "messages.1.content"),
    (Kind.MESSAGES, "openai", {"output_config": {"task_budget": {}}}, "output_config.task_budget"),
    (Kind.CHAT, "anthropic", {"n": 2}, "n"),
    (Kind.CHAT, "anthropic", {"seed": 1}, "seed"),
    (Kind.CHAT, "anthropic", {"logprobs": True}, "logprobs"),
    (Kind.CHAT, "anthropic", {"temperature": 1.5}, "temperature"),
    (Kind.CHAT, "anthropic", {"response_format": {"type": "json_object"}}, "response_format"),
    (Kind.CHAT, "anthropic", {"service_tier": "flex"}, "service_tier"),
    (Kind.CHAT, "anthropic", {"max_tokens": 9, "max_completion_tokens": 8}, "max_tokens"),
    (Kind.CHAT, "anthropic", {"user": "a", "safety_identifier": "b"}, "user"),
    (Kind.RESPONSES, "gemini", {"user": "a", "safety_identifier": "b"}, "user"),
    (Kind.CHAT, "anthropic", {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "strict": False}}}, "response_format.json_schema.strict"),
    (Kind.RESPONSES, "anthropic", {"text": {"format": {"type": "json_schema", "name": "x", "schema": {}, "strict": False}}}, "text.format.strict"),
    (Kind.CHAT, "anthropic", {"reasoning_effort": "low", "thinking": {"type": "enabled", "budget_tokens": 9000}}, "reasoning_effort"),
    (Kind.CHAT, "anthropic", {"reasoning_effort": "low", "thinking": {"type": "disabled"}}, "reasoning_effort"),
    (Kind.CHAT, "anthropic", {"reasoning_effort": "none", "thinking": {"type": "adaptive"}}, "reasoning_effort"),
    (Kind.CHAT, "anthropic", {"thinking": {"type": "adaptive", "display": "full"}}, "thinking.display"),
    (Kind.CHAT, "anthropic", {"functions": [{}]}, "functions"),
    (Kind.CHAT, "anthropic", {"tools": [{"type": "custom", "custom": {}}]}, "tools.0.type"),
    (Kind.CHAT, "anthropic", {"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "tool_choice.type"),
    (Kind.CHAT, "anthropic", {"reasoning_effort": "high", "max_tokens": 1000, "model": "claude-haiku-4-5"}, "reasoning_effort"),
    (Kind.CHAT, "anthropic", block("input_audio", input_audio={}), "messages.0.content.0"),
    (Kind.CHAT, "anthropic", block("image_url", image_url={"url": PNG, "detail": "high"}), "messages.0.content.0.image_url.detail"),
    (Kind.CHAT, "anthropic", block("file", file={"file_id": "x"}), "messages.0.content.0"),
    (Kind.CHAT, "anthropic", told({"role": "assistant", "content": "x", "reasoning_content": "hm"}), "messages.1.reasoning_content"),
    (Kind.CHAT, "anthropic", told({"role": "user", "name": "Bob", "content": "x"}), "messages.1.name"),
    (Kind.CHAT, "anthropic", told({"role": "function", "name": "f", "content": "x"}), "messages.1.role"),
    (Kind.CHAT, "anthropic", told({"role": "assistant", "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{"}}]}), "messages.1.tool_calls.0.function.arguments"),
    (Kind.RESPONSES, "anthropic", {"store": True}, "store"),
    (Kind.RESPONSES, "anthropic", {"previous_response_id": "resp_1"}, "previous_response_id"),
    (Kind.RESPONSES, "anthropic", {"include": ["file_search_call.results"]}, "include"),
    (Kind.RESPONSES, "anthropic", {"tools": [{"type": "web_search"}]}, "tools.0.type"),
    (Kind.RESPONSES, "anthropic", {"input": [{"type": "item_reference", "id": "x"}]}, "input.0"),
    (Kind.RESPONSES, "gemini", {"text": {"verbosity": "low"}}, "text.verbosity"),
    *((Kind.GENERATE, provider, asked, param) for provider in ("openai", "anthropic") for asked, param in GENERATING),
    (Kind.GENERATE, "openai", {"generation_config": {"top_k": 3}}, "generationConfig.topK"),
    (Kind.GENERATE, "anthropic", {"generationConfig": {"temperature": 1.5}}, "generationConfig.temperature"),
    (Kind.RESPONSES, "gemini", {"input": [{"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "s"}]}, "input.0"),
]  # fmt: skip


@pytest.mark.parametrize(("caller", "provider", "asked", "param"), BY_NAME)
def test_what_cannot_be_said_is_refused_by_name(caller: Kind, provider: str, asked: Json, param: str) -> None:
    document = DOCUMENTS[caller] | asked
    with pytest.raises(BadBody) as refused:
        sent(caller, provider, document)
    assert refused.value.param == param
    assert param in refused.value.message


@pytest.mark.parametrize(
    ("caller", "provider", "params"),
    [
        (Kind.MESSAGES, "openai", MessageCreateParamsNonStreaming),
        (Kind.CHAT, "anthropic", CompletionCreateParamsNonStreaming),
        (Kind.RESPONSES, "anthropic", ResponseCreateParamsNonStreaming),
        (Kind.GENERATE, "anthropic", GenerationConfigDict),
    ],
)
def test_no_field_of_the_sdks_is_dropped_in_silence(caller: Kind, provider: str, params: type) -> None:
    """A value that nobody can mean is objected to by the name of its field, but for hints to a cache."""
    document, at = DOCUMENTS[caller], "generationConfig" if caller is Kind.GENERATE else ""
    hints = {"cache_control", "prompt_cache_key", "prompt_cache_retention"}
    names = set(get_type_hints(params)) - hints
    assert len(names) > 15
    for name in names:
        nonsense = {name: [{"?": "?"}]}
        with pytest.raises(BadBody) as refused:
            way(caller, provider).request(document | ({at: nonsense} if at else nonsense), "a-model")
        assert (refused.value.param or "").startswith(f"{at}.{name}" if at else name)


def test_what_stands_in_the_place_of_a_name_is_not_repeated() -> None:
    """It could be a key, and what is refused is written down."""
    secret = "sk-ant-0123456789"
    for document in (CHAT | {secret: 1}, told({"role": "user", "content": "x", secret: 1}) | {"model": "m"}):
        with pytest.raises(BadBody, match="a field cannot be said") as refused:
            sent(Kind.CHAT, "anthropic", document)
        assert secret not in f"{refused.value.message} {refused.value.param}"


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(BadBody, match="nested too deeply"):
        sent(
            Kind.CHAT,
            "anthropic",
            CHAT | {"tools": [{"type": "function", "function": {"name": "f", "parameters": deep}}]},
        )
