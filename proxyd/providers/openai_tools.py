"""OpenAI's tools that run at the provider: how they are named, and which of their calls in an answer are billed.

Sources: developers.openai.com/api/docs/guides/tools-web-search ("Search actions incur a tool call cost"; opening a page
and looking into it do not), the section "Tools" of .../docs/pricing, and `tool_usage` in the types of the openai SDK 3.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from proxyd.providers.body import kind_of, objects
from shared.pricing import Usage, read_usage

SEARCH = re.compile(r"web_search(?P<preview>_preview)?(?:_\d{4}_\d{2}_\d{2})?")
# Chat models that search before every answer, though no tool is named.
_ALWAYS = re.compile(r"-search-(?P<kind>preview|api)(?:-|$)")

_BRING_TOOLS = frozenset({"additional_tools", "tool_search_output"})

# Events of a stream that tell of a call. What they are counted as is corrected by the end of the answer.
CALL_EVENTS = {
    b"response.web_search_call.completed": "web_searches",
    b"response.file_search_call.completed": "storage_searches",
    b"response.code_interpreter_call.completed": "code_executions",
    b"response.image_generation_call.completed": "image_generations",
}


@lru_cache(maxsize=1_024)  # the same few models over and over
def always_searches(model: str) -> str | None:
    """The usage key of the fee that every answer of a model costs; None: it does not search by itself."""
    found = _ALWAYS.search(model)
    return None if found is None else "web_search_previews" if found["kind"] == "preview" else "web_searches"


def search_fee(tools: object) -> str:
    """Which fee a search costs: the older tool's, if a request names that one only."""
    kinds = [kind_of(tool) for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    found = [match for kind in kinds if kind is not None and (match := SEARCH.fullmatch(kind))]
    return "web_search_previews" if found and all(match["preview"] for match in found) else "web_searches"


def tools_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tools of a request to Responses: its own, and those that items of its input bring along. Raises BadBody."""
    tools = objects(document, "tools")
    given = document.get("input")
    for item in given if isinstance(given, list) else ():
        if isinstance(item, dict) and kind_of(item) in _BRING_TOOLS:
            tools = [*tools, *objects(item, "tools")]
    return tools


def runs_at_the_client(tool: Mapping[str, Any]) -> bool:
    """Whether a tool that the provider could run is left to the client, so that it costs what its tokens cost."""
    if tool.get("type") == "tool_search":
        return tool.get("execution") == "client"
    return tool.get("type") == "shell" and runs_locally(tool)


def runs_locally(shell: Mapping[str, Any]) -> bool:
    """Whether a shell runs at the client; elsewhere it is a container of the provider, with a price by time."""
    environment = shell.get("environment")
    return isinstance(environment, dict) and environment.get("type") == "local"


def items(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The output items of a response."""
    output = document.get("output")
    return [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []


def tool_calls(document: Mapping[str, Any], tools: object) -> dict[str, int]:
    """Billed calls by usage key. Those that failed or were cut off are not billed."""
    calls: dict[str, int] = {}
    for item in items(document):
        if item.get("status") in (None, "completed") and (key := _fee(item, tools)) is not None:
            calls[key] = calls.get(key, 0) + 1
    told = document.get("tool_usage")
    searched = told.get("web_search") if isinstance(told, dict) else None
    requests = searched.get("num_requests") if isinstance(searched, dict) else None
    if type(requests) is int and requests >= 0:
        calls[search_fee(tools)] = requests
    if "image_generations" in calls and images_made(document, tools):
        del calls["image_generations"]  # billed by its tokens
    return {key: count for key, count in calls.items() if count}


def _fee(item: Mapping[str, Any], tools: object) -> str | None:
    kind = item.get("type")
    if kind == "web_search_call":
        action = item.get("action")
        does = action.get("type") if isinstance(action, dict) else None
        return search_fee(tools) if does in (None, "search") else None
    if kind == "file_search_call":
        return "storage_searches"
    if kind == "code_interpreter_call" or (kind == "shell_call" and not runs_locally(item)):
        return "code_executions"
    return "image_generations" if kind == "image_generation_call" else None


def images_made(document: Mapping[str, Any], tools: object) -> tuple[Usage, ...]:
    """What the models that painted pictures for this response used, as far as it says so and which model it was."""
    found: list[Usage] = []
    told = document.get("tool_usage")
    usage = told.get("image_gen") if isinstance(told, dict) else None
    model = _image_model(document.get("tools")) or _image_model(tools)
    reading = read_usage("openai", "images", usage) if model is not None else None
    if reading is not None and any(reading.counts.values()):
        call_it_pictures(reading.counts)
        found.append(Usage(reading.counts, model))
    for item in items(document):
        drawn = item.get("svg_usage")
        if isinstance(drawn, dict) and isinstance(drawn.get("model"), str):
            counts = read_usage("openai", "responses", drawn)
            if counts is not None:
                found.append(Usage(counts.counts, drawn["model"][:200]))
    return tuple(found[:64])


def call_it_pictures(counts: dict[str, int]) -> None:
    """Where a usage does not say what of its output is a picture, all of it is, which costs more than words."""
    if not counts.keys() & {"output_image_tokens", "output_text_tokens"} and "output_tokens" in counts:
        counts["output_image_tokens"] = counts["output_tokens"]


def _image_model(tools: object) -> str | None:
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("type") == "image_generation" and isinstance(tool.get("model"), str):
            return str(tool["model"])[:200]
    return None
