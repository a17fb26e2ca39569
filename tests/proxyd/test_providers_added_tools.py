"""Tools that stand elsewhere in a request than at its top: what they cost, and that they are known to its meter."""

import json

import pytest
from dialect_kit import find_endpoint, used

from proxyd.bodies.parser import BodyParser
from proxyd.providers import DIALECTS, BadBody, Parsed
from shared.catalog import PROVIDERS

ANTHROPIC = DIALECTS["anthropic"]
MESSAGES = find_endpoint(PROVIDERS["anthropic"], "POST", "/v1/messages")[0]
RESPONSES = find_endpoint(PROVIDERS["openai"], "POST", "/v1/responses")[0]


def read(**fields: object) -> Parsed:
    body = {"model": "claude-opus-5", "max_tokens": 100, "messages": [], **fields}
    return ANTHROPIC.read(MESSAGES, json.dumps(body).encode(), None, "")


def adding(tool: object) -> list[dict[str, object]]:
    return [{"role": "system", "content": [{"type": "tool_addition", "tool": tool}]}]


def defining(definition: object) -> dict[str, object]:
    return {"type": "tool_definition", "definition": definition}


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "f", "input_schema": {}},
        {"type": "web_search_20260318", "max_uses": 3},
        {"type": "web_search_20250305"},
        {"type": "mcp_toolset", "mcp_server_name": "a"},
        {"type": "code_execution_20250825"},
        {"type": "advisor_20260301"},
    ],
)
def test_a_tool_that_a_message_adds_costs_what_it_does_at_the_top(tool: dict[str, object]) -> None:
    def facts(**fields: object) -> tuple[object, ...]:
        size = read(**fields).size
        return (
            size.tool_fees,
            size.context_inputs,
            size.countable,
            size.overhead_tokens,
            size.unpriced,
            size.unbounded,
        )

    top = facts(tools=[tool])
    assert facts(messages=adding(defining(tool))) == top
    summary = {"type": "compaction", "content": "x", "tool_changes": adding(defining(tool))[0]["content"]}
    assert facts(messages=[{"role": "assistant", "content": [summary]}]) == top


def test_code_is_free_beside_a_web_tool_that_a_message_adds() -> None:
    code = {"type": "code_execution_20260120"}
    parsed = read(tools=[code], messages=adding(defining({"type": "web_fetch_20260209"})))
    assert parsed.size.unpriced is None
    meter = ANTHROPIC.meter(MESSAGES, parsed, streaming=False, content_encoding=None)
    block = {"type": "server_tool_use", "name": "code_execution", "input": {}}
    answer = {"model": "m", "content": [block], "usage": {"input_tokens": 1, "output_tokens": 1}}
    meter.feed(json.dumps(answer).encode())
    meter.end()
    assert "code_executions" not in used(meter).counts


@pytest.mark.parametrize("kind", ["tool_reference", "mcp_tool_reference", "mcp_toolset_reference"])
def test_a_tool_that_is_only_named_adds_nothing(kind: str) -> None:
    size = read(messages=adding({"type": kind, "name": "f"})).size
    assert (size.context_inputs, size.unpriced, size.tool_fees) == (False, None, {})
    removal = {"type": "tool_removal", "tool": {"type": kind, "name": "f"}}
    assert not read(messages=[{"role": "system", "content": [removal]}]).size.context_inputs


@pytest.mark.parametrize("tool", [{"type": "tool_of_ours"}, defining([]), "x", None, {}])
def test_a_tool_that_is_added_in_another_way_has_no_bound(tool: object) -> None:
    size = read(messages=adding(tool)).size
    assert size.unpriced == size.unbounded
    assert str(size.unpriced).startswith("tool_addition of type ")


@pytest.mark.parametrize("tool", [{"type": 5}, {"type": "web_search_20250305", "max_uses": "3"}])
def test_a_tool_of_wrong_types_is_refused(tool: dict[str, object]) -> None:
    with pytest.raises(BadBody):
        read(messages=adding(defining(tool)))


def test_they_are_known_of_a_large_body_too() -> None:
    bring = [{"type": "additional_tools", "tools": [{"type": "web_search_preview", "filters": {"y": 1}}]}]
    parser = BodyParser()
    try:
        for endpoint, document in (
            (RESPONSES, {"model": "m", "input": bring}),
            (MESSAGES, {"model": "m", "max_tokens": 1, "messages": adding(defining({"type": "web_search_20260209"}))}),
        ):
            body = json.dumps({**document, "user": "x" * 1_100_000}).encode()
            here = DIALECTS[endpoint.dialect].read(endpoint, body, "m", "")
            away = parser.parse("key_1", (endpoint, "m", ""), body)
            assert here.brought == away.brought
            assert [tool["type"] for tool in away.tools] == [tool["type"] for tool in here.brought] != []
            assert '"y"' not in json.dumps(away.brought)
    finally:
        parser.close()


def test_a_search_by_a_tool_that_came_with_the_input_costs_what_it_is() -> None:
    brought = [{"type": "additional_tools", "tools": [{"type": "web_search_preview"}]}]
    parsed = DIALECTS["openai"].read(RESPONSES, json.dumps({"model": "gpt-4o", "input": brought}).encode(), None, "")
    assert parsed.size.tool_fees.keys() == {"web_search_previews"}
    watch = DIALECTS["openai"].meter(RESPONSES, parsed, streaming=False, content_encoding=None)
    search = {"type": "web_search_call", "status": "completed", "action": {"type": "search"}}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    watch.feed(json.dumps({"model": "gpt-4o", "output": [search], "usage": usage}).encode())
    watch.end()
    assert used(watch).counts["web_search_previews"] == 1
