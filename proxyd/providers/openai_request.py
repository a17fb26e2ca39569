"""What an OpenAI request asks for: chat completions, responses and embeddings.

Sources: the API reference of developers.openai.com and the types of the openai SDK 3. Whatever a request can contain
that costs money beyond tokens of the model itself is either counted here or named as `unpriced`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from proxyd.providers.base import Parsed
from proxyd.providers.body import count, flag, kind_of, model_name, objects, read_object, section, text, tool_kinds
from proxyd.providers.input_estimate import (
    MAX_TOOL_CALLS,
    OVERHEAD_TOKENS,
    TOOLS_OVERHEAD_TOKENS,
    InputEstimate,
    shaping_parameter,
)
from proxyd.providers.openai_tools import SEARCH, always_searches, brought_tools, runs_at_the_client, search_fee
from shared.catalog import Kind
from shared.output_limits import UNKNOWN_MODEL, output_maximum
from shared.pricing import Size

_NESTED = {"stream_options": (b'"include_usage"',)}

# What can change the bill of a chat completion beside its messages, its model and its output limit.
_BILLED_IN_CHAT = frozenset(
    {
        "audio",
        "background",
        "extra_body",
        "functions",
        "google",
        "image",
        "modalities",
        "n",
        "prediction",
        "prompt_cache_options",
        "response_format",
        "service_tier",
        "tools",
        "web_search_options",
    }
)

_PLAIN_TOOLS = frozenset(
    {"function", "custom", "namespace", "computer", "computer_use_preview", "local_shell", "apply_patch"}
)
_MEDIA = ("audio", "image", "video")
_CONTEXT_TOOLS = frozenset({"mcp", "tool_search", "programmatic_tool_calling"})  # their results are input
_PRICED_BY_TIME = frozenset({"code_interpreter", "shell"})  # of a container; their results are input as well
_PLAIN_PARTS = frozenset(
    {
        "text",
        "input_text",
        "output_text",
        "refusal",
        "summary_text",
        "reasoning_text",
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "local_shell_call",
        "local_shell_call_output",
        "shell_call",
        "shell_call_output",
        "apply_patch_call",
        "apply_patch_call_output",
        "tool_search_call",
        "tool_search_output",
        "additional_tools",
        "program",
        "program_output",
        "computer_call",
        "computer_call_output",
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "mcp_list_tools",
        "mcp_call",
        "mcp_approval_request",
        "mcp_approval_response",
    }
)


def read(kind: Kind, body: bytes, query: str = "") -> Parsed:
    """Understand a body. Raises BadBody. The query matters to Gemini, which speaks this dialect too."""
    document = read_object(body, _NESTED)
    model = model_name(document.get("model"))
    if kind is Kind.EMBEDDINGS:
        shaping = shaping_parameter(query)
        size = Size(len(body), overhead_tokens=OVERHEAD_TOKENS, output_free=True, unpriced=shaping, unbounded=shaping)
        return Parsed(kind, model, stream=False, size=size, wants_usage=True, document=document, raw=body)
    stream = "stream" in document and flag(document, "stream")
    wants_usage = False
    if "stream_options" in document and (options := section(document, "stream_options")) is not None:
        wants_usage = flag(options, "include_usage")
    brought = () if kind is Kind.CHAT else brought_tools(document)
    size = _chat_size(document, body, model) if kind is Kind.CHAT else _responses_size(document, body, brought)
    if query and (shaping := shaping_parameter(query)) is not None:
        size = replace(size, unpriced=size.unpriced or shaping, unbounded=size.unbounded or shaping)
    return Parsed(
        kind, model, stream, size, wants_usage, document, body, brought=tool_kinds(brought) if brought else ()
    )


DEFAULT_LIMIT = 16  # of a completion; https://developers.openai.com/api/reference/resources/completions


def read_completion(body: bytes) -> Parsed:
    """Understand a completion of text. Raises BadBody."""
    document = read_object(body, _NESTED)
    model = model_name(document.get("model"))
    options = section(document, "stream_options")
    limit = count(document, "max_tokens")
    best = max(count(document, name, least=1) or 1 for name in ("n", "best_of"))
    size = Size(
        len(body),
        overhead_tokens=OVERHEAD_TOKENS,
        output_limit=DEFAULT_LIMIT if limit is None else limit,
        choices=best * _prompts(document.get("prompt")),
    )
    wants_usage = options is not None and flag(options, "include_usage")
    return Parsed(Kind.COMPLETIONS, model, flag(document, "stream"), size, wants_usage, document, body)


def _prompts(prompt: object) -> int:
    """How many prompts there are: a list of texts, or of lists of tokens, is as many; each is completed."""
    return len(prompt) if isinstance(prompt, list) and any(isinstance(each, str | list) for each in prompt) else 1


def read_compact(body: bytes) -> Parsed:
    """Understand a conversation that is to be compacted. Nothing limits its summary but the model. Raises BadBody."""
    parsed = read(Kind.RESPONSES, body)
    maximum = output_maximum("openai", parsed.model or "")
    limit = UNKNOWN_MODEL if maximum is None else maximum
    size = replace(parsed.size, output_limit=limit, output_fixed=True)
    return replace(parsed, kind=Kind.COMPACT, stream=False, size=size)


def _chat_size(document: Mapping[str, Any], body: bytes, model: str) -> Size:
    estimate: InputEstimate | None = None  # of what the messages hold besides text, if they do
    for message in objects(document, "messages"):
        content = message.get("content")
        if type(content) is list:
            estimate = estimate or InputEstimate()
            _estimate_parts(content, estimate)
        if "audio" in message and message["audio"] is not None:
            estimate = estimate or InputEstimate()
            estimate.medium("audio/")  # an earlier spoken answer, by its id
    always = always_searches(model)
    if estimate is None and always is None and _BILLED_IN_CHAT.isdisjoint(document):
        return Size(len(body), overhead_tokens=OVERHEAD_TOKENS, output_limit=_chat_limit(document))
    estimate = estimate or InputEstimate()
    fees: dict[str, int] = {}
    tools = objects(document, "tools")
    for tool in tools:
        if kind_of(tool) not in _PLAIN_TOOLS:
            estimate.unknown_tool(tool.get("type"))
    if always is not None or document.get("web_search_options") is not None:
        fees[always or "web_searches"] = 1  # once an answer: these models search before they write
        estimate.grows = True
    if "extra_body" in document or "google" in document:
        estimate.unseen = True  # Gemini's own settings, such as cached content
    _find_features(document, estimate)
    prediction = document.get("prediction")
    has_tools = bool(tools) or "functions" in document or "response_format" in document or bool(fees)
    return Size(
        text_bytes=estimate.text_bytes(body),
        image_parts=estimate.images,
        audio_tokens=estimate.audio_tokens,
        context_inputs=estimate.unseen or estimate.grows,
        countable=not estimate.grows,
        overhead_tokens=TOOLS_OVERHEAD_TOKENS if has_tools else OVERHEAD_TOKENS,
        output_limit=_chat_limit(document),
        choices=count(document, "n", least=1) or 1,
        extra_output_tokens=0 if prediction is None else len(body),
        tool_fees=fees,
        service_tier=text(document, "service_tier"),
        unpriced=estimate.unpriced,
        unbounded=estimate.unbounded,
        other_models=estimate.other_models,
        classes=_classes(document, estimate),
    )


def _classes(document: Mapping[str, Any], estimate: InputEstimate) -> tuple[str, ...]:
    """What there is beside text: sound that is heard, and what else than text is asked for."""
    modalities = document.get("modalities")
    asked = set(filter(_MEDIA.__contains__, modalities)) if isinstance(modalities, list) else set()
    if document.get("audio") is not None:
        asked.add("audio")
    return (*estimate.classes, *(f"output_{kind}_tokens" for kind in sorted(asked)))


def _chat_limit(document: Mapping[str, Any]) -> int | None:
    """The older and the newer name of the limit; the larger one counts, should a provider heed either."""
    older = count(document, "max_tokens", least=1)
    if "max_completion_tokens" not in document:
        return older
    newer = count(document, "max_completion_tokens", least=1)
    return newer if older is None else older if newer is None else max(newer, older)


def _responses_size(document: Mapping[str, Any], body: bytes, brought: Iterable[dict[str, Any]]) -> Size:
    estimate = InputEstimate()
    given = document.get("input")
    if type(given) is list:
        _estimate_parts(given, estimate)
    if document.get("previous_response_id") or document.get("conversation"):
        estimate.unseen = True
    if document.get("context_management"):
        estimate.grows = True  # the provider's counter does not know it
    if document.get("prompt"):
        estimate.template("prompt")
    calls = count(document, "max_tool_calls")
    calls = MAX_TOOL_CALLS if calls is None else calls
    fees: dict[str, int] = {}
    tools = [*objects(document, "tools"), *brought]
    for tool in tools:
        kind = kind_of(tool)
        if kind in _PLAIN_TOOLS or runs_at_the_client(tool):
            continue
        estimate.grows = True
        if kind is not None and SEARCH.fullmatch(kind):
            fees[search_fee(tools)] = calls
        elif kind == "file_search":
            fees["storage_searches"] = calls
        elif kind not in _CONTEXT_TOOLS:
            estimate.unknown_tool(tool.get("type"), hides_tokens=kind not in _PRICED_BY_TIME)
    agents = document.get("multi_agent")
    if agents is not None and not (isinstance(agents, dict) and agents.get("enabled") is False):
        estimate.feature("multi_agent")  # as many of them as it likes, each with a conversation of its own
    _find_features(document, estimate)
    return Size(
        text_bytes=estimate.text_bytes(body),
        image_parts=estimate.images,
        audio_tokens=estimate.audio_tokens,
        context_inputs=estimate.unseen or estimate.grows,
        countable=not estimate.grows,
        overhead_tokens=TOOLS_OVERHEAD_TOKENS if tools or "text" in document else OVERHEAD_TOKENS,
        output_limit=count(document, "max_output_tokens", least=1),
        tool_fees=fees,
        service_tier=text(document, "service_tier"),
        unpriced=estimate.unpriced,
        unbounded=estimate.unbounded,
        other_models=estimate.other_models,
        classes=_classes(document, estimate),
    )


def _find_features(document: Mapping[str, Any], estimate: InputEstimate) -> None:
    """Note what changes the bill in a way that the price table does not know."""
    if flag(document, "background"):
        estimate.feature("background")  # the answer comes later, past us
    if document.get("image") is not None:
        estimate.feature("image")
    options = document.get("prompt_cache_options")
    if isinstance(options, dict) and options.get("ttl") not in (None, "30m"):
        estimate.feature("prompt_cache_options.ttl", hides_tokens=False)


def _estimate_parts(parts: list[Any], estimate: InputEstimate) -> None:
    """Find the media in items and parts of items, however deep. Not by recursion: a client decides how deep."""
    waiting = list(parts)
    while waiting:
        part = waiting.pop()
        if type(part) is not dict:
            continue
        for name in ("content", "output"):
            inner = part.get(name)
            if type(inner) is list:
                waiting.extend(inner)
            elif type(inner) is dict:
                waiting.append(inner)
        kind = kind_of(part)
        if kind in _PLAIN_PARTS or (kind is None and "role" in part):
            continue
        if kind == "image_url":
            source = part.get("image_url")
            estimate.image(source.get("url") if isinstance(source, dict) else source)
        elif kind in ("input_image", "computer_screenshot"):
            estimate.image(part.get("image_url"))
        elif kind == "image_generation_call":
            estimate.image_data(part.get("result"))
        elif kind == "input_audio":
            sound = part.get("input_audio")
            estimate.audio(sound.get("data") if isinstance(sound, dict) else None)
        elif kind in ("file", "input_file"):
            file = part.get("file") if kind == "file" else part
            estimate.file(file.get("file_data") if isinstance(file, dict) else None)
        else:
            estimate.unseen = True
