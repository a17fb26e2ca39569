"""Chat completions of OpenAI's dialect, as they go to a provider: from a conversation to a body.

They go to OpenAI, and to Gemini at its compatible endpoint. What only one of them has is told by `Speaker`.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import orjson

from proxyd.translation.conversation import (
    Conversation,
    File,
    Image,
    Part,
    RedactedThinking,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from proxyd.translation.fields import refusal

# Before the signature of a thought of Gemini's where clients of another dialect keep it: nobody else could use it.
GEMINI_SIGNATURE = "gemini:"
FAILED = "Error: "  # before the text of a tool's result that failed; the dialect has no field for it
MAX_USER_CHARACTERS = 64  # of an identifier
SCHEMA_NAME = "answer"  # the dialect wants one

Json = dict[str, Any]


def write(
    conversation: Conversation, provider: str, limit_name: str = "max_completion_tokens", *, asks_usage: bool = True
) -> Json:
    """The body for one of the providers that speak this dialect. Raises BadBody for what it cannot say."""
    if conversation.top_k is not None:
        raise refusal("top_k")
    messages: list[Json] = []
    if conversation.system:
        messages.append({"role": "system", "content": _texts(conversation.system)})
    for turn in conversation.turns:
        messages += _user(turn) if turn.role == "user" else [_assistant(turn, provider)]
    body: Json = {"model": conversation.model, "messages": messages}
    plain: Json = {
        limit_name: conversation.max_tokens,
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "parallel_tool_calls": conversation.parallel_calls,
        "stop": list(conversation.stop) or None,
        "service_tier": "default" if conversation.standard_tier and provider == "openai" else None,
        "reasoning_effort": None if conversation.reasoning is None else conversation.reasoning.effort,
        "tool_choice": None if conversation.tool_choice is None else _choice(conversation.tool_choice),
    }
    body |= {name: value for name, value in plain.items() if value is not None}
    if conversation.user is not None:
        body["safety_identifier" if provider == "openai" else "user"] = _short(conversation.user)
    if conversation.tools:
        body["tools"] = [_tool(tool) for tool in conversation.tools]
    if conversation.schema is not None:
        described = {"name": SCHEMA_NAME, "schema": conversation.schema.schema, "strict": conversation.schema.strict}
        body["response_format"] = {"type": "json_schema", "json_schema": described}
    if conversation.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}} if asks_usage else {"stream": True}
    return body


def _short(user: str) -> str:
    """An identifier as it is, or a digest of one that is longer than the dialect allows."""
    return user if len(user) <= MAX_USER_CHARACTERS else hashlib.sha256(user.encode()).hexdigest()


def _texts(texts: tuple[Text, ...]) -> str | list[Json]:
    return texts[0].text if len(texts) == 1 else [{"type": "text", "text": text.text} for text in texts]


def _user(turn: Turn) -> Iterator[Json]:
    """Results of tools, a message each, and one for all that follows them."""
    rest: list[Part] = []
    for part in turn.parts:
        if not isinstance(part, ToolResult):
            rest.append(part)
            continue
        if rest:
            raise refusal(part.place, "stands behind other content; results of tools have to come first")
        yield {"role": "tool", "tool_call_id": part.call_id, "content": _result(part)}
    texts = tuple(part for part in rest if isinstance(part, Text))
    if rest or not turn.parts:
        yield {"role": "user", "content": _texts(texts) if len(texts) == len(rest) else [_part(part) for part in rest]}


def _result(result: ToolResult) -> str | list[Json]:
    for part in result.content:
        if not isinstance(part, Text):
            raise refusal(part.place, "is an image in a tool's result, which has to be text there")
    texts = tuple(part for part in result.content if isinstance(part, Text))
    if result.failed:
        first = texts[0].text if texts else ""
        texts = (Text(FAILED + first), *texts[1:])
    return _texts(texts) if texts else ""


def _part(part: Part) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        url = part.data if part.media_type is None else f"data:{part.media_type};base64,{part.data}"
        return {"type": "image_url", "image_url": {"url": url}}
    assert isinstance(part, File)  # noqa: S101 - readers let users say nothing else
    return {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{part.data}", **_named(part)}}


def _named(file: File) -> Json:
    return {} if file.name is None else {"filename": file.name}


def _assistant(turn: Turn, provider: str) -> Json:
    texts: list[Text] = []
    calls: list[Json] = []
    signature: str | None = None  # of a thought, for the call behind it
    thought = ""
    for part in turn.parts:
        if isinstance(part, Thinking) and provider == "gemini" and (part.signature or "").startswith(GEMINI_SIGNATURE):
            signature, thought = (part.signature or "").removeprefix(GEMINI_SIGNATURE), part.place
        elif isinstance(part, Thinking | RedactedThinking):
            raise refusal(part.place, "is what a model of another provider thought, and means nothing to this one")
        elif isinstance(part, ToolCall):
            calls.append(_call(part, signature))
            signature = None
        elif calls:
            raise refusal(part.place, "stands behind a tool call; text has to come first")
        else:
            assert isinstance(part, Text)  # noqa: S101 - readers let assistants say nothing else
            texts.append(part)
    if signature is not None:
        raise refusal(thought, "stands before no tool call, where alone a signature is of use")
    message: Json = {"role": "assistant", "content": _texts(tuple(texts)) if texts else None}
    return message | ({"tool_calls": calls} if calls else {})


def _call(call: ToolCall, signature: str | None) -> Json:
    function = {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()}
    signed = {} if signature is None else {"extra_content": {"google": {"thought_signature": signature}}}
    return {"id": call.id, "type": "function", "function": function, **signed}


def _tool(tool: Tool) -> Json:
    told = {"description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    function = {"name": tool.name, **{name: value for name, value in told.items() if value is not None}}
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice) -> str | Json:
    if choice.mode == "named":
        return {"type": "function", "function": {"name": choice.name}}
    return "required" if choice.mode == "any" else choice.mode
