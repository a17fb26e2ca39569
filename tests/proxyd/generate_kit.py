"""Gemini's dialect as its callers write and read it, for what is translated from it and into it."""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from proxyd.translation import generate_contents
from proxyd.translation.answer import Answer, AnswerPart, Finish, Tokens
from proxyd.translation.conversation import (
    Conversation,
    File,
    Image,
    Part,
    RedactedThinking,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    turns_of,
)
from proxyd.translation.proto_fields import ProtoFields

Json = dict[str, Any]
_FINISHES: dict[str, Finish] = {"STOP": "end", "MAX_TOKENS": "length", "SAFETY": "refused"}


def sayable(conversation: Conversation) -> Conversation:
    """What of a conversation this dialect can say."""
    choice = conversation.tool_choice
    return replace(
        conversation,
        model="",
        turns=turns_of((turn.role, turn.parts) for turn in _turns(conversation.turns)),
        tools=tuple(replace(tool, strict=None) for tool in conversation.tools),
        tool_choice=None if choice is not None and choice.mode == "named" else choice,
        parallel_calls=None,
        reasoning=None,
        user=None,
        stream=False,
    )


def _turns(turns: tuple[Turn, ...]) -> Iterator[Turn]:
    """Where what was no call's result is one of a call that is made before."""
    calls: list[ToolCall] = []
    for turn in turns:
        results = [part for part in turn.parts if isinstance(part, ToolResult)]
        unmade = {part.call_id: ToolCall(part.call_id, "f", {}) for part in results}
        for call in calls:
            unmade.pop(call.id, None)
        if unmade:
            yield Turn("assistant", tuple(unmade.values()))
        calls += [*unmade.values(), *(part for part in turn.parts if isinstance(part, ToolCall))]
        yield Turn(turn.role, tuple(map(_sayable, turn.parts)))


def _sayable(part: Part) -> Part:
    if isinstance(part, Image):
        return Image("image/png", "aGVsbG8=")
    return replace(part, content=part.content[:1]) if isinstance(part, ToolResult) else part


def written(conversation: Conversation) -> Json:
    """The body that asks for it."""
    config: Json = {
        "maxOutputTokens": conversation.max_tokens,
        "temperature": conversation.temperature,
        "topP": conversation.top_p,
        "stopSequences": list(conversation.stop),
    }
    if conversation.schema is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": conversation.schema.schema}
    declared = [
        {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}
        for tool in conversation.tools
    ]
    choice = conversation.tool_choice
    mode = None if choice is None else {"functionCallingConfig": {"mode": choice.mode.upper()}}
    return {
        "contents": [
            {"role": "user" if turn.role == "user" else "model", "parts": [_written(part) for part in turn.parts]}
            for turn in conversation.turns
        ],
        "systemInstruction": {"parts": [{"text": text.text} for text in conversation.system]},
        "tools": [{"functionDeclarations": declared}] if declared else [],
        "toolConfig": mode,
        "generationConfig": config,
        "serviceTier": "SERVICE_TIER_STANDARD" if conversation.standard_tier else None,
    }


def _written(part: Part) -> Json:
    if isinstance(part, Text):
        return {"text": part.text}
    if isinstance(part, Image):
        return {"inlineData": {"mimeType": part.media_type, "data": part.data}}
    if isinstance(part, File):
        return {"inlineData": {"mimeType": "application/pdf", "data": part.data, "displayName": part.name}}
    if isinstance(part, ToolCall):
        return {"functionCall": {"id": part.id, "name": part.name, "args": part.arguments}}
    assert isinstance(part, ToolResult)
    (text,) = part.content
    assert isinstance(text, Text)
    return {"functionResponse": {"id": part.call_id, "name": "f", "response": {"output": text.text}}}


def snake(value: Any) -> Any:
    """The same in the other spelling, but for what is an app's own."""
    if isinstance(value, list):
        return [snake(each) for each in value]
    if not isinstance(value, dict):
        return value
    own = ("args", "response", "parametersJsonSchema", "responseJsonSchema", "properties")
    return {
        "".join(f"_{c.lower()}" if c.isupper() else c for c in name): each if name in own else snake(each)
        for name, each in value.items()
    }


def signature(text: str) -> str:
    """As it stands in a body."""
    return base64.urlsafe_b64encode(text.encode()).decode()


def assembled_chunks(chunks: Iterable[Json]) -> Answer:
    """The answer that these chunks are, by what a caller keeps of them and gives back in the next turn."""
    *_, last = told = list(chunks)
    parts = [part for chunk in told for part in chunk["candidates"][0]["content"]["parts"]]
    (turn,) = generate_contents.turns_in(ProtoFields({"contents": [{"role": "model", "parts": parts}]}))
    found: list[AnswerPart] = []
    for part in turn.parts:
        assert isinstance(part, Text | Thinking | RedactedThinking | ToolCall)
        before = found[-1] if found else None
        if isinstance(part, Text) and isinstance(before, Text):
            found[-1] = Text(before.text + part.text)
        else:
            found.append(part)
    finish = _FINISHES[last["candidates"][0]["finishReason"]]
    if finish == "end" and any(isinstance(part, ToolCall) for part in found):
        finish = "tools"
    return Answer(last["responseId"], last["modelVersion"], tuple(found), finish, None, _tokens(last["usageMetadata"]))


def _tokens(usage: Json) -> Tokens:
    thinking = usage.get("thoughtsTokenCount", 0)
    output = usage["candidatesTokenCount"] + thinking
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + output
    return Tokens(usage["promptTokenCount"], output, usage.get("cachedContentTokenCount", 0), 0, thinking)
