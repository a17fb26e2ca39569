"""Responses of OpenAI's dialect, as a client sends them: from a body to a conversation.

Only what says all of it in one request: no provider but OpenAI keeps responses, conversations or prompts to go on from.
Sources: the API reference of developers.openai.com and the types of the openai SDK 3.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from proxyd.providers import BadBody
from proxyd.translation.answer import Unreadable, arguments_of
from proxyd.translation.chat_reader import PDF, image_at, in_data, schema_in
from proxyd.translation.conversation import (
    EFFORTS,
    Conversation,
    File,
    Image,
    Part,
    Reasoning,
    RedactedThinking,
    Said,
    Schema,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    turns_of,
)
from proxyd.translation.fields import Fields, refusal

REDACTED = "redacted:"  # before thoughts that only their provider can read, where others have their signature


def read(document: Mapping[str, Any]) -> Conversation:
    """What a body asks for. Raises BadBody for what is wrong, and for what cannot be translated."""
    body = Fields(dict(document))
    for name in ("store", "background"):
        body.only(name, False)
    body.only("truncation", "disabled")
    body.only("include", [], ["reasoning.encrypted_content"])
    body.only("metadata", {})
    body.hint("prompt_cache_key", "prompt_cache_retention")
    options = body.part("stream_options")
    if options is not None:
        options.only("include_obfuscation", False)
        options.done()
    tier = body.text("service_tier")
    if tier not in (None, "auto", "default"):
        raise refusal("service_tier")
    instructions = body.text("instructions")
    system = [] if instructions is None else [Text(instructions, "instructions")]
    newer, older = body.text("safety_identifier"), body.text("user")
    conversation = Conversation(
        model=body.needed("model"),
        turns=turns_of(_said(body, system)),
        system=tuple(system),
        tools=tuple(_tool(tool) for tool in body.each("tools")),
        tool_choice=_choice(body),
        parallel_calls=body.flag("parallel_tool_calls"),
        max_tokens=body.count("max_output_tokens"),
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        reasoning=_reasoning(body),
        schema=_schema(body),
        user=older if newer is None else newer,
        standard_tier=tier == "default",
        stream=body.flag("stream") or False,
    )
    body.done()
    return conversation


def _said(body: Fields, system: list[Text]) -> Iterator[Said]:
    """The turns; what the system says goes to `system`, wherever it stands."""
    given = body.take("input")
    if isinstance(given, str):
        yield "user", (Text(given, "input"),)
        return
    if not isinstance(given, list):
        raise BadBody("input must be a string or a list.", "input")
    for position, value in enumerate(given):
        item = Fields(value, f"input.{position}")
        kind = item.text("type") or "message"
        item.hint("id", "status")
        if kind == "message":
            yield from _message(item, system)
        elif kind == "function_call":
            yield "assistant", (_call(item),)
        elif kind == "function_call_output":
            yield "user", (_result(item),)
        elif kind == "reasoning":
            yield "assistant", (_thought(item),)
        else:
            raise refusal(item.place)
        item.done()


def _message(item: Fields, system: list[Text]) -> Iterator[Said]:
    role = item.needed("role")
    parts = tuple(_content(item, "content"))
    if role in ("system", "developer"):
        for part in parts:
            if not isinstance(part, Text):
                raise refusal(part.place)
            system.append(part)
    elif role == "user":
        yield "user", parts
    elif role == "assistant":
        for part in parts:
            if not isinstance(part, Text):
                raise refusal(part.place)
        yield "assistant", parts
    else:
        raise refusal(item.at("role"))


def _content(item: Fields, name: str) -> Iterator[Text | Image | File]:
    content, place = item.take(name), item.at(name)
    if isinstance(content, str):
        yield Text(content, place)
        return
    if not isinstance(content, list):
        raise BadBody(f"{place} must be a string or a list.", place)
    for position, value in enumerate(content):
        part = Fields(value, f"{place}.{position}")
        kind = part.needed("type")
        if kind in ("input_text", "output_text"):
            part.only("annotations", [])
            part.only("logprobs", [])
            yield Text(part.needed("text"), part.place)
        elif kind == "refusal":
            yield Text(part.needed("refusal"), part.place)
        elif kind == "input_image":
            part.only("detail", "auto")
            yield image_at(part.needed("image_url"), part.place)
        elif kind == "input_file":
            media_type, data = in_data(part.text("file_data") or "")
            if media_type != PDF:
                raise refusal(part.place, "is no PDF in base64, and nothing else can be translated")
            yield File(data, part.text("filename"), part.place)
        else:
            raise refusal(part.place)
        part.done()


def _call(item: Fields) -> ToolCall:
    place = item.at("arguments")
    try:
        arguments = arguments_of(item.needed("arguments"))
    except Unreadable:
        raise BadBody(f"{place} is no JSON object.", place) from None
    return ToolCall(item.needed("call_id"), item.needed("name"), arguments, item.place)


def _result(item: Fields) -> ToolResult:
    call_id = item.needed("call_id")
    parts: list[Text | Image] = []
    for part in _content(item, "output"):
        if isinstance(part, File):
            raise refusal(part.place)
        parts.append(part)
    return ToolResult(call_id, tuple(parts), place=item.place)


def _thought(item: Fields) -> Part:
    """What a model thought, with what its provider knows it by."""
    item.only("content", [])
    texts = []
    for part in item.each("summary"):
        part.only("type", "summary_text")
        texts.append(part.needed("text"))
        part.done()
    kept = item.text("encrypted_content")
    if kept is not None and kept.startswith(REDACTED):
        return RedactedThinking(kept.removeprefix(REDACTED), item.place)
    return Thinking("".join(texts), kept, item.place)


def _tool(tool: Fields) -> Tool:
    if tool.needed("type") != "function":
        raise refusal(tool.at("type"), "is a tool of OpenAI's own, which no other provider has")
    found = Tool(tool.needed("name"), tool.text("description"), tool.mapping("parameters"), tool.flag("strict"))
    tool.done()
    return found


def _choice(body: Fields) -> ToolChoice | None:
    place, value = body.at("tool_choice"), body.take("tool_choice")
    if value is None or value == "auto":
        return None if value is None else ToolChoice("auto")
    if value == "none":
        return ToolChoice("none")
    if value == "required":
        return ToolChoice("any")
    choice = Fields(value, place)
    choice.only("type", "function")
    found = ToolChoice("named", choice.needed("name"))
    choice.done()
    return found


def _reasoning(body: Fields) -> Reasoning | None:
    reasoning = body.part("reasoning")
    if reasoning is None:
        return None
    effort = reasoning.text("effort")
    reasoning.only("summary", "auto", "concise", "detailed")
    reasoning.done()
    if effort is None or effort == "none":
        return None
    if effort not in EFFORTS:
        raise BadBody("reasoning.effort is none of its levels.", "reasoning.effort")
    return Reasoning(next(each for each in EFFORTS if each == effort))


def _schema(body: Fields) -> Schema | None:
    config = body.part("text")
    shape = None if config is None else config.part("format")
    if config is not None:
        config.done()
    if shape is None:
        return None
    kind = shape.needed("type")
    if kind == "text":
        shape.done()
        return None
    if kind != "json_schema":
        raise refusal(shape.place)
    return schema_in(shape)
