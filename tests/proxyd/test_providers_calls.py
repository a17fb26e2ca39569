"""Calls of tools at the provider as answers tell them: which are billed, as what, and how often."""

import json
from typing import Any

import pytest
from dialect_kit import find_endpoint, used

from proxyd.providers import DIALECTS, Meter
from shared.catalog import PROVIDERS

PREVIEW, NEWER = [{"type": "web_search_preview"}], [{"type": "web_search"}]
USAGE = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}


def meter(slug: str, path: str, *, streaming: bool = False, **request: object) -> Meter:
    endpoint, model = find_endpoint(PROVIDERS[slug], "POST", path)
    dialect = DIALECTS[endpoint.dialect]
    parsed = dialect.read(endpoint, json.dumps(request).encode(), model, "")
    return dialect.meter(endpoint, parsed, streaming=streaming, content_encoding=None)


def answered(watch: Meter, answer: object) -> Meter:
    watch.feed(json.dumps(answer).encode())
    watch.end()
    return watch


def response(*output: dict[str, Any], tools: object = NEWER, **told: object) -> Meter:
    """An answer of Responses, whole."""
    watch = meter("openai", "/v1/responses", model="gpt-4o", input="x", tools=tools)
    return answered(watch, {"model": "gpt-4o", "output": output, "usage": USAGE, **told})


def call(kind: str = "web_search", status: str | None = "completed", **fields: object) -> dict[str, Any]:
    return {"type": f"{kind}_call", "status": status, **fields}


def search(action: str = "search", **fields: object) -> dict[str, Any]:
    return {**call(action={"type": action}), **fields}


def streamed(*events: dict[str, Any], tools: object = NEWER, named: bool = True, **request: object) -> Meter:
    """A stream of Responses that breaks off."""
    request = {"model": "gpt-4o", "input": "x", "stream": True, "tools": tools, **request}
    watch = meter("openai", "/v1/responses", streaming=True, **request)
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        watch.feed(f"{name}data: {json.dumps(event)}\n\n".encode())
    watch.end()
    assert watch.usage() is None
    return watch


def ended(item_id: str, kind: str = "web_search") -> dict[str, Any]:
    return {"type": f"response.{kind}_call.completed", "item_id": item_id}


def created(**told: object) -> dict[str, Any]:
    return {"type": "response.created", "response": told}


def done(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.done", "item": item}


def test_it_works() -> None:
    assert used(response(search(), search())).counts["web_searches"] == 2


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("tools", "fee"), [(PREVIEW, "web_search_previews"), (NEWER, "web_searches")])
def test_a_stream_that_breaks_off_counts_what_its_end_would(tools: object, fee: str, named: bool) -> None:
    counts = streamed(ended("a"), ended("b"), tools=tools, named=named).delivered().counts
    assert {key: counts[key] for key in counts if "web" in key} == {fee: 2}


def test_a_page_that_is_opened_is_no_search_once_its_item_says_so() -> None:
    counts = (
        streamed(ended("a"), ended("b"), done(search("open_page", id="a")), done(search(id="b"))).delivered().counts
    )
    assert counts["web_searches"] == 1


def test_an_item_and_the_event_before_it_are_one_call() -> None:
    item = call("code_interpreter", "completed", id="a")
    counts = streamed(ended("a", "code_interpreter"), done(item), done({"type": "message"})).delivered().counts
    assert counts["code_executions"] == 1


def test_a_call_that_no_event_of_its_own_tells_of_is_counted_by_its_item() -> None:
    assert streamed(done(call("shell", id="a"))).delivered().counts["code_executions"] == 1
    local = call("shell", id="a", environment={"type": "local"})
    assert "code_executions" not in streamed(done(local), done({"type": "function_call"})).delivered().counts


@pytest.mark.parametrize("status", ["completed", "failed", "incomplete", "interpreting", "in_progress", None])
def test_a_container_costs_whatever_became_of_the_code_in_it(status: str | None) -> None:
    assert used(response(call("code_interpreter", status))).counts["code_executions"] == 1


@pytest.mark.parametrize("status", ["failed", "incomplete", "in_progress", "searching"])
def test_a_search_that_did_not_end_is_not_billed(status: str) -> None:
    counts = used(response(search(status=status), call("file_search", status))).counts
    assert counts.keys() <= {"input_tokens", "output_tokens"}


@pytest.mark.parametrize(
    ("status", "result", "pictures"),
    [
        ("completed", "AA", 1),
        ("completed", None, 1),
        ("generating", "AA", 1),
        ("generating", None, 0),
        ("failed", "", 0),
    ],
)
def test_a_picture_that_is_there_is_billed(status: str, result: str | None, pictures: int) -> None:
    assert (
        used(response(call("image_generation", status, result=result))).counts.get("image_generations", 0) == pictures
    )


@pytest.mark.parametrize("requests", [3, 3.0, "3"])
def test_the_number_that_is_told_counts_however_it_is_written(requests: object) -> None:
    for output in ([], [search()]):
        usage = used(response(*output, tool_usage={"web_search": {"num_requests": requests}}))
        assert (usage.counts["web_searches"], usage.unknown) == (3, False)


@pytest.mark.parametrize("told", [{"num_requests": "many"}, {"num_requests": -1}, {"num_requests": [1]}, "x", [3]])
def test_a_number_that_cannot_be_read_is_flagged_and_the_items_count(told: object) -> None:
    usage = used(response(search(), search(), tool_usage={"web_search": told}))
    assert (usage.counts["web_searches"], usage.unknown) == (2, True)


def grounded(asked: str, served: str | None, *queries: str) -> dict[str, int]:
    """The counts of an answer of Gemini that searched for these."""
    watch = meter("gemini", f"/v1beta/models/{asked}:generateContent", contents=[], tools=[{"googleSearch": {}}])
    candidate = {"finishReason": "STOP", "groundingMetadata": {"webSearchQueries": queries}}
    told = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
    answer = {"candidates": [candidate], "usageMetadata": told} | ({} if served is None else {"modelVersion": served})
    return used(answered(watch, answer)).counts


def interacted(asked: str, served: str | None, count: object) -> dict[str, int]:
    """The counts of an interaction that made so many searches."""
    watch = meter("gemini", "/v1beta/interactions", model=asked, input="x", tools=[{"type": "google_search"}])
    told = {
        "total_input_tokens": 10,
        "total_output_tokens": 5,
        "grounding_tool_count": [{"type": "google_search", "count": count}],
    }
    return used(answered(watch, {"status": "completed", "model": served, "usage": told})).counts


@pytest.mark.parametrize(
    ("asked", "served", "searches"),
    [
        ("gemini-2.5-flash", "gemini-2.5-flash", 1),
        ("gemini-2.5-flash", None, 1),
        ("gemini-flash-latest", "gemini-2.5-flash", 1),
        ("gemini-flash-latest", "gemini-3-flash-preview", 3),
        ("gemini-flash-latest", None, 3),
        ("gemini-2.5-flash", "gemini-3-flash-preview", 3),
    ],
)
def test_the_model_that_answered_says_how_its_searches_are_billed(
    asked: str, served: str | None, searches: int
) -> None:
    assert grounded(asked, served, "a", "b", "c", "a")["web_searches"] == searches
    assert interacted(asked, served, 3)["web_searches"] == searches


@pytest.mark.parametrize(("count", "searches"), [(2, 2), ("2", 2), (2.0, 2), (0, 0), (None, 0)])
def test_searches_of_an_interaction_count_however_they_are_written(count: object, searches: int) -> None:
    assert interacted("gemini-3-pro-preview", None, count).get("web_searches", 0) == searches


@pytest.mark.parametrize("told", [5, {"google_search": 2}, [5], [{"type": "google_search", "count": "two"}]])
def test_searches_of_an_interaction_that_cannot_be_read_are_flagged(told: object) -> None:
    watch = meter("gemini", "/v1beta/interactions", model="gemini-3-pro-preview", input="x")
    usage = {"total_input_tokens": 10, "total_output_tokens": 5, "grounding_tool_count": told}
    assert used(answered(watch, {"status": "completed", "usage": usage})).unknown


def test_a_stored_prompt_brings_its_tools() -> None:
    """They stand in the answer alone, whose own word about its searches is the only one."""
    assert used(response(search(), tools=None)).counts["web_searches"] == 1
    watch = meter("openai", "/v1/responses", model="gpt-4o", prompt={"id": "p"})
    told = {"model": "gpt-4o", "output": [search()], "usage": USAGE, "tools": PREVIEW}
    assert used(answered(watch, told)).counts["web_search_previews"] == 1


@pytest.mark.parametrize("named", [True, False])
def test_a_stored_prompt_brings_its_tools_to_a_stream_that_breaks_off(named: bool) -> None:
    counts = streamed(created(tools=PREVIEW), ended("a"), tools=[], named=named, prompt={"id": "p"}).delivered().counts
    assert {key: counts[key] for key in counts if "web" in key} == {"web_search_previews": 1}


def test_what_a_request_says_of_its_searches_stands() -> None:
    preview = {"model": "gpt-4o", "output": [search()], "usage": USAGE, "tools": NEWER}
    watch = meter("openai", "/v1/responses", model="gpt-4o", input="x", tools=PREVIEW)
    assert used(answered(watch, preview)).counts["web_search_previews"] == 1
