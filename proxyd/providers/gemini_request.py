"""What a Gemini request asks for: generateContent, streamGenerateContent and the embeddings.

Gemini reads protocol buffers' JSON, in which every field has two spellings, `maxOutputTokens` and `max_output_tokens`.
Both are understood; both at once are refused, because nobody can tell which one would count. Sources: the API
reference of ai.google.dev and the types of the google-genai SDK 3.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from proxyd.providers.base import BadBody, Parsed
from proxyd.providers.body import model_name, read_object, section
from proxyd.providers.input_estimate import (
    MAX_TOOL_CALLS,
    OVERHEAD_TOKENS,
    TOOLS_OVERHEAD_TOKENS,
    InputEstimate,
    shaping_parameter,
)
from proxyd.providers.protobuf_json import count, objects
from shared.catalog import Kind
from shared.pricing import Size

_COUNTS = (b'"maxOutputTokens"', b'"max_output_tokens"', b'"candidateCount"', b'"candidate_count"')
_NESTED = {"generationConfig": _COUNTS, "generation_config": _COUNTS}

_PLAIN_TOOLS = frozenset({"functionDeclarations", "computerUse"})
_CONTEXT_TOOLS = frozenset({"urlContext", "codeExecution", "fileSearch", "mcpServers"})  # results are input
# `gemini-pro` was the first of all; `gemini-pro-latest` and its like lead to whatever is newest.
_BEFORE_GEMINI_3 = re.compile(r"gemini-(?:[12](?!\d)|flash-1|pro(?:-vision)?(?:-001)?$)")
# Their numbers in `GenerationConfig.Modality`: protocol buffers' JSON lets an enum be written by its number.
_MODALITIES: Mapping[str | int, str] = {2: "IMAGE", 3: "AUDIO", 4: "VIDEO"}
_SEARCHES = frozenset({"googleSearch", "googleSearchRetrieval"})
_PLAIN_PARTS = frozenset(
    {
        "text",
        "thought",
        "thoughtSignature",
        "functionCall",
        "functionResponse",
        "executableCode",
        "codeExecutionResult",
        "videoMetadata",
        "mediaResolution",
        "partMetadata",
    }
)


def read(kind: Kind, body: bytes, path_model: str | None, query: str = "") -> Parsed:
    """Understand a body whose model stands in the path. Raises BadBody."""
    document = read_object(body, _NESTED)
    model = model_name(path_model)
    _same_model(document, model)
    if kind is Kind.EMBED:
        for request in objects(document, "requests"):
            _same_model(request, model)
        estimate = InputEstimate()
        windows = 0
        for request in [document, *objects(document, "requests")]:
            estimate.unseen = False
            _estimate_contents([get(request, "content")], estimate)
            windows += estimate.unseen
        shaping = shaping_parameter(query)
        size = Size(
            text_bytes=estimate.text_bytes(body),
            image_parts=estimate.images,
            audio_tokens=estimate.audio_tokens,
            separate_windows=windows,
            countable=False,  # embeddings have no counter
            overhead_tokens=OVERHEAD_TOKENS,
            output_free=True,
            unpriced=shaping,
            unbounded=shaping,
            classes=(*estimate.classes, *(("input_image_tokens",) if estimate.images else ())),
        )
        return Parsed(kind, model, stream=False, size=size, wants_usage=True, document=document, raw=body)
    stream = kind is Kind.GENERATE_STREAM
    size = _size(document, body, model, query)
    return Parsed(kind, model, stream=stream, size=size, wants_usage=True, document=document, raw=body)


@lru_cache(maxsize=256)
def snake(name: str) -> str:
    """The other spelling of a field."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def spelling(document: Mapping[str, Any], name: str) -> str:
    """How a document spells a field, `name` in camel case. Raises BadBody when it does so in both ways."""
    other = snake(name)
    if other == name or other not in document:
        return name
    if name in document:
        raise BadBody(f"{name} stands in the body in both of its spellings.", name)
    return other


def get(document: Mapping[str, Any], name: str) -> Any:
    """A field in either spelling."""
    return document.get(spelling(document, name))


def _same_model(document: Mapping[str, Any], model: str) -> None:
    named = document.get("model")
    if named is not None and model_name(named).removeprefix("models/") != model:
        raise BadBody("model differs from the model in the path.", "model")


def _size(document: Mapping[str, Any], body: bytes, model: str, query: str) -> Size:
    estimate = InputEstimate()
    _estimate_contents([*objects(document, "contents"), get(document, "systemInstruction")], estimate)
    fees: dict[str, int] = {}
    if get(document, "cachedContent") is not None:
        estimate.unseen = True  # its tokens are read from the cache, and counted as the input's
        fees["web_searches"] = most_searches(model)  # `CreateCachedContentConfig` of the SDK has tools, too
    _estimate_tools(document, model, estimate, fees)
    if query and (shaping := shaping_parameter(query)) is not None:
        estimate.feature(shaping)
    config = section(document, spelling(document, "generationConfig")) or {}
    tier = get(document, "serviceTier")
    if type(tier) is int:
        tier = str(tier)  # an enum by its number, of which the reference tells none: it may be any tier
    if tier is not None and not isinstance(tier, str):
        raise BadBody("serviceTier must be a string.", "serviceTier")
    shapes = any(get(config, name) is not None for name in ("responseSchema", "responseJsonSchema", "speechConfig"))
    limit = spelling(config, "maxOutputTokens")
    candidates = spelling(config, "candidateCount")
    return Size(
        text_bytes=estimate.text_bytes(body),
        image_parts=estimate.images,
        audio_tokens=estimate.audio_tokens,
        context_inputs=estimate.unseen or estimate.grows,
        countable=not estimate.grows,
        overhead_tokens=TOOLS_OVERHEAD_TOKENS if shapes or document.get("tools") else OVERHEAD_TOKENS,
        # Zero is how protocol buffers spell that nothing was set, so it limits nothing.
        output_limit=count(config, limit, param=f"generationConfig.{limit}") or None,
        choices=count(config, candidates, least=1, param=f"generationConfig.{candidates}") or 1,
        tool_fees=fees,
        service_tier=None if tier is None else tier_name(tier),
        unpriced=estimate.unpriced,
        unbounded=estimate.unbounded,
        other_models=estimate.other_models,
        classes=(*estimate.classes, *_classes(config)),
    )


def _classes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """What it is asked to write beside text. One value may stand for a list of them, and a number for a name."""
    modalities = get(config, "responseModalities")
    written = modalities if isinstance(modalities, list) else [modalities]
    asked = {_MODALITIES.get(value, str(value)).upper() for value in written if isinstance(value, str | int)}
    return tuple(f"output_{name.lower()}_tokens" for name in sorted(asked & {"AUDIO", "IMAGE", "VIDEO"}))


def asks_for(document: Mapping[str, Any], *names: str) -> bool:
    """Whether a request has one of these tools, whose names are in camel case."""
    tools = document.get("tools")
    return any(
        value is not None and camel(name) in names
        for tool in (tools if isinstance(tools, list) else [tools])
        if isinstance(tool, dict)
        for name, value in tool.items()
    )


def tier_name(tier: str) -> str:
    """A service tier as the price table spells it: its enum may be written with its type's name in front."""
    return tier.lower().removeprefix("service_tier_")


def _estimate_tools(document: Mapping[str, Any], model: str, estimate: InputEstimate, fees: dict[str, int]) -> None:
    for tool in objects(document, "tools"):
        for written, value in tool.items():
            if value is None:
                continue
            name = camel(written)
            if name in _PLAIN_TOOLS:
                continue
            estimate.grows = True
            if name in _SEARCHES:
                fees["web_searches"] = most_searches(model)
            elif name not in _CONTEXT_TOOLS:
                estimate.unknown_tool(name, hides_tokens=name != "googleMaps")  # billed by request


def bills_searches_by_request(model: str) -> bool:
    """Whether grounding costs once a request, however many searches it took: so it was before Gemini 3."""
    return _BEFORE_GEMINI_3.match(model) is not None


def most_searches(model: str) -> int:
    """How many searches a request that may search is billed for at most."""
    return 1 if bills_searches_by_request(model) else MAX_TOOL_CALLS


@lru_cache(maxsize=256)
def camel(name: str) -> str:
    """A field's name in camel case, from either spelling."""
    head, *tail = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in tail)


def _estimate_contents(contents: list[Any], estimate: InputEstimate) -> None:
    for content in contents:
        if type(content) is dict:
            _estimate_parts(content.get("parts"), estimate)


def _estimate_parts(parts: object, estimate: InputEstimate) -> None:
    """Find the media in parts. Results of functions may hold parts in turn; a client decides how deep."""
    waiting = list(parts) if type(parts) is list else [parts]
    while waiting:
        part = waiting.pop()
        if type(part) is not dict:
            estimate.unseen = estimate.unseen or type(part) is list  # of a shape that nobody here knows
            continue
        if len(part) == 1 and "text" in part:
            continue
        blob = get(part, "inlineData")
        if type(blob) is dict:
            _estimate_blob(blob, estimate)
        elif blob is not None:
            estimate.unseen = True
        answer = get(part, "functionResponse")
        if type(answer) is dict:
            inner = answer.get("parts")
            waiting.extend(inner if type(inner) is list else [inner])  # one may stand for a list of them
        elif answer is not None:
            estimate.unseen = True
        file = get(part, "fileData")
        if type(file) is dict:
            estimate.medium(get(file, "mimeType"))
        for name, value in part.items():
            if value is not None and camel(name) not in _PLAIN_PARTS and camel(name) != "inlineData":
                estimate.unseen = True


def _estimate_blob(blob: Mapping[str, Any], estimate: InputEstimate) -> None:
    mime = get(blob, "mimeType")
    payload = blob.get("data")
    kind = mime.partition("/")[0].lower() if isinstance(mime, str) else ""
    if kind == "image":
        estimate.image_data(payload)
    elif kind == "audio":
        estimate.audio(payload)
    elif kind != "text":
        estimate.film = estimate.film or kind == "video"
        estimate.file(payload)
