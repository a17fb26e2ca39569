"""What an Anthropic Messages request asks for.

Sources: the Messages API reference of platform.claude.com and the types of the anthropic SDK 2.
"""

import re
from collections.abc import Mapping
from typing import Any

from proxyd.providers.base import BadBody, Parsed
from proxyd.providers.body import count, flag, kind_of, model_name, objects, read_object, text
from proxyd.providers.input_estimate import MAX_TOOL_CALLS, OVERHEAD_TOKENS, TOOLS_OVERHEAD_TOKENS, InputEstimate
from shared.catalog import Kind
from shared.pricing import Size

_DATED = re.compile(r"(?P<name>[a-z0-9_]+?)_(?P<version>\d{8})")
# Tools that run at the client; they cost what their tokens cost. All names are without the date of their version.
_PLAIN_TOOLS = frozenset(
    {
        "custom",
        "bash",
        "text_editor",
        "computer",
        "computer_toolset",
        "browser",
        "browser_toolset",
        "memory",
        "tool_search_tool_bm25",
        "tool_search_tool_regex",
    }
)
_CONTEXT_TOOLS = frozenset({"web_fetch", "mcp_toolset"})  # no fee, but their results are input
# From this version on, beside the web tools running code is free: platform.claude.com, "Code execution tool", Pricing.
_CODE_IS_FREE_SINCE = "20260209"
# What makes a request write to a cache, wherever it stands.
_CACHE_FIELDS = frozenset({"cache_control", "caching"})
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
    _estimate_tools(document, estimate, fees)
    _find_features(document, estimate)
    for name in ("container", "mcp_servers", "thread"):
        if document.get(name):
            estimate.grows = True
    has_tools = any(document.get(name) for name in ("tools", "output_config", "output_format"))
    return Size(
        text_bytes=estimate.text_bytes(body),
        image_parts=estimate.images,
        audio_tokens=estimate.audio_tokens,
        context_inputs=estimate.unseen or estimate.grows,
        countable=not estimate.grows,
        overhead_tokens=TOOLS_OVERHEAD_TOKENS if has_tools else OVERHEAD_TOKENS,
        output_limit=limit,
        tool_fees=fees,
        cache_writes=_writes_to_a_cache(document, body),
        service_tier=text(document, "service_tier"),
        speed=text(document, "speed"),
        unpriced=estimate.unpriced,
        unbounded=estimate.unbounded,
        other_models=estimate.other_models,
    )


def _writes_to_a_cache(document: Mapping[str, Any], body: bytes) -> bool:
    """Whether a field of the body asks for it. A body without the very letters, or a disguise of them, has none."""
    if b"cache_control" not in body and b"caching" not in body and b"\\u00" not in body:
        return False
    waiting: list[Any] = [document]
    while waiting:
        item = waiting.pop()
        if type(item) is dict:
            if not _CACHE_FIELDS.isdisjoint(item):
                return True
            waiting.extend(item.values())
        elif type(item) is list:
            waiting.extend(item)
    return False


def _name_and_version(kind: str) -> tuple[str, str]:
    dated = _DATED.fullmatch(kind)
    return (kind, "") if dated is None else (dated["name"], dated["version"])


def code_runs_free(document: Mapping[str, Any]) -> bool:
    """Whether a request has one of the web tools beside which running code costs nothing."""
    tools = document.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, dict) else None
        name, version = _name_and_version(kind) if isinstance(kind, str) else ("", "")
        if name in ("web_search", "web_fetch") and version >= _CODE_IS_FREE_SINCE:
            return True
    return False


def _estimate_tools(document: Mapping[str, Any], estimate: InputEstimate, fees: dict[str, int]) -> None:
    """Count what server-side tools may add, and note those whose cost nobody can bound."""
    for tool in objects(document, "tools"):
        kind = tool.get("type")
        if kind is None:
            continue
        if not isinstance(kind, str):
            raise BadBody("tools.type must be a string.", "tools")
        name, _ = _name_and_version(kind)
        if name in _PLAIN_TOOLS:
            continue
        estimate.grows = True
        if name == "web_search":
            uses = count(tool, "max_uses", param="tools.max_uses")
            fees["web_searches"] = fees.get("web_searches", 0) + (MAX_TOOL_CALLS if uses is None else uses)
        elif name not in _CONTEXT_TOOLS and not (name == "code_execution" and code_runs_free(document)):
            # Elsewhere than beside the web tools, code is billed by time.
            estimate.unknown_tool(kind, hides_tokens=name != "code_execution")


def _find_features(document: Mapping[str, Any], estimate: InputEstimate) -> None:
    """Note what changes the bill in a way that nobody can bound."""
    for name in ("fallbacks", "compaction"):  # other models may answer; a second summary is billed beside the answer
        if document.get(name):
            estimate.feature(name)
            estimate.other_models = estimate.other_models or name == "fallbacks"
    if document.get("inference_geo") not in (None, "global"):
        estimate.feature("inference_geo", hides_tokens=False)  # regions have a surcharge
    management = document.get("context_management")
    edits = management.get("edits") if isinstance(management, dict) else management
    for edit in edits if isinstance(edits, list) else [edits]:
        # What clears only takes input away; what compacts samples once more, over the whole conversation.
        kind = edit.get("type") if isinstance(edit, dict) else edit
        if kind is not None and not (isinstance(kind, str) and kind.startswith("clear_")):
            estimate.feature(f"context_management.edits of type {str(kind)[:80]}")


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
        kind = kind_of(block)
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
