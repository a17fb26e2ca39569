"""OpenAI's tools that run at the provider: how they are named, and which of their calls in an answer are billed.

Sources: developers.openai.com/api/docs/guides/tools-web-search ("Search actions incur a tool call cost"; opening a page
and looking into it do not), the section "Tools" of .../docs/pricing, and `tool_usage` in the types of the openai SDK 3.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from proxyd.providers.body import kind_of, objects
from shared.pricing import Usage, read_usage, whole

SEARCH = re.compile(r"web_search(?P<preview>_preview)?(?:_\d{4}_\d{2}_\d{2})?")
# Chat models that search before every answer, though no tool is named.
_ALWAYS = re.compile(r"-search-(?P<kind>preview|api)(?:-|$)")

_BRING_TOOLS = frozenset({"additional_tools", "tool_search_output"})

# Events of a stream that tell that a call is made, before its item does, and the kind of that item.
CALL_EVENTS = {
    f"response.{kind}.completed": kind
    for kind in ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call")
}
ITEM_DONE = "response.output_item.done"


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


def effective_tools(asked: list[Any], told: object) -> list[Any]:
    """The tools of a response: those of its request, and those that it names itself, as a stored prompt brings them.

    What a request says of its searches stands.
    """
    if not told or not isinstance(told, list):
        return asked
    searches = any(SEARCH.fullmatch(str(tool.get("type"))) for tool in asked if isinstance(tool, dict))
    return asked if searches else [*asked, *told]


def brought_tools(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tools that items of the input of a request to Responses bring along. Raises BadBody."""
    given = document.get("input")
    tools: list[dict[str, Any]] = []
    for item in given if isinstance(given, list) else ():
        if isinstance(item, dict) and kind_of(item) in _BRING_TOOLS:
            tools += objects(item, "tools")
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


def tool_calls(document: Mapping[str, Any], tools: object) -> tuple[dict[str, int], bool]:
    """Billed calls by usage key, and whether they were told in a way that cannot be read."""
    calls: dict[str, int] = {}
    for item in items(document):
        if (key := call_fee(item, tools)) is not None:
            calls[key] = calls.get(key, 0) + 1
    told = document.get("tool_usage")
    searched = told.get("web_search") if isinstance(told, dict) else None
    requests = searched.get("num_requests") if isinstance(searched, dict) else searched
    if (number := whole(requests)) is not None:
        calls[search_fee(tools)] = number
    if "image_generations" in calls and images_made(document, tools):
        del calls["image_generations"]  # billed by its tokens
    return {key: count for key, count in calls.items() if count}, requests is not None and number is None


def call_fee(item: Mapping[str, Any], tools: object) -> str | None:
    """The usage key of an item of the output; None: it is not billed.

    A search that failed or was cut off is not. A container costs whatever became of the code in it, and so does a
    picture that is there, even if its item says that it is still being painted.
    """
    kind, ended = item.get("type"), item.get("status") in (None, "completed")
    if kind == "web_search_call":
        action = item.get("action")
        does = action.get("type") if isinstance(action, dict) else None
        return search_fee(tools) if ended and does in (None, "search") else None
    if kind == "file_search_call":
        return "storage_searches" if ended else None
    if kind == "code_interpreter_call" or (kind == "shell_call" and not runs_locally(item)):
        return "code_executions"
    return "image_generations" if kind == "image_generation_call" and (ended or item.get("result")) else None


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
    """Where a usage does not tell which output is pictures, all is that it does not call words, which cost less."""
    left = counts.get("output_tokens", 0) - counts.get("output_text_tokens", 0)
    if left > 0 and not counts.get("output_image_tokens"):
        counts["output_image_tokens"] = left


def _image_model(tools: object) -> str | None:
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("type") == "image_generation" and isinstance(tool.get("model"), str):
            return str(tool["model"])[:200]
    return None
