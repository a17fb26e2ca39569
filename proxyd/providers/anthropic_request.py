"""What an Anthropic Messages request asks for.

Sources: the Messages API reference of platform.claude.com and the types of the anthropic SDK 2.
"""

from collections.abc import Mapping
from typing import Any

from proxyd.providers.base import BadBody, Parsed
from proxyd.providers.body import count, flag, model_name, objects, read_object, text
from proxyd.providers.input_estimate import MAX_TOOL_CALLS, OVERHEAD_TOKENS, TOOLS_OVERHEAD_TOKENS, InputEstimate
from shared.catalog import Kind
from shared.pricing import Size

# Tools that run at the client; they cost what their tokens cost.
_PLAIN_TOOLS = ("custom", "bash_", "text_editor_", "computer_", "browser_", "memory_", "tool_search_tool_")
_CONTEXT_TOOLS = ("web_fetch_", "mcp_toolset")  # no fee, but their results are input
_PLAIN_BLOCKS = frozenset(
    {
        "text",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "server_tool_use",
        "mcp_tool_use",
        "tool_result",
        "mcp_tool_result",
        "search_result",
        "web_search_result",
        "web_search_tool_result",
        "web_search_tool_result_error",
        "tool_reference",
        "tool_search_tool_result",
        "tool_search_tool_search_result",
        "compaction",
        "content",
    }
)


def read(body: bytes) -> Parsed:
    """Understand a body. Raises BadBody."""
    document = read_object(body)
    model = model_name(document.get("model"))
    limit = count(document, "max_tokens")
    if limit is None:
        raise BadBody("max_tokens is missing.", "max_tokens")
    stream = flag(document, "stream")
    size = _size(document, body, limit)
    return Parsed(Kind.MESSAGES, model, stream=stream, size=size, wants_usage=True, document=document, raw=body)


def _size(document: Mapping[str, Any], body: bytes, limit: int) -> Size:
    estimate = InputEstimate()
    for message in objects(document, "messages"):
        content = message.get("content")
        if type(content) is list:
            _estimate_blocks(content, estimate)
    system = document.get("system")
    if type(system) is list:
        _estimate_blocks(system, estimate)
    fees: dict[str, int] = {}
    unpriced = _estimate_tools(document, estimate, fees)
    for name in ("container", "mcp_servers", "thread", "context_management"):
        if document.get(name):
            estimate.unseen = True
    has_tools = any(document.get(name) for name in ("tools", "output_config", "output_format"))
    return Size(
        text_bytes=estimate.text_bytes(body),
        image_parts=estimate.images,
        audio_tokens=estimate.audio_tokens,
        context_inputs=estimate.unseen,
        overhead_tokens=TOOLS_OVERHEAD_TOKENS if has_tools else OVERHEAD_TOKENS,
        output_limit=limit,
        tool_fees=fees,
        # Nothing is written to a cache unless the body says so; an escape could say it unseen.
        cache_writes=b"cache_control" in body or b"\\u00" in body,
        service_tier=text(document, "service_tier"),
        speed=text(document, "speed"),
        unpriced=unpriced or _unpriced(document, body),
    )


def _estimate_tools(document: Mapping[str, Any], estimate: InputEstimate, fees: dict[str, int]) -> str | None:
    """Count what server-side tools may add. Returns the name of a tool whose cost nobody can bound."""
    unpriced = None
    for tool in objects(document, "tools"):
        kind = tool.get("type")
        if kind is None:
            continue
        if not isinstance(kind, str):
            raise BadBody("tools.type must be a string.", "tools")
        if kind.startswith(_PLAIN_TOOLS):
            continue
        estimate.unseen = True
        if kind.startswith("web_search_"):
            uses = count(tool, "max_uses", param="tools.max_uses")
            fees["web_searches"] = fees.get("web_searches", 0) + (MAX_TOOL_CALLS if uses is None else uses)
        elif not kind.startswith(_CONTEXT_TOOLS):
            unpriced = f"the tool {kind[:80]}"
    return unpriced


def _unpriced(document: Mapping[str, Any], body: bytes) -> str | None:
    """Features that change the bill in a way that the price table does not know."""
    for name in ("fallbacks", "compaction"):  # other models may answer; a second summary is billed beside the answer
        if document.get(name):
            return name
    if document.get("context_management") and b"compact" in body:
        return "context_management"
    if document.get("inference_geo") not in (None, "global"):
        return "inference_geo"  # regions have a surcharge
    return None


def _estimate_blocks(blocks: list[Any], estimate: InputEstimate) -> None:
    """Find the media in content blocks, however deep. Not by recursion: a client decides how deep."""
    waiting = list(blocks)
    while waiting:
        block = waiting.pop()
        if type(block) is not dict:
            continue
        inner = block.get("content")
        if type(inner) is list:
            waiting.extend(inner)
        elif type(inner) is dict:
            waiting.append(inner)
        kind = block.get("type")
        if kind in _PLAIN_BLOCKS:
            continue
        source = block.get("source")
        source = source if type(source) is dict else {}
        if kind == "image":
            estimate.image_data(source.get("data"))
        elif kind == "document" and source.get("type") == "text":
            continue
        elif kind == "document" and source.get("type") == "content" and type(source.get("content")) is list:
            waiting.extend(source["content"])
        elif kind == "document":
            estimate.file(source.get("data"))
        else:
            estimate.unseen = True
