"""Chat completions of OpenAI's dialect, as a client sends them: from a body to a conversation.

Sources: the API reference of developers.openai.com and the types of the openai SDK 3. Beyond these, the names that
routers and SDKs agree on for thoughts (`reasoning_content`, `thinking_blocks`) and Anthropic's `thinking`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from proxyd.providers import BadBody
from proxyd.translation.answer import Unreadable, arguments_of
from proxyd.translation.conversation import (
    Conversation,
    File,
    Image,
    Part,
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
from proxyd.translation.reasoning import reasoning_of

PDF = "application/pdf"
_BASE64 = ";base64"


def read(document: Mapping[str, Any]) -> Conversation:
    """What a body asks for. Raises BadBody for what is wrong, and for what cannot be translated."""
    body = Fields(dict(document))
    system: list[Text] = []
    turns = turns_of(_said(body, system))
    _refuse_what_has_no_equal(body)
    options = body.part("stream_options")
    if options is not None:
        options.flag("include_usage")  # as the caller's own reader found out
        options.only("include_obfuscation", False)
        options.done()
    stop = body.take("stop")
    tools = tuple(_tool(each) for each in body.each("tools"))
    tier = body.text("service_tier")
    if tier not in (None, "auto", "default"):
        raise refusal("service_tier")
    conversation = Conversation(
        model=body.needed("model"),
        turns=turns,
        system=tuple(system),
        tools=tools,
        tool_choice=_choice(body),
        parallel_calls=body.flag("parallel_tool_calls"),
        max_tokens=_limit(body),
        stop=_stop(stop),
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        top_k=None,
        reasoning=reasoning_of(body),
        schema=_schema(body),
        user=user_of(body),
        standard_tier=tier == "default",
        stream=body.flag("stream") or False,
    )
    body.done()
    return conversation


def _refuse_what_has_no_equal(body: Fields) -> None:
    body.only("n", 1)
    for name in ("frequency_penalty", "presence_penalty"):
        body.only(name, 0, 0.0)
    for name in ("logprobs", "store"):
        body.only(name, False)
    body.only("modalities", ["text"])
    body.only("logit_bias", {})
    body.only("metadata", {})
    body.hint("prompt_cache_key", "prompt_cache_retention")


def _said(body: Fields, system: list[Text]) -> Iterator[Said]:
    """The turns; what the system says goes to `system`, wherever it stands."""
    for message in body.each("messages"):
        role = message.needed("role")
        if role in ("system", "developer"):
            system += texts_of(message, "content")
        elif role == "user":
            yield "user", tuple(_content(message))
        elif role == "assistant":
            yield "assistant", tuple(_assistant(message))
        elif role == "tool":
            yield "user", (ToolResult(message.needed("tool_call_id"), tuple(texts_of(message, "content"))),)
        else:
            raise refusal(message.at("role"))
        message.done()


def texts_of(message: Fields, name: str) -> Iterator[Text]:
    """A content that is text: a string, or parts of it."""
    content = message.take(name)
    if isinstance(content, str):
        yield Text(content, message.at(name))
        return
    for position, value in enumerate(content if isinstance(content, list) else []):
        part = Fields(value, f"{message.at(name)}.{position}")
        part.only("type", "text")
        yield Text(part.needed("text"), part.place)
        part.done()
    if not isinstance(content, list):
        raise BadBody(f"{message.at(name)} must be a string or a list.", message.at(name))


def _content(message: Fields) -> Iterator[Part]:
    content = message.take("content")
    if isinstance(content, str):
        yield Text(content, message.at("content"))
        return
    if not isinstance(content, list):
        raise BadBody(f"{message.at('content')} must be a string or a list.", message.at("content"))
    for position, value in enumerate(content):
        part = Fields(value, f"{message.at('content')}.{position}")
        kind = part.needed("type")
        if kind == "text":
            yield Text(part.needed("text"), part.place)
        elif kind == "image_url":
            image = part.part("image_url")
            if image is None:
                raise BadBody(f"{part.at('image_url')} is missing.", part.at("image_url"))
            image.only("detail", "auto")
            yield image_at(image.needed("url"), part.place)
            image.done()
        elif kind == "file":
            yield _file(part)
        else:
            raise refusal(part.place)
        part.done()


def image_at(url: str, place: str) -> Image:
    """A picture by its address, which may be its data."""
    media_type, data = in_data(url)
    return Image(media_type, data, place) if media_type else Image(None, url, place)


def in_data(url: str) -> tuple[str, str]:
    """Media type and base64 of an address that holds its data; both empty for any other. RFC 2397."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(_BASE64):
        return "", ""
    return head.removeprefix("data:").removesuffix(_BASE64), data


def _file(part: Fields) -> File:
    file = part.part("file")
    if file is None:
        raise BadBody(f"{part.at('file')} is missing.", part.at("file"))
    media_type, data = in_data(file.text("file_data") or "")
    if media_type != PDF:
        raise refusal(part.place, "is no PDF in base64, and nothing else can be translated")
    found = File(data, file.text("filename"), part.place)
    file.done()
    return found


def _assistant(message: Fields) -> Iterator[Part]:
    """Thoughts, text, calls: in this order, which is the only one that the dialect knows."""
    message.only("annotations", [])
    thoughts = list(message.each("thinking_blocks"))
    if message.has("reasoning_content"):
        if not thoughts:
            raise refusal(message.at("reasoning_content"), "has no signature by which its provider would know it again")
        message.hint("reasoning_content")  # the same thoughts once more
    for block in thoughts:
        if block.needed("type") == "thinking":
            yield Thinking(block.needed("thinking"), block.text("signature"), block.place)
        else:
            yield RedactedThinking(block.needed("data"), block.place)
        block.hint("index")  # as it came in a stream
        block.done()
    if message.has("content"):
        yield from (text for text in texts_of(message, "content") if text.text)
    refused = message.text("refusal")
    if refused is not None:
        yield Text(refused, message.at("refusal"))
    for call in message.each("tool_calls"):
        yield _call(call)


def _call(call: Fields) -> ToolCall:
    call.only("type", "function")
    function = call.part("function")
    if function is None:
        raise BadBody(f"{call.at('function')} is missing.", call.at("function"))
    place = function.at("arguments")
    try:
        arguments = arguments_of(function.text("arguments") or "")
    except Unreadable:
        raise BadBody(f"{place} is no JSON object.", place) from None
    found = ToolCall(call.needed("id"), function.needed("name"), arguments, call.place)
    call.hint("index")
    function.done()
    call.done()
    return found


def _tool(tool: Fields) -> Tool:
    tool.only("type", "function")
    function = tool.part("function")
    if function is None:
        raise BadBody(f"{tool.at('function')} is missing.", tool.at("function"))
    found = Tool(
        function.needed("name"), function.text("description"), function.mapping("parameters"), function.flag("strict")
    )
    function.done()
    tool.done()
    return found


def _choice(body: Fields) -> ToolChoice | None:
    place, value = body.at("tool_choice"), body.take("tool_choice")
    if value is None or isinstance(value, str):
        modes: dict[str | None, ToolChoice | None] = {
            None: None,
            "auto": ToolChoice("auto"),
            "none": ToolChoice("none"),
            "required": ToolChoice("any"),
        }
        if value not in modes:
            raise refusal(place)
        return modes[value]
    choice = Fields(value, place)
    choice.only("type", "function")
    function = choice.part("function")
    choice.done()
    if function is None:
        raise refusal(place)
    found = ToolChoice("named", function.needed("name"))
    function.done()
    return found


def _stop(value: object) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise BadBody("stop must be a string or a list of strings.", "stop")
    return tuple(found)


def _schema(body: Fields) -> Schema | None:
    shape = body.part("response_format")
    if shape is None:
        return None
    kind = shape.needed("type")
    if kind == "text":
        shape.done()
        return None
    described = shape.part("json_schema") if kind == "json_schema" else None
    if described is None:
        raise refusal(shape.place)
    found = schema_in(described)
    shape.done()
    return found


def schema_in(described: Fields) -> Schema:
    """A schema and what is told of it; its name is for people."""
    schema = described.mapping("schema")
    if schema is None:
        raise BadBody(f"{described.at('schema')} is missing.", described.at("schema"))
    described.hint("name")
    found = Schema(schema, described.flag("strict") is not False, described.at("strict"))
    described.done()
    return found


def _limit(body: Fields) -> int | None:
    older, newer = body.count("max_tokens"), body.count("max_completion_tokens")
    if older is not None and newer is not None and older != newer:
        raise refusal("max_tokens", "is another limit than max_completion_tokens")
    return older if newer is None else newer


def user_of(body: Fields) -> str | None:
    """The app's own user, by the newer name of the field or the older one."""
    newer, older = body.text("safety_identifier"), body.text("user")
    if older is not None and newer is not None and older != newer:
        raise refusal("user", "is somebody else than safety_identifier")
    return older if newer is None else newer
