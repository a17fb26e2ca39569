"""What an Anthropic Messages request asks for.

Sources: the Messages API reference of platform.claude.com and the types of the anthropic SDK 2.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from proxyd.providers.base import BadBody, Parsed
from proxyd.providers.body import (
    SPELT_LETTER,
    count,
    flag,
    kind_of,
    model_name,
    objects,
    read_object,
    text,
    tool_kinds,
)
from proxyd.providers.input_estimate import MAX_TOOL_CALLS, OVERHEAD_TOKENS, TOOLS_OVERHEAD_TOKENS, InputEstimate
from shared.catalog import Kind
from shared.pricing import REGIONS, Size

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
        "content",
        "tool_removal",
    }
)
_REFERENCES = frozenset({"tool_reference", "mcp_tool_reference", "mcp_toolset_reference"})  # to what counts elsewhere


def read(body: bytes) -> Parsed:
    """Understand a body. Raises BadBody."""
    document = read_object(body)
    model = model_name(document.get("model"))
    limit = count(document, "max_tokens")
    if limit is None:
        raise BadBody("max_tokens is missing.", "max_tokens")
    stream = flag(document, "stream")
    added: list[dict[str, Any]] = []
    size = _size(document, body, limit, added)
    brought = tool_kinds(added) if added else ()
    return Parsed(Kind.MESSAGES, model, stream, size, wants_usage=True, document=document, raw=body, brought=brought)


def _size(document: Mapping[str, Any], body: bytes, limit: int, added: list[dict[str, Any]]) -> Size:
    """What it can use at most. The tools that its messages add as they go are put into `added`."""
    estimate = InputEstimate()
    tools = objects(document, "tools")
    for message in objects(document, "messages"):
        content = message.get("content")
        if type(content) is list:
            _estimate_blocks(content, estimate, added)
    system = document.get("system")
    if type(system) is list:
        _estimate_blocks(system, estimate, added)
    if added:
        tools = [*tools, *added]
    fees: dict[str, int] = {}
    _estimate_tools(tools, estimate, fees)
    _find_features(document, estimate)
    for name in ("container", "mcp_servers", "thread"):
        if document.get(name):
            estimate.grows = True
    writes, lasting = _cache_writes(document, body)
    has_tools = tools or any(document.get(name) for name in ("output_config", "output_format"))
    return Size(
        text_bytes=estimate.text_bytes(body),
        image_parts=estimate.images,
        audio_tokens=estimate.audio_tokens,
        context_inputs=estimate.unseen or estimate.grows,
        countable=not estimate.grows,
        overhead_tokens=TOOLS_OVERHEAD_TOKENS if has_tools else OVERHEAD_TOKENS,
        output_limit=limit,
        tool_fees=fees,
        cache_writes=writes,
        lasting_writes=lasting,
        service_tier=text(document, "service_tier"),
        speed=text(document, "speed"),
        region=_region(document),
        unpriced=estimate.unpriced,
        unbounded=estimate.unbounded,
        other_models=estimate.other_models,
    )


def _region(document: Mapping[str, Any]) -> str | None:
    """Where it is to be served, if that is a place of which the price is known; "global" costs nothing more."""
    named = document.get("inference_geo")
    return next((place for place in ("global", *REGIONS) if named == place), None)


def _cache_writes(document: Mapping[str, Any], body: bytes) -> tuple[bool, bool]:
    """Whether a field of the body asks for writing to a cache, and whether one does so for longer than 5 minutes.

    A body without the very letters, or a disguise of them, has none.
    """
    disguised = b"\\u00" in body and SPELT_LETTER.search(body) is not None
    if not disguised and b"cache_control" not in body and b"caching" not in body:
        return False, False
    may_last = disguised or b'"ttl"' in body
    writes = False
    waiting: list[Any] = [document]
    while waiting:
        item = waiting.pop()
        if type(item) is dict:
            if not _CACHE_FIELDS.isdisjoint(item):
                if not may_last or any(_lasts(item.get(name)) for name in _CACHE_FIELDS):
                    return True, may_last
                writes = True
            waiting.extend(item.values())
        elif type(item) is list:
            waiting.extend(item)
    return writes, False


def _lasts(control: object) -> bool:
    """Whether what is written is kept longer than for the 5 minutes of `CacheControlEphemeralParam`'s default."""
    return control is not None and (not isinstance(control, dict) or control.get("ttl") not in (None, "5m"))


def _name_and_version(kind: str) -> tuple[str, str]:
    dated = _DATED.fullmatch(kind)
    return (kind, "") if dated is None else (dated["name"], dated["version"])


def code_runs_free(tools: Iterable[object]) -> bool:
    """Whether one of these is a web tool beside which running code costs nothing."""
    for tool in tools:
        kind = kind_of(tool) if isinstance(tool, dict) else None
        name, version = ("", "") if kind is None else _name_and_version(kind)
        if name in ("web_search", "web_fetch") and version >= _CODE_IS_FREE_SINCE:
            return True
    return False


def _estimate_tools(tools: list[dict[str, Any]], estimate: InputEstimate, fees: dict[str, int]) -> None:
    """Count what server-side tools may add, and note those whose cost nobody can bound."""
    for tool in tools:
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
        elif name not in _CONTEXT_TOOLS and not (name == "code_execution" and code_runs_free(tools)):
            # Elsewhere than beside the web tools, code is billed by time.
            estimate.unknown_tool(kind, hides_tokens=name != "code_execution")


def _find_features(document: Mapping[str, Any], estimate: InputEstimate) -> None:
    """Note what changes the bill in a way that nobody can bound."""
    for name in ("fallbacks", "compaction"):  # other models may answer; a second summary is billed beside the answer
        if document.get(name):
            estimate.feature(name)
            estimate.other_models = estimate.other_models or name == "fallbacks"
    if document.get("inference_geo") is not None and _region(document) is None:
        # Regions have a surcharge, and that of this one is unknown.
        estimate.feature("inference_geo", hides_tokens=False)
    management = document.get("context_management")
    edits = management.get("edits") if isinstance(management, dict) else management
    for edit in edits if isinstance(edits, list) else [edits]:
        # What clears only takes input away; what compacts samples once more, over the whole conversation.
        kind = edit.get("type") if isinstance(edit, dict) else edit
        if kind is not None and not (isinstance(kind, str) and kind.startswith("clear_")):
            estimate.feature(f"context_management.edits of type {str(kind)[:80]}")


def _estimate_blocks(blocks: list[Any], estimate: InputEstimate, added: list[dict[str, Any]]) -> None:
    """Find the media and the added tools in content blocks, however deep. Not by recursion: clients decide how deep."""
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
        elif kind == "tool_addition":
            _add_tool(block.get("tool"), estimate, added)
        elif kind == "compaction":
            changes = block.get("tool_changes")
            waiting.extend(changes if type(changes) is list else ())
        else:
            estimate.unseen = True


def _add_tool(tool: object, estimate: InputEstimate, added: list[dict[str, Any]]) -> None:
    """A tool that is there from this place of the conversation on: defined here, or named and defined elsewhere."""
    kind = tool.get("type") if type(tool) is dict else None
    definition = tool.get("definition") if type(tool) is dict else None
    if kind == "tool_definition" and type(definition) is dict:
        added.append(definition)
    elif kind not in _REFERENCES:
        estimate.feature(f"tool_addition of type {str(kind)[:80]}")
