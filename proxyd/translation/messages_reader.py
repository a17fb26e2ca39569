"""Messages of Anthropic's dialect, as a client sends them: from a body to a conversation.

Sources: the Messages API reference of platform.claude.com and the types of the anthropic SDK 2.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from proxyd.providers import BadBody
from proxyd.translation.chat_reader import PDF
from proxyd.translation.conversation import (
    EFFORTS,
    Conversation,
    File,
    Image,
    Part,
    Reasoning,
    RedactedThinking,
    Role,
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
from proxyd.translation.reasoning import thinking_of


def read(document: Mapping[str, Any]) -> Conversation:
    """What a body asks for. Raises BadBody for what is wrong, and for what cannot be translated."""
    body = Fields(dict(document))
    body.hint("cache_control")
    body.only("speed", "standard")
    body.only("inference_geo", "global")
    tier = body.text("service_tier")
    if tier not in (None, "auto", "standard_only"):
        raise refusal("service_tier")
    choice, parallel = _choice(body)
    reasoning, schema = _output(body)
    conversation = Conversation(
        model=body.needed("model"),
        turns=turns_of(_said(body)),
        system=tuple(_system(body)),
        tools=tuple(_tool(tool) for tool in body.each("tools")),
        tool_choice=choice,
        parallel_calls=parallel,
        max_tokens=body.count("max_tokens"),
        stop=body.texts("stop_sequences"),
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        top_k=body.count("top_k"),
        reasoning=reasoning,
        schema=schema,
        user=_user(body),
        standard_tier=tier == "standard_only",
        stream=body.flag("stream") or False,
    )
    body.done()
    return conversation


def _system(body: Fields) -> Iterator[Text]:
    found = body.take("system")
    if found is not None:
        yield from _texts(found, "system")


def _texts(content: object, place: str) -> Iterator[Text]:
    """Text: a string, or blocks of it."""
    if isinstance(content, str):
        yield Text(content, place)
        return
    if not isinstance(content, list):
        raise BadBody(f"{place} must be a string or a list.", place)
    for position, value in enumerate(content):
        block = Fields(value, f"{place}.{position}")
        if block.needed("type") != "text":
            raise refusal(block.place)
        yield _text(block)


def _text(block: Fields) -> Text:
    block.hint("cache_control")
    block.only("citations", [])
    found = Text(block.needed("text"), block.place)
    block.done()
    return found


def _said(body: Fields) -> Iterator[Said]:
    for message in body.each("messages"):
        found = message.needed("role")
        if found not in ("user", "assistant"):
            raise refusal(message.at("role"))
        role: Role = "user" if found == "user" else "assistant"
        content, place = message.take("content"), message.at("content")
        message.done()
        if isinstance(content, str):
            yield role, (Text(content, place),)
        elif isinstance(content, list):
            blocks = (Fields(value, f"{place}.{position}") for position, value in enumerate(content))
            yield role, tuple(_block(block, role) for block in blocks)
        else:
            raise BadBody(f"{place} must be a string or a list.", place)


def _block(block: Fields, role: Role) -> Part:
    kind = block.needed("type")
    if kind == "text":
        return _text(block)
    block.hint("cache_control")
    found: Part
    if role == "user" and kind == "image":
        found = _image(block)
    elif role == "user" and kind == "document":
        found = _document(block)
    elif role == "user" and kind == "tool_result":
        found = _result(block)
    elif role == "assistant" and kind == "tool_use":
        block.only("caller", {"type": "direct"})
        arguments = block.mapping("input")
        found = ToolCall(block.needed("id"), block.needed("name"), arguments or {}, block.place)
    elif role == "assistant" and kind == "thinking":
        found = Thinking(block.text("thinking") or "", block.text("signature"), block.place)
    elif role == "assistant" and kind == "redacted_thinking":
        found = RedactedThinking(block.needed("data"), block.place)
    else:
        raise refusal(block.place)
    block.done()
    return found


def _source(block: Fields) -> Fields:
    source = block.part("source")
    if source is None:
        raise BadBody(f"{block.at('source')} is missing.", block.at("source"))
    return source


def _image(block: Fields) -> Image:
    source = _source(block)
    kind = source.needed("type")
    if kind == "base64":
        found = Image(source.needed("media_type"), source.needed("data"), block.place)
    elif kind == "url":
        found = Image(None, source.needed("url"), block.place)
    else:
        raise refusal(source.place)
    source.done()
    return found


def _document(block: Fields) -> File:
    citations = block.part("citations")
    if citations is not None:
        citations.only("enabled", False)
        citations.done()
    source = _source(block)
    if source.needed("type") != "base64":
        raise refusal(source.place)
    source.only("media_type", PDF)
    found = File(source.needed("data"), block.text("title"), block.place)
    source.done()
    return found


def _result(block: Fields) -> ToolResult:
    parts: list[Text | Image] = []
    content, place = block.take("content"), block.at("content")
    if isinstance(content, list):
        for position, value in enumerate(content):
            inner = Fields(value, f"{place}.{position}")
            kind = inner.needed("type")
            if kind == "text":
                parts.append(_text(inner))
                continue
            if kind != "image":
                raise refusal(inner.place)
            inner.hint("cache_control")
            parts.append(_image(inner))
            inner.done()
    elif content is not None:
        parts += _texts(content, place)
    return ToolResult(block.needed("tool_use_id"), tuple(parts), block.flag("is_error") or False, block.place)


def _tool(tool: Fields) -> Tool:
    if tool.text("type") not in (None, "custom"):
        raise refusal(tool.at("type"), "is a tool of Anthropic's own, which no other provider has")
    tool.hint("cache_control", "eager_input_streaming")
    tool.only("defer_loading", False)
    found = Tool(tool.needed("name"), tool.text("description"), tool.mapping("input_schema"), tool.flag("strict"))
    tool.done()
    return found


def _choice(body: Fields) -> tuple[ToolChoice | None, bool | None]:
    """Which tools may be called, and whether several at once."""
    choice = body.part("tool_choice")
    if choice is None:
        return None, None
    kind = choice.needed("type")
    single = choice.flag("disable_parallel_tool_use")
    if kind == "tool":
        found = ToolChoice("named", choice.needed("name"))
    elif kind == "auto":
        found = ToolChoice("auto")
    elif kind == "any":
        found = ToolChoice("any")
    elif kind == "none":
        found = ToolChoice("none")
    else:
        raise refusal(choice.at("type"))
    choice.done()
    return found, None if single is None else not single


def _output(body: Fields) -> tuple[Reasoning | None, Schema | None]:
    """How much it shall think, and what the answer has to look like."""
    thinking = body.part("thinking")
    reasoning = None if thinking is None else thinking_of(thinking)
    config = body.part("output_config")
    shape = body.part("output_format")
    if config is not None:
        effort = config.text("effort")
        if effort is not None and effort not in EFFORTS[1:]:
            raise refusal(config.at("effort"))
        if effort is not None:
            level = next(each for each in EFFORTS if each == effort)
            reasoning = Reasoning(level) if reasoning is None else replace(reasoning, effort=level)
        shape = config.part("format") or shape
        config.done()
    if shape is None:
        return reasoning, None
    schema = shape.mapping("schema")
    if shape.needed("type") != "json_schema" or schema is None:
        raise refusal(shape.place)
    shape.done()
    return reasoning, Schema(schema)


def _user(body: Fields) -> str | None:
    metadata = body.part("metadata")
    if metadata is None:
        return None
    found = metadata.text("user_id")
    metadata.done()
    return found
